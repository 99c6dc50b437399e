/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the waits of a window were about, as labels of profiles: `file` of waits for a disk or a page, `peer` of those for
 * the network, `lock` of those for one. A lock in a program's own data is called by its variable, `symbol` or
 * `symbol+0x10`; any other by its address.
 *
 * A variable is found without the mapping that it is in: where a file's code is mapped tells where its other segments are,
 * .bss included, whatever became of the pages behind it; that the address lies in one, the symbolizer tells.
 *
 * A program that waits for a million files must not make a million values: of each label a service has at most
 * WAIT_LABELS_MAX in a window, those with the longest waits, and one more, "other".
 */
#include <stddef.h>
#include <stdint.h>

struct capture;
struct names_cache;
struct wait_labels;

enum { WAIT_LABELS_MAX = 64 };

struct wait_label {
	const char *key;                     /* static; NULL: there is none */
	const char *value;                   /* its bytes are a stranger's; lives as long as the labels */
};

/*
 * `services`: of each sample of the window, a number of the service that it belongs to. To be called between
 * names_cache_source() of others and names_cache_end_window(). 0 or -ENOMEM.
 */
int wait_labels_new(const struct capture *capture, struct names_cache *cache, const uint32_t *services, struct wait_labels **ret);
struct wait_labels *wait_labels_free(struct wait_labels *labels);

/* Of a sample of the window, by its index. */
struct wait_label wait_labels_get(const struct wait_labels *labels, size_t sample);
