/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU sampler on the real kernel: exact where it must be exact, true where the truth is known. A program of its own
 * (no libcheck), so that it also runs alone in a machine with another kernel. Prints TAP; exit 77 when this kernel or user
 * may not.
 */
#include <bpf/bpf.h>
#include <cpuid.h>
#include <errno.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "sampler_cpu.h"
#include "stacks.h"

static int n_failed, n_passed;
static const char *prefix = ""; /* of a result: a part in a process of its own is one result of the whole */

__attribute__((format(printf, 2, 3))) static bool check(bool ok, const char *format, ...)
{
	va_list arguments;

	printf("%s%s - ", prefix, ok ? "ok" : "not ok");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	if (ok)
		n_passed++;
	else
		n_failed++;
	return ok;
}

/* ---- work with a known answer, in a section of its own so that its addresses are known ---- */

#ifdef __clang__
#define BURN __attribute__((noinline, section("burn_text")))
#else
#define BURN __attribute__((noinline, noclone, section("burn_text")))
#endif

extern const char __start_burn_text[], __stop_burn_text[];

static volatile uint64_t sink;

BURN static void burn_leaf(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		sink = sink * 3 + i;
}

/* A chain of exactly `depth` frames above its caller. */
BURN static void burn_deep(unsigned int depth, unsigned int n)
{
	if (depth > 1)
		burn_deep(depth - 1, n);
	else
		burn_leaf(n);
	__asm__ volatile("" ::: "memory"); /* not a tail call */
}

BURN static void burn_left(uint32_t path, unsigned int depth);

BURN static void burn_right(uint32_t path, unsigned int depth)
{
	if (!depth)
		burn_leaf(2000);
	else if (path & 1)
		burn_left(path >> 1, depth - 1);
	else
		burn_right(path >> 1, depth - 1);
	__asm__ volatile("" ::: "memory");
}

BURN static void burn_left(uint32_t path, unsigned int depth)
{
	if (!depth)
		burn_leaf(2000);
	else if (path & 1)
		burn_right(path >> 1, depth - 1);
	else
		burn_left(path >> 1, depth - 1);
	__asm__ volatile("" ::: "memory");
}

BURN static void burn_kernel(void)
{
	syscall(SYS_getpriority, 2, 0); /* PRIO_USER: goes through all processes */
	__asm__ volatile("" ::: "memory");
}

enum work { WORK_DEEP, WORK_MANY_STACKS, WORK_KERNEL, WORK_VERY_DEEP };

static bool is_burn(uint64_t address)
{
	return address >= (uintptr_t)__start_burn_text && address < (uintptr_t)__stop_burn_text;
}

__attribute__((noreturn)) static void work(enum work kind)
{
	uint32_t path = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "burner");
	for (;;) {
		switch (kind) {
		case WORK_DEEP:
			burn_deep(12, 100000);
			break;
		case WORK_VERY_DEEP:
			burn_deep(3000, 1000000);
			break;
		case WORK_MANY_STACKS:
			path = path * 1103515245 + 12345;
			burn_left(path >> 3, 24);
			break;
		case WORK_KERNEL:
			burn_kernel();
			break;
		}
	}
}

static pid_t start(enum work kind)
{
	pid_t pid = fork();

	if (!pid)
		work(kind);
	usleep(20000); /* named and at work before the window begins */
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/*
 * QEMU without KVM is too slow for its own timers: ticks are left out by the kernel (hrtimer_forward_now()), so that
 * what depends on how many come cannot be checked there.
 */
static bool is_emulated(void)
{
	unsigned int a, vendor[3];

	__cpuid(0x40000000, a, vendor[0], vendor[1], vendor[2]);
	return !memcmp(vendor, "TCGTCGTCGTCG", sizeof(vendor));
}

/*
 * Whether n samples are what `used` of `wall` nanoseconds want: 5 % off, and beside that three standard deviations of
 * what chance does when others take the processor in turns with us (none when we have it alone).
 */
static bool is_about(uint64_t n, uint64_t used, uint64_t wall, uint64_t period)
{
	double want = (double)used / (double)period, share = (double)used / (double)wall;
	double off = (double)n > want ? (double)n - want : want - (double)n;

	if (is_emulated())
		return (double)n < want * 1.05 + 2;
	off -= want * 0.05 + 2;
	return off <= 0 || off * off <= 9 * want * (1 - share);
}

static uint64_t cpu_nsec(pid_t pid)
{
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock))
		return 0;
	return clock_nsec(clock);
}

