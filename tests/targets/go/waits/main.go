// SPDX-License-Identifier: Apache-2.0

// Goroutines that wait in known ways, and clock it themselves: eight in each of main.inReceive, inSelect, inMutex, inSleep, inRead. Each waits
// there for a part of its time, and sleeps in main.rest otherwise. `waits [RATE]`: runtime.SetBlockProfileRate(), and
// runtime.SetMutexProfileFraction(). net/http/pprof is on a port, which the first line tells: `pprof ADDRESS`.
//
// Each line of standard input is answered by a line of JSON: `sum` by what was waited in each function until then, waits that go on
// included, in ns; `stop`, when nobody waits any more but in main.rest, and `go`. It ends with the input.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const each = 8

// waiter is one goroutine: what ends its waits is another one.
type waiter struct {
	sum, since int64 // ns; since 0: it does not wait
	ring       chan struct{}
	other      chan struct{} // nobody sends
	mutex      sync.Mutex
	ours, end  net.Conn
}

var (
	waiters = map[string][]*waiter{}
	stopped int32
	active  int32
	begun   = time.Now()
)

func now() int64 { return int64(time.Since(begun)) + 1 }

//go:noinline
func inReceive(w *waiter, _ time.Duration) { <-w.ring }

//go:noinline
func inSelect(w *waiter, _ time.Duration) {
	select {
	case <-w.ring:
	case <-w.other:
	}
}

//go:noinline
func inMutex(w *waiter, _ time.Duration) { w.mutex.Lock() }

//go:noinline
func inSleep(_ *waiter, d time.Duration) { time.Sleep(d) }

//go:noinline
func inRead(w *waiter, _ time.Duration) {
	var one [1]byte
	io.ReadFull(w.ours, one[:])
}

//go:noinline
func rest(d time.Duration) { time.Sleep(d) }

// ways of waiting: how that is begun by who ends it, and how it is ended; the share of time in percent.
var ways = []struct {
	name    string
	wait    func(*waiter, time.Duration)
	before  func(*waiter)
	end     func(*waiter)
	after   func(*waiter)
	percent int
}{
	{"inReceive", inReceive, nil, func(w *waiter) { w.ring <- struct{}{} }, nil, 70},
	{"inSelect", inSelect, nil, func(w *waiter) { w.ring <- struct{}{} }, nil, 50},
	{"inMutex", inMutex, func(w *waiter) { w.mutex.Lock() }, func(w *waiter) { w.mutex.Unlock() }, func(w *waiter) { w.mutex.Unlock() }, 40},
	{"inSleep", inSleep, nil, nil, nil, 30},
	{"inRead", inRead, nil, func(w *waiter) { w.end.Write([]byte{0}) }, nil, 60},
}

func connect() (net.Conn, net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	ours, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		panic(err)
	}
	theirs, err := listener.Accept()
	if err != nil {
		panic(err)
	}
	return ours, theirs
}

// run waits some 4 to 12 ms at a time.
func run(w *waiter, way int) {
	how := &ways[way]
	for {
		d := time.Duration(4+8*rand.Float64()) * time.Millisecond
		atomic.AddInt32(&active, 1)
		if atomic.LoadInt32(&stopped) == 0 {
			if how.before != nil {
				how.before(w)
			}
			if how.end != nil {
				// The runtime calls it: no goroutine waits.
				time.AfterFunc(d, func() { how.end(w) })
			}
			atomic.StoreInt64(&w.since, now())
			how.wait(w, d)
			atomic.AddInt64(&w.sum, now()-atomic.SwapInt64(&w.since, 0))
			if how.after != nil {
				how.after(w)
			}
		}
		atomic.AddInt32(&active, -1)
		rest(d * time.Duration(100-how.percent) / time.Duration(how.percent))
	}
}

func sums() map[string]int64 {
	sums := map[string]int64{}
	at := now()
	for name, all := range waiters {
		for _, w := range all {
			sums[name] += atomic.LoadInt64(&w.sum)
			if since := atomic.LoadInt64(&w.since); since != 0 && since < at {
				sums[name] += at - since
			}
		}
	}
	return sums
}

func main() {
	if len(os.Args) > 1 {
		rate, err := strconv.Atoi(os.Args[1])
		if err != nil {
			panic(err)
		}
		runtime.SetBlockProfileRate(rate)
		runtime.SetMutexProfileFraction(rate)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, nil)
	fmt.Println("pprof", listener.Addr())
	for i := range ways {
		for k := 0; k < each; k++ {
			w := &waiter{ring: make(chan struct{}, 1), other: make(chan struct{})}
			if ways[i].name == "inRead" {
				w.ours, w.end = connect()
			}
			waiters[ways[i].name] = append(waiters[ways[i].name], w)
		}
	}
	for i := range ways {
		for _, w := range waiters[ways[i].name] {
			go run(w, i)
		}
	}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		switch input.Text() {
		case "stop":
			atomic.StoreInt32(&stopped, 1)
			for atomic.LoadInt32(&active) != 0 {
				time.Sleep(time.Millisecond)
			}
		case "go":
			atomic.StoreInt32(&stopped, 0)
		}
		answer, err := json.Marshal(sums())
		if err != nil {
			panic(err)
		}
		fmt.Println(string(answer))
	}
}
