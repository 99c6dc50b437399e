/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A test program that go_program.h takes for one made by Go's linker, and in which there is no runtime: helpers that read it refuse.
 * Its main() is OWN_GO_TESTS(), since it is such a helper, too.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "clock.h"
#include "go_reader.h"
#include "image.h"
#include "main.h"
#include "process.h"

/* In writable data, at a multiple of 16. */
static volatile char own_go_magic[32] __attribute__((aligned(16), used)) = "\xff Go buildinf:";

/* The mapping of the program's code. */
static inline struct image_mapping own_go_mapping(const char *exe)
{
	struct image_mapping mapping = { .kind = IMAGE_MAPPING_FILE };
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long start, end, offset;
	char line[4096], access[5];

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %4s %lx", &start, &end, access, &offset) == 4 && access[2] == 'x' && strstr(line, exe))
			mapping.start = start, mapping.end = end, mapping.file_offset = offset;
	fclose(f);
	ck_assert_uint_ne(mapping.start, 0);
	return mapping;
}

/* Of this very process. */
static inline struct image *own_go_image(void)
{
	struct image *image = calloc(1, sizeof(*image));
	struct binary *binary = calloc(1, sizeof(*binary));
	struct image_mapping mapping;
	struct process_stat stat;
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char exe[4096] = "";

	ck_assert(image && binary);
	ck_assert_int_gt(readlink("/proc/self/exe", exe, sizeof(exe) - 1), 0);
	ck_assert_int_eq(process_read_stat(proc, (uint32_t)getpid(), &stat), 0);
	close(proc);
	*binary = (struct binary){ .n_references = 1, .fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), .path = strdup(exe) };
	mapping = own_go_mapping(exe);
	mapping.binary = binary;
	*image = (struct image){ .id = { .pid = (uint32_t)getpid(), .start_nsec = stat.start_ticks * NSEC_PER_TICK }, .service = strdup("own"),
		.exe = strdup(exe), .perf_map_fd = -1 };
	ck_assert_int_eq(vec_push(&image->mappings, mapping), 0);
	return image;
}

/* As UNIT_TESTS(). */
#define OWN_GO_TESTS(name, ...)                                                                    \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		const TTest *const tests[] = { __VA_ARGS__ };                                      \
                                                                                                   \
		if (argc > 0 && !strcmp(argv[0], GO_READER_NAME))                                  \
			return go_reader_main();                                                   \
		return unit_main(name, tests, sizeof(tests) / sizeof(tests[0]));                   \
	}