/* ---- the sampler ---- */

struct seen {
	size_t n;
	struct process_id processes[4096];
};

static void on_seen(const struct process_id *process, void *userdata)
{
	struct seen *seen = userdata;

	if (seen->n < sizeof(seen->processes) / sizeof(seen->processes[0]))
		seen->processes[seen->n++] = *process;
}

static void run_for(sd_event *loop, uint64_t usec)
{
	uint64_t end = clock_monotonic_nsec() + usec * NSEC_PER_USEC, now;

	while ((now = clock_monotonic_nsec()) < end)
		if (sd_event_run(loop, (end - now) / NSEC_PER_USEC + 1) < 0)
			abort();
}

static struct stacks *drain(struct sampler *sampler, uint32_t rate)
{
	struct stacks *stacks;
	int r = sampler->ops->drain(sampler, rate, &stacks);

	if (r < 0) {
		check(false, "drain: %s", strerror(-r));
		exit(1);
	}
	return stacks;
}

static uint64_t lost(const struct stacks *stacks)
{
	return stacks->lost_ring + stacks->lost_namespace + stacks->lost_frames;
}

static uint64_t of_process(const struct stacks *stacks, pid_t pid)
{
	uint64_t n = 0;

	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];

		if (stacks->processes.at[stacks->stacks.at[sample->stack].process].pid == (uint32_t)pid)
			n += sample->count;
	}
	return n;
}

static bool adds_up(const struct stacks *stacks)
{
	uint64_t verdicts = 0;

	for (size_t i = 0; i < SAMPLE_N_VERDICTS; i++)
		verdicts += stacks->verdicts[i];
	return stacks->seen == stacks_kept(stacks) + lost(stacks) &&
			verdicts == stacks->seen - stacks->lost_ring - stacks->lost_namespace;
}

static void print(const char *what, const struct stacks *s)
{
	printf("# %s: seen %lu kept %lu lost ring %lu namespace %lu frames %lu, stacks %zu samples %zu processes %zu, "
	       "verdicts", what, s->seen, stacks_kept(s), s->lost_ring, s->lost_namespace, s->lost_frames, s->stacks.n, s->samples.n,
	       s->processes.n);
	for (uint32_t i = 0; i < SAMPLE_N_VERDICTS; i++)
		if (s->verdicts[i])
			printf(" %s %lu", stacks_broken_reason(i) ? stacks_broken_reason(i) : i == SAMPLE_VERDICT_ELIDED ? "elided" : "whole or none",
					s->verdicts[i]);
	putchar('\n');
}

static struct sampler *new_sampler(sd_event *loop, const struct sampler_options *options, struct seen *seen)
{
	struct sampler *sampler;
	int r = sampler_cpu_new(loop, options, on_seen, seen, &sampler);

	if (r < 0) {
		if (n_passed + n_failed == 0 && (r == -EPERM || r == -EOPNOTSUPP)) {
			printf("1..0 # SKIP sampler_cpu_new: %s\n", strerror(-r));
			exit(77);
		}
		printf("Bail out! sampler_cpu_new: %s\n", strerror(-r));
		exit(1);
	}
	return sampler;
}

/* ---- what is promised ---- */

static const struct sampler_options everything = { .rate = 999, .all_processes = true };

