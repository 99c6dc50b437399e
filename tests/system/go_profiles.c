/* SPDX-License-Identifier: Apache-2.0 */
/*
 * go_profiles PID KIND [SECONDS]: what lib/goruntime reads of a process, as the daemon's press makes a file of it, on standard
 * output: of goroutine, heap, allocs, block and mutex a pprof file, of debug=1 and debug=2 the text. Block and mutex have what came in
 * SECONDS, or all since the process began.
 *
 * So that files are compared with those of net/http/pprof of the same process, where no daemon, schedule or window is in between.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "binary.h"
#include "capture.h"
#include "cleanup.h"
#include "clock.h"
#include "elf_image.h"
#include "go_comments.h"
#include "go_findings.h"
#include "go_process.h"
#include "go_report.h"
#include "goroutine_text.h"
#include "image.h"
#include "names_cache.h"
#include "pprof_encode.h"
#include "profile_builder.h"
#include "stacks.h"
#include "symbolizer_process.h"

#define MAX_BYTES (UINT64_C(8) << 30)

/* The program's own code, as targets would tell it. */
static struct image *make_image(const char *pid, int fd, const char *exe)
{
	struct image *image = calloc(1, sizeof(*image));
	struct binary *binary = calloc(1, sizeof(*binary));
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[4096];

	if (!image || !binary)
		abort();
	image->service = strdup("go");
	image->comm = strdup("go");
	image->exe = strdup(exe);
	image->perf_map_fd = -1;
	*binary = (struct binary){ .n_references = 1, .fd = dup(fd), .path = strdup(exe), .serial = 1 };
	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		struct image_mapping mapping = { .binary = binary, .kind = IMAGE_MAPPING_FILE };
		unsigned long start, end, offset;

		if (sscanf(line, "%lx-%lx r-xp %lx", &start, &end, &offset) != 3 || !strstr(line, exe))
			continue;
		mapping.start = start;
		mapping.end = end;
		mapping.file_offset = offset;
		if (vec_push(&image->mappings, mapping) < 0)
			abort();
		binary_ref(binary);
	}
	binary_unref(binary);
	return image;
}

/* How far the kernel moved the program. */
static uint64_t bias_of(const struct elf_image *elf, const struct image *image)
{
	const struct image_mapping *code = &image->mappings.at[0];
	uint64_t address;

	return elf_image_address_of_offset(elf, code->file_offset, &address) ? code->start - address : 0;
}

static void read_report(struct go_process *process, struct go_report *report)
{
	int r;

	report->taken_nsec = clock_monotonic_nsec();
	report->asked = (1U << GO_REPORT_TALLY) - 1;
	report->status[GO_REPORT_GOROUTINES] = go_goroutines_read(process, &(struct go_goroutines_options){ 0 }, &report->goroutines);
	report->status[GO_REPORT_MEMORY] = go_buckets_read(process, GO_BUCKETS_MEMORY, &report->memory);
	report->status[GO_REPORT_BLOCK] = go_buckets_read(process, GO_BUCKETS_BLOCK, &report->block);
	report->status[GO_REPORT_MUTEX] = go_buckets_read(process, GO_BUCKETS_MUTEX, &report->mutex);
	report->status[GO_REPORT_STATS] = go_stats_read(process, &report->stats);
	for (r = 0; r < GO_REPORT_TALLY; r++)
		report->has |= !report->status[r] ? 1U << r : 0;
	report->cycles_per_second = go_buckets_cycles_per_second(process);
	report->took_nsec = clock_monotonic_nsec() - report->taken_nsec;
}

static void forget(struct go_report *report)
{
	go_goroutines_deinit(&report->goroutines);
	go_buckets_deinit(&report->memory);
	go_buckets_deinit(&report->block);
	go_buckets_deinit(&report->mutex);
}

