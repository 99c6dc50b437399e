/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_deadlock_text.h"

#include <stdio.h>
#include <string.h>

#include "../main.h"
#include "clock.h"
#include "go_findings.h"
#include "made_capture.h"
#include "made_go.h"
#include "names_cache.h"
#include "places.h"
#include "symbolizer_process.h"

enum { RT0, GOPARK, SEMACQUIRE, LOCK, INNER_LOCK, READ, WORK, HANDLE, N_FUNCTIONS };

static const struct made_go_function functions[N_FUNCTIONS] = {
	{ "_rt0_amd64_linux", 1 }, { "runtime.gopark", 0 }, { "runtime.semacquire1", 0 }, { "sync.(*Mutex).Lock", 0 }, { "internal/sync.(*Mutex).lockSlow", 0 },
	{ "internal/poll.(*FD).Read", 0 }, { "main.work", 0 }, { "main.handle[go.shape.int]", 0 },
};

static const uint64_t base = 0x10000000;
static struct symbolizer_process *symbolizer;
static struct names_cache *cache;
static struct capture *capture;
static struct places *places;

static uint64_t in(int function)
{
	return base + made_go_offset((unsigned)function);
}

/* One process of a service. */
static void add_process(uint32_t pid, const char *service)
{
	struct image *image = made_image(service);

	image->exe = strdup("/usr/bin/go-program");
	made_mapping(image, IMAGE_MAPPING_FILE, base, MADE_GO_SIZE, 0, made_binary("/usr/bin/go-program", 1, made_go(functions, N_FUNCTIONS)));
	made_process(capture, pid, image);
}

static void begin(void)
{
	const struct symbolizer_options options = { 0 };

	ck_assert_int_eq(symbolizer_process_new(&options, &symbolizer), 0);
	ck_assert_int_eq(names_cache_new(symbolizer, 1 << 20, &cache), 0);
	capture = made_capture();
	capture->kind = PROFILE_GOROUTINE;
	capture->kinds = capture_kind_bit(PROFILE_GOROUTINE);
	capture->go = go_findings_new();
	strcpy(capture->go->wait_reasons[1], "sync.Mutex.Lock");
	strcpy(capture->go->wait_reasons[2], "chan\033[1m\nreceive");
	capture->go->n_wait_reasons = 3;
	add_process(7, "shop");
}

static void finish(void)
{
	places_free(places);
	names_cache_end_window(cache);
	capture_free(capture);
	names_cache_free(cache);
	symbolizer_process_free(symbolizer);
}

/* As go_findings has it: its index plus one. */
static uint32_t stack(const uint64_t *frames, size_t n)
{
	made_sample(capture, 0, "", 1, 0, frames, n);
	return (uint32_t)capture->stacks->stacks.n;
}

static void add_member(const struct go_deadlock_member *member)
{
	ck_assert_int_eq(vec_push(&capture->go->deadlock_members, *member), 0);
}

/* Of all members that were added since the last one. */
static void add_deadlock(struct go_deadlock deadlock)
{
	for (size_t i = 0; i < capture->go->deadlocks.n; i++)
		deadlock.first_member += capture->go->deadlocks.at[i].n_told;
	deadlock.n_told = capture->go->deadlock_members.n - deadlock.first_member;
	ck_assert_int_eq(vec_push(&capture->go->deadlocks, deadlock), 0);
}

static goroutine_deadlock_text_list describe(void)
{
	goroutine_deadlock_text_list list = { 0 };

	ck_assert_int_eq(places_new(capture, cache, &places), 0);
	ck_assert_int_eq(goroutine_deadlock_text_describe(capture, places, &list), 0);
	ck_assert_uint_eq(list.n, capture->go->deadlocks.n);
	return list;
}

