/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <string.h>

#include "main.h"

static const char *cleaned(const char *text)
{
	static char ret[64];

	text_clean(text, ret, sizeof(ret));
	return ret;
}

START_TEST(what_can_be_shown_stays)
{
	ck_assert_str_eq(cleaned("tsiot-server [µs] 時系列 😀"), "tsiot-server [µs] 時系列 😀");
	ck_assert_str_eq(cleaned(""), "");
}
END_TEST

START_TEST(control_characters_become_question_marks)
{
	ck_assert_str_eq(cleaned("a\033[31mb\nc\x7f"), "a?[31mb?c?");
	ck_assert_str_eq(cleaned("c1: \xc2\x9b!"), "c1: ?" "?!");
}
END_TEST

START_TEST(bytes_that_are_no_utf_8_become_question_marks)
{
	ck_assert_str_eq(cleaned("\xff\xfe"), "??");
	ck_assert_str_eq(cleaned("overlong \xc0\xaf \xe0\x80\xaf"), "overlong ?? ???");
	ck_assert_str_eq(cleaned("surrogate \xed\xa0\x80"), "surrogate ???");
	ck_assert_str_eq(cleaned("above \xf4\x90\x80\x80"), "above ????");
	ck_assert_str_eq(cleaned("cut \xe6\x99"), "cut ??");
}
END_TEST

START_TEST(a_character_is_never_cut)
{
	char ret[6];

	text_clean("abcdé", ret, sizeof(ret));
	ck_assert_str_eq(ret, "abcd");
	text_clean("abcde", ret, sizeof(ret));
	ck_assert_str_eq(ret, "abcde");
	ck_assert_uint_eq(text_character("\xe6\x99\x82", 2), 0);
	ck_assert_uint_eq(text_character("\xe6\x99\x82", 3), 3);
	ck_assert_uint_eq(text_character("", 0), 0);
}
END_TEST

UNIT_TESTS("text", what_can_be_shown_stays, control_characters_become_question_marks,
		bytes_that_are_no_utf_8_become_question_marks, a_character_is_never_cut)
