// SPDX-License-Identifier: Apache-2.0

// Shares is the plain truth program in Go: alpha, a method beta and a generic gamma, 50:30:20. `shares [SECONDS]`
package main

import "targets/internal/truth"

// sink keeps what is computed from being optimized away.
var sink uint64

//go:noinline
func alpha(rounds uint64) {
	x := rounds
	for i := uint64(0); i < rounds; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	sink = x
}

type mixer struct{ left, right uint }

//go:noinline
func (m *mixer) beta(rounds uint64) {
	x := rounds | 1
	for i := uint64(0); i < rounds; i++ {
		x ^= x << (m.left & 63)
		x ^= x >> (m.right & 63)
	}
	sink = x
}

//go:noinline
func gamma[Word uint32 | uint64](rounds Word) {
	x := rounds
	for i := Word(0); i < rounds; i++ {
		x += x>>3 ^ i
		x = x<<5 | x>>27
	}
	sink = uint64(x)
}

func main() {
	m := &mixer{13, 7}
	truth.Run("go-shares", []truth.Share{
		{Name: "alpha", Percent: 50, Burn: alpha},
		{Name: "beta", Percent: 30, Burn: m.beta},
		{Name: "gamma", Percent: 20, Burn: gamma[uint64]},
	})
}
