/* SPDX-License-Identifier: Apache-2.0 */
/* What the press makes of Go's findings: rows of profiles, comments (go_comments.h) and text (goroutine_text.h). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../main.h"
#include "go_comments.h"
#include "go_findings.h"
#include "goroutine_text.h"
#include "made_capture.h"
#include "made_go.h"
#include "made_go_report.h"
#include "names_cache.h"
#include "profile.h"
#include "profile_builder.h"
#include "symbolizer_process.h"

enum { RT0, GOEXIT, GOPARK, CHANRECV, MALLOCGC, MAPS, MAIN, WORK, LOCK, WRAPPER, MAIN_FUNC1, RUNTIME_MAIN, FUTEX, FUTEXSLEEP, N_FUNCTIONS };

static const struct made_go_function functions[N_FUNCTIONS] = {
	{ "_rt0_amd64_linux", 1 }, { "runtime.goexit", 2 }, { "runtime.gopark", 0 }, { "runtime.chanrecv1", 0 }, { "runtime.mallocgc", 0 },
	{ "internal/runtime/maps.newTable", 0 }, { "main.main", 0 }, { "main.work[go.shape.int]", 0 }, { "sync.(*Mutex).Unlock", 0 },
	{ "main.T.work-fm", 22 }, { "main.main.func1", 0 }, { "runtime.main", 0 },
	{ "runtime.futex", 0 }, { "runtime.futexsleep", 0 },
};

static const uint64_t base = 0x10000000;
static struct symbolizer_process *symbolizer;
static struct names_cache *cache;

/* A return address in it. */
static uint64_t in(int function)
{
	return base + made_go_offset((unsigned)function);
}

static struct names_cache *names(void)
{
	const struct symbolizer_options options = { 0 };

	if (!symbolizer) {
		ck_assert_int_eq(symbolizer_process_new(&options, &symbolizer), 0);
		ck_assert_int_eq(names_cache_new(symbolizer, 1 << 20, &cache), 0);
	}
	return cache;
}

static void finish(struct capture *capture, struct service_profiles *profiles)
{
	if (profiles)
		service_profiles_deinit(profiles);
	capture_free(capture);
	cache = names_cache_free(cache);
	symbolizer = symbolizer_process_free(symbolizer);
}

static struct capture *capture_of(uint32_t kinds)
{
	struct capture *capture = made_capture();

	capture->kind = PROFILE_GOROUTINE;
	capture->kinds = kinds;
	capture->go = go_findings_new();
	return capture;
}

static void add_process(struct capture *capture, uint32_t pid, const struct go_report *report, const struct go_report *before,
		const uint64_t *waited_nsec)
{
	const struct process_id id = { .pid = pid, .exec_id = 1, .start_nsec = 1000 };
	const struct go_addition addition = { .process = &id, .report = report, .before = before, .parts = (1U << GO_REPORT_N_PARTS) - 1,
		.waited_nsec = waited_nsec };

	ck_assert_int_eq(go_findings_add(capture->go, capture->stacks, &addition), 0);
	if (capture->images.n < capture->stacks->processes.n) {
		struct image *image = made_image("go");

		image->exe = strdup("/usr/bin/go-program");
		made_mapping(image, IMAGE_MAPPING_FILE, base, MADE_GO_SIZE, 0, made_binary("/usr/bin/go-program", 1, made_go(functions, N_FUNCTIONS)));
		ck_assert_int_eq(vec_push(&capture->images, image), 0);
	}
}

static struct service_profiles build(struct capture *capture)
{
	struct service_profiles profiles;

	ck_assert_int_eq(profile_builder_run(capture, names(), 8, &profiles), 0);
	return profiles;
}

/* "leaf caller root" */
static const char *stack_text(const struct profile *profile, size_t sample)
{
	static char text[1024];

	text[0] = '\0';
	for (uint32_t i = 0; i < profile->samples.at[sample].n_locations; i++) {
		const struct profile_location *location = &profile->locations.at[profile->stack.at[profile->samples.at[sample].first_location + i] - 1];

		for (uint32_t k = 0; k < location->n_lines; k++) {
			if (text[0])
				strcat(text, " ");
			strcat(text, profile_get_string(profile, profile->functions.at[profile->lines.at[location->first_line + k].function - 1].name));
		}
	}
	return text;
}

static const struct profile_label *label_of(const struct profile *profile, size_t sample, const char *key)
{
	const struct profile_sample *s = &profile->samples.at[sample];

	for (uint32_t i = 0; i < s->n_labels; i++)
		if (!strcmp(profile_get_string(profile, profile->labels.at[s->first_label + i].key), key))
			return &profile->labels.at[s->first_label + i];
	return NULL;
}

