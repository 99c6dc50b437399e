// SPDX-License-Identifier: Apache-2.0
// The linked layer of layers.cpp: frames of a size that is known only when they are made.
#include "layers.hpp"
#include "work.hpp"

#include <alloca.h>

void layers_library_beta(std::uint64_t n_rounds)
{
	work::Mixer<std::uint64_t, 13, 7>::beta(n_rounds);
	__asm__ volatile("");
}

unsigned layers_library_descend(const Plan &plan, unsigned depth)
{
	void *block = alloca(16 + depth * 13 % 160);

	__asm__ volatile("" : : "r"(block) : "memory");
	unsigned below = go_on(plan, depth);
	__asm__ volatile("" : : "r"(block) : "memory");
	return below + 1;
}
