/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole way on the real kernel: code without a table is met (want.bpf.c does to this process what a walk does), its
 * file is found, its table made, given to the kernel and searched there. Needs root, skipped where it is not.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../main.h"
#include "binary.h"
#include "cleanup.h"
#include "clock.h"
#include "elf_image.h"
#include "symbolizer_process.h"
#include "tables.h"
#include "unwind_image.h"
#include "unwind_maps.h"
#include "unwind_rows.h"

/* As want.bpf.c has it. */
struct result {
	uint32_t kind, state;
	int64_t status;
	struct unwind_file file;
	uint64_t offset;
	struct unwind_rule rule;
};

struct bench {
	sd_event *loop;
	struct unwind_maps *maps;
	struct tables *tables;
	struct bpf_object *object;
	int program, results;
	/* What find() gives; NULL: nothing. */
	const char *path;
	bool reads_maps;                     /* the file that is there */
	unsigned n_finds;
};

static struct binary *open_binary(const char *path)
{
	struct binary *binary = calloc(1, sizeof(*binary));
	struct elf_image *image;
	struct stat st;

	binary->n_references = 1;
	binary->fd = open(path, O_RDONLY | O_CLOEXEC);
	binary->path = strdup(path);
	ck_assert_msg(fstat(binary->fd, &st) == 0, "%s", path);
	binary->size = (uint64_t)st.st_size;
	if (elf_image_open(binary->fd, &image) == 0) {
		binary->build_id = elf_image_build_id(image);
		elf_image_free(image);
	}
	return binary;
}

/* The mapping of this process with an address. */
static void mapping_of(uint64_t address, uint64_t *ret_start, uint64_t *ret_end, uint64_t *ret_offset, char path[4096])
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[8192];

	while (fgets(line, sizeof(line), maps)) {
		path[0] = '\0';
		ck_assert_int_ge(sscanf(line, "%lx-%lx %*s %lx %*s %*s %4095s", ret_start, ret_end, ret_offset, path), 3);
		if (address >= *ret_start && address < *ret_end) {
			fclose(maps);
			return;
		}
	}
	ck_abort_msg("no mapping of 0x%lx", address);
}

static struct binary *find(const struct process_id *process, uint64_t address, bool anew, void *userdata)
{
	struct bench *bench = userdata;

	ck_assert_uint_eq(process->pid, (uint32_t)getpid());
	ck_assert_uint_ne(process->start_nsec, 0);
	ck_assert_uint_eq(process->start_nsec % NSEC_PER_TICK, 0);
	if (anew) /* nothing better is known */
		return NULL;
	bench->n_finds++;
	if (bench->reads_maps) {
		uint64_t from, to, offset;
		char path[4096];

		mapping_of(address, &from, &to, &offset, path);
		return open_binary(path);
	}
	return bench->path ? open_binary(bench->path) : NULL;
}

static struct bench *start(uint64_t max_bytes, const char *cache)
{
	static const char *const no_directories[] = { NULL };
	struct bench *bench = calloc(1, sizeof(*bench));
	struct tables_options options = {
		.cache_directory = cache, .debug_directories = no_directories, .find = find, .userdata = bench,
	};

	ck_assert_int_ge(sd_event_new(&bench->loop), 0);
	ck_assert_int_eq(unwind_maps_new(max_bytes, &bench->maps), 0);
	bench->object = bpf_object__open_file(WANT_OBJECT, NULL);
	ck_assert_ptr_nonnull(bench->object);
	ck_assert_int_eq(unwind_maps_share(bench->maps, bench->object), 0);
	ck_assert_int_eq(bpf_object__load(bench->object), 0);
	bench->program = bpf_program__fd(bpf_object__find_program_by_name(bench->object, "want"));
	bench->results = bpf_object__find_map_fd_by_name(bench->object, "results");
	options.maps = bench->maps;
	ck_assert_int_eq(tables_new(bench->loop, &options, &bench->tables), 0);
	return bench;
}

