/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler_offcpu.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "collector.h"
#include "locks.h"
#include "log.h"
#include "objects.h"
#include "sample.h" /* before the skeletons, which use it */
#include "offcpu.skel.h"
#include "stacks.h"
#include "thread.skel.h"
#include "thread_iterator.h"
#include "unwind_maps.h"
#include "waits.h"

struct sampler_offcpu {
	struct sampler sampler; /* first */
	struct offcpu_bpf *bpf;
	struct thread_bpf *found;            /* finds who waits already, on the maps of bpf; NULL: this kernel will not have it */
	struct collector *collector;
	bool all_processes, is_attached;
	uint32_t *n_targets_of_bit;          /* of bpf->bss->target_bits */
	uint64_t object_memory_bytes;
};

static const struct sampler_ops sampler_offcpu_ops;

static struct sampler_offcpu *from_sampler(struct sampler *sampler)
{
	return (struct sampler_offcpu *)sampler;
}

/* ---- a window's end ---- */

static void read_ring(void *userdata)
{
	struct sampler_offcpu *offcpu = userdata;

	collector_read(offcpu->collector);
}

/* Who waits already. What cannot be found has no stack, or is not timed until it waits again: no reason to lose the window. */
static void find_waits(struct sampler_offcpu *offcpu)
{
	struct thread_iterator iterator = { .meanwhile = read_ring, .userdata = offcpu };
	int r;

	if (!offcpu->found)
		return;
	offcpu->found->bss->epoch = offcpu->bpf->bss->epoch;
	offcpu->found->bss->attached_nsec = offcpu->bpf->bss->attached_nsec;
	offcpu->found->bss->objects_window = offcpu->bpf->bss->objects_window;
	iterator.link = offcpu->found->links.thread_find_waits;
	iterator.n_looked = (const volatile uint64_t *)&offcpu->found->bss->n_looked;
	r = thread_iterator_run(&iterator);
	if (r < 0)
		log_print(LOG_WARNING, "Waits that began before the window have no stack, or are missing: %s.",
				r == -ETIMEDOUT ? "the memory of one of their programs does not answer" : strerror(-r));
}

/* Runs an iterator over all threads. */
static int run_over_threads(const struct bpf_link *link)
{
	_cleanup_close_ int fd = -1;
	char nothing[64];
	ssize_t n;

	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0)
		return -errno;
	do
		n = read(fd, nothing, sizeof(nothing));
	while (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)));
	return n < 0 ? -errno : 0;
}

static void detach(struct sampler_offcpu *offcpu)
{
	bpf_link__destroy(offcpu->bpf->links.offcpu_switch);
	bpf_link__destroy(offcpu->bpf->links.offcpu_waking);
	bpf_link__destroy(offcpu->bpf->links.offcpu_fault);
	bpf_link__destroy(offcpu->bpf->links.offcpu_read_in);
	offcpu->bpf->links.offcpu_switch = offcpu->bpf->links.offcpu_waking = NULL;
	offcpu->bpf->links.offcpu_fault = offcpu->bpf->links.offcpu_read_in = NULL;
	offcpu->is_attached = false;
}

/* What faults are about is worth having, and no more: without, they lack a name. */
static void attach_faults(struct offcpu_bpf *bpf)
{
	if (bpf_program__autoload(bpf->progs.offcpu_fault))
		bpf->links.offcpu_fault = bpf_program__attach(bpf->progs.offcpu_fault);
	if (bpf_program__autoload(bpf->progs.offcpu_read_in))
		bpf->links.offcpu_read_in = bpf_program__attach(bpf->progs.offcpu_read_in);
}

