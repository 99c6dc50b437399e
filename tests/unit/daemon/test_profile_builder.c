/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../main.h"
#include "made_capture.h"
#include "made_go.h"
#include "names_cache.h"
#include "own_program.h"
#include "profile.h"
#include "profile_builder.h"
#include "symbolizer_process.h"

/* What the tests look up: the file of this program has their names. */
void known_leaf(void);
void known_caller(void);
__attribute__((noinline)) void known_leaf(void)
{
	__asm__ volatile("nop; nop; nop; nop");
}
__attribute__((noinline)) void known_caller(void)
{
	known_leaf();
	__asm__ volatile("nop; nop; nop; nop");
}

static const uint64_t kernel_address = UINT64_C(0xffffffff81000010);
static struct symbolizer_process *symbolizer;
static struct names_cache *cache;

static struct service_profiles build(struct capture *capture, uint32_t max_services)
{
	const struct symbolizer_options options = { 0 };
	struct service_profiles profiles;

	if (!symbolizer) {
		ck_assert_int_eq(symbolizer_process_new(&options, &symbolizer), 0);
		ck_assert_int_eq(names_cache_new(symbolizer, 1 << 20, &cache), 0);
	}
	ck_assert_int_eq(profile_builder_run(capture, cache, max_services, &profiles), 0);
	capture_free(capture);
	return profiles;
}

static void finish(struct service_profiles *profiles)
{
	service_profiles_deinit(profiles);
	cache = names_cache_free(cache);
	symbolizer = symbolizer_process_free(symbolizer);
}

/* An image that has the code of this program mapped at `base`. */
static struct image *image_of_us(const char *service, uint64_t base, struct binary *binary)
{
	struct image *image = made_image(service);

	image->exe = strdup(binary->path);
	made_mapping(image, IMAGE_MAPPING_FILE, base, 16 << 20, 0, binary);
	return image;
}

static const char *function_name(const struct profile *profile, uint32_t location)
{
	const struct profile_location *l = &profile->locations.at[location - 1];

	return profile_get_string(profile, profile->functions.at[profile->lines.at[l->first_line].function - 1].name);
}

static uint64_t sum(const struct profile *profile)
{
	uint64_t total = 0;

	for (size_t i = 0; i < profile->samples.n; i++)
		total += profile->values.at[i * profile->sample_types.n];
	return total;
}

/* The location of frame `frame` of sample `sample`. */
static uint32_t at(const struct profile *profile, size_t sample, size_t frame)
{
	return profile->stack.at[profile->samples.at[sample].first_location + frame];
}

START_TEST(processes_with_one_program_at_two_addresses_share_its_location)
{
	struct capture *capture = made_capture();
	struct binary *binary = made_binary("/usr/bin/us", 1, own_open());
	uint64_t bases[] = { 0x560000000000, 0x7f0000000000 };
	struct service_profiles profiles;

	for (size_t i = 0; i < 2; i++) {
		uint64_t leaf = bases[i] + own_offset(known_leaf);
		uint32_t process = made_process(capture, 10 + i, image_of_us("us", bases[i], i ? binary : binary_ref(binary)));

		made_sample(capture, process, "us", 3 + i, 0, &leaf, 1);
	}
	profiles = build(capture, 8);
	ck_assert_uint_eq(profiles.profiles.n, 1);
	ck_assert_uint_eq(profiles.profiles.at[0].n_samples, 7);
	ck_assert_uint_eq(profiles.profiles.at[0].nsec, 7 * made_period_nsec);
	ck_assert_uint_eq(profiles.profiles.at[0].profile->locations.n, 1);
	ck_assert_uint_eq(profiles.profiles.at[0].profile->samples.n, 2);
	ck_assert_uint_eq(profiles.profiles.at[0].profile->locations.at[0].address, own_address(known_leaf));
	ck_assert_str_eq(function_name(profiles.profiles.at[0].profile, 1), "known_leaf");
	finish(&profiles);
}
END_TEST

START_TEST(what_has_no_name_is_file_and_offset)
{
	struct capture *capture = made_capture();
	struct image *image = made_image("x");
	uint64_t frames[] = { 0x10123, 0x900001 };
	struct service_profiles profiles;

	made_mapping(image, IMAGE_MAPPING_FILE, 0x10000, 0x1000, 0x4000, made_binary("/opt/x/prog", 1, -1));
	made_sample(capture, made_process(capture, 5, image), "x", 1, 0, frames, 2);
	profiles = build(capture, 8);
	ck_assert_str_eq(function_name(profiles.profiles.at[0].profile, at(profiles.profiles.at[0].profile, 0, 0)), "prog+0x4123");
	ck_assert_str_eq(function_name(profiles.profiles.at[0].profile, at(profiles.profiles.at[0].profile, 0, 1)),
			"[unknown]+0x900000");
	ck_assert_uint_eq(profiles.profiles.at[0].n_frames, 2);
	ck_assert_uint_eq(profiles.profiles.at[0].n_unnamed, 2);
	ck_assert_uint_eq(profiles.profiles.at[0].n_unmapped, 1);
	finish(&profiles);
}
END_TEST

