/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "demangle.h"
#include "main.h"

static void expect(const char *mangled, const char *wanted)
{
	char found[DEMANGLE_MAX];
	size_t n = demangle(mangled, found);

	ck_assert_msg(n == strlen(wanted), "%s: %zu characters", mangled, n);
	ck_assert(n == 0 || !strcmp(found, wanted));
}

START_TEST(cpp_is_demangled)
{
	expect("_ZN2ts6IngestEv", "ts::Ingest()");
	expect("_ZNKSt6vectorIiSaIiEE4sizeEv", "std::vector<int, std::allocator<int> >::size() const");
	expect("_ZN2ts6IngestEv.cold", "ts::Ingest() [clone .cold]");
}
END_TEST

START_TEST(rust_is_demangled_in_both_schemes)
{
	expect("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad");
	expect("_RNvC6_123foo3bar", "123foo::bar");
}
END_TEST

START_TEST(other_names_stay_as_they_are)
{
	expect("main", "");
	expect("", "");
	expect("_start", "");
	expect("_Z", "");
	expect("_Zwhatever", "");
	expect("main.main", "");
}
END_TEST

/* f<pair<int, int>, pair<that, that>, pair<that, that>, ...>: each doubles what the next substitution stands for. */
static size_t demangle_bomb(unsigned levels)
{
	char bomb[1024] = "_Z1fISt4pairIiiE", found[DEMANGLE_MAX];

	for (unsigned i = 0; i < levels; i++) {
		size_t n = strlen(bomb);
		char digit = "123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i];

		snprintf(bomb + n, sizeof(bomb) - n, "S0_IS%c_S%c_E", digit, digit);
	}
	strcat(bomb, "Evv");
	return demangle(bomb, found);
}

START_TEST(a_name_that_grows_without_end_stays_as_it_is)
{
	ck_assert_uint_gt(demangle_bomb(3), 100);
	ck_assert_uint_gt(demangle_bomb(5), 2 * demangle_bomb(4) - 100);
	ck_assert_uint_eq(demangle_bomb(30), 0);
}
END_TEST

START_TEST(a_name_nested_too_deeply_stays_as_it_is)
{
	char deep[8192] = "_Z1f", found[DEMANGLE_MAX];

	memset(deep + 4, 'P', sizeof(deep) - 6);
	deep[sizeof(deep) - 2] = 'i';
	ck_assert_uint_eq(demangle(deep, found), 0);
}
END_TEST

UNIT_TESTS("demangle", cpp_is_demangled, rust_is_demangled_in_both_schemes, other_names_stay_as_they_are,
	   a_name_that_grows_without_end_stays_as_it_is, a_name_nested_too_deeply_stays_as_it_is)
