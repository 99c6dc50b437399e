/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The labels that a program gave to a goroutine (pprof.Do, pprof.SetGoroutineLabels), out of what g.labels points at.
 *
 * runtime/pprof/label.go (labelMap): a map[string]string until Go 1.23 (runtime/map.go hmap, bmap), a slice of pairs since
 * (LabelSet; internal/runtime/pprof/label.Set in 1.27). Of Go 1.18.10, 1.21.13, 1.23.12, 1.24.11, 1.26.8 and 1.27.1. Neither changes once
 * it is a goroutine's.
 */
#include <stddef.h>
#include <stdint.h>

#include "vec.h"

struct go_process;

struct go_label {
	uint32_t key, value;                 /* where their texts begin in `text`, each with a NUL behind it */
};

struct go_labels {
	VEC(struct go_label) all;
	VEC(char) text;
	uint64_t n_cut;                      /* sets of more than GO_LABELS_MAX, and texts that are longer than ours */
};

enum {
	GO_LABELS_MAX = 32,                  /* of one goroutine */
	GO_LABELS_MAX_TEXT = 256,            /* bytes of a key or a value; cut where a character begins */
	GO_LABELS_MAX_ALL = 64 << 20,        /* bytes of text in all */
};

enum { GO_LABELS_E_UNKNOWN = 1 };            /* no labels as we know them: torn, or wild */

/* Appends those at `address`, sorted by key. 0, GO_LABELS_E_UNKNOWN (nothing is appended), -ENOMEM, -E2BIG (go_memory.h). */
int go_labels_read(struct go_process *process, uint64_t address, struct go_labels *labels, size_t *ret_first, size_t *ret_n);
void go_labels_deinit(struct go_labels *labels);
