/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>

#include "../main.h"
#include "made_capture.h"
#include "made_waits.h"
#include "service_waits.h"

static void add_wait(struct capture *capture, uint32_t stack, enum sample_reason reason, uint32_t device, uint64_t nsec)
{
	made_wait(capture->stacks, stack, 1, reason, 0, 1, nsec);
	capture->stacks->samples.at[capture->stacks->samples.n - 1].wait.device = device;
}

static uint32_t stack_of(struct capture *capture, const char *service)
{
	return made_wait_stack(capture->stacks, made_process(capture, 1, service ? made_image(service) : NULL), 0);
}

static struct service_waits run(const struct capture *capture, size_t max_services)
{
	struct service_waits waits = { 0 };
	struct device_names names;

	device_names_init(&names, AT_FDCWD);
	/* Of no machine: found without looking. */
	for (uint32_t i = 1; i <= 40; i++) {
		struct device_name known = { .device = 4000U << 20 | i };

		snprintf(known.name, sizeof(known.name), "disk%u", i);
		ck_assert_int_eq(vec_push(&names.known, known), 0);
	}
	ck_assert_int_eq(service_waits_add(capture, max_services, &names, &waits), 0);
	device_names_deinit(&names);
	return waits;
}

START_TEST(waits_are_added_up_by_service_reason_and_device)
{
	struct capture *capture = made_capture();
	uint32_t a = stack_of(capture, "a"), b = stack_of(capture, "b"), a2 = stack_of(capture, "a"), unknown = stack_of(capture, NULL);
	struct service_waits waits;

	add_wait(capture, a, SAMPLE_LOCK, 77, 5);       /* the number of a thread */
	add_wait(capture, a2, SAMPLE_LOCK, 0, 7);
	add_wait(capture, b, SAMPLE_DISK, 4000U << 20 | 1, 100);
	add_wait(capture, a, SAMPLE_DISK, 4000U << 20 | 1, 200);
	add_wait(capture, a, SAMPLE_DISK, 4000U << 20 | 2, 300);
	add_wait(capture, a2, SAMPLE_FAULT, 0, 400);
	add_wait(capture, a, SAMPLE_RAN, 0, 1000);      /* is no wait */
	add_wait(capture, unknown, SAMPLE_SLEEP, 0, 9);
	waits = run(capture, 64);
	ck_assert_uint_eq(waits.services.n, 3);
	ck_assert_str_eq(waits.services.at[0].service, "a");
	ck_assert_uint_eq(waits.services.at[0].nsec[SAMPLE_LOCK], 12);
	ck_assert_uint_eq(waits.services.at[0].nsec[SAMPLE_DISK], 500);
	ck_assert_uint_eq(waits.services.at[0].nsec[SAMPLE_FAULT], 400);
	ck_assert_uint_eq(waits.services.at[0].nsec[SAMPLE_RAN], 0);
	ck_assert_uint_eq(waits.services.at[0].observed_nsec, capture->stacks->duration_nsec);
	ck_assert_uint_eq(waits.services.at[0].devices.n, 3);
	ck_assert_str_eq(waits.services.at[0].devices.at[0].name, "disk1");
	ck_assert_uint_eq(waits.services.at[0].devices.at[0].nsec, 200);
	ck_assert_uint_eq(waits.services.at[0].devices.at[1].nsec, 300);
	ck_assert_str_eq(waits.services.at[0].devices.at[2].name, "unknown");
	ck_assert_str_eq(waits.services.at[1].service, "b");
	ck_assert_uint_eq(waits.services.at[1].nsec[SAMPLE_DISK], 100);
	/* As its profile would be called. */
	ck_assert_str_eq(waits.services.at[2].service, "worker");
	service_waits_deinit(&waits);
	capture_free(capture);
}
END_TEST

START_TEST(what_is_too_much_is_together_and_nothing_is_lost)
{
	struct capture *capture = made_capture();
	struct service_waits waits;
	uint64_t sum = 0, of_devices = 0;

	for (uint32_t i = 1; i <= 1000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%u", i);
		add_wait(capture, stack_of(capture, name), SAMPLE_SLEEP, 0, 1);
	}
	for (uint32_t i = 1; i <= 40; i++)
		add_wait(capture, 0, SAMPLE_DISK, 4000U << 20 | i, 10);
	waits = run(capture, 100000);
	ck_assert_uint_eq(waits.services.n, SERVICE_WAITS_MAX);
	ck_assert_str_eq(waits.services.at[SERVICE_WAITS_MAX - 1].service, "other");
	for (size_t i = 0; i < waits.services.n; i++)
		sum += waits.services.at[i].nsec[SAMPLE_SLEEP];
	ck_assert_uint_eq(sum, 1000);
	ck_assert_uint_eq(waits.services.at[0].devices.n, SERVICE_WAITS_MAX_DEVICES);
	for (size_t i = 0; i < waits.services.at[0].devices.n; i++)
		of_devices += waits.services.at[0].devices.at[i].nsec;
	ck_assert_uint_eq(of_devices, 400);
	ck_assert_str_eq(waits.services.at[0].devices.at[SERVICE_WAITS_MAX_DEVICES - 1].name, "other");
	service_waits_deinit(&waits);
	waits = run(capture, 2);
	ck_assert_uint_eq(waits.services.n, 3);
	ck_assert_uint_eq(waits.services.at[2].nsec[SAMPLE_SLEEP], 998);
	service_waits_deinit(&waits);
	capture_free(capture);
}
END_TEST

UNIT_TESTS("service_waits", waits_are_added_up_by_service_reason_and_device, what_is_too_much_is_together_and_nothing_is_lost)