/* As runtime/traceback.go elideWrapperCalling() has it. */
START_TEST(wrappers_of_go_are_left_out_unless_a_panic_or_nothing_is_in_them)
{
	enum { RT0, MAIN, LEAF, WRAPPER, GOPANIC };
	static const struct made_go_function functions[] = {
		{ "_rt0_amd64_linux", 1 }, { "main.main", 0 }, { "main.leaf[go.shape.int]", 0 }, { "main.T.leaf-fm", 22 }, { "runtime.gopanic", 5 },
	};
	static const struct {
		int n;
		uint8_t stack[4];
		const char *expected;
	} cases[] = {
		{ 3, { LEAF, WRAPPER, MAIN }, "main.leaf[go.shape.int] main.main " },
		{ 2, { WRAPPER, MAIN }, "main.main " },
		{ 4, { LEAF, WRAPPER, WRAPPER, MAIN }, "main.leaf[go.shape.int] main.main " },
		{ 3, { GOPANIC, WRAPPER, MAIN }, "runtime.gopanic main.T.leaf-fm main.main " },
		{ 4, { GOPANIC, MAIN, WRAPPER, MAIN }, "runtime.gopanic main.main main.main " },
		{ 1, { WRAPPER }, "main.T.leaf-fm " },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct capture *capture = made_capture();
		struct image *image = made_image("go");
		struct service_profiles profiles;
		uint64_t frames[4];
		char got[256] = "";

		made_mapping(image, IMAGE_MAPPING_FILE, 0x10000000, MADE_GO_SIZE, 0, made_binary("/usr/bin/go-program", 1, made_go(functions, 5)));
		for (int j = 0; j < cases[i].n; j++)
			frames[j] = 0x10000000 + made_go_offset(cases[i].stack[j]);
		made_sample(capture, made_process(capture, 5, image), "go", 3, 0, frames, cases[i].n);
		profiles = build(capture, 8);
		for (uint32_t j = 0; j < profiles.profiles.at[0].profile->samples.at[0].n_locations; j++) {
			strcat(got, function_name(profiles.profiles.at[0].profile, at(profiles.profiles.at[0].profile, 0, j)));
			strcat(got, " ");
		}
		ck_assert_str_eq(got, cases[i].expected);
		ck_assert_uint_eq(profiles.profiles.at[0].n_unnamed, 0);
		ck_assert_uint_eq(profiles.profiles.at[0].n_frames, 3 * profiles.profiles.at[0].profile->stack.n);
		finish(&profiles);
	}
}
END_TEST

START_TEST(a_file_that_cannot_be_read_keeps_its_samples_and_the_names_of_others)
{
	struct capture *capture = made_capture();
	struct image *image = image_of_us("x", 0x500000000000, made_binary("/usr/bin/us", 1, own_open()));
	uint64_t frames[] = { 0x10123, 0x500000000000 + own_offset(known_leaf) + 1 };
	struct service_profiles profiles;

	made_mapping(image, IMAGE_MAPPING_FILE, 0x10000, 0x1000, 0, made_binary("/etc/passwd", 2, open("/etc/passwd", O_RDONLY)));
	/* Sorted by start. */
	struct image_mapping first = image->mappings.at[1];
	image->mappings.at[1] = image->mappings.at[0];
	image->mappings.at[0] = first;
	made_sample(capture, made_process(capture, 5, image), "x", 1, 0, frames, 2);
	profiles = build(capture, 8);
	ck_assert_str_eq(function_name(profiles.profiles.at[0].profile, at(profiles.profiles.at[0].profile, 0, 0)), "passwd+0x123");
	ck_assert_str_eq(function_name(profiles.profiles.at[0].profile, at(profiles.profiles.at[0].profile, 0, 1)), "known_leaf");
	finish(&profiles);
}
END_TEST

START_TEST(a_process_that_nothing_is_known_of_is_called_as_its_thread)
{
	struct capture *capture = made_capture();
	uint64_t frame = 0x1234;
	struct service_profiles profiles;

	made_sample(capture, made_process(capture, 5, NULL), "shortlived", 2, 0, &frame, 1);
	made_sample(capture, made_process(capture, 6, NULL), "", 1, 0, &frame, 1);
	profiles = build(capture, 8);
	ck_assert_uint_eq(profiles.profiles.n, 2);
	ck_assert_str_eq(profiles.profiles.at[0].service, "shortlived");
	ck_assert_str_eq(profiles.profiles.at[1].service, "unknown");
	ck_assert_uint_eq(profiles.profiles.at[0].n_unmapped, 2);
	finish(&profiles);
}
END_TEST

/* Services a to d have 5, 3, 2 and 1 samples; the last one is in depth. */
static struct capture *four_services(void)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	static const uint64_t counts[] = { 5, 3, 2, 1 };
	struct capture *capture = made_capture();

	for (size_t i = 0; i < 4; i++) {
		struct image *image = made_image(names[i]);
		uint64_t frame = 0x1000 + i;

		image->in_depth = i == 3;
		made_sample(capture, made_process(capture, 10 + i, image), names[i], counts[i], 0, &frame, 1);
	}
	return capture;
}

START_TEST(beyond_the_limit_services_are_together_but_those_in_depth)
{
	struct service_profiles profiles = build(four_services(), 1);
	uint64_t total = 0;

	ck_assert_uint_eq(profiles.profiles.n, 3);
	ck_assert_str_eq(profiles.profiles.at[0].service, "d");
	ck_assert_str_eq(profiles.profiles.at[1].service, "a");
	ck_assert_str_eq(profiles.profiles.at[2].service, "other");
	ck_assert_uint_eq(profiles.profiles.at[2].n_samples, 5);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_uint_eq(sum(profiles.profiles.at[i].profile), profiles.profiles.at[i].n_samples);
		total += profiles.profiles.at[i].n_samples;
	}
	ck_assert_uint_eq(total, 11);
	finish(&profiles);
}
END_TEST

START_TEST(with_no_room_for_services_all_but_those_in_depth_are_together)
{
	struct service_profiles profiles = build(four_services(), 0);

	ck_assert_uint_eq(profiles.profiles.n, 2);
	ck_assert_str_eq(profiles.profiles.at[0].service, "d");
	ck_assert_uint_eq(profiles.profiles.at[1].n_samples, 10);
	finish(&profiles);
}
END_TEST

