/* SPDX-License-Identifier: Apache-2.0 */
/* The far side of plt.c: functions so short that the way to them costs most. */
#include <stdint.h>

uint64_t plt_add(uint64_t x);
uint64_t plt_xor(uint64_t x);

uint64_t plt_add(uint64_t x)
{
	return x + 1;
}

uint64_t plt_xor(uint64_t x)
{
	return x ^ 1;
}
