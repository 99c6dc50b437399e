/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build_id.h"
#include "cleanup.h"
#include "debug_file.h"

void debug_file_paths_deinit(struct debug_file_paths *paths)
{
	for (size_t i = 0; i < paths->paths.n; i++)
		free(paths->paths.at[i]);
	vec_deinit(&paths->paths);
}

__attribute__((format(printf, 2, 3)))
static int add(struct debug_file_paths *paths, const char *format, ...)
{
	_cleanup_free_ char *path = NULL;
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(&path, format, args);
	va_end(args);
	if (r < 0) {
		path = NULL;
		return -ENOMEM;
	}
	for (size_t i = 0; i < paths->paths.n; i++)
		if (!strcmp(paths->paths.at[i], path))
			return 0;
	r = vec_push(&paths->paths, path);
	if (r < 0)
		return r;
	(void)TAKE(path);
	return 0;
}

/* A name of one path component that is safe to append to a directory. */
static bool is_base_name(const char *name, size_t size)
{
	size_t length = strnlen(name, size);

	return length > 0 && length < size && !memchr(name, '/', length) && strcmp(name, ".") && strcmp(name, "..");
}

static int add_by_build_id(const struct build_id *id, const char *directory, struct debug_file_paths *paths)
{
	char hex[BUILD_ID_HEX_SIZE];

	/* Two digits name the directory, at least one more byte the file. */
	if (id->size < 2 || id->size > sizeof(id->bytes))
		return 0;
	build_id_to_hex(id, hex);
	return add(paths, "%s/.build-id/%.2s/%s.debug", directory, hex, hex + 2);
}

/* Folds "//", "." and ".." of an absolute path in place; false when it leaves the root or is not absolute. */
static bool fold(char *path)
{
	char *out = path, *in = path;

	if (*path != '/')
		return false;
	while (*in) {
		size_t length;

		in += strspn(in, "/");
		length = strcspn(in, "/");
		if (length == 0)
			break;
		if (length == 2 && !memcmp(in, "..", 2)) {
			if (out == path)
				return false;
			while (*--out != '/')
				;
		} else if (length != 1 || *in != '.') {
			*out++ = '/';
			memmove(out, in, length);
			out += length;
		}
		in += length;
	}
	if (out == path)
		*out++ = '/';
	*out = '\0';
	return true;
}

/* The directory of an absolute path, "" for that of a file in the root; NULL: no such, or no memory (*ret_error). */
static char *directory_of(const char *path, int *ret_error)
{
	_cleanup_free_ char *copy = NULL;

	*ret_error = 0;
	if (!path || *path != '/')
		return NULL;
	copy = strdup(path);
	if (!copy) {
		*ret_error = -ENOMEM;
		return NULL;
	}
	if (!fold(copy))
		return NULL;
	*strrchr(copy, '/') = '\0';
	return TAKE(copy);
}

int debug_file_candidates(const struct debug_file_wants *wants, const char *path, const char *const *directories,
		struct debug_file_paths *paths)
{
	_cleanup_free_ char *beside = NULL;
	int r;

	if (!wants->debug_file)
		return 0;
	for (const char *const *d = directories; *d; d++) {
		r = add_by_build_id(&wants->build_id, *d, paths);
		if (r < 0)
			return r;
	}
	if (!is_base_name(wants->link, sizeof(wants->link)))
		return 0;
	beside = directory_of(path, &r);
	if (!beside)
		return r;
	r = add(paths, "%s/%s", beside, wants->link);
	if (r < 0)
		return r;
	r = add(paths, "%s/.debug/%s", beside, wants->link);
	if (r < 0)
		return r;
	for (const char *const *d = directories; *d; d++) {
		r = add(paths, "%s%s/%s", *d, beside, wants->link);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The reference itself: as it stands when absolute, else from the directory of the file that has it. */
static int add_reference(const char *reference, const char *path, struct debug_file_paths *paths)
{
	_cleanup_free_ char *directory = NULL, *whole = NULL;
	int r = 0;

	if (*reference == '/')
		whole = strdup(reference);
	else {
		directory = directory_of(path, &r);
		if (!directory)
			return r;
		if (asprintf(&whole, "%s/%s", directory, reference) < 0)
			whole = NULL;
	}
	if (!whole)
		return -ENOMEM;
	return fold(whole) ? add(paths, "%s", whole) : 0;
}

int debug_file_supplement_candidates(const struct debug_file_wants *wants, const char *path, const char *const *directories,
		struct debug_file_paths *paths)
{
	char reference[DEBUG_FILE_PATH_SIZE];
	const char *name;
	size_t length = strnlen(wants->supplement_path, sizeof(wants->supplement_path));
	int r;

	if (!wants->supplement)
		return 0;
	for (const char *const *d = directories; *d; d++) {
		r = add_by_build_id(&wants->supplement_build_id, *d, paths);
		if (r < 0)
			return r;
	}
	if (length == 0 || length >= sizeof(reference))
		return 0;
	memcpy(reference, wants->supplement_path, length + 1);
	r = add_reference(reference, path, paths);
	if (r < 0)
		return r;
	/* When the DWARF was copied elsewhere its relative reference leads astray: also where packages put supplements. */
	name = strrchr(reference, '/');
	name = name ? name + 1 : reference;
	if (!is_base_name(name, DEBUG_FILE_PATH_SIZE))
		return 0;
	for (const char *const *d = directories; *d; d++) {
		const char *dwz = strstr(reference, "/.dwz/");

		if (dwz && !strstr(dwz, "/../"))
			r = add(paths, "%s%s", *d, dwz);
		if (r >= 0)
			r = add(paths, "%s/.dwz/%s", *d, name);
		if (r < 0)
			return r;
	}
	return 0;
}
