/* SPDX-License-Identifier: Apache-2.0 */
#include "mappings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "main.h"
#include "process.h"

struct found {
	size_t n;
	struct mapping at[16];
	char paths[16][256];
};

static int on_mapping(const struct mapping *mapping, void *userdata)
{
	struct found *found = userdata;

	if (found->n < 16) {
		snprintf(found->paths[found->n], sizeof(found->paths[0]), "%s", mapping->path);
		found->at[found->n] = *mapping;
	}
	found->n++;
	return 0;
}

static void parse(const char *text, struct found *found)
{
	char *copy = strdup(text);

	*found = (struct found){ 0 };
	ck_assert_int_eq(mappings_parse(copy, strlen(copy), on_mapping, found), 0);
	free(copy);
}

START_TEST(only_executable_mappings_are_given)
{
	struct found found;

	parse("55d0c0a00000-55d0c0a02000 r--p 00000000 fe:01 1234                       /usr/bin/x\n"
	      "55d0c0a02000-55d0c0a05000 r-xp 00002000 fe:01 1234                       /usr/bin/x\n"
	      "7ffd0000-7ffd1000 rw-p 00000000 00:00 0                          [stack]\n", &found);
	ck_assert_uint_eq(found.n, 1);
	ck_assert_uint_eq(found.at[0].start, 0x55d0c0a02000);
	ck_assert_uint_eq(found.at[0].end, 0x55d0c0a05000);
	ck_assert_uint_eq(found.at[0].file_offset, 0x2000);
	ck_assert_uint_eq(found.at[0].device, makedev(0xfe, 1));
	ck_assert_uint_eq(found.at[0].inode, 1234);
	ck_assert_int_eq(found.at[0].kind, MAPPING_FILE);
	ck_assert_str_eq(found.paths[0], "/usr/bin/x");
	ck_assert(!found.at[0].deleted);
}
END_TEST

