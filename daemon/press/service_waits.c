/* SPDX-License-Identifier: Apache-2.0 */
#include "service_waits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "cleanup.h"
#include "image.h"
#include "stacks.h"

static const char other[] = "other";

void service_waits_deinit(struct service_waits *waits)
{
	for (size_t i = 0; i < waits->services.n; i++) {
		free(waits->services.at[i].service);
		vec_deinit(&waits->services.at[i].devices);
	}
	vec_deinit(&waits->services);
}

static struct service_device *find_device(struct service_wait *wait, const char *name)
{
	for (size_t i = 0; i < wait->devices.n; i++)
		if (!strcmp(wait->devices.at[i].name, name))
			return &wait->devices.at[i];
	return NULL;
}

int service_wait_add_device(struct service_wait *wait, const char *name, uint64_t nsec)
{
	struct service_device *device = find_device(wait, name);
	struct service_device added = { .nsec = nsec };

	/* One place is for the others. */
	if (!device && wait->devices.n + 1 >= SERVICE_WAITS_MAX_DEVICES) {
		name = other;
		device = find_device(wait, name);
	}
	if (device) {
		device->nsec += nsec;
		return 0;
	}
	snprintf(added.name, sizeof(added.name), "%s", name);
	return vec_push(&wait->devices, added);
}

static int find_service(struct service_waits *waits, const char *name, size_t max_services, struct service_wait **ret)
{
	struct service_wait added = { 0 };
	int r;

	for (;;) {
		for (size_t i = 0; i < waits->services.n; i++)
			if (!strcmp(waits->services.at[i].service, name)) {
				*ret = &waits->services.at[i];
				return 0;
			}
		if (waits->services.n < max_services || name == other)
			break;
		name = other;
	}
	added.service = strdup(name);
	r = added.service ? vec_push(&waits->services, added) : -ENOMEM;
	if (r < 0)
		free(added.service);
	else
		*ret = &waits->services.at[waits->services.n - 1];
	return r;
}

/* The same name as its profile has. */
static const char *service_of(const struct capture *capture, const struct stacks_sample *sample)
{
	const struct image *image = capture->images.at[capture->stacks->stacks.at[sample->stack].process];

	if (image)
		return image->service;
	return sample->thread[0] ? sample->thread : "unknown";
}

static int add_sample(const struct capture *capture, const struct stacks_sample *sample, size_t max_services, struct device_names *names,
		struct service_waits *waits)
{
	struct service_wait *wait;
	int r;

	if (sample->wait.reason == SAMPLE_RAN || sample->wait.reason >= SAMPLE_N_REASONS)
		return 0;
	r = find_service(waits, service_of(capture, sample), max_services, &wait);
	if (r < 0)
		return r;
	wait->observed_nsec = capture->stacks->duration_nsec;
	wait->nsec[sample->wait.reason] += sample->nsec;
	if (sample->wait.reason != SAMPLE_DISK && sample->wait.reason != SAMPLE_FAULT)
		return 0;
	return service_wait_add_device(wait, device_names_get(names, sample->wait.device), sample->nsec);
}

int service_waits_add(const struct capture *capture, size_t max_services, struct device_names *names, struct service_waits *ret)
{
	size_t most = MIN(max_services, (size_t)SERVICE_WAITS_MAX - 1);
	int r = 0;

	for (size_t i = 0; r >= 0 && i < capture->stacks->samples.n; i++)
		r = add_sample(capture, &capture->stacks->samples.at[i], most, names, ret);
	return r;
}
