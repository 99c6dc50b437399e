/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many short-lived processes: starts RATE children a second for SECONDS, each a fresh exec of <folder>/churn-child that
 * burns 2 ms of CPU time in child_work(), beside IDLE processes that sleep.
 * `churn [SECONDS [RATE [IDLE [USEC]]]]`, by default 5 s, 100 a second, 0 idle, 2000 us.
 *
 * Prints {"target":..,"pid":..,"cpu_ns":{"child_work":..},"total_ns":..,"children":..,"failed":..,"child_cpu_ns":..,
 * "wall_ns":..}: child_work is what the children measured themselves, child_cpu_ns what the kernel accounted to them
 * from fork to end, total_ns the driver's own. A rate that the machine cannot follow shows as fewer children.
 */
#include "truth.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT_FD   3     /* where a child writes what it took */
#define MAX_RUNNING 32    /* more would only queue for the processor */
#define MAX_RATE    5000  /* a second */
#define MAX_IDLE    20000

struct churn {
	char child_path[PATH_MAX];
	char usec[24];
	int report_write_fd;
	int report_read_fd;
	unsigned n_running;
	uint64_t n_children;
	uint64_t n_failed;
	uint64_t cpu_nsec;  /* by rusage */
	uint64_t work_nsec; /* by the children's own clocks */
};

extern char **environ;

static void die(const char *what)
{
	perror(what);
	exit(71);
}

static int argument(int argc, char **argv, int i, int fallback, int max)
{
	int value = argc > i ? atoi(argv[i]) : fallback;

	if (value < 0 || value > max) {
		fprintf(stderr, "%s: argument %d is 0 to %d\n", argv[0], i, max);
		exit(64);
	}
	return value;
}

static void open_reports(struct churn *c)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		die("pipe");
	c->report_read_fd = fds[0];
	/* Not the child's own number, so that dup2() clears its close-on-exec. */
	c->report_write_fd = fcntl(fds[1], F_DUPFD_CLOEXEC, REPORT_FD + 1);
	close(fds[1]);
	if (c->report_write_fd < 0)
		die("pipe");
}

static void find_child(struct churn *c)
{
	ssize_t n = readlink("/proc/self/exe", c->child_path, sizeof c->child_path - sizeof "churn-child");
	char *slash;

	if (n < 0)
		die("/proc/self/exe");
	c->child_path[n] = 0;
	slash = strrchr(c->child_path, '/');
	strcpy(slash + 1, "churn-child");
	if (access(c->child_path, X_OK) < 0)
		die(c->child_path);
}

static void start_idle(int n_idle)
{
	for (int i = 0; i < n_idle; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			signal(SIGTERM, SIG_DFL);
			for (;;)
				pause();
		}
	}
}

static void start_child(struct churn *c)
{
	char *argv[] = {c->child_path, c->usec, NULL};
	pid_t pid = vfork();

	if (pid < 0)
		die("vfork");
	if (pid == 0) {
		if (dup2(c->report_write_fd, REPORT_FD) == REPORT_FD)
			execve(c->child_path, argv, environ);
		_exit(127);
	}
	c->n_running++;
}

static uint64_t timeval_nsec(struct timeval t)
{
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_usec * 1000;
}

static void read_reports(struct churn *c)
{
	uint64_t took_nsec[64];
	ssize_t n;

	while ((n = read(c->report_read_fd, took_nsec, sizeof took_nsec)) > 0)
		for (size_t i = 0; i < (size_t)n / sizeof *took_nsec; i++)
			c->work_nsec += took_nsec[i];
}

/* Takes leave of children that ended; with `wait`, of at least one. */
static void reap(struct churn *c, int wait)
{
	struct rusage usage;
	int status;

	while (c->n_running && wait4(-1, &status, wait ? 0 : WNOHANG, &usage) > 0) {
		c->n_running--;
		c->n_children++;
		c->n_failed += status != 0;
		c->cpu_nsec += timeval_nsec(usage.ru_utime) + timeval_nsec(usage.ru_stime);
		wait = 0;
	}
	read_reports(c);
}

/* Starts children at random distances whose mean is that of the rate. */
static void run(struct churn *c, double seconds, int rate)
{
	uint64_t end_nsec = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9);
	uint64_t next_nsec = truth_monotonic_nsec();
	uint64_t random = truth_seed();

	for (uint64_t now_nsec; !truth_stopped() && (now_nsec = truth_monotonic_nsec()) < end_nsec;) {
		reap(c, c->n_running >= MAX_RUNNING);
		if (now_nsec < next_nsec) {
			usleep((useconds_t)((next_nsec - now_nsec) / 1000));
			continue;
		}
		start_child(c);
		next_nsec += truth_random(&random) % (UINT64_C(2000000000) / (unsigned)rate);
		/* What could not be started in time is not caught up with in a burst. */
		if (next_nsec + UINT64_C(100000000) < now_nsec)
			next_nsec = now_nsec;
	}
	while (c->n_running)
		reap(c, 1);
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	int rate = argument(argc, argv, 2, 100, MAX_RATE);
	int n_idle = argument(argc, argv, 3, 0, MAX_IDLE);
	int usec = argument(argc, argv, 4, 2000, 1000000);
	struct churn c = {.n_running = 0};
	struct share work = {"child_work", 100, NULL, 0};
	uint64_t start_nsec;

	snprintf(c.usec, sizeof c.usec, "%d", usec);
	find_child(&c);
	open_reports(&c);
	start_idle(n_idle);

	start_nsec = truth_monotonic_nsec();
	if (rate)
		run(&c, seconds, rate);
	else
		usleep((useconds_t)(seconds * 1e6));
	work.cpu_nsec = c.work_nsec;
	truth_print_open(&work, 1);
	printf(",\"children\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"child_cpu_ns\":%" PRIu64 ",\"wall_ns\":%" PRIu64 "}\n",
	       c.n_children, c.n_failed, c.cpu_nsec, truth_monotonic_nsec() - start_nsec);
	return c.n_failed != 0;
}