static void known_function_is_found_at_its_rate(sd_event *loop)
{
	struct seen seen = {0};
	struct sampler *sampler = new_sampler(loop, &everything, &seen);
	uint64_t before, used, n = 0, in_burn = 0, whole = 0;
	pid_t pid = start(WORK_DEEP);
	struct stacks *stacks;
	bool named = true, idle = false;
	unsigned int told = 0;

	before = cpu_nsec(pid); /* the window begins when a drain does, not when it returns */
	stacks_free(drain(sampler, 999));
	run_for(loop, 2000000);
	used = cpu_nsec(pid) - before;
	stacks = drain(sampler, 999);
	stop(pid);
	print("one function", stacks);

	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];
		const struct stacks_stack *stack = &stacks->stacks.at[sample->stack];
		const uint64_t *user = &stacks->frames.at[stack->first_frame + stack->n_kernel];
		unsigned int depth = 0;

		if (stacks->processes.at[stack->process].pid != (uint32_t)pid)
			continue;
		n += sample->count;
		named &= !strcmp(sample->thread, "burner") && sample->tid == (uint32_t)pid;
		while (depth < stack->n_user && is_burn(user[depth]))
			depth++;
		in_burn += depth ? sample->count : 0;
		whole += depth >= 12 ? sample->count : 0;
	}
	for (size_t i = 0; i < stacks->processes.n; i++)
		idle |= !stacks->processes.at[i].pid;
	for (size_t i = 0; i < seen.n; i++)
		told += seen.processes[i].pid == (uint32_t)pid;
	check(adds_up(stacks) && !lost(stacks), "all samples are accounted for and none is lost");
	check(in_burn * 100 >= n * 97 && n > 0, "the known function has %lu of %lu samples", in_burn, n);
	check(whole * 100 >= in_burn * 97, "with its whole chain in %lu", whole);
	check(named, "under its thread's name and number");
	/* Of three windows: the one before the first drain, the second, and what the last drain read of the next. */
	check(told && told <= 3, "the process was told once in each window: %u", told);
	check(is_about(n, used, stacks->duration_nsec, stacks->period_nsec), "count x period / CPU time of one function = %.4f",
			(double)(n * stacks->period_nsec) / (double)used);
	check(!idle, "idle is never sampled");
	stacks_free(stacks);
	sampler->ops->free(sampler);
}

