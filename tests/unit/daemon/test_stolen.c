/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "../main.h"
#include "clock.h"
#include "stolen.h"

START_TEST(steal_is_the_eighth_number_in_ticks)
{
	ck_assert_uint_eq(stolen_parse("cpu  1 2 3 4 5 6 7 250 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n"),
			250 * (NSEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK)));
	ck_assert_uint_eq(stolen_parse("cpu  1 2 3 4 5 6 7 0 9 10\n"), 0);
}
END_TEST

START_TEST(what_does_not_tell_it_has_none)
{
	ck_assert_uint_eq(stolen_parse(""), 0);
	ck_assert_uint_eq(stolen_parse("cpu  1 2 3 4\n"), 0);
	ck_assert_uint_eq(stolen_parse("intr 1 2 3 4 5 6 7 8 9\n"), 0);
}
END_TEST

START_TEST(of_this_machine_it_does_not_go_back)
{
	uint64_t before = stolen_nsec();

	ck_assert_uint_ge(stolen_nsec(), before);
}
END_TEST

UNIT_TESTS("stolen", steal_is_the_eighth_number_in_ticks, what_does_not_tell_it_has_none, of_this_machine_it_does_not_go_back)