START_TEST(each_sort_has_its_words)
{
	static const char *const expected[] = {
		"2 goroutines wait for each other's locks, nobody else reaches the locks, 3 more wait for these; confidence 80 %, not moved for 61 s",
		"2 goroutines wait for each other's locks; confidence 45 %, not moved for 61 s",
		"5 goroutines wait for what no goroutine that goes on can reach; confidence 90 %, not moved for 0 s",
		"3 goroutines wait for nil channels, which never wake anybody; confidence 99 %, not moved for 3600 s",
		"4 goroutines are all that there are, and none can go on; confidence 40 %, not moved for 61 s",
		"1 goroutine waits for a nil channel, which never wakes anybody; confidence 99 %, not moved for 5 s",
	};
	goroutine_deadlock_text_list list;

	begin();
	add_deadlock((struct go_deadlock){ .sort = GOROUTINE_CIRCLE, .confidence = 80, .is_unreachable = true, .still_nsec = 61 * NSEC_PER_SEC + 999999999,
			.n_members = 2, .n_behind = 3 });
	add_deadlock((struct go_deadlock){ .sort = GOROUTINE_CIRCLE, .confidence = 45, .still_nsec = 61 * NSEC_PER_SEC, .n_members = 2 });
	add_deadlock((struct go_deadlock){ .sort = GOROUTINE_UNREACHABLE, .confidence = 90, .still_nsec = 1, .n_members = 5 });
	add_deadlock((struct go_deadlock){ .sort = GOROUTINE_FOREVER, .confidence = 99, .still_nsec = 3600 * NSEC_PER_SEC, .n_members = 3 });
	add_deadlock((struct go_deadlock){ .sort = GOROUTINE_ASLEEP, .confidence = 40, .still_nsec = 61 * NSEC_PER_SEC, .n_members = 4 });
	add_deadlock((struct go_deadlock){ .sort = GOROUTINE_FOREVER, .confidence = 99, .still_nsec = 5 * NSEC_PER_SEC, .n_members = 1 });
	list = describe();
	for (size_t i = 0; i < list.n; i++) {
		ck_assert_str_eq(list.at[i].head, expected[i]);
		ck_assert_str_eq(list.at[i].service, "shop");
		ck_assert_uint_eq(list.at[i].process.pid, 7);
	}
	goroutine_deadlock_text_deinit(&list);
	finish();
}
END_TEST

START_TEST(a_goroutine_waits_where_the_program_does_not_where_the_runtime_does)
{
	const uint64_t locks[] = { in(GOPARK), in(SEMACQUIRE), in(INNER_LOCK), in(LOCK), in(WORK), in(HANDLE) };
	const uint64_t reads[] = { in(GOPARK), in(READ) };
	const uint64_t creator[] = { in(HANDLE) };
	uint64_t deep[14];
	goroutine_deadlock_text_list list;

	begin();
	for (size_t i = 0; i < 13; i++)
		deep[i] = in(SEMACQUIRE);
	deep[13] = in(WORK);
	add_member(&(struct go_deadlock_member){ .id = 18, .object = 0xc000012340, .waited_nsec = 61 * NSEC_PER_SEC, .wait_reason = 1, .stack = stack(locks, 6),
			.creator = stack(creator, 1) });
	add_member(&(struct go_deadlock_member){ .id = 19, .wait_reason = 2, .stack = stack(reads, 2) });
	add_member(&(struct go_deadlock_member){ .id = 20, .stack = stack(deep, 14) });
	add_member(&(struct go_deadlock_member){ .id = 21, .stack = stack(NULL, 0) });
	add_member(&(struct go_deadlock_member){ .id = 22 });
	add_deadlock((struct go_deadlock){ .sort = GOROUTINE_CIRCLE, .n_members = 40 });
	list = describe();
	ck_assert_uint_eq(list.at[0].n_members, 40);
	ck_assert_uint_eq(list.at[0].members.n, 5);
	ck_assert_str_eq(list.at[0].members.at[0],
			"goroutine 18 waits in sync.Mutex.Lock for 0xc000012340 at main.work, created by main.handle[...], for 61 s");
	/* A stranger's bytes, and a stack that is the runtime's to its end. */
	ck_assert_str_eq(list.at[0].members.at[1], "goroutine 19 waits in chan?[1m?receive at runtime.gopark, for 0 s");
	ck_assert_str_eq(list.at[0].members.at[2], "goroutine 20 waits at runtime.semacquire1, for 0 s");
	ck_assert_str_eq(list.at[0].members.at[3], "goroutine 21 waits at [unknown], for 0 s");
	ck_assert_str_eq(list.at[0].members.at[4], "goroutine 22 waits at [unknown], for 0 s");
	goroutine_deadlock_text_deinit(&list);
	finish();
}
END_TEST

