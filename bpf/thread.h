/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Between thread.bpf.c and the daemon, beside sample.h. */
#include "sample.h"

/* A thread of a program, of which one look at all threads has one entry at most. */
struct thread_key {
	struct sample_process process;
	__u32 tid;
	__u32 zero;
};

struct thread_name {
	char thread[SAMPLE_COMM_LENGTH];
};

enum thread_pass {
	THREAD_PASS_ALL,                 /* each thread of the targets */
	THREAD_PASS_MISSED,              /* those that ran, and could not be looked at, when the pass before came by */
};
