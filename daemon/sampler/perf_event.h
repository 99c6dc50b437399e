/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Kernel perf events: opening one, and a set that keeps one clock event, with a BPF program attached, on each online CPU.
 */
#include <linux/perf_event.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vec.h"

/*
 * perf_event_open(2), close-on-exec. A descriptor, or -errno. Where the kernel asks for CAP_SYS_ADMIN (Debian's
 * kernel.perf_event_paranoid = 3 does) and we hold it permitted but not effective, it is raised for this call only.
 */
int perf_event_open(struct perf_event_attr *attr, pid_t pid, int cpu, unsigned long flags);

struct perf_event_cpus {
	VEC(int) cpus; /* rising */
};

/* Parses a list as in /sys/devices/system/cpu/online ("0-3,8"). 0, -EINVAL, -ENOMEM. `ret` is freed with vec_deinit(). */
int perf_event_parse_cpus(const char *list, struct perf_event_cpus *ret);
int perf_event_online_cpus(struct perf_event_cpus *ret);

struct perf_events;

/* What ticks. */
enum perf_event_source {
	PERF_EVENT_CPU_CLOCK,                /* a timer of the kernel: everywhere, exact periods */
	/*
	 * The processor's counter, by frequency: sees into code that runs with interrupts off. Untested, for want of a
	 * machine with a counter.
	 */
	PERF_EVENT_CYCLES,
};

/*
 * Opens an event on each online CPU, each of which runs BPF program `program_fd` every `period_nsec` unless the
 * CPU is idle; period 0: not at all until perf_events_set_period(). `program_fd` must live as long.
 * 0 or -errno; -ENOENT or -EOPNOTSUPP when the machine has no counter of cycles.
 */
int perf_events_new(int program_fd, enum perf_event_source source, uint64_t period_nsec, struct perf_events **ret);
struct perf_events *perf_events_free(struct perf_events *events);

/* From now on another period, at once on all CPUs. 0 pauses. */
int perf_events_set_period(struct perf_events *events, uint64_t period_nsec);

/* Opens events on CPUs that came, closes those of CPUs that went. Reads one small file; call it once a second. */
int perf_events_follow(struct perf_events *events);

/*
 * Reopens events that stand still: their CPU went and came back between two calls of perf_events_follow(), which leaves
 * a descriptor that looks alive. Interrupts every CPU once, which its clock event does much more often.
 */
int perf_events_revive(struct perf_events *events);

size_t perf_events_count(const struct perf_events *events);
