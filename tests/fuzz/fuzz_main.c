/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main() of a fuzz target without libFuzzer, so that every input that was once a finding stays a test with any
 * compiler: replays each file of the given files and folders, and damaged copies of it.
 *
 *	fuzz_NAME [--damaged N] FILE|FOLDER...
 *
 * A fuzz target is a file fuzz_NAME.c with one function, LLVMFuzzerTestOneInput(data, size), that returns 0 whatever it
 * is given; its corpus is the folder corpus/NAME, and may be absent: a few inputs of no content are tried always. An
 * input that crashes ends the process (the sanitizers say where); one that takes too long or leaves memory behind fails.
 * Prints TAP: one line a file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What one input may take, sanitizers included. A hang that a user would notice is longer. */
#define INPUT_CPU_SECONDS_MAX 5.0
#define INPUT_BYTES_MAX (64 << 20)
/* Of the whole run. The parsers' own bounds are far lower; the rest is shadow memory. */
#define RESIDENT_BYTES_MAX (1L << 30)

static unsigned n_tests, n_failed;
static unsigned n_damaged = 50;
static char **files;
static size_t n_files;

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* A copy on the heap of exactly that size: one byte past its end is the sanitizer's. */
static void one_input(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

/* One to four small damages, or a cut: what a torn write, a bad disk or somebody with a hex editor leaves. */
static size_t damage(uint8_t *data, size_t size, uint64_t *random)
{
	static const uint8_t liked[] = { 0, 1, 0x7f, 0x80, 0xff };
	unsigned n = 1 + (unsigned)(next_random(random) % 4);

	if (size && next_random(random) % 4 == 0)
		size = next_random(random) % size;
	for (; size && n; n--) {
		size_t at = next_random(random) % size;
		uint64_t how = next_random(random) % 4;

		if (how == 0)
			data[at] ^= (uint8_t)(1u << (next_random(random) % 8));
		else if (how == 1)
			data[at] = (uint8_t)next_random(random);
		else if (how == 2)
			data[at] = liked[next_random(random) % sizeof(liked)];
		else
			memset(data + at, 0xff, size - at < 8 ? size - at : 8);
	}
	return size;
}

static void test_input(const char *name, const uint8_t *data, size_t size)
{
	uint64_t random = 0x9e3779b97f4a7c15u ^ size;
	uint8_t *work = malloc(size ? size : 1);
	double slowest = 0;
	struct rusage usage;
	bool ok;

	if (!work)
		abort();
	for (unsigned i = 0; i <= n_damaged; i++) {
		size_t n = size;
		double start, took;

		if (size)
			memcpy(work, data, size);
		if (i)
			n = damage(work, size, &random);
		start = cpu_seconds();
		one_input(work, n);
		took = cpu_seconds() - start;
		slowest = took > slowest ? took : slowest;
		if (took > INPUT_CPU_SECONDS_MAX)
			printf("# %s, damage %u: %.1f s of CPU\n", name, i, took);
	}
	free(work);
	getrusage(RUSAGE_SELF, &usage);
	if (usage.ru_maxrss > RESIDENT_BYTES_MAX / 1024)
		printf("# %s: %ld MiB resident\n", name, usage.ru_maxrss / 1024);
	ok = slowest <= INPUT_CPU_SECONDS_MAX && usage.ru_maxrss <= RESIDENT_BYTES_MAX / 1024;
	n_failed += !ok;
	printf("%s %u - %s\n", ok ? "ok" : "not ok", ++n_tests, name);
	fflush(stdout);
}

static void test_file(const char *path)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *data = NULL;
	size_t size = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > INPUT_BYTES_MAX || !(data = malloc((size_t)st.st_size + 1))) {
		printf("not ok %u - %s can be read: %s\n", ++n_tests, name, strerror(errno));
		n_failed++;
		goto out;
	}
	while (size < (size_t)st.st_size) {
		ssize_t n = read(fd, data + size, (size_t)st.st_size - size);

		if (n <= 0)
			break;
		size += (size_t)n;
	}
	test_input(name, data, size);
out:
	free(data);
	if (fd >= 0)
		close(fd);
}

static void add_file(const char *path)
{
	char **grown = realloc(files, (n_files + 1) * sizeof(*files));

	if (!grown || !(grown[n_files] = strdup(path)))
		abort();
	files = grown;
	n_files++;
}

static void add_path(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char child[4096];

	if (!dir) {
		if (errno == ENOTDIR)
			add_file(path);
		else if (errno != ENOENT)
			printf("Bail out! %s: %s\n", path, strerror(errno));
		return;
	}
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.') {
			snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
			add_file(child);
		}
	closedir(dir);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
	static uint8_t zeros[4096], ones[4096];

	memset(ones, 0xff, sizeof(ones));
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--damaged") && i + 1 < argc)
			n_damaged = (unsigned)strtoul(argv[++i], NULL, 10);
		else
			add_path(argv[i]);
	if (n_files)
		qsort(files, n_files, sizeof(*files), compare_names);
	printf("TAP version 13\n1..%zu\n", n_files + 3);
	test_input("no byte at all", zeros, 0);
	test_input("a page of zeros", zeros, sizeof(zeros));
	test_input("a page of ones", ones, sizeof(ones));
	for (size_t i = 0; i < n_files; i++) {
		test_file(files[i]);
		free(files[i]);
	}
	free(files);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
