// SPDX-License-Identifier: Apache-2.0

// Package truth is what the truth programs in Go share: it spends CPU time on named pieces of work in given shares,
// measures what each really took, and prints that as one line of JSON. See ../../../c/truth.h.
package truth

import (
	"fmt"
	"math/rand"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// A Share is one piece of work.
type Share struct {
	Name    string
	Percent int64
	Burn    func(rounds uint64)
	CPU     int64 // nanoseconds
}

const (
	clockProcessCPU = 2
	clockThreadCPU  = 3

	// Slices of 0.1 to 3 ms, as in truth.c.
	sliceMinRounds = 100000
	sliceMaxRounds = 1500000
)

// Run works for the seconds given as first argument, or 5, until it has to stop, and prints what came of it.
func Run(target string, shares []Share) {
	Spend(shares, seconds())
	Print(target, shares)
}

// Spend works for that long, always on the piece that is furthest behind its share.
func Spend(shares []Share, duration time.Duration) {
	// The clock is that of a thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	stopped := catchSignals()
	random := rand.New(rand.NewSource(time.Now().UnixNano()))

	for end := time.Now().Add(duration); time.Now().Before(end) && atomic.LoadInt32(stopped) == 0; {
		share := furthestBehind(shares)
		rounds := sliceMinRounds + uint64(random.Int63n(sliceMaxRounds-sliceMinRounds))
		start := clock(clockThreadCPU)
		share.Burn(rounds)
		share.CPU += clock(clockThreadCPU) - start
	}
}

// Print writes {"target":..,"pid":..,"cpu_ns":{name:..},"total_ns":..}; the total is that of the process.
func Print(target string, shares []Share) {
	cpu := make([]string, len(shares))
	for i, share := range shares {
		cpu[i] = fmt.Sprintf("%q:%d", share.Name, share.CPU)
	}
	fmt.Printf("{\"target\":%q,\"pid\":%d,\"cpu_ns\":{%s},\"total_ns\":%d,\"go\":%q}\n",
		target, os.Getpid(), strings.Join(cpu, ","), clock(clockProcessCPU), runtime.Version())
}

func seconds() time.Duration {
	if len(os.Args) < 2 {
		return 5 * time.Second
	}
	number, err := strconv.ParseFloat(os.Args[1], 64)
	if err != nil || !(number >= 0 && number <= 86400) {
		fmt.Fprintf(os.Stderr, "seconds from 0 to 86400, not %q\n", os.Args[1])
		os.Exit(64)
	}
	return time.Duration(number * float64(time.Second))
}

func catchSignals() *int32 {
	stopped := new(int32)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		atomic.StoreInt32(stopped, 1)
	}()
	return stopped
}

func furthestBehind(shares []Share) *Share {
	behind := &shares[0]
	for i := range shares {
		if shares[i].CPU*behind.Percent < behind.CPU*shares[i].Percent {
			behind = &shares[i]
		}
	}
	return behind
}

func clock(id uintptr) int64 {
	var t syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}
