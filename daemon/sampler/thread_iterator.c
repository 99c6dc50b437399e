/* SPDX-License-Identifier: Apache-2.0 */
#include "thread_iterator.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
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

static int wait_for(const struct thread_iterator *iterator, struct helper *helper)
{
	uint64_t start_nsec = clock_monotonic_nsec(), moved_nsec = start_nsec, n_looked = 0;

	while (!helper_has_ended(helper, STEP_MSEC)) {
		uint64_t now_nsec = clock_monotonic_nsec(), n = *iterator->n_looked;

		iterator->meanwhile(iterator->userdata);
		if (n != n_looked)
			moved_nsec = now_nsec;
		n_looked = n;
		if (now_nsec - moved_nsec > held_up_nsec || now_nsec - start_nsec > most_nsec)
			break;
	}
	return helper_finish(helper);
}

int thread_iterator_run(const struct thread_iterator *iterator)
{
	_cleanup_(helper_deinit) struct helper helper = HELPER_NONE;
	_cleanup_close_ int fd = -1;
	pid_t pid;
	int r;

	fd = bpf_iter_create(bpf_link__fd(iterator->link));
	if (fd < 0)
		return -errno;
	pid = fork();
	if (!pid)
		read_all(fd);
	r = helper_watch(&helper, pid);
	return r < 0 ? r : wait_for(iterator, &helper);
}