static const char *text_of(const struct profile *profile, size_t sample, const char *key)
{
	const struct profile_label *label = label_of(profile, sample, key);

	return label ? profile_get_string(profile, label->str) : "(none)";
}

START_TEST(a_goroutine_is_a_row_with_all_that_is_known_of_it)
{
	const uint64_t waiting[] = { in(GOPARK), in(CHANRECV), in(WORK), in(GOEXIT) }, first[] = { in(GOPARK), in(MAIN), in(RUNTIME_MAIN), in(GOEXIT) };
	const uint64_t waited[] = { 0, 90, 0 };
	struct go_report report = made_report("go1.26.8");
	struct capture *capture = capture_of(capture_kind_bit(PROFILE_GOROUTINE));
	struct service_profiles profiles;
	const struct profile *profile;

	made_goroutine(&report, 1, first, 4);
	made_goroutine(&report, 12, waiting, 4)->go_pc = in(MAIN);
	report.goroutines.all.at[1].is_locked = true;
	made_goroutine_label(&report, "tenant", "a");
	made_goroutine_label(&report, "state", "mine");
	made_goroutine(&report, 13, NULL, 0)->verdict = GO_GOROUTINE_RUNNING;
	report.goroutines.all.at[2].status = GO_RUNNING;
	report.goroutines.all.at[2].thread = 77;
	add_process(capture, 5, &report, NULL, waited);
	profiles = build(capture);
	ck_assert_uint_eq(profiles.profiles.n, 1);
	profile = profiles.profiles.at[0].profile;
	ck_assert_uint_eq(profile->samples.n, 3);
	ck_assert_uint_eq(profile->sample_types.n, 1);
	ck_assert_int_eq(profile_total(profile, 0), 3);
	ck_assert_str_eq(stack_text(profile, 0), "runtime.gopark main.main runtime.main");
	ck_assert_str_eq(text_of(profile, 0, "created by"), "(none)");
	ck_assert_ptr_null(label_of(profile, 0, "wait"));
	ck_assert_str_eq(stack_text(profile, 1), "runtime.gopark runtime.chanrecv1 main.work[go.shape.int]");
	ck_assert_str_eq(text_of(profile, 1, "state"), "waiting");
	ck_assert_str_eq(text_of(profile, 1, "wait_reason"), "chan receive");
	ck_assert_str_eq(text_of(profile, 1, "created by"), "main.main");
	ck_assert_int_eq(label_of(profile, 1, "goid")->num, 12);
	ck_assert_int_eq(label_of(profile, 1, "wait")->num, 90);
	ck_assert_str_eq(profile_get_string(profile, label_of(profile, 1, "wait")->num_unit), "nanoseconds");
	ck_assert_str_eq(text_of(profile, 1, "tenant"), "a");
	ck_assert_str_eq(text_of(profile, 1, "go.state"), "mine");
	ck_assert_str_eq(text_of(profile, 1, "locked thread"), "parked");
	ck_assert_str_eq(text_of(profile, 1, "reason"), "(none)");
	ck_assert_ptr_null(label_of(profile, 1, "tid"));
	ck_assert_str_eq(stack_text(profile, 2), "[running]");
	ck_assert_str_eq(text_of(profile, 2, "state"), "running");
	ck_assert_int_eq(label_of(profile, 2, "tid")->num, 77);
	ck_assert_int_eq(label_of(profile, 2, "pid")->num, 5);
	made_report_free(&report);
	finish(capture, &profiles);
}
END_TEST

START_TEST(labels_of_a_goroutine_are_bounded_and_never_ours)
{
	const uint64_t stack[] = { in(GOPARK) };
	struct go_report report = made_report("go1.26.8");
	struct capture *capture = capture_of(capture_kind_bit(PROFILE_GOROUTINE));
	struct service_profiles profiles;
	size_t n = 0;

	made_goroutine(&report, 1, stack, 1);
	made_goroutine_label(&report, "go.pid", "first");
	made_goroutine_label(&report, "pid", "second"); /* its other name is taken */
	made_goroutine_label(&report, "empty", "");
	made_goroutine_label(&report, "\033[1m", "bad\377text");
	for (int i = 0; i < 60; i++) {
		char key[8];

		snprintf(key, sizeof(key), "k%d", i);
		made_goroutine_label(&report, key, "v");
	}
	add_process(capture, 5, &report, NULL, NULL);
	profiles = build(capture);
	ck_assert_int_eq(label_of(profiles.profiles.at[0].profile, 0, "pid")->num, 5);
	ck_assert_str_eq(text_of(profiles.profiles.at[0].profile, 0, "go.pid"), "first");
	ck_assert_str_eq(text_of(profiles.profiles.at[0].profile, 0, "?[1m"), "bad?text");
	ck_assert_ptr_null(label_of(profiles.profiles.at[0].profile, 0, "empty"));
	for (uint32_t i = 0; i < profiles.profiles.at[0].profile->samples.at[0].n_labels; i++)
		n += profile_get_string(profiles.profiles.at[0].profile, profiles.profiles.at[0].profile->labels.at[i].key)[0] == 'k';
	ck_assert_uint_eq(n, GO_LABELS_MAX - 4);
	made_report_free(&report);
	finish(capture, &profiles);
}
END_TEST

