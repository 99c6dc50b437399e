// SPDX-License-Identifier: Apache-2.0

// Cgo crosses between Go and C: alpha is Go, beta is C called from Go, gamma is Go called back from C called from Go,
// 50:30:20. A Go function that cgo exports is a C symbol as well. `cgo [SECONDS]`
package main

/*
#cgo CFLAGS: -O2 -g -fno-omit-frame-pointer
#include <stdint.h>

void c_beta(uint64_t n_rounds);
void c_call_back(uint64_t n_rounds);
*/
import "C"

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

func beta(rounds uint64) {
	C.c_beta(C.uint64_t(rounds))
}

func gamma(rounds uint64) {
	C.c_call_back(C.uint64_t(rounds))
}

//export goCalledBack
func goCalledBack(rounds C.uint64_t) {
	calledBack(uint64(rounds))
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
	truth.Run("go-cgo", []truth.Share{
		{Name: "alpha", Percent: 50, Burn: alpha},
		{Name: "beta", Percent: 30, Burn: beta},
		{Name: "gamma", Percent: 20, Burn: gamma},
	})
}
