// SPDX-License-Identifier: Apache-2.0

// Inlined work in Go: alpha, beta and gamma are real functions, all below them is inlined, up to three levels deep and
// from two files. `inlined [SECONDS]`
package main

import "targets/internal/truth"

// sink keeps what is computed from being optimized away.
var sink uint64

//go:noinline
func alpha(rounds uint64) {
	x := rounds | 1
	for i := uint64(0); i < rounds; i++ {
		x = scrambleTwice(x)
	}
	sink = x
}

//go:noinline
func beta(rounds uint64) {
	x := rounds | 1
	for i := uint64(0); i < rounds; i++ {
		x = scramble(x) ^ rotate(i, 7)
	}
	sink = x
}

//go:noinline
func gamma(rounds uint64) {
	x := rounds | 1
	for i := uint64(0); i < rounds; i++ {
		x = rotate(x^i, 23) * 3
	}
	sink = x
}

func main() {
	truth.Run("go-inlined", []truth.Share{
		{Name: "alpha", Percent: 50, Burn: alpha},
		{Name: "beta", Percent: 30, Burn: beta},
		{Name: "gamma", Percent: 20, Burn: gamma},
	})
}
