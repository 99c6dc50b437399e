/* SPDX-License-Identifier: Apache-2.0 */
/* Burns all its time in burn_then_exit() and is gone, mostly before a profile's window ends. `burn_then_exit [SECONDS]` */
#include "truth.h"
#include "work.h"

__attribute__((noinline)) static void burn_then_exit(uint64_t n_rounds)
{
	alpha(n_rounds);
	__asm__ volatile(""); /* no tail call: the frame shall be seen */
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 1);
	struct share share = {"burn_then_exit", 100, burn_then_exit, 0};

	truth_spend(&share, 1, seconds);
	truth_print(&share, 1);
	return 0;
}
