// SPDX-License-Identifier: Apache-2.0
#pragma once
// A recursion through an executable and two libraries, in turns: each has a frame of another shape.
#include "truth.h"

#include <cstdint>

struct Plan {
	using Descend = unsigned (*)(const Plan &plan, unsigned depth);

	Descend layers[3];
	share *shares;
	double seconds;
};

// Goes on in the next layer, or works at the bottom. Returns the number of frames below.
[[gnu::always_inline]] static inline unsigned go_on(const Plan &plan, unsigned depth)
{
	if (depth > 1)
		return plan.layers[(depth - 1) % 3](plan, depth - 1);
	truth_spend(plan.shares, 3, plan.seconds);
	return 0;
}

extern "C" {
unsigned layers_library_descend(const Plan &plan, unsigned depth);
void layers_library_beta(std::uint64_t n_rounds);
unsigned layers_plugin_descend(const Plan &plan, unsigned depth);
void layers_plugin_gamma(std::uint64_t n_rounds);
}