static void idle_machine_has_few_samples(sd_event *loop)
{
	struct seen seen = {0};
	struct sampler *sampler = new_sampler(loop, &everything, &seen);
	uint64_t ticks = 999 * (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	struct stacks *stacks;
	FILE *f;
	unsigned long before[10] = {0}, after[10] = {0}, busy = 0;

	/* What others do meanwhile is their CPU time as /proc/stat has it. */
	f = fopen("/proc/stat", "re");
	if (!f || fscanf(f, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", &before[0], &before[1], &before[2], &before[3], &before[4],
			&before[5], &before[6], &before[7]) != 8)
		abort();
	fclose(f);
	stacks_free(drain(sampler, 999));
	run_for(loop, 1000000);
	stacks = drain(sampler, 999);
	f = fopen("/proc/stat", "re");
	if (!f || fscanf(f, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", &after[0], &after[1], &after[2], &after[3], &after[4],
			&after[5], &after[6], &after[7]) != 8)
		abort();
	fclose(f);
	for (size_t i = 0; i < 8; i++)
		if (i != 3 && i != 4)
			busy += (after[i] - before[i]) * 999 / 100;
	print("idle machine", stacks);
	check(adds_up(stacks), "the sum holds when idle");
	check(stacks->seen <= busy + ticks / 10, "%lu of %lu ticks sampled, about %lu were busy", stacks->seen, ticks, busy);
	stacks_free(stacks);
	sampler->ops->free(sampler);
}

static void only_targets_are_sampled(sd_event *loop)
{
	const struct sampler_options options = { .rate = 999 };
	struct seen seen = {0};
	struct sampler *sampler = new_sampler(loop, &options, &seen);
	pid_t target = start(WORK_DEEP), other = start(WORK_DEEP);
	struct stacks *stacks;

	sampler->ops->set_target(sampler, (uint32_t)target, true);
	stacks_free(drain(sampler, 999));
	run_for(loop, 500000);
	stacks = drain(sampler, 999);
	print("one target", stacks);
	check(stacks->processes.n == 1 && of_process(stacks, target) > 5, "only the target is sampled");
	check(adds_up(stacks) && !lost(stacks), "the sum holds with targets");
	stacks_free(stacks);
	check(!sampler->ops->set_target(sampler, (uint32_t)target, false), "a target is given up");
	check(!sampler->ops->set_target(sampler, (uint32_t)target, false), "twice");
	stacks_free(drain(sampler, 999));
	run_for(loop, 100000);
	stacks = drain(sampler, 999);
	check(stacks->seen == 0, "and is sampled no more");
	stacks_free(stacks);
	stop(target);
	stop(other);
	sampler->ops->free(sampler);
}

static void nothing_is_lost_silently(sd_event *loop, const char *what, uint32_t n_entries, uint32_t ring_bytes,
		bool expect_loss)
{
	const struct sampler_options options = {
		.rate = 999, .all_processes = true, .n_entries = n_entries, .ring_bytes = ring_bytes,
	};
	struct seen seen = {0};
	struct sampler *sampler = new_sampler(loop, &options, &seen);
	pid_t pid = start(WORK_MANY_STACKS);
	struct stacks *stacks;
	bool sums = true;
	uint64_t n_lost = 0, kept = 0;

	for (unsigned int i = 0; i < 4; i++) {
		run_for(loop, 400000);
		stacks = drain(sampler, 999);
		if (i == 0 || !adds_up(stacks))
			print(what, stacks);
		sums &= adds_up(stacks);
		n_lost += lost(stacks);
		kept += stacks_kept(stacks);
		stacks_free(stacks);
	}
	check(sums, "%s: seen = kept + lost", what);
	check(kept > 0 && (n_lost > 0) == expect_loss, "%s: kept %lu, lost %lu", what, kept, n_lost);
	printf("# %s: %lu KiB of kernel memory\n", what, sampler->ops->memory(sampler) >> 10);
	stop(pid);
	sampler->ops->free(sampler);
}

static void drains_lose_nothing(sd_event *loop)
{
	const struct sampler_options options = { .rate = 4999, .all_processes = true };
	struct seen seen = {0};
	struct sampler *sampler = new_sampler(loop, &options, &seen);
	pid_t pid = start(WORK_MANY_STACKS);
	uint64_t n = 0, n_lost = 0, used, before, last = 0, wall = 0, longest = 0, previous_end = 0;
	bool sums = true, gapless = true;

	before = cpu_nsec(pid);
	stacks_free(drain(sampler, 4999));
	for (unsigned int i = 0; i < 60; i++) {
		struct stacks *stacks;
		uint64_t t;

		run_for(loop, i % 3 * 20000);
		last = cpu_nsec(pid);
		t = clock_monotonic_nsec();
		stacks = drain(sampler, 4999);
		t = clock_monotonic_nsec() - t;
		longest = t > longest ? t : longest;
		sums &= adds_up(stacks);
		n_lost += lost(stacks);
		n += of_process(stacks, pid);
		wall += stacks->duration_nsec;
		if (previous_end)
			gapless &= llabs((long long)(stacks->start_wall_nsec - previous_end)) < 1000000;
		previous_end = stacks->start_wall_nsec + stacks->duration_nsec;
		stacks_free(stacks);
	}
	used = last - before;
	check(sums && !n_lost, "60 drains add up and lose nothing (%lu samples)", n);
	check(gapless, "windows touch");
	check(is_about(n, used, wall, NSEC_PER_SEC / 4999), "count x period / CPU time over the drains = %.4f",
			(double)(n * (NSEC_PER_SEC / 4999)) / (double)used);
	printf("# longest drain: %.1f ms\n", (double)longest / 1e6);
	stop(pid);
	sampler->ops->free(sampler);
}

static void rate_changes_at_a_drain(sd_event *loop)
{
	static const uint32_t rates[] = { 999, 99, 0, 499 };
	struct seen seen = {0};
	struct sampler *sampler = new_sampler(loop, &everything, &seen);
	pid_t pid = start(WORK_DEEP);

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct stacks *stacks;
		uint64_t before, used, n;

		before = cpu_nsec(pid);
		stacks_free(drain(sampler, rates[i]));
		run_for(loop, 1000000);
		used = cpu_nsec(pid) - before;
		stacks = drain(sampler, 0);
		n = of_process(stacks, pid);
		if (!rates[i]) {
			/* A tick may fall between the change of epoch and the change of rate. */
			check(stacks->seen <= 2 * (uint64_t)sysconf(_SC_NPROCESSORS_ONLN), "rate 0 pauses");
		} else {
			check(stacks->period_nsec == NSEC_PER_SEC / rates[i], "the period is that of rate %u", rates[i]);
			check(is_about(n, used, stacks->duration_nsec, stacks->period_nsec), "rate %u: %lu samples, %lu expected",
					rates[i], n, used / stacks->period_nsec);
		}
		stacks_free(stacks);
	}
	stop(pid);
	sampler->ops->free(sampler);
}

