/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The kernel's side of unwind tables: the maps that bpf/unwind.bpf.h searches, shared by all samplers, and the memory of
 * their pages. What is in them is told by daemon/tables; no file is known here.
 *
 * Pages are given out in chunks of 1 MiB, which are made when they are needed and given back when they are empty.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hotspot.h"
#include "sample.h"
#include "unwind_table.h"

struct bpf_object;
struct unwind_image;
struct unwind_maps;

struct unwind_maps_stats {
	size_t n_tables, n_files;            /* now; files: those bound */
	uint64_t page_bytes;                 /* of tables */
	uint64_t memory_bytes;               /* of all maps */
};

/* max_bytes bounds the pages. 0, -errno. */
int unwind_maps_new(uint64_t max_bytes, struct unwind_maps **ret);
struct unwind_maps *unwind_maps_free(struct unwind_maps *maps);

/* Makes an object that was opened, and not loaded yet, use these maps instead of its own. 0 or -errno. */
int unwind_maps_share(const struct unwind_maps *maps, struct bpf_object *object);

/*
 * Puts a table (checked by unwind_image_open()) into the kernel; it is used from unwind_maps_bind() on. 0 with its number;
 * UNWIND_MAPS_E_FULL when there is no page or number left: remove one and try again; -errno.
 */
int unwind_maps_add(struct unwind_maps *maps, const struct unwind_image *image, uint32_t *ret_table);
enum { UNWIND_MAPS_E_FULL = 1 };

/* From now on the file has this table, or UNWIND_FILE_WITHOUT. UNWIND_MAPS_E_FULL when there are too many files. */
int unwind_maps_bind(struct unwind_maps *maps, const struct unwind_file *file, uint32_t table);
/* The file is unknown again: its code is asked for when it is met next. */
int unwind_maps_unbind(struct unwind_maps *maps, const struct unwind_file *file);

/*
 * Removes tables, none of which is bound any more. Waits until no program can be searching them: call it with as many as there are.
 */
int unwind_maps_remove(struct unwind_maps *maps, const uint32_t *tables, size_t n);

/* CLOCK_MONOTONIC second in which a program used the table last; 0: never. */
uint32_t unwind_maps_used(const struct unwind_maps *maps, uint32_t table);

/*
 * What the walk is to know of a process that makes code: that it is a JVM, checked by unwind_hotspot_check(), or that it is none.
 * 0, UNWIND_MAPS_E_FULL, -errno.
 */
int unwind_maps_set_hotspot(struct unwind_maps *maps, const struct sample_process *process, const struct hotspot *hotspot);
/* The process is unknown again, or gone. */
int unwind_maps_unset_hotspot(struct unwind_maps *maps, const struct sample_process *process);

/* Readable (poll) when there are wants. */
int unwind_maps_wants_fd(const struct unwind_maps *maps);
typedef void (*unwind_maps_want_fn)(const struct unwind_want *want, void *userdata);
/* Takes all wants that are there. 0 or -errno. */
int unwind_maps_read_wants(struct unwind_maps *maps, unwind_maps_want_fn fn, void *userdata);

struct unwind_maps_stats unwind_maps_stats(const struct unwind_maps *maps);
