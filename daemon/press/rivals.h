/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Who had the CPUs while others waited for them: the label `by` of samples on a run queue, a service's name.
 *
 * A busy machine has more of them than a profile should have values: RIVALS_MAX are told in each, those that its samples
 * waited for longest, and the rest is "other".
 */
#include <stddef.h>
#include <stdint.h>

struct capture;
struct rivals;

enum { RIVALS_MAX = 32 };

/* `profiles`: of each sample of the window, a number of the profile that it goes to. 0 or -ENOMEM. */
int rivals_new(const struct capture *capture, const uint32_t *profiles, struct rivals **ret);
struct rivals *rivals_free(struct rivals *rivals);

/* Of a sample of the window, by its index; NULL: none is known. Lives as long as the rivals. */
const char *rivals_by(const struct rivals *rivals, size_t sample);