static int attach(struct sampler_offcpu *offcpu)
{
	struct offcpu_bpf *bpf = offcpu->bpf;

	attach_faults(bpf);
	/* Nobody saw what came after it. */
	memset(bpf->bss->paces, 0, sizeof(bpf->bss->paces));
	__atomic_store_n(&bpf->bss->attached_nsec, clock_monotonic_nsec(), __ATOMIC_SEQ_CST);
	bpf->links.offcpu_waking = bpf_program__attach(bpf->progs.offcpu_waking);
	if (bpf->links.offcpu_waking)
		bpf->links.offcpu_switch = bpf_program__attach(bpf->progs.offcpu_switch);
	if (!bpf->links.offcpu_switch) {
		int error = errno;

		detach(offcpu);
		return -error;
	}
	offcpu->is_attached = true;
	return 0;
}

static int drain(struct sampler *sampler, uint32_t rate, struct stacks **ret)
{
	struct sampler_offcpu *offcpu = from_sampler(sampler);
	struct stacks *stacks;
	int r;

	/* Before the window begins, so that it is seen from its first moment on: it takes some 20 ms, the kernel waits for all CPUs. */
	r = rate && !offcpu->is_attached ? attach(offcpu) : 0;
	__atomic_add_fetch(&offcpu->bpf->bss->pass, 1, __ATOMIC_SEQ_CST);
	/* At a window's end, too: tables may have come that a stack found at its beginning waited for. */
	if (r >= 0 && offcpu->is_attached)
		find_waits(offcpu);
	/* What is open is told up to now. */
	if (r >= 0 && offcpu->is_attached)
		r = run_over_threads(offcpu->bpf->links.offcpu_carry);
	__atomic_add_fetch(&offcpu->bpf->bss->pass, 1, __ATOMIC_SEQ_CST);
	if (r < 0)
		return r;
	if (!rate && offcpu->is_attached)
		detach(offcpu);
	/* What waits from now on looks up anew what its file is called. */
	__atomic_add_fetch(&offcpu->bpf->bss->objects_window, 1, __ATOMIC_SEQ_CST);
	r = collector_turn(offcpu->collector, 1, &stacks);
	if (r < 0)
		return r;
	r = locks_find(stacks, &stacks->locks);
	if (r >= 0)
		r = waits_spread(stacks);
	if (r >= 0)
		r = objects_read(bpf_map__fd(offcpu->bpf->maps.objects), stacks);
	if (r < 0) {
		stacks_free(stacks);
		return r;
	}
	*ret = stacks;
	return 0;
}

/* The programs remember of a thread whether it belongs to one. */
static void tell_targets_changed(struct sampler_offcpu *offcpu)
{
	__atomic_add_fetch(&offcpu->bpf->data->target_generation, 1, __ATOMIC_SEQ_CST);
}

static int set_target(struct sampler *sampler, uint32_t pid, bool is_target)
{
	struct sampler_offcpu *offcpu = from_sampler(sampler);
	uint32_t bit = pid % SAMPLE_TARGET_BITS;
	__u64 *word = &offcpu->bpf->bss->target_bits[bit / 64];
	int r;

	if (offcpu->all_processes)
		return 0;
	r = collector_set_target(offcpu->bpf->maps.target_pids, pid, is_target);
	if (r <= 0)
		return r;
	tell_targets_changed(offcpu);
	if (is_target && offcpu->n_targets_of_bit[bit]++ == 0)
		__atomic_or_fetch(word, UINT64_C(1) << bit % 64, __ATOMIC_RELAXED);
	else if (!is_target && --offcpu->n_targets_of_bit[bit] == 0)
		__atomic_and_fetch(word, ~(UINT64_C(1) << bit % 64), __ATOMIC_RELAXED);
	return 0;
}

static uint64_t bpf_nsec(const struct sampler *sampler)
{
	return collector_bpf_nsec(((const struct sampler_offcpu *)sampler)->collector);
}

static uint64_t memory(const struct sampler *sampler)
{
	const struct sampler_offcpu *offcpu = (const struct sampler_offcpu *)sampler;

	return offcpu->object_memory_bytes + collector_memory(offcpu->collector);
}