START_TEST(a_name_says_what_is_mapped)
{
	static const struct {
		const char *name;
		enum mapping_kind kind;
		bool deleted;
		const char *path;
	} table[] = {
		{ "", MAPPING_ANONYMOUS, false, "" },
		{ "//anon", MAPPING_ANONYMOUS, false, "//anon" },
		{ "[anon:v8]", MAPPING_ANONYMOUS, false, "[anon:v8]" },
		{ "[heap]", MAPPING_ANONYMOUS, false, "[heap]" },
		{ "[vdso]", MAPPING_VDSO, false, "[vdso]" },
		{ "[vsyscall]", MAPPING_OTHER, false, "[vsyscall]" },
		{ "[uprobes]", MAPPING_OTHER, false, "[uprobes]" },
		{ "/memfd:jit (deleted)", MAPPING_MEMFD, true, "/memfd:jit" },
		{ "/dev/zero (deleted)", MAPPING_ANONYMOUS, true, "/dev/zero" },
		{ "/SYSV00000000 (deleted)", MAPPING_ANONYMOUS, true, "/SYSV00000000" },
		{ "anon_inode:[io_uring]", MAPPING_ANONYMOUS, false, "anon_inode:[io_uring]" },
		{ "/tmp/go-build1/x (deleted)", MAPPING_FILE, true, "/tmp/go-build1/x" },
		{ "/a b/c d", MAPPING_FILE, false, "/a b/c d" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		char name[64];
		bool deleted;

		snprintf(name, sizeof(name), "%s", table[i].name);
		ck_assert_msg(mapping_classify(name, &deleted) == table[i].kind, "%s", table[i].name);
		ck_assert_msg(deleted == table[i].deleted, "%s", table[i].name);
		ck_assert_str_eq(name, table[i].path);
	}
}
END_TEST

START_TEST(a_newline_in_a_path_forges_no_mapping)
{
	struct found found;

	parse("1000-2000 r-xp 00000000 fe:01 5 /tmp/a\\0127f00-8f00 r-xp 0 fe:01 6 /bin/forged\n", &found);
	ck_assert_uint_eq(found.n, 1);
	ck_assert_str_eq(found.paths[0], "/tmp/a\n7f00-8f00 r-xp 0 fe:01 6 /bin/forged");
}
END_TEST

START_TEST(lines_without_sense_are_passed_over)
{
	struct found found;

	parse("\n"
	      "x\n"
	      "-\n"
	      "1000-1000 r-xp 00000000 fe:01 5 /empty\n"
	      "2000-1000 r-xp 00000000 fe:01 5 /backwards\n"
	      "fffffffffffffffff-ffffffffffffffffff r-xp 0 0:0 0\n"
	      "1000-2000 r-xp\n"
	      "1000-2000 r-xp 00000000 123456789:1 5 /device\n"
	      "3000-4000 r-xp 00000000 00:00 0\n"
	      "5000-6000 r-xp 00000000 fe:01 5 /no end", &found);
	ck_assert_uint_eq(found.n, 1);
	ck_assert_uint_eq(found.at[0].start, 0x3000);
	ck_assert_str_eq(found.paths[0], "");
}
END_TEST

static int find_ourselves(const struct mapping *mapping, void *userdata)
{
	uintptr_t here = (uintptr_t)find_ourselves;
	struct mapping *ret = userdata;

	if (mapping->start <= here && here < mapping->end)
		*ret = *mapping;
	return 0;
}

START_TEST(our_own_code_is_found)
{
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct mapping mapping = { 0 };
	struct stat stat_;

	ck_assert_int_eq(mappings_read(proc, getpid(), find_ourselves, &mapping), 0);
	ck_assert_int_eq(stat("/proc/self/exe", &stat_), 0);
	ck_assert_uint_eq(mapping.inode, stat_.st_ino);
	ck_assert_int_eq(mapping.kind, MAPPING_FILE);
	ck_assert_int_eq(mappings_read(proc, 0x7ffffff0, find_ourselves, &mapping), PROCESS_E_GONE);
	close(proc);
}
END_TEST

static int count(const struct mapping *mapping, void *userdata)
{
	++*(size_t *)userdata;
	return 0;
}

static int stop(const struct mapping *mapping, void *userdata)
{
	++*(size_t *)userdata;
	return -ECANCELED;
}

START_TEST(ten_thousand_mappings_are_read_whole)
{
	enum { N = 10000 };
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	size_t before = 0, after = 0, stopped = 0;
	char *memory = mmap(NULL, (size_t)N * 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(memory, MAP_FAILED);
	ck_assert_int_eq(mappings_read(proc, getpid(), count, &before), 0);
	/* Every other page, so that none are one. */
	for (size_t i = 0; i < N; i++)
		ck_assert_int_eq(mprotect(memory + i * 8192, 4096, PROT_READ | PROT_EXEC), 0);
	ck_assert_int_eq(mappings_read(proc, getpid(), count, &after), 0);
	ck_assert_uint_eq(after - before, N);
	ck_assert_int_eq(mappings_read(proc, getpid(), stop, &stopped), -ECANCELED);
	ck_assert_uint_eq(stopped, 1);
	close(proc);
}
END_TEST

struct wanted {
	uint64_t address;
	size_t n;
};

static int note_holder(const struct mapping *mapping, void *userdata)
{
	struct wanted *wanted = userdata;

	if (wanted->address >= mapping->start && wanted->address < mapping->end)
		wanted->n++;
	return 0;
}

START_TEST(writable_mappings_are_those_of_variables)
{
	static int variable, with_value = 1;
	char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const void *const addresses[] = { &variable, &with_value, shared, "constant" };
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < 4; i++) {
		struct wanted wanted = { .address = (uintptr_t)addresses[i] };

		ck_assert_int_eq(mappings_read_which(proc, (uint32_t)getpid(), MAPPINGS_WRITABLE, note_holder, &wanted), 0);
		ck_assert_uint_eq(wanted.n, i < 2);
	}
	munmap(shared, 4096);
	close(proc);
}
END_TEST

START_TEST(a_file_that_never_ends_is_left)
{
	char directory[] = "/tmp/test-mappings-XXXXXX", path[64];
	size_t n = 0;
	int proc;
	FILE *f;

	/* A directory as /proc. */
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/7", directory);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/7/maps", directory);
	f = fopen(path, "w");
	for (size_t i = 1; i <= MAPPINGS_MAX + 10; i++)
		fprintf(f, "%zx000-%zx800 r-xp 00000000 00:00 0\n", i, i);
	fclose(f);
	proc = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(mappings_read(proc, 7, count, &n), MAPPINGS_E_TRUNCATED);
	ck_assert_uint_eq(n, MAPPINGS_MAX);
	/* One line larger than any path. */
	f = fopen(path, "w");
	for (size_t i = 0; i < 100000; i++)
		fputc('x', f);
	fclose(f);
	n = 0;
	ck_assert_int_eq(mappings_read(proc, 7, count, &n), MAPPINGS_E_TRUNCATED);
	ck_assert_uint_eq(n, 0);
	close(proc);
	unlink(path);
	snprintf(path, sizeof(path), "%s/7", directory);
	rmdir(path);
	rmdir(directory);
}
END_TEST

UNIT_TESTS("mappings", only_executable_mappings_are_given, a_name_says_what_is_mapped, a_newline_in_a_path_forges_no_mapping,
	lines_without_sense_are_passed_over, our_own_code_is_found, ten_thousand_mappings_are_read_whole,
	writable_mappings_are_those_of_variables, a_file_that_never_ends_is_left)
