/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/resource.h>
#include <zlib.h>

#include "clock.h"
#include "diag.h"
#include "main.h"
#include "make_profile.h"
#include "pprof_decode.h"
#include "pprof_encode.h"

DEFINE_CLEANUP(struct diag, diag_free);

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

struct bytes {
	char *at;
	size_t n;
};

static void bytes_free(struct bytes *bytes)
{
	free(bytes->at);
}

static struct bytes encoded(const struct profile *p, int level)
{
	struct bytes bytes;

	ck_assert_int_eq(pprof_encode(p, level, &bytes.at, &bytes.n), 0);
	return bytes;
}

/* Expects a refusal; the message. */
static char *refused(const void *data, size_t size, const struct pprof_limits *limits, int outcome)
{
	_cleanup_(diag_free_p) struct diag *diag = diag_new();
	struct profile *p = NULL;

	ck_assert_int_eq(pprof_decode(data, size, "f.pprof", limits, diag, &p), outcome);
	ck_assert_ptr_null(p);
	ck_assert_uint_eq(diag_errors(diag), 1);
	ck_assert_int_eq(strncmp(diag_message(diag, 0), "f.pprof: ", 9), 0);
	return strdup(diag_message(diag, 0));
}

static struct profile *decoded(const void *data, size_t size)
{
	_cleanup_(diag_free_p) struct diag *diag = diag_new();
	struct profile *p = NULL;
	int r = pprof_decode(data, size, "f.pprof", NULL, diag, &p);

	diag_print(diag, stderr);
	ck_assert_int_eq(r, 0);
	return p;
}

static void assert_refused_with(const void *data, size_t size, const char *part)
{
	_cleanup_free_ char *message = refused(data, size, NULL, PPROF_E_INVALID);

	if (!strstr(message, part))
		ck_abort_msg("\"%s\" does not say \"%s\"", message, part);
}

START_TEST(decoding_what_was_encoded_gives_the_same_profile)
{
	uint64_t state = random_seed();

	for (int round = 0; round < 1000; round++) {
		_cleanup_(profile_free_p) struct profile *p = random_profile(&state, random_below(&state, PROFILE_N_KINDS));
		_cleanup_(bytes_free) struct bytes bare = encoded(p, PPROF_LEVEL_NONE);
		_cleanup_(bytes_free) struct bytes file = encoded(p, PPROF_LEVEL_DEFAULT);
		_cleanup_(profile_free_p) struct profile *q = decoded(file.at, file.n);
		_cleanup_(bytes_free) struct bytes again = encoded(q, PPROF_LEVEL_NONE);
		_cleanup_free_ char *text = profile_text(p), *other = profile_text(q);

		ck_assert_uint_eq(bare.n, again.n);
		ck_assert_mem_eq(bare.at, again.at, bare.n);
		ck_assert_str_eq(text, other);
		ck_assert_int_eq(p->duration_nsec, q->duration_nsec);
		ck_assert_uint_eq(p->comments.n, q->comments.n);
	}
}
END_TEST

START_TEST(the_same_profile_gives_the_same_bytes)
{
	_cleanup_(profile_free_p) struct profile *p = small_profile("/x.c", 3), *q = small_profile("/x.c", 3);
	_cleanup_(bytes_free) struct bytes a = encoded(p, PPROF_LEVEL_DEFAULT), b = encoded(q, PPROF_LEVEL_DEFAULT);

	ck_assert_uint_eq(a.n, b.n);
	ck_assert_mem_eq(a.at, b.at, a.n);
}
END_TEST

