/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Each string once: strings in, small consecutive numbers out, as the string table of profile.proto wants them.
 * Number 0 is always "".
 */
#include <stddef.h>
#include <stdint.h>

struct strtab;

/* NULL when out of memory. */
struct strtab *strtab_new(void);
struct strtab *strtab_free(struct strtab *strtab);

/* The number of the string of `length` bytes (which may hold any byte), added when it is new; -ENOMEM or -E2BIG on failure. */
int strtab_add(struct strtab *strtab, const char *string, size_t length, uint32_t *ret_id);
/* The same for a terminated string; NULL counts as "". */
int strtab_add_string(struct strtab *strtab, const char *string, uint32_t *ret_id);

/* The terminated string; valid until the next addition. "" for a number that was never given out. */
const char *strtab_get(const struct strtab *strtab, uint32_t id, size_t *ret_length);
size_t strtab_count(const struct strtab *strtab);
/* Memory held. */
size_t strtab_bytes(const struct strtab *strtab);
