/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A growable array of any type:
 *
 *	VEC(struct mapping) mappings = {0};
 *	if (vec_push(&mappings, m) < 0) ...
 *	for (size_t i = 0; i < mappings.n; i++) use(&mappings.at[i]);
 *	vec_deinit(&mappings);
 *
 * A zeroed vec is empty and valid. Elements move when it grows.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define VEC(type)                                                                                  \
	struct {                                                                                   \
		type *at;                                                                          \
		size_t n;                                                                          \
		size_t n_allocated;                                                                \
	}

/* Room for `wanted` elements in all; 0 or -ENOMEM, the array is untouched then. */
static inline int vec_reserve_bytes(void **at, size_t *n_allocated, size_t size, size_t wanted)
{
	size_t n = *n_allocated ? *n_allocated : 8;
	void *grown;

	if (wanted <= *n_allocated)
		return 0;
	while (n < wanted)
		if (__builtin_mul_overflow(n, (size_t)2, &n))
			return -ENOMEM;
	grown = reallocarray(*at, n, size);
	if (!grown)
		return -ENOMEM;
	*at = grown;
	*n_allocated = n;
	return 0;
}

#define vec_reserve(v, wanted)                                                                     \
	({                                                                                         \
		void *at_ = (v)->at;                                                               \
		int r_ = vec_reserve_bytes(&at_, &(v)->n_allocated, sizeof(*(v)->at), (wanted));   \
		(v)->at = at_;                                                                     \
		r_;                                                                                \
	})

/* Appends a copy of value; 0 or -ENOMEM. */
#define vec_push(v, value)                                                                         \
	({                                                                                         \
		int pushed_ = vec_reserve(v, (v)->n + 1);                                          \
		if (pushed_ >= 0)                                                                  \
			(v)->at[(v)->n++] = (value);                                               \
		pushed_;                                                                           \
	})

/* Appends `count` elements copied from `from`; 0 or -ENOMEM. */
#define vec_append(v, from, count)                                                                 \
	({                                                                                         \
		size_t count_ = (count);                                                           \
		int appended_ = vec_reserve(v, (v)->n + count_);                                   \
		if (appended_ >= 0 && count_) {                                                    \
			memcpy((v)->at + (v)->n, (from), count_ * sizeof(*(v)->at));               \
			(v)->n += count_;                                                          \
		}                                                                                  \
		appended_;                                                                         \
	})

/* As qsort(3), which must not be given what an empty one has. */
#define vec_sort(v, compare)                                                                       \
	do {                                                                                       \
		if ((v)->n)                                                                        \
			qsort((v)->at, (v)->n, sizeof(*(v)->at), compare);                         \
	} while (0)

/* Frees the array, not what its elements own. The vec is empty afterwards. */
#define vec_deinit(v)                                                                              \
	do {                                                                                       \
		free((v)->at);                                                                     \
		(v)->at = NULL;                                                                    \
		(v)->n = (v)->n_allocated = 0;                                                     \
	} while (0)