START_TEST(the_wire_format_is_that_of_profile_proto)
{
	static const uint8_t golden[] = {
		0x0a, 4, 0x08, 1, 0x10, 2,                        /* sample_type: thread, count */
		0x12, 13, 0x0a, 1, 1, 0x12, 1, 5, 0x1a, 5, 0x08, 3, 0x18, 0xac, 2, /* sample: location 1, value 5, pid = 300 */
		0x22, 6, 0x08, 1, 0x18, 0x80, 0x80, 1,            /* location 1 at 0x4000 */
		0x32, 0, 0x32, 6, 't', 'h', 'r', 'e', 'a', 'd', 0x32, 5, 'c', 'o', 'u', 'n', 't', 0x32, 3, 'p', 'i', 'd',
		0x48, 9,                                          /* time_nanos */
		0x5a, 4, 0x08, 1, 0x10, 2,                        /* period_type: thread, count */
		0x60, 1,                                          /* period */
	};
	_cleanup_(profile_free_p) struct profile *p = profile_new();
	struct profile_label label = { .num = 300 };
	uint32_t location;

	ck_assert_int_eq(profile_set_kind(p, PROFILE_THREAD, 0), 0);
	p->time_nsec = 9;
	profile_string(p, "pid", &label.key);
	profile_add_location(p, 0, 0x4000, NULL, 0, &location);
	ck_assert_int_eq(profile_add_sample(p, &location, 1, (int64_t[]){ 5 }, &label, 1), 1);
	_cleanup_(bytes_free) struct bytes bytes = encoded(p, PPROF_LEVEL_NONE);
	ck_assert_uint_eq(bytes.n, sizeof(golden));
	ck_assert_mem_eq(bytes.at, golden, sizeof(golden));
}
END_TEST

START_TEST(a_file_of_ours_is_known_by_its_first_bytes)
{
	_cleanup_(profile_free_p) struct profile *p = small_profile("/x.c", 3);
	_cleanup_(bytes_free) struct bytes ours = encoded(p, 1), bare = encoded(p, PPROF_LEVEL_NONE);

	ck_assert(pprof_has_mark(ours.at, ours.n));
	ck_assert(pprof_has_mark(ours.at, PPROF_MARK_SIZE));
	ck_assert(!pprof_has_mark(ours.at, PPROF_MARK_SIZE - 1));
	ck_assert(!pprof_has_mark(bare.at, bare.n));
	ours.at[3] = 0;
	ck_assert(!pprof_has_mark(ours.at, ours.n));
}
END_TEST

START_TEST(levels_that_do_not_exist_are_refused)
{
	_cleanup_(profile_free_p) struct profile *p = small_profile("/x.c", 3);
	struct bytes bytes;

	ck_assert_int_eq(pprof_encode(p, 0, &bytes.at, &bytes.n), -EINVAL);
	ck_assert_int_eq(pprof_encode(p, 13, &bytes.at, &bytes.n), -EINVAL);
}
END_TEST

START_TEST(concatenated_gzip_members_are_one_profile)
{
	_cleanup_(profile_free_p) struct profile *p = small_profile("/x.c", 3);
	_cleanup_(bytes_free) struct bytes a = encoded(p, 6);
	_cleanup_free_ char *both = malloc(2 * a.n);

	/* Protobuf: behind each other is merged. Ids would be there twice, so the second member is an empty one. */
	static const uint8_t empty_member[] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	memcpy(both, a.at, a.n);
	memcpy(both + a.n, empty_member, sizeof(empty_member));
	_cleanup_(profile_free_p) struct profile *q = decoded(both, a.n + sizeof(empty_member));
	ck_assert_uint_eq(q->samples.n, p->samples.n);

	memcpy(both + a.n, a.at, a.n);
	assert_refused_with(both, 2 * a.n, "there twice");
	both[a.n] = 'x';
	assert_refused_with(both, 2 * a.n, "follow the gzip data");
}
END_TEST

START_TEST(a_truncated_file_is_never_accepted)
{
	_cleanup_(profile_free_p) struct profile *p = small_profile("/x.c", 3);
	_cleanup_(bytes_free) struct bytes file = encoded(p, 6);

	for (size_t n = 0; n < file.n; n++)
		free(refused(file.at, n, NULL, PPROF_E_INVALID));
}
END_TEST

START_TEST(a_wrong_byte_in_the_compressed_file_is_noticed)
{
	_cleanup_(profile_free_p) struct profile *p = small_profile("/x.c", 3);
	_cleanup_(bytes_free) struct bytes file = encoded(p, 6);

	for (size_t i = PPROF_MARK_SIZE; i < file.n; i++) {
		if (i == file.n - 9) /* The last bits before the trailer of 8 bytes may be padding. */
			continue;
		file.at[i] ^= 0x10;
		free(refused(file.at, file.n, NULL, PPROF_E_INVALID));
		file.at[i] ^= 0x10;
	}
	file.at[3] |= 0x80; /* a reserved flag, which Go accepts */
	assert_refused_with(file.at, file.n, "unknown header flags");
}
END_TEST

#define DECODES(...)                                                                               \
	({                                                                                         \
		static const uint8_t data_[] = { __VA_ARGS__ };                                    \
		decoded(data_, sizeof(data_));                                                     \
	})
