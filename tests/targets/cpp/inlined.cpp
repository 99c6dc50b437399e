// SPDX-License-Identifier: Apache-2.0
// Inlined work in C++: alpha, beta and gamma are real functions, below them is a standard algorithm, a lambda and a
// functor, all inlined. `inlined [SECONDS]`
#include "truth.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>

#define INLINE [[gnu::always_inline]] inline

namespace {

using Block = std::array<std::uint64_t, 64>;

Block block;

struct Scramble {
	std::uint64_t salt;

	INLINE std::uint64_t operator()(std::uint64_t x) const
	{
		x ^= x >> 29;
		x *= UINT64_C(0xbf58476d1ce4e5b9);
		return x ^ salt;
	}
};

template <typename Function> INLINE void for_blocks(std::uint64_t n_rounds, Function function)
{
	for (std::uint64_t i = 0; i < n_rounds / block.size(); i++) {
		function(i);
		__asm__ volatile("" : : "r"(&block) : "memory");
	}
}

[[gnu::noinline]] void alpha(std::uint64_t n_rounds)
{
	for_blocks(n_rounds, [](std::uint64_t i) {
		std::transform(block.begin(), block.end(), block.begin(), Scramble{i});
	});
}

[[gnu::noinline]] void beta(std::uint64_t n_rounds)
{
	for_blocks(n_rounds, [](std::uint64_t i) {
		block[0] = std::accumulate(block.begin(), block.end(), i, [](std::uint64_t sum, std::uint64_t x) {
			return (sum << 7 | sum >> 57) + x;
		});
	});
}

[[gnu::noinline]] void gamma(std::uint64_t n_rounds)
{
	for_blocks(n_rounds, [](std::uint64_t i) {
		for (std::uint64_t &x : block)
			x = Scramble{i}(x) + i;
	});
}

} // namespace

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	share shares[] = {
		{"alpha", 50, alpha, 0},
		{"beta", 30, beta, 0},
		{"gamma", 20, gamma, 0},
	};

	truth_spend(shares, 3, seconds);
	truth_print(shares, 3);
}
