/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The single values of a configuration as text: 30s, 1h30m, 7d; 10MB, 512KiB; 0.1%. Each reader returns 0, -EINVAL when
 * the text has not that form, or -ERANGE when the number does not fit; *ret is untouched then.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Any value as text fits, with its 0. */
enum { CONFIG_VALUE_BYTES = 64 };

/* true yes on y, false no off n: as in YAML 1.1. */
int config_value_bool(const char *text, bool *ret);
/* Decimal digits only. */
int config_value_integer(const char *text, uint64_t *ret);
/* NUMBER UNIT one or more times, largest unit first: d h m s ms us; or 0. In microseconds. */
int config_value_duration(const char *text, uint64_t *ret_usec);
/* NUMBER with nothing or one of B kB MB GB TB (powers of 1000), KiB MiB GiB TiB. In bytes. */
int config_value_size(const char *text, uint64_t *ret_bytes);
/* A percentage with at most four decimals: 0.1%. In parts per million. */
int config_value_share(const char *text, uint64_t *ret_ppm);

/* The shortest text that reads as exactly the same value. */
void config_value_print_duration(char buffer[static CONFIG_VALUE_BYTES], uint64_t usec);
void config_value_print_size(char buffer[static CONFIG_VALUE_BYTES], uint64_t bytes);
void config_value_print_share(char buffer[static CONFIG_VALUE_BYTES], uint64_t ppm);

/*
 * For messages: the text cut to a readable length, control characters as \xNN, so that a hostile file can't write to
 * the terminal.
 */
void config_value_quote(char buffer[static CONFIG_VALUE_BYTES], const char *text);

/* Whether text holds a control character (C0, DEL, C1) or a Unicode line break, in UTF-8. */
bool config_value_has_control(const char *text);
