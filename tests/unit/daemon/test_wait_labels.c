/* SPDX-License-Identifier: Apache-2.0 */
#include "wait_labels.h"

#include <stdio.h>

#include "../main.h"
#include "made_capture.h"
#include "names_cache.h"
#include "own_program.h"
#include "symbolizer_process.h"

/* Variables of this program, in .bss and in .data. */
struct known { long before, mutex; };
extern struct known known_bss, known_data;
struct known known_bss, known_data = { 1, 2 };

static struct symbolizer_process *symbolizer;
static struct names_cache *cache;

static struct wait_labels *label(struct capture *capture, const uint32_t *services)
{
	const struct symbolizer_options options = { 0 };
	struct wait_labels *labels;

	ck_assert_int_eq(symbolizer_process_new(&options, &symbolizer), 0);
	ck_assert_int_eq(names_cache_new(symbolizer, 1 << 20, &cache), 0);
	ck_assert_int_eq(wait_labels_new(capture, cache, services, &labels), 0);
	names_cache_end_window(cache);
	return labels;
}

static void finish(struct capture *capture, struct wait_labels *labels)
{
	wait_labels_free(labels);
	capture_free(capture);
	cache = names_cache_free(cache);
	symbolizer = symbolizer_process_free(symbolizer);
}

static struct capture *begin(void)
{
	struct capture *capture = made_capture();

	capture->kind = PROFILE_BLOCK;
	capture->kinds = capture_kind_bit(PROFILE_BLOCK);
	return capture;
}

static void add_wait(struct capture *capture, uint32_t process, enum sample_reason reason, uint64_t object, uint64_t nsec)
{
	struct stacks_sample *sample;
	uint64_t frame = 0x1000;

	made_sample(capture, process, "a", 1, 0, &frame, 1);
	sample = &capture->stacks->samples.at[capture->stacks->samples.n - 1];
	sample->wait = (struct sample_wait){ .object = object, .device = 1, .reason = (uint16_t)reason };
	sample->nsec = nsec;
}

static void add_object(struct capture *capture, uint64_t object, enum sample_object_kind kind, const char *name)
{
	const struct stacks_object o = { .object = object, .device = 1, .kind = kind, .name = strdup(name) };

	ck_assert_int_ge(vec_push(&capture->stacks->objects, o), 0);
}

static void expect(const struct wait_labels *labels, size_t sample, const char *key, const char *value)
{
	struct wait_label found = wait_labels_get(labels, sample);

	ck_assert_msg(!strcmp(found.key ? found.key : "-", key) && !strcmp(found.value ? found.value : "-", value), "sample %zu: %s=%s, not %s=%s",
			sample, found.key, found.value, key, value);
}

START_TEST(each_wait_has_the_label_of_what_it_is_about)
{
	static const uint32_t services[6] = { 0 };
	struct capture *capture = begin();
	uint32_t process = made_process(capture, 5, NULL);
	struct wait_labels *labels;

	add_wait(capture, process, SAMPLE_DISK, 10, 1);
	add_wait(capture, process, SAMPLE_NETWORK, 11, 1);
	add_wait(capture, process, SAMPLE_DISK, 12, 1);
	add_wait(capture, process, SAMPLE_LOCK, 0x7f0000001000, 1);
	add_wait(capture, process, SAMPLE_RUNQUEUE, 10, 1);
	add_wait(capture, process, SAMPLE_LOCK, 0, 1);
	add_object(capture, 10, SAMPLE_OBJECT_FILE, "/x");
	add_object(capture, 11, SAMPLE_OBJECT_SOCKET, "10.0.0.1:1");
	labels = label(capture, services);
	expect(labels, 0, "file", "/x");
	expect(labels, 1, "peer", "10.0.0.1:1");
	expect(labels, 2, "-", "-");
	expect(labels, 3, "lock", "0x7f0000001000");
	expect(labels, 4, "-", "-");
	expect(labels, 5, "-", "-");
	finish(capture, labels);
}
END_TEST

/* This program, its code mapped as the kernel does it, so that p_vaddr 0 is at `bias`. */
static struct image *image_of_us(uint64_t bias)
{
	struct image *image = made_image("us");
	uint64_t code = own_address((void (*)(void))unit_main) & ~UINT64_C(4095);
	uint64_t offset = own_offset((void (*)(void))unit_main) & ~UINT64_C(4095);

