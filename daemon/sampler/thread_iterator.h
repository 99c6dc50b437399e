/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Runs a sleepable iterator over all threads (bpf/thread.bpf.c), which reads the memory of other processes and may have to
 * wait for one of their pages, for as long as their owner likes (a disk, FUSE). Nobody can end such a wait but the
 * one who waits, by dying: so it is a child of ours that does, and it is killed when nothing moves any more.
 */
#include <stdint.h>

struct bpf_link;

struct thread_iterator {
	const struct bpf_link *link;         /* bpf_program__attach() of the iterator */
	const volatile uint64_t *n_looked;   /* grows while it moves */
	void (*meanwhile)(void *userdata);   /* called every few milliseconds: to empty rings */
	void *userdata;
};

/* Returns when it is through. 0, -errno, or -ETIMEDOUT: it was held up, and did not come to all threads. */
int thread_iterator_run(const struct thread_iterator *iterator);
