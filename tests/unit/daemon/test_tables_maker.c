/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../main.h"
#include "binary.h"
#include "clock.h"
#include "elf_image.h"
#include "fs.h"
#include "symbolizer_process.h"
#include "tables_maker.h"
#include "unwind_rows.h"

static struct tables_maker *start(const char *cache)
{
	static const char *const no_directories[] = { NULL };
	struct tables_maker *maker;

	ck_assert_int_eq(tables_maker_new(&(struct tables_maker_options){ cache, no_directories }, &maker), 0);
	return maker;
}

/* A reference to the file; its build id is that which is in it. */
static struct binary *open_binary(const char *path)
{
	struct binary *binary = calloc(1, sizeof(*binary));
	struct elf_image *image;
	struct stat st;

	binary->n_references = 1;
	binary->fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(binary->fd >= 0, "%s", path);
	ck_assert_int_eq(fstat(binary->fd, &st), 0);
	binary->size = (uint64_t)st.st_size;
	binary->path = strdup(path);
	if (elf_image_open(binary->fd, &image) == 0) {
		binary->build_id = elf_image_build_id(image);
		elf_image_free(image);
	}
	return binary;
}

static void submit(struct tables_maker *maker, struct binary *binary, uint64_t number)
{
	struct tables_job *job = calloc(1, sizeof(*job));

	job->binary = binary ? binary_ref(binary) : NULL;
	job->file.ino = number;
	tables_maker_submit_take(maker, job);
}

static struct tables_job *wait_done(struct tables_maker *maker)
{
	struct pollfd p = { .fd = tables_maker_fd(maker), .events = POLLIN };
	struct tables_job *job;

	while (!(job = tables_maker_take_done(maker)))
		ck_assert_msg(poll(&p, 1, 20000) == 1, "nothing was done in 20 s");
	return job;
}

static pid_t child_pid(void)
{
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	pid_t found = 0;

	while ((entry = readdir(proc))) {
		char path[300], *text, *at;
		size_t n;

		snprintf(path, sizeof(path), "/proc/%s/status", entry->d_name);
		if (atoi(entry->d_name) <= 0 || fs_read(AT_FDCWD, path, 65536, &text, &n) < 0)
			continue;
		at = strstr(text, "PPid:\t");
		if (at && atoi(at + 6) == getpid())
			found = atoi(entry->d_name);
		free(text);
	}
	closedir(proc);
	return found;
}

START_TEST(files_and_the_vdso_have_tables_and_a_text_has_none)
{
	const int own_priority = getpriority(PRIO_PROCESS, 0);
	struct binary *self = open_binary("/proc/self/exe"), *text = open_binary("/etc/passwd");
	struct tables_maker *maker = start(NULL);

	submit(maker, self, 1);
	submit(maker, NULL, 2);
	submit(maker, text, 3);
	for (unsigned i = 0, seen = 0; i < 3; i++) {
		struct tables_job *job = wait_done(maker);

		ck_assert(!(seen & 1u << job->file.ino));
		seen |= 1u << job->file.ino;
		ck_assert_int_eq(job->status, job->file.ino == 3 ? TABLES_MAKER_E_NONE : 0);
		ck_assert(!job->is_cached);
		ck_assert_uint_gt(job->cpu_nsec, 0);
		ck_assert_uint_ge(job->nsec, job->cpu_nsec / 4);
		if (!job->status)
			ck_assert_ptr_nonnull(unwind_image_find(&job->image, job->image.table.begin));
		tables_job_free(job);
	}
	ck_assert_ptr_null(tables_maker_take_done(maker));
	ck_assert_uint_eq(self->n_references, 1);
	ck_assert_int_eq(getpriority(PRIO_PROCESS, (id_t)child_pid()), 10);
	ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), own_priority);
	tables_maker_free(maker);
	ck_assert_int_eq(child_pid(), 0);
	binary_unref(self);
	binary_unref(text);
}
END_TEST

static void assert_cached(const char *cache, struct binary *binary, bool expected)
{
	struct tables_maker *maker = start(cache);
	struct tables_job *job;

	submit(maker, binary, 1);
	job = wait_done(maker);
	ck_assert_int_eq(job->status, 0);
	ck_assert_int_eq(job->is_cached, expected);
	tables_job_free(job);
	/* It is written when nothing else is to be done. */
	usleep(500000);
	ck_assert_int_eq(child_pid() == 0, expected);
	tables_maker_free(maker);
}