	made_mapping(image, IMAGE_MAPPING_FILE, bias + code, 4096, offset, made_binary("/us", 1, own_open()));
	return image;
}

static uint64_t address_of(const void *variable)
{
	uint64_t bias;

	dl_iterate_phdr(own_first_bias, &bias);
	return (uint64_t)(uintptr_t)variable - bias;
}

START_TEST(a_lock_of_the_program_is_called_by_its_variable)
{
	static const uint32_t services[8] = { 0 };
	struct capture *capture = begin();
	uint64_t biases[] = { 0, 0x555500000000, 0x7f1234567000 };
	uint32_t a = made_process(capture, 5, image_of_us(biases[1])), b = made_process(capture, 6, image_of_us(biases[2]));
	struct wait_labels *labels;

	add_wait(capture, a, SAMPLE_LOCK, biases[1] + address_of(&known_bss), 1);
	add_wait(capture, a, SAMPLE_LOCK, biases[1] + address_of(&known_data.mutex), 1);
	add_wait(capture, b, SAMPLE_LOCK, biases[2] + address_of(&known_data), 1);
	add_wait(capture, b, SAMPLE_LOCK, biases[2] + address_of(&known_bss.mutex), 1);
	/* Behind all of the file: the heap, which begins there; below its code; where the other process has it. */
	add_wait(capture, a, SAMPLE_LOCK, biases[1] + (64 << 20), 1);
	add_wait(capture, a, SAMPLE_LOCK, biases[1] - 4096, 1);
	add_wait(capture, b, SAMPLE_LOCK, biases[1] + address_of(&known_bss), 1);
	/* A function is no variable. */
	add_wait(capture, a, SAMPLE_LOCK, biases[1] + own_address((void (*)(void))unit_main), 1);
	labels = label(capture, services);
	expect(labels, 0, "lock", "known_bss");
	expect(labels, 1, "lock", "known_data+0x8");
	expect(labels, 2, "lock", "known_data");
	expect(labels, 3, "lock", "known_bss+0x8");
	expect(labels, 4, "lock", "0x555504000000");
	expect(labels, 5, "lock", "0x5554fffff000");
	ck_assert_str_ne(wait_labels_get(labels, 6).value, "known_bss");
	ck_assert_int_eq(strncmp(wait_labels_get(labels, 7).value, "0x5555", 6), 0);
	finish(capture, labels);
}
END_TEST

START_TEST(a_service_has_the_longest_64_and_other)
{
	enum { N = 100 };
	static uint32_t services[N + 2];
	struct capture *capture = begin();
	uint32_t process = made_process(capture, 5, NULL);
	struct wait_labels *labels;
	size_t n_other = 0;
	char name[32];

	for (uint64_t i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "/%llu", (unsigned long long)i);
		add_object(capture, 10 + i, SAMPLE_OBJECT_FILE, name);
		/* The two rows of the first one together are longer than any. */
		add_wait(capture, process, SAMPLE_DISK, 10 + i, i ? i : 60);
	}
	add_wait(capture, process, SAMPLE_DISK, 10, 60);
	add_wait(capture, process, SAMPLE_DISK, 11, 1);
	services[N + 1] = 1; /* of another service, which has no other */
	stacks_sort_objects(capture->stacks);
	labels = label(capture, services);
	expect(labels, 0, "file", "/0");
	expect(labels, N, "file", "/0");
	expect(labels, 99, "file", "/99");
	expect(labels, 37, "file", "/37");
	expect(labels, 36, "file", "other");
	expect(labels, 1, "file", "other");
	expect(labels, N + 1, "file", "/1");
	for (size_t i = 0; i < N; i++)
		n_other += !strcmp(wait_labels_get(labels, i).value, "other");
	ck_assert_uint_eq(n_other, N - WAIT_LABELS_MAX);
	finish(capture, labels);
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {
		each_wait_has_the_label_of_what_it_is_about, a_lock_of_the_program_is_called_by_its_variable,
		a_service_has_the_longest_64_and_other,
	};

	if (argc > 0 && !strcmp(argv[0], SYMBOLIZER_PROCESS_NAME))
		return symbolizer_process_main();
	return unit_main("wait_labels", tests, sizeof(tests) / sizeof(tests[0]));
}