START_TEST(heap_profiles_begin_where_the_program_allocated)
{
	const uint64_t stacks[][5] = {
		{ in(MALLOCGC), in(MAPS), in(WORK), in(MAIN), in(RUNTIME_MAIN) },
		{ in(WORK), in(MALLOCGC), in(MAIN), in(GOEXIT) }, /* what is above is shown */
		{ in(MALLOCGC), in(RUNTIME_MAIN), in(GOEXIT) },   /* nothing else: all of it */
	};
	static const char *const expected[] = {
		"main.work[go.shape.int] main.main runtime.main", "main.work[go.shape.int] runtime.mallocgc main.main", "runtime.mallocgc runtime.main",
	};
	static const size_t depths[] = { 5, 4, 3 };
	struct go_report report = made_report("go1.26.8");
	struct capture *capture = capture_of(capture_kind_bit(PROFILE_HEAP) | capture_kind_bit(PROFILE_ALLOCS));
	struct service_profiles profiles;

	report.memory.rate = 1;
	for (size_t i = 0; i < 3; i++)
		made_allocations(&report, stacks[i], depths[i], 16, 10 + i, 4);
	made_allocations(&report, stacks[0], 5, 32, 1, 0); /* of another size: a row of its own */
	add_process(capture, 5, &report, NULL, NULL);
	profiles = build(capture);
	ck_assert_uint_eq(profiles.profiles.n, 2);
	for (size_t k = 0; k < 2; k++) {
		const struct profile *profile = profiles.profiles.at[k].profile;

		ck_assert_uint_eq(profile->samples.n, 4);
		ck_assert_int_eq(profile->period, 1);
		for (size_t i = 0; i < 3; i++) {
			ck_assert_str_eq(stack_text(profile, i), expected[i]);
			ck_assert_int_eq(profile_values(profile, i)[0], 10 + (int64_t)i);
			ck_assert_int_eq(profile_values(profile, i)[1], 16 * (10 + (int64_t)i));
			ck_assert_int_eq(profile_values(profile, i)[2], 6 + (int64_t)i);
			ck_assert_int_eq(profile_values(profile, i)[3], 16 * (6 + (int64_t)i));
			ck_assert_int_eq(label_of(profile, i, "bytes")->num, 16);
		}
		ck_assert_int_eq(label_of(profile, 3, "bytes")->num, 32);
		ck_assert_str_eq(profile_get_string(profile, profile->default_sample_type), k ? "alloc_space" : "inuse_space");
	}
	made_report_free(&report);
	finish(capture, &profiles);
}
END_TEST

