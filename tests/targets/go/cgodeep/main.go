// SPDX-License-Identifier: Apache-2.0

// Cgodeep crosses between Go and C in deep stacks without frame pointers in C. Each piece of work is below 20 frames of
// goDescend; alpha then burns in C below 30 frames of c_descend; beta in Go, called back by C below 30 of them; gamma in C
// called from Go called back from C, so below 60 of them. 50:30:20. `cgodeep [SECONDS]`
package main

/*
#cgo CFLAGS: -O2 -g -fomit-frame-pointer
#include <stdint.h>

void c_alpha(uint64_t n_rounds);
void c_beta(uint64_t n_rounds);
void c_gamma(uint64_t n_rounds);
*/
import "C"

import "targets/internal/truth"

// sink keeps what is computed from being optimized away.
var sink uint64

//go:noinline
func goDescend(depth int, burn func(uint64), rounds uint64) int {
	if depth == 0 {
		burn(rounds)
		return 0
	}
	return goDescend(depth-1, burn, rounds) + 1
}

func below(burn func(uint64)) func(uint64) {
	return func(rounds uint64) {
		if goDescend(19, burn, rounds) != 19 {
			panic("depth")
		}
	}
}

func alpha(rounds uint64) {
	C.c_alpha(C.uint64_t(rounds))
}

func beta(rounds uint64) {
	C.c_beta(C.uint64_t(rounds))
}

func gamma(rounds uint64) {
	C.c_gamma(C.uint64_t(rounds))
}

//export goBeta
func goBeta(rounds C.uint64_t) {
	calledBack(uint64(rounds))
}

//export goGamma
func goGamma(rounds C.uint64_t) {
	C.c_alpha(rounds)
}

//go:noinline
func calledBack(rounds uint64) {
	x := rounds
	for i := uint64(0); i < rounds; i++ {
		x += x>>3 ^ i
		x = x<<5 | x>>59
	}
	sink = x
}

func main() {
	truth.Run("go-cgodeep", []truth.Share{
		{Name: "alpha", Percent: 50, Burn: below(alpha)},
		{Name: "beta", Percent: 30, Burn: below(beta)},
		{Name: "gamma", Percent: 20, Burn: below(gamma)},
	})
}
