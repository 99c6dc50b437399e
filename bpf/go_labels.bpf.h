/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Which goroutine the current thread runs, and its labels: the ones that Go's own CPU profile gives a sample taken now, those
 * of g.m.curg, whatever stack the thread is on (runtime/proc.go, sigprof()).
 *
 * Labels are copied here and now, and told apart by what they say: once the goroutine goes on their memory may be anything.
 * Now it cannot change: the thread's own g refers to it, and Go makes another set rather than to change one that was set.
 *
 * The structures: runtime/pprof/label.go; runtime/map.go (hmap, bmap) of Go 1.18 to 1.23, the same in all of these: pprof.WithLabels()
 * makes the map and never takes anything out, so a bucket's slots have tophash 0, or one from 5 on.
 */
#include <stdbool.h>

#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "go_thread.h"
#include "sample.h"
#include "unwind.bpf.h"

enum {
	GO_LABEL_WORDS = 4,              /* of a label in the list: key, its length, value, its length */
	GO_MAP_SLOTS = 8,                /* of a bucket: 8 bytes of tophash, keys, values, the overflow bucket */
	GO_BUCKET_WORDS = 1 + 2 * GO_MAP_SLOTS + 2 * GO_MAP_SLOTS + 1,
	GO_MAP_BUCKETS = 2,              /* that are looked at: with 13 entries a map has no more; */
	GO_MAP_CHAINED = 4,              /* with one behind each that overflows */
	GO_MAP_LEAST_TOPHASH = 5,
	GO_WORDS = SAMPLE_MAX_LABELS * GO_LABEL_WORDS, /* more than GO_BUCKET_WORDS */
};

_Static_assert((int)GO_WORDS >= (int)GO_BUCKET_WORDS, "a bucket fits");

/* Scratch memory of a CPU. */
struct go_search {
	__u64 hash, salt;
	__u64 buckets, bucket;           /* of the map; the one that is looked at, with those behind it; 0: there are no more */
	__u32 n_buckets, i_bucket;
	__u32 has_failed;                /* some memory could not be read */
	__u32 is_cut;                    /* a text, or the set, is longer than what is kept */
	__u32 zero;
	__u64 words[GO_WORDS];
	struct sample_go_labels labels;     /* what is found */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct go_search);
} go_scratch SEC(".maps");

/* Those that are Go's and wanted. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GO_THREAD_MAX);
	__type(key, __u32);
	__type(value, struct go_thread);
} go_processes SEC(".maps");

/* How many are in it: where there are none, looking costs nothing. Written by the daemon. */
volatile __u32 n_go_processes = 0;

static __always_inline __u64 go_read_word(__u64 address)
{
	__u64 word = 0;

	bpf_probe_read_user(&word, sizeof(word), (const void *)address);
	return word;
}

/* Takes in a label. 1: there is no room for more, or it could not be read. */
static __always_inline long go_take(struct go_search *search, __u64 key, __u64 key_size, __u64 value, __u64 value_size)
{
	__u32 n = search->labels.n;
	struct sample_go_label *label;
	__u64 hash;

	if (n >= SAMPLE_MAX_LABELS) {
		search->is_cut = 1;
		return 1;
	}
	label = &search->labels.at[n];
	if (key_size > SAMPLE_LABEL_KEY || value_size > SAMPLE_LABEL_VALUE)
		search->is_cut = 1;
	if (key_size > SAMPLE_LABEL_KEY)
		key_size = SAMPLE_LABEL_KEY;
	if (value_size > SAMPLE_LABEL_VALUE)
		value_size = SAMPLE_LABEL_VALUE;
	asm volatile("" : "+r"(key_size), "+r"(value_size)); /* the verifier must see the comparisons below */
	if (key_size > SAMPLE_LABEL_KEY || value_size > SAMPLE_LABEL_VALUE)
		return 1;
	label->key_size = (__u16)key_size;
	label->value_size = (__u16)value_size;
	label->zero = 0;
	/* Whole words are hashed. */
	__builtin_memset(label->key, 0, sizeof(label->key));
	__builtin_memset(label->value, 0, sizeof(label->value));
	if ((key_size && bpf_probe_read_user(label->key, (__u32)key_size, (const void *)key) < 0) ||
	    (value_size && bpf_probe_read_user(label->value, (__u32)value_size, (const void *)value) < 0)) {
		search->has_failed = 1;
		return 1;
	}
	hash = unwind_mix(search->salt, key_size << 32 | value_size, search->salt);
#pragma unroll
	for (__u32 i = 0; i < SAMPLE_LABEL_KEY / 8; i++)
		hash = unwind_mix(hash, label->key[i], search->salt);
#pragma unroll
	for (__u32 i = 0; i < SAMPLE_LABEL_VALUE / 8; i++)
		hash = unwind_mix(hash, label->value[i], search->salt);
	/* In whatever order: a map has none, and pprof.WithLabels() makes one of another. */
	search->hash += hash;
	search->labels.n = (__u16)(n + 1);
	return 0;
}

static long go_take_of_list(__u32 index, void *data)
{
	struct go_search *search = *(struct go_search **)data; /* bpf_loop() passes on pointers to the stack only */
	const __u64 *words;

	if (index >= SAMPLE_MAX_LABELS)
		return 1;
	words = &search->words[index * GO_LABEL_WORDS];
	return go_take(search, words[0], words[1], words[2], words[3]);
}