START_TEST(contentions_are_rows_with_source_go_beside_those_of_the_kernel)
{
	const uint64_t received[] = { in(CHANRECV), in(WORK), in(GOEXIT) }, unlocked[] = { in(LOCK), in(WORK), in(GOEXIT) };
	struct go_report before = made_report("go1.26.8"), now = made_report("go1.26.8");
	struct capture *capture = capture_of(capture_kind_bit(PROFILE_BLOCK) | capture_kind_bit(PROFILE_MUTEX) | capture_kind_bit(PROFILE_WALL) |
			capture_kind_bit(PROFILE_HEAP) | capture_kind_bit(PROFILE_GOROUTINE));
	struct service_profiles profiles;
	const struct profile *block, *mutex;

	made_sample(capture, made_process(capture, 9, made_image("go")), "t", 3, 0, received, 1);
	capture->stacks->samples.at[0].wait.reason = SAMPLE_CHANNEL;
	capture->stacks->samples.at[0].nsec = 1000;
	made_has(&before, GO_REPORT_BLOCK);
	made_has(&before, GO_REPORT_MUTEX);
	made_contentions(&now, GO_REPORT_BLOCK, received, 3, 2, 4000);
	made_contentions(&now, GO_REPORT_MUTEX, unlocked, 3, 5, 600);
	add_process(capture, 5, &now, &before, NULL);
	profiles = build(capture);
	ck_assert_uint_eq(profiles.profiles.n, 5);
	block = profiles.profiles.at[0].profile;
	mutex = profiles.profiles.at[1].profile;
	ck_assert_uint_eq(block->samples.n, 2);
	ck_assert_str_eq(text_of(block, 0, "source"), "os");
	ck_assert_str_eq(text_of(block, 1, "source"), "go");
	ck_assert_str_eq(text_of(block, 1, "reason"), "channel");
	ck_assert_str_eq(stack_text(block, 1), "runtime.chanrecv1 main.work[go.shape.int]");
	ck_assert_int_eq(profile_values(block, 1)[0], 2);
	ck_assert_int_eq(profile_values(block, 1)[1], 2000);
	ck_assert_uint_eq(mutex->samples.n, 1);
	ck_assert_str_eq(text_of(mutex, 0, "source"), "go");
	ck_assert_str_eq(text_of(mutex, 0, "reason"), "lock");
	ck_assert_int_eq(profile_values(mutex, 0)[0], 5);
	ck_assert_int_eq(profile_values(mutex, 0)[1], 300);
	/* Time of threads is in wall already. */
	ck_assert_uint_eq(profiles.profiles.at[2].profile->samples.n, 1);
	/* Waits are no allocations. */
	ck_assert_uint_eq(profiles.profiles.at[3].profile->samples.n, 0);
	ck_assert_uint_eq(profiles.profiles.at[4].profile->samples.n, 0);
	made_report_free(&now);
	finish(capture, &profiles);
}
END_TEST

static bool keep_named(const struct image *image, const void *userdata)
{
	return image && !strcmp(image->service, userdata);
}

/* A wait of a thread that the kernel saw, of a process that was added */
static void add_park(struct capture *capture, const uint64_t *frames, uint16_t n, enum sample_reason reason, uint64_t count, uint64_t nsec)
{
	struct stacks *stacks = capture->stacks;
	struct stacks_stack stack = { .verdict = SAMPLE_VERDICT_COMPLETE, .n_user = n, .first_frame = stacks->frames.n, .hash = 1 };

	ck_assert_int_eq(vec_append(&stacks->frames, frames, n), 0);
	ck_assert_int_eq(vec_push(&stacks->stacks, stack), 0);
	ck_assert_int_eq(vec_push(&stacks->samples, ((struct stacks_sample){ .stack = (uint32_t)(stacks->stacks.n - 1), .tid = 9, .count = count, .nsec = nsec,
		.wait.reason = reason })), 0);
	stacks->seen += count;
}

/* Block is recorded, mutex is not. */
START_TEST(parks_of_the_runtime_are_left_out_where_its_records_tell_of_the_same)
{
	const uint64_t waited[] = { in(CHANRECV), in(MAIN), in(GOEXIT) }, park[] = { in(FUTEX), in(FUTEXSLEEP), in(RUNTIME_MAIN) },
		in_c[] = { in(FUTEX), in(FUTEXSLEEP), in(MAIN) }, other[] = { in(FUTEXSLEEP), in(RUNTIME_MAIN) };

	for (int is_on = 0; is_on < 2; is_on++) {
		struct go_report before = made_report("go1.26.8"), now = made_report("go1.26.8");
		struct capture *capture = capture_of(capture_kind_bit(PROFILE_BLOCK) | capture_kind_bit(PROFILE_MUTEX));
		struct service_profiles profiles;
		const struct service_profile *block, *mutex;

		capture->kind = PROFILE_BLOCK;
		made_has(&before, GO_REPORT_BLOCK);
		made_has(&before, GO_REPORT_MUTEX);
		made_has(&now, GO_REPORT_MUTEX);
		made_contentions(&now, GO_REPORT_BLOCK, waited, 3, 1, 1000);
		before.block.rate = now.block.rate = (uint64_t)is_on;
		add_process(capture, 5, &now, &before, NULL);
		add_park(capture, park, 3, SAMPLE_LOCK, 7, 70);
		/* Functions of C have no line of Go, and no file that Go knows: neither has any here. */
		add_park(capture, in_c, 3, SAMPLE_LOCK, 6, 60);
		add_park(capture, other, 2, SAMPLE_SLEEP, 5, 50);
		profiles = build(capture);
		block = &profiles.profiles.at[0];
		mutex = &profiles.profiles.at[1];
		ck_assert_uint_eq(block->n_left_out, is_on ? 7 : 0);
		ck_assert_uint_eq(block->left_out_nsec, is_on ? 70 : 0);
		ck_assert_int_eq(profile_total(block->profile, 1), 500 + 60 + 50 + (is_on ? 0 : 70));
		ck_assert_uint_eq(mutex->n_left_out, 0);
		ck_assert_int_eq(profile_total(mutex->profile, 1), 60 + 70);
		made_report_free(&before);
		made_report_free(&now);
		finish(capture, &profiles);
	}
}
END_TEST