static void kernel_and_deep_stacks(sd_event *loop)
{
	struct seen seen = {0};
	struct sampler *sampler = new_sampler(loop, &everything, &seen);
	pid_t in_kernel = start(WORK_KERNEL), deep = start(WORK_VERY_DEEP);
	uint64_t both = 0, n_kernel = 0, elided = 0, n_deep = 0;
	struct stacks *stacks;

	stacks_free(drain(sampler, 999));
	run_for(loop, 700000);
	stacks = drain(sampler, 999);
	print("kernel and deep", stacks);
	for (size_t i = 0; i < stacks->samples.n; i++) {
		const struct stacks_sample *sample = &stacks->samples.at[i];
		const struct stacks_stack *stack = &stacks->stacks.at[sample->stack];
		const uint64_t *frames = &stacks->frames.at[stack->first_frame];
		uint32_t pid = stacks->processes.at[stack->process].pid;

		if (pid == (uint32_t)deep) {
			n_deep += sample->count;
			/* The C library has no frame pointers: without tables it may break there. */
			if (stack->n_user == SAMPLE_MAX_USER_FRAMES && stack->n_elided >= 3000 - SAMPLE_MAX_USER_FRAMES &&
					stack->n_elided < 3050 - SAMPLE_MAX_USER_FRAMES)
				elided += sample->count;
		}
		if (pid != (uint32_t)in_kernel || !stack->n_kernel)
			continue;
		n_kernel += sample->count;
		/* syscall() of the C library has no frame pointer: the leaf is its instruction, the next burn_kernel()'s caller. */
		if (frames[0] >> 63 && stack->n_user >= 2 && !(frames[stack->n_kernel] >> 47))
			both += sample->count;
	}
	check(n_kernel > 5 && both * 100 >= n_kernel * 97, "kernel stack and program's stack together: %lu of %lu", both, n_kernel);
	check(n_deep > 5 && elided * 100 >= n_deep * 95, "of a stack of 3,000 frames 1,024 are kept, and the rest is counted: %lu of %lu",
			elided, n_deep);
	check(adds_up(stacks), "the sum holds");
	stacks_free(stacks);
	stop(in_kernel);
	stop(deep);
	sampler->ops->free(sampler);
}

/* Runs in a pid namespace of its own: numbers are ours, and what is outside is counted. */
static int inside_namespace(void)
{
	struct seen seen = {0};
	struct sampler *sampler;
	struct stacks *stacks;
	sd_event *loop;
	pid_t pid;

	n_failed = n_passed = 0;
	prefix = "# ";
	if (sd_event_new(&loop) < 0)
		return 1;
	sampler = new_sampler(loop, &everything, &seen);
	pid = start(WORK_DEEP);
	stacks_free(drain(sampler, 999));
	run_for(loop, 700000);
	stacks = drain(sampler, 999);
	print("in a pid namespace", stacks);
	check(pid < 10 && of_process(stacks, pid) > 5, "a process has the number that we know it by: %d", (int)pid);
	check(stacks->lost_namespace > 5, "those outside are counted: %lu", stacks->lost_namespace);
	check(adds_up(stacks), "the sum holds in a namespace");
	stacks_free(stacks);
	stop(pid);
	sampler->ops->free(sampler);
	sd_event_unref(loop);
	fflush(stdout);
	return n_failed ? 1 : 0;
}

