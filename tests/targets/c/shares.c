/* SPDX-License-Identifier: Apache-2.0 */
/* The plain truth program: main() spends its time on alpha, beta and gamma, 50:30:20. `shares [SECONDS]` */
#include "truth.h"
#include "work.h"

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	struct share shares[] = {
		{"alpha", 50, alpha, 0},
		{"beta", 30, beta, 0},
		{"gamma", 20, gamma, 0},
	};

	truth_spend(shares, 3, seconds);
	truth_print(shares, 3);
	return 0;
}
