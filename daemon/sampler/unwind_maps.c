/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "unwind_image.h"
#include "vec.h"

enum {
	MAX_TABLES = 2048,                   /* a host with 500 processes has some 400 different files */
	MAX_FILES = 4096,                    /* one table may have several: the same file in many containers */
	WANTS_BYTES = 64 << 10,              /* 800 wants */
	NO_CHUNK = -1,
};

_Static_assert(sizeof(struct unwind_table) % 8 == 0, "an array's element has no room behind it");

/* 1 MiB of pages. */
struct chunk {
	int fd;                              /* NO_CHUNK: not made */
	uint32_t n_used;
	uint64_t used[UNWIND_CHUNK_PAGES / 64]; /* bits */
};

struct table {
	bool is_used;
	size_t n_pages;
	uint32_t *pages;
};

struct unwind_maps {
	int files_fd, tables_fd, used_fd, chunks_fd, wants_fd, hotspots_fd;
	struct ring_buffer *wants;
	unwind_maps_want_fn want;            /* during unwind_maps_read_wants() */
	void *want_userdata;
	size_t max_chunks;
	struct chunk *chunks;
	struct table tables[MAX_TABLES];     /* number 0 is UNWIND_FILE_WANTED */
	size_t n_tables, n_files, n_pages;
	uint32_t last_serial;
};

/* ---- pages ---- */

static int chunk_make(struct unwind_maps *maps, size_t i)
{
	struct chunk *chunk = &maps->chunks[i];
	uint32_t key = (uint32_t)i;
	int fd, r;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "unwind_pages", sizeof(uint32_t), UNWIND_PAGE_SIZE, UNWIND_CHUNK_PAGES, NULL);
	if (fd < 0)
		return fd;
	r = bpf_map_update_elem(maps->chunks_fd, &key, &fd, 0);
	if (r < 0) {
		close(fd);
		return r;
	}
	chunk->fd = fd;
	return 0;
}

static void chunk_drop(struct unwind_maps *maps, size_t i)
{
	uint32_t key = (uint32_t)i;

	bpf_map_delete_elem(maps->chunks_fd, &key);
	close(maps->chunks[i].fd);
	maps->chunks[i].fd = NO_CHUNK;
}

static bool chunk_take_page(struct chunk *chunk, uint32_t *ret)
{
	for (uint32_t i = 0; i < UNWIND_CHUNK_PAGES / 64; i++) {
		uint32_t bit;

		if (!~chunk->used[i])
			continue;
		bit = (uint32_t)__builtin_ctzll(~chunk->used[i]);
		chunk->used[i] |= UINT64_C(1) << bit;
		chunk->n_used++;
		*ret = i * 64 + bit;
		return true;
	}
	return false;
}

/* Chunks in use are filled up first. */
static int take_page(struct unwind_maps *maps, uint32_t *ret)
{
	size_t unmade = SIZE_MAX;
	uint32_t page;
	int r;

	for (size_t i = 0; i < maps->max_chunks; i++) {
		if (maps->chunks[i].fd == NO_CHUNK)
			unmade = MIN(unmade, i);
		else if (chunk_take_page(&maps->chunks[i], &page)) {
			*ret = (uint32_t)i * UNWIND_CHUNK_PAGES + page;
			return 0;
		}
	}
	if (unmade == SIZE_MAX)
		return UNWIND_MAPS_E_FULL;
	r = chunk_make(maps, unmade);
	if (r < 0)
		return r == -ENOMEM ? UNWIND_MAPS_E_FULL : r;
	if (!chunk_take_page(&maps->chunks[unmade], &page)) /* cannot be: it is empty */
		return UNWIND_MAPS_E_FULL;
	*ret = (uint32_t)unmade * UNWIND_CHUNK_PAGES + page;
	return 0;
}

static void give_page(struct unwind_maps *maps, uint32_t page)
{
	size_t i = page / UNWIND_CHUNK_PAGES;
	uint32_t at = page % UNWIND_CHUNK_PAGES;
	struct chunk *chunk = &maps->chunks[i];

	chunk->used[at / 64] &= ~(UINT64_C(1) << at % 64);
	if (--chunk->n_used == 0)
		chunk_drop(maps, i);
}