START_TEST(together_there_is_one_profile_even_of_nothing)
{
	struct service_profiles profiles = build(four_services(), PROFILE_BUILDER_TOGETHER);

	ck_assert_uint_eq(profiles.profiles.n, 1);
	ck_assert_uint_eq(profiles.profiles.at[0].n_samples, 11);
	ck_assert_uint_eq(sum(profiles.profiles.at[0].profile), 11);
	finish(&profiles);
	profiles = build(made_capture(), PROFILE_BUILDER_TOGETHER);
	ck_assert_uint_eq(profiles.profiles.n, 1);
	ck_assert_uint_eq(profiles.profiles.at[0].profile->samples.n, 0);
	finish(&profiles);
	profiles = build(made_capture(), 8);
	ck_assert_uint_eq(profiles.profiles.n, 0);
	finish(&profiles);
}
END_TEST

START_TEST(return_addresses_are_looked_up_a_byte_back_and_exact_ones_are_not)
{
	const uint64_t base = 0x500000000000;
	struct capture *capture = made_capture();
	struct image *image = image_of_us("us", base, made_binary("/usr/bin/us", 1, own_open()));
	uint32_t process = made_process(capture, 5, image);
	uint64_t user[] = { base + own_offset(known_leaf), base + own_offset(known_caller) + 1 };
	uint64_t mixed[] = { kernel_address, kernel_address + 32, user[0], user[1] };
	struct service_profiles profiles;
	const struct profile *profile;

	made_sample(capture, process, "us", 1, 0, user, 2);
	made_sample(capture, process, "us", 1, 2, mixed, 4);
	profiles = build(capture, 8);
	profile = profiles.profiles.at[0].profile;
	ck_assert_uint_eq(profile->samples.n, 2);
	ck_assert_uint_eq(profile->locations.at[at(profile, 0, 0) - 1].address, own_address(known_leaf));
	ck_assert_uint_eq(profile->locations.at[at(profile, 0, 1) - 1].address, own_address(known_caller));
	ck_assert_str_eq(function_name(profile, at(profile, 0, 1)), "known_caller");
	ck_assert_uint_eq(profile->locations.at[at(profile, 1, 0) - 1].address, kernel_address);
	ck_assert_uint_eq(profile->locations.at[at(profile, 1, 1) - 1].address, kernel_address + 31);
	/* The same two frames, although the first one is the third of its stack. */
	ck_assert_uint_eq(at(profile, 1, 2), at(profile, 0, 0));
	ck_assert_uint_eq(at(profile, 1, 3), at(profile, 0, 1));
	finish(&profiles);
}
END_TEST

START_TEST(what_a_signal_interrupted_is_looked_up_exactly)
{
	const uint64_t base = 0x500000000000, vsyscall = UINT64_C(0xffffffffff600400);
	struct capture *capture = made_capture();
	struct image *image = image_of_us("us", base, made_binary("/usr/bin/us", 1, own_open()));
	uint32_t process = made_process(capture, 5, image);
	/* The first instruction of known_leaf() was interrupted: a byte before it is another function. */
	uint64_t frames[] = {
		kernel_address, kernel_address + 32, base + own_offset(known_caller), (base + own_offset(known_leaf)) | SAMPLE_INTERRUPTED,
		base + own_offset(known_caller) + 1,
	};
	struct service_profiles profiles;
	const struct profile *profile;

	made_sample(capture, process, "us", 1, 2, frames, 5);
	made_sample(capture, process, "us", 1, 0, &vsyscall, 1);
	profiles = build(capture, 8);
	profile = profiles.profiles.at[0].profile;
	ck_assert_uint_eq(profile->locations.at[at(profile, 0, 1) - 1].address, kernel_address + 31);
	ck_assert_uint_eq(profile->locations.at[at(profile, 0, 3) - 1].address, own_address(known_leaf));
	ck_assert_str_eq(function_name(profile, at(profile, 0, 3)), "known_leaf");
	ck_assert_uint_eq(profile->locations.at[at(profile, 0, 4) - 1].address, own_address(known_caller));
	/* A leaf is what it is. */
	ck_assert_uint_eq(profile->locations.at[at(profile, 1, 0) - 1].address, vsyscall);
	finish(&profiles);
}
END_TEST