START_TEST(snapshots_are_rows_of_wall_and_those_that_wait_of_block)
{
	const uint64_t frames[] = { in(GOPARK), in(CHANRECV), in(WORK), in(GOEXIT) };
	struct go_report report = made_report("go1.26.8");
	struct capture *capture = capture_of(capture_kind_bit(PROFILE_BLOCK) | capture_kind_bit(PROFILE_WALL));
	struct go_tally *tally = &report.tally;
	struct service_profiles profiles;
	const struct profile *block, *wall;

	capture->kind = PROFILE_BLOCK;
	made_has(&report, GO_REPORT_TALLY);
	strcpy(tally->wait_reasons[1], "chan receive");
	tally->n_wait_reasons = 2;
	ck_assert_int_eq(vec_append(&tally->frames, frames, 4), 0);
	ck_assert_int_eq(vec_push(&tally->all, ((struct go_tallied){ .nsec = 900, .count = 9, .n_least = 1, .n_most = 1, .n_frames = 4, .status = GO_WAITING,
		.wait_reason = 1 })), 0);
	ck_assert_int_eq(vec_push(&tally->all, ((struct go_tallied){ .nsec = 100, .count = 1, .n_most = 1, .status = GO_RUNNING,
		.verdict = GO_GOROUTINE_RUNNING })), 0);
	tally->n_snapshots = 10, tally->nsec = 1000;
	add_process(capture, 5, &report, NULL, NULL);
	profiles = build(capture);
	block = profiles.profiles.at[0].profile;
	wall = profiles.profiles.at[1].profile;
	ck_assert_uint_eq(block->samples.n, 1);
	ck_assert_uint_eq(wall->samples.n, 2);
	for (int i = 0; i < 2; i++) {
		const struct profile *profile = i ? wall : block;

		ck_assert_str_eq(stack_text(profile, 0), "runtime.gopark runtime.chanrecv1 main.work[go.shape.int]");
		ck_assert_str_eq(text_of(profile, 0, "source"), "go");
		ck_assert_str_eq(text_of(profile, 0, "state"), "waiting");
		ck_assert_str_eq(text_of(profile, 0, "wait_reason"), "chan receive");
		ck_assert_int_eq(label_of(profile, 0, "idle")->num, 1);
		ck_assert_ptr_null(label_of(profile, 0, "reason"));
		ck_assert_ptr_null(label_of(profile, 0, "tid"));
	}
	ck_assert_str_eq(stack_text(wall, 1), "[running]");
	ck_assert_str_eq(text_of(wall, 1, "state"), "running");
	ck_assert_ptr_null(label_of(wall, 1, "idle"));
	ck_assert_int_eq(profile_total(wall, 1), 1000);
	ck_assert_int_eq(profile_total(block, 0), 9);
	go_comments_add(capture, &profiles.profiles.at[0]);
	ck_assert_ptr_nonnull(strstr(profile_get_string(block, block->comments.at[0]), "rows with source = go are of 10 snapshots"));
	go_report_deinit(&report);
	finish(capture, &profiles);
}
END_TEST

START_TEST(what_was_not_asked_for_is_left_out_with_what_go_knows_of_it)
{
	const uint64_t stack[] = { in(GOPARK) };
	struct go_report one = made_report("go1.26.8"), two = made_report("go1.22.12");
	struct capture *capture = capture_of(capture_kind_bit(PROFILE_GOROUTINE));

	made_goroutine(&one, 1, stack, 1);
	made_goroutine(&one, 2, stack, 1);
	made_goroutine(&two, 33, stack, 1);
	add_process(capture, 5, &one, NULL, NULL);
	add_process(capture, 6, &two, NULL, NULL);
	free(capture->images.at[1]->service);
	capture->images.at[1]->service = strdup("wanted");
	capture_select(capture, keep_named, "wanted");
	ck_assert_uint_eq(capture->stacks->samples.n, 1);
	ck_assert_uint_eq(capture->go->samples.n, 1);
	ck_assert_uint_eq(go_findings_sample(capture->go, 0)->goroutine.is.id, 33);
	ck_assert_uint_eq(capture->stacks->seen, 1);
	ck_assert_uint_eq(capture->go->processes.n, 1);
	ck_assert_str_eq(capture->go->processes.at[0].version, "go1.22.12");
	made_report_free(&one);
	made_report_free(&two);
	finish(capture, NULL);
}
END_TEST

