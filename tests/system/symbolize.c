/* SPDX-License-Identifier: Apache-2.0 */
/*
 * symbolize FILE [DEBUG-DIRECTORY] < ADDRESSES: asks the confined symbolizer process about addresses of a file (p_vaddr,
 * hexadecimal, one a line) and prints one line of JSON each, as tests/targets/go/callers does:
 *
 *	{"pc":"0x401000","frames":[{"func":"..","system":"..","file":"..","line":12,"start":10}, ..]}
 *
 * So a test compares thousands of addresses with addr2line and with what a program says of itself, not only those that a
 * profile happened to meet.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "elf_image.h"
#include "names.h"
#include "strtab.h"
#include "symbolizer_process.h"
#include "vec.h"

struct addresses {
	VEC(uint64_t) asked;                 /* as they were given */
	VEC(uint64_t) offsets;               /* in the file, of those that have one */
};

static int read_addresses(const struct elf_image *image, struct addresses *ret)
{
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		uint64_t address = strtoull(line, NULL, 16), offset;

		if (!elf_image_offset_of_address(image, address, &offset)) {
			fprintf(stderr, "%#" PRIx64 " is not in the file\n", address);
			continue;
		}
		if (vec_push(&ret->asked, address) < 0 || vec_push(&ret->offsets, offset) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void print_string(const char *key, const char *string)
{
	printf("\"%s\":\"", key);
	for (; *string; string++)
		if (*string == '"' || *string == '\\')
			printf("\\%c", *string);
		else if ((unsigned char)*string < ' ')
			printf("\\u%04x", (unsigned char)*string);
		else
			putchar(*string);
	putchar('"');
}

static void print_location(const struct names *names, const struct names_location *location, uint64_t asked)
{
	printf("{\"pc\":\"0x%" PRIx64 "\",\"address\":\"0x%" PRIx64 "\",\"frames\":[", asked, location->address);
	for (uint32_t i = 0; i < location->n_frames; i++) {
		const struct names_frame *frame = names->frames.at + location->first_frame + i;

		printf("%s{", i ? "," : "");
		print_string("func", strtab_get(names->strings, frame->name, NULL));
		putchar(',');
		print_string("system", strtab_get(names->strings, frame->system_name, NULL));
		putchar(',');
		print_string("file", strtab_get(names->strings, frame->file, NULL));
		printf(",\"line\":%u,\"start\":%u}", frame->line, frame->start_line);
	}
	printf("]}\n");
}

static int run(const char *path, const char *debug_directory)
{
	const char *directories[] = { debug_directory, NULL };
	const struct symbolizer_options options = { .debug_directories = directories, .cpu_seconds_per_file = 60 };
	struct symbolizer_process *process = NULL;
	struct symbol_source source = { .kind = SYMBOL_SOURCE_ELF, .path = path };
	struct addresses addresses = { 0 };
	struct elf_image *image = NULL;
	struct names *names = NULL;
	int r;

	source.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (source.fd < 0)
		return -errno;
	r = elf_image_open(source.fd, &image);
	if (r)
		goto out;
	source.build_id = elf_image_build_id(image);
	r = read_addresses(image, &addresses);
	if (r == 0)
		r = symbolizer_process_new(&options, &process);
	if (r == 0)
		r = symbolizer_process_resolve(process, &source, addresses.offsets.at, addresses.offsets.n, &names);
	if (r == 0)
		for (size_t i = 0; i < names->locations.n; i++)
			print_location(names, names->locations.at + i, addresses.asked.at[i]);
out:
	names_free(names);
	symbolizer_process_free(process);
	elf_image_free(image);
	vec_deinit(&addresses.asked);
	vec_deinit(&addresses.offsets);
	close(source.fd);
	return r;
}

int main(int argc, char **argv)
{
	int r;

	/* The symbolizer is a process of ourselves. */
	if (!strcmp(argv[0], "tsprofd-symbolizer"))
		return symbolizer_process_main();
	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: symbolize FILE [DEBUG-DIRECTORY] < ADDRESSES\n");
		return 64;
	}
	r = run(argv[1], argc > 2 ? argv[2] : "/usr/lib/debug");
	if (r)
		fprintf(stderr, "symbolize: %s: %s\n", argv[1], r < 0 ? strerror(-r) : "no answer");
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
