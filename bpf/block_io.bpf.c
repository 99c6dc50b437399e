// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * How long requests to block devices take: a histogram for each device and operation. The kernel notes in each request
 * when it was made, and (where write-back throttling, or whatever else measures devices, is on) when the device was given it,
 * so that its end is all that is looked at, and nothing is remembered in between.
 *
 * What counts as one request, and its length, are those of /proc/diskstats: from when it was made until it is done.
 */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "block_io_value.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* include/linux/blk_types.h */
enum {
	OP_MASK = (1 << 8) - 1,
	OP_FLUSH = 2,
	OP_DISCARD = 3,
	OP_SECURE_ERASE = 5,
	OP_DRV_IN = 34, /* commands that pass through, from here on: diskstats does not have them either, unless asked to */
};

/*
 * RQF_FLUSH_SEQ of request.rq_flags. Set before loading: to look for its enum is more than libbpf may do on a kernel that has none
 * (it goes on in modules, which takes CAP_SYS_ADMIN).
 */
const volatile __u32 flush_sequence = 1 << 4;

/* Ends of requests, or of parts of them, that no entry could be made for: too many devices, or no memory. */
__u64 n_elsewhere = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, BLOCK_IO_MAX_DEVICES * BLOCK_IO_N_OPERATIONS);
	__type(key, struct block_io_key);
	__type(value, struct block_io_value);
} requests SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BLOCK_IO_MAX_DEVICES);
	__type(key, __u32);
	__type(value, struct block_io_disk);
} disks SEC(".maps");

/* A value of all CPUs is too large for the stack. */
static const struct block_io_value nothing;

static __always_inline struct block_io_value *value_of(const struct block_io_key *key, struct gendisk *disk)
{
	struct block_io_value *value = bpf_map_lookup_elem(&requests, key);
	struct block_io_disk name = {};

	if (value)
		return value;
	if (!bpf_map_lookup_elem(&disks, &key->device)) {
		bpf_probe_read_kernel_str(name.name, sizeof(name.name), disk->disk_name);
		if (bpf_map_update_elem(&disks, &key->device, &name, BPF_NOEXIST) < 0 && !bpf_map_lookup_elem(&disks, &key->device))
			return NULL;
	}
	bpf_map_update_elem(&requests, key, &nothing, BPF_NOEXIST); /* or another CPU was faster */
	return bpf_map_lookup_elem(&requests, key);
}

/* false: it is none of those that are counted. */
static __always_inline bool operation_of(const struct request *request, __u32 *ret)
{
	__u32 op = request->cmd_flags & OP_MASK;

	if (op >= OP_DRV_IN)
		return false;
	/* As op_stat_group(), and blk_account_io_flush(). */
	if (op == OP_FLUSH)
		*ret = BLOCK_IO_FLUSH;
	else if (op == OP_DISCARD || op == OP_SECURE_ERASE)
		*ret = BLOCK_IO_DISCARD;
	else
		*ret = op & 1 ? BLOCK_IO_WRITE : BLOCK_IO_READ;
	return true;
}

/* Its data are on the device, but a flush follows: it is told once more when that is done. */
static __always_inline bool goes_on(const struct request *request)
{
	return request->rq_flags & flush_sequence;
}

static __always_inline void add(struct block_io_value *value, const struct request *request)
{
	__u64 start_nsec = request->start_time_ns, issue_nsec = request->io_start_time_ns, now_nsec = bpf_ktime_get_ns(), nsec;
	__u32 bucket = 0;

	if (!start_nsec || now_nsec < start_nsec) {
		value->n_untimed += 1;
		return;
	}
	nsec = now_nsec - start_nsec;
#pragma unroll
	for (__u32 i = 0; i < BLOCK_IO_N_BOUNDS; i++)
		bucket += nsec > (__u64)BLOCK_IO_FIRST_BOUND_NSEC << i;
	if (bucket > BLOCK_IO_N_BOUNDS) /* cannot be */
		return;
	value->buckets[bucket] += 1;
	value->nsec += nsec;
	/* 0: nobody noted it. */
	if (issue_nsec >= start_nsec && issue_nsec <= now_nsec) {
		value->queued_nsec += issue_nsec - start_nsec;
		value->n_queued += 1;
	}
}

/*
 * Mostly in an interrupt. Where that interrupts another request's end on the same CPU, the kernel does not run the program a
 * second time, and counts that (recursion_misses): nothing here is changed twice at once.
 */
SEC("tp_btf/block_rq_complete")
int BPF_PROG(block_io_complete, struct request *request, int error, unsigned int n_bytes)
{
	struct block_io_key key = {};
	struct block_io_value *value;
	struct gendisk *disk = request->q->disk;

	if (!disk || !operation_of(request, &key.operation))
		return 0;
	key.device = (__u32)disk->major << 20 | (__u32)disk->first_minor;
	value = value_of(&key, disk);
	if (!value) {
		__sync_fetch_and_add(&n_elsewhere, 1);
		return 0;
	}
	value->bytes += n_bytes;
	/* A part of it. */
	if (n_bytes < request->__data_len)
		return 0;
	if (key.operation == BLOCK_IO_FLUSH || !goes_on(request))
		add(value, request);
	return 0;
}
