/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The main() of every unit test, so that none forgets to free its runner (LeakSanitizer would tell). A test file
 * defines its tests with START_TEST and ends with
 *
 *	UNIT_TESTS("map", a_new_map_is_empty, a_removed_key_is_gone)
 */
#include <check.h>
#include <stdlib.h>

static int unit_main(const char *name, const TTest *const *tests, size_t n)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);
	SRunner *runner;
	int failed;

	for (size_t i = 0; i < n; i++)
		tcase_add_test(tcase, tests[i]);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define UNIT_TESTS(name, ...)                                                                      \
	int main(void)                                                                             \
	{                                                                                          \
		const TTest *const tests[] = { __VA_ARGS__ };                                      \
                                                                                                   \
		return unit_main(name, tests, sizeof(tests) / sizeof(tests[0]));                   \
	}
