/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Which rule holds at an address of the current process: the address's mapping, the mapping's file, the file's table,
 * the table's row (unwind_table.h). The maps here are the same for all samplers: daemon/sampler/unwind_maps makes them.
 */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "hotspot.h"
#include "mapping.bpf.h"
#include "sample.h"
#include "unwind_table.h"

/* Set before loading: the maps are those of unwind_maps. Without, frame pointers are all there is. */
const volatile bool has_tables = false;

struct unwind_page {
	__u8 bytes[UNWIND_PAGE_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct unwind_file);
	__type(value, __u32); /* enum unwind_file_state */
} unwind_files SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct unwind_table);
} unwind_tables SEC(".maps");

/* When each table was used last, CLOCK_MONOTONIC in seconds. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} unwind_used SEC(".maps");

/* Chunks of pages. (Sizes instead of types: clang 14 leaves a type that is used only here a forward declaration.) */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, UNWIND_CHUNK_PAGES);
		__uint(key_size, sizeof(__u32));
		__uint(value_size, UNWIND_PAGE_SIZE);
	});
} unwind_chunks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} unwind_wants SEC(".maps");

/* Processes with code that they made themselves. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct sample_process);
	__type(value, struct hotspot);
} unwind_hotspots SEC(".maps");

static __always_inline void *rules_page(__u32 page)
{
	__u32 chunk = page / UNWIND_CHUNK_PAGES, at = page % UNWIND_CHUNK_PAGES;
	void *pages = bpf_map_lookup_elem(&unwind_chunks, &chunk);

	return pages ? bpf_map_lookup_elem(pages, &at) : NULL;
}

/* 0 when a < b, all bits when not; without a branch, as above. */
static __always_inline __u64 rules_mask_not_below(__u32 a, __u32 b)
{
	return mapping_is_less(a, b) - 1;
}

/* An index of `n` (a power of two) entries: the compiler may know that it is in bounds, the verifier of Linux 6.1 does not. */
static __always_inline __u64 rules_bound(__u64 index, __u64 n)
{
	asm volatile("" : "+r"(index));
	return index & (n - 1);
}

/* The last of `n` (a power of two) entries whose offset is not above `offset`; the first is not. */
static __always_inline __u64 rules_search_index(const struct unwind_index *entries, __u64 n, __u32 offset)
{
	__u64 at = 0;

#pragma unroll
	for (__u64 step = UNWIND_INDEX_ENTRIES / 2; step; step >>= 1)
		if (step < n)
			at += step & rules_mask_not_below(offset, entries[rules_bound(at + step, n)].offset);
	return rules_bound(at, n);
}

static __always_inline __u64 rules_search_rows(const struct unwind_row *rows, __u32 delta)
{
	__u64 at = 0;

#pragma unroll
	for (__u64 step = UNWIND_ROW_ENTRIES / 2; step; step >>= 1)
		at += step & rules_mask_not_below(delta, rows[rules_bound(at + step, UNWIND_ROW_ENTRIES)].delta);
	return rules_bound(at, UNWIND_ROW_ENTRIES);
}

/*
 * 0, SAMPLE_VERDICT_NO_ROW, or SAMPLE_VERDICT_NO_TABLE when the table has just been taken away. A global function, which
 * the verifier looks at once, not on each way that leads to it.
 */
__attribute__((noinline)) int rules_of_table(__u32 number, __u64 file_offset, struct unwind_rule *ret)
{
	const struct unwind_table *table = bpf_map_lookup_elem(&unwind_tables, &number);
	__u32 offset = (__u32)file_offset, page, begin;
	const struct unwind_index *index;
	const struct unwind_rule *rules;
	const struct unwind_row *rows;
	__u64 at, rule;

	if (!table || !ret)
		return SAMPLE_VERDICT_NO_TABLE;
	if (file_offset < table->begin || file_offset >= table->end)
		return SAMPLE_VERDICT_NO_ROW;
	at = rules_search_index(table->root, UNWIND_ROOT_ENTRIES, offset);
	begin = table->root[at].offset;
	page = table->root[at].page;
	if (table->n_levels == 2) {
		index = rules_page(page);
		if (!index)
			return SAMPLE_VERDICT_NO_TABLE;
		at = rules_search_index(index, UNWIND_INDEX_ENTRIES, offset);
		begin = index[at].offset;
		page = index[at].page;
	}
	rows = rules_page(page);
	if (!rows)
		return SAMPLE_VERDICT_NO_TABLE;
	rule = rows[rules_search_rows(rows, offset - begin)].rule;
	rules = rules_page(table->rule_pages[(rule / UNWIND_RULE_ENTRIES) & (UNWIND_MAX_RULE_PAGES - 1)]);
	if (!rules)
		return SAMPLE_VERDICT_NO_TABLE;
	*ret = rules[rule & (UNWIND_RULE_ENTRIES - 1)];
	return 0;
}

