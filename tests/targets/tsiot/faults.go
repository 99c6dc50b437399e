// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"sync"
	"sync/atomic"
	"time"
)

// A FaultConfig says what shall go wrong, and by how much. Zero is nothing.
type FaultConfig struct {
	After          time.Duration
	LeakGoroutines float64 // a second
	LeakMemory     int64   // bytes a second
	Deadlock       int     // goroutines
	ContendHold    time.Duration
	ContendWaiters int
}

// Faults is what went wrong so far. Every fault has a function of its own name, for profiles to show.
type Faults struct {
	config FaultConfig

	never   chan struct{} // nothing is ever sent
	leaked  atomic.Int64
	bytes   atomic.Int64
	hoarded [][]byte // touched by one goroutine only

	deadlocked atomic.Int64

	contended    sync.Mutex
	acquisitions atomic.Int64
	waits        atomic.Int64
	waited       atomic.Int64 // nanoseconds
	held         atomic.Int64 // nanoseconds
}

// A FaultTruth is the exact size of the faults so far.
type FaultTruth struct {
	LeakedGoroutines     int64 `json:"leaked_goroutines"`     // blocked in (*Faults).leakGoroutine
	LeakedBytes          int64 `json:"leaked_bytes"`          // allocated by (*Faults).leakChunk
	DeadlockedGoroutines int64 `json:"deadlocked_goroutines"` // blocked in deadlockedGoroutine
	LockAcquisitions     int64 `json:"lock_acquisitions"`     // by (*Faults).contendLock
	LockWaits            int64 `json:"lock_waits"`            // of those, not at once
	LockWaitNanoseconds  int64 `json:"lock_wait_ns"`
	LockHoldNanoseconds  int64 `json:"lock_hold_ns"`
}

const (
	tick      = 10 * time.Millisecond // how often leaks catch up with their rate
	leakChunk = 64 << 10              // bytes
)

func (c *FaultConfig) addFlags(flags *flag.FlagSet) {
	flags.DurationVar(&c.After, "fault-after", 0, "start the faults this long after start")
	flags.Float64Var(&c.LeakGoroutines, "leak-goroutines", 0, "goroutines to leak a second")
	flags.Int64Var(&c.LeakMemory, "leak-memory", 0, "bytes to leak a second, in chunks of 64 KiB")
	flags.IntVar(&c.Deadlock, "deadlock", 0, "goroutines to lock in a ring, each waiting for the next")
	flags.DurationVar(&c.ContendHold, "contend-hold", 0, "hold one lock this long at a time")
	flags.IntVar(&c.ContendWaiters, "contend-waiters", 4, "goroutines that take turns at that lock")
}

// Check says what is wrong with the wishes, if anything.
func (c *FaultConfig) Check() error {
	if c.After < 0 || c.LeakGoroutines < 0 || c.LeakMemory < 0 || c.Deadlock < 0 || c.ContendHold < 0 {
		return errors.New("a fault of negative size")
	}
	if c.ContendWaiters < 1 {
		return errors.New("-contend-waiters is at least 1")
	}
	return nil
}

// NewFaults makes faults that have not started.
func NewFaults(config FaultConfig) *Faults {
	return &Faults{config: config, never: make(chan struct{})}
}

// Start begins the faults in the background. Those that need CPU time end with ctx; what leaked or locked stays.
func (f *Faults) Start(ctx context.Context) {
	go func() {
		select {
		case <-time.After(f.config.After):
		case <-ctx.Done():
			return
		}
		f.deadlock(f.config.Deadlock)
		if f.config.LeakGoroutines > 0 {
			go atRate(ctx, f.config.LeakGoroutines, f.startLeakedGoroutine)
		}
		if f.config.LeakMemory > 0 {
			go atRate(ctx, float64(f.config.LeakMemory)/leakChunk, f.leakChunk)
		}
		if f.config.ContendHold > 0 {
			for i := 0; i < f.config.ContendWaiters; i++ {
				go f.contendLock(ctx)
			}
		}
	}()
}

// Truth is what went wrong so far.
func (f *Faults) Truth() FaultTruth {
	return FaultTruth{
		LeakedGoroutines:     f.leaked.Load(),
		LeakedBytes:          f.bytes.Load(),
		DeadlockedGoroutines: f.deadlocked.Load(),
		LockAcquisitions:     f.acquisitions.Load(),
		LockWaits:            f.waits.Load(),
		LockWaitNanoseconds:  f.waited.Load(),
		LockHoldNanoseconds:  f.held.Load(),
	}
}

// atRate calls f so often that the number of calls follows the rate a second from now on, until ctx ends.
func atRate(ctx context.Context, rate float64, f func()) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	start := time.Now()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for due := int(rate * time.Since(start).Seconds()); n < due; n++ {
			f()
		}
	}
}

func (f *Faults) startLeakedGoroutine() {
	go f.leakGoroutine()
	f.leaked.Add(1)
}

func (f *Faults) leakGoroutine() {
	<-f.never
}

// leakChunk writes to the memory, so that it is resident and not only promised.
func (f *Faults) leakChunk() {
	chunk := make([]byte, leakChunk)
	for i := 0; i < len(chunk); i += 4096 {
		chunk[i] = 1
	}
	f.hoarded = append(f.hoarded, chunk)
	f.bytes.Add(leakChunk)
}

// deadlock makes a ring of n goroutines: each has locked one mutex and waits for that of its neighbour.
func (f *Faults) deadlock(n int) {
	locks := make([]sync.Mutex, n)
	var allHold sync.WaitGroup
	allHold.Add(n)
	for i := 0; i < n; i++ {
		go deadlockedGoroutine(&locks[i], &locks[(i+1)%n], &allHold)
	}
	allHold.Wait()
	f.deadlocked.Add(int64(n))
}

func deadlockedGoroutine(own, next *sync.Mutex, allHold *sync.WaitGroup) {
	own.Lock()
	allHold.Done()
	allHold.Wait()
	next.Lock()
}

// contendLock takes the lock again and again and sleeps while it holds it: with w such goroutines each wait takes about
// (w-1) times the hold.
func (f *Faults) contendLock(ctx context.Context) {
	for ctx.Err() == nil {
		if !f.contended.TryLock() {
			start := time.Now()
			f.contended.Lock()
			f.waits.Add(1)
			f.waited.Add(int64(time.Since(start)))
		}
		start := time.Now()
		time.Sleep(f.config.ContendHold)
		f.held.Add(int64(time.Since(start)))
		f.acquisitions.Add(1)
		f.contended.Unlock()
	}
}
