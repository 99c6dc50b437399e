/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "config_value.h"
#include "main.h"
#include "nearest.h"

static const uint64_t second = 1000000;

static void assert_duration(const char *text, uint64_t usec)
{
	uint64_t value = 1;

	ck_assert_int_eq(config_value_duration(text, &value), 0);
	ck_assert_uint_eq(value, usec);
}

START_TEST(durations_are_sums_of_units)
{
	assert_duration("0", 0);
	assert_duration("30s", 30 * second);
	assert_duration("1h30m", 5400 * second);
	assert_duration("1m0s", 60 * second);
	assert_duration("7d", 7 * 86400 * second);
	assert_duration("500ms", 500000);
	assert_duration("1us", 1);
	assert_duration("1d2h3m4s5ms6us", 93784005006);
	/* 2^64-1 microseconds */
	assert_duration("18446744073709551615us", UINT64_MAX);
}
END_TEST

static void assert_refused(int (*read)(const char *, uint64_t *), const char *text, int error)
{
	uint64_t value = 77;

	ck_assert_msg(read(text, &value) == error, "%s", text);
	ck_assert_uint_eq(value, 77);
}

START_TEST(what_is_no_duration_is_refused)
{
	static const char *const wrong[] = {
		"", "s", "5", "30 s", " 30s", "30s ", "1m1h", "1s1s", "1.5h", "-1s", "+1s", "1S", "1min", "1w", "1mss",
		"0x1s", "1e3s",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_refused(config_value_duration, wrong[i], -EINVAL);
	assert_refused(config_value_duration, "18446744073709551616us", -ERANGE);
	assert_refused(config_value_duration, "99999999999999999999d", -ERANGE);
	assert_refused(config_value_duration, "213503982334d14454049ms551615us", -ERANGE);
}
END_TEST

START_TEST(sizes_count_by_thousand_or_by_1024)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0 }, { "7", 7 }, { "7B", 7 }, { "1kB", 1000 }, { "1KB", 1000 }, { "512KiB", 524288 },
		{ "10MB", 10000000 }, { "1MiB", 1048576 }, { "5GiB", UINT64_C(5) << 30 }, { "2TB", UINT64_C(2000000000000) },
		{ "16777215TiB", UINT64_C(16777215) << 40 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 1;

		ck_assert_int_eq(config_value_size(cases[i].text, &bytes), 0);
		ck_assert_uint_eq(bytes, cases[i].bytes);
	}
	assert_refused(config_value_size, "16777216TiB", -ERANGE);
	assert_refused(config_value_size, "5Gib", -EINVAL);
	assert_refused(config_value_size, "5G", -EINVAL);
	assert_refused(config_value_size, "1.5GiB", -EINVAL);
	assert_refused(config_value_size, "-1", -EINVAL);
	assert_refused(config_value_size, "", -EINVAL);
}
END_TEST

START_TEST(shares_are_exact_to_a_millionth)
{
	uint64_t ppm = 1;

	ck_assert_int_eq(config_value_share("0.1%", &ppm), 0);
	ck_assert_uint_eq(ppm, 1000);
	ck_assert_int_eq(config_value_share("1%", &ppm), 0);
	ck_assert_uint_eq(ppm, 10000);
	ck_assert_int_eq(config_value_share("12.3456%", &ppm), 0);
	ck_assert_uint_eq(ppm, 123456);
	assert_refused(config_value_share, "1", -EINVAL);
	assert_refused(config_value_share, "0.00001%", -EINVAL);
	assert_refused(config_value_share, ".1%", -EINVAL);
	assert_refused(config_value_share, "1.%", -EINVAL);
	assert_refused(config_value_share, "99999999999999999999%", -ERANGE);
}
END_TEST

START_TEST(booleans_are_those_of_yaml)
{
	bool value = false;

	ck_assert_int_eq(config_value_bool("yes", &value), 0);
	ck_assert(value);
	ck_assert_int_eq(config_value_bool("Off", &value), 0);
	ck_assert(!value);
	ck_assert_int_eq(config_value_bool("TRUE", &value), 0);
	ck_assert(value);
	ck_assert_int_eq(config_value_bool("1", &value), -EINVAL);
	ck_assert_int_eq(config_value_bool("", &value), -EINVAL);
}
END_TEST

/* xorshift64: a fixed sequence, so that a failure can be seen again. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

START_TEST(what_is_printed_reads_as_the_same_value)
{
	uint64_t state = 88172645463325252;

	for (int i = 0; i < 100000; i++) {
		/* Of every length, and with the round ones that people write. */
		uint64_t number = next_random(&state) >> (next_random(&state) % 64), value = 0;
		char text[CONFIG_VALUE_BYTES];

		if (i % 2)
			number -= number % (i % 4 == 1 ? 1000000 : 1048576);
		config_value_print_duration(text, number);
		ck_assert_int_eq(config_value_duration(text, &value), 0);
		ck_assert_uint_eq(value, number);
		config_value_print_size(text, number);
		ck_assert_int_eq(config_value_size(text, &value), 0);
		ck_assert_uint_eq(value, number);
		config_value_print_share(text, number % 100000000);
		ck_assert_int_eq(config_value_share(text, &value), 0);
		ck_assert_uint_eq(value, number % 100000000);
	}
}
END_TEST

START_TEST(a_quoted_text_can_not_write_to_the_terminal)
{
	char text[CONFIG_VALUE_BYTES];

	config_value_quote(text, "plain");
	ck_assert_str_eq(text, "plain");
	config_value_quote(text, "\033[31m\n\x7f");
	ck_assert_str_eq(text, "\\x1b[31m\\x0a\\x7f");
	/* C1 and line separators of Unicode, and an umlaut that is none. */
	config_value_quote(text, "\xc2\x9b\xe2\x80\xa8\xc3\xbc");
	ck_assert_str_eq(text, "\\xc2\\x9b\\xe2\\x80\\xa8\xc3\xbc");
	config_value_quote(text, "0123456789012345678901234567890123456789012345678901234567890123456789");
	ck_assert_str_eq(text, "012345678901234567890123456789012345678901234567890123456789...");
}
END_TEST

START_TEST(the_nearest_word_is_found_if_there_is_one)
{
	static const struct {
		const char *misspelt, *meant;
	} cases[] = {
		{ "durration", "duration" }, { "duratoin", "duration" }, { "Interval", "interval" }, { "rte", "rate" },
		{ "dur", NULL }, { "something", NULL }, { "", NULL },
		{ "durationdurationdurationdurationdurationduration", NULL },
	};
	static const char *const words[] = { "duration", "interval", "rate", "enabled" };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nearest nearest = { 0 };

		for (size_t j = 0; j < sizeof(words) / sizeof(words[0]); j++)
			nearest_offer(&nearest, cases[i].misspelt, words[j]);
		ck_assert_pstr_eq(nearest.word, cases[i].meant);
	}
}
END_TEST

UNIT_TESTS("config_value", durations_are_sums_of_units, what_is_no_duration_is_refused,
		sizes_count_by_thousand_or_by_1024, shares_are_exact_to_a_millionth, booleans_are_those_of_yaml,
		what_is_printed_reads_as_the_same_value, a_quoted_text_can_not_write_to_the_terminal,
		the_nearest_word_is_found_if_there_is_one)