START_TEST(each_deadlock_has_its_own_members_and_number)
{
	goroutine_deadlock_text_list list, again;

	begin();
	add_process(8, "other");
	for (uint32_t process = 0; process < 2; process++)
		for (uint64_t id = 10; id < 30; id += 10) {
			add_member(&(struct go_deadlock_member){ .id = id });
			add_member(&(struct go_deadlock_member){ .id = id + 1 });
			add_deadlock((struct go_deadlock){ .process = process, .sort = GOROUTINE_CIRCLE, .n_members = 2, .least_id = id });
		}
	add_deadlock((struct go_deadlock){ .sort = GOROUTINE_UNREACHABLE, .n_members = 2, .least_id = 10 });
	list = describe();
	for (size_t i = 0; i < list.n; i++) {
		ck_assert_str_eq(list.at[i].service, i / 2 == 1 ? "other" : "shop");
		ck_assert_uint_eq(list.at[i].members.n, i < 4 ? 2 : 0);
		for (size_t k = 0; k < list.at[i].members.n; k++) {
			char expected[64];

			snprintf(expected, sizeof(expected), "goroutine %zu waits at [unknown], for 0 s", 10 + i % 2 * 10 + k);
			ck_assert_str_eq(list.at[i].members.at[k], expected);
		}
		for (size_t k = 0; k < i; k++)
			ck_assert_uint_ne(list.at[k].id, list.at[i].id);
	}
	/* At the next look it is the same one, however sure it has become and whoever came. */
	places = places_free(places);
	for (size_t i = 0; i < capture->go->deadlocks.n; i++) {
		capture->go->deadlocks.at[i].confidence = 95;
		capture->go->deadlocks.at[i].n_members++;
		capture->go->deadlocks.at[i].still_nsec += NSEC_PER_SEC;
	}
	again = describe();
	for (size_t i = 0; i < list.n; i++)
		ck_assert_uint_eq(again.at[i].id, list.at[i].id);
	goroutine_deadlock_text_deinit(&list);
	goroutine_deadlock_text_deinit(&again);
	finish();
}
END_TEST

START_TEST(where_nothing_was_looked_for_there_is_none)
{
	goroutine_deadlock_text_list list = { 0 };

	begin();
	ck_assert_int_eq(places_new(capture, cache, &places), 0);
	ck_assert_int_eq(goroutine_deadlock_text_describe(capture, places, &list), 0);
	go_findings_free(capture->go);
	capture->go = NULL;
	ck_assert_int_eq(goroutine_deadlock_text_describe(capture, places, &list), 0);
	ck_assert_uint_eq(list.n, 0);
	goroutine_deadlock_text_deinit(&list);
	finish();
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {
		each_sort_has_its_words, a_goroutine_waits_where_the_program_does_not_where_the_runtime_does, each_deadlock_has_its_own_members_and_number,
		where_nothing_was_looked_for_there_is_none,
	};

	if (argc > 0 && !strcmp(argv[0], SYMBOLIZER_PROCESS_NAME))
		return symbolizer_process_main();
	return unit_main("goroutine_deadlock_text", tests, sizeof(tests) / sizeof(tests[0]));
}