START_TEST(what_is_on_disk_needs_no_process)
{
	char folder[] = "/tmp/tsprof-test-maker-XXXXXX", path[100], command[8192], self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	struct binary *binary;

	ck_assert_int_gt(length, 0);
	self[length] = '\0';
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(command, sizeof(command), "cp '%s' %s/program", self, folder);
	ck_assert_int_eq(system(command), 0);
	snprintf(path, sizeof(path), "%s/program", folder);
	binary = open_binary(path);
	ck_assert_uint_gt(binary->build_id.size, 0);
	snprintf(path, sizeof(path), "%s/cache", folder);
	assert_cached(path, binary, false);
	assert_cached(path, binary, true);
	assert_cached(path, binary, true);
	/* Touched: nobody knows what else was done to it. */
	ck_assert_int_eq(fchmod(binary->fd, 0700), 0);
	assert_cached(path, binary, false);
	assert_cached(path, binary, true);
	binary_unref(binary);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

/* A library of so many functions with three rows each, which no linker merged: some 50 ms of CPU time for 100,000. */
static struct binary *large_library(const char *folder)
{
	char command[2048], path[100];

	snprintf(command, sizeof(command),
		"cd %s && printf '.text\\n.rept 100000\\n.cfi_startproc\\npush %%%%rbx\\n.cfi_def_cfa_offset 16\\npop %%%%rbx\\n"
		".cfi_def_cfa_offset 8\\nret\\n.cfi_endproc\\n.endr\\n' > l.s && cc -shared -nostdlib -o l.so l.s", folder);
	ck_assert_int_eq(system(command), 0);
	snprintf(path, sizeof(path), "%s/l.so", folder);
	return open_binary(path);
}

START_TEST(making_takes_a_second_at_once_and_then_a_fifth)
{
	char folder[] = "/tmp/tsprof-test-maker-XXXXXX", command[100];
	struct tables_maker *maker = start(NULL);
	struct binary *binary, *small = open_binary("/bin/true");
	uint64_t begun, elapsed, cpu = 0, largest = 0, small_done = 0;
	unsigned n = 0;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	binary = large_library(folder);
	begun = clock_monotonic_nsec();
	for (unsigned i = 0; i < 200; i++)
		submit(maker, binary, i);
	/* Until some of the time after the burst has been seen. */
	while (cpu < 1500 * NSEC_PER_MSEC || !small_done) {
		struct tables_job *job = wait_done(maker);

		ck_assert_int_eq(job->status, 0);
		if (job->file.ino == 1000)
			small_done = clock_monotonic_nsec();
		cpu += job->cpu_nsec;
		largest = largest > job->cpu_nsec ? largest : job->cpu_nsec;
		tables_job_free(job);
		/* A small file that comes late is before the large ones that wait. */
		if (++n == 3)
			submit(maker, small, 1000);
	}
	elapsed = clock_monotonic_nsec() - begun;
	/* What was done last may have been more than there was; results that wait are not seen yet. */
	ck_assert_msg(cpu - 2 * largest <= NSEC_PER_SEC + elapsed / 5, "%lu ns of CPU time in %lu ns", cpu, elapsed);
	ck_assert_uint_gt(cpu + 6 * largest, NSEC_PER_SEC + elapsed / 10);
	printf("# %u tables of %.0f ms, %.2f s of CPU time in %.2f s; the small one after %.3f s\n", n, (double)largest / 1e6,
		(double)cpu / 1e9, (double)elapsed / 1e9, (double)(small_done - begun) / 1e9);
	/* With 180 jobs waiting, and one perhaps under way. */
	begun = clock_monotonic_nsec();
	tables_maker_free(maker);
	ck_assert_uint_lt(clock_monotonic_nsec() - begun, NSEC_PER_SEC);
	ck_assert_uint_eq(binary->n_references, 1);
	binary_unref(binary);
	binary_unref(small);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(the_process_ends_when_there_is_nothing_to_do)
{
	struct binary *self = open_binary("/proc/self/exe");
	struct tables_maker *maker = start(NULL);

	ck_assert_uint_eq(tables_maker_helper_memory(maker), 0);
	submit(maker, self, 1);
	tables_job_free(wait_done(maker));
	usleep(1000000);
	ck_assert_int_gt(child_pid(), 0);
	ck_assert_uint_gt(tables_maker_helper_memory(maker), 0);
	usleep(5000000);
	ck_assert_int_eq(child_pid(), 0);
	ck_assert_uint_eq(tables_maker_helper_memory(maker), 0);
	/* And comes back. */
	submit(maker, self, 2);
	tables_job_free(wait_done(maker));
	ck_assert_int_gt(child_pid(), 0);
	tables_maker_free(maker);
	binary_unref(self);
}
END_TEST

START_TEST(a_hung_process_does_not_hold_up_the_end)
{
	struct binary *self = open_binary("/proc/self/exe"), *other = open_binary("/bin/true");
	struct tables_maker *maker = start(NULL);
	uint64_t begun;

	submit(maker, self, 1);
	tables_job_free(wait_done(maker));
	kill(child_pid(), SIGSTOP);
	submit(maker, other, 2);
	usleep(200000);
	begun = clock_monotonic_nsec();
	tables_maker_free(maker);
	ck_assert_uint_lt(clock_monotonic_nsec() - begun, 500 * NSEC_PER_MSEC);
	ck_assert_int_eq(child_pid(), 0);
	binary_unref(self);
	binary_unref(other);
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {
		files_and_the_vdso_have_tables_and_a_text_has_none, what_is_on_disk_needs_no_process,
		making_takes_a_second_at_once_and_then_a_fifth, the_process_ends_when_there_is_nothing_to_do,
		a_hung_process_does_not_hold_up_the_end,
	};

	if (argc > 0 && !strcmp(argv[0], SYMBOLIZER_PROCESS_NAME))
		return symbolizer_process_main();
	return unit_main("tables_maker", tests, sizeof(tests) / sizeof(tests[0]));
}