START_TEST(a_broken_stack_ends_in_why)
{
	const uint64_t base = 0x500000000000;
	struct capture *capture = made_capture();
	struct image *image = image_of_us("us", base, made_binary("/usr/bin/us", 1, own_open()));
	uint32_t process = made_process(capture, 5, image);
	uint64_t leaf = base + own_offset(known_leaf);
	struct service_profiles profiles;
	const struct profile *profile;

	for (uint32_t verdict = 0; verdict < SAMPLE_N_VERDICTS; verdict++)
		if (verdict != SAMPLE_VERDICT_ELIDED)
			made_ended_sample(capture, process, "us", 1 + verdict, 0, &leaf, 1, verdict, 0);
	/* Ends in the same way elsewhere. */
	made_ended_sample(capture, process, "us", 1, 1, &kernel_address, 1, SAMPLE_VERDICT_NO_TABLE, 0);
	profiles = build(capture, 8);
	profile = profiles.profiles.at[0].profile;
	/* Those that are not broken are one sample. */
	ck_assert_uint_eq(profile->samples.at[0].n_locations, 1);
	ck_assert_uint_eq(profile->samples.n, 1 + SAMPLE_N_VERDICTS - 3 + 1);
	for (size_t i = 1; i < profile->samples.n; i++) {
		const struct profile_location *end = &profile->locations.at[at(profile, i, 1) - 1];

		ck_assert_uint_eq(profile->samples.at[i].n_locations, 2);
		ck_assert_uint_eq(end->mapping, 0);
		ck_assert_uint_eq(end->address, 0);
		ck_assert_uint_eq(end->n_lines, 1);
	}
	ck_assert_str_eq(function_name(profile, at(profile, 1, 1)), "[broken: no mapping]");
	ck_assert_str_eq(function_name(profile, at(profile, 2, 1)), "[broken: no unwind table yet]");
	ck_assert_uint_eq(at(profile, 2, 1), at(profile, profile->samples.n - 1, 1));
	/* Places: known_leaf, the kernel's, and one for each reason; no mapping but those of the first two. */
	ck_assert_uint_eq(profile->locations.n, 2 + SAMPLE_N_VERDICTS - 3);
	ck_assert_uint_eq(profile->mappings.n, 2);
	/* Nobody's name is missing. */
	ck_assert_uint_eq(profiles.profiles.at[0].n_frames, profiles.profiles.at[0].n_samples);
	ck_assert_uint_le(profiles.profiles.at[0].n_unnamed, 1);
	ck_assert_uint_eq(profiles.profiles.at[0].n_unmapped, 0);
	ck_assert_uint_eq(profiles.profiles.at[0].verdicts[SAMPLE_VERDICT_COMPLETE], 1);
	ck_assert_uint_eq(profiles.profiles.at[0].verdicts[SAMPLE_VERDICT_NO_TABLE], 1 + SAMPLE_VERDICT_NO_TABLE + 1);
	ck_assert_uint_eq(profiles.profiles.at[0].verdicts[SAMPLE_VERDICT_COMPAT], 1 + SAMPLE_VERDICT_COMPAT);
	finish(&profiles);
}
END_TEST

START_TEST(what_was_left_out_is_told_in_its_place)
{
	const uint64_t base = 0x500000000000;
	static uint64_t frames[1 + SAMPLE_MAX_USER_FRAMES];
	struct capture *capture = made_capture();
	struct image *image = image_of_us("us", base, made_binary("/usr/bin/us", 1, own_open()));
	uint32_t process = made_process(capture, 5, image);
	struct service_profiles profiles;
	const struct profile *profile;

	frames[0] = kernel_address;
	for (size_t i = 1; i <= SAMPLE_MAX_USER_FRAMES; i++)
		frames[i] = base + own_offset(i <= SAMPLE_MAX_USER_FRAMES / 2 ? known_leaf : known_caller) + 1;
	made_ended_sample(capture, process, "us", 3, 1, frames, 1 + SAMPLE_MAX_USER_FRAMES, SAMPLE_VERDICT_ELIDED, 12);
	made_ended_sample(capture, process, "us", 2, 1, frames, 1 + SAMPLE_MAX_USER_FRAMES, SAMPLE_VERDICT_TOO_DEEP, 7168);
	profiles = build(capture, 8);
	profile = profiles.profiles.at[0].profile;
	ck_assert_uint_eq(profile->samples.n, 2);
	ck_assert_uint_eq(profile->samples.at[0].n_locations, 1 + SAMPLE_MAX_USER_FRAMES + 1);
	ck_assert_str_eq(function_name(profile, at(profile, 0, 512)), "known_leaf");
	ck_assert_str_eq(function_name(profile, at(profile, 0, 513)), "[12 frames elided]");
	ck_assert_str_eq(function_name(profile, at(profile, 0, 514)), "known_caller");
	ck_assert_str_eq(function_name(profile, at(profile, 1, 513)), "[7168 frames elided]");
	ck_assert_str_eq(function_name(profile, at(profile, 1, 1 + SAMPLE_MAX_USER_FRAMES + 1)), "[broken: too deep]");
	ck_assert_uint_eq(profile->locations.at[at(profile, 0, 513) - 1].mapping, 0);
	ck_assert_uint_eq(profiles.profiles.at[0].n_frames, 5 * (1 + SAMPLE_MAX_USER_FRAMES));
	ck_assert_uint_eq(profiles.profiles.at[0].n_unmapped, 0);
	finish(&profiles);
}
END_TEST

START_TEST(the_first_mapping_is_the_main_program)
{
	struct capture *capture = made_capture();
	struct image *image = made_image("x");
	uint64_t library = 0x20010, stack[] = { kernel_address, 0x20010, 0x10011 };
	struct service_profiles profiles;
	uint32_t process;

	image->exe = strdup("/opt/x/prog");
	made_mapping(image, IMAGE_MAPPING_FILE, 0x10000, 0x1000, 0, made_binary("/opt/x/prog", 1, -1));
	made_mapping(image, IMAGE_MAPPING_FILE, 0x20000, 0x1000, 0, made_binary("/lib/libx.so", 2, -1));
	process = made_process(capture, 5, image);
	made_sample(capture, process, "x", 1, 0, &library, 1);
	made_sample(capture, process, "x", 1, 1, stack, 3);
	profiles = build(capture, 8);
	ck_assert_uint_eq(profiles.profiles.at[0].profile->mappings.n, 3);
	ck_assert_str_eq(profile_get_string(profiles.profiles.at[0].profile, profiles.profiles.at[0].profile->mappings.at[0].file),
			"/opt/x/prog");
	finish(&profiles);
}
END_TEST

