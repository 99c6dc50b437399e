/* SPDX-License-Identifier: Apache-2.0 */
#include "config_value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first: so they must be written, and so they are printed. */
static const struct unit duration_units[] = {
	{ "d", UINT64_C(86400000000) },
	{ "h", UINT64_C(3600000000) },
	{ "m", UINT64_C(60000000) },
	{ "s", UINT64_C(1000000) },
	{ "ms", UINT64_C(1000) },
	{ "us", UINT64_C(1) },
};

/* For printing, the first one that divides. */
static const struct unit size_units[] = {
	{ "TiB", UINT64_C(1) << 40 },
	{ "TB", UINT64_C(1000000000000) },
	{ "GiB", UINT64_C(1) << 30 },
	{ "GB", UINT64_C(1000000000) },
	{ "MiB", UINT64_C(1) << 20 },
	{ "MB", UINT64_C(1000000) },
	{ "KiB", UINT64_C(1) << 10 },
	{ "kB", UINT64_C(1000) },
	{ "KB", UINT64_C(1000) },
	{ "B", UINT64_C(1) },
};

int config_value_bool(const char *text, bool *ret)
{
	static const char *const names[2][4] = { { "n", "no", "false", "off" }, { "y", "yes", "true", "on" } };

	for (int value = 0; value < 2; value++)
		for (size_t i = 0; i < ARRAY_SIZE(names[0]); i++) {
			if (strcasecmp(text, names[value][i]) != 0)
				continue;
			*ret = value;
			return 0;
		}
	return -EINVAL;
}

/* The digits at *at, which moves behind them. */
static int read_digits(const char **at, uint64_t *ret)
{
	const char *p = *at;
	uint64_t value = 0;
	int r = 0;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
				__builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			r = -ERANGE;
	*at = p;
	if (r == 0)
		*ret = value;
	return r;
}

int config_value_integer(const char *text, uint64_t *ret)
{
	uint64_t value = 0;
	int r = read_digits(&text, &value);

	if (r == -EINVAL || *text)
		return -EINVAL;
	if (r == 0)
		*ret = value;
	return r;
}

int config_value_duration(const char *text, uint64_t *ret_usec)
{
	uint64_t sum = 0;
	size_t next_unit = 0;
	bool out_of_range = false;

	if (strcmp(text, "0") == 0) {
		*ret_usec = 0;
		return 0;
	}
	do {
		uint64_t number = 0;
		size_t length, i;

		if (read_digits(&text, &number) == -EINVAL)
			return -EINVAL;
		/* A number that does not fit was left 0: remember that, and tell a wrong form first. */
		out_of_range |= number == 0 && text[-1] != '0';
		length = strspn(text, "dhmsu");
		for (i = next_unit; i < ARRAY_SIZE(duration_units); i++)
			if (strlen(duration_units[i].name) == length && memcmp(duration_units[i].name, text, length) == 0)
				break;
		if (i == ARRAY_SIZE(duration_units))
			return -EINVAL;
		out_of_range |= __builtin_mul_overflow(number, duration_units[i].factor, &number) ||
				__builtin_add_overflow(sum, number, &sum);
		next_unit = i + 1;
		text += length;
	} while (*text);
	if (out_of_range)
		return -ERANGE;
	*ret_usec = sum;
	return 0;
}

int config_value_size(const char *text, uint64_t *ret_bytes)
{
	uint64_t number = 0;
	int r = read_digits(&text, &number);

	if (r == -EINVAL)
		return r;
	if (!*text)
		text = "B";
	for (size_t i = 0; i < ARRAY_SIZE(size_units); i++) {
		if (strcmp(text, size_units[i].name) != 0)
			continue;
		if (r < 0 || __builtin_mul_overflow(number, size_units[i].factor, &number))
			return -ERANGE;
		*ret_bytes = number;
		return 0;
	}
	return -EINVAL;
}

int config_value_share(const char *text, uint64_t *ret_ppm)
{
	uint64_t whole = 0, decimals = 0, ppm;
	int r = read_digits(&text, &whole);

	if (r == -EINVAL)
		return r;
	if (*text == '.') {
		const char *start = ++text;
		int n = 0;

		if (read_digits(&text, &decimals) < 0 || text - start > 4)
			return -EINVAL;
		for (n = text - start; n < 4; n++)
			decimals *= 10;
	}
	if (strcmp(text, "%") != 0)
		return -EINVAL;
	if (r < 0 || __builtin_mul_overflow(whole, (uint64_t)10000, &ppm) ||
			__builtin_add_overflow(ppm, decimals, &ppm))
		return -ERANGE;
	*ret_ppm = ppm;
	return 0;
}

void config_value_print_duration(char buffer[static CONFIG_VALUE_BYTES], uint64_t usec)
{
	size_t used = 0;

	if (usec == 0) {
		snprintf(buffer, CONFIG_VALUE_BYTES, "0s");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(duration_units); i++) {
		uint64_t number = usec / duration_units[i].factor;

		if (number == 0)
			continue;
		usec %= duration_units[i].factor;
		used += snprintf(buffer + used, CONFIG_VALUE_BYTES - used, "%" PRIu64 "%s", number,
				duration_units[i].name);
	}
}

void config_value_print_size(char buffer[static CONFIG_VALUE_BYTES], uint64_t bytes)
{
	size_t i = 0;

	if (bytes == 0) {
		snprintf(buffer, CONFIG_VALUE_BYTES, "0");
		return;
	}
	while (bytes % size_units[i].factor != 0)
		i++;
	snprintf(buffer, CONFIG_VALUE_BYTES, "%" PRIu64 "%s", bytes / size_units[i].factor, size_units[i].name);
}

void config_value_print_share(char buffer[static CONFIG_VALUE_BYTES], uint64_t ppm)
{
	int n = snprintf(buffer, CONFIG_VALUE_BYTES, "%" PRIu64 ".%04" PRIu64, ppm / 10000, ppm % 10000);

	while (buffer[n - 1] == '0')
		n--;
	if (buffer[n - 1] == '.')
		n--;
	memcpy(buffer + n, "%", 2);
}

/* The bytes of the control character at p: 0 when there is none. */
static size_t control_length(const unsigned char *p)
{
	if (p[0] < 0x20 || p[0] == 0x7f)
		return 1;
	if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
		return 2;
	if (p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9))
		return 3;
	return 0;
}

bool config_value_has_control(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		if (control_length(p))
			return true;
	return false;
}

void config_value_quote(char buffer[static CONFIG_VALUE_BYTES], const char *text)
{
	static const char ellipsis[] = "...";
	const unsigned char *p = (const unsigned char *)text;
	size_t used = 0;

	while (*p) {
		size_t n_control = control_length(p), length = n_control ? n_control : 1;

		/* A character of UTF-8 is not torn. */
		while (!n_control && *p >= 0xc0 && (p[length] & 0xc0) == 0x80 && length < 4)
			length++;
		if (used + (n_control ? 4 * length : length) + sizeof(ellipsis) > CONFIG_VALUE_BYTES) {
			memcpy(buffer + used, ellipsis, sizeof(ellipsis));
			return;
		}
		for (size_t i = 0; i < length; i++) {
			if (n_control)
				used += snprintf(buffer + used, 5, "\\x%02x", p[i]);
			else
				buffer[used++] = p[i];
		}
		p += length;
	}
	buffer[used] = 0;
}