static void give_pages(struct unwind_maps *maps, struct table *table)
{
	for (size_t i = 0; i < table->n_pages; i++)
		give_page(maps, table->pages[i]);
	maps->n_pages -= table->n_pages;
	free(table->pages);
	*table = (struct table){0};
}

/* Consecutive pages of one chunk go in one system call. */
static int write_pages(const struct unwind_maps *maps, const uint32_t *pages, const uint8_t *bytes, size_t n)
{
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	uint32_t keys[UNWIND_CHUNK_PAGES];

	for (size_t i = 0; i < n;) {
		size_t chunk = pages[i] / UNWIND_CHUNK_PAGES;
		uint32_t count = 0;
		int r;

		while (i + count < n && count < UNWIND_CHUNK_PAGES && pages[i + count] / UNWIND_CHUNK_PAGES == chunk) {
			keys[count] = pages[i + count] % UNWIND_CHUNK_PAGES;
			count++;
		}
		i += count;
		r = bpf_map_update_batch(maps->chunks[chunk].fd, keys, bytes + (i - count) * UNWIND_PAGE_SIZE, &count, &options);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- tables ---- */

static uint32_t free_number(const struct unwind_maps *maps)
{
	for (uint32_t i = 1; i < MAX_TABLES; i++)
		if (!maps->tables[i].is_used)
			return i;
	return 0;
}

static int take_pages(struct unwind_maps *maps, struct table *table, size_t n)
{
	int r;

	table->pages = reallocarray(NULL, n ? n : 1, sizeof(*table->pages));
	if (!table->pages)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		r = take_page(maps, &table->pages[i]);
		if (r)
			return r;
		table->n_pages++;
		maps->n_pages++;
	}
	return 0;
}

static int write_table(struct unwind_maps *maps, uint32_t number, const struct table *table, const struct unwind_image *image)
{
	struct unwind_table kernel_table = image->table;
	_cleanup_free_ uint8_t *bytes = NULL;
	uint32_t never = 0;
	int r;

	bytes = malloc(image->n_pages * UNWIND_PAGE_SIZE + 1);
	if (!bytes)
		return -ENOMEM;
	memcpy(bytes, image->pages, image->n_pages * UNWIND_PAGE_SIZE);
	kernel_table.serial = ++maps->last_serial;
	unwind_image_relocate(&kernel_table, bytes, image->n_pages, table->pages);
	r = write_pages(maps, table->pages, bytes, table->n_pages);
	if (r < 0)
		return r;
	r = bpf_map_update_elem(maps->used_fd, &number, &never, 0);
	if (r < 0)
		return r;
	return bpf_map_update_elem(maps->tables_fd, &number, &kernel_table, 0);
}

int unwind_maps_add(struct unwind_maps *maps, const struct unwind_image *image, uint32_t *ret_table)
{
	uint32_t number = free_number(maps);
	struct table table = {0};
	int r;

	if (!number)
		return UNWIND_MAPS_E_FULL;
	r = take_pages(maps, &table, image->n_pages);
	if (!r)
		r = write_table(maps, number, &table, image);
	if (r) {
		give_pages(maps, &table);
		return r;
	}
	table.is_used = true;
	maps->tables[number] = table;
	maps->n_tables++;
	*ret_table = number;
	return 0;
}

/*
 * Returns when every program that was running has ended: the kernel promises it to whoever replaces an inner map (commit
 * 1ae80cf31938, maybe_wait_bpf_programs()).
 */
static int fence(struct unwind_maps *maps)
{
	for (size_t i = 0; i < maps->max_chunks; i++) {
		uint32_t key = (uint32_t)i;

		if (maps->chunks[i].fd != NO_CHUNK)
			return bpf_map_update_elem(maps->chunks_fd, &key, &maps->chunks[i].fd, 0);
	}
	return 0;
}

int unwind_maps_remove(struct unwind_maps *maps, const uint32_t *tables, size_t n)
{
	static const struct unwind_table none;
	int r;

	/* Whoever read the number before it was unbound finds an empty table. */
	for (size_t i = 0; i < n; i++) {
		if (!tables[i] || tables[i] >= MAX_TABLES || !maps->tables[tables[i]].is_used)
			return -EINVAL;
		r = bpf_map_update_elem(maps->tables_fd, &tables[i], &none, 0);
		if (r < 0)
			return r;
	}
	r = fence(maps);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (!maps->tables[tables[i]].is_used) /* named twice */
			continue;
		give_pages(maps, &maps->tables[tables[i]]);
		maps->n_tables--;
	}
	return 0;
}