void sampler_offcpu_set_min_delay(struct sampler *sampler, uint64_t nsec)
{
	__atomic_store_n(&from_sampler(sampler)->bpf->bss->min_delay_nsec, nsec, __ATOMIC_RELAXED);
}

void sampler_offcpu_set_wakers(struct sampler *sampler, bool wakers)
{
	__atomic_store_n(&from_sampler(sampler)->bpf->bss->wakers, wakers, __ATOMIC_RELAXED);
}

void sampler_offcpu_set_stack_every(struct sampler *sampler, uint64_t nsec)
{
	__atomic_store_n(&from_sampler(sampler)->bpf->data->stack_every_nsec, nsec, __ATOMIC_RELAXED);
}

void sampler_offcpu_set_time_every(struct sampler *sampler, uint64_t nsec)
{
	__atomic_store_n(&from_sampler(sampler)->bpf->bss->time_every_nsec, nsec, __ATOMIC_RELAXED);
}

/* ---- life ---- */

static struct sampler *sampler_offcpu_free(struct sampler *sampler)
{
	struct sampler_offcpu *offcpu = from_sampler(sampler);

	if (!offcpu)
		return NULL;
	offcpu_bpf__detach(offcpu->bpf);
	collector_free(offcpu->collector);
	thread_bpf__destroy(offcpu->found);
	offcpu_bpf__destroy(offcpu->bpf);
	free(offcpu->n_targets_of_bit);
	free(offcpu);
	return NULL;
}

static void sampler_offcpu_free_p(struct sampler_offcpu **offcpu)
{
	if (*offcpu)
		sampler_offcpu_free(&(*offcpu)->sampler);
}

/* These are loaded on kernels that have their tracepoints, and attached while there is a window. */
static void prepare_faults(struct offcpu_bpf *bpf)
{
	bpf_program__set_autoattach(bpf->progs.offcpu_fault, false);
	bpf_program__set_autoattach(bpf->progs.offcpu_read_in, false);
	bpf_program__set_autoload(bpf->progs.offcpu_fault, libbpf_find_vmlinux_btf_id("mm_filemap_fault", BPF_TRACE_RAW_TP) > 0);
	bpf_program__set_autoload(bpf->progs.offcpu_read_in,
			libbpf_find_vmlinux_btf_id("mm_filemap_add_to_page_cache", BPF_TRACE_RAW_TP) > 0);
}

static int load(struct sampler_offcpu *offcpu, const struct sampler_options *options)
{
	struct offcpu_bpf *bpf = offcpu_bpf__open();
	int r;

	if (!bpf)
		return -errno;
	offcpu->bpf = bpf;
	bpf_program__set_autoattach(bpf->progs.offcpu_switch, false);
	bpf_program__set_autoattach(bpf->progs.offcpu_waking, false);
	prepare_faults(bpf);
	r = collector_prepare(&COLLECTOR_PROGRAMS(bpf), options, options->ring_bytes);
	/* The bits are of numbers in the initial namespace, which we do not know here. */
	if (bpf->rodata->pid_namespace)
		memset(bpf->bss->target_bits, 0xff, sizeof(bpf->bss->target_bits));
	if (r >= 0)
		r = offcpu_bpf__load(bpf);
	/* The iterators; they do nothing until they are read. */
	if (r >= 0)
		r = offcpu_bpf__attach(bpf);
	return r;
}

/* It writes what it finds where the sampler's own programs write. */
static int share_maps(struct thread_bpf *found, const struct offcpu_bpf *bpf)
{
	const struct { struct bpf_map *to; const struct bpf_map *from; } shared[] = {
		{ found->maps.counters, bpf->maps.counters },
		{ found->maps.counts, bpf->maps.counts },
		{ found->maps.target_pids, bpf->maps.target_pids },
		{ found->maps.ring, bpf->maps.ring },
		{ found->maps.threads, bpf->maps.threads },
		{ found->maps.objects, bpf->maps.objects },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(shared) && r >= 0; i++)
		r = bpf_map__reuse_fd(shared[i].to, bpf_map__fd(shared[i].from));
	return r;
}