START_TEST(code_of_a_jit_is_named_by_the_map_of_its_process)
{
	static const char map[] = "7000 100 jit_one\n";
	struct capture *capture = made_capture();
	uint64_t frames[] = { 0x7010, 0x7801 };
	struct service_profiles profiles;
	const struct profile *profile;

	for (size_t i = 0; i < 2; i++) {
		struct image *image = made_image("jit");

		made_mapping(image, IMAGE_MAPPING_ANONYMOUS, 0x7000, 0x1000, 0, NULL);
		if (i == 0) {
			image->perf_map_fd = memfd_create("map", MFD_CLOEXEC);
			ck_assert_int_eq(write(image->perf_map_fd, map, sizeof(map) - 1), sizeof(map) - 1);
		}
		made_sample(capture, made_process(capture, 5 + i, image), "jit", 1, 0, frames, 2);
	}
	profiles = build(capture, 8);
	profile = profiles.profiles.at[0].profile;
	ck_assert_str_eq(function_name(profile, at(profile, 0, 0)), "jit_one");
	/* One function, wherever it is; the places stay apart. */
	for (size_t i = 0; i < 3; i++) {
		uint32_t location = at(profile, i > 0, i != 1);

		ck_assert_str_eq(function_name(profile, location), "[jit]");
		ck_assert_uint_eq(profile->locations.at[location - 1].address, i == 1 ? 0x7010 : 0x7800);
		ck_assert_uint_ne(profile->locations.at[location - 1].mapping, 0);
	}
	ck_assert_uint_eq(profile->functions.n, 2);
	ck_assert_uint_eq(profiles.profiles.at[0].n_unnamed, 3);
	ck_assert_uint_eq(profiles.profiles.at[0].n_unmapped, 0);
	finish(&profiles);
}
END_TEST

/* The latest sample made is of waits. */
static void made_waits(struct capture *capture, enum sample_reason reason, uint64_t nsec)
{
	struct stacks_sample *sample = &capture->stacks->samples.at[capture->stacks->samples.n - 1];

	sample->wait.reason = (uint16_t)reason;
	sample->nsec = nsec;
}

static int64_t nanoseconds(const struct profile *profile)
{
	return profile_total(profile, 1);
}

START_TEST(one_capture_of_waits_becomes_block_mutex_and_wall)
{
	struct capture *capture = made_capture();
	uint32_t process = made_process(capture, 5, made_image("a"));
	uint64_t frames[] = { 0x1000, 0x2000, 0x3000 };
	struct service_profiles profiles;

	capture->kind = PROFILE_BLOCK;
	capture->kinds = capture_kind_bit(PROFILE_BLOCK) | capture_kind_bit(PROFILE_MUTEX) | capture_kind_bit(PROFILE_WALL);
	capture->stacks->has_ran = true;
	made_sample(capture, process, "a", 2, 0, &frames[0], 1);
	made_waits(capture, SAMPLE_LOCK, 200);
	made_sample(capture, process, "a", 3, 0, &frames[1], 1);
	made_waits(capture, SAMPLE_DISK, 3000);
	made_sample(capture, process, "a", 7, 0, &frames[2], 1);
	made_waits(capture, SAMPLE_RAN, 70000);
	made_sample(capture, process, "a", 0, 0, NULL, 0);
	made_waits(capture, SAMPLE_RAN, 5);
	made_sample(capture, process, "a", 1, 0, NULL, 0);
	made_waits(capture, SAMPLE_DISK, 60);
	profiles = build(capture, 8);
	ck_assert_uint_eq(profiles.profiles.n, 3);
	ck_assert_int_eq(profiles.profiles.at[0].kind, PROFILE_BLOCK);
	ck_assert_uint_eq(profiles.profiles.at[0].n_samples, 6);
	ck_assert_int_eq(nanoseconds(profiles.profiles.at[0].profile), 3260);
	ck_assert_int_eq(profiles.profiles.at[1].kind, PROFILE_MUTEX);
	ck_assert_uint_eq(profiles.profiles.at[1].n_samples, 2);
	ck_assert_int_eq(nanoseconds(profiles.profiles.at[1].profile), 200);
	ck_assert_int_eq(profiles.profiles.at[2].kind, PROFILE_WALL);
	ck_assert_int_eq(nanoseconds(profiles.profiles.at[2].profile), 73265);
	ck_assert_uint_eq(profiles.profiles.at[2].nsec, 73265);
	ck_assert_int_eq(profiles.profiles.at[0].profile->period, 1);
	ck_assert_int_eq(profiles.profiles.at[2].profile->period, (int64_t)made_period_nsec);
	ck_assert_str_eq(function_name(profiles.profiles.at[0].profile, at(profiles.profiles.at[0].profile, 2, 0)), "[no stack was taken]");
	ck_assert_str_eq(function_name(profiles.profiles.at[2].profile, at(profiles.profiles.at[2].profile, 3, 0)), "[on cpu, not sampled]");
	finish(&profiles);
}
END_TEST

/* The label of a sample: its text, "1" for a number of one, NULL without. */
static const char *label(const struct profile *profile, size_t sample, const char *key)
{
	const struct profile_sample *s = &profile->samples.at[sample];

	for (size_t i = 0; i < s->n_labels; i++) {
		const struct profile_label *l = &profile->labels.at[s->first_label + i];

		if (!strcmp(profile_get_string(profile, l->key), key))
			return l->num == 1 ? "1" : profile_get_string(profile, l->str);
	}
	return NULL;
}

