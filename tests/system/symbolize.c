/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By hand and for differential tests: names the code at addresses of a file the way the daemon's symbolizer does, debug
 * file and supplement included, but in this process.
 *
 *	symbolize [-a] [-k|-m] [-d DIRECTORY]... FILE ADDRESS...       addresses on standard input when none are given
 *
 * -a: addresses of the file (as addr2line takes them) instead of file offsets; -k: FILE is kallsyms; -m: a perf map.
 * Prints, for each: "0xADDRESS", then per frame, innermost first, "name<TAB>system name<TAB>file:line<TAB>start line".
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "elf_image.h"
#include "symbolizer.h"

#define MAX_DIRECTORIES 16U

struct request {
	enum symbolizer_kind kind;
	bool addresses, timing;
	const char *path;
	const char *directories[MAX_DIRECTORIES + 1];
	VEC(uint64_t) asked, offsets;
};

/* The path of the candidate that was accepted, or NULL. */
static const char *give(struct symbolizer *s, int (*add)(struct symbolizer *, int), const struct debug_file_paths *paths)
{
	for (size_t i = 0; i < paths->paths.n; i++) {
		_cleanup_close_ int fd = open(paths->paths.at[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);

		if (fd >= 0 && add(s, fd) == 0)
			return paths->paths.at[i];
	}
	return NULL;
}

static void add_debug_files(struct symbolizer *s, const struct request *request)
{
	_cleanup_free_ char *path = realpath(request->path, NULL);
	struct debug_file_paths debug = { 0 }, supplement = { 0 };
	struct debug_file_wants wants;
	const char *found = NULL;

	symbolizer_wants(s, &wants);
	if (debug_file_candidates(&wants, path, request->directories, &debug) == 0)
		found = give(s, symbolizer_add_debug_file, &debug);
	if (found)
		fprintf(stderr, "debug file: %s\n", found);
	symbolizer_wants(s, &wants);
	if (debug_file_supplement_candidates(&wants, found ? found : path, request->directories, &supplement) == 0) {
		found = give(s, symbolizer_add_supplement, &supplement);
		if (found)
			fprintf(stderr, "supplement: %s\n", found);
	}
	debug_file_paths_deinit(&debug);
	debug_file_paths_deinit(&supplement);
}

static int to_offsets(int fd, struct request *request)
{
	struct elf_image *image;
	int r = 0;

	if (request->kind != SYMBOLIZER_ELF || !request->addresses)
		return vec_append(&request->offsets, request->asked.at, request->asked.n);
	r = elf_image_open(fd, &image);
	if (r)
		return r;
	for (size_t i = 0; i < request->asked.n && r >= 0; i++) {
		uint64_t offset = UINT64_MAX;

		elf_image_offset_of_address(image, request->asked.at[i], &offset);
		r = vec_push(&request->offsets, offset);
	}
	elf_image_free(image);
	return r;
}

static void print(const struct names *names, const struct request *request)
{
	for (size_t i = 0; i < names->locations.n; i++) {
		const struct names_location *l = &names->locations.at[i];

		printf("0x%" PRIx64 "\n", request->asked.at[i]);
		for (uint32_t k = 0; k < l->n_frames; k++) {
			const struct names_frame *f = &names->frames.at[l->first_frame + k];

			printf("%s\t%s\t%s:%" PRIu32 "\t%" PRIu32 "\n", strtab_get(names->strings, f->name, NULL),
			       strtab_get(names->strings, f->system_name, NULL), strtab_get(names->strings, f->file, NULL),
			       f->line, f->start_line);
		}
	}
}

static int run(struct request *request)
{
	_cleanup_close_ int fd = open(request->path, O_RDONLY | O_CLOEXEC);
	struct symbolizer *s = NULL;
	struct names *names = NULL;
	struct timespec a, b;
	int r;

	if (fd < 0)
		return -errno;
	clock_gettime(CLOCK_MONOTONIC, &a);
	r = symbolizer_open(request->kind, fd, &s);
	if (r)
		return r;
	add_debug_files(s, request);
	r = to_offsets(fd, request);
	if (!r)
		r = symbolizer_resolve(s, request->offsets.at, request->offsets.n, &names);
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (!r)
		print(names, request);
	if (request->timing)
		fprintf(stderr, "%zu addresses in %.3f ms\n", request->offsets.n,
			(double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
	names_free(names);
	symbolizer_free(s);
	return r;
}

static int usage(void)
{
	fprintf(stderr, "usage: symbolize [-a] [-k|-m] [-t] [-d DIRECTORY]... FILE ADDRESS...\n");
	return 64;
}

int main(int argc, char **argv)
{
	struct request request = { .kind = SYMBOLIZER_ELF };
	size_t n_directories = 0;
	char word[64];
	int option, r = 0;

	while ((option = getopt(argc, argv, "akmtd:")) >= 0) {
		switch (option) {
		case 'a':
			request.addresses = true;
			break;
		case 'k':
			request.kind = SYMBOLIZER_KERNEL;
			break;
		case 'm':
			request.kind = SYMBOLIZER_PERF_MAP;
			break;
		case 't':
			request.timing = true;
			break;
		case 'd':
			if (n_directories < MAX_DIRECTORIES)
				request.directories[n_directories++] = optarg;
			break;
		default:
			return usage();
		}
	}
	if (optind >= argc)
		return usage();
	if (!n_directories)
		request.directories[0] = "/usr/lib/debug";
	request.path = argv[optind++];
	if (optind == argc)
		while (r >= 0 && scanf("%63s", word) == 1)
			r = vec_push(&request.asked, strtoull(word, NULL, 16));
	for (; optind < argc && r >= 0; optind++)
		r = vec_push(&request.asked, strtoull(argv[optind], NULL, 16));
	if (r >= 0)
		r = run(&request);
	vec_deinit(&request.asked);
	vec_deinit(&request.offsets);
	if (r < 0)
		fprintf(stderr, "symbolize: %s: %s\n", request.path, strerror(-r));
	else if (r > 0)
		fprintf(stderr, "symbolize: %s: refused (%d, see symbolizer.h)\n", request.path, r);
	return r ? 1 : 0;
}
