/* SPDX-License-Identifier: Apache-2.0 */
#include "mounts.h"

#include <stdio.h>
#include <sys/sysmacros.h>

#include "cleanup.h"
#include "fs.h"
#include "reader.h"

/* Up to a blank, which is passed; the last field of a line has none. */
static struct reader next_field(struct reader *line)
{
	const uint8_t *from = line->data + line->at;
	size_t left = reader_left(line);
	const uint8_t *blank = left ? memchr(from, ' ', left) : NULL;
	size_t length = blank ? (size_t)(blank - from) : left;

	if (!length) {
		reader_fail(line);
		return (struct reader){ .failed = true };
	}
	reader_skip(line, length + !!blank);
	return reader_of(from, length);
}

/* "253:16" */
static bool parse_device(struct reader field, uint64_t *ret)
{
	unsigned int numbers[2] = { 0 };
	size_t n_digits = 0, at = 0;

	while (reader_left(&field)) {
		uint8_t c = reader_u8(&field);

		if (c == ':' && !at && n_digits) {
			at = 1;
			n_digits = 0;
		} else if (c >= '0' && c <= '9' && ++n_digits <= 8) {
			numbers[at] = numbers[at] * 10 + (c - '0');
		} else {
			return false;
		}
	}
	*ret = makedev(numbers[0], numbers[1]);
	return reader_ok(&field) && at && n_digits;
}

static bool is_octal(const uint8_t *c)
{
	return c[0] >= '0' && c[0] <= '3' && c[1] >= '0' && c[1] <= '7' && c[2] >= '0' && c[2] <= '7';
}

/* NULL: there is none, or out of memory (*ret_failed). */
static char *unescape(struct reader field, bool *ret_failed)
{
	size_t left, n = 0;
	char *text;

	if (!reader_ok(&field) || !field.size)
		return NULL;
	text = malloc(field.size + 1);
	if (!text) {
		*ret_failed = true;
		return NULL;
	}
	while ((left = reader_left(&field))) {
		const uint8_t *c = field.data + field.at;

		if (left >= 4 && c[0] == '\\' && is_octal(c + 1)) {
			text[n++] = (char)((c[1] - '0') << 6 | (c[2] - '0') << 3 | (c[3] - '0'));
			reader_skip(&field, 4);
		} else {
			text[n++] = (char)reader_u8(&field);
		}
	}
	text[n] = '\0';
	return text;
}

static bool is_path(struct reader field)
{
	return reader_ok(&field) && field.size && field.data[0] == '/';
}

/* A hyphen ends the fields of which there may be any number. */
static void pass_optional(struct reader *line)
{
	struct reader field;

	do
		field = next_field(line);
	while (reader_ok(&field) && !(field.size == 1 && field.data[0] == '-'));
}

static void mount_deinit(struct mount *mount)
{
	free(mount->root);
	free(mount->point);
	free(mount->type);
	free(mount->source);
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw" */
static int parse_line(struct reader line, struct mounts *mounts)
{
	struct reader device, root, point, type, source;
	struct mount mount = { 0 };
	bool failed = false;
	int r;

	next_field(&line);
	next_field(&line);
	device = next_field(&line);
	root = next_field(&line);
	point = next_field(&line);
	if (!reader_ok(&line) || !parse_device(device, &mount.device) || !is_path(root) || !is_path(point))
		return 0;
	pass_optional(&line);
	type = next_field(&line);
	source = next_field(&line);
	mount.root = unescape(root, &failed);
	mount.point = unescape(point, &failed);
	mount.type = unescape(type, &failed);
	mount.source = unescape(source, &failed);
	r = failed ? -ENOMEM : vec_push(&mounts->all, mount);
	if (r < 0)
		mount_deinit(&mount);
	return MIN(r, 0);
}

int mounts_parse(const char *text, size_t size, struct mounts *ret)
{
	struct mounts mounts = { 0 };
	int r = 0;

	while (size && r >= 0 && mounts.all.n < MOUNTS_MAX) {
		const char *end = memchr(text, '\n', size);
		size_t length = end ? (size_t)(end - text) : size;

		r = parse_line(reader_of(text, length), &mounts);
		length += !!end;
		text += length;
		size -= length;
	}
	if (r < 0)
		mounts_deinit(&mounts);
	else
		*ret = mounts;
	return r;
}

int mounts_read(int folder, const char *path, struct mounts *ret)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	int r;

	r = fs_read(folder, path, MOUNTS_MAX_BYTES, &text, &size);
	return r < 0 ? r : mounts_parse(text, size, ret);
}

void mounts_deinit(struct mounts *mounts)
{
	for (size_t i = 0; i < mounts->all.n; i++)
		mount_deinit(&mounts->all.at[i]);
	vec_deinit(&mounts->all);
}

/* What is below the root, with its slash; "" for the root itself; NULL: it is elsewhere. */
static const char *below(const char *root, const char *inside)
{
	size_t length = strcmp(root, "/") ? strlen(root) : 0;

	if (strncmp(inside, root, length) || (inside[length] && inside[length] != '/'))
		return NULL;
	return inside + length;
}

bool mounts_path(const struct mounts *mounts, uint64_t device, const char *inside, char *ret, size_t size)
{
	const struct mount *found = NULL;
	const char *rest;
	int n;

	for (size_t i = 0; i < mounts->all.n; i++) {
		const struct mount *mount = &mounts->all.at[i];

		if (mount->device != device || !below(mount->root, inside))
			continue;
		if (!found || strlen(mount->root) < strlen(found->root))
			found = mount;
	}
	if (!found)
		return false;
	rest = below(found->root, inside);
	if (!strcmp(found->point, "/"))
		n = snprintf(ret, size, "%s", *rest ? rest : "/");
	else
		n = snprintf(ret, size, "%s%s", found->point, strcmp(rest, "/") ? rest : "");
	return n >= 0 && (size_t)n < size;
}