START_TEST(waits_for_work_are_told_by_whose_functions_are_in_the_stack)
{
	struct capture *capture = made_capture();
	struct binary *us = made_binary("/srv/server", 1, -1), *libc = made_binary("/lib/libc.so.6", 2, -1);
	struct image *image = image_of_us("a", 0x1000000, us);
	/* main, its loop and what that calls; the library is in front of it at home, and less so in a request. */
	const uint64_t home[] = { 0x9000010, 0x9000020, 0x9000030, 0x1000020, 0x1000010 };
	const uint64_t request[] = { 0x9000040, 0x1000030, 0x1000021, 0x1000010 };
	struct service_profiles profiles;
	uint32_t process;

	made_mapping(image, IMAGE_MAPPING_FILE, 0x9000000, 0x100000, 0, libc);
	process = made_process(capture, 5, image);
	capture->kind = PROFILE_BLOCK;
	capture->kinds = capture_kind_bit(PROFILE_BLOCK) | capture_kind_bit(PROFILE_MUTEX) | capture_kind_bit(PROFILE_WALL);
	made_sample(capture, process, "a", 2, 0, home, 5);
	made_waits(capture, SAMPLE_SELECT, 200);
	made_sample(capture, process, "a", 3, 0, request, 4);
	made_waits(capture, SAMPLE_SELECT, 3000);
	made_sample(capture, process, "a", 4, 0, &request[1], 3);
	made_waits(capture, SAMPLE_LOCK, 50);
	profiles = build(capture, 8);
	ck_assert_str_eq(label(profiles.profiles.at[0].profile, 0, "idle"), "1");
	ck_assert_str_eq(label(profiles.profiles.at[0].profile, 0, "source"), "os");
	ck_assert_ptr_null(label(profiles.profiles.at[0].profile, 1, "idle"));
	ck_assert_str_eq(label(profiles.profiles.at[0].profile, 1, "source"), "os");
	ck_assert_uint_eq(profiles.profiles.at[0].n_idle, 2);
	ck_assert_uint_eq(profiles.profiles.at[0].idle_nsec, 200);
	ck_assert_str_eq(label(profiles.profiles.at[1].profile, 0, "source"), "os");
	ck_assert_uint_eq(profiles.profiles.at[1].n_idle, 0);
	ck_assert_str_eq(label(profiles.profiles.at[2].profile, 0, "idle"), "1");
	ck_assert_str_eq(label(profiles.profiles.at[2].profile, 0, "source"), "os");
	finish(&profiles);
}
END_TEST

START_TEST(of_two_services_each_has_its_own_of_each_kind)
{
	struct capture *capture = made_capture();
	uint64_t frame = 0x1000;
	struct service_profiles profiles;

	capture->kind = PROFILE_BLOCK;
	capture->kinds = capture_kind_bit(PROFILE_BLOCK) | capture_kind_bit(PROFILE_MUTEX);
	made_sample(capture, made_process(capture, 5, made_image("many")), "a", 9, 0, &frame, 1);
	made_waits(capture, SAMPLE_DISK, 1);
	made_sample(capture, made_process(capture, 6, made_image("few")), "b", 2, 0, &frame, 1);
	made_waits(capture, SAMPLE_LOCK, 20);
	made_sample(capture, made_process(capture, 7, made_image("fewer")), "c", 1, 0, &frame, 1);
	made_waits(capture, SAMPLE_LOCK, 300);
	profiles = build(capture, 1);
	ck_assert_uint_eq(profiles.profiles.n, 4);
	ck_assert_str_eq(profiles.profiles.at[1].service, "many");
	ck_assert_uint_eq(profiles.profiles.at[1].profile->samples.n, 0);
	ck_assert_str_eq(profiles.profiles.at[2].service, "other");
	ck_assert_str_eq(profiles.profiles.at[3].service, "other");
	ck_assert_int_eq(profiles.profiles.at[3].kind, PROFILE_MUTEX);
	ck_assert_int_eq(nanoseconds(profiles.profiles.at[3].profile), 320);
	finish(&profiles);
}
END_TEST

/* The functions of a sample, root first, with ` > ` between them; until the next call. */
static const char *reads(const struct profile *profile, size_t sample)
{
	static char text[1024];

	text[0] = '\0';
	for (uint32_t i = profile->samples.at[sample].n_locations; i--;) {
		strcat(text, function_name(profile, at(profile, sample, i)));
		strcat(text, i ? " > " : "");
	}
	return text;
}

/* A stack that nobody waited at; of frames, or else of a thread of the kernel, or of an interrupt. */
static uint32_t made_other(struct capture *capture, uint32_t process, const char *thread, const uint64_t *frames, size_t n)
{
	struct stacks_stack stack = { .process = process, .n_user = n, .first_frame = capture->stacks->frames.n };

	stack.verdict = n ? SAMPLE_VERDICT_COMPLETE : SAMPLE_VERDICT_KERNEL;
	strncpy(stack.thread, thread, sizeof(stack.thread) - 1);
	ck_assert_int_ge(vec_append(&capture->stacks->frames, frames, n), 0);
	ck_assert_int_ge(vec_push(&capture->stacks->stacks, stack), 0);
	return capture->stacks->stacks.n;
}

/*
 * A waiter at known_leaf, and who ended that: known_caller of another service, a process that nothing is known of, the kernel, an
 * interrupt, and the first one once more for a CPU.
 */
static struct capture *others(bool wakers)
{
	struct capture *capture = made_capture();
	struct binary *binary = made_binary("/usr/bin/us", 1, own_open());
	uint64_t waits = 0x560000000000 + own_offset(known_leaf), root = 0x560000000000 + own_offset(known_caller) + 1;
	uint64_t holds[] = { 0x7f0000000000 + own_offset(known_caller), 0x7f0000000000 + own_offset(known_leaf) + 1 };
	static const enum sample_reason reasons[] = { SAMPLE_LOCK, SAMPLE_LOCK, SAMPLE_DISK, SAMPLE_SLEEP, SAMPLE_RUNQUEUE };
	uint32_t waiter = made_process(capture, 5, image_of_us("waiter", 0x560000000000, binary_ref(binary)));
	uint32_t holder = made_process(capture, 6, image_of_us("holder", 0x7f0000000000, binary));
	uint32_t unknown = made_process(capture, 7, NULL);
	uint64_t unmapped = 0x1234;

