// SPDX-License-Identifier: Apache-2.0
#pragma once
// The three pieces of work in C++, under names worth demangling: a function in a namespace, a member of a class template,
// and a virtual function of a class in an anonymous namespace, called through its base.
#include <cstdint>

#define KEEP(value) __asm__ volatile("" : "+r"(value))

namespace work {

[[gnu::noinline]] inline void alpha(std::uint64_t n_rounds)
{
	std::uint64_t x = n_rounds;

	for (std::uint64_t i = 0; i < n_rounds; i++) {
		x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		KEEP(x);
	}
}

template <typename Word, unsigned Left, unsigned Right> struct Mixer {
	[[gnu::noinline]] static void beta(Word n_rounds)
	{
		Word x = n_rounds | 1;

		for (Word i = 0; i < n_rounds; i++) {
			x ^= x << Left;
			x ^= x >> Right;
			KEEP(x);
		}
	}
};

struct Burner {
	virtual ~Burner() = default;
	virtual void gamma(std::uint64_t n_rounds) const = 0;
};

namespace {

struct Rotator final : Burner {
	[[gnu::noinline]] void gamma(std::uint64_t n_rounds) const override
	{
		std::uint64_t x = n_rounds;

		for (std::uint64_t i = 0; i < n_rounds; i++) {
			x += x >> 3 ^ i;
			KEEP(x);
			x = x << 5 | x >> 59;
		}
		KEEP(x);
	}
};

} // namespace

// An object of unknown type, so that the call stays virtual.
inline const Burner &rotator()
{
	static const Rotator instance;
	const Burner *burner = &instance;

	KEEP(burner);
	return *burner;
}

} // namespace work