uint32_t unwind_maps_used(const struct unwind_maps *maps, uint32_t table)
{
	uint32_t used = 0;

	return bpf_map_lookup_elem(maps->used_fd, &table, &used) < 0 ? 0 : used;
}

/* ---- files ---- */

/* Programs only add files, as wanted. */
static bool is_bound(const struct unwind_maps *maps, const struct unwind_file *file)
{
	uint32_t state;

	return bpf_map_lookup_elem(maps->files_fd, file, &state) == 0 && state != UNWIND_FILE_WANTED;
}

int unwind_maps_bind(struct unwind_maps *maps, const struct unwind_file *file, uint32_t table)
{
	bool was_bound = is_bound(maps, file);
	int r;

	r = bpf_map_update_elem(maps->files_fd, file, &table, 0);
	if (r < 0)
		return r == -E2BIG || r == -ENOMEM ? UNWIND_MAPS_E_FULL : r;
	maps->n_files += !was_bound;
	return 0;
}

int unwind_maps_unbind(struct unwind_maps *maps, const struct unwind_file *file)
{
	bool was_bound = is_bound(maps, file);
	int r = bpf_map_delete_elem(maps->files_fd, file);

	if (r >= 0)
		maps->n_files -= was_bound;
	return r == -ENOENT ? 0 : r;
}

/* ---- processes that make code ---- */

int unwind_maps_set_hotspot(struct unwind_maps *maps, const struct sample_process *process, const struct hotspot *hotspot)
{
	int r = bpf_map_update_elem(maps->hotspots_fd, process, hotspot, 0);

	return r == -E2BIG || r == -ENOMEM ? UNWIND_MAPS_E_FULL : MIN(r, 0);
}

int unwind_maps_unset_hotspot(struct unwind_maps *maps, const struct sample_process *process)
{
	int r = bpf_map_delete_elem(maps->hotspots_fd, process);

	return r == -ENOENT ? 0 : r;
}

/* ---- wants ---- */

int unwind_maps_wants_fd(const struct unwind_maps *maps)
{
	return ring_buffer__epoll_fd(maps->wants);
}

static int take_want(void *userdata, void *data, size_t size)
{
	struct unwind_maps *maps = userdata;

	if (size == sizeof(struct unwind_want))
		maps->want(data, maps->want_userdata);
	return 0;
}

int unwind_maps_read_wants(struct unwind_maps *maps, unwind_maps_want_fn fn, void *userdata)
{
	int r;

	maps->want = fn;
	maps->want_userdata = userdata;
	r = ring_buffer__consume(maps->wants);
	return r < 0 ? r : 0;
}

/* ---- life ---- */

int unwind_maps_share(const struct unwind_maps *maps, struct bpf_object *object)
{
	const struct { const char *name; int fd; } shared[] = {
		{ "unwind_files", maps->files_fd },
		{ "unwind_tables", maps->tables_fd },
		{ "unwind_used", maps->used_fd },
		{ "unwind_chunks", maps->chunks_fd },
		{ "unwind_wants", maps->wants_fd },
		{ "unwind_hotspots", maps->hotspots_fd },
	};

	for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, shared[i].name);
		int r;

		if (!map)
			return -ENOENT;
		r = bpf_map__reuse_fd(map, shared[i].fd);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The outer map wants to see one of its inner maps when it is made. */
static int make_chunks(struct unwind_maps *maps)
{
	LIBBPF_OPTS(bpf_map_create_opts, options);
	int r, inner;

	inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "unwind_pages", sizeof(uint32_t), UNWIND_PAGE_SIZE, UNWIND_CHUNK_PAGES, NULL);
	if (inner < 0)
		return inner;
	options.inner_map_fd = (uint32_t)inner;
	r = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "unwind_chunks", sizeof(uint32_t), sizeof(uint32_t),
			(uint32_t)maps->max_chunks, &options);
	close(inner);
	if (r < 0)
		return r;
	maps->chunks_fd = r;
	return 0;
}

