/* SPDX-License-Identifier: Apache-2.0 */
/*
 * go_read OPTION... PID: has a confined helper read a Go process, as the daemon does, and prints a line of JSON for each time: what came of it and
 * what it cost. While the helper is at work the loop goes on: its longest pause is printed.
 *
 *	-n TIMES   -m MOST-MILLISECONDS   -g MAX-GOROUTINES   -p PARTS   as struct go_request has them
 *	-w MILLISECONDS   waits between learning of the process (and a line that says so) and reading it
 *	-f MILLISECONDS   frees the reader after so long
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "go_reader.h"
#include "go_report.h"
#include "image.h"
#include "process.h"

#define TICK_USEC 1000

struct look {
	sd_event *loop;
	uint64_t begun_nsec, took_nsec, ticked_nsec, longest_pause_nsec;
	bool is_done;
};

static void print_string(const char *key, const char *string)
{
	printf("\"%s\":\"", key);
	for (; *string; string++)
		if (*string == '"' || *string == '\\')
			printf("\\%c", *string);
		else
			putchar(*string);
	printf("\",");
}

static void print_buckets(const char *key, const struct go_buckets *buckets, bool is_memory)
{
	double sums[2] = { 0 };

	for (size_t i = 0; i < buckets->all.n; i++) {
		sums[0] += is_memory ? (double)buckets->all.at[i].memory.allocs : buckets->all.at[i].block.count;
		sums[1] += is_memory ? (double)buckets->all.at[i].memory.alloc_bytes : (double)buckets->all.at[i].block.cycles;
	}
	printf("\"%s\":{\"n\":%zu,\"frames\":%zu,\"rate\":%" PRIu64 ",\"count\":%.0f,\"sum\":%.0f},", key, buckets->all.n, buckets->frames.n,
			buckets->rate, sums[0], sums[1]);
}

static void print_goroutines(const struct go_goroutines *goroutines)
{
	size_t by_status[GO_N_STATUS] = { 0 };
	uint64_t n_frames = 0, n_labels = 0, n_waits = 0, n_system = 0;

	for (size_t i = 0; i < goroutines->all.n; i++) {
		by_status[goroutines->all.at[i].status]++;
		n_frames += goroutines->all.at[i].n_frames;
		n_labels += goroutines->all.at[i].n_labels;
		n_waits += goroutines->all.at[i].n_waits;
		n_system += goroutines->all.at[i].is_system;
	}
	printf("\"goroutines\":{\"n\":%zu,\"frames\":%" PRIu64 ",\"frames_kept\":%zu,\"seen\":%" PRIu64 ",\"dead\":%" PRIu64 ",\"retried\":%" PRIu64
	       ",\"restless\":%" PRIu64 ",\"unread\":%" PRIu64 ",\"broken\":%" PRIu64 ",\"wait_reasons\":%zu,\"waiting\":%zu,\"running\":%zu},",
			goroutines->all.n, n_frames, goroutines->frames.n, goroutines->n_seen, goroutines->n_dead, goroutines->n_retried,
			goroutines->n_restless, goroutines->n_unread, goroutines->n_broken, goroutines->n_wait_reasons, by_status[GO_WAITING],
			by_status[GO_RUNNING]);
	printf("\"labels\":%" PRIu64 ",\"waits\":%" PRIu64 ",\"system\":%" PRIu64 ",", n_labels, n_waits, n_system);
}

static void print_report(const struct go_report *report)
{
	print_string("version", report->version);
	print_string("refusal", report->refusal);
	printf("\"asked\":%u,\"has\":%u,\"status\":[", report->asked, report->has);
	for (size_t i = 0; i < GO_REPORT_N_PARTS; i++)
		printf("%s%d", i ? "," : "", report->status[i]);
	printf("],\"took_ms\":%.2f,\"cycles_per_second\":%.0f,", (double)report->took_nsec / 1e6, report->cycles_per_second);
	printf("\"rates\":[%" PRId64 ",%" PRId64 ",%" PRId64 "],\"off_by_linker\":%s,", report->rates.of[0].value, report->rates.of[1].value,
			report->rates.of[2].value, report->rates.memory_is_off_by_linker ? "true" : "false");
	print_goroutines(&report->goroutines);
	print_buckets("memory", &report->memory, true);
	print_buckets("block", &report->block, false);
	print_buckets("mutex", &report->mutex, false);
	printf("\"stats\":{\"n_gc\":%u,\"heap_live\":%" PRIu64 ",\"gomaxprocs\":%u},", report->stats.n_gc, report->stats.heap_live,
			report->stats.gomaxprocs);
}

static void on_done(struct go_report *report, int error, void *userdata)
{
	struct look *look = userdata;

	look->took_nsec = clock_monotonic_nsec() - look->begun_nsec;
	printf("{");
	if (report)
		print_report(report);
	else
		print_string("error", strerrorname_np(-error));
	look->is_done = true;
}

/* When the helper is waited for, too, in the loop: its figures are there only then. Not one that hangs in the kernel. */
static void print_cost(const struct look *look)
{
	uint64_t end_nsec = clock_monotonic_nsec() + NSEC_PER_SEC;
	struct rusage usage;
	siginfo_t info;

	while (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | WNOHANG) == 0 && clock_monotonic_nsec() < end_nsec)
		sd_event_run(look->loop, TICK_USEC);
	getrusage(RUSAGE_CHILDREN, &usage);
	printf("\"wall_ms\":%.2f,\"pause_ms\":%.2f,\"helper_kib\":%ld,\"helper_cpu_ms\":%.1f,", (double)look->took_nsec / 1e6,
			(double)look->longest_pause_nsec / 1e6, usage.ru_maxrss,
			(double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3);
	getrusage(RUSAGE_SELF, &usage);
	printf("\"own_kib\":%ld}\n", usage.ru_maxrss);
	fflush(stdout);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct look *look = userdata;
	uint64_t now = clock_monotonic_nsec();

	look->longest_pause_nsec = MAX(look->longest_pause_nsec, now - look->ticked_nsec);
	look->ticked_nsec = now;
	sd_event_source_set_time_relative(source, TICK_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ON);
}

