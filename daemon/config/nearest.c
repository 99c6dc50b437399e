/* SPDX-License-Identifier: Apache-2.0 */
#include "nearest.h"

#include <ctype.h>
#include <string.h>

#include "cleanup.h"

/* Longer words are nobody's typing error, and this bounds the work for hostile ones. */
enum { MAX_LENGTH = 40 };

/* Damerau-Levenshtein (optimal string alignment): https://en.wikipedia.org/wiki/Damerau-Levenshtein_distance */
static size_t distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
	size_t rows[3][MAX_LENGTH + 1];
	size_t *before = rows[0], *above = rows[1], *row = rows[2], *spare;

	for (size_t j = 0; j <= n_b; j++)
		above[j] = j;
	for (size_t i = 1; i <= n_a; i++) {
		row[0] = i;
		for (size_t j = 1; j <= n_b; j++) {
			int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);

			row[j] = MIN(MIN(above[j] + 1, row[j - 1] + 1), above[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
					y == tolower((unsigned char)a[i - 2]))
				row[j] = MIN(row[j], before[j - 2] + 1);
		}
		spare = before;
		before = above;
		above = row;
		row = spare;
	}
	return above[n_b];
}

void nearest_offer(struct nearest *nearest, const char *misspelt, const char *candidate)
{
	size_t n_misspelt = strlen(misspelt), n_candidate = strlen(candidate), d;

	if (n_misspelt == 0 || n_misspelt > MAX_LENGTH || n_candidate > MAX_LENGTH)
		return;
	d = distance(misspelt, n_misspelt, candidate, n_candidate);
	if (d > MAX((size_t)1, MAX(n_misspelt, n_candidate) / 3))
		return;
	if (!nearest->word || d < nearest->distance)
		*nearest = (struct nearest){ .word = candidate, .distance = d };
}
