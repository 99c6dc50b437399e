/* SPDX-License-Identifier: Apache-2.0 */
#include "perf_event.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "privileges.h"

static const char online_path[] = "/sys/devices/system/cpu/online";

enum { MAX_CPU = 1 << 16 }; /* far above what Linux is built for (NR_CPUS 8192) */

int perf_event_open(struct perf_event_attr *attr, pid_t pid, int cpu, unsigned long flags)
{
	int fd, r;

	attr->size = sizeof(*attr);
	r = privileges_begin_admin();
	if (r < 0)
		return r;
	fd = (int)syscall(SYS_perf_event_open, attr, pid, cpu, -1, flags | PERF_FLAG_FD_CLOEXEC);
	r = fd < 0 ? -errno : fd;
	privileges_end_admin();
	return r;
}

int perf_event_parse_cpus(const char *list, struct perf_event_cpus *ret)
{
	struct perf_event_cpus parsed = {0};
	const char *p = list;
	int r = -EINVAL;

	while (*p && *p != '\n') {
		unsigned long first, last;
		char *end;

		if (*p < '0' || *p > '9')
			goto fail;
		first = last = strtoul(p, &end, 10);
		if (*end == '-') {
			p = end + 1;
			if (*p < '0' || *p > '9')
				goto fail;
			last = strtoul(p, &end, 10);
		}
		if (last < first || last >= MAX_CPU)
			goto fail;
		if (parsed.cpus.n && first <= (unsigned long)parsed.cpus.at[parsed.cpus.n - 1])
			goto fail;
		for (unsigned long cpu = first; cpu <= last; cpu++)
			if (vec_push(&parsed.cpus, (int)cpu) < 0) {
				r = -ENOMEM;
				goto fail;
			}
		if (*end == ',' && end[1] >= '0' && end[1] <= '9')
			end++;
		else if (*end && *end != '\n')
			goto fail;
		p = end;
	}
	if (!parsed.cpus.n)
		goto fail;
	*ret = parsed;
	return 0;

fail:
	vec_deinit(&parsed.cpus);
	return r;
}

int perf_event_online_cpus(struct perf_event_cpus *ret)
{
	_cleanup_close_ int fd = -1;
	char list[4096];
	ssize_t n;

	fd = open(online_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, list, sizeof(list) - 1);
	if (n < 0)
		return -errno;
	list[n] = '\0';
	return perf_event_parse_cpus(list, ret);
}

struct clock_event {
	int cpu;
	int fd;
	uint64_t counted; /* at the last perf_events_revive() */
};

struct perf_events {
	int program_fd;
	enum perf_event_source source;
	uint64_t period_nsec;
	VEC(struct clock_event) events; /* rising by CPU */
};

/* Closing is all it takes to stop and detach. */
struct perf_events *perf_events_free(struct perf_events *events)
{
	if (!events)
		return NULL;
	for (size_t i = 0; i < events->events.n; i++)
		close_fd(events->events.at[i].fd);
	vec_deinit(&events->events);
	free(events);
	return NULL;
}
DEFINE_CLEANUP(struct perf_events, perf_events_free);

/* What PERF_EVENT_IOC_PERIOD and the attribute want: a period of the clock, a frequency of the counter. */
static uint64_t period_or_frequency(enum perf_event_source source, uint64_t period_nsec)
{
	if (!period_nsec)
		return NSEC_PER_SEC;
	return source == PERF_EVENT_CPU_CLOCK ? period_nsec : MAX(NSEC_PER_SEC / period_nsec, UINT64_C(1));
}

static int set_period(int fd, enum perf_event_source source, uint64_t period_nsec)
{
	uint64_t value = period_or_frequency(source, period_nsec);

	if (!period_nsec)
		return ioctl(fd, PERF_EVENT_IOC_DISABLE, 0) < 0 ? -errno : 0;
	if (ioctl(fd, PERF_EVENT_IOC_PERIOD, &value) < 0)
		return -errno;
	return ioctl(fd, PERF_EVENT_IOC_ENABLE, 0) < 0 ? -errno : 0;
}

