/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "overlay.h"
#include "resolve_jitdump.h"
#include "resolve_perfmap.h"
#include "symbolizer.h"

struct perfmap {
	char *text;
	size_t size;
	struct overlay entries;              /* values: offsets of names in .text, terminated */
};

static int read_text(struct perfmap *map, int fd)
{
	struct stat st;
	uint64_t offset = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	/* The youngest code is at the end. */
	if ((uint64_t)st.st_size > SYMBOLIZER_MAX_PERF_MAP)
		offset = (uint64_t)st.st_size - SYMBOLIZER_MAX_PERF_MAP;
	map->text = malloc((size_t)MIN((uint64_t)st.st_size, SYMBOLIZER_MAX_PERF_MAP) + 1);
	if (!map->text)
		return -ENOMEM;
	while (map->size < (size_t)st.st_size - offset) {
		ssize_t n = pread(fd, map->text + map->size, (size_t)st.st_size - offset - map->size, (off_t)(offset + map->size));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		map->size += (size_t)n;
	}
	if (offset) {
		char *newline = memchr(map->text, '\n', map->size);
		size_t skip = newline ? (size_t)(newline - map->text) + 1 : map->size;

		memmove(map->text, map->text + skip, map->size - skip);
		map->size -= skip;
	}
	return 0;
}

static bool read_hex(const char **at, uint64_t *ret)
{
	char *end;

	/* strtoull() would take white space and signs. */
	if (!strchr("0123456789abcdefABCDEF", **at) || !**at)
		return false;
	errno = 0;
	*ret = strtoull(*at, &end, 16);
	if (errno || *end != ' ')
		return false;
	*at = end + 1;
	return true;
}

/* The line is terminated, its end of line gone. */
static int add_line(struct perfmap *map, char *line, size_t length)
{
	const char *at = line;
	uint64_t start, size;

	if (length > SYMBOLIZER_MAX_PERF_MAP_LINE || memchr(line, '\0', length))
		return 0;
	if (length && line[length - 1] == '\r')
		line[length - 1] = '\0';
	if (!read_hex(&at, &start) || !read_hex(&at, &size) || !*at)
		return 0;
	return overlay_add(&map->entries, start, size, (uint32_t)(at - map->text));
}

/* Where the last SYMBOLIZER_MAX_PERF_MAP_ENTRIES lines begin: the older ones give way. */
static size_t first_line(const struct perfmap *map, size_t end)
{
	size_t lines = 0;

	for (size_t at = end; at > 0; at--)
		if (map->text[at - 1] == '\n' && ++lines > SYMBOLIZER_MAX_PERF_MAP_ENTRIES)
			return at;
	return 0;
}

static int read_lines(struct perfmap *map)
{
	char *last = map->size ? memrchr(map->text, '\n', map->size) : NULL;
	size_t end = last ? (size_t)(last - map->text) + 1 : 0;

	for (size_t at = first_line(map, end); at < end;) {
		char *line = map->text + at, *newline = memchr(line, '\n', end - at);
		int r;

		*newline = '\0';
		r = add_line(map, line, (size_t)(newline - line));
		if (r < 0)
			return r;
		at = (size_t)(newline - map->text) + 1;
	}
	return 0;
}

static int resolve(void *state, uint64_t address, struct names *names)
{
	const struct perfmap *map = state;
	const struct overlay_range *range = overlay_find(&map->entries, address);

	if (!range)
		return RESOLVE_E_UNKNOWN;
	return names_add_frame(names, &(struct frame){ .name = map->text + range->value });
}

static void free_state(void *state)
{
	struct perfmap *map = state;

	if (!map)
		return;
	overlay_deinit(&map->entries);
	free(map->text);
	free(map);
}

static const struct resolver_ops ops = {
	.name = "perfmap",
	.tells = RESOLVE_TELLS_FUNCTIONS,
	.resolve = resolve,
	.free = free_state,
};

int resolve_perfmap_open(int fd, struct resolver *ret)
{
	struct perfmap *map;
	int r;

	if (resolve_jitdump_is_in(fd))
		return resolve_jitdump_open(fd, ret);
	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;
	r = read_text(map, fd);
	if (r >= 0)
		r = read_lines(map);
	if (r >= 0 && !map->entries.all.n)
		r = RESOLVE_E_NONE;
	if (!r)
		r = overlay_flatten(&map->entries);
	if (r) {
		free_state(map);
		return r;
	}
	*ret = (struct resolver){ .ops = &ops, .state = map };
	return 0;
}
