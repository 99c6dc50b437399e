/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../main.h"
#include "clock.h"
#include "elf_image.h"
#include "fs.h"
#include "names.h"
#include "symbolizer_process.h"
#include "unwind_image.h"
#include "unwind_rows.h"

/* What the tests ask about: a function of this file. */
__attribute__((noinline)) int function_with_a_known_name(int x);
int function_with_a_known_name(int x)
{
	return x * 3 + 1;
}

static int load_bias(struct dl_phdr_info *info, size_t size, void *ret)
{
	*(uint64_t *)ret = info->dlpi_addr;
	return 1;                            /* the program is the first */
}

/* The file offset of an address of this program: segments of small programs lie in the file as in memory. */
static uint64_t offset_of(const void *address)
{
	uint64_t bias, vaddr, offset = 0;
	Elf64_Ehdr *header;

	dl_iterate_phdr(load_bias, &bias);
	vaddr = (uint64_t)(uintptr_t)address - bias;
	header = (void *)(uintptr_t)getauxval(AT_PHDR);
	for (uint64_t i = 0; i < getauxval(AT_PHNUM); i++) {
		const Elf64_Phdr *p = (const Elf64_Phdr *)(const void *)header + i;

		if (p->p_type == PT_LOAD && vaddr >= p->p_vaddr && vaddr < p->p_vaddr + p->p_filesz)
			offset = vaddr - p->p_vaddr + p->p_offset;
	}
	return offset;
}

static struct symbolizer_process *start(void)
{
	struct symbolizer_process *process;

	ck_assert_int_eq(symbolizer_process_new(&(struct symbolizer_options){0}, &process), 0);
	return process;
}

static int resolve_file(struct symbolizer_process *process, int fd, const uint64_t *offsets, size_t n, struct names **ret)
{
	const struct symbol_source source = { .kind = SYMBOL_SOURCE_ELF, .fd = fd, .path = "/some/program" };

	return symbolizer_process_resolve(process, &source, offsets, n, ret);
}

/* Asks about this program, and fails unless the answer is right. */
static void assert_names_itself(struct symbolizer_process *process)
{
	uint64_t offsets[2] = { offset_of((void *)(uintptr_t)function_with_a_known_name), UINT64_MAX - 5 };
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct names *names;

	ck_assert_int_eq(resolve_file(process, fd, offsets, 2, &names), 0);
	ck_assert_uint_eq(names->locations.n, 2);
	ck_assert_uint_ge(names->locations.at[0].n_frames, 1);
	ck_assert_str_eq(strtab_get(names->strings, names->frames.at[names->locations.at[0].first_frame].name, NULL),
		"function_with_a_known_name");
	ck_assert_uint_eq(names->locations.at[1].n_frames, 0);
	ck_assert_uint_ge(names->segments.n, 1);
	ck_assert(names->has_functions);
	names_free(names);
	close(fd);
}

/* The pid of the only child; 0 when there is none. */
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

/* Dead for sure, so that the next question finds it so: in the middle of an answer the file would be blamed. */
static void kill_child(void)
{
	siginfo_t info;
	pid_t pid = child_pid();

	ck_assert_int_gt(pid, 0);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
}

static unsigned count_descriptors(const char *folder)
{
	DIR *dir = opendir(folder);
	unsigned n = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

START_TEST(a_program_is_named)
{
	struct symbolizer_process *process = start();
	struct symbolizer_stats stats;

	stats = symbolizer_process_stats(process);
	ck_assert_uint_eq(stats.starts, 0);
	for (int i = 0; i < 20; i++)
		assert_names_itself(process);
	stats = symbolizer_process_stats(process);
	ck_assert_uint_eq(stats.starts, 1);
	ck_assert_uint_eq(stats.deaths, 0);
	ck_assert_uint_eq(stats.requests, 20);
	ck_assert_uint_eq(stats.locations, 40);
	ck_assert_uint_eq(stats.named, 20);
	ck_assert_uint_gt(stats.cpu_nsec, 0);
	ck_assert_uint_gt(stats.memory_bytes, 0);
	symbolizer_process_free(process);
	ck_assert_int_eq(child_pid(), 0);
}
END_TEST

START_TEST(many_offsets_come_back_in_order)
{
	struct symbolizer_process *process = start();
	uint64_t first = offset_of((void *)(uintptr_t)function_with_a_known_name);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	size_t n = 10001;
	uint64_t *offsets = calloc(n, sizeof(*offsets));
	struct names *names;

	for (size_t i = 0; i < n; i++)
		offsets[i] = i % 3 ? first + i : first;
	ck_assert_int_eq(resolve_file(process, fd, offsets, n, &names), 0);
	ck_assert_uint_eq(names->locations.n, n);
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_eq(names->locations.at[i].offset, offsets[i]);
		if (i % 3 == 0)
			ck_assert_str_eq(strtab_get(names->strings, names->frames.at[names->locations.at[i].first_frame].name, NULL),
				"function_with_a_known_name");
	}
	names_free(names);
	free(offsets);
	close(fd);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(the_vdso_is_named)
{
	const struct symbol_source source = { .kind = SYMBOL_SOURCE_VDSO, .fd = -1 };
	struct symbolizer_process *process = start();
	uint64_t offsets[512];
	struct names *names;
	bool found = false;

	for (size_t i = 0; i < 512; i++)
		offsets[i] = i * 16;
	ck_assert_int_eq(symbolizer_process_resolve(process, &source, offsets, 512, &names), 0);
	for (size_t i = 0; i < names->frames.n; i++)
		found |= strstr(strtab_get(names->strings, names->frames.at[i].name, NULL), "clock_gettime") != NULL;
	ck_assert(found);
	names_free(names);
	symbolizer_process_free(process);
}
END_TEST

/* An address and a name of /proc/kallsyms that no other symbol shares; 0 when addresses are hidden from us. */
static uint64_t kernel_symbol(const char *name)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char line[512], found[256];
	unsigned long long address = 0, at;
	char type;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx %c %255s", &at, &type, found) == 3 && !strcmp(found, name))
			address = at;
	if (f)
		fclose(f);
	return address;
}