	capture->kind = PROFILE_BLOCK;
	capture->kinds = capture_kind_bit(PROFILE_BLOCK) | capture_kind_bit(PROFILE_MUTEX) | capture_kind_bit(PROFILE_WALL);
	capture->facts.wakers = wakers;
	for (size_t i = 0; i < 5; i++) {
		made_sample(capture, waiter, "w", 1, 0, (uint64_t[]){ waits, root }, 2);
		made_waits(capture, reasons[i], 100 << i);
	}
	capture->stacks->samples.at[0].other = made_other(capture, holder, "", holds, 2);
	capture->stacks->samples.at[0].wait.device = 77;
	capture->stacks->samples.at[1].other = made_other(capture, unknown, "", &unmapped, 1);
	capture->stacks->samples.at[2].other = made_other(capture, holder, "kworker/0:1", NULL, 0);
	capture->stacks->samples.at[3].other = made_other(capture, waiter, "", NULL, 0);
	capture->stacks->samples.at[4].other = capture->stacks->samples.at[0].other;
	return capture;
}

START_TEST(who_ended_a_wait_is_above_who_waited)
{
	struct service_profiles profiles = build(others(true), 8);
	const struct profile *block = profiles.profiles.at[0].profile, *mutex = profiles.profiles.at[1].profile;

	ck_assert_uint_eq(profiles.profiles.n, 3);
	ck_assert_uint_eq(block->samples.n, 5);
	ck_assert_str_eq(reads(block, 0), "known_caller > known_leaf > [held by] > known_leaf > known_caller");
	ck_assert_str_eq(reads(block, 1), "known_caller > known_leaf > [held by] > [unknown]+0x1234");
	ck_assert_str_eq(reads(block, 2), "known_caller > known_leaf > [woken by] > [kernel thread kworker]");
	ck_assert_str_eq(reads(block, 3), "known_caller > known_leaf > [woken by] > [interrupt]");
	ck_assert_str_eq(reads(block, 4), "known_caller > known_leaf > [ran instead] > known_leaf > known_caller");
	ck_assert_ptr_nonnull(label(block, 0, "holder"));
	ck_assert_uint_eq(mutex->samples.n, 2);
	ck_assert_str_eq(reads(mutex, 0), "known_caller > known_leaf > [held by] > known_leaf > known_caller");
	ck_assert_ptr_nonnull(label(mutex, 0, "holder"));
	ck_assert_ptr_null(label(mutex, 1, "holder"));
	finish(&profiles);
}
END_TEST

START_TEST(without_wakers_only_mutex_has_who_held_the_lock)
{
	struct service_profiles profiles = build(others(false), 8);
	const struct profile *block = profiles.profiles.at[0].profile, *mutex = profiles.profiles.at[1].profile;
	const struct profile *wall = profiles.profiles.at[2].profile;

	/* The two waits for a lock are one sample, as if nobody knew more. */
	ck_assert_uint_eq(block->samples.n, 4);
	ck_assert_uint_eq(wall->samples.n, 4);
	for (size_t i = 0; i < 4; i++)
		ck_assert_str_eq(reads(block, i), "known_caller > known_leaf");
	ck_assert_int_eq(block->values.at[1], 300);
	ck_assert_ptr_null(label(block, 0, "holder"));
	ck_assert_uint_eq(mutex->samples.n, 2);
	ck_assert_str_eq(reads(mutex, 0), "known_caller > known_leaf > [held by] > known_leaf > known_caller");
	finish(&profiles);
}
END_TEST

START_TEST(who_had_the_cpu_is_a_label_and_beyond_32_other)
{
	enum { N = 40 };
	struct capture *capture = made_capture();
	uint32_t process = made_process(capture, 5, made_image("waiter"));
	uint64_t frame = 0x1234, others_nsec = 0, nsec;
	struct service_profiles profiles;
	const struct profile *block;
	size_t n_others = 0;
	char name[16];

	capture->kind = PROFILE_BLOCK;
	capture->kinds = capture_kind_bit(PROFILE_BLOCK);
	for (uint32_t i = 0; i < N; i++) {
		made_sample(capture, process, "w", 1, 0, &frame, 1);
		made_waits(capture, SAMPLE_RUNQUEUE, 1000 + i);
		capture->stacks->samples.at[i].wait.object = 100 + i;
		snprintf(name, sizeof(name), "service%u", i);
		ck_assert_int_ge(vec_push(&capture->neighbours, ((struct capture_neighbour){ .pid = 100 + i, .service = strdup(name) })), 0);
	}
	/* Of this one nobody knows who it was; of the next one who ran is not asked. */
	made_sample(capture, process, "w", 1, 0, &frame, 1);
	made_waits(capture, SAMPLE_RUNQUEUE, 5);
	made_sample(capture, process, "w", 1, 0, &frame, 1);
	made_waits(capture, SAMPLE_DISK, 7);
	capture->stacks->samples.at[N + 1].wait.object = 105;
	profiles = build(capture, 8);
	block = profiles.profiles.at[0].profile;
	/* 32 of them, the shortest together, the two without. */
	ck_assert_uint_eq(block->samples.n, 32 + 1 + 2);
	for (size_t i = 0; i < block->samples.n; i++) {
		const char *by = label(block, i, "by");

		nsec = block->values.at[i * block->sample_types.n + 1];
		if (!by) {
			ck_assert(nsec == 5 || nsec == 7);
		} else if (!strcmp(by, "other")) {
			others_nsec += nsec;
			n_others++;
		} else {
			snprintf(name, sizeof(name), "service%u", (unsigned)nsec - 1000);
			ck_assert_str_eq(by, name);
			ck_assert_uint_ge(nsec, 1000 + N - 32);
		}
	}
	ck_assert_uint_eq(n_others, 1);
	ck_assert_uint_eq(others_nsec, 8 * 1000 + 28);
	finish(&profiles);
}
END_TEST