static void end(struct bench *bench)
{
	tables_free(bench->tables);
	bpf_object__close(bench->object);
	unwind_maps_free(bench->maps);
	sd_event_unref(bench->loop);
	free(bench);
}

/* A frame at the address is met. */
static struct result meet(struct bench *bench, uint64_t address)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &address, .ctx_size_in = sizeof(address));
	struct result result;
	uint32_t zero = 0;

	ck_assert_int_eq(bpf_prog_test_run_opts(bench->program, &options), 0);
	ck_assert_int_eq(bpf_map_lookup_elem(bench->results, &zero, &result), 0);
	return result;
}

/* Runs the loop until so many milliseconds have passed, or nothing waits any more. */
static void run(struct bench *bench, unsigned msec)
{
	uint64_t until = clock_monotonic_nsec() + msec * NSEC_PER_MSEC;

	while (clock_monotonic_nsec() < until)
		ck_assert_int_ge(sd_event_run(bench->loop, 10000), 0);
}

/* Meets the address until it has an answer; whether that is a table. */
static bool get_table(struct bench *bench, uint64_t address, struct result *ret)
{
	for (int i = 0; i < 1000; i++) {
		*ret = meet(bench, address);
		if (ret->state != UNWIND_FILE_WANTED)
			return ret->state != UNWIND_FILE_WITHOUT;
		run(bench, 10);
	}
	ck_abort_msg("no answer in 10 s");
}

/* The kernel finds in the table what lib/unwind says, at places all over the code of an image. */
static void assert_agrees(struct bench *bench, uint64_t code, uint64_t offset, uint64_t size, const struct elf_image *image)
{
	struct unwind_rows rows = {0};
	struct unwind_image table;
	unsigned n_found = 0;
	size_t n_bytes;
	void *bytes;

	ck_assert_int_eq(unwind_rows_build(image, NULL, &rows), 0);
	ck_assert_int_eq(unwind_image_encode(&rows, &bytes, &n_bytes), 0);
	ck_assert_int_eq(unwind_image_open(bytes, n_bytes, &table), 0);
	for (unsigned i = 0; i < 5000; i++) {
		uint64_t at = i < 2500 ? (uint64_t)i * size / 2500 : i - 2500;
		const struct unwind_rule *expected;
		struct result result;

		if (at >= size)
			break;
		expected = unwind_image_find(&table, offset + at);
		result = meet(bench, code + at);
		ck_assert_uint_eq(result.offset, offset + at);
		ck_assert_int_eq(result.status == 0, expected != NULL);
		if (expected)
			ck_assert_msg(!memcmp(&result.rule, expected, sizeof(*expected)), "at offset 0x%lx", offset + at);
		n_found += expected != NULL;
	}
	ck_assert_uint_gt(n_found, 1000);
	free(bytes);
	unwind_rows_deinit(&rows);
}

static uint64_t libc_address(void)
{
	return (uint64_t)(uintptr_t)dlsym(RTLD_DEFAULT, "qsort_r");
}

START_TEST(a_library_that_is_met_has_its_table)
{
	struct bench *bench = start(16 << 20, NULL);
	uint64_t address = libc_address(), from, to, offset;
	struct tables_stats stats;
	struct elf_image *image;
	struct binary *binary;
	struct result result;
	char path[4096];

	mapping_of(address, &from, &to, &offset, path);
	bench->path = path;
	result = meet(bench, address);
	ck_assert_uint_eq(result.state, UNWIND_FILE_WANTED);
	ck_assert(get_table(bench, address, &result));
	ck_assert_uint_eq(bench->n_finds, 1);
	binary = open_binary(path);
	ck_assert_int_eq(elf_image_open(binary->fd, &image), 0);
	assert_agrees(bench, from, offset, to - from, image);
	stats = tables_stats(bench->tables);
	ck_assert_uint_eq(stats.wanted, 1);
	ck_assert_uint_eq(stats.made, 1);
	ck_assert_uint_eq(stats.cached, 0);
	ck_assert_uint_eq(stats.failed, 0);
	ck_assert_uint_eq(stats.n_waiting, 0);
	ck_assert_uint_gt(stats.n_rows, 5000);
	ck_assert_uint_gt(stats.cpu_nsec, 0);
	ck_assert_uint_gt(stats.helper_memory_bytes, 0);
	ck_assert_uint_eq(unwind_maps_stats(bench->maps).n_tables, 1);
	elf_image_free(image);
	binary_unref(binary);
	end(bench);
}
END_TEST

