// SPDX-License-Identifier: Apache-2.0
// Nearly all of the time is spent on throwing exceptions, in libstdc++ and libgcc_s: below throw_deep, which throws through
// DEPTH frames with destructors, and throw_again, which throws what it caught once more; 60:40. `throws [SECONDS [DEPTH]]`
#include "truth.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace {

unsigned n_frames = 12, n_destroyed;

struct Guard {
	~Guard() { n_destroyed++; }
};

[[gnu::noinline]] void descend(unsigned depth)
{
	Guard guard;

	if (depth <= 1)
		throw std::runtime_error("thrown");
	descend(depth - 1);
	__asm__ volatile("");
}

[[gnu::noinline]] void descend_rethrowing(unsigned depth)
{
	try {
		if (depth <= 1)
			throw std::string("thrown");
		descend_rethrowing(depth - 1);
	} catch (const std::string &) {
		n_destroyed++;
		throw;
	}
}

[[gnu::noinline]] void throw_deep(std::uint64_t n_rounds)
{
	for (std::uint64_t i = 0; i < n_rounds; i += 10000)
		try {
			descend(n_frames);
		} catch (const std::exception &) {
			n_destroyed++;
		}
}

[[gnu::noinline]] void throw_again(std::uint64_t n_rounds)
{
	for (std::uint64_t i = 0; i < n_rounds; i += 10000)
		try {
			descend_rethrowing(n_frames / 4 + 1);
		} catch (const std::string &) {
			n_destroyed++;
		}
}

} // namespace

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	share shares[] = {
		{"throw_deep", 60, throw_deep, 0},
		{"throw_again", 40, throw_again, 0},
	};

	n_frames = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : n_frames;
	truth_spend(shares, 2, seconds);
	truth_print(shares, 2);
}
