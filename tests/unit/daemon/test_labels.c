/* SPDX-License-Identifier: Apache-2.0 */
#include "labels.h"

#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "config.h"
#include "main.h"

static void assert_cleaned(const char *value, const char *wanted)
{
	struct labels labels = { 0 };

	ck_assert_int_eq(labels_add(&labels, "key", value), 0);
	ck_assert_pstr_eq(labels_get(&labels, "key"), wanted);
	labels_deinit(&labels);
}

START_TEST(each_pair_is_found_by_its_key)
{
	struct labels labels = { 0 }, copy = { 0 };

	ck_assert_int_eq(labels_add(&labels, "version", "7.1"), 0);
	ck_assert_int_eq(labels_add(&labels, "region", "eu"), 0);
	/* The first one counts. */
	ck_assert_int_eq(labels_add(&labels, "version", "8"), 0);
	ck_assert_uint_eq(labels.pairs.n, 2);
	ck_assert_int_eq(labels_copy(&labels, &copy), 0);
	labels_deinit(&labels);
	ck_assert_uint_eq(labels.pairs.n, 0);
	ck_assert_str_eq(labels_get(&copy, "version"), "7.1");
	ck_assert_str_eq(labels_get(&copy, "region"), "eu");
	ck_assert_ptr_null(labels_get(&copy, "zone"));
	labels_deinit(&copy);
}
END_TEST

START_TEST(keys_of_the_daemon_are_not_for_strangers)
{
	static const char *const ours[] = { "service", "pid", "tid", "thread", "comm", "unit", "container", "reason", "source", "idle",
		"by", "holder", "file", "peer", "lock", "state", "wait_reason", "created by", "goid", "wait", "locked thread", "bytes" };
	struct labels labels = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		ck_assert(config_label_is_reserved(ours[i]));
		ck_assert_int_eq(labels_add(&labels, ours[i], "forged"), 0);
	}
	ck_assert(!config_label_is_reserved("version"));
	ck_assert_uint_eq(labels.pairs.n, 0);
	labels_deinit(&labels);
}
END_TEST

START_TEST(a_label_is_plain_text)
{
	assert_cleaned("1.2-rc3 (main)", "1.2-rc3 (main)");
	assert_cleaned("a\nb\tc\033[31m\177", "a?b?c?[31m?");
	assert_cleaned("gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x8D\xB5", "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x8D\xB5");
	/* C1 control, overlong slash, surrogate, above U+10FFFF, cut off, lone continuation. */
	assert_cleaned("\xC2\x85", "??");
	assert_cleaned("\xC0\xAF", "??");
	assert_cleaned("\xED\xA0\x80", "???");
	assert_cleaned("\xF4\x90\x80\x80", "????");
	assert_cleaned("x\xE2\x82", "x??");
	assert_cleaned("\x80y", "?y");
	assert_cleaned("", NULL);
}
END_TEST

START_TEST(a_long_value_is_cut_between_characters)
{
	char value[4096], wanted[LABELS_MAX_VALUE + 1];

	memset(value, 'v', sizeof(value));
	value[sizeof(value) - 1] = '\0';
	memset(wanted, 'v', sizeof(wanted));
	wanted[LABELS_MAX_VALUE] = '\0';
	assert_cleaned(value, wanted);
	/* An euro sign of three bytes, of which two would fit. */
	memcpy(value + LABELS_MAX_VALUE - 2, "\xE2\x82\xAC", 3);
	wanted[LABELS_MAX_VALUE - 2] = '\0';
	assert_cleaned(value, wanted);
}
END_TEST

START_TEST(there_are_not_too_many)
{
	struct labels labels = { 0 };
	char key[16];

	for (int i = 0; i < 2 * LABELS_MAX; i++) {
		snprintf(key, sizeof(key), "key%d", i);
		ck_assert_int_eq(labels_add(&labels, key, "x"), 0);
	}
	ck_assert_uint_eq(labels.pairs.n, LABELS_MAX);
	labels_deinit(&labels);
}
END_TEST

UNIT_TESTS("labels", each_pair_is_found_by_its_key, keys_of_the_daemon_are_not_for_strangers, a_label_is_plain_text,
	a_long_value_is_cut_between_characters, there_are_not_too_many)