static __always_inline void go_read_list(struct go_search *search, __u64 list)
{
	__u64 n;

	if (bpf_probe_read_user(search->words, 2 * sizeof(__u64), (const void *)list) < 0) {
		search->has_failed = 1;
		return;
	}
	list = search->words[0];
	n = search->words[1];
	if (n > SAMPLE_MAX_LABELS) {
		search->is_cut = 1;
		n = SAMPLE_MAX_LABELS;
	}
	asm volatile("" : "+r"(n));
	if (!n || n > SAMPLE_MAX_LABELS)
		return;
	if (bpf_probe_read_user(search->words, (__u32)n * GO_LABEL_WORDS * sizeof(__u64), (const void *)list) < 0) {
		search->has_failed = 1;
		return;
	}
	bpf_loop((__u32)n, go_take_of_list, &search, 0);
}

static long go_take_of_map(__u32 index, void *data)
{
	struct go_search *search = *(struct go_search **)data;
	__u32 slot = index & (GO_MAP_SLOTS - 1);
	const __u64 *key = &search->words[1 + 2 * slot], *value = &search->words[1 + 2 * GO_MAP_SLOTS + 2 * slot];

	if (!slot) {
		if (index) { /* the one behind, or else the next one */
			search->bucket = search->words[GO_BUCKET_WORDS - 1];
			if (!search->bucket && ++search->i_bucket < search->n_buckets)
				search->bucket = search->buckets + (__u64)search->i_bucket * GO_BUCKET_WORDS * sizeof(__u64);
		}
		if (!search->bucket)
			return 1;
		if (bpf_probe_read_user(search->words, GO_BUCKET_WORDS * sizeof(__u64), (const void *)search->bucket) < 0) {
			search->has_failed = 1;
			return 1;
		}
	}
	if ((search->words[0] >> 8 * slot & 0xff) < GO_MAP_LEAST_TOPHASH)
		return 0;
	return go_take(search, key[0], key[1], value[0], value[1]);
}

static __always_inline void go_read_map(struct go_search *search, __u64 map)
{
	__u64 *words = search->words, n;

	/* The map is a pointer to its hmap: count, then flags and, in the next byte, B, and the buckets. */
	map = go_read_word(map);
	if (!map)
		return;
	if (bpf_probe_read_user(words, 3 * sizeof(__u64), (const void *)map) < 0) {
		search->has_failed = 1;
		return;
	}
	n = words[0];
	if (!n)
		return;
	search->buckets = search->bucket = words[2];
	search->i_bucket = 0;
	search->n_buckets = words[1] >> 8 & 0xff ? GO_MAP_BUCKETS : 1;
	bpf_loop(GO_MAP_CHAINED * GO_MAP_SLOTS, go_take_of_map, &search, 0);
	if (search->labels.n < n)
		search->is_cut = 1;
}

/* What of g.m.curg is asked for: 0 and 0 when the thread runs no goroutine, or none that makes sense. */
static __always_inline void go_find_goroutine(const struct go_thread *process, __u64 thread_pointer, __u64 *ret_id, __u64 *ret_labels)
{
	__u64 own, m, g;

	*ret_id = *ret_labels = 0;
	own = go_read_word(thread_pointer + (__s64)process->g);
	if (!own)
		return;
	m = go_read_word(own + process->g_m);
	if (!m)
		return;
	g = go_read_word(m + process->m_current_g);
	if (!g || (g != own && go_read_word(g + process->g_m) != m))
		return;
	if (process->wants_id || process->wants_running)
		*ret_id = go_read_word(g + process->g_id);
	if (process->labels)
		*ret_labels = go_read_word(g + process->g_labels);
}

/* NULL: it is none of Go's, or none that is wanted. */
static __always_inline const struct go_thread *go_process_of(const struct sample_process *id)
{
	const struct go_thread *process = bpf_map_lookup_elem(&go_processes, &id->pid);

	return process && process->exec_id == id->exec_id && process->start_ticks == id->start_nsec / 10000000 ? process : NULL;
}

/*
 * Of the current thread: *ret_id, 0 when it runs no goroutine or that is not wanted; and the labels in ->labels of what is returned,
 * with their hash in its key. NULL: there are none, or *ret_has_failed.
 */
static __always_inline struct go_search *go_find_labels(struct task_struct *task, const struct go_thread *process, __u64 salt,
		__u64 *ret_id, bool *ret_has_failed)
{
	__u64 labels = 0;
	struct go_search *search;
	__u32 zero = 0;

	*ret_has_failed = false;
	go_find_goroutine(process, task->thread.fsbase, ret_id, &labels);
	search = bpf_map_lookup_elem(&go_scratch, &zero);
	if (!labels || !search)
		return NULL;
	search->hash = search->salt = salt;
	search->labels.n = 0;
	search->has_failed = search->is_cut = 0;
	if (process->labels == GO_THREAD_LABELS_LIST)
		go_read_list(search, labels);
	else
		go_read_map(search, labels);
	*ret_has_failed = search->has_failed;
	if (search->has_failed || !search->labels.n)
		return NULL;
	search->labels.key.labels = search->hash > SAMPLE_LABELS_OTHER ? search->hash : SAMPLE_LABELS_OTHER + 1;
	return search;
}
