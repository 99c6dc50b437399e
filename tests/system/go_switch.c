/* SPDX-License-Identifier: Apache-2.0 */
/*
 * go_switch DIRECTORY PID: what the daemon does with the rates of a Go process's own profilers, by hand. What another one left in the
 * state file of the folder is undone first; then each line of standard input is a command, answered by a line of JSON:
 *
 *	set MEMORY BLOCK MUTEX    switches on, by bytes, nanoseconds and contentions; 0: off again
 *	clock CYCLES              how many a second there are; 0: not known
 *	rates                     what is in the process
 *	records                   what its profilers have collected, by the innermost function of package main
 *	release                   it is no target any more
 *
 * At the end of input all is undone.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>

#include "cleanup.h"
#include "clock.h"
#include "elf_image.h"
#include "go_buckets.h"
#include "go_process.h"
#include "go_switch.h"
#include "location.h"
#include "process.h"

enum { MAX_INLINED = 64 };

struct tool {
	const char *pid;
	struct process_id process;
	struct elf_image *image;
	struct go_binary *program;
	struct go_process *go;
	struct go_switch *sw;
	double cycles_per_second;
};

/* From where its file's first byte should be to where it is. */
static uint64_t bias_of(const struct elf_image *image, const char *pid)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[4096], exe[4096] = "";
	uint64_t address;

	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	if (!elf_image_address_of_offset(image, 0, &address) || readlink(path, exe, sizeof(exe) - 1) < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long start, offset;

		if (sscanf(line, "%lx-%*x %*s %lx", &start, &offset) == 2 && !offset && strstr(line, exe))
			return start - address;
	}
	return 0;
}

/* The runtime's clock is the processor's counter. */
static double measure_clock(void)
{
	uint64_t begin = clock_monotonic_nsec(), cycles = __rdtsc(), end;

	usleep(100000);
	cycles = __rdtsc() - cycles;
	end = clock_monotonic_nsec();
	return (double)cycles * 1e9 / (double)(end - begin);
}

static const char *function_of(const struct tool *tool, const struct go_buckets *buckets, const struct go_bucket *bucket)
{
	struct gopclntab_frame frames[MAX_INLINED];

	for (size_t i = 0; i < bucket->n_frames; i++) {
		const struct gopclntab *functions;
		uint64_t address;
		size_t n;

		functions = go_process_functions_at(tool->go, buckets->frames.at[bucket->first_frame + i] - 1, &address);
		if (!functions || gopclntab_lookup(functions, address, frames, MAX_INLINED, &n))
			continue;
		for (size_t j = 0; j < n; j++)
			if (!strncmp(frames[j].name, "main.", 5))
				return frames[j].name;
	}
	return "";
}

static void print_bucket(const struct tool *tool, const struct go_buckets *buckets, const struct go_bucket *bucket, bool is_memory)
{
	int64_t count, size, live, live_size;

	printf("{\"function\":\"%s\",", function_of(tool, buckets, bucket));
	if (!is_memory) {
		printf("\"contentions\":%.17g,\"delay\":%.17g}", bucket->block.count, (double)bucket->block.cycles / tool->cycles_per_second);
		return;
	}
	count = (int64_t)bucket->memory.allocs;
	size = (int64_t)bucket->memory.alloc_bytes;
	live = count - (int64_t)bucket->memory.frees;
	live_size = size - (int64_t)bucket->memory.free_bytes;
	printf("\"samples\":%" PRId64 ",", count);
	go_buckets_scale(buckets->rate, &count, &size);
	go_buckets_scale(buckets->rate, &live, &live_size);
	printf("\"values\":[%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 "]}", count, size, live, live_size);
}

static void print_records(const struct tool *tool)
{
	static const char *const names[] = { [GO_BUCKETS_MEMORY] = "memory", [GO_BUCKETS_BLOCK] = "block", [GO_BUCKETS_MUTEX] = "mutex" };

	for (int kind = GO_BUCKETS_MEMORY; kind <= GO_BUCKETS_MUTEX; kind++) {
		struct go_buckets buckets = { 0 };
		int r = go_buckets_read(tool->go, (enum go_buckets_kind)kind, &buckets);

		printf("%s\"%s\":[", kind == GO_BUCKETS_MEMORY ? "{" : ",", names[kind]);
		for (size_t i = 0; !r && i < buckets.all.n; i++) {
			if (i)
				printf(",");
			print_bucket(tool, &buckets, &buckets.all.at[i], kind == GO_BUCKETS_MEMORY);
		}
		printf("]");
		go_buckets_deinit(&buckets);
	}
	printf("}\n");
}