static bool has_comment(const struct profile *profile, const char *part)
{
	for (size_t i = 0; i < profile->comments.n; i++)
		if (strstr(profile_get_string(profile, profile->comments.at[i]), part))
			return true;
	return false;
}

START_TEST(comments_tell_of_each_process)
{
	const uint64_t stack[] = { in(GOPARK), in(WORK) };
	struct go_report report = made_report("go1.26.8"), refused = made_report("go1.31");
	struct capture *capture = capture_of(capture_kind_bit(PROFILE_GOROUTINE) | capture_kind_bit(PROFILE_HEAP));
	struct service_profiles profiles;
	const struct profile *profile;

	made_goroutine(&report, 1, stack, 2);
	made_goroutine(&report, 2, stack, 2)->status = GO_RUNNABLE;
	report.goroutines.n_retried = 17;
	made_has(&report, GO_REPORT_MEMORY);
	made_has(&report, GO_REPORT_STATS);
	report.stats = (struct go_stats){ .n_gc = 3, .pauses_nsec = { 2000000, 5000000, 1000000 }, .n_pauses = 3, .pause_total_nsec = 8000000,
		.heap_live = 3 << 20, .gc_percent = -1, .memory_limit = UINT64_MAX, .gomaxprocs = 4, .gc_cpu_fraction = 0.25,
		.heap_goal = 6 << 20, .stacks_in_use = 1 << 19 };
	report.rates.memory_is_off_by_linker = true;
	strcpy(refused.refusal, "runtime layout of go1.31 not understood: \033allgs");
	add_process(capture, 5, &report, NULL, NULL);
	add_process(capture, 6, &refused, NULL, NULL);
	profiles = build(capture);
	for (size_t i = 0; i < 2; i++)
		go_comments_add(capture, &profiles.profiles.at[i]);
	profile = profiles.profiles.at[0].profile;
	if (profiles.profiles.at[0].kind != PROFILE_GOROUTINE)
		profile = profiles.profiles.at[1].profile;
	ck_assert(has_comment(profile, "process 5 (go1.26.8): 2 goroutines: runnable 1, waiting 1; read in 2.000 ms"));
	ck_assert(has_comment(profile, "read again, for they moved: 17;"));
	ck_assert(has_comment(profile, "process 6 (go1.31): go: runtime layout of go1.31 not understood: ?allgs"));
	ck_assert(has_comment(profile, "of 3 collections; pauses: last 2.000 ms, longest of the last 3 5.000 ms, all 8.000 ms; 25.000 %"));
	ck_assert(has_comment(profile, "GC: next one: at 6.000 MiB; stacks of goroutines: 0.500 MiB"));
	ck_assert(has_comment(profile, "GOMAXPROCS 4, GOGC off, memory limit none"));
	ck_assert(!has_comment(profile, "memory profiling is off"));
	profile = profiles.profiles.at[profiles.profiles.at[0].kind == PROFILE_HEAP ? 0 : 1].profile;
	ck_assert(has_comment(profile, "process 5 (go1.26.8): memory profiling is off in this program: the linker left it out"));
	ck_assert(!has_comment(profile, "2 goroutines"));
	made_report_free(&report);
	finish(capture, &profiles);
}
END_TEST

static void add_leaking_process(struct capture *capture, uint32_t pid, const struct go_report *report)
{
	const struct process_id id = { .pid = pid, .exec_id = 1, .start_nsec = 1000 };
	struct goroutine_leaks *leaks = made_leaks(report);
	const struct go_addition addition = { .process = &id, .report = report, .parts = 1U << GO_REPORT_GOROUTINES, .leaks = leaks };

	/* Of two reports of one process the later one holds. */
	add_process(capture, pid, report, NULL, NULL);
	ck_assert_int_eq(go_findings_add(capture->go, capture->stacks, &addition), 0);
	goroutine_leaks_free(leaks);
}

