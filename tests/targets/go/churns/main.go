// SPDX-License-Identifier: Apache-2.0

// churns ADDRESS MIB_A_SECOND DEPTH: allocates so much, from 2^DEPTH stacks in turn, and keeps little of it. Listens on the address for
// net/http/pprof; prints "pprof ADDRESS" and, when each stack has been there, "ready".
package main

import (
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"strconv"
	"time"
)

const size = 4096

// The last of what was allocated, so that some of it is live.
var kept [1 << 12][]byte

func keep(n int) { kept[n%len(kept)] = make([]byte, size) }

//go:noinline
func left(n, depth int) {
	if depth == 0 {
		keep(n)
		return
	}
	next(n>>1, n&1, depth-1)
}

//go:noinline
func right(n, depth int) {
	if depth == 0 {
		keep(n)
		return
	}
	next(n>>1, n&1, depth-1)
}

func next(n, side, depth int) {
	if side == 0 {
		left(n, depth)
	} else {
		right(n, depth)
	}
}

func number(i int) int {
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		panic(err)
	}
	return n
}

func main() {
	mib, depth := number(2), number(3)
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		panic(err)
	}
	fmt.Println("pprof", listener.Addr())
	go http.Serve(listener, nil)
	for i := 0; i < 1<<depth; i++ {
		next(i, i&1, depth)
	}
	fmt.Println("ready")
	start := time.Now()
	for n := 0; ; n += size {
		left(n/size, depth)
		if ahead := time.Duration(float64(n)/float64(mib<<20)*1e9) - time.Since(start); n%(64*size) == 0 && ahead > 0 {
			time.Sleep(ahead)
		}
	}
}