static int make_map(enum bpf_map_type type, const char *name, size_t key_size, size_t value_size, uint32_t n, int *ret)
{
	int r = bpf_map_create(type, name, (uint32_t)key_size, (uint32_t)value_size, n, NULL);

	if (r < 0)
		return r;
	*ret = r;
	return 0;
}

static void unwind_maps_free_p(struct unwind_maps **maps)
{
	unwind_maps_free(*maps);
}

int unwind_maps_new(uint64_t max_bytes, struct unwind_maps **ret)
{
	_cleanup_(unwind_maps_free_p) struct unwind_maps *maps = NULL;
	const uint64_t chunk_bytes = UNWIND_CHUNK_PAGES * UNWIND_PAGE_SIZE;
	int r;

	maps = calloc(1, sizeof(*maps));
	if (!maps)
		return -ENOMEM;
	maps->files_fd = maps->tables_fd = maps->used_fd = maps->chunks_fd = maps->wants_fd = maps->hotspots_fd = -1;
	maps->max_chunks = MAX((size_t)(max_bytes / chunk_bytes), 1u);
	maps->chunks = calloc(maps->max_chunks, sizeof(*maps->chunks));
	if (!maps->chunks)
		return -ENOMEM;
	for (size_t i = 0; i < maps->max_chunks; i++)
		maps->chunks[i].fd = NO_CHUNK;
	r = make_map(BPF_MAP_TYPE_HASH, "unwind_files", sizeof(struct unwind_file), sizeof(uint32_t), MAX_FILES, &maps->files_fd);
	if (r >= 0)
		r = make_map(BPF_MAP_TYPE_ARRAY, "unwind_tables", sizeof(uint32_t), sizeof(struct unwind_table), MAX_TABLES,
				&maps->tables_fd);
	if (r >= 0)
		r = make_map(BPF_MAP_TYPE_ARRAY, "unwind_used", sizeof(uint32_t), sizeof(uint32_t), MAX_TABLES, &maps->used_fd);
	if (r >= 0)
		r = make_map(BPF_MAP_TYPE_RINGBUF, "unwind_wants", 0, 0, WANTS_BYTES, &maps->wants_fd);
	if (r >= 0)
		r = make_map(BPF_MAP_TYPE_HASH, "unwind_hotspots", sizeof(struct sample_process), sizeof(struct hotspot),
				HOTSPOT_MAX_PROCESSES, &maps->hotspots_fd);
	if (r >= 0)
		r = make_chunks(maps);
	if (r < 0)
		return r;
	maps->wants = ring_buffer__new(maps->wants_fd, take_want, maps, NULL);
	if (!maps->wants)
		return -errno;
	*ret = TAKE(maps);
	return 0;
}

struct unwind_maps *unwind_maps_free(struct unwind_maps *maps)
{
	if (!maps)
		return NULL;
	ring_buffer__free(maps->wants);
	for (size_t i = 0; i < MAX_TABLES; i++)
		free(maps->tables[i].pages);
	for (size_t i = 0; maps->chunks && i < maps->max_chunks; i++)
		close_fd(maps->chunks[i].fd);
	free(maps->chunks);
	close_fd(maps->hotspots_fd);
	close_fd(maps->wants_fd);
	close_fd(maps->chunks_fd);
	close_fd(maps->used_fd);
	close_fd(maps->tables_fd);
	close_fd(maps->files_fd);
	free(maps);
	return NULL;
}

struct unwind_maps_stats unwind_maps_stats(const struct unwind_maps *maps)
{
	struct unwind_maps_stats stats = {
		.n_tables = maps->n_tables,
		.n_files = maps->n_files,
		.page_bytes = maps->n_pages * UNWIND_PAGE_SIZE,
	};

	/* By their declared sizes; a hash keeps some 48 bytes beside key and value (struct htab_elem and its bucket). */
	stats.memory_bytes = MAX_TABLES * (sizeof(struct unwind_table) + 8) +
			MAX_FILES * (sizeof(struct unwind_file) + 8 + 64) + WANTS_BYTES +
			HOTSPOT_MAX_PROCESSES * (sizeof(struct sample_process) + sizeof(struct hotspot) + 64);
	for (size_t i = 0; i < maps->max_chunks; i++)
		if (maps->chunks[i].fd != NO_CHUNK)
			stats.memory_bytes += UNWIND_CHUNK_PAGES * UNWIND_PAGE_SIZE;
	return stats;
}
