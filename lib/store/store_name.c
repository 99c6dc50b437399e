/* SPDX-License-Identifier: Apache-2.0 */
#include "store_name.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "clock.h"

#define SECONDS_PER_DAY 86400

static const char suffix[] = ".pprof";
static const uint32_t max_number = 999999;

static bool is_word_byte(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool store_trigger_is_valid(const char *trigger)
{
	size_t n = strlen(trigger);

	if (n < 1 || n > STORE_TRIGGER_LENGTH)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_word_byte(trigger[i]))
			return false;
	return true;
}

int store_name_format(const struct store_name *name, char ret[static STORE_FILE_SIZE])
{
	char number[16] = "";
	uint32_t second = name->second;

	if ((unsigned int)name->kind >= PROFILE_N_KINDS || second >= SECONDS_PER_DAY || name->number < 1 ||
			name->number > max_number || (name->trigger[0] && !store_trigger_is_valid(name->trigger)))
		return -EINVAL;
	if (name->number > 1)
		snprintf(number, sizeof(number), ".%u", name->number);
	snprintf(ret, STORE_FILE_SIZE, "%s-%02u%02u%02uZ%s%s%s%s", profile_kind_info(name->kind)->name, second / 3600,
			second / 60 % 60, second % 60, name->trigger[0] ? "-" : "", name->trigger, number, suffix);
	return 0;
}

/* Whether it begins with HHMMSSZ; the second of the day. */
static bool parse_time(const char *at, uint32_t *ret)
{
	uint32_t part[3];

	for (int i = 0; i < 3; i++) {
		if (!is_digit(at[0]) || !is_digit(at[1]))
			return false;
		part[i] = (at[0] - '0') * 10 + (at[1] - '0');
		at += 2;
	}
	if (*at != 'Z' || part[0] > 23 || part[1] > 59 || part[2] > 59)
		return false;
	*ret = part[0] * 3600 + part[1] * 60 + part[2];
	return true;
}

static bool parse_trigger(const char **at, char ret[static STORE_TRIGGER_LENGTH + 1])
{
	size_t n = 0;

	ret[0] = '\0';
	if (**at != '-')
		return true;
	for ((*at)++; is_word_byte(**at); (*at)++) {
		if (n >= STORE_TRIGGER_LENGTH)
			return false;
		ret[n++] = **at;
	}
	ret[n] = '\0';
	return n > 0;
}

static bool parse_number(const char **at, uint32_t *ret)
{
	uint32_t number = 0;

	*ret = 1;
	if (**at != '.' || !is_digit((*at)[1]))
		return true;
	if ((*at)[1] == '0')
		return false;
	for ((*at)++; is_digit(**at); (*at)++) {
		number = number * 10 + (**at - '0');
		if (number > max_number)
			return false;
	}
	*ret = number;
	return number > 1;
}

bool store_name_parse(const char *file, struct store_name *ret)
{
	const char *dash = strchr(file, '-');
	struct store_name name;
	char kind[16];

	if (!dash || (size_t)(dash - file) >= sizeof(kind))
		return false;
	memcpy(kind, file, dash - file);
	kind[dash - file] = '\0';
	if (profile_kind_by_name(kind, &name.kind) < 0 || !parse_time(dash + 1, &name.second))
		return false;
	file = dash + 8;
	if (!parse_trigger(&file, name.trigger) || !parse_number(&file, &name.number) || strcmp(file, suffix) != 0)
		return false;
	*ret = name;
	return true;
}

int store_day_format(uint64_t wall_nsec, char ret[static STORE_DAY_LENGTH + 1])
{
	time_t seconds = (time_t)(wall_nsec / NSEC_PER_SEC);
	struct tm tm;
	char text[32];

	if (!gmtime_r(&seconds, &tm) || tm.tm_year + 1900 > 9999)
		return -ERANGE;
	snprintf(text, sizeof(text), "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
	memcpy(ret, text, STORE_DAY_LENGTH);
	ret[STORE_DAY_LENGTH] = '\0';
	return 0;
}

bool store_day_parse(const char *day, uint64_t *ret_wall_nsec)
{
	static const char shape[] = "dddd-dd-dd";
	char again[STORE_DAY_LENGTH + 1];
	struct tm tm = { 0 };
	time_t seconds;
	uint64_t wall_nsec;

	for (size_t i = 0; i < sizeof(shape); i++)
		if (shape[i] == 'd' ? !is_digit(day[i]) : day[i] != shape[i])
			return false;
	tm.tm_year = atoi(day) - 1900;
	tm.tm_mon = atoi(day + 5) - 1;
	tm.tm_mday = atoi(day + 8);
	seconds = timegm(&tm);
	/* 2554 is as far as 64 bits of nanoseconds go. */
	if (seconds < 0 || (uint64_t)seconds > UINT64_MAX / NSEC_PER_SEC - SECONDS_PER_DAY)
		return false;
	wall_nsec = (uint64_t)seconds * NSEC_PER_SEC;
	/* The 31st of February becomes some other day. */
	if (store_day_format(wall_nsec, again) < 0 || strcmp(again, day) != 0)
		return false;
	*ret_wall_nsec = wall_nsec;
	return true;
}

static bool is_service_byte(unsigned char c)
{
	return is_word_byte(c) || c == '.' || c == '@' || c == '-';
}

/* One byte of a name, as it is or as %XX; how many bytes that took. */
static size_t escape(unsigned char c, bool first, char *at)
{
	static const char digits[] = "0123456789ABCDEF";

	if (is_service_byte(c) && !(first && c == '.')) {
		*at = (char)c;
		return 1;
	}
	at[0] = '%';
	at[1] = digits[c >> 4];
	at[2] = digits[c & 15];
	return 3;
}

void store_service_format(const char *service, char ret[static STORE_SERVICE_LENGTH + 1])
{
	const size_t hash_length = 1 + 16;
	char piece[3];
	size_t n = 0, cut = 0, length;

	if (!service[0])
		service = "unnamed";
	for (const char *at = service; *at; at++) {
		length = escape((unsigned char)*at, at == service, piece);
		if (n + length > STORE_SERVICE_LENGTH) {
			/* Not the hash of this run: the name must be the same after a restart. */
			snprintf(ret + cut, hash_length + 1, "-%016llx",
					(unsigned long long)XXH3_64bits(service, strlen(service)));
			return;
		}
		memcpy(ret + n, piece, length);
		n += length;
		if (n <= STORE_SERVICE_LENGTH - hash_length)
			cut = n;
	}
	ret[n] = '\0';
}

bool store_service_is_valid(const char *directory)
{
	size_t n = strlen(directory);

	if (n < 1 || n > STORE_SERVICE_LENGTH || directory[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (directory[i] == '%') {
			if (!isxdigit((unsigned char)directory[i + 1]) || !isxdigit((unsigned char)directory[i + 2]) ||
					islower((unsigned char)directory[i + 1]) || islower((unsigned char)directory[i + 2]))
				return false;
			i += 2;
		} else if (!is_service_byte((unsigned char)directory[i]))
			return false;
	}
	return true;
}