/* `go f(x)` runs a wrapper. */
START_TEST(a_leak_is_told_by_the_function_that_was_meant_and_the_go_statement)
{
	const uint64_t stack[] = { in(GOPARK), in(CHANRECV), in(WORK), in(WRAPPER), in(GOEXIT) };
	struct go_report report = made_report("go1.26.8");
	struct capture *capture = capture_of(capture_kind_bit(PROFILE_GOROUTINE) | capture_kind_bit(PROFILE_HEAP));
	struct service_profiles profiles;
	const struct goroutine_leak_text *leak;
	char expected[128];

	for (uint64_t i = 0; i < 20; i++) {
		struct go_goroutine *goroutine = made_goroutine(&report, i + 100, stack, 5);

		goroutine->go_pc = in(MAIN);
		goroutine->start_pc = in(WRAPPER) - 0x10;
	}
	add_leaking_process(capture, 5, &report);
	profiles = build(capture);
	ck_assert_uint_eq(profiles.leaks.n, 1);
	leak = &profiles.leaks.at[0];
	ck_assert_str_eq(leak->service, "go");
	ck_assert_str_eq(leak->function, "main.work[...]");
	ck_assert_str_eq(leak->creator, "main.main");
	ck_assert_uint_eq(leak->process.pid, 5);
	ck_assert_uint_eq(leak->is.n, 20);
	ck_assert_uint_eq(leak->grows_nsec, UINT64_C(180000000000));
	snprintf(expected, sizeof(expected), "goroutine leak (process 5): main.work[...] created by main.main, waits in chan receive: 20 now, +360 an hour, confidence %u %%, ",
			leak->is.confidence);
	for (size_t i = 0; i < 2; i++) {
		go_comments_add(capture, &profiles.profiles.at[i]);
		ck_assert(has_comment(profiles.profiles.at[i].profile, expected) == (profiles.profiles.at[i].kind == PROFILE_GOROUTINE));
		ck_assert(has_comment(profiles.profiles.at[i].profile, "goroutine leaks: 1, by 20 looks until now; sites that goroutines come from: 1;") ==
				(profiles.profiles.at[i].kind == PROFILE_GOROUTINE));
	}
	made_report_free(&report);
	finish(capture, &profiles);
}
END_TEST

START_TEST(leaks_of_what_was_not_asked_for_are_left_out)
{
	const uint64_t stack[] = { in(GOPARK), in(WORK) };
	struct go_report report = made_report("go1.26.8");
	struct capture *capture = capture_of(capture_kind_bit(PROFILE_GOROUTINE));

	for (uint64_t i = 0; i < 20; i++)
		made_goroutine(&report, i + 100, stack, 2)->go_pc = in(MAIN);
	add_leaking_process(capture, 5, &report);
	add_leaking_process(capture, 6, &report);
	ck_assert_uint_eq(capture->go->leaks.n, 2);
	free(capture->images.at[1]->service);
	capture->images.at[1]->service = strdup("wanted");
	capture_select(capture, keep_named, "wanted");
	ck_assert_uint_eq(capture->go->leaks.n, 1);
	ck_assert_uint_eq(capture->go->leaks.at[0].process, 1);
	made_report_free(&report);
	finish(capture, NULL);
}
END_TEST

static void assert_text(struct capture *capture, int debug, const char *expected)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_int_eq(goroutine_text_write(capture, names(), debug, f), 0);
	fclose(f);
	ck_assert_str_eq(text, expected);
	free(text);
}

/* Lines are those of made_go.h: none. */
START_TEST(goroutines_are_text_as_go_prints_them)
{
	const uint64_t waiting[] = { in(GOPARK), in(CHANRECV), in(WORK), in(WRAPPER), in(MAIN), in(GOEXIT) }, idle[] = { in(GOPARK), in(GOEXIT) };
	const uint64_t waited[] = { UINT64_C(200) * 1000000000, 0, 0, 0 };
	struct go_report report = made_report("go1.26.8");
	struct capture *capture = capture_of(capture_kind_bit(PROFILE_GOROUTINE));

	made_goroutine(&report, 7, waiting, 6)->go_pc = in(MAIN_FUNC1);
	report.goroutines.all.at[0].parent_id = 1;
	report.goroutines.all.at[0].is_locked = true;
	made_goroutine(&report, 8, idle, 2)->go_pc = in(RUNTIME_MAIN); /* by the runtime: not told */
	report.goroutines.all.at[1].status = GO_RUNNABLE;
	made_goroutine(&report, 9, NULL, 0)->verdict = GO_GOROUTINE_RUNNING;
	report.goroutines.all.at[2].status = GO_RUNNING;
	made_goroutine(&report, 10, waiting, 6);
	add_process(capture, 5, &report, NULL, waited);
	assert_text(capture, 2,
			"goroutine 7 [chan receive, 3 minutes, locked to thread]:\nmain.work[...](...)\n\t?:0\nmain.main(...)\n\t?:0\n"
			"created by main.main.func1 in goroutine 1\n\t?:0\n"
			"\ngoroutine 8 [runnable]:\nruntime.gopark(...)\n\t?:0\nruntime.goexit(...)\n\t?:0\n"
			"\ngoroutine 9 [running]:\n\tgoroutine running on other thread; stack unavailable\n"
			"\ngoroutine 10 [chan receive]:\nmain.work[...](...)\n\t?:0\nmain.main(...)\n\t?:0\n");
	made_report_free(&report);
	finish(capture, NULL);
}
END_TEST

