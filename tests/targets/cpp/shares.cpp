// SPDX-License-Identifier: Apache-2.0
// The plain truth program in C++: alpha, beta and gamma of work.hpp, 50:30:20. `shares [SECONDS]`
#include "truth.h"
#include "work.hpp"

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	share shares[] = {
		{"alpha", 50, work::alpha, 0},
		{"beta", 30, work::Mixer<std::uint64_t, 13, 7>::beta, 0},
		{"gamma", 20, [](std::uint64_t n_rounds) { work::rotator().gamma(n_rounds); }, 0},
	};

	truth_spend(shares, 3, seconds);
	truth_print(shares, 3);
}