START_TEST(locks_and_deadlocks_are_of_their_service)
{
	struct capture *capture = made_capture();
	uint64_t frames[] = { 0x1000, 0x2000, 0x3000 };
	const struct lock locks[] = { { .address = 0x10, .process = 1, .nsec = 300 }, { .address = 0x20, .process = 0, .nsec = 20 },
		{ .address = 0x30, .process = 1, .nsec = 10 } };
	const struct locks_process processes[] = { { .process = 0, .n = 1, .nsec = 20 }, { .process = 1, .n = 7, .nsec = 400 } };
	const struct deadlock_wait waits[] = { { .stack = 1, .tid = 61, .lock = 0x10, .thread = "x\n" }, { .stack = 2, .tid = 62, .lock = 0x30, .thread = "y" } };
	struct deadlock circle = { .process = 1 };
	struct service_profiles profiles;
	const struct service_profile *mutex;

	capture->kind = PROFILE_BLOCK;
	capture->kinds = capture_kind_bit(PROFILE_BLOCK) | capture_kind_bit(PROFILE_MUTEX);
	made_sample(capture, made_process(capture, 5, made_image("a")), "a", 1, 0, &frames[0], 1);
	made_waits(capture, SAMPLE_LOCK, 20);
	made_sample(capture, made_process(capture, 6, made_image("b")), "b", 9, 0, frames, 3);
	made_waits(capture, SAMPLE_LOCK, 310);
	made_sample(capture, 1, "b", 1, 0, NULL, 0);
	made_waits(capture, SAMPLE_LOCK, 5);
	ck_assert_int_eq(vec_append(&capture->stacks->locks.longest, locks, 3), 0);
	ck_assert_int_eq(vec_append(&capture->stacks->locks.processes, processes, 2), 0);
	ck_assert_int_eq(vec_append(&circle.waits, waits, 2), 0);
	ck_assert_int_eq(vec_push(&capture->deadlocks.circles, circle), 0);
	profiles = build(capture, 8);
	ck_assert_uint_eq(profiles.profiles.n, 4);
	mutex = &profiles.profiles.at[1];
	ck_assert_str_eq(mutex->service, "b");
	ck_assert_uint_eq(mutex->locks.n, 2);
	ck_assert_uint_eq(mutex->locks.at[0].address, 0x10);
	ck_assert_uint_eq(mutex->locks.at[1].address, 0x30);
	ck_assert_uint_eq(mutex->n_locks, 7);
	ck_assert_uint_eq(mutex->locks_nsec, 400);
	ck_assert_uint_eq(mutex->deadlocks.n, 1);
	ck_assert_uint_eq(profiles.profiles.at[0].deadlocks.n + profiles.profiles.at[0].locks.n, 0);
	ck_assert_uint_eq(profiles.profiles.at[3].deadlocks.n, 0);
	ck_assert_uint_eq(profiles.profiles.at[3].locks.n, 1);
	ck_assert_uint_eq(profiles.deadlocks.n, 1);
	ck_assert_str_eq(profiles.deadlocks.at[0].service, "b");
	ck_assert_uint_eq(profiles.deadlocks.at[0].process.pid, 6);
	ck_assert_uint_eq(profiles.deadlocks.at[0].waits.at[0].owner_tid, 62);
	ck_assert_uint_eq(profiles.deadlocks.at[0].waits.at[1].owner_tid, 61);
	ck_assert_str_eq(profiles.deadlocks.at[0].waits.at[0].thread, "x?");
	ck_assert_str_eq(profiles.deadlocks.at[0].waits.at[0].stack, "[unknown]+0x1000 <- [unknown]+0x1fff <- [unknown]+0x2fff");
	ck_assert_str_eq(profiles.deadlocks.at[0].waits.at[1].stack, "[no stack was taken]");
	finish(&profiles);
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {
		processes_with_one_program_at_two_addresses_share_its_location, what_has_no_name_is_file_and_offset,
		wrappers_of_go_are_left_out_unless_a_panic_or_nothing_is_in_them,
		a_file_that_cannot_be_read_keeps_its_samples_and_the_names_of_others,
		a_process_that_nothing_is_known_of_is_called_as_its_thread,
		beyond_the_limit_services_are_together_but_those_in_depth,
		with_no_room_for_services_all_but_those_in_depth_are_together, together_there_is_one_profile_even_of_nothing,
		return_addresses_are_looked_up_a_byte_back_and_exact_ones_are_not, what_a_signal_interrupted_is_looked_up_exactly,
		a_broken_stack_ends_in_why, what_was_left_out_is_told_in_its_place,
		the_first_mapping_is_the_main_program, code_of_a_jit_is_named_by_the_map_of_its_process,
		one_capture_of_waits_becomes_block_mutex_and_wall, waits_for_work_are_told_by_whose_functions_are_in_the_stack,
		of_two_services_each_has_its_own_of_each_kind,
		who_ended_a_wait_is_above_who_waited, without_wakers_only_mutex_has_who_held_the_lock,
		who_had_the_cpu_is_a_label_and_beyond_32_other,
		locks_and_deadlocks_are_of_their_service,
	};

	if (argc > 0 && !strcmp(argv[0], SYMBOLIZER_PROCESS_NAME))
		return symbolizer_process_main();
	return unit_main("profile_builder", tests, sizeof(tests) / sizeof(tests[0]));
}
