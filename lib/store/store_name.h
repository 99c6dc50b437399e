/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The one grammar of profile file names, below the output directory:
 *
 *	<YYYY-MM-DD>/<service>/<kind>-<HHMMSS>Z[-<trigger>][.<n>].pprof
 *
 * Date and time are UTC, of the start of what the profile covers. trigger is [A-Za-z0-9_]{1,64}; n counts from 2 and
 * tells apart files of otherwise equal names. What is built here parses, and what parses is built the same.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "profile_kind.h"

#define STORE_DAY_LENGTH     10 /* 2026-11-23 */
#define STORE_SERVICE_LENGTH 100
#define STORE_TRIGGER_LENGTH 64
/* kind, time, trigger, number, suffix, terminator: 9 + 8 + 65 + 11 + 6 + 1 */
#define STORE_FILE_SIZE      112

/* The file's own name, without its directories. */
struct store_name {
	enum profile_kind kind;
	uint32_t second;                     /* of the day */
	uint32_t number;                     /* 1 for the first, which has none in its name */
	char trigger[STORE_TRIGGER_LENGTH + 1]; /* "" for the schedule */
};

/* 0; -EINVAL for a trigger, second or number outside of the grammar. */
int store_name_format(const struct store_name *name, char ret[static STORE_FILE_SIZE]);
/* Whether it is a name of ours. */
bool store_name_parse(const char *file, struct store_name *ret);

/* 0; -ERANGE outside of the years 1970 to 9999. */
int store_day_format(uint64_t wall_nsec, char ret[static STORE_DAY_LENGTH + 1]);
/* Whether it is a date, and when that day begins. */
bool store_day_parse(const char *day, uint64_t *ret_wall_nsec);

bool store_trigger_is_valid(const char *trigger);

/*
 * The directory of a service: [A-Za-z0-9_.@-] as they are, other bytes and a leading '.' as %XX; what is then longer than
 * STORE_SERVICE_LENGTH is cut and ends in '-' and 16 hexadecimal digits of a hash of the whole. Service names come from
 * hostile processes; an empty one becomes "unnamed".
 */
void store_service_format(const char *service, char ret[static STORE_SERVICE_LENGTH + 1]);
/* Whether it is the directory of some service. */
bool store_service_is_valid(const char *directory);
