/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the threads of each service waited for in one window, added up for the metrics. The same waits, and the same time, as in the
 * window's profile of block.
 */
#include <stdint.h>

#include "device_names.h"
#include "sample.h"
#include "vec.h"

struct capture;

enum {
	SERVICE_WAITS_MAX = 256,             /* services, "other" included */
	SERVICE_WAITS_MAX_DEVICES = 16,      /* of a service, "other" included: what further ones took */
};

/* Time of waits for disks and of page faults: those of which the device is not known are "unknown". */
struct service_device {
	char name[DEVICE_NAME_LENGTH];
	uint64_t nsec;
};

struct service_wait {
	char *service;
	uint64_t observed_nsec;              /* length of the window */
	uint64_t nsec[SAMPLE_N_REASONS];
	VEC(struct service_device) devices;
};

struct service_waits {
	VEC(struct service_wait) services;   /* at most SERVICE_WAITS_MAX; first come, first served */
};

/*
 * At most max_services services; the rest is together in "other". Zero-initialise `ret` before. 0 or -ENOMEM; what is
 * in `ret` is to be freed in any case.
 */
int service_waits_add(const struct capture *capture, size_t max_services, struct device_names *names, struct service_waits *ret);
void service_waits_deinit(struct service_waits *waits);

/* Adds to the device of that name, or to "other". 0 or -ENOMEM. Of a service's devices, as they are here and in the metrics. */
int service_wait_add_device(struct service_wait *wait, const char *name, uint64_t nsec);
