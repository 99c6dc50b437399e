/* SPDX-License-Identifier: Apache-2.0 */
#include "thread_iterator.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "helper.h"

enum { STEP_MSEC = 5, MOST_SEC = 10 };

/* A page may have to come from a slow disk; a machine that is full looks at 10,000 threads a second. */
static const uint64_t held_up_nsec = NSEC_PER_SEC, most_nsec = MOST_SEC * NSEC_PER_SEC;

/* In the child of a process with threads: nothing but system calls. */
static _Noreturn void read_all(int fd)
{
	char nothing[64];
	ssize_t n;

	helper_begin(&fd, 1, MOST_SEC + 1);
	do
		n = read(fd, nothing, sizeof(nothing));
	while (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)));
	_exit(n < 0 ? errno : 0);
}

static int reap(pid_t pid, bool was_killed)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status))
		return -WEXITSTATUS(status);
	return was_killed ? -ETIMEDOUT : -EIO;
}

static int wait_for(const struct thread_iterator *iterator, pid_t pid, int pid_fd)
{
	uint64_t start_nsec = clock_monotonic_nsec(), moved_nsec = start_nsec, n_looked = 0;
	struct pollfd ended = { .fd = pid_fd, .events = POLLIN };

	while (poll(&ended, 1, STEP_MSEC) != 1) {
		uint64_t now_nsec = clock_monotonic_nsec(), n = *iterator->n_looked;

		iterator->meanwhile(iterator->userdata);
		if (n != n_looked)
			moved_nsec = now_nsec;
		n_looked = n;
		if (now_nsec - moved_nsec > held_up_nsec || now_nsec - start_nsec > most_nsec) {
			kill(pid, SIGKILL);
			return reap(pid, true);
		}
	}
	return reap(pid, false);
}

int thread_iterator_run(const struct thread_iterator *iterator)
{
	_cleanup_close_ int fd = -1, pid_fd = -1;
	pid_t pid;

	fd = bpf_iter_create(bpf_link__fd(iterator->link));
	if (fd < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		read_all(fd);
	pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid_fd < 0) {
		kill(pid, SIGKILL);
		reap(pid, true);
		return -EMFILE;
	}
	return wait_for(iterator, pid, pid_fd);
}
