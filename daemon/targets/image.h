/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What is known of one program in one process, as a value: who it is and which code is where. Made by targets_image()
 * for a window that needs it and independent of targets from then on.
 */
#include <stdbool.h>

#include "binary.h"
#include "labels.h"
#include "location.h"
#include "vec.h"

enum image_mapping_kind {
	IMAGE_MAPPING_FILE,
	IMAGE_MAPPING_VDSO,
	IMAGE_MAPPING_ANONYMOUS,             /* executable memory without a file: a JIT's */
};

struct image_mapping {
	uint64_t start, end;                 /* [start, end) */
	uint64_t file_offset;                /* of start */
	struct binary *binary;               /* a reference; NULL unless IMAGE_MAPPING_FILE */
	enum image_mapping_kind kind;
};

struct image {
	struct process_id id;
	VEC(struct image_mapping) mappings;  /* executable ones, sorted by start, not overlapping */
	char *service;                       /* never NULL; bytes as store_name wants them */
	char *comm;                          /* name of the process */
	char *exe;                           /* path of the program, NULL when unknown */
	char *unit;                          /* systemd unit, NULL when none */
	char *container;                     /* container id, NULL when none */
	struct labels labels;                /* of env_label */
	bool in_depth;                       /* matched by `targets:` of the configuration */
	bool is_followed;                    /* targets_follow() named it, or the process it came from */
	int perf_map_fd;                     /* of /tmp/perf-PID.map or a jitdump; -1 when there is none or no mapping needs it */
};

struct image *image_free(struct image *image);
/* The mapping that holds an address, or NULL. */
const struct image_mapping *image_find(const struct image *image, uint64_t address);