#define REFUSES(part, ...)                                                                         \
	({                                                                                         \
		static const uint8_t data_[] = { __VA_ARGS__ };                                    \
		assert_refused_with(data_, sizeof(data_), part);                                   \
	})
#define TYPE    0x0a, 4, 0x08, 1, 0x10, 1
#define STRINGS 0x32, 0, 0x32, 1, 'a'

START_TEST(what_does_not_resolve_is_refused_with_a_reason)
{
	REFUSES("is used, but there are only 2 strings", 0x0a, 2, 0x08, 2, STRINGS);
	REFUSES("is used, but there are only 2 strings", STRINGS, 0x70, 2);
	REFUSES("first string must be empty", 0x32, 1, 'a');
	REFUSES("no string table", TYPE);
	REFUSES("location 7, which does not exist", TYPE, STRINGS, 0x12, 6, 0x0a, 1, 7, 0x12, 1, 1);
	REFUSES("location 0, which does not exist", TYPE, STRINGS, 0x12, 6, 0x0a, 1, 0, 0x12, 1, 1);
	REFUSES("mapping 9, which does not exist", TYPE, STRINGS, 0x22, 4, 0x08, 1, 0x10, 9);
	REFUSES("function 3, which does not exist", TYPE, STRINGS, 0x22, 6, 0x08, 1, 0x22, 2, 0x08, 3);
	REFUSES("function 0, which does not exist", TYPE, STRINGS, 0x22, 4, 0x08, 1, 0x22, 0);
	REFUSES("location id 0 is not allowed", STRINGS, 0x22, 0);
	REFUSES("location id 1 is there twice", STRINGS, 0x22, 2, 0x08, 1, 0x22, 2, 0x08, 1);
	REFUSES("mapping id 0 is not allowed", STRINGS, 0x1a, 0);
	REFUSES("function id 5 is there twice", STRINGS, 0x2a, 2, 0x08, 5, 0x2a, 2, 0x08, 5);
	REFUSES("no sample types", STRINGS, 0x12, 0);
	REFUSES("has 0 values", TYPE, STRINGS, 0x12, 0);
	REFUSES("more values than", TYPE, STRINGS, 0x12, 4, 0x12, 2, 1, 1);
	REFUSES("wrong type", TYPE, STRINGS, 0x12, 2, 0x1a, 7);
	REFUSES("wrong type", TYPE, STRINGS, 0x12, 5, 0x15, 1, 1, 1, 1);
	REFUSES("wrong type", 0x30, 1);
	REFUSES("no protobuf", 'h', 'e', 'l', 'l', 'o', '\n');
	REFUSES("no protobuf", 0x0b, 0x0c); /* a group */
	REFUSES("no protobuf", 0x02, 0);    /* field 0 */
	REFUSES("header has a wrong type", STRINGS, 0x4a, 0);
	assert_refused_with("", 0, "is empty");
}
END_TEST

START_TEST(fields_in_any_order_unpacked_numbers_sparse_ids_and_unknown_fields_are_read)
{
	_cleanup_(profile_free_p) struct profile *p = DECODES(
			0x12, 9, 0x08, 2, 0x08, 200, 1, 0x10, 5, 0x38, 1,   /* sample: locations 2, 200 unpacked; 5; unknown field 7 */
			0xa2, 6, 2, 'h', 'i',                               /* unknown field 100: bytes, */
			0xa5, 6, 1, 2, 3, 4,                                /* 4 bytes, */
			0xa1, 6, 1, 2, 3, 4, 5, 6, 7, 8,                    /* 8 bytes */
			0x22, 2, 0x08, 2,                                   /* location 2 */
			0x22, 5, 0x08, 200, 1, 0x18, 7,                     /* location 200 at 7 */
			0x6a, 2, 1, 0, 0x68, 1,                             /* comments: "a", "" packed, "a" not */
			TYPE, STRINGS);

	ck_assert_uint_eq(p->samples.n, 1);
	ck_assert_uint_eq(p->samples.at[0].n_locations, 2);
	ck_assert_uint_eq(p->locations.at[p->stack.at[1] - 1].address, 7);
	ck_assert_int_eq(profile_values(p, 0)[0], 5);
	ck_assert_uint_eq(p->comments.n, 3);
	ck_assert_str_eq(profile_get_string(p, p->comments.at[2]), "a");
}
END_TEST

