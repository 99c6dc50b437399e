// SPDX-License-Identifier: Apache-2.0

// Labels does work under labels of pprof.Do() in known shares, each time under a new set that says the same: `labels SECONDS ADDRESS
// [SETS]` serves net/http/pprof there. With SETS, so many different ones take turns instead.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"

	"targets/internal/truth"
)

// sink keeps what is computed, and garbage, from being optimized away.
var (
	sink    uint64
	garbage [][]byte
)

//go:noinline
func work(rounds uint64) {
	x := rounds
	for i := uint64(0); i < rounds; i++ {
		x = x*6364136223846793005 + 1442695040888963407
	}
	sink = x
}

// under works with labels on top of those that the context has.
func under(ctx context.Context, labels ...string) func(rounds uint64) {
	return func(rounds uint64) {
		// What labels lay in before is soon used for others.
		garbage = append(garbage, make([]byte, 64<<10))
		if len(garbage) > 64 {
			garbage = nil
		}
		pprof.Do(ctx, pprof.Labels(labels...), func(context.Context) { work(rounds) })
	}
}

func goid() string {
	text := make([]byte, 64)
	text = text[:runtime.Stack(text, false)]
	return string(bytes.Fields(text)[1])
}

func different(n int) func(rounds uint64) {
	turn := 0
	return func(rounds uint64) {
		turn++
		under(context.Background(), "request", strconv.Itoa(turn%n))(rounds / 64)
	}
}

func main() {
	listener, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, nil)
	tenant := pprof.WithLabels(context.Background(), pprof.Labels("tenant", "blue"))
	wide := []string{}
	for i := 0; i < 12; i++ {
		wide = append(wide, "wide"+strconv.Itoa(i), "value"+strconv.Itoa(i))
	}
	shares := []truth.Share{
		{Name: "/orders", Percent: 40, Burn: under(tenant, "endpoint", "/orders")},
		{Name: "/users/{id}", Percent: 25, Burn: under(tenant, "endpoint", "/users/{id}", "service", "of its own")},
		{Name: "long", Percent: 10, Burn: under(context.Background(), "endpoint", "long", "text", strings.Repeat("é", 100))},
		{Name: "wide", Percent: 10, Burn: under(context.Background(), wide...)},
		{Name: "none", Percent: 15, Burn: work},
	}
	if len(os.Args) > 3 {
		n, _ := strconv.Atoi(os.Args[3])
		shares = []truth.Share{{Name: "different", Percent: 100, Burn: different(n)}}
	}
	fmt.Printf("pprof on http://%s, goroutine %s\n", listener.Addr(), goid())
	truth.Run("go-labels", shares)
}
