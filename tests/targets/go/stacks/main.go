// SPDX-License-Identifier: Apache-2.0

// Stacks has what frame pointers get wrong in Go: leaf, which has no frame, is called by firstCaller and secondCaller,
// 40:30, at the bottom of a recursion; allocate, 30, keeps the runtime busy on its own stacks: it allocates, and makes
// goroutine stacks grow. Beside them, goroutines allocate for the collector to work. `stacks [SECONDS]`
package main

import (
	"sync"

	"targets/internal/truth"
)

// sink keeps what is computed from being optimized away.
var (
	sink    uint64
	objects [1024]*[512]byte
	lock    sync.Mutex
)

// No frame: nothing is pushed, so that [rsp] is its return address and rbp its caller's.
//
//go:noinline
func leaf(x uint64) uint64 {
	for i := 0; i < 512; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	return x
}

//go:noinline
func firstCaller(rounds uint64) {
	x := rounds
	for i := uint64(0); i < rounds; i += 512 {
		x += leaf(x)
	}
	sink = x
}

//go:noinline
func secondCaller(rounds uint64) {
	x := rounds
	for i := uint64(0); i < rounds; i += 512 {
		x ^= leaf(x)
	}
	sink = x
}

//go:noinline
func descend(depth int, burn func(uint64), rounds uint64) int {
	if depth == 0 {
		burn(rounds)
		return 0
	}
	return descend(depth-1, burn, rounds) + 1
}

func below(burn func(uint64)) func(uint64) {
	return func(rounds uint64) {
		if descend(20, burn, rounds) != 20 {
			panic("depth")
		}
	}
}

//go:noinline
func grow(depth int) int {
	var block [256]byte
	if depth == 0 {
		return len(block)
	}
	block[depth%256] = byte(depth)
	return grow(depth-1) + int(block[(depth+1)%256])
}

//go:noinline
func allocate(rounds uint64) {
	for i := uint64(0); i < rounds; i += 2000 {
		objects[i/2000%1024] = new([512]byte)
		if i%100000 == 0 {
			var done sync.WaitGroup
			done.Add(1)
			go func() {
				sink += uint64(grow(100))
				done.Done()
			}()
			done.Wait()
		}
	}
}

func keepCollecting() {
	var kept [][]byte
	for {
		block := make([]byte, 64<<10)
		lock.Lock()
		kept = append(kept, block)
		if len(kept) > 128 {
			kept = nil
		}
		lock.Unlock()
		for i := 0; i < 1000; i++ {
			sink += leaf(uint64(i)) & 1
		}
	}
}

func main() {
	go keepCollecting()
	truth.Run("go-stacks", []truth.Share{
		{Name: "firstCaller", Percent: 40, Burn: below(firstCaller)},
		{Name: "secondCaller", Percent: 30, Burn: below(secondCaller)},
		{Name: "allocate", Percent: 30, Burn: below(allocate)},
	})
}
