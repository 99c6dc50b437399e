/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The three pieces of work that most truth programs spend their time on, in shares of 50:30:20. */
#include <stdint.h>

void alpha(uint64_t n_rounds);
void beta(uint64_t n_rounds);
void gamma(uint64_t n_rounds); /* built with -fno-builtin: the C library has another */
