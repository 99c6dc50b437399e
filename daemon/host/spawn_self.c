/* SPDX-License-Identifier: Apache-2.0 */
#include "spawn_self.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

#include "cleanup.h"

/* Copies above those that they become, so that none is overwritten before it was copied. */
static int add_descriptors(posix_spawn_file_actions_t *actions, const struct spawn_self *what, int *copies)
{
	for (size_t i = 0; i < what->n_fds; i++) {
		int r;

		copies[i] = fcntl(what->fds[i], F_DUPFD_CLOEXEC, SPAWN_SELF_FIRST_FD + SPAWN_SELF_MAX_FDS);
		if (copies[i] < 0)
			return -errno;
		r = posix_spawn_file_actions_adddup2(actions, copies[i], SPAWN_SELF_FIRST_FD + (int)i);
		if (r)
			return -r;
	}
	return 0;
}

static int set_signals(posix_spawnattr_t *attributes)
{
	sigset_t blocked, all;
	int r;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGHUP);
	sigfillset(&all);
	r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (!r)
		r = posix_spawnattr_setsigmask(attributes, &blocked);
	if (!r)
		r = posix_spawnattr_setsigdefault(attributes, &all);
	return -r;
}

/* posix_spawn() is safe in a process with threads: nothing of ours runs between fork and exec. */
int spawn_self(const struct spawn_self *what, pid_t *ret)
{
	char *const argv[] = { (char *)what->name, (char *)what->argument, NULL };
	/* Nothing of the environment is its business; sanitizers of test builds read theirs from it. */
	char *const envp[] = { (char *)"LC_ALL=C", (char *)"ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1", NULL };
	int copies[SPAWN_SELF_MAX_FDS] = { -1, -1, -1, -1 };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int r;

	r = posix_spawn_file_actions_init(&actions);
	if (r)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (r) {
		posix_spawn_file_actions_destroy(&actions);
		return -r;
	}
	r = add_descriptors(&actions, what, copies);
	if (r >= 0)
		r = set_signals(&attributes);
	if (r >= 0)
		r = -posix_spawn(ret, "/proc/self/exe", &actions, &attributes, argv, envp);
	for (size_t i = 0; i < ARRAY_SIZE(copies); i++)
		close_fd(copies[i]);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}