/* Asks for the table of a file met first; once, unless the ring of wants is full. */
static __always_inline void rules_want(const struct mapping *mapping, const struct sample_process *process, __u64 address)
{
	struct unwind_want want = {
		.file = mapping->file,
		.process = { .start_nsec = process->start_nsec, .pid = process->pid, .exec_id = process->exec_id },
		.address = address,
		.is_vdso = mapping->kind == MAPPING_VDSO,
	};
	__u32 state = UNWIND_FILE_WANTED;

	if (bpf_map_update_elem(&unwind_files, &mapping->file, &state, BPF_NOEXIST))
		return;
	if (bpf_ringbuf_output(&unwind_wants, &want, sizeof(want), 0))
		bpf_map_delete_elem(&unwind_files, &mapping->file);
}

/* Copies what is known of a process that has code of its own making; asks, once, when that is nothing. */
static __always_inline void rules_enter_hotspot(const struct sample_process *process, __u64 address, struct hotspot *ret)
{
	const struct hotspot *known = bpf_map_lookup_elem(&unwind_hotspots, process);
	struct unwind_want want = {
		.process = { .start_nsec = process->start_nsec, .pid = process->pid, .exec_id = process->exec_id },
		.address = address,
		.is_made = 1,
	};

	if (known) {
		*ret = *known;
		return;
	}
	__builtin_memset(ret, 0, sizeof(*ret)); /* HOTSPOT_WANTED */
	if (bpf_map_update_elem(&unwind_hotspots, process, ret, BPF_NOEXIST)) {
		ret->state = HOTSPOT_NONE;
		return;
	}
	if (bpf_ringbuf_output(&unwind_wants, &want, sizeof(want), 0))
		bpf_map_delete_elem(&unwind_hotspots, process);
}

static __always_inline void rules_touch(__u32 number)
{
	__u32 now = (__u32)(bpf_ktime_get_ns() / 1000000000), *used = bpf_map_lookup_elem(&unwind_used, &number);

	if (used && *used != now)
		*used = now;
}

/*
 * Rules that this CPU found before: a stack's callers are mostly those of the stack before, and a search costs twice what
 * all the rest of a frame does. Each says of which table it is, so none ever becomes wrong.
 */
enum { RULES_CACHED = 512 };

struct rules_cached {
	__u64 offset;                    /* in the file */
	struct unwind_rule rule;
	__u64 serial;                    /* of the table; 0: nothing is here */
};

static __always_inline struct rules_cached *rules_cache_slot(struct rules_cached *cache, __u32 serial, __u64 offset)
{
	return &cache[rules_bound(offset ^ offset >> 9 ^ serial, RULES_CACHED)];
}

/* Completes a mapping that was just found. */
static __always_inline void rules_enter_mapping(struct mapping *mapping, const struct sample_process *process, __u64 address)
{
	const struct unwind_table *table;
	__u32 *state;

	mapping->state = UNWIND_FILE_WITHOUT;
	if (mapping->kind != MAPPING_FILE && mapping->kind != MAPPING_VDSO)
		return;
	state = bpf_map_lookup_elem(&unwind_files, &mapping->file);
	if (!state) {
		mapping->state = UNWIND_FILE_WANTED;
		rules_want(mapping, process, address);
		return;
	}
	mapping->state = *state;
	if (*state == UNWIND_FILE_WANTED || *state == UNWIND_FILE_WITHOUT)
		return;
	rules_touch(*state);
	table = bpf_map_lookup_elem(&unwind_tables, state);
	mapping->serial = table ? table->serial : ~0U;
}