START_TEST(a_stack_of_100000_frames_takes_no_time_and_a_deeper_one_hits_the_limit)
{
	_cleanup_(profile_free_p) struct profile *p = small_profile("/x.c", 1);
	struct pprof_limits limits = pprof_limits_tool;
	uint64_t start;
	uint32_t *stack = calloc(100000, sizeof(*stack));

	for (size_t i = 0; i < 100000; i++)
		stack[i] = 1 + i % 2;
	ck_assert_int_eq(profile_add_sample(p, stack, 100000, (int64_t[]){ 1, 1 }, NULL, 0), 1);
	free(stack);
	_cleanup_(bytes_free) struct bytes file = encoded(p, 6);
	start = clock_monotonic_nsec();
	_cleanup_(profile_free_p) struct profile *q = decoded(file.at, file.n);
	ck_assert_uint_lt(clock_monotonic_nsec() - start, NSEC_PER_SEC / 5);
	ck_assert_uint_eq(q->samples.at[2].n_locations, 100000);
	limits.stack_depth = 99999;
	_cleanup_free_ char *message = refused(file.at, file.n, &limits, PPROF_E_LIMIT);
	ck_assert_str_eq(message, "f.pprof: a sample's stack depth is over the limit of 99999");
}
END_TEST

/* Gzip that inflates to `head`, then `mib` times one MiB of `pattern`. The check sum at its end is missing. */
static struct bytes bomb(const void *head, size_t head_size, const char *pattern, size_t pattern_size, size_t mib)
{
	const size_t block = 1 << 20;
	_cleanup_free_ char *plain = malloc(block), *packed = malloc(block), *start = malloc(block);
	struct bytes bytes;
	size_t n_start, n_packed;
	z_stream z = { 0 };

	for (size_t i = 0; i < block; i++)
		plain[i] = pattern[i % pattern_size];
	ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)head;
	z.avail_in = head_size;
	z.next_out = (Bytef *)start;
	z.avail_out = block;
	ck_assert_int_eq(deflate(&z, Z_FULL_FLUSH), Z_OK);
	n_start = block - z.avail_out;
	z.next_in = (Bytef *)plain;
	z.avail_in = block;
	z.next_out = (Bytef *)packed;
	z.avail_out = block;
	ck_assert_int_eq(deflate(&z, Z_FULL_FLUSH), Z_OK);
	n_packed = block - z.avail_out;
	deflateEnd(&z);
	bytes.n = n_start + mib * n_packed;
	bytes.at = malloc(bytes.n);
	memcpy(bytes.at, start, n_start);
	for (size_t i = 0; i < mib; i++)
		memcpy(bytes.at + n_start + i * n_packed, packed, n_packed);
	return bytes;
}

static long peak_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static void assert_defused(const struct bytes *bytes, const struct pprof_limits *limits, const char *limit_named)
{
	uint64_t start = clock_monotonic_nsec(), spent;
	_cleanup_free_ char *message = refused(bytes->at, bytes->n, limits, PPROF_E_LIMIT);

	spent = clock_monotonic_nsec() - start;
	fprintf(stderr, "# bomb of %zu KiB: %s; %llu ms, peak %ld MiB\n", bytes->n >> 10, message,
			(unsigned long long)(spent / NSEC_PER_MSEC), peak_kib() >> 10);
	ck_assert_ptr_nonnull(strstr(message, limit_named));
	ck_assert_uint_lt(spent, NSEC_PER_SEC);
	if (!SANITIZED) /* its shadow memory counts too */
		ck_assert_int_lt(peak_kib(), 128 << 10);
}

START_TEST(a_gigabyte_of_zeros_is_refused_quickly_and_in_little_memory)
{
	_cleanup_(bytes_free) struct bytes bytes = bomb("", 0, "", 1, 1024);

	assert_defused(&bytes, NULL, "limit on the ratio");
	assert_defused(&bytes, &pprof_limits_daemon, "limit on the ratio");
}
END_TEST

START_TEST(a_gigabyte_of_samples_is_refused_quickly_and_in_little_memory)
{
	static const uint8_t head[] = { TYPE, STRINGS };
	_cleanup_(bytes_free) struct bytes bytes = bomb(head, sizeof(head), "\x12\x06\x12\x01\x01\x1a\x01\x00", 8, 1024);

	assert_defused(&bytes, NULL, "limit on the ratio");
}
END_TEST

