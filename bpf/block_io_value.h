/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* What block_io.bpf.c counts, as it crosses the boundary. */
#include <linux/types.h>

enum {
	BLOCK_IO_MAX_DEVICES = 64,       /* and requests of further ones are counted together */
	BLOCK_IO_NAME_LENGTH = 32,       /* DISK_NAME_LEN */
	BLOCK_IO_N_BOUNDS = 21,          /* 16 us times 2^i: up to 16.8 s */
	BLOCK_IO_FIRST_BOUND_NSEC = 16000,
};

/* As the kernel tells them apart in /proc/diskstats (include/linux/blk_types.h, enum stat_group). */
enum block_io_operation {
	BLOCK_IO_READ,
	BLOCK_IO_WRITE,
	BLOCK_IO_DISCARD,
	BLOCK_IO_FLUSH,
	BLOCK_IO_N_OPERATIONS,
};

struct block_io_key {
	__u32 device;                    /* of the whole disk, as the kernel has it: major << 20 | minor */
	__u32 operation;                 /* enum block_io_operation */
};

/* Per CPU. */
struct block_io_value {
	__u64 buckets[BLOCK_IO_N_BOUNDS + 1]; /* timed requests by how long they took; the last one: longer */
	__u64 nsec;                      /* of the timed ones */
	__u64 queued_nsec, n_queued;     /* until the device was given them; of those where that moment is known */
	__u64 n_untimed;                 /* requests that the kernel put no time on */
	__u64 bytes;
};

struct block_io_disk {
	char name[BLOCK_IO_NAME_LENGTH];
};
