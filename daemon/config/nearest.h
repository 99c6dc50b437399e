/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* "Did you mean …?": which of the known words a misspelt one was meant to be. */
#include <stddef.h>

struct nearest {
	const char *word;            /* NULL: nothing is near */
	size_t distance;
};

/*
 * Offers one candidate; it is kept when it is nearer than the one before and near enough: a third of the letters
 * inserted, left out, changed or swapped with their neighbour. Begin with a zeroed struct.
 */
void nearest_offer(struct nearest *nearest, const char *misspelt, const char *candidate);