START_TEST(a_bomb_below_the_ratio_hits_the_bound_of_the_daemon)
{
	struct pprof_limits limits = pprof_limits_daemon;
	_cleanup_(bytes_free) struct bytes bytes = bomb("", 0, "", 1, 128);

	limits.inflated_ratio = 100000;
	assert_defused(&bytes, &limits, "inflates to more than the limit of 64 MiB");
}
END_TEST

START_TEST(bytes_that_swell_in_memory_hit_the_limit_of_memory)
{
	/* Locations without mapping or line: 6 bytes in the file, some 50 in memory. */
	const size_t n = 6000000;
	static const uint8_t head[] = { TYPE, STRINGS };
	struct bytes bytes = { malloc(sizeof(head) + n * 10), sizeof(head) };

	memcpy(bytes.at, head, sizeof(head));
	for (size_t i = 1; i <= n; i++) {
		const uint8_t location[] = { 0x22, 8, 0x08, 0x80 | (i & 0x7f), 0x80 | (i >> 7 & 0x7f), 0x80 | (i >> 14 & 0x7f),
			0x80 | (i >> 21 & 0x7f), 0, 0x18, i & 0x7f };

		memcpy(bytes.at + bytes.n, location, sizeof(location));
		bytes.n += sizeof(location);
	}
	struct pprof_limits limits = pprof_limits_daemon;
	limits.file_bytes = bytes.n;
	limits.memory_bytes = 16 << 20;
	_cleanup_free_ char *message = refused(bytes.at, bytes.n, &limits, PPROF_E_LIMIT);
	ck_assert_str_eq(message, "f.pprof: takes more than the limit of 16 MiB of memory");
	limits.file_bytes = 1 << 20;
	_cleanup_free_ char *too_large = refused(bytes.at, bytes.n, &limits, PPROF_E_LIMIT);
	ck_assert_str_eq(too_large, "f.pprof: is over the limit of 1 MiB for a profile");
	bytes_free(&bytes);
}
END_TEST

START_TEST(damaged_profiles_are_refused_or_read_but_never_crash)
{
	uint64_t state = random_seed();
	size_t accepted = 0;

	for (int round = 0; round < 20000; round++) {
		_cleanup_(profile_free_p) struct profile *p = small_profile("/x.c", 3), *q = NULL;
		_cleanup_(bytes_free) struct bytes bytes = encoded(p, PPROF_LEVEL_NONE);
		_cleanup_(diag_free_p) struct diag *diag = diag_new();
		int r;

		for (uint64_t n = 1 + random_below(&state, 3); n > 0; n--)
			bytes.at[random_below(&state, bytes.n)] = random_next(&state);
		r = pprof_decode(bytes.at, bytes.n, "f", NULL, diag, &q);
		ck_assert_uint_eq(diag_errors(diag), r != 0);
		ck_assert(r == 0 || r == PPROF_E_INVALID || r == PPROF_E_LIMIT);
		if (r == 0) {
			_cleanup_(bytes_free) struct bytes again = encoded(q, PPROF_LEVEL_NONE);
			_cleanup_(profile_free_p) struct profile *third = decoded(again.at, again.n);

			ck_assert_uint_eq(third->samples.n, q->samples.n);
			accepted++;
		}
	}
	fprintf(stderr, "# %zu of 20000 damaged profiles still made sense\n", accepted);
}
END_TEST

UNIT_TESTS("pprof", decoding_what_was_encoded_gives_the_same_profile, the_same_profile_gives_the_same_bytes,
	the_wire_format_is_that_of_profile_proto, a_file_of_ours_is_known_by_its_first_bytes,
	levels_that_do_not_exist_are_refused, concatenated_gzip_members_are_one_profile, a_truncated_file_is_never_accepted,
	a_wrong_byte_in_the_compressed_file_is_noticed, what_does_not_resolve_is_refused_with_a_reason,
	fields_in_any_order_unpacked_numbers_sparse_ids_and_unknown_fields_are_read,
	a_stack_of_100000_frames_takes_no_time_and_a_deeper_one_hits_the_limit,
	a_gigabyte_of_zeros_is_refused_quickly_and_in_little_memory,
	a_gigabyte_of_samples_is_refused_quickly_and_in_little_memory, a_bomb_below_the_ratio_hits_the_bound_of_the_daemon,
	bytes_that_swell_in_memory_hit_the_limit_of_memory, damaged_profiles_are_refused_or_read_but_never_crash)
