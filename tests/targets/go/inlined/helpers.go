// SPDX-License-Identifier: Apache-2.0

package main

// What main.go inlines from another file.

func scrambleTwice(x uint64) uint64 {
	x = scramble(x)
	return scramble(x + 1)
}

func scramble(x uint64) uint64 {
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	return rotate(x, 17) ^ x
}

func rotate(x uint64, bits uint) uint64 {
	return x<<(bits&63) |
		x>>((64-bits)&63)
}
