/* SPDX-License-Identifier: Apache-2.0 */
#include "lock_owners.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "main.h"
#include "process.h"

static const uint32_t mutex[] = { 2, 0, 1234, 1, 0 };

static uint64_t address_of(const void *at)
{
	return (uintptr_t)at;
}

START_TEST(owners_are_read_whatever_of_the_memory_is_there)
{
	const uint64_t locks[] = { address_of(mutex), 16, address_of(mutex) };
	uint32_t owners[3] = { 7, 7, 7 };

	ck_assert_int_eq(lock_owners_read((uint32_t)getpid(), locks, 3, 20000, owners), 0);
	ck_assert_uint_eq(owners[0], 1234);
	ck_assert_uint_eq(owners[1], 0);
	ck_assert_uint_eq(owners[2], 1234);
}
END_TEST

START_TEST(a_process_that_is_gone_has_no_owners)
{
	const uint64_t lock = address_of(mutex);
	uint32_t owner = 7;

	ck_assert_int_eq(lock_owners_read(1 << 22, &lock, 1, 20000, &owner), PROCESS_E_GONE);
	ck_assert_uint_eq(owner, 0);
}
END_TEST

/* Memory whose pages never come; NULL: not here. */
static void *endless_memory(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	range.range.start = address_of(memory);
	range.range.len = 4096;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &range) < 0)
		return NULL;
	return memory;
}

START_TEST(a_process_that_makes_reading_last_does_not_hold_us_up)
{
	void *memory = endless_memory();
	const uint64_t locks[] = { address_of(mutex), address_of(memory), address_of(mutex) };
	uint32_t owners[3] = { 7, 7, 7 };
	uint64_t begin = clock_monotonic_nsec();

	/* It takes root, or vm.unprivileged_userfaultfd. */
	if (!memory)
		return;
	ck_assert_int_eq(lock_owners_read((uint32_t)getpid(), locks, 3, 300, owners), -ETIMEDOUT);
	ck_assert_uint_lt(clock_monotonic_nsec() - begin, 5 * NSEC_PER_SEC);
	ck_assert_uint_eq(owners[0], 1234);
	ck_assert_uint_eq(owners[1], 0);
	ck_assert_uint_eq(owners[2], 0);
	/* Nothing is left behind. */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

UNIT_TESTS("lock_owners", owners_are_read_whatever_of_the_memory_is_there, a_process_that_is_gone_has_no_owners,
	a_process_that_makes_reading_last_does_not_hold_us_up)
