// SPDX-License-Identifier: Apache-2.0
// The layer of layers.cpp that is loaded late: frames aligned to 32 bytes.
#include "layers.hpp"
#include "work.hpp"

void layers_plugin_gamma(std::uint64_t n_rounds)
{
	work::rotator().gamma(n_rounds);
	__asm__ volatile("");
}

unsigned layers_plugin_descend(const Plan &plan, unsigned depth)
{
	alignas(32) char block[64];

	__asm__ volatile("" : : "r"(block) : "memory");
	unsigned below = go_on(plan, depth);
	__asm__ volatile("" : : "r"(block) : "memory");
	return below + 1;
}