START_TEST(the_kernel_is_named)
{
	const struct symbol_source source = { .kind = SYMBOL_SOURCE_KERNEL, .fd = -1 };
	struct symbolizer_process *process = start();
	uint64_t address = kernel_symbol("schedule") + 8, cpu_nsec;
	struct names *names;

	if (address != 8) {
		ck_assert_int_eq(symbolizer_process_resolve(process, &source, &address, 1, &names), 0);
		ck_assert_str_eq(strtab_get(names->strings, names->frames.at[0].name, NULL), "schedule");
		names_free(names);
		/* Kept open: the second question costs next to nothing. */
		cpu_nsec = symbolizer_process_stats(process).cpu_nsec;
		ck_assert_int_eq(symbolizer_process_resolve(process, &source, &address, 1, &names), 0);
		names_free(names);
		ck_assert_uint_lt(symbolizer_process_stats(process).cpu_nsec - cpu_nsec, 10 * NSEC_PER_MSEC);
	} else
		ck_assert_int_eq(symbolizer_process_resolve(process, &source, &address, 1, &names), SYMBOLIZER_E_UNAVAILABLE);
	symbolizer_process_free(process);
}
END_TEST

static void assert_status(const char *text, const char *line)
{
	ck_assert_msg(strstr(text, line) != NULL, "no \"%s\" in %s", line, text);
}

