/* SPDX-License-Identifier: Apache-2.0 */
#include "go_write.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "go_switch.h"
#include "main.h"
#include "process.h"

/* Of this program, and of its children, whose variables they are. */
static volatile int64_t with_value = 12345, without_value;
static const int64_t constant = 12345;
static _Alignas(4096) volatile int64_t page[4096 / sizeof(int64_t)], late_page[4096 / sizeof(int64_t)], no_page[4096 / sizeof(int64_t)];

enum { PATIENCE_MSEC = 20000 };

static int proc;

static uint64_t address_of(const volatile void *at)
{
	return (uintptr_t)at;
}

/* Waits for a byte, and ends with 0 if its variables are as they should be. */
static pid_t start_child(int *ret_pipe, int64_t should, int64_t should_too)
{
	int ends[2];
	pid_t child;

	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		char byte;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[1]);
		_exit(read(ends[0], &byte, 1) == 1 && with_value == should && without_value == should_too ? 0 : 1);
	}
	ck_assert_int_gt(child, 0);
	close(ends[0]);
	*ret_pipe = ends[1];
	return child;
}

static int end_child(pid_t child, int pipe_end)
{
	int status;

	ck_assert_int_eq(write(pipe_end, "", 1), 1);
	close(pipe_end);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static struct go_write_process identify(pid_t pid)
{
	struct go_write_process process;
	struct process_stat stat;

	proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(proc, 0);
	ck_assert_int_eq(process_read_stat(proc, (uint32_t)pid, &stat), 0);
	ck_assert_int_eq(go_write_identify(proc, (uint32_t)pid, stat.start_ticks, &process), 0);
	return process;
}

START_TEST(variables_with_and_without_a_value_are_written)
{
	int end;
	pid_t child = start_child(&end, 524288, -7);
	struct go_write_process process = identify(child);
	struct go_write writes[] = {
		{ .address = address_of(&with_value), .expected = 12345, .value = 524288 },
		{ .address = address_of(&without_value), .expected = 0, .value = -7 },
	};

	ck_assert_int_eq(go_write(proc, &process, writes, 2, PATIENCE_MSEC), 0);
	ck_assert_int_eq(writes[0].outcome, 0);
	ck_assert_int_eq(writes[1].outcome, 0);
	ck_assert_int_eq(end_child(child, end), 0);
	/* Ours are as they were. */
	ck_assert_int_eq(with_value, 12345);
	ck_assert_int_eq(without_value, 0);
}
END_TEST

START_TEST(another_number_than_expected_is_left_and_told)
{
	int end;
	pid_t child = start_child(&end, 12345, 1);
	struct go_write_process process = identify(child);
	struct go_write writes[] = {
		{ .address = address_of(&with_value), .expected = 0, .value = 524288 },
		{ .address = address_of(&without_value), .expected = 0, .value = 1 },
	};

	ck_assert_int_eq(go_write(proc, &process, writes, 2, PATIENCE_MSEC), 0);
	ck_assert_int_eq(writes[0].outcome, GO_WRITE_E_CHANGED);
	ck_assert_int_eq(writes[0].found, 12345);
	ck_assert_int_eq(writes[1].outcome, 0);
	ck_assert_int_eq(end_child(child, end), 0);
}
END_TEST

/* All of them could be written to, but for the constant. */
START_TEST(what_is_no_variable_of_the_executable_is_not_written)
{
	static int64_t on_heap_value = 12345;
	int64_t on_stack = 12345, *on_heap = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int end;
	pid_t child;
	struct go_write_process process;
	struct go_write writes[] = {
		{ .address = address_of(&on_stack) }, { .address = address_of(on_heap) }, { .address = address_of(&constant) },
		/* libc's. */
		{ .address = address_of(stdout) }, { .address = address_of(&with_value) + 4 }, { .address = 8 }, { .address = UINT64_MAX - 7 },
		{ .address = address_of(page) },
	};
	size_t n = sizeof(writes) / sizeof(writes[0]);

	*on_heap = on_heap_value;
	/* A variable's page that the program gave up writing to. */
	ck_assert_int_eq(mprotect((void *)(uintptr_t)page, 4096, PROT_READ), 0);
	child = start_child(&end, 12345, 0);
	process = identify(child);
	for (size_t i = 0; i < n; i++) {
		writes[i].expected = 12345;
		writes[i].value = 524288;
	}
	ck_assert_int_eq(go_write(proc, &process, writes, n, PATIENCE_MSEC), 0);
	for (size_t i = 0; i < n; i++)
		ck_assert_msg(writes[i].outcome == GO_WRITE_E_NO_VARIABLE, "%zu: %d", i, writes[i].outcome);
	ck_assert_int_eq(end_child(child, end), 0);
	ck_assert_int_eq(mprotect((void *)(uintptr_t)page, 4096, PROT_READ | PROT_WRITE), 0);
	munmap(on_heap, 4096);
}
END_TEST

START_TEST(another_process_or_program_of_that_pid_is_left_alone)
{
	int end;
	pid_t child = start_child(&end, 12345, 0);
	struct go_write_process process = identify(child), other = process;
	struct go_write write = { .address = address_of(&with_value), .expected = 12345, .value = 1 };

	other.start_ticks--;
	ck_assert_int_eq(go_write_identify(proc, other.pid, other.start_ticks, &other), PROCESS_E_GONE);
	ck_assert_int_eq(go_write(proc, &other, &write, 1, PATIENCE_MSEC), PROCESS_E_GONE);
	other = process;
	other.start_stack += 16;
	ck_assert_int_eq(go_write(proc, &other, &write, 1, PATIENCE_MSEC), PROCESS_E_GONE);
	ck_assert_int_eq(end_child(child, end), 0);
	/* Waited for, and nobody. */
	ck_assert_int_eq(go_write(proc, &process, &write, 1, PATIENCE_MSEC), PROCESS_E_GONE);
	ck_assert_int_eq(write.outcome, -ESRCH);
}
END_TEST

START_TEST(a_zombie_is_gone)
{
	int end;
	pid_t child = start_child(&end, 12345, 0);
	struct go_write_process process = identify(child);
	struct go_write write = { .address = address_of(&with_value), .expected = 12345, .value = 1 };
	siginfo_t info;

	kill(child, SIGKILL);
	ck_assert_int_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(go_write(proc, &process, &write, 1, PATIENCE_MSEC), PROCESS_E_GONE);
	close(end);
	waitpid(child, NULL, 0);
}
END_TEST

/* Whoever writes to the one page, or touches the other, waits for what never comes. */
static _Noreturn void run_endless(int ready)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register late = { .mode = UFFDIO_REGISTER_MODE_WP, .range = { address_of(late_page), 4096 } };
	struct uffdio_register missing = { .mode = UFFDIO_REGISTER_MODE_MISSING, .range = { address_of(no_page), 4096 } };
	struct uffdio_writeprotect protect = { .mode = UFFDIO_WRITEPROTECT_MODE_WP, .range = { address_of(late_page), 4096 } };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	late_page[1] = 1;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &late) < 0 || ioctl(fd, UFFDIO_REGISTER, &missing) < 0 ||
	    ioctl(fd, UFFDIO_WRITEPROTECT, &protect) < 0 || write(ready, "", 1) != 1)
		_exit(1);
	close(ready);
	for (;;)
		pause();
}