/* An event that samples; or -ENODEV when the CPU is not online any more. */
static int open_clock(const struct perf_events *events, int cpu)
{
	/*
	 * Of the clock a period, not a frequency: the kernel would tune the period of a frequency, and what a sample stands
	 * for would change from one to the next. Cycles have no fixed length, so there it has to be a frequency.
	 * No sample_type: nothing is written to a perf ring, the program sees registers.
	 */
	bool is_clock = events->source == PERF_EVENT_CPU_CLOCK;
	struct perf_event_attr attr = {
		.type = is_clock ? PERF_TYPE_SOFTWARE : PERF_TYPE_HARDWARE,
		.config = is_clock ? PERF_COUNT_SW_CPU_CLOCK : PERF_COUNT_HW_CPU_CYCLES,
		.freq = !is_clock,
		.sample_period = period_or_frequency(events->source, events->period_nsec),
		.exclude_idle = 1,
		.disabled = 1,
	};
	_cleanup_close_ int fd = -1;
	int r;

	fd = perf_event_open(&attr, -1, cpu, 0);
	if (fd == -ENXIO)
		return -ENODEV;
	if (fd < 0)
		return fd;
	if (ioctl(fd, PERF_EVENT_IOC_SET_BPF, events->program_fd) < 0)
		return -errno;
	if (events->period_nsec) {
		r = ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
		if (r < 0)
			return -errno;
	}
	return take_fd(&fd);
}

int perf_events_follow(struct perf_events *events)
{
	struct perf_event_cpus online = {0};
	size_t kept = 0;
	int r, first_error = 0;

	r = perf_event_online_cpus(&online);
	if (r < 0)
		return r;
	/* Those that went; both lists rise. */
	for (size_t i = 0, j = 0; i < events->events.n; i++) {
		while (j < online.cpus.n && online.cpus.at[j] < events->events.at[i].cpu)
			j++;
		if (j < online.cpus.n && online.cpus.at[j] == events->events.at[i].cpu)
			events->events.at[kept++] = events->events.at[i];
		else
			close_fd(events->events.at[i].fd);
	}
	events->events.n = kept;
	/* Those that came. */
	for (size_t i = 0, j = 0; j < online.cpus.n; j++) {
		struct clock_event event = { .cpu = online.cpus.at[j] };

		if (i < events->events.n && events->events.at[i].cpu == event.cpu) {
			i++;
			continue;
		}
		event.fd = open_clock(events, event.cpu);
		if (event.fd == -ENODEV)
			continue;
		r = event.fd < 0 ? event.fd : vec_push(&events->events, event);
		if (r < 0) {
			if (event.fd >= 0)
				close_fd(event.fd);
			if (!first_error)
				first_error = r;
			continue;
		}
		memmove(&events->events.at[i + 1], &events->events.at[i], (events->events.n - 1 - i) * sizeof(event));
		events->events.at[i++] = event;
	}
	vec_deinit(&online.cpus);
	return first_error;
}

int perf_events_new(int program_fd, enum perf_event_source source, uint64_t period_nsec, struct perf_events **ret)
{
	_cleanup_(perf_events_free_p) struct perf_events *events = NULL;
	int r;

	events = calloc(1, sizeof(*events));
	if (!events)
		return -ENOMEM;
	events->program_fd = program_fd;
	events->source = source;
	events->period_nsec = period_nsec;
	r = perf_events_follow(events);
	if (r < 0)
		return r;
	if (!events->events.n)
		return -ENODEV;
	*ret = TAKE(events);
	return 0;
}

int perf_events_set_period(struct perf_events *events, uint64_t period_nsec)
{
	int r, first_error = 0;

	if (period_nsec == events->period_nsec)
		return 0;
	events->period_nsec = period_nsec;
	for (size_t i = 0; i < events->events.n; i++) {
		r = set_period(events->events.at[i].fd, events->source, period_nsec);
		if (r < 0 && !first_error)
			first_error = r;
	}
	return first_error;
}

int perf_events_revive(struct perf_events *events)
{
	int first_error = 0;

	/* Only the clock counts on an idle CPU, and so tells standing still from nothing to do. */
	if (!events->period_nsec || events->source != PERF_EVENT_CPU_CLOCK)
		return 0;
	for (size_t i = 0; i < events->events.n; i++) {
		struct clock_event *event = &events->events.at[i];
		uint64_t counted = 0;
		int fd;

		/* A cpu-clock event counts the time in which it is enabled, idle or not. */
		if (read(event->fd, &counted, sizeof(counted)) == sizeof(counted) && counted > event->counted) {
			event->counted = counted;
			continue;
		}
		fd = open_clock(events, event->cpu);
		if (fd == -ENODEV)
			continue; /* perf_events_follow() will find out */
		if (fd < 0) {
			if (!first_error)
				first_error = fd;
			continue;
		}
		close_fd(event->fd);
		event->fd = fd;
		event->counted = 0;
	}
	return first_error;
}

size_t perf_events_count(const struct perf_events *events)
{
	return events->events.n;
}
