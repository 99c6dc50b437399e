/* SPDX-License-Identifier: Apache-2.0 */
#include "profile_merge.h"

#include "diag.h"
#include "main.h"
#include "make_profile.h"

DEFINE_CLEANUP(struct diag, diag_free);

static struct profile *merged(struct profile **profiles, size_t n)
{
	_cleanup_(diag_free_p) struct diag *diag = diag_new();
	static const char *const names[8] = { "a", "b", "c", "d", "e", "f", "g", "h" };
	struct profile *result = NULL;

	ck_assert_int_eq(profile_merge((const struct profile *const *)profiles, names, n, diag, &result), 0);
	ck_assert_uint_eq(diag_count(diag), 0);
	return result;
}

START_TEST(sums_are_kept_and_the_order_of_the_inputs_does_not_matter)
{
	uint64_t state = random_seed();

	for (int round = 0; round < 200; round++) {
		enum profile_kind kind = random_below(&state, PROFILE_N_KINDS);
		size_t n = 1 + random_below(&state, 5);
		struct profile *in[8], *reversed[8];

		for (size_t i = 0; i < n; i++)
			in[i] = reversed[n - 1 - i] = random_profile(&state, kind);
		_cleanup_(profile_free_p) struct profile *forth = merged(in, n), *back = merged(reversed, n);

		for (size_t type = 0; type < forth->sample_types.n; type++) {
			int64_t sum = 0;

			for (size_t i = 0; i < n; i++)
				sum += profile_total(in[i], type);
			ck_assert_int_eq(profile_total(forth, type), sum);
		}
		_cleanup_free_ char *text = profile_text(forth), *other = profile_text(back);
		ck_assert_str_eq(text, other);
		ck_assert_int_eq(forth->duration_nsec, back->duration_nsec);
		ck_assert_int_eq(forth->time_nsec, back->time_nsec);
		ck_assert_int_eq(forth->period, back->period);
		ck_assert_uint_eq(forth->comments.n, back->comments.n);
		for (size_t i = 0; i < n; i++)
			profile_free(in[i]);
	}
}
END_TEST

START_TEST(one_profile_merged_alone_says_the_same)
{
	uint64_t state = random_seed();

	for (int round = 0; round < 100; round++) {
		_cleanup_(profile_free_p) struct profile *p = random_profile(&state, PROFILE_BLOCK);
		_cleanup_(profile_free_p) struct profile *m = merged(&p, 1);
		_cleanup_free_ char *text = profile_text(p), *other = profile_text(m);

		ck_assert_str_eq(text, other);
		ck_assert_int_eq(p->time_nsec, m->time_nsec);
		ck_assert_str_eq(profile_get_string(p, p->doc_url), profile_get_string(m, m->doc_url));
	}
}
END_TEST

START_TEST(equal_samples_of_two_profiles_become_one)
{
	struct profile *in[] = { small_profile("/x.c", 3), small_profile("/x.c", 4) };
	_cleanup_(profile_free_p) struct profile *m = merged(in, 2);

	ck_assert_uint_eq(m->samples.n, 2);
	ck_assert_uint_eq(m->locations.n, 2);
	ck_assert_uint_eq(m->functions.n, 3);
	ck_assert_uint_eq(m->mappings.n, 1);
	ck_assert_int_eq(profile_values(m, 0)[0], 7);
	ck_assert_int_eq(m->duration_nsec, 2 * in[0]->duration_nsec);
	ck_assert_uint_eq(m->comments.n, 1);
	profile_free(in[0]);
	profile_free(in[1]);
}
END_TEST

START_TEST(other_types_are_refused_by_name)
{
	_cleanup_(profile_free_p) struct profile *cpu = small_profile("/x.c", 1), *wall = profile_new(), *heap = profile_new();
	_cleanup_(profile_free_p) struct profile *into = profile_new();
	_cleanup_(diag_free_p) struct diag *diag = diag_new();

	profile_set_kind(wall, PROFILE_WALL, 1);
	profile_set_kind(heap, PROFILE_HEAP, 1);
	ck_assert_int_eq(profile_merge_into(into, cpu, "cpu.pprof", diag), 0);
	ck_assert_int_eq(profile_merge_into(into, wall, "wall.pprof", diag), PROFILE_MERGE_E_TYPES);
	ck_assert_str_eq(diag_message(diag, 0), "wall.pprof: cannot be merged: its period type is wallclock/nanoseconds, "
			"that of the others is cpu/nanoseconds");
	ck_assert_int_eq(profile_merge_into(into, heap, "heap.pprof", diag), PROFILE_MERGE_E_TYPES);
	ck_assert_int_eq(profile_total(into, 0), 2);
}
END_TEST

UNIT_TESTS("profile_merge", sums_are_kept_and_the_order_of_the_inputs_does_not_matter,
	one_profile_merged_alone_says_the_same, equal_samples_of_two_profiles_become_one, other_types_are_refused_by_name)
