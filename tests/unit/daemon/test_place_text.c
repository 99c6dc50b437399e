/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "../main.h"
#include "made_capture.h"
#include "made_go.h"
#include "names_cache.h"
#include "own_program.h"
#include "place_text.h"
#include "places.h"
#include "symbolizer_process.h"

static const uint64_t base = 0x10000000, other_base = 0x60000000, go_base = 0x40000000;
static struct symbolizer_process *symbolizer;
static struct names_cache *cache;

static void make_cache(void)
{
	const struct symbolizer_options options = { 0 };

	ck_assert_int_eq(symbolizer_process_new(&options, &symbolizer), 0);
	ck_assert_int_eq(names_cache_new(symbolizer, 1 << 20, &cache), 0);
}

static void finish(struct capture *capture, struct places *places)
{
	places_free(places);
	names_cache_end_window(cache);
	cache = names_cache_free(cache);
	symbolizer = symbolizer_process_free(symbolizer);
	capture_free(capture);
}

static void assert_text(const struct places *places, const struct capture *capture, size_t frame, enum place_text_sort sort, const char *expected)
{
	char *text = place_text(places, &places_of(places, &capture->stacks->stacks.at[0])[frame], sort);

	ck_assert_str_eq(text, expected);
	free(text);
}

/* Where it was called from. */
__attribute__((noinline)) static void *called_from(void)
{
	return __builtin_return_address(0);
}

static int line_of_the_call;

__attribute__((always_inline)) static inline void *inlined_function(void)
{
	line_of_the_call = __LINE__ + 1;
	void *address = called_from();

	__asm__ volatile("" : "+r"(address)); /* no tail call */
	return address;
}

__attribute__((noinline)) static void *whole_function(void)
{
	return inlined_function();
}

START_TEST(of_inlined_functions_each_sort_tells_what_it_is_about)
{
	union { void *pointer; void (*function)(void); } call = { .pointer = whole_function() };
	struct image *image = made_image("svc");
	struct capture *capture = made_capture();
	struct places *places;
	const uint64_t frames[] = { base + own_offset(call.function) - 1 };
	char expected[512];

	make_cache();
	made_mapping(image, IMAGE_MAPPING_FILE, base, 1 << 24, 0, made_binary("/usr/bin/own", 1, own_open()));
	made_sample(capture, made_process(capture, 5, image), "t", 1, 0, frames, 1);
	ck_assert_int_eq(places_new(capture, cache, &places), 0);
	assert_text(places, capture, 0, PLACE_TEXT_FUNCTION, "whole_function");
	char *text = place_text(places, &places_of(places, &capture->stacks->stacks.at[0])[0], PLACE_TEXT_CODE);
	snprintf(expected, sizeof(expected), "test_place_text.c:%d)", line_of_the_call);
	ck_assert_msg(!strncmp(text, "inlined_function (", 18) && strlen(text) > strlen(expected) &&
			!strcmp(text + strlen(text) - strlen(expected), expected), "%s", text);
	free(text);
	text = place_text(places, &places_of(places, &capture->stacks->stacks.at[0])[0], PLACE_TEXT_GO_STATEMENT);
	ck_assert_msg(!strncmp(text, "whole_function (", 16) && strlen(text) > strlen(expected) &&
			!strcmp(text + strlen(text) - strlen(expected), expected), "%s", text);
	free(text);
	finish(capture, places);
}
END_TEST

START_TEST(where_no_line_is_known_there_is_the_function_and_without_that_the_file)
{
	static const struct made_go_function functions[] = { { "_rt0_amd64_linux", 1 }, { "main.work[go.shape.int]", 0 }, { "main.\033[1m", 0 } };
	struct image *image = made_image("svc");
	struct capture *capture = made_capture();
	struct places *places;
	/* The leaf as it is; of callers the instruction before. */
	const uint64_t frames[] = { go_base + made_go_offset(1), go_base + made_go_offset(2), other_base + 0x124, 0x1000001 };

	make_cache();
	made_mapping(image, IMAGE_MAPPING_FILE, go_base, MADE_GO_SIZE, 0, made_binary("/usr/bin/go-program", 1, made_go(functions, 3)));
	made_mapping(image, IMAGE_MAPPING_FILE, other_base, 1 << 20, 0x1000, made_binary("/usr/bin/other\n1", 2, -1));
	made_sample(capture, made_process(capture, 5, image), "t", 1, 0, frames, 4);
	ck_assert_int_eq(places_new(capture, cache, &places), 0);
	assert_text(places, capture, 0, PLACE_TEXT_CODE, "main.work[...]");
	assert_text(places, capture, 0, PLACE_TEXT_GO_STATEMENT, "main.work[...]");
	assert_text(places, capture, 0, PLACE_TEXT_FUNCTION, "main.work[...]");
	assert_text(places, capture, 1, PLACE_TEXT_FUNCTION, "main.?[1m");
	assert_text(places, capture, 2, PLACE_TEXT_CODE, "other?1+0x1123");
	assert_text(places, capture, 3, PLACE_TEXT_FUNCTION, "[unknown]+0x1000000");
	finish(capture, places);
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = { of_inlined_functions_each_sort_tells_what_it_is_about,
		where_no_line_is_known_there_is_the_function_and_without_that_the_file };

	/* The symbolizer is a process of ourselves. */
	if (argc > 0 && !strcmp(argv[0], SYMBOLIZER_PROCESS_NAME))
		return symbolizer_process_main();
	return unit_main("place_text", tests, ARRAY_SIZE(tests));
}