static int on_enough(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct look *look = userdata;

	printf("{\"freed\":true,");
	look->took_nsec = clock_monotonic_nsec() - look->begun_nsec;
	look->is_done = true;
	return 0;
}

static int look_once(const struct image *image, const struct go_request *request, uint64_t enough_usec)
{
	sd_event *loop = NULL;
	sd_event_source *tick = NULL, *enough = NULL;
	struct go_reader *reader = NULL;
	struct look look = { 0 };
	int r = sd_event_new(&loop);

	look.loop = loop;
	look.begun_nsec = look.ticked_nsec = clock_monotonic_nsec();
	if (r >= 0)
		r = go_reader_new(loop, image, request, on_done, &look, &reader);
	if (r >= 0)
		r = sd_event_add_time_relative(loop, &tick, CLOCK_MONOTONIC, TICK_USEC, 1, on_tick, &look);
	if (r >= 0 && enough_usec)
		r = sd_event_add_time_relative(loop, &enough, CLOCK_MONOTONIC, enough_usec, 1, on_enough, &look);
	while (r >= 0 && !look.is_done)
		r = sd_event_run(loop, UINT64_MAX);
	go_reader_free(reader);
	sd_event_source_disable_unref(tick);
	sd_event_source_disable_unref(enough);
	if (look.is_done)
		print_cost(&look);
	sd_event_unref(loop);
	if (r < 0) {
		printf("{\"error\":\"%s\"}\n", strerrorname_np(-r));
		fflush(stdout);
	}
	return r < 0 ? r : 0;
}

/* What the daemon knows of it: its start, and its executable mappings with files. */
static int make_image(unsigned int pid, struct image *ret, struct binary *program)
{
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_fclose_ FILE *maps = NULL;
	char path[64], line[4096];
	struct process_stat stat;
	unsigned long start, end, offset, inode;
	struct stat file;
	int r;

	r = process_read_stat(proc, pid, &stat);
	if (r)
		return r < 0 ? r : -ESRCH;
	ret->id = (struct process_id){ .pid = pid, .start_nsec = stat.start_ticks * NSEC_PER_TICK };
	r = process_read_exe(proc, pid, &ret->exe);
	if (r)
		return r < 0 ? r : -ESRCH;
	snprintf(path, sizeof(path), "/proc/%u/exe", pid);
	program->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (program->fd < 0 || fstat(program->fd, &file) < 0)
		return -errno;
	program->path = ret->exe;
	snprintf(path, sizeof(path), "/proc/%u/maps", pid);
	maps = fopen(path, "re");
	while (maps && fgets(line, sizeof(line), maps)) {
		char permissions[8];

		if (sscanf(line, "%lx-%lx %7s %lx %*s %lu", &start, &end, permissions, &offset, &inode) != 5 || !strchr(permissions, 'x'))
			continue;
		r = vec_push(&ret->mappings, ((struct image_mapping){ .start = start, .end = end, .file_offset = offset,
				.binary = inode == file.st_ino ? program : NULL, .kind = IMAGE_MAPPING_FILE }));
		if (r < 0)
			return r;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct go_request request = { .parts = (1U << GO_REPORT_TALLY) - 1 };
	struct binary program = { .fd = -1 };
	struct image image = { 0 };
	uint64_t enough_usec = 0;
	long times = 1, pause_msec = 0;
	int r, option;

	/* The helper is a process of ourselves. */
	if (!strcmp(argv[0], GO_READER_NAME))
		return go_reader_main();
	while ((option = getopt(argc, argv, "n:m:g:p:w:f:")) >= 0) {
		switch (option) {
		case 'n':
			times = strtol(optarg, NULL, 10);
			break;
		case 'm':
			request.most_nsec = strtoull(optarg, NULL, 10) * NSEC_PER_MSEC;
			break;
		case 'g':
			request.max_goroutines = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'p':
			request.parts = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'f':
			enough_usec = strtoull(optarg, NULL, 10) * 1000;
			break;
		case 'w':
			pause_msec = strtol(optarg, NULL, 10);
			break;
		default:
			return 64;
		}
	}
	if (argc != optind + 1) {
		fprintf(stderr, "usage: go_read [-n TIMES] [-m MOST-MILLISECONDS] [-g MAX-GOROUTINES] [-p PARTS] [-w MILLISECONDS] [-f MILLISECONDS] PID\n");
		return 64;
	}
	r = make_image((unsigned int)strtoul(argv[optind], NULL, 10), &image, &program);
	if (pause_msec) {
		printf("{\"known\":true}\n");
		fflush(stdout);
		usleep((useconds_t)pause_msec * 1000);
	}
	if (r < 0)
		printf("{\"error\":\"%s\"}\n", strerrorname_np(-r));
	for (; r >= 0 && times; times--)
		r = look_once(&image, &request, enough_usec);
	vec_deinit(&image.mappings);
	free(image.exe);
	close_fd(program.fd);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