static int load_found(struct thread_bpf *found, const struct offcpu_bpf *bpf, const struct unwind_maps *unwind_maps)
{
	int r;

	found->rodata->stack_salt = bpf->rodata->stack_salt;
	found->rodata->all_processes = bpf->rodata->all_processes;
	found->rodata->pid_namespace = bpf->rodata->pid_namespace;
	found->rodata->has_tables = bpf->rodata->has_tables;
	bpf_program__set_autoload(found->progs.thread_snapshot, false);
	bpf_map__set_autocreate(found->maps.running, false);
	r = share_maps(found, bpf);
	if (r >= 0 && unwind_maps)
		r = unwind_maps_share(unwind_maps, found->obj);
	if (r >= 0)
		r = thread_bpf__load(found);
	if (r < 0)
		return r;
	found->links.thread_find_waits = bpf_program__attach(found->progs.thread_find_waits);
	return found->links.thread_find_waits ? 0 : -errno;
}

static void make_found(struct sampler_offcpu *offcpu, const struct unwind_maps *unwind_maps)
{
	int r;

	offcpu->found = thread_bpf__open();
	/* The kernel verifies programs for as long as they take: seconds on a machine that is emulated. We do not hang. */
	(void)sd_notify(0, "WATCHDOG=1");
	r = offcpu->found ? load_found(offcpu->found, offcpu->bpf, unwind_maps) : -errno;
	if (r >= 0)
		return;
	log_print(LOG_WARNING, "Waits that began before a window cannot be found: %s.", strerror(-r));
	thread_bpf__destroy(offcpu->found);
	offcpu->found = NULL;
}

static int make_collector(struct sampler_offcpu *offcpu, sd_event *loop, const struct sampler_options *options, sampler_seen_fn seen,
		void *userdata)
{
	const struct collector_options collector = {
		.name = "offcpu_counts",
		.ring_fd = bpf_map__fd(offcpu->bpf->maps.ring),
		.counts_fd = bpf_map__fd(offcpu->bpf->maps.counts),
		.counters_fd = bpf_map__fd(offcpu->bpf->maps.counters),
		.epoch = &offcpu->bpf->bss->epoch,
		.n_entries = options->n_entries,
		.seen = seen,
		.userdata = userdata,
	};

	return collector_new(loop, &collector, &offcpu->collector);
}

int sampler_offcpu_new(sd_event *loop, const struct sampler_options *options, sampler_seen_fn seen, void *userdata, struct sampler **ret)
{
	_cleanup_(sampler_offcpu_free_p) struct sampler_offcpu *offcpu = calloc(1, sizeof(*offcpu));
	int r;

	if (!offcpu)
		return -ENOMEM;
	offcpu->sampler.ops = &sampler_offcpu_ops;
	offcpu->all_processes = options->all_processes;
	offcpu->n_targets_of_bit = calloc(SAMPLE_TARGET_BITS, sizeof(*offcpu->n_targets_of_bit));
	if (!offcpu->n_targets_of_bit)
		return -ENOMEM;
	r = load(offcpu, options);
	if (r >= 0)
		r = make_collector(offcpu, loop, options, seen, userdata);
	if (r < 0)
		return r;
	make_found(offcpu, options->unwind_maps);
	offcpu->object_memory_bytes = collector_object_memory(offcpu->bpf->obj);
	collector_begin(offcpu->collector, 1);
	if (options->rate) {
		struct stacks *before;

		/* The first window begins when all is attached. */
		r = drain(&offcpu->sampler, options->rate, &before);
		if (r < 0)
			return r;
		stacks_free(before);
	}
	*ret = &TAKE(offcpu)->sampler;
	return 0;
}

static const struct sampler_ops sampler_offcpu_ops = {
	.kind = "block",
	.drain = drain,
	.set_target = set_target,
	.bpf_nsec = bpf_nsec,
	.memory = memory,
	.free = sampler_offcpu_free,
};
