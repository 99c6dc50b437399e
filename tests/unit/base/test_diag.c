/* SPDX-License-Identifier: Apache-2.0 */
#include "diag.h"

#include "main.h"

START_TEST(a_message_says_where_and_what)
{
	struct diag *diag = diag_new();

	diag_error(diag, "a.yaml", 12, 7, "unknown key '%s'", "durration");
	diag_warning(diag, "a.yaml", 3, 0, "odd");
	diag_error(diag, NULL, 0, 0, "no file");
	ck_assert_uint_eq(diag_count(diag), 3);
	ck_assert_uint_eq(diag_errors(diag), 2);
	ck_assert_str_eq(diag_message(diag, 0), "a.yaml:12:7: unknown key 'durration'");
	ck_assert_str_eq(diag_message(diag, 1), "a.yaml:3: warning: odd");
	ck_assert_str_eq(diag_message(diag, 2), "no file");
	diag_free(diag);
}
END_TEST

START_TEST(the_count_of_errors_goes_on_when_messages_stop)
{
	struct diag *diag = diag_new();

	for (int i = 0; i < 5000; i++)
		diag_error(diag, "f", 1, 1, "again");
	ck_assert_uint_eq(diag_errors(diag), 5000);
	ck_assert_uint_lt(diag_count(diag), 5000);
	diag_free(diag);
}
END_TEST

UNIT_TESTS("diag", a_message_says_where_and_what, the_count_of_errors_goes_on_when_messages_stop)
