/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "resolve_perfmap.h"
#include "symbolizer.h"

struct entry {
	uint64_t start, end;
	uint32_t name;                       /* offset in .text, terminated */
	uint32_t order;                      /* of its line: the larger tells */
};

struct perfmap {
	char *text;
	size_t size;
	VEC(struct entry) entries;           /* after flatten(): sorted and without overlap */
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
	struct entry entry = { .order = (uint32_t)map->entries.n };
	const char *at = line;
	uint64_t size;

	if (length > SYMBOLIZER_MAX_PERF_MAP_LINE || memchr(line, '\0', length))
		return 0;
	if (length && line[length - 1] == '\r')
		line[length - 1] = '\0';
	if (!read_hex(&at, &entry.start) || !read_hex(&at, &size) || !*at || !size)
		return 0;
	if (__builtin_add_overflow(entry.start, size, &entry.end))
		return 0;
	entry.name = (uint32_t)(at - map->text);
	return vec_push(&map->entries, entry);
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

static int compare(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return (a->order > b->order) - (a->order < b->order);
}

/* A heap of the entries that hold the current address, the latest line on top. */
struct open_entries {
	VEC(struct entry) heap;
};

static int open_push(struct open_entries *open, struct entry entry)
{
	size_t i = open->heap.n;
	int r = vec_push(&open->heap, entry);

	if (r < 0)
		return r;
	for (; i > 0 && open->heap.at[(i - 1) / 2].order < entry.order; i = (i - 1) / 2)
		open->heap.at[i] = open->heap.at[(i - 1) / 2];
	open->heap.at[i] = entry;
	return 0;
}

static void open_pop(struct open_entries *open)
{
	struct entry moved = open->heap.at[--open->heap.n];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= open->heap.n)
			break;
		if (child + 1 < open->heap.n && open->heap.at[child + 1].order > open->heap.at[child].order)
			child++;
		if (open->heap.at[child].order <= moved.order)
			break;
		open->heap.at[i] = open->heap.at[child];
		i = child;
	}
	open->heap.at[i] = moved;
}

/* Appends what of the open entries lies in [*at, until), and moves *at there. */
static int emit_until(struct open_entries *open, uint64_t *at, uint64_t until, struct perfmap *flat)
{
	while (open->heap.n && *at < until) {
		struct entry piece = open->heap.at[0];
		int r;

		if (piece.end <= *at) {
			open_pop(open);
			continue;
		}
		piece.start = *at;
		piece.end = MIN(piece.end, until);
		r = vec_push(&flat->entries, piece);
		if (r < 0)
			return r;
		*at = piece.end;
	}
	*at = until;
	return 0;
}

/* Cuts overlapping entries so that each address has one: a sweep over all starts. */
static int flatten(struct perfmap *map)
{
	struct open_entries open = { 0 };
	struct perfmap flat = { 0 };
	uint64_t at = 0;
	int r = 0;

	qsort(map->entries.at, map->entries.n, sizeof(*map->entries.at), compare);
	for (size_t i = 0; i < map->entries.n && r >= 0; i++) {
		r = emit_until(&open, &at, map->entries.at[i].start, &flat);
		if (r >= 0)
			r = open_push(&open, map->entries.at[i]);
	}
	if (r >= 0)
		r = emit_until(&open, &at, UINT64_MAX, &flat);
	vec_deinit(&open.heap);
	if (r < 0) {
		vec_deinit(&flat.entries);
		return r;
	}
	vec_deinit(&map->entries);
	map->entries.at = flat.entries.at;
	map->entries.n = flat.entries.n;
	map->entries.n_allocated = flat.entries.n_allocated;
	return 0;
}

static int resolve(void *state, uint64_t address, struct names *names)
{
	const struct perfmap *map = state;
	size_t low = 0, high = map->entries.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->entries.at[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == map->entries.n || address < map->entries.at[low].start)
		return RESOLVE_E_UNKNOWN;
	return names_add_frame(names, &(struct frame){ .name = map->text + map->entries.at[low].name });
}

static void free_state(void *state)
{
	struct perfmap *map = state;

	if (!map)
		return;
	vec_deinit(&map->entries);
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
	struct perfmap *map = calloc(1, sizeof(*map));
	int r;

	if (!map)
		return -ENOMEM;
	r = read_text(map, fd);
	if (r >= 0)
		r = read_lines(map);
	if (r >= 0 && !map->entries.n)
		r = RESOLVE_E_NONE;
	if (!r)
		r = flatten(map);
	if (r) {
		free_state(map);
		return r;
	}
	*ret = (struct resolver){ .ops = &ops, .state = map };
	return 0;
}