static void print_rates(const struct tool *tool)
{
	struct go_rates rates;

	go_rates_read(tool->go, &rates);
	printf("{\"off_by_linker\":%s,\"rates\":[%" PRId64 ",%" PRId64 ",%" PRId64 "],\"addresses\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "],"
			"\"cycles_per_second\":%.0f}\n", rates.memory_is_off_by_linker ? "true" : "false", rates.of[0].value, rates.of[1].value,
			rates.of[2].value, rates.of[0].address, rates.of[1].address, rates.of[2].address, tool->cycles_per_second);
}

static void set(const struct tool *tool, int64_t memory, uint32_t block_nsec, int64_t mutex)
{
	struct go_rates rates;

	go_rates_read(tool->go, &rates);
	go_switch_set(tool->sw, &tool->process, &rates,
			&(struct go_switch_wish){ .values = { memory, go_switch_block_rate(block_nsec, tool->cycles_per_second), mutex } });
}

static void obey(struct tool *tool, const char *line)
{
	int64_t memory, mutex;
	uint32_t block;
	double cycles;

	if (!strcmp(line, "records\n")) {
		print_records(tool);
		return;
	}
	if (sscanf(line, "set %" SCNd64 " %" SCNu32 " %" SCNd64, &memory, &block, &mutex) == 3)
		set(tool, memory, block, mutex);
	else if (sscanf(line, "clock %lf", &cycles) == 1)
		tool->cycles_per_second = cycles;
	else if (!strcmp(line, "release\n"))
		go_switch_release(tool->sw, &tool->process);
	print_rates(tool);
}

static int open_process(struct tool *tool, struct go_memory *memory, int proc)
{
	struct process_stat stat;
	const char *why = "";
	char path[64];
	int fd, r;

	tool->process.pid = (uint32_t)atoi(tool->pid);
	if (process_read_stat(proc, tool->process.pid, &stat))
		return -ESRCH;
	tool->process.start_nsec = stat.start_ticks * NSEC_PER_TICK;
	snprintf(path, sizeof(path), "/proc/%s/exe", tool->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || elf_image_open(fd, &tool->image) || go_binary_open(tool->image, &(struct go_binary_options){ 0 }, &tool->program))
		return -ENOEXEC;
	r = go_process_new(&(struct go_process_options){ .program = tool->program, .memory = memory, .bias = bias_of(tool->image, tool->pid), .why = &why },
			&tool->go);
	if (r)
		fprintf(stderr, "%s: %s\n", go_binary_version_text(tool->program), why);
	return r;
}

int main(int argc, char **argv)
{
	struct tool tool = { .pid = argc > 2 ? argv[2] : "", .cycles_per_second = measure_clock() };
	int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC), directory, fd;
	struct go_memory memory;
	char path[64], line[256];

	if (argc < 2 || argc > 3)
		return EXIT_FAILURE;
	directory = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 || go_switch_new(proc, directory, &tool.sw) < 0)
		return EXIT_FAILURE;
	go_switch_recover(tool.sw);
	if (argc == 3) {
		snprintf(path, sizeof(path), "/proc/%s/mem", argv[2]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		memory = go_memory_of_file(&fd, UINT64_MAX);
		if (open_process(&tool, &memory, proc))
			return EXIT_FAILURE;
		setvbuf(stdout, NULL, _IOLBF, 0);
		print_rates(&tool);
		while (fgets(line, sizeof(line), stdin))
			obey(&tool, line);
	}
	go_switch_restore_all(tool.sw);
	go_switch_free(tool.sw);
	go_process_free(tool.go);
	go_binary_free(tool.program);
	elf_image_free(tool.image);
	return EXIT_SUCCESS;
}