START_TEST(the_vdso_that_is_met_has_its_table)
{
	uint64_t vdso = getauxval(AT_SYSINFO_EHDR), from, to, offset;
	struct bench *bench = start(16 << 20, NULL);
	struct elf_image *image;
	struct result result;
	Elf64_Ehdr header;
	char path[4096];

	memcpy(&header, (const void *)(uintptr_t)vdso, sizeof(header));
	mapping_of(vdso, &from, &to, &offset, path);
	ck_assert(get_table(bench, vdso + 0x800, &result));
	ck_assert_uint_eq(bench->n_finds, 0);
	ck_assert_int_eq(elf_image_open_memory((const void *)(uintptr_t)vdso, header.e_shoff + (size_t)header.e_shnum * header.e_shentsize, &image), 0);
	assert_agrees(bench, from, 0, to - from, image);
	elf_image_free(image);
	end(bench);
}
END_TEST

/* A file mapped to be executed, and never run. */
static uint64_t map_code(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *code;

	ck_assert_msg(fd >= 0 && fstat(fd, &st) == 0, "%s", path);
	code = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	ck_assert_ptr_ne(code, MAP_FAILED);
	close(fd);
	return (uint64_t)(uintptr_t)code;
}

static char folder[64];

static void enter(void)
{
	snprintf(folder, sizeof(folder), "/tmp/tsprof-test-tables-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void leave(void)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static const char *file_in_folder(const char *name)
{
	static char paths[4][128];
	static unsigned next;

	next = (next + 1) % 4;
	snprintf(paths[next], sizeof(paths[next]), "%s/%s", folder, name);
	return paths[next];
}

static const char *copy_of_libc(const char *name)
{
	char path[4096], command[5000];
	uint64_t from, to, offset;

	mapping_of(libc_address(), &from, &to, &offset, path);
	snprintf(command, sizeof(command), "cp %s %s", path, file_in_folder(name));
	ck_assert_int_eq(system(command), 0);
	return file_in_folder(name);
}

START_TEST(the_second_start_takes_it_from_disk)
{
	struct tables_stats stats;
	struct result result;

	enter();
	for (unsigned i = 0; i < 2; i++) {
		char cache[100];
		struct bench *bench;
		uint64_t code;

		snprintf(cache, sizeof(cache), "%s/cache", folder);
		bench = start(16 << 20, cache);
		bench->path = i ? file_in_folder("c.so") : copy_of_libc("c.so");
		code = map_code(bench->path);
		ck_assert(get_table(bench, code, &result));
		/* To be written. */
		run(bench, 500);
		stats = tables_stats(bench->tables);
		ck_assert_uint_eq(stats.made, !i);
		ck_assert_uint_eq(stats.cached, i);
		ck_assert_int_eq(stats.helper_memory_bytes == 0, i);
		end(bench);
	}
	leave();
}
END_TEST

START_TEST(copies_share_a_table)
{
	struct bench *bench = start(16 << 20, NULL);
	struct result first, second;
	uint64_t one, other;

	enter();
	bench->path = copy_of_libc("one");
	one = map_code(bench->path);
	ck_assert(get_table(bench, one, &first));
	bench->path = copy_of_libc("other");
	other = map_code(bench->path);
	ck_assert(get_table(bench, other, &second));
	ck_assert_uint_eq(first.state, second.state);
	ck_assert_uint_ne(first.file.ino, second.file.ino);
	ck_assert_uint_eq(unwind_maps_stats(bench->maps).n_tables, 1);
	ck_assert_uint_eq(unwind_maps_stats(bench->maps).n_files, 2);
	end(bench);
	leave();
}
END_TEST

START_TEST(another_file_in_its_place_does_not_become_its_table)
{
	struct bench *bench = start(16 << 20, NULL);
	struct result result;
	struct stat st;
	struct timespec times[2];
	uint64_t code;

	enter();
	code = map_code(copy_of_libc("victim"));
	/* The same content, size and time; but it is not the file that was met. */
	bench->path = copy_of_libc("imitation");
	ck_assert_int_eq(stat(file_in_folder("victim"), &st), 0);
	times[0] = times[1] = st.st_mtim;
	ck_assert_int_eq(utimensat(AT_FDCWD, file_in_folder("imitation"), times, 0), 0);
	result = meet(bench, code);
	run(bench, 500);
	result = meet(bench, code);
	ck_assert_uint_eq(result.state, UNWIND_FILE_WANTED);
	ck_assert_uint_eq(bench->n_finds, 1);
	ck_assert_uint_eq(tables_stats(bench->tables).failed, 1);
	ck_assert_uint_eq(unwind_maps_stats(bench->maps).n_tables, 0);
	/* After a pause it is asked for again, and found by then. */
	bench->path = file_in_folder("victim");
	run(bench, 1000);
	ck_assert(get_table(bench, code, &result));
	ck_assert_uint_eq(bench->n_finds, 2);
	end(bench);
	leave();
}
END_TEST

START_TEST(what_is_not_found_is_asked_for_less_and_less)
{
	struct bench *bench = start(16 << 20, NULL);
	uint64_t address = libc_address(), begun = clock_monotonic_nsec();

	while (clock_monotonic_nsec() - begun < 5 * NSEC_PER_SEC) {
		meet(bench, address);
		run(bench, 10);
	}
	/* At once, after 1 s, and 2 s later. */
	ck_assert_uint_eq(bench->n_finds, 3);
	ck_assert_uint_eq(tables_stats(bench->tables).wanted, 3);
	ck_assert_uint_eq(tables_stats(bench->tables).failed, 3);
	ck_assert_uint_eq(tables_stats(bench->tables).n_waiting, 0);
	end(bench);
}
END_TEST

START_TEST(a_file_without_a_table_is_known_as_such)
{
	struct bench *bench = start(16 << 20, NULL);
	struct result result;
	uint64_t code;
	FILE *f;

	enter();
	f = fopen(file_in_folder("text"), "we");
	fputs("not a program\n", f);
	fclose(f);
	bench->path = file_in_folder("text");
	code = map_code(bench->path);
	ck_assert(!get_table(bench, code, &result));
	for (unsigned i = 0; i < 100; i++) {
		meet(bench, code);
		run(bench, 10);
	}
	ck_assert_uint_eq(bench->n_finds, 1);
	ck_assert_uint_eq(tables_stats(bench->tables).failed, 1);
	ck_assert_uint_eq(tables_stats(bench->tables).made, 0);
	end(bench);
	leave();
}
END_TEST

START_TEST(a_file_that_is_written_to_is_another_one)
{
	struct bench *bench = start(16 << 20, NULL);
	struct result first, second;
	uint64_t code;
	int fd;

	enter();
	bench->path = copy_of_libc("c.so");
	code = map_code(bench->path);
	ck_assert(get_table(bench, code, &first));
	fd = open(bench->path, O_WRONLY | O_CLOEXEC);
	usleep(20000);
	ck_assert_int_eq(pwrite(fd, "\177ELF", 4, 0), 4);
	close(fd);
	second = meet(bench, code);
	ck_assert_uint_eq(second.state, UNWIND_FILE_WANTED);
	ck_assert_uint_ne(first.file.mtime_nsec, second.file.mtime_nsec);
	ck_assert(get_table(bench, code, &second));
	ck_assert_uint_eq(bench->n_finds, 2);
	end(bench);
	leave();
}
END_TEST

/* n functions with two rows each, that need n / 256 pages; `distinct` of them begin with another instruction. */
static void make_library(const char *name, unsigned n, unsigned distinct)
{
	char command[2048];

	snprintf(command, sizeof(command),
		"cd %s && printf '.text\\n.rept %u\\n.cfi_startproc\\nnop\\npush %%%%rbx\\n.cfi_def_cfa_offset 16\\npop %%%%rbx\\n"
		".cfi_def_cfa_offset 8\\nret\\n.cfi_endproc\\n.endr\\n.rept %u\\n.cfi_startproc\\npush %%%%rbx\\n"
		".cfi_def_cfa_offset 16\\npop %%%%rbx\\n.cfi_def_cfa_offset 8\\nret\\n.cfi_endproc\\n.endr\\n' > l.s && "
		"cc -shared -nostdlib -o %s l.s", folder, distinct, n - distinct, name);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(the_longest_unused_table_makes_room)
{
	/* 512 pages. */
	struct bench *bench = start(1 << 20, NULL);
	uint64_t first, second, huge;
	struct tables_stats stats;
	struct result result;

	enter();
	make_library("first", 90000, 1);     /* 350 pages each */
	make_library("second", 90000, 2);
	make_library("huge", 200000, 3);     /* 780: more than there will ever be */
	first = map_code(bench->path = file_in_folder("first"));
	ck_assert(get_table(bench, first, &result));
	ck_assert_uint_gt(unwind_maps_stats(bench->maps).page_bytes, 600 << 10);

	/* The first one has been used just now: it stays. */
	bench->path = file_in_folder("second");
	second = map_code(bench->path);
	meet(bench, second);
	run(bench, 900);
	stats = tables_stats(bench->tables);
	ck_assert_uint_eq(stats.evicted, 0);
	ck_assert_uint_eq(stats.failed, 1);
	ck_assert_uint_ne(meet(bench, first).state, UNWIND_FILE_WANTED);

	/* Some seconds later it goes. */
	run(bench, 7000);
	ck_assert(get_table(bench, second, &result));
	stats = tables_stats(bench->tables);
	ck_assert_uint_eq(stats.evicted, 1);
	ck_assert_uint_eq(unwind_maps_stats(bench->maps).n_tables, 1);
	ck_assert_uint_eq(unwind_maps_stats(bench->maps).n_files, 1);
	ck_assert_uint_eq(meet(bench, first).state, UNWIND_FILE_WANTED);

	/* What can't fit is told so, again and again less, and does not end the daemon. */
	run(bench, 500);
	bench->path = file_in_folder("huge");
	huge = map_code(bench->path);
	meet(bench, huge);
	run(bench, 1500);
	ck_assert_uint_eq(meet(bench, huge).state, UNWIND_FILE_WANTED);
	ck_assert_uint_le(unwind_maps_stats(bench->maps).page_bytes, 1 << 20);
	ck_assert_uint_gt(tables_stats(bench->tables).failed, stats.failed);
	end(bench);
	leave();
}
END_TEST

START_TEST(a_lower_limit_gives_memory_back_at_once_and_holds)
{
	struct bench *bench = start(8 << 20, NULL);
	struct unwind_maps_stats before, after;
	uint64_t first, second;
	struct result result;

	enter();
	make_library("first", 90000, 1); /* 350 pages each, of 512 in a chunk */
	make_library("second", 90000, 2);
	first = map_code(bench->path = file_in_folder("first"));
	ck_assert(get_table(bench, first, &result));
	second = map_code(bench->path = file_in_folder("second"));
	ck_assert(get_table(bench, second, &result));
	before = unwind_maps_stats(bench->maps);
	ck_assert_uint_gt(before.page_bytes, 1200 << 10);

	/* Though both are in use. */
	tables_set_limit(bench->tables, 1 << 20);
	after = unwind_maps_stats(bench->maps);
	ck_assert_uint_eq(after.n_tables, 0);
	ck_assert_uint_eq(after.n_files, 0);
	ck_assert_uint_lt(after.page_bytes, 64 << 10);
	ck_assert_uint_lt(after.memory_bytes + (1 << 20), before.memory_bytes);

	/* One comes back, and the other has to wait until that is not used any more. */
	bench->path = file_in_folder("first");
	ck_assert(get_table(bench, first, &result));
	bench->path = file_in_folder("second");
	meet(bench, second);
	run(bench, 900);
	ck_assert_uint_eq(unwind_maps_stats(bench->maps).n_tables, 1);
	run(bench, 7000);
	ck_assert(get_table(bench, second, &result));
	after = unwind_maps_stats(bench->maps);
	ck_assert_uint_eq(after.n_tables, 1);
	ck_assert_uint_le(after.page_bytes, 1 << 20);
	end(bench);
	leave();
}
END_TEST

START_TEST(five_thousand_files_are_no_burden)
{
	enum { FILES = 5000, AT_A_TIME = 50 };
	struct bench *bench = start(4 << 20, NULL);
	uint64_t code[AT_A_TIME], begun, longest = 0;
	struct tables_stats stats;
	struct result result;

	enter();
	bench->reads_maps = true;
	begun = clock_monotonic_nsec();
	for (unsigned i = 0; i < FILES; i += AT_A_TIME) {
		for (unsigned j = 0; j < AT_A_TIME; j++) {
			char name[32];
			FILE *f;

			snprintf(name, sizeof(name), "%u", i + j);
			f = fopen(file_in_folder(name), "we");
			fprintf(f, "no program %u\n", i + j);
			fclose(f);
			code[j] = map_code(file_in_folder(name));
			meet(bench, code[j]);
		}
		/* Until all that were met have been read. */
		while (tables_stats(bench->tables).wanted < i + AT_A_TIME) {
			uint64_t from = clock_monotonic_nsec();

			ck_assert_int_ge(sd_event_run(bench->loop, 15000), 0);
			longest = MAX(longest, clock_monotonic_nsec() - from);
			ck_assert_uint_lt(clock_monotonic_nsec() - begun, 40 * NSEC_PER_SEC);
		}
		for (unsigned j = 0; j < AT_A_TIME; j++)
			munmap((void *)(uintptr_t)code[j], 4096);
	}
	stats = tables_stats(bench->tables);
	printf("# %lu wanted, %lu failed, %lu waiting, after %.1f s, %.3f s at most; %.2f s of CPU time\n", stats.wanted, stats.failed,
		stats.n_waiting, (double)(clock_monotonic_nsec() - begun) / 1e9, (double)longest / 1e9, (double)stats.cpu_nsec / 1e9);
	ck_assert_uint_ge(stats.wanted, FILES);
	ck_assert_uint_le(stats.n_waiting, 1024);
	/* Who comes after them is served. */
	ck_assert(get_table(bench, libc_address(), &result));
	end(bench);
	leave();
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {
		a_library_that_is_met_has_its_table, the_vdso_that_is_met_has_its_table, the_second_start_takes_it_from_disk,
		copies_share_a_table, another_file_in_its_place_does_not_become_its_table,
		what_is_not_found_is_asked_for_less_and_less, a_file_without_a_table_is_known_as_such,
		a_file_that_is_written_to_is_another_one, the_longest_unused_table_makes_room,
		a_lower_limit_gives_memory_back_at_once_and_holds, five_thousand_files_are_no_burden,
	};
	struct unwind_maps *maps;

	if (argc > 0 && !strcmp(argv[0], SYMBOLIZER_PROCESS_NAME))
		return symbolizer_process_main();
	if (unwind_maps_new(1 << 20, &maps) < 0) {
		printf("1..0 # SKIP BPF maps can't be made here\n");
		return 77;
	}
	unwind_maps_free(maps);
	return unit_main("tables", tests, sizeof(tests) / sizeof(tests[0]));
}