START_TEST(a_process_that_makes_its_memory_wait_does_not_hold_us_up)
{
	struct go_write writes[] = {
		{ .address = address_of(&with_value), .expected = 12345, .value = 1 },
		{ .address = address_of(no_page), .expected = 0, .value = 1 },
		{ .address = address_of(late_page), .expected = 0, .value = 1 },
		{ .address = address_of(&without_value), .expected = 0, .value = 1 },
	};
	struct go_write_process process;
	uint64_t begin;
	int ends[2];
	pid_t child;
	char byte;

	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	if (child == 0)
		run_endless(ends[1]);
	close(ends[1]);
	if (read(ends[0], &byte, 1) == 1) {
		process = identify(child);
		begin = clock_monotonic_nsec();
		ck_assert_int_eq(go_write(proc, &process, writes, 4, 1000), 0);
		ck_assert_uint_lt(clock_monotonic_nsec() - begin, 5 * NSEC_PER_SEC);
		ck_assert_int_eq(writes[0].outcome, 0);
		/* Reading by /proc/PID/mem waits for nobody. */
		ck_assert_int_eq(writes[1].outcome, -EIO);
		ck_assert_int_eq(writes[2].outcome, GO_WRITE_E_NOT_KNOWN);
		ck_assert_int_eq(writes[3].outcome, -ETIMEDOUT);
		kill(child, SIGKILL);
	}
	/* Else it takes root, or vm.unprivileged_userfaultfd. The child is all that is left behind. */
	close(ends[0]);
	ck_assert_int_eq(waitpid(-1, NULL, 0), child);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

START_TEST(a_rate_of_waits_is_in_cycles_as_the_runtime_has_it)
{
	ck_assert_int_eq(go_switch_block_rate(0, 2.5e9), 0);
	ck_assert_int_eq(go_switch_block_rate(1, 0), 1);
	ck_assert_int_eq(go_switch_block_rate(1000000, 2.5e9), 2500000);
	ck_assert_int_eq(go_switch_block_rate(2, 1e8), 1);
	ck_assert_int_eq(go_switch_block_rate(1000, 0), -1);
	ck_assert_int_eq(go_switch_block_rate(UINT32_MAX, 1e300), -1);
}
END_TEST

START_TEST(nothing_is_wished_but_by_a_key)
{
	struct config config = { .enabled = true, .memory = { .enabled = true, .sample_size_bytes = 524288 }, .block.enabled = true, .mutex.enabled = true };
	struct go_switch_wish wish = go_switch_wish_of(&config, 2.5e9);

	for (int i = 0; i < GO_N_RATES; i++)
		ck_assert_int_eq(wish.values[i], 0);
	config.memory.go_enable = true;
	config.block.go_rate = 1000;
	config.mutex.go_fraction = 5;
	wish = go_switch_wish_of(&config, 2.5e9);
	ck_assert_int_eq(wish.values[GO_RATE_MEMORY], 524288);
	ck_assert_int_eq(wish.values[GO_RATE_BLOCK], 2500);
	ck_assert_int_eq(wish.values[GO_RATE_MUTEX], 5);
	config.enabled = false;
	wish = go_switch_wish_of(&config, 2.5e9);
	for (int i = 0; i < GO_N_RATES; i++)
		ck_assert_int_eq(wish.values[i], 0);
	config.enabled = true;
	config.memory.mode = CONFIG_MEMORY_OFF;
	config.block.enabled = config.mutex.enabled = false;
	wish = go_switch_wish_of(&config, 2.5e9);
	for (int i = 0; i < GO_N_RATES; i++)
		ck_assert_int_eq(wish.values[i], 0);
}
END_TEST

UNIT_TESTS("go_write", variables_with_and_without_a_value_are_written, another_number_than_expected_is_left_and_told,
	what_is_no_variable_of_the_executable_is_not_written, another_process_or_program_of_that_pid_is_left_alone, a_zombie_is_gone,
	a_process_that_makes_its_memory_wait_does_not_hold_us_up, a_rate_of_waits_is_in_cycles_as_the_runtime_has_it,
	nothing_is_wished_but_by_a_key)
