/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stuck [-s] PID LOOKS MILLISECONDS: looks so often at the goroutines of a process, so far apart, and prints which leak and which are
 * deadlocked (lib/analyze), and what searching for who reaches what took. With -s the symbols of the program are not used; with
 * STUCK_READS_ALL in the environment pages that were never touched are searched, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "elf_image.h"
#include "go_goroutines.h"
#include "go_process.h"
#include "go_reach.h"
#include "goroutine_facts.h"
#include "goroutine_leaks.h"
#include "map.h"

#define MAX_BYTES (UINT64_C(256) << 30)
enum { MAX_SEARCHES = 10 };             /* of the last looks */

typedef VEC(struct go_reach_region) region_list;

struct seen {
	uint64_t sp, object, since_nsec;
};

struct watch {
	struct go_process *process;
	struct go_memory *memory;
	struct goroutine_leaks *leaks;
	struct map seen;                     /* id -> struct seen */
	region_list regions;
	struct go_memory pagemap;
	VEC(uint64_t) still;                 /* by goroutine of this look */
	struct go_reach searches[MAX_SEARCHES];
	unsigned int n_searches;
	const char *why;
};

/* The memory that may be written to; and how far the kernel moved the program. */
static int read_maps(const char *pid, const struct elf_image *image, region_list *regions, uint64_t *ret_bias)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[4096], exe[4096] = "", rights[8];
	uint64_t address = 0;
	bool has_bias = false;

	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	if (readlink(path, exe, sizeof(exe) - 1) < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "re");
	*ret_bias = 0;
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long start, end, offset;

		if (sscanf(line, "%lx-%lx %7s %lx", &start, &end, rights, &offset) != 4)
			continue;
		if (!has_bias && !offset && strstr(line, exe) && elf_image_address_of_offset(image, 0, &address)) {
			*ret_bias = start - address;
			has_bias = true;
		}
		if (rights[1] == 'w' && vec_push(regions, ((struct go_reach_region){ start, end })) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* How long each has not moved. */
static int note_stillness(struct watch *watch, const struct go_goroutines *goroutines, uint64_t now_nsec)
{
	watch->still.n = 0;
	for (size_t i = 0; i < goroutines->all.n; i++) {
		const struct go_goroutine *g = &goroutines->all.at[i];
		uint64_t object = g->n_waits ? goroutines->waits.all.at[g->first_wait].address : 0;
		struct seen *seen;
		void *value;
		int r = map_put(&watch->seen, &g->id, &value);

		if (r < 0)
			return r;
		seen = value;
		if (r || seen->sp != g->sp || seen->object != object || (g->status != GO_WAITING && g->status != GO_LEAKED))
			*seen = (struct seen){ .sp = g->sp, .object = object, .since_nsec = now_nsec };
		if (vec_push(&watch->still, now_nsec - seen->since_nsec) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int search(struct watch *watch, const struct go_goroutines *goroutines, struct go_reach *ret)
{
	VEC(uint64_t) objects = { 0 };
	uint64_t start = clock_monotonic_nsec(), cpu = clock_nsec(CLOCK_PROCESS_CPUTIME_ID);
	int r = 0;

	for (size_t i = 0; i < goroutines->waits.all.n && r >= 0; i++)
		r = vec_push(&objects, goroutines->waits.all.at[i].address);
	if (r >= 0)
		r = go_reach_find(watch->process, &(struct go_reach_options){ .goroutines = goroutines, .objects = objects.at, .n_objects = objects.n,
			.regions = watch->regions.at, .n_regions = watch->regions.n, .pagemap = watch->pagemap.read ? &watch->pagemap : NULL, .why = &watch->why }, ret);
	vec_deinit(&objects);
	if (!r)
		fprintf(stderr, "search: %zu goroutines, %zu ways, %u rounds, %" PRIu64 " nodes, %" PRIu64 " KiB, %.1f ms, %.1f ms of CPU%s\n",
			goroutines->all.n, ret->ways.n, ret->n_rounds, ret->n_nodes, ret->n_bytes >> 10,
			(double)(clock_monotonic_nsec() - start) / 1e6,
			(double)(clock_nsec(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e6, ret->is_cut ? ", cut" : "");
	return r;
}

static int print_all(struct watch *watch, const struct go_goroutines *goroutines, uint64_t least_nsec)
{
	const struct go_reach *searches[MAX_SEARCHES];
	struct goroutine_deadlocks deadlocks = { 0 };
	struct goroutine_deadlocks_input input;
	struct goroutine_input storage = { 0 };
	goroutine_leak_list found = { 0 };
	int r = goroutine_leaks_get(watch->leaks, &found);

	for (unsigned int i = 0; i < watch->n_searches; i++)
		searches[i] = &watch->searches[i];
	for (size_t i = 0; i < found.n; i++)
		goroutine_leak_print(&found.at[i], NULL, NULL, stdout);
	if (r >= 0)
		r = goroutine_input_make(goroutines, watch->still.at, searches, watch->n_searches, &storage, &input);
	if (r >= 0) {
		input.least_nsec = least_nsec;
		r = goroutine_deadlocks_find(&input, &deadlocks);
	}
	for (size_t i = 0; i < deadlocks.all.n; i++)
		goroutine_deadlock_print(&deadlocks.all.at[i], stdout);
	goroutine_input_deinit(&storage);
	goroutine_deadlocks_deinit(&deadlocks);
	vec_deinit(&found);
	return r;
}

static int watch_process(struct watch *watch, unsigned int n_looks, unsigned int interval_msec)
{
	int r = 0;

	for (unsigned int i = 0; i < n_looks && !r; i++) {
		struct go_goroutines goroutines = { 0 };
		uint64_t now = clock_monotonic_nsec();

		r = go_goroutines_read(watch->process, &(struct go_goroutines_options){ .why = &watch->why }, &goroutines);
		if (!r)
			r = goroutine_leaks_add(watch->leaks, &goroutines, now);
		if (!r)
			r = note_stillness(watch, &goroutines, now);
		if (!r && i + MAX_SEARCHES >= n_looks)
			r = search(watch, &goroutines, &watch->searches[watch->n_searches++]);
		if (!r && i + 1 == n_looks)
			r = print_all(watch, &goroutines, interval_msec * NSEC_PER_MSEC / 2);
		go_goroutines_deinit(&goroutines);
		if (i + 1 < n_looks)
			usleep(interval_msec * 1000);
	}
	return r;
}

int main(int argc, char **argv)
{
	struct go_binary_options options = { .without_symbols = argc > 1 && !strcmp(argv[1], "-s") };
	char **arguments = argv + 1 + options.without_symbols, path[64];
	unsigned int n_looks, interval_msec;
	struct watch watch = { .why = "" };
	struct go_binary *program = NULL;
	struct elf_image *image = NULL;
	struct go_memory memory;
	uint64_t bias = 0;
	int fd, pagemap_fd, r;

	if (argc != 4 + options.without_symbols)
		return 64;
	n_looks = (unsigned int)atoi(arguments[1]);
	interval_msec = (unsigned int)atoi(arguments[2]);
	snprintf(path, sizeof(path), "/proc/%s/exe", arguments[0]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	r = fd < 0 ? -errno : elf_image_open(fd, &image);
	close_fd(fd);
	if (!r)
		r = go_binary_open(image, &options, &program);
	if (!r)
		r = read_maps(arguments[0], image, &watch.regions, &bias);
	snprintf(path, sizeof(path), "/proc/%s/mem", arguments[0]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	memory = go_memory_of_file(&fd, MAX_BYTES);
	snprintf(path, sizeof(path), "/proc/%s/pagemap", arguments[0]);
	pagemap_fd = getenv("STUCK_READS_ALL") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (pagemap_fd >= 0)
		watch.pagemap = go_memory_of_file(&pagemap_fd, MAX_BYTES);
	map_init(&watch.seen, sizeof(uint64_t), sizeof(struct seen));
	/* As short as the whole of it: a test has no minutes. */
	watch.leaks = goroutine_leaks_new(&(struct goroutine_leaks_options){ .half_nsec = n_looks * (uint64_t)interval_msec * NSEC_PER_MSEC / 4 });
	if (!r && watch.leaks)
		r = go_process_new(&(struct go_process_options){ .program = program, .memory = &memory, .bias = bias, .why = &watch.why }, &watch.process);
	if (!r && watch.process)
		r = watch_process(&watch, n_looks, interval_msec);
	if (r)
		fprintf(stderr, "stuck: %s (%d)\n", watch.why, r);
	for (size_t i = 0; i < ARRAY_SIZE(watch.searches); i++)
		go_reach_deinit(&watch.searches[i]);
	goroutine_leaks_free(watch.leaks);
	map_deinit(&watch.seen);
	vec_deinit(&watch.still);
	vec_deinit(&watch.regions);
	go_process_free(watch.process);
	go_binary_free(program);
	elf_image_free(image);
	close_fd(fd);
	close_fd(pagemap_fd);
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