static void pid_namespaces_are_translated(void)
{
	pid_t outside = start(WORK_DEEP), outer, inner;
	int status;

	fflush(stdout);
	outer = fork();
	if (!outer) {
		if (unshare(CLONE_NEWPID) < 0)
			_exit(77);
		inner = fork();
		if (!inner) {
			/* Its child is 2 or more: the first process after init. */
			_exit(inside_namespace());
		}
		waitpid(inner, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	waitpid(outer, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		check(true, "a daemon in a pid namespace of its own # SKIP not allowed here");
	else
		check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a daemon in a pid namespace of its own");
	stop(outside);
}

/* ---- figures ---- */

static struct bpf_prog_info program_info(int fd)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		memset(&info, 0, sizeof(info));
	return info;
}

static int find_program(struct bpf_prog_info *ret)
{
	uint32_t id = 0;
	int found = -1, fd;

	/* The newest of that name: another tsprofd may run. */
	while (!bpf_prog_get_next_id(id, &id)) {
		struct bpf_prog_info info;

		fd = bpf_prog_get_fd_by_id(id);
		if (fd < 0)
			continue;
		info = program_info(fd);
		if (strcmp(info.name, "sample_cpu")) {
			close(fd);
			continue;
		}
		if (found >= 0)
			close(found);
		found = fd;
		*ret = info;
	}
	return found;
}

static void figures(sd_event *loop)
{
	struct seen seen = {0};
	struct sampler *sampler;
	struct bpf_prog_info info = {0};
	uint64_t start_nsec = clock_monotonic_nsec(), ns, runs;
	int stats, fd;
	pid_t pid;

	sampler = new_sampler(loop, &everything, &seen);
	start_nsec = clock_monotonic_nsec() - start_nsec;
	fd = find_program(&info);
	printf("# start %.1f ms; %u instructions verified, %u bytes of BPF, %u of machine code; %lu KiB of kernel memory\n",
			(double)start_nsec / 1e6, info.verified_insns, info.xlated_prog_len, info.jited_prog_len,
			sampler->ops->memory(sampler) >> 10);
	stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (fd < 0 || stats < 0) {
		printf("# no run statistics: %s\n", strerror(errno));
	} else {
		pid = start(WORK_DEEP);
		info = program_info(fd);
		ns = info.run_time_ns;
		runs = info.run_cnt;
		run_for(loop, 2000000);
		info = program_info(fd);
		runs = info.run_cnt - runs;
		ns = info.run_time_ns - ns;
		printf("# %lu runs, %lu ns each (mostly of a 15-frame stack)\n", runs, runs ? ns / runs : 0);
		stop(pid);
		close(stats);
	}
	if (fd >= 0)
		close(fd);
	stacks_free(drain(sampler, 999));
	sampler->ops->free(sampler);
}

int main(void)
{
	struct utsname name;
	sd_event *loop;

	setvbuf(stdout, NULL, _IOLBF, 0);
	uname(&name);
	printf("# Linux %s\n", name.release);
	if (geteuid()) {
		printf("1..0 # SKIP needs root\n");
		return 77;
	}
	if (sd_event_new(&loop) < 0)
		return 1;
	figures(loop);
	known_function_is_found_at_its_rate(loop);
	kernel_and_deep_stacks(loop);
	only_targets_are_sampled(loop);
	nothing_is_lost_silently(loop, "default sizes", 0, 0, false);
	nothing_is_lost_silently(loop, "map of 64", 64, 0, false);
	nothing_is_lost_silently(loop, "ring of 4096", 0, 4096, true);
	nothing_is_lost_silently(loop, "map of 1, ring of 4096", 1, 4096, true);
	drains_lose_nothing(loop);
	rate_changes_at_a_drain(loop);
	idle_machine_has_few_samples(loop);
	pid_namespaces_are_translated();
	sd_event_unref(loop);
	printf("1..%d\n", n_passed + n_failed);
	return n_failed ? 1 : 0;
}
