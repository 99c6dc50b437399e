/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../main.h"
#include "sandbox.h"

/* Runs `act` in a confined process, with a readable file as descriptor 3; returns the wait status. */
static struct sandbox entered;
static int confined(int (*act)(void))
{
	const struct sandbox_options options = {
		.keep_fd = 3, .max_memory = 64 << 20, .max_address_space = 256 << 20, .max_descriptors = 16,
	};
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		int fd = open("/proc/self/exe", O_RDONLY);

		if (dup2(fd, 3) < 0 || sandbox_enter(&options, &entered) < 0)
			_exit(200);
		_exit(act());
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static int error_or_zero(long result)
{
	return result < 0 ? errno : 0;
}

#define IS_ERROR(status, error) (WIFEXITED(status) && WEXITSTATUS(status) == (error))
#define IS_KILLED(status) (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)

static int act_nothing(void) { return 0; }
static int act_read(void)
{
	char magic[4];

	return read(3, magic, 4) == 4 && !memcmp(magic, "\177ELF", 4) ? 0 : 1;
}
static int act_map(void)
{
	return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) == MAP_FAILED ? errno : 0;
}
static int act_allocate(void)
{
	char *p = malloc(1 << 20);

	if (!p)
		return ENOMEM;
	memset(p, 1, 1 << 20);
	free(p);
	return 0;
}

START_TEST(a_confined_process_works_on_what_it_has)
{
	ck_assert_int_eq(confined(act_nothing), 0);
	ck_assert_int_eq(confined(act_read), 0);
	ck_assert_int_eq(confined(act_map), 0);
	ck_assert_int_eq(confined(act_allocate), 0);
}
END_TEST

static int act_open(void) { return error_or_zero(open("/etc/passwd", O_RDONLY)); }
static int act_open_write(void) { return error_or_zero(open("/tmp/tsprofd-sandbox", O_WRONLY | O_CREAT, 0600)); }
static int act_open_by_descriptor(void) { return error_or_zero(openat(3, "", O_RDONLY)); }
static int act_execute_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}
static int act_make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return error_or_zero(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}
static int act_own(void) { return error_or_zero(fcntl(3, F_SETOWN, getppid())); }
static int act_signal_another(void) { return error_or_zero(syscall(SYS_tgkill, 1, 1, SIGTERM)); }

START_TEST(a_confined_process_cannot_open_anything)
{
	ck_assert(IS_ERROR(confined(act_open), EPERM));
	ck_assert(IS_ERROR(confined(act_open_write), EPERM));
	ck_assert(IS_ERROR(confined(act_open_by_descriptor), EPERM));
	ck_assert_int_lt(access("/tmp/tsprofd-sandbox", F_OK), 0);
}
END_TEST

START_TEST(a_confined_process_cannot_make_code_or_signal_others)
{
	ck_assert(IS_ERROR(confined(act_execute_memory), EPERM));
	ck_assert(IS_ERROR(confined(act_make_executable), EPERM));
	ck_assert(IS_ERROR(confined(act_own), EPERM));
	ck_assert(IS_ERROR(confined(act_signal_another), EPERM));
}
END_TEST

static int act_socket(void) { return error_or_zero(socket(AF_INET, SOCK_STREAM, 0)); }
static int act_execute(void)
{
	char *const argv[] = { (char *)"true", NULL };

	return error_or_zero(execve("/bin/true", argv, argv + 1));
}
static int act_trace(void) { return error_or_zero(ptrace(PTRACE_TRACEME, 0, NULL, NULL)); }
static int act_kill(void) { return error_or_zero(kill(1, 0)); }
static int act_fork(void) { return error_or_zero(syscall(SYS_fork)); }
static int act_x32(void) { return error_or_zero(syscall(0x40000000 | SYS_getpid)); }
static int act_become_root(void) { return error_or_zero(syscall(SYS_setresuid, 0, 0, 0)); }

START_TEST(what_only_an_attacker_tries_ends_it)
{
	ck_assert(IS_KILLED(confined(act_socket)));
	ck_assert(IS_KILLED(confined(act_execute)));
	ck_assert(IS_KILLED(confined(act_trace)));
	ck_assert(IS_KILLED(confined(act_kill)));
	ck_assert(IS_KILLED(confined(act_fork)));
	ck_assert(IS_KILLED(confined(act_x32)));
	ck_assert(IS_KILLED(confined(act_become_root)));
}
END_TEST

static int act_tell_landlock(void) { return (int)entered.landlock_abi; }
static int act_tell_rest(void) { return entered.limited && entered.unprivileged_user; }

START_TEST(it_tells_which_layers_hold)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);

	ck_assert_int_eq(WEXITSTATUS(confined(act_tell_landlock)), abi > 0 ? abi : 0);
	ck_assert_int_eq(WEXITSTATUS(confined(act_tell_rest)), 1);
}
END_TEST

static int act_abort(void) { abort(); }

START_TEST(a_confined_process_can_abort)
{
	int status = confined(act_abort);

	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
END_TEST

#ifndef __SANITIZE_ADDRESS__
static int act_allocate_much(void)
{
	/* volatile: clang would leave out an allocation that nobody uses. */
	void *volatile p = malloc(128 << 20);

	return p ? 0 : ENOMEM;
}

START_TEST(a_confined_process_has_limited_memory)
{
	ck_assert(IS_ERROR(confined(act_allocate_much), ENOMEM));
}
END_TEST
#else
START_TEST(a_confined_process_has_limited_memory)
{
}
END_TEST
#endif

UNIT_TESTS("sandbox", a_confined_process_works_on_what_it_has, a_confined_process_cannot_open_anything,
	a_confined_process_cannot_make_code_or_signal_others, what_only_an_attacker_tries_ends_it,
	it_tells_which_layers_hold, a_confined_process_can_abort, a_confined_process_has_limited_memory)