START_TEST(the_process_is_confined)
{
	struct symbolizer_process *process = start();
	int kept = open("/dev/null", O_RDONLY);    /* inheritable, as a careless library may have it */
	char path[64], *text;
	pid_t pid;
	size_t n;

	assert_names_itself(process);
	pid = child_pid();
	ck_assert_int_gt(pid, 0);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	ck_assert_int_eq(fs_read(AT_FDCWD, path, 65536, &text, &n), 0);
	assert_status(text, "\nSeccomp:\t2\n");
	assert_status(text, "\nNoNewPrivs:\t1\n");
	assert_status(text, "\nCapEff:\t0000000000000000\n");
	assert_status(text, "\nCapPrm:\t0000000000000000\n");
	assert_status(text, "\nCapInh:\t0000000000000000\n");
	assert_status(text, "\nCapAmb:\t0000000000000000\n");
	if (geteuid() == 0) {
		assert_status(text, "\nUid:\t65534\t65534\t65534\t65534\n");
		assert_status(text, "\nGid:\t65534\t65534\t65534\t65534\n");
		assert_status(text, "\nGroups:\t \n");
		/* Not dumpable: its files in /proc are root's. Its socket and 0, 1, 2; the file it was given is closed. */
		snprintf(path, sizeof(path), "/proc/%d/fd", pid);
		ck_assert_uint_eq(count_descriptors(path), 4);
	}
	free(text);
	close(kept);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(a_process_that_dies_between_questions_is_replaced)
{
	struct symbolizer_process *process = start();
	struct symbolizer_stats stats;

	for (int i = 0; i < 3; i++) {
		assert_names_itself(process);
		kill_child();
	}
	assert_names_itself(process);
	stats = symbolizer_process_stats(process);
	ck_assert_uint_eq(stats.starts, 4);
	ck_assert_uint_eq(stats.deaths, 3);
	ck_assert_uint_eq(stats.files_refused, 0);
	symbolizer_process_free(process);
}
END_TEST

static int other_file(void)
{
	return open("/bin/true", O_RDONLY | O_CLOEXEC);
}

static void *kill_later(void *pid)
{
	usleep(200000);
	kill((pid_t)(intptr_t)pid, SIGKILL);
	return NULL;
}

static void *crash_later(void *pid)
{
	usleep(200000);
	kill((pid_t)(intptr_t)pid, SIGSEGV);
	kill((pid_t)(intptr_t)pid, SIGCONT);
	return NULL;
}

START_TEST(who_is_killed_by_somebody_else_is_replaced_and_asked_again)
{
	struct symbolizer_process *process = start();
	struct symbolizer_stats stats;
	uint64_t offset = 0x1000;
	int fd = other_file();
	struct names *names;
	pthread_t thread;
	pid_t pid;

	assert_names_itself(process);
	pid = child_pid();
	kill(pid, SIGSTOP);
	pthread_create(&thread, NULL, kill_later, (void *)(intptr_t)pid);
	ck_assert_int_eq(resolve_file(process, fd, &offset, 1, &names), 0);
	pthread_join(thread, NULL);
	names_free(names);
	stats = symbolizer_process_stats(process);
	ck_assert_uint_eq(stats.deaths, 1);
	ck_assert_uint_eq(stats.files_refused, 0);
	close(fd);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(a_process_that_dies_of_a_file_costs_that_file_only)
{
	struct symbolizer_process *process = start();
	struct symbolizer_stats stats;
	uint64_t offset = 0x1000;
	int fd = other_file();
	struct names *names;
	pthread_t thread;
	pid_t pid;

	assert_names_itself(process);
	/* Stopped, it is caught in the middle of the answer for sure. */
	pid = child_pid();
	kill(pid, SIGSTOP);
	pthread_create(&thread, NULL, crash_later, (void *)(intptr_t)pid);
	ck_assert_int_eq(resolve_file(process, fd, &offset, 1, &names), SYMBOLIZER_E_UNAVAILABLE);
	pthread_join(thread, NULL);
	ck_assert_int_eq(resolve_file(process, fd, &offset, 1, &names), SYMBOLIZER_E_UNAVAILABLE);
	assert_names_itself(process);
	stats = symbolizer_process_stats(process);
	ck_assert_uint_eq(stats.deaths, 1);
	ck_assert_uint_eq(stats.timeouts, 0);
	ck_assert_uint_eq(stats.files_refused, 1);
	close(fd);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(a_process_that_hangs_is_replaced_within_two_seconds)
{
	struct symbolizer_process *process = start();
	uint64_t offset = 0x1000, begun;
	struct symbolizer_stats stats;
	int fd = other_file();
	struct names *names;

	assert_names_itself(process);
	kill(child_pid(), SIGSTOP);
	begun = clock_monotonic_nsec();
	ck_assert_int_eq(resolve_file(process, fd, &offset, 1, &names), SYMBOLIZER_E_UNAVAILABLE);
	ck_assert_uint_lt(clock_monotonic_nsec() - begun, 2 * NSEC_PER_SEC);
	assert_names_itself(process);
	stats = symbolizer_process_stats(process);
	ck_assert_uint_eq(stats.timeouts, 1);
	ck_assert_uint_eq(stats.deaths, 0);
	close(fd);
	symbolizer_process_free(process);
}
END_TEST

/* A file without a name that holds these bytes. */
static int file_of(const void *data, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fs_write_all(fd, data, size), 0);
	return fd;
}

/*
 * A program whose Go function table is a trap: the line table of its only function has millions of steps that lead
 * nowhere. Each question about it takes tens of milliseconds.
 */
static int slow_file(void)
{
	enum { TABLE_AT = 4096, TABLE_SIZE = 24 << 20, VALUES = 256, FUNCTIONS = TABLE_SIZE - 256 };
	uint8_t *file = calloc(1, TABLE_AT + TABLE_SIZE), *table = file + TABLE_AT;
	const uint64_t header[] = { 0x08010000fffffff1, 1, 1, 0x10000000, 80, 112, 120, VALUES, FUNCTIONS };
	/* findfunctab: its only function ends at 0x1000. Then the function: no file table, but a line table. */
	const uint32_t functions[] = { 0, 12, 0x1000, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0 };
	Elf64_Ehdr *elf = (void *)file;
	Elf64_Phdr *segments = (void *)(file + sizeof(*elf));
	int fd;

	memcpy(elf->e_ident, "\177ELF\2\1\1", 7);
	elf->e_type = ET_EXEC;
	elf->e_machine = EM_X86_64;
	elf->e_version = 1;
	elf->e_entry = 0x10000010;
	elf->e_phoff = sizeof(*elf);
	elf->e_ehsize = sizeof(*elf);
	elf->e_phentsize = sizeof(*segments);
	elf->e_phnum = 2;
	segments[0] = (Elf64_Phdr){
		.p_type = PT_LOAD, .p_flags = PF_R, .p_offset = TABLE_AT, .p_vaddr = 0x400000, .p_filesz = TABLE_SIZE, .p_memsz = TABLE_SIZE,
	};
	segments[1] = (Elf64_Phdr){
		.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = 0, .p_vaddr = 0x10000000, .p_filesz = 0x1000, .p_memsz = 0x1000,
	};
	memcpy(table, header, sizeof(header));
	memcpy(table + 80 + 8, "_rt0_", 6);
	for (size_t i = VALUES + 1; i < FUNCTIONS; i++)
		table[i] = i % 2 ? 2 : 0;    /* one line on, no byte on */
	memcpy(table + FUNCTIONS, functions, sizeof(functions));
	fd = file_of(file, TABLE_AT + TABLE_SIZE);
	free(file);
	return fd;
}

START_TEST(a_file_that_takes_too_long_is_given_up)
{
	struct symbolizer_process *process;
	static uint64_t offsets[4096];
	struct symbolizer_stats stats;
	int fd = slow_file();
	struct names *names;
	uint64_t begun;

	ck_assert_int_eq(symbolizer_process_new(&(struct symbolizer_options){ .cpu_seconds_per_file = 1 }, &process), 0);
	for (size_t i = 0; i < 4096; i++)
		offsets[i] = i;
	/* That the trap is one: a few questions are answered, and by its table. */
	ck_assert_int_eq(resolve_file(process, fd, offsets, 2, &names), 0);
	ck_assert_str_eq(strtab_get(names->strings, names->frames.at[0].name, NULL), "_rt0_");
	names_free(names);
	begun = clock_monotonic_nsec();
	ck_assert_int_eq(resolve_file(process, fd, offsets, 4096, &names), SYMBOLIZER_E_UNAVAILABLE);
	ck_assert_uint_lt(clock_monotonic_nsec() - begun, 20 * NSEC_PER_SEC);
	assert_names_itself(process);
	stats = symbolizer_process_stats(process);
	ck_assert_uint_eq(stats.timeouts, 1);
	ck_assert_uint_eq(stats.starts, 2);
	ck_assert_uint_lt(stats.cpu_nsec, 4 * NSEC_PER_SEC);
	close(fd);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(what_is_no_elf_file_is_refused_once_and_remembered)
{
	struct symbolizer_process *process = start();
	int fd = file_of("#!/bin/sh\n", 10);
	struct symbolizer_stats stats;
	uint64_t offset = 0;
	struct names *names;

	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(resolve_file(process, fd, &offset, 1, &names), SYMBOLIZER_E_UNAVAILABLE);
	assert_names_itself(process);
	stats = symbolizer_process_stats(process);
	ck_assert_uint_eq(stats.files_refused, 4);
	ck_assert_uint_eq(stats.deaths, 0);
	close(fd);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(another_file_than_the_one_expected_is_refused)
{
	const struct symbol_source source = {
		.kind = SYMBOL_SOURCE_ELF, .fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), .path = "/x",
		.build_id = { .size = 20, .bytes = { 1, 2, 3 } },
	};
	struct symbolizer_process *process = start();
	uint64_t offset = 0x1000;
	struct names *names;

	ck_assert_int_eq(symbolizer_process_resolve(process, &source, &offset, 1, &names), SYMBOLIZER_E_UNAVAILABLE);
	ck_assert_uint_eq(symbolizer_process_stats(process).files_refused, 1);
	assert_names_itself(process);
	close(source.fd);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(corrupt_files_cost_nothing_else)
{
	struct symbolizer_process *process = start();
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	uint64_t offsets[64];
	struct names *names;
	char *whole;
	size_t size;

	ck_assert_int_eq(fs_read_fd(self, 256 << 20, &whole, &size), 0);
	for (size_t i = 0; i < 64; i++)
		offsets[i] = i * size / 64;
	srand(1);
	for (int i = 0; i < 150; i++) {
		char *damaged = malloc(size);
		int fd, r;

		memcpy(damaged, whole, size);
		/* Headers at both ends, and somewhere. */
		for (int j = 0; j < 1 + i % 20; j++) {
			size_t at = (size_t)rand() % (j % 3 == 0 ? 1024 : size);

			damaged[j % 3 == 1 ? size - 1 - at % 4096 : at] = (char)rand();
		}
		fd = file_of(damaged, i % 10 == 9 ? (size_t)rand() % size : size);
		r = resolve_file(process, fd, offsets, 64, &names);
		ck_assert(r == 0 || r == SYMBOLIZER_E_UNAVAILABLE);
		if (!r)
			names_free(names);
		free(damaged);
		close(fd);
	}
	assert_names_itself(process);
	free(whole);
	close(self);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(a_sparse_gigabyte_takes_little)
{
	struct symbolizer_process *process = start();
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), fd;
	uint64_t offset = offset_of((void *)(uintptr_t)function_with_a_known_name), begun;
	struct names *names = NULL;
	char *whole;
	size_t size;
	int r;

	ck_assert_int_eq(fs_read_fd(self, 256 << 20, &whole, &size), 0);
	fd = file_of(whole, size);
	ck_assert_int_eq(ftruncate(fd, 1 << 30), 0);
	begun = clock_monotonic_nsec();
	r = resolve_file(process, fd, &offset, 1, &names);
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(names->locations.at[0].n_frames > 0, 1);
	ck_assert_uint_lt(clock_monotonic_nsec() - begun, 5 * NSEC_PER_SEC);
	ck_assert_uint_lt(symbolizer_process_stats(process).memory_bytes, 256 << 20);
	names_free(names);
	free(whole);
	close(fd);
	close(self);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(no_descriptor_is_left_behind)
{
	struct symbolizer_process *process = start();
	struct symbolizer_stats stats;
	unsigned before;

	/* The first question may open the journal's socket, which stays. */
	assert_names_itself(process);
	symbolizer_process_free(process);
	before = count_descriptors("/proc/self/fd");
	process = start();
	for (int i = 0; i < 1000; i++) {
		assert_names_itself(process);
		if (i % 100 == 99)
			kill_child();
	}
	symbolizer_process_free(process);
	ck_assert_uint_eq(count_descriptors("/proc/self/fd"), before);

	/* Many files: each is closed in there, and the process is renewed now and then without being missed. */
	process = start();
	for (int i = 0; i < 600; i++) {
		uint64_t offset = 0x1000;
		struct names *names;
		int fd = file_of("\177ELF", 4);

		ck_assert_int_eq(resolve_file(process, fd, &offset, 1, &names), SYMBOLIZER_E_UNAVAILABLE);
		close(fd);
	}
	stats = symbolizer_process_stats(process);
	ck_assert_uint_eq(stats.deaths, 0);
	ck_assert_uint_eq(stats.starts, 3);
	assert_names_itself(process);
	symbolizer_process_free(process);
	ck_assert_uint_eq(count_descriptors("/proc/self/fd"), before);
	ck_assert_int_eq(child_pid(), 0);
}
END_TEST

START_TEST(a_perf_map_that_grows_is_read_again)
{
	struct symbolizer_process *process = start();
	int fd = file_of("1000 100 first\n", 15);
	const struct symbol_source source = { .kind = SYMBOL_SOURCE_PERF_MAP, .fd = fd, .path = "/tmp/perf-1.map" };
	uint64_t addresses[2] = { 0x1010, 0x2010 };
	struct names *names;

	ck_assert_int_eq(symbolizer_process_resolve(process, &source, addresses, 2, &names), 0);
	ck_assert_uint_eq(names->locations.at[0].n_frames, 1);
	ck_assert_uint_eq(names->locations.at[1].n_frames, 0);
	names_free(names);
	ck_assert_int_eq(fs_write_all(fd, "2000 100 second\n", 16), 0);
	ck_assert_int_eq(symbolizer_process_resolve(process, &source, addresses, 2, &names), 0);
	ck_assert_str_eq(strtab_get(names->strings, names->frames.at[names->locations.at[1].first_frame].name, NULL), "second");
	names_free(names);
	close(fd);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(the_process_ends_with_its_owner)
{
	int pipe_ends[2], status;
	char path[64], *text = NULL;
	bool gone = false;
	pid_t owner, pid;
	size_t n;

	ck_assert_int_eq(pipe(pipe_ends), 0);
	owner = fork();
	if (owner == 0) {
		struct symbolizer_process *process = start();

		assert_names_itself(process);
		/* Asked and stopped: it does not even read that the owner hung up. */
		pid = child_pid();
		(void)!write(pipe_ends[1], &pid, sizeof(pid));
		pause();
	}
	ck_assert_int_eq(read(pipe_ends[0], &pid, sizeof(pid)), sizeof(pid));
	kill(pid, SIGSTOP);
	kill(owner, SIGKILL);
	waitpid(owner, &status, 0);
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (int i = 0; i < 100 && !gone; i++) {
		/* Nobody may be there to bury it: a zombie will do. */
		gone = fs_read(AT_FDCWD, path, 4096, &text, &n) < 0 || strstr(text, ") Z");
		free(text);
		text = NULL;
		usleep(10000);
	}
	ck_assert(gone);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}
END_TEST

/* The file of the first frame at the known function of `fd`, to be freed; "" when lines are unknown. */
static char *file_with_debug_directory(const char *folder, int fd, struct build_id *ret_id)
{
	const char *const directories[] = { folder, NULL };
	uint64_t offset = offset_of((void *)(uintptr_t)function_with_a_known_name);
	struct symbolizer_process *process;
	struct names *names;
	char *file;

	ck_assert_int_eq(symbolizer_process_new(&(struct symbolizer_options){ .debug_directories = directories }, &process), 0);
	ck_assert_int_eq(resolve_file(process, fd, &offset, 1, &names), 0);
	*ret_id = names->build_id;
	file = strdup(names->locations.at[0].n_frames ? strtab_get(names->strings, names->frames.at[0].file, NULL) : "");
	names_free(names);
	symbolizer_process_free(process);
	return file;
}

START_TEST(a_debug_file_is_found_unless_it_is_private)
{
	char folder[] = "/tmp/tsprof-test-debug-XXXXXX", self[4096], command[16384], debug_file[200], hex[41] = "", *file;
	struct build_id id;
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int fd;

	ck_assert_int_gt(length, 0);
	self[length] = '\0';
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(command, sizeof(command), "strip -o %s/stripped '%s'", folder, self);
	ck_assert_int_eq(system(command), 0);
	snprintf(command, sizeof(command), "%s/stripped", folder);
	fd = open(command, O_RDONLY | O_CLOEXEC);
	file = file_with_debug_directory(folder, fd, &id);
	ck_assert_str_eq(file, "");
	free(file);

	ck_assert_uint_gt(id.size, 1);
	for (unsigned i = 0; i < id.size; i++)
		snprintf(hex + 2 * i, 3, "%02x", id.bytes[i]);
	snprintf(debug_file, sizeof(debug_file), "%s/.build-id/%.2s/%s.debug", folder, hex, hex + 2);
	snprintf(command, sizeof(command), "mkdir -p %s/.build-id/%.2s && objcopy --only-keep-debug '%s' %s && chmod 644 %s",
		folder, hex, self, debug_file, debug_file);
	ck_assert_int_eq(system(command), 0);
	file = file_with_debug_directory(folder, fd, &id);
	ck_assert_msg(strstr(file, "test_symbolizer_process.c") != NULL, "file is %s", file);
	free(file);

	/* Only we may read it: nothing that a foreign file should be able to ask for. */
	ck_assert_int_eq(chmod(debug_file, 0600), 0);
	file = file_with_debug_directory(folder, fd, &id);
	ck_assert_str_eq(file, "");
	free(file);

	close(fd);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

/* --- unwind tables --------------------------------------------------------------------------------------------- */

static int table_of(struct symbolizer_process *process, int fd, void **ret, size_t *ret_size)
{
	const struct symbol_source source = { .kind = SYMBOL_SOURCE_ELF, .fd = fd, .path = "/some/program" };

	return symbolizer_process_table(process, &source, ret, ret_size);
}

/* Asks for this program's table, and fails unless it is that which is made here. */
static void assert_has_own_table(struct symbolizer_process *process)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct unwind_rows rows = {0};
	const struct unwind_rule *rule;
	struct unwind_image opened;
	struct elf_image *image;
	void *expected, *got;
	size_t n_expected, n_got;

	ck_assert_int_eq(elf_image_open(fd, &image), 0);
	ck_assert_int_eq(unwind_rows_build(image, NULL, &rows), 0);
	ck_assert_int_eq(unwind_image_encode(&rows, &expected, &n_expected), 0);
	ck_assert_int_eq(table_of(process, fd, &got, &n_got), 0);
	ck_assert_uint_eq(n_got, n_expected);
	ck_assert(!memcmp(got, expected, n_got));
	ck_assert_int_eq(unwind_image_open(got, n_got, &opened), 0);
	rule = unwind_image_find(&opened, offset_of((void *)(uintptr_t)function_with_a_known_name));
	ck_assert_ptr_nonnull(rule);
	ck_assert_int_eq(rule->cfa, UNWIND_CFA_REGISTER);
	ck_assert_int_eq(rule->reg, UNWIND_REGISTER_SP);
	ck_assert_int_eq(rule->offset, 8);
	free(got);
	free(expected);
	unwind_rows_deinit(&rows);
	elf_image_free(image);
	close(fd);
}

START_TEST(a_program_has_a_table)
{
	struct symbolizer_process *process = start();
	struct symbolizer_stats stats;

	for (int i = 0; i < 20; i++)
		assert_has_own_table(process);
	/* One process can do both; the file is opened anew. */
	assert_names_itself(process);
	assert_has_own_table(process);
	assert_names_itself(process);
	stats = symbolizer_process_stats(process);
	ck_assert_uint_eq(stats.starts, 1);
	ck_assert_uint_eq(stats.deaths, 0);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(the_vdso_has_a_table)
{
	const struct symbol_source source = { .kind = SYMBOL_SOURCE_VDSO, .fd = -1 };
	const uint8_t *vdso = (const uint8_t *)(uintptr_t)getauxval(AT_SYSINFO_EHDR);
	struct symbolizer_process *process = start();
	struct unwind_image image;
	Elf64_Ehdr header;
	size_t size;
	void *bytes;

	ck_assert_int_eq(symbolizer_process_table(process, &source, &bytes, &size), 0);
	ck_assert_int_eq(unwind_image_open(bytes, size, &image), 0);
	memcpy(&header, vdso, sizeof(header));
	for (unsigned i = 0; i < header.e_phnum; i++) {
		Elf64_Phdr segment;

		memcpy(&segment, vdso + header.e_phoff + i * sizeof(segment), sizeof(segment));
		if (segment.p_type == PT_LOAD && segment.p_flags & PF_X)
			ck_assert_uint_ge(image.table.end, segment.p_offset + 1);
	}
	free(bytes);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(what_has_no_table_is_told_and_remembered)
{
	const struct symbol_source other = {
		.kind = SYMBOL_SOURCE_ELF, .fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), .path = "/x",
		.build_id = { .size = 20, .bytes = { 1, 2, 3 } },
	};
	const struct symbol_source kernel = { .kind = SYMBOL_SOURCE_KERNEL, .fd = -1 };
	struct symbolizer_process *process = start();
	int fd = file_of("#!/bin/sh\n", 10);
	size_t size;
	void *bytes;

	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(table_of(process, fd, &bytes, &size), SYMBOLIZER_E_UNAVAILABLE);
	ck_assert_uint_eq(symbolizer_process_stats(process).files_refused, 4);
	ck_assert_int_eq(symbolizer_process_table(process, &other, &bytes, &size), SYMBOLIZER_E_UNAVAILABLE);
	ck_assert_int_eq(symbolizer_process_table(process, &kernel, &bytes, &size), -EINVAL);
	assert_has_own_table(process);
	ck_assert_uint_eq(symbolizer_process_stats(process).deaths, 0);
	close(other.fd);
	close(fd);
	symbolizer_process_free(process);
}
END_TEST

/* The most memory that the only child ever had resident. */
static uint64_t peak_of_child(void)
{
	unsigned long long kib = 0;
	char path[64], *text;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/status", child_pid());
	ck_assert_int_eq(fs_read(AT_FDCWD, path, 65536, &text, &n), 0);
	ck_assert_int_eq(sscanf(strstr(text, "VmHWM:"), "VmHWM: %llu", &kib), 1);
	free(text);
	return kib << 10;
}

START_TEST(the_table_of_a_gigabyte_takes_little)
{
	struct symbolizer_process *process = start();
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), fd;
	uint64_t begun = clock_monotonic_nsec();
	struct symbolizer_stats stats;
	char *whole;
	size_t size;
	void *bytes;

	ck_assert_int_eq(fs_read_fd(self, 256 << 20, &whole, &size), 0);
	fd = file_of(whole, size);
	ck_assert_int_eq(ftruncate(fd, 1 << 30), 0);
	/* One segment over all of it: data of an executable that is one. */
	for (unsigned i = 0; i < ((Elf64_Ehdr *)(void *)whole)->e_phnum; i++) {
		uint64_t at = ((Elf64_Ehdr *)(void *)whole)->e_phoff + i * sizeof(Elf64_Phdr);
		Elf64_Phdr segment;

		memcpy(&segment, whole + at, sizeof(segment));
		if (segment.p_type != PT_LOAD || !(segment.p_flags & PF_X))
			continue;
		segment.p_filesz = segment.p_memsz = (1 << 30) - segment.p_offset;
		ck_assert_int_eq(pwrite(fd, &segment, sizeof(segment), (off_t)at), sizeof(segment));
	}
	ck_assert_int_eq(table_of(process, fd, &bytes, &size), 0);
	ck_assert_uint_lt(clock_monotonic_nsec() - begun, 5 * NSEC_PER_SEC);
	/* The code is searched for signal trampolines, as far as that goes: pages of the file. */
	ck_assert_uint_lt(peak_of_child(), 128 << 20);
	/* The file is closed in there. */
	stats = symbolizer_process_stats(process);
	ck_assert_uint_lt(stats.memory_bytes, 32 << 20);
	ck_assert_uint_lt(stats.cpu_nsec, 4 * NSEC_PER_SEC);
	free(bytes);
	free(whole);
	close(fd);
	close(self);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(corrupt_files_have_sound_tables_or_none)
{
	struct symbolizer_process *process = start();
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	unsigned n_made = 0;
	char *whole;
	size_t size;

	ck_assert_int_eq(fs_read_fd(self, 256 << 20, &whole, &size), 0);
	srand(2);
	for (int i = 0; i < 200; i++) {
		char *damaged = malloc(size);
		struct unwind_image image;
		size_t table_size;
		void *bytes;
		int fd, r;

		memcpy(damaged, whole, size);
		for (int j = 0; j < 1 + i % 200; j++)
			damaged[(size_t)rand() % (i % 3 && j % 3 == 0 ? 1024 : size)] = (char)rand();
		fd = file_of(damaged, i % 10 == 9 ? (size_t)rand() % size : size);
		r = table_of(process, fd, &bytes, &table_size);
		ck_assert(r == 0 || r == SYMBOLIZER_E_UNAVAILABLE);
		if (!r) {
			ck_assert_int_eq(unwind_image_open(bytes, table_size, &image), 0);
			free(bytes);
			n_made++;
		}
		free(damaged);
		close(fd);
	}
	ck_assert_uint_gt(n_made, 20);
	assert_has_own_table(process);
	/* No damage is worse than a table that is wrong. */
	ck_assert_uint_eq(symbolizer_process_stats(process).deaths, 0);
	ck_assert_uint_eq(symbolizer_process_stats(process).timeouts, 0);
	free(whole);
	close(self);
	symbolizer_process_free(process);
}
END_TEST

START_TEST(a_process_at_rest_has_ended_and_comes_back)
{
	struct symbolizer_process *process = start();
	struct symbolizer_stats stats;

	symbolizer_process_rest(process);
	assert_has_own_table(process);
	ck_assert_int_gt(child_pid(), 0);
	stats = symbolizer_process_stats(process);
	symbolizer_process_rest(process);
	ck_assert_int_eq(child_pid(), 0);
	ck_assert_uint_eq(symbolizer_process_stats(process).memory_bytes, 0);
	ck_assert_uint_ge(symbolizer_process_stats(process).cpu_nsec + NSEC_PER_MSEC, stats.cpu_nsec);
	assert_has_own_table(process);
	stats = symbolizer_process_stats(process);
	ck_assert_uint_eq(stats.starts, 2);
	ck_assert_uint_eq(stats.deaths, 0);
	symbolizer_process_free(process);
}
END_TEST

static void *cancel_later(void *process)
{
	usleep(200000);
	symbolizer_process_cancel(process);
	return NULL;
}

START_TEST(a_question_in_flight_can_be_cancelled)
{
	struct symbolizer_process *process = start();
	int fd = other_file();
	uint64_t begun;
	pthread_t thread;
	size_t size;
	void *bytes;

	assert_has_own_table(process);
	kill(child_pid(), SIGSTOP);
	begun = clock_monotonic_nsec();
	pthread_create(&thread, NULL, cancel_later, process);
	ck_assert_int_eq(table_of(process, fd, &bytes, &size), -ECANCELED);
	ck_assert_uint_lt(clock_monotonic_nsec() - begun, 700 * NSEC_PER_MSEC);
	pthread_join(thread, NULL);
	ck_assert_int_eq(table_of(process, fd, &bytes, &size), -ECANCELED);
	ck_assert_int_eq(child_pid(), 0);
	close(fd);
	symbolizer_process_free(process);
}
END_TEST

/* The rule inside of the program's only function, 0 when there is no table. */
static struct unwind_rule rule_in_program(const char *path, const char *debug_directory)
{
	const char *const directories[] = { debug_directory, NULL };
	const struct symbol_source source = { .kind = SYMBOL_SOURCE_ELF, .fd = open(path, O_RDONLY | O_CLOEXEC), .path = path };
	struct symbolizer_process *process;
	const struct unwind_rule *found;
	struct unwind_rule rule = {0};
	struct unwind_image image;
	size_t size;
	void *bytes;

	ck_assert_int_eq(symbolizer_process_new(&(struct symbolizer_options){ .debug_directories = directories }, &process), 0);
	ck_assert_int_eq(symbolizer_process_table(process, &source, &bytes, &size), 0);
	ck_assert_int_eq(unwind_image_open(bytes, size, &image), 0);
	/* Its entry, where -nostdlib puts the function: "sub $0x1000, %rsp", 7 bytes, comes first. */
	found = unwind_image_find(&image, 0x1000 + 7);
	ck_assert_ptr_nonnull(found);
	rule = *found;
	free(bytes);
	close(source.fd);
	symbolizer_process_free(process);
	return rule;
}

START_TEST(frames_that_only_the_debug_file_tells_are_found)
{
	static const char source[] =
		".globl _start\n_start:\n.cfi_sections .debug_frame\n.cfi_startproc\nsub $0x1000, %%rsp\n"
		".cfi_def_cfa_offset 0x1008\nnop\nadd $0x1000, %%rsp\n.cfi_def_cfa_offset 8\nret\n.cfi_endproc\n";
	char folder[] = "/tmp/tsprof-test-frames-XXXXXX", command[4096];
	struct unwind_rule rule;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(command, sizeof(command),
		"cd %s && printf '%s' > p.s && cc -nostdlib -static -Wl,-Ttext-segment=0x400000 -Wl,-z,separate-code -o p p.s && "
		"objcopy --only-keep-debug p p.debug && strip --strip-all p && objcopy --add-gnu-debuglink=p.debug p && chmod 644 p.debug",
		folder, source);
	ck_assert_int_eq(system(command), 0);
	snprintf(command, sizeof(command), "%s/p", folder);
	rule = rule_in_program(command, folder);
	ck_assert_int_eq(rule.cfa, UNWIND_CFA_REGISTER);
	ck_assert_int_eq(rule.reg, UNWIND_REGISTER_SP);
	ck_assert_int_eq(rule.offset, 0x1008);
	/* Without it, frame pointers are all there is. */
	snprintf(command, sizeof(command), "rm %s/p.debug", folder);
	ck_assert_int_eq(system(command), 0);
	snprintf(command, sizeof(command), "%s/p", folder);
	rule = rule_in_program(command, folder);
	ck_assert_int_ne(rule.cfa, UNWIND_CFA_REGISTER);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {
		a_program_is_named, many_offsets_come_back_in_order, the_vdso_is_named, the_kernel_is_named, the_process_is_confined,
		a_process_that_dies_between_questions_is_replaced, a_process_that_dies_of_a_file_costs_that_file_only,
		who_is_killed_by_somebody_else_is_replaced_and_asked_again,
		a_process_that_hangs_is_replaced_within_two_seconds, a_file_that_takes_too_long_is_given_up, what_is_no_elf_file_is_refused_once_and_remembered,
		another_file_than_the_one_expected_is_refused, corrupt_files_cost_nothing_else, a_sparse_gigabyte_takes_little,
		no_descriptor_is_left_behind, a_perf_map_that_grows_is_read_again, the_process_ends_with_its_owner,
		a_debug_file_is_found_unless_it_is_private,
		a_program_has_a_table, the_vdso_has_a_table, what_has_no_table_is_told_and_remembered, the_table_of_a_gigabyte_takes_little,
		corrupt_files_have_sound_tables_or_none, a_process_at_rest_has_ended_and_comes_back,
		a_question_in_flight_can_be_cancelled, frames_that_only_the_debug_file_tells_are_found,
	};

	if (argc > 0 && !strcmp(argv[0], "tsprofd-symbolizer"))
		return symbolizer_process_main();
	return unit_main("symbolizer_process", tests, sizeof(tests) / sizeof(tests[0]));
}
