/* SPDX-License-Identifier: Apache-2.0 */
#include "store_name.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "main.h"

static void assert_formats(const struct store_name *name, const char *wanted)
{
	char file[STORE_FILE_SIZE];
	struct store_name parsed;

	ck_assert_int_eq(store_name_format(name, file), 0);
	ck_assert_str_eq(file, wanted);
	ck_assert(store_name_parse(file, &parsed));
	ck_assert_int_eq(parsed.kind, name->kind);
	ck_assert_uint_eq(parsed.second, name->second);
	ck_assert_uint_eq(parsed.number, name->number);
	ck_assert_str_eq(parsed.trigger, name->trigger);
}

START_TEST(names_are_those_that_were_promised)
{
	char long_trigger[STORE_TRIGGER_LENGTH + 1];

	assert_formats(&(struct store_name){ PROFILE_CPU, 3 * 3600 + 7 * 60 + 9, 1, "" }, "cpu-030709Z.pprof");
	assert_formats(&(struct store_name){ PROFILE_CPU, 86399, 1, "background" }, "cpu-235959Z-background.pprof");
	assert_formats(&(struct store_name){ PROFILE_GOROUTINE, 0, 2, "HighCPUUsage" },
			"goroutine-000000Z-HighCPUUsage.2.pprof");
	assert_formats(&(struct store_name){ PROFILE_HEAP, 60, 999999, "" }, "heap-000100Z.999999.pprof");
	memset(long_trigger, 'x', STORE_TRIGGER_LENGTH);
	long_trigger[STORE_TRIGGER_LENGTH] = '\0';
	struct store_name longest = { PROFILE_GOROUTINE, 1, 999999, "" };
	char file[STORE_FILE_SIZE];
	strcpy(longest.trigger, long_trigger);
	ck_assert_int_eq(store_name_format(&longest, file), 0);
	ck_assert_uint_lt(strlen(file), STORE_FILE_SIZE);
}
END_TEST

START_TEST(other_names_are_not_ours)
{
	static const char *const foreign[] = {
		"", "cpu", "cpu-", "cpu-030709.pprof", "cpu-030709Z", "cpu-030709Z.pprof.gz", "cpu-030709Z.pprof~",
		"CPU-030709Z.pprof", "trace-030709Z.pprof", "cpu-240000Z.pprof", "cpu-006000Z.pprof", "cpu-000060Z.pprof",
		"cpu-03070Z.pprof", "cpu-0307091Z.pprof", "cpu-030709Z-.pprof", "cpu-030709Z-a-b.pprof", "cpu-030709Z-a.b.pprof",
		"cpu-030709Z.1.pprof", "cpu-030709Z.0.pprof", "cpu-030709Z.02.pprof", "cpu-030709Z..pprof",
		"cpu-030709Z.1000000.pprof", "cpu-030709Z.99999999999999999999.pprof", " cpu-030709Z.pprof", "cpu-030709Z.PPROF",
		"cpu-030709Z.2.3.pprof", "cpu-030709z.pprof", "cpu-+30709Z.pprof", "averyveryverylongkind-030709Z.pprof",
		"cpu-030709Z-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.pprof", /* 65 */
	};
	struct store_name name;

	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		ck_assert_msg(!store_name_parse(foreign[i], &name), "%s", foreign[i]);
}
END_TEST

START_TEST(parts_outside_of_the_grammar_make_no_name)
{
	static const struct store_name bad[] = { { PROFILE_CPU, 86400, 1, "" }, { PROFILE_CPU, 0, 0, "" },
		{ PROFILE_CPU, 0, 1000000, "" }, { PROFILE_CPU, 0, 1, "a-b" }, { PROFILE_CPU, 0, 1, "../x" },
		{ PROFILE_N_KINDS, 0, 1, "" } };
	char file[STORE_FILE_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_int_eq(store_name_format(&bad[i], file), -EINVAL);
}
END_TEST

START_TEST(days_are_utc_and_exact)
{
	static const char *const foreign[] = { "", "2026-11-2", "2026-11-233", "2026-02-30", "2026-13-01", "2026-00-01",
		"1969-12-31", "2026/11/23", "20261123", "2600-01-01", "9999-12-31", "+026-11-23" };
	char day[STORE_DAY_LENGTH + 1];
	uint64_t wall;

	ck_assert_int_eq(store_day_format(0, day), 0);
	ck_assert_str_eq(day, "1970-01-01");
	ck_assert_int_eq(store_day_format(UINT64_C(1709251199999999999), day), 0);
	ck_assert_str_eq(day, "2024-02-29");
	ck_assert(store_day_parse("2024-02-29", &wall));
	ck_assert_uint_eq(wall, UINT64_C(1709164800) * NSEC_PER_SEC);
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		ck_assert_msg(!store_day_parse(foreign[i], &wall), "%s", foreign[i]);
}
END_TEST

static void assert_service(const char *service, const char *wanted)
{
	char directory[STORE_SERVICE_LENGTH + 1];

	store_service_format(service, directory);
	ck_assert_str_eq(directory, wanted);
	ck_assert(store_service_is_valid(directory));
}

START_TEST(services_become_harmless_directories)
{
	assert_service("tsiot-server", "tsiot-server");
	assert_service("a.b@c_D-9", "a.b@c_D-9");
	assert_service("..", "%2E.");
	assert_service(".hidden", "%2Ehidden");
	assert_service("a/../../etc", "a%2F..%2F..%2Fetc");
	assert_service("50% \xc3\xa4\n", "50%25%20%C3%A4%0A");
	assert_service("", "unnamed");
}
END_TEST

START_TEST(long_services_are_cut_and_told_apart)
{
	char service[301], one[STORE_SERVICE_LENGTH + 1], other[STORE_SERVICE_LENGTH + 1];

	memset(service, 'a', 300);
	service[100] = '\0';
	store_service_format(service, one);
	ck_assert_str_eq(one, service);
	service[100] = 'a';
	service[300] = '\0';
	store_service_format(service, one);
	service[299] = 'b';
	store_service_format(service, other);
	ck_assert_str_ne(one, other);
	ck_assert_uint_eq(strlen(one), STORE_SERVICE_LENGTH);
	ck_assert_int_eq(strncmp(one, other, STORE_SERVICE_LENGTH - 17), 0);
	ck_assert(store_service_is_valid(one));
	store_service_format(service, one);
	ck_assert_str_eq(one, other);
	/* Never within an escape. */
	memset(service, '/', 300);
	store_service_format(service, one);
	ck_assert(store_service_is_valid(one));
	ck_assert_uint_le(strlen(one), STORE_SERVICE_LENGTH);
}
END_TEST

START_TEST(directories_of_others_are_no_services)
{
	static const char *const foreign[] = { "", ".", "..", ".git", "a b", "a/b", "%", "%2", "%2f", "%GG", "a%" };

	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		ck_assert_msg(!store_service_is_valid(foreign[i]), "%s", foreign[i]);
}
END_TEST

UNIT_TESTS("store_name", names_are_those_that_were_promised, other_names_are_not_ours,
	parts_outside_of_the_grammar_make_no_name, days_are_utc_and_exact, services_become_harmless_directories,
	long_services_are_cut_and_told_apart, directories_of_others_are_no_services)