static int write_profile(struct capture *capture, struct names_cache *names)
{
	struct service_profiles profiles = { 0 };
	_cleanup_free_ char *bytes = NULL;
	size_t size;
	int r;

	r = profile_builder_run(capture, names, PROFILE_BUILDER_TOGETHER, &profiles);
	if (r < 0)
		return r;
	go_comments_add(capture, &profiles.profiles.at[0]);
	r = pprof_encode(profiles.profiles.at[0].profile, PPROF_LEVEL_DEFAULT, &bytes, &size);
	if (r >= 0)
		fwrite(bytes, 1, size, stdout);
	service_profiles_deinit(&profiles);
	return r;
}

static int write_capture(const char *kind, struct capture *capture)
{
	const struct symbolizer_options options = { 0 };
	struct symbolizer_process *symbolizer;
	struct names_cache *names;
	int r;

	if (symbolizer_process_new(&options, &symbolizer) < 0 || names_cache_new(symbolizer, 64 << 20, &names) < 0)
		return -ENOMEM;
	if (!strncmp(kind, "debug=", 6)) {
		r = goroutine_text_write(capture, names, atoi(kind + 6), stdout);
	} else {
		r = profile_kind_by_name(kind, &capture->kind);
		capture->kinds = capture_kind_bit(capture->kind);
		if (r >= 0)
			r = write_profile(capture, names);
	}
	names_cache_free(names);
	symbolizer_process_free(symbolizer);
	return r;
}

int main(int argc, char **argv)
{
	_cleanup_(capture_free_p) struct capture *capture = calloc(1, sizeof(*capture));
	_cleanup_close_ int exe_fd = -1, memory_fd = -1;
	const struct process_id id = { .pid = (uint32_t)(argc > 1 ? atoi(argv[1]) : 0) };
	struct go_report before = { 0 }, report = { 0 };
	struct go_addition addition = { .process = &id, .report = &report, .before = &before, .parts = (1U << GO_REPORT_TALLY) - 1 };
	char path[64], exe[4096] = "";
	struct elf_image *elf;
	struct go_binary *program;
	struct go_process *process;
	struct go_memory memory;
	struct image *image;
	int r;

	/* The symbolizer is a process of ourselves. */
	if (!strcmp(argv[0], SYMBOLIZER_PROCESS_NAME))
		return symbolizer_process_main();
	if (argc < 3 || !capture)
		return 64;
	snprintf(path, sizeof(path), "/proc/%s/exe", argv[1]);
	exe_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (exe_fd < 0 || readlink(path, exe, sizeof(exe) - 1) < 0 || elf_image_open(exe_fd, &elf))
		return EXIT_FAILURE;
	image = make_image(argv[1], exe_fd, exe);
	snprintf(path, sizeof(path), "/proc/%s/mem", argv[1]);
	memory_fd = open(path, O_RDONLY | O_CLOEXEC);
	memory = go_memory_of_file(&memory_fd, MAX_BYTES);
	if (go_binary_open(elf, &(struct go_binary_options){ 0 }, &program) || go_process_new(&(struct go_process_options){ .program = program,
			.memory = &memory, .bias = bias_of(elf, image) }, &process))
		return EXIT_FAILURE;
	before.has = report.has = UINT32_C(1) << GO_REPORT_BLOCK | UINT32_C(1) << GO_REPORT_MUTEX;
	if (argc > 3) {
		read_report(process, &before);
		nanosleep(&(struct timespec){ .tv_sec = atoi(argv[3]) }, NULL);
	}
	report.has = 0;
	read_report(process, &report);
	snprintf(report.version, sizeof(report.version), "%s", go_binary_version_text(program));
	capture->trigger = "";
	capture->stacks = stacks_new();
	capture->go = go_findings_new();
	if (!capture->stacks || !capture->go || vec_push(&capture->images, image) < 0)
		return EXIT_FAILURE;
	r = go_findings_add(capture->go, capture->stacks, &addition);
	if (r >= 0)
		r = write_capture(argv[2], capture);
	fprintf(stderr, "%s: %zu samples, seen %llu = kept %llu + lost %llu\n", report.version, capture->stacks->samples.n,
			(unsigned long long)capture->stacks->seen, (unsigned long long)stacks_kept(capture->stacks),
			(unsigned long long)stacks_lost(capture->stacks));
	forget(&before);
	forget(&report);
	go_process_free(process);
	elf_image_free(elf);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