START_TEST(equal_goroutines_are_one_record_with_a_comment_for_each)
{
	const uint64_t waiting[] = { in(GOPARK), in(WORK), in(GOEXIT) }, idle[] = { in(GOPARK) | GO_STACK_EXACT, in(GOEXIT) };
	struct go_report report = made_report("go1.26.8");
	struct capture *capture = capture_of(capture_kind_bit(PROFILE_GOROUTINE));
	char expected[1024];

	made_goroutine(&report, 7, idle, 2);
	made_goroutine(&report, 8, waiting, 3)->go_pc = in(MAIN);
	made_goroutine(&report, 9, waiting, 3)->wait_reason = 2;
	made_goroutine(&report, 10, waiting, 3);
	made_goroutine_label(&report, "a", "x \"y\"");
	made_goroutine_label(&report, "b", "z");
	add_process(capture, 5, &report, NULL, NULL);
	snprintf(expected, sizeof(expected),
			"goroutine profile: total 4\n"
			"2 @ 0x%llx 0x%llx 0x%llx\n#\t0x%llx\tmain.work[...]\t?:0\n"
			"# goroutine 8 [chan receive] created by main.main\n# goroutine 9 [select]\n\n"
			"1 @ 0x%llx 0x%llx\n#\t0x%llx\truntime.gopark\t?:0\n# goroutine 7 [chan receive]\n\n"
			"1 @ 0x%llx 0x%llx 0x%llx\n# labels: {\"a\":\"x \\\"y\\\"\", \"b\":\"z\"}\n#\t0x%llx\tmain.work[...]\t?:0\n"
			"# goroutine 10 [chan receive]\n\n",
			(unsigned long long)in(GOPARK), (unsigned long long)in(WORK), (unsigned long long)in(GOEXIT), (unsigned long long)in(WORK) - 1,
			(unsigned long long)in(GOPARK) + 1, (unsigned long long)in(GOEXIT), (unsigned long long)in(GOPARK),
			(unsigned long long)in(GOPARK), (unsigned long long)in(WORK), (unsigned long long)in(GOEXIT), (unsigned long long)in(WORK) - 1);
	assert_text(capture, 1, expected);
	ck_assert_int_eq(goroutine_text_write(capture, names(), 3, stdout), -EINVAL);
	made_report_free(&report);
	finish(capture, NULL);
}
END_TEST

START_TEST(long_stacks_are_cut_in_the_middle_as_by_each_version)
{
	uint64_t deep[205];

	for (size_t i = 0; i < 205; i++)
		deep[i] = in(i < 2 ? GOPARK : i == 204 ? GOEXIT : WORK);
	for (int is_new = 0; is_new < 2; is_new++) {
		struct go_report report = made_report(is_new ? "go1.21.13" : "go1.20.14");
		struct capture *capture = capture_of(capture_kind_bit(PROFILE_GOROUTINE));
		char expected[8192] = "goroutine 7 [chan receive]:\n";

		made_goroutine(&report, 7, deep, 205);
		add_process(capture, 5, &report, NULL, NULL);
		for (int i = 0; i < (is_new ? 100 : 98); i++) {
			strcat(expected, "main.work[...](...)\n\t?:0\n");
			if (is_new && i == 49)
				strcat(expected, "...102 frames elided...\n");
		}
		assert_text(capture, 2, expected);
		made_report_free(&report);
		finish(capture, NULL);
	}
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = { a_goroutine_is_a_row_with_all_that_is_known_of_it, labels_of_a_goroutine_are_bounded_and_never_ours,
		heap_profiles_begin_where_the_program_allocated, contentions_are_rows_with_source_go_beside_those_of_the_kernel,
		a_leak_is_told_by_the_function_that_was_meant_and_the_go_statement, leaks_of_what_was_not_asked_for_are_left_out,
		parks_of_the_runtime_are_left_out_where_its_records_tell_of_the_same, snapshots_are_rows_of_wall_and_those_that_wait_of_block,
		what_was_not_asked_for_is_left_out_with_what_go_knows_of_it, comments_tell_of_each_process, goroutines_are_text_as_go_prints_them,
		equal_goroutines_are_one_record_with_a_comment_for_each, long_stacks_are_cut_in_the_middle_as_by_each_version };

	/* The symbolizer is a process of ourselves. */
	if (argc > 0 && !strcmp(argv[0], SYMBOLIZER_PROCESS_NAME))
		return symbolizer_process_main();
	return unit_main("go_profiles", tests, ARRAY_SIZE(tests));
}
