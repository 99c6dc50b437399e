/* SPDX-License-Identifier: Apache-2.0 */
#include "../main.h"
#include "go_buckets.h"
#include "made_process.h"

/* What scaleHeapSample() of Go 1.26.8's runtime/pprof/protomem.go gives. */
START_TEST(samples_are_scaled_as_go_scales_them)
{
	static const struct { uint64_t rate; int64_t count, size, scaled_count, scaled_size; } cases[] = {
		{ 524288, 1, 16, 32768, 524296 },
		{ 524288, 1, 524288, 1, 829411 },
		{ 524288, 7, 336, 76462, 3670184 },
		{ 524288, 1000, 4096000, 128500, 526338666 },
		{ 524288, 3, 3145728, 3, 3638089 },
		{ 16384, 12345, 395040, 6326814, 202458064 },
		{ 524288, 1, 1, 524288, 524288 },
		{ 1, 5, 5120, 5, 5120 },
		{ 0, 5, 5120, 5, 5120 },
		{ 524288, 0, 0, 0, 0 },
		{ 524288, 9, 0, 0, 0 },
		{ 524288, 2, 209715200, 2, 209715200 },
		{ 1073741824, 977, 203216, 5043489729, 1049045863656 },
		{ 65536, 31, 293632, 230, 2181967 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t count = cases[i].count, size = cases[i].size;

		go_buckets_scale(cases[i].rate, &count, &size);
		ck_assert_int_eq(count, cases[i].scaled_count);
		ck_assert_int_eq(size, cases[i].scaled_size);
	}
}
END_TEST

static const char *const versions[] = { "go1.18.10", "go1.19.13", "go1.22.12", "go1.26.8", "go1.27.1" };

START_TEST(records_are_read_in_each_version)
{
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		struct made_process *made = made_process_new(versions[i]);
		struct go_buckets buckets = { 0 };

		ck_assert_int_eq(made_process_open(made, NULL), 0);
		ck_assert_int_eq(go_buckets_read(made->process, GO_BUCKETS_MEMORY, &buckets), 0);
		ck_assert_uint_eq(buckets.all.n, 1);
		ck_assert_uint_eq(buckets.rate, 512 * 1024);
		ck_assert_uint_eq(buckets.all.at[0].memory.allocs, 5);
		ck_assert_uint_eq(buckets.all.at[0].memory.frees, 2);
		/* Of the bucket's size since 1.27, which has no sums of bytes. */
		ck_assert_uint_eq(buckets.all.at[0].memory.alloc_bytes, 5 * 64);
		ck_assert_uint_eq(buckets.all.at[0].memory.free_bytes, 2 * 64);
		ck_assert_uint_eq(buckets.all.at[0].n_frames, 2);
		ck_assert_uint_eq(buckets.frames.at[0], made_function(MADE_WAITS) + 8);
		go_buckets_deinit(&buckets);
		ck_assert_int_eq(go_buckets_read(made->process, GO_BUCKETS_MUTEX, &buckets), 0);
		ck_assert_uint_eq(buckets.all.n, 1);
		ck_assert_int_eq(buckets.all.at[0].block.cycles, 1234567);
		ck_assert_double_eq_tol(buckets.all.at[0].block.count, 3.0, 1e-12);
		ck_assert_double_eq_tol(go_buckets_cycles_per_second(made->process), 2.3e9, 0.1);
		go_buckets_deinit(&buckets);
		made_process_free(made);
	}
}
END_TEST

START_TEST(lists_without_end_and_wild_records_are_refused)
{
	struct made_process *made = made_process_new("go1.26.8");
	uint64_t bucket = MADE_MEMORY + MADE_BUCKETS_AT + 0x200;
	struct go_buckets buckets = { 0 };

	ck_assert_int_eq(made_process_open(made, NULL), 0);
	made_put(made, bucket + 8, bucket);  /* a circle */
	ck_assert_int_eq(go_buckets_read(made->process, GO_BUCKETS_BLOCK, &buckets), GO_BUCKETS_E_UNKNOWN);
	ck_assert_ptr_null(buckets.all.at);
	ck_assert_uint_lt(made->n_reads, 100);
	made_put(made, bucket + 8, 0);
	made_put(made, bucket + 40, UINT64_C(1) << 60); /* frames */
	ck_assert_int_eq(go_buckets_read(made->process, GO_BUCKETS_BLOCK, &buckets), GO_BUCKETS_E_UNKNOWN);
	made_put(made, bucket + 40, 2);
	made_put(made, bucket + 16, 7);      /* its kind */
	ck_assert_int_eq(go_buckets_read(made->process, GO_BUCKETS_BLOCK, &buckets), GO_BUCKETS_E_UNKNOWN);
	made_put(made, bucket + 16, 2);
	ck_assert_int_eq(go_buckets_read(made->process, GO_BUCKETS_BLOCK, &buckets), 0);
	go_buckets_deinit(&buckets);
	made_put(made, made_variable(GO_TICKS) + made->layout->ticks_value, UINT64_MAX);
	ck_assert_double_eq_tol(go_buckets_cycles_per_second(made->process), 0, 0.1);
	made_process_free(made);
}
END_TEST

UNIT_TESTS("go_buckets", samples_are_scaled_as_go_scales_them, records_are_read_in_each_version, lists_without_end_and_wild_records_are_refused)
