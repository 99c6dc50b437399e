// SPDX-License-Identifier: Apache-2.0
// Deep stacks in C++: the work of shares.cpp is done below DEPTH frames: tree::descend() in turns with
// tree::descend_guarded(), which has a destructor to run. `deep [SECONDS [DEPTH]]`
#include "truth.h"
#include "work.hpp"

#include <cstdlib>

namespace {

share shares[] = {
	{"alpha", 50, work::alpha, 0},
	{"beta", 30, work::Mixer<std::uint64_t, 13, 7>::beta, 0},
	{"gamma", 20, [](std::uint64_t n_rounds) { work::rotator().gamma(n_rounds); }, 0},
};

unsigned n_left;

} // namespace

namespace tree {

struct Guard {
	~Guard() { n_left++; }
};

[[gnu::noinline]] void descend(unsigned depth, double seconds);

[[gnu::noinline]] void descend_guarded(unsigned depth, double seconds)
{
	Guard guard;

	if (depth <= 1)
		truth_spend(shares, 3, seconds);
	else
		descend(depth - 1, seconds);
}

void descend(unsigned depth, double seconds)
{
	if (depth <= 1)
		truth_spend(shares, 3, seconds);
	else
		descend_guarded(depth - 1, seconds);
	__asm__ volatile("" : : : "memory"); // no tail call: the frame shall be seen
}

} // namespace tree

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	int depth = argc > 2 ? std::atoi(argv[2]) : 60;

	if (depth < 1 || depth > 50000)
		return 64;
	tree::descend(static_cast<unsigned>(depth), seconds);
	truth_print(shares, 3);
}
