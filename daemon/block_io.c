/* SPDX-License-Identifier: Apache-2.0 */
#include "block_io.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "block_io.skel.h"
#include "cleanup.h"

struct block_io {
	struct block_io_bpf *bpf;
	struct block_io_value *of_cpus;      /* of one entry; as many as the kernel may ever have */
	int n_cpus;
};

struct block_io *block_io_free(struct block_io *block_io)
{
	if (!block_io)
		return NULL;
	block_io_bpf__destroy(block_io->bpf);
	free(block_io->of_cpus);
	free(block_io);
	return NULL;
}
DEFINE_CLEANUP(struct block_io, block_io_free);

/* A number until an enum of bits took its place, Linux 6.12 or so (commit 5f89154e8e9e); false: it still is. */
static bool find_flush_sequence(const struct btf *kernel, uint32_t *ret)
{
	int id = btf__find_by_name_kind(kernel, "rqf_flags", BTF_KIND_ENUM);
	const struct btf_type *type = id < 0 ? NULL : btf__type_by_id(kernel, (uint32_t)id);

	for (uint16_t i = 0; type && i < btf_vlen(type); i++) {
		const struct btf_enum *value = &btf_enum(type)[i];

		if (!strcmp(btf__name_by_offset(kernel, value->name_off), "__RQF_FLUSH_SEQ") && value->val >= 0 && value->val < 32) {
			*ret = UINT32_C(1) << value->val;
			return true;
		}
	}
	return false;
}

/* BLOCK_IO_E_ABSENT: there is no such tracepoint. */
static int fit_to_kernel(struct block_io *block_io)
{
	struct btf *kernel = btf__load_vmlinux_btf();
	long error = libbpf_get_error(kernel);
	uint32_t flag;

	if (error)
		return (int)error;
	if (btf__find_by_name_kind(kernel, "btf_trace_block_rq_complete", BTF_KIND_TYPEDEF) < 0)
		error = BLOCK_IO_E_ABSENT;
	else if (find_flush_sequence(kernel, &flag))
		block_io->bpf->rodata->flush_sequence = flag;
	btf__free(kernel);
	return (int)error;
}

int block_io_new(struct block_io **ret)
{
	_cleanup_(block_io_free_p) struct block_io *block_io = calloc(1, sizeof(*block_io));
	int r;

	if (!block_io)
		return -ENOMEM;
	block_io->n_cpus = libbpf_num_possible_cpus();
	if (block_io->n_cpus < 0)
		return block_io->n_cpus;
	block_io->of_cpus = calloc((size_t)block_io->n_cpus, sizeof(*block_io->of_cpus));
	block_io->bpf = block_io_bpf__open();
	if (!block_io->of_cpus || !block_io->bpf)
		return -ENOMEM;
	r = fit_to_kernel(block_io);
	if (r)
		return r;
	r = block_io_bpf__load(block_io->bpf);
	if (r >= 0)
		r = block_io_bpf__attach(block_io->bpf);
	if (r < 0)
		return r;
	*ret = TAKE(block_io);
	return 0;
}

/* 64-bit words, one beside the other. */
static void add(struct block_io_value *sum, const struct block_io_value *value)
{
	const uint64_t *from = (const uint64_t *)value;
	uint64_t *to = (uint64_t *)sum;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

static int add_series(const struct block_io *block_io, const struct block_io_key *key, struct block_io_stats *stats)
{
	struct block_io_series series = { .operation = key->operation };
	struct block_io_disk disk;

	if (bpf_map_lookup_elem(bpf_map__fd(block_io->bpf->maps.requests), key, block_io->of_cpus) < 0 ||
	    bpf_map_lookup_elem(bpf_map__fd(block_io->bpf->maps.disks), &key->device, &disk) < 0)
		return -errno;
	memcpy(series.device, disk.name, sizeof(series.device) - 1);
	for (int i = 0; i < block_io->n_cpus; i++)
		add(&series.value, &block_io->of_cpus[i]);
	return vec_push(&stats->series, series);
}

static int compare_series(const void *a, const void *b)
{
	const struct block_io_series *x = a, *y = b;
	int names = strcmp(x->device, y->device);

	return names ? names : (int)x->operation - (int)y->operation;
}

static uint64_t misses(const struct block_io *block_io)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(bpf_program__fd(block_io->bpf->progs.block_io_complete), &info, &size) < 0)
		return 0;
	return info.recursion_misses;
}

int block_io_read(const struct block_io *block_io, struct block_io_stats *ret)
{
	const struct block_io_key *before = NULL;
	int r = 0, fd = bpf_map__fd(block_io->bpf->maps.requests);
	struct block_io_key key;

	/* Entries are never removed: none is met twice, and those that are made meanwhile are met or not. */
	while (r >= 0 && bpf_map_get_next_key(fd, before, &key) == 0) {
		r = key.operation < BLOCK_IO_N_OPERATIONS ? add_series(block_io, &key, ret) : 0;
		before = &key;
	}
	if (r < 0)
		return r;
	vec_sort(&ret->series, compare_series);
	ret->n_elsewhere = __atomic_load_n(&block_io->bpf->bss->n_elsewhere, __ATOMIC_RELAXED);
	ret->n_missed = misses(block_io);
	ret->memory_bytes = ret->series.n * (uint64_t)block_io->n_cpus * sizeof(struct block_io_value);
	return 0;
}

void block_io_stats_deinit(struct block_io_stats *stats)
{
	vec_deinit(&stats->series);
}

const char *block_io_operation_name(enum block_io_operation operation)
{
	static const char *const names[BLOCK_IO_N_OPERATIONS] = {
		[BLOCK_IO_READ] = "read",
		[BLOCK_IO_WRITE] = "write",
		[BLOCK_IO_DISCARD] = "discard",
		[BLOCK_IO_FLUSH] = "flush",
	};

	return names[operation];
}
