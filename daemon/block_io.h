/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * How long the block devices of the machine take for their requests, whoever made them, since the daemon looks: histograms by device and
 * operation, for the metrics. Counted in the kernel (bpf/block_io.bpf.c) at 0.12 us a request, in no window.
 *
 * What a request is, and its length, are as in /proc/diskstats (Documentation/admin-guide/iostats.rst): of whole disks; those of
 * partitions are among them. A device that is made of others (device mapper, md) hands its own on to these and has none.
 */
#include <stdint.h>

#include "block_io_value.h"
#include "vec.h"

struct block_io;

/* This kernel has no such tracepoint: built without block devices, or without BTF of it. */
enum { BLOCK_IO_E_ABSENT = 1 };

/* Begins to count. 0, BLOCK_IO_E_ABSENT or -errno. */
int block_io_new(struct block_io **ret);
struct block_io *block_io_free(struct block_io *block_io);

/* One device and operation. Sums of all CPUs. */
struct block_io_series {
	char device[BLOCK_IO_NAME_LENGTH];   /* as /proc/diskstats has it */
	enum block_io_operation operation;
	struct block_io_value value;
};

struct block_io_stats {
	VEC(struct block_io_series) series;  /* by device, then operation */
	uint64_t n_elsewhere;                /* ends of requests of more devices than we count */
	uint64_t n_missed;                   /* and those that interrupted another one's, which the kernel leaves out */
	uint64_t memory_bytes;               /* of kernel maps, about */
};

/* Zero-initialise `ret` before. 0 or -errno. */
int block_io_read(const struct block_io *block_io, struct block_io_stats *ret);
void block_io_stats_deinit(struct block_io_stats *stats);

/* Static. */
const char *block_io_operation_name(enum block_io_operation operation);
