// SPDX-License-Identifier: Apache-2.0

// Goroutines in every state that they can be in for longer than a moment. Listens on the address that is its first argument for
// net/http/pprof; its second is how many more goroutines there shall be of each sort (1 without), its third how many that never rest.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"os/signal"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	never     = make(chan int)
	full      = make(chan int, 1)
	mutex     sync.Mutex
	rwmutex   sync.RWMutex
	group     sync.WaitGroup
	condition = sync.NewCond(&sync.Mutex{})
	spins     int
)

type receiver struct{ from chan int }

func (r *receiver) Receive() int { return <-r.from }

type source interface{ Receive() int }

func generic[T any](from chan T) T { return <-from }

//go:noinline
func deep(n int) int {
	if n == 0 {
		return <-never
	}
	return deep(n-1) + 1
}

func inlined() int { return twice() }
func twice() int   { return <-never }

func recovers() {
	defer func() {
		recover()
		<-never
	}()
	var p *int
	*p = 1
}

func readsPipe() {
	var fds [2]int
	syscall.Pipe(fds[:])
	syscall.Read(fds[0], make([]byte, 1)) // not os.File: the poller is not asked, the thread blocks
}

func listens() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close() // else the garbage collector closes it
	connection, _ := net.Dial("tcp", listener.Addr().String())
	bufio.NewReader(connection).ReadByte()
}

var here, there = make(chan int), make(chan int)

//go:noinline
func waitsHere(n int) int {
	if n == 0 {
		return <-here
	}
	return waitsHere(n-1) + 1
}

//go:noinline
func waitsThere(n int) int {
	if n == 0 {
		return <-there
	}
	return waitsThere(n-1) + 1
}

// Waits for one of two channels in turn, for each in a function of its own: what has the one's stack and the other's channel was never so.
func moves() {
	for i := 0; ; i++ {
		waitsHere(i % 5)
		waitsThere(i % 7)
	}
}

func feeds() {
	for i := 0; ; i++ {
		select {
		case here <- 1:
		case there <- 1:
		}
		if i%16 == 0 {
			time.Sleep(20 * time.Microsecond) // else hardly any would wait
		}
	}
}

var labelled = make(chan int)

// More than a bucket of a map has, more than we keep, and a long text.
func manyLabels() pprof.LabelSet {
	labels := []string{"long", strings.Repeat("ä", 200)}
	for i := 0; i < 40; i++ {
		labels = append(labels, "many"+strconv.Itoa(i), strconv.Itoa(i))
	}
	return pprof.Labels(labels...)
}

// What the runtime says of its memory now; ?gc=1: after a collection.
func stats(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("gc") != "" {
		runtime.GC()
	}
	var answer struct {
		Memory  runtime.MemStats
		Metrics map[string]uint64
	}
	answer.Metrics = map[string]uint64{}
	var samples []metrics.Sample
	for _, one := range metrics.All() {
		if one.Kind == metrics.KindUint64 {
			samples = append(samples, metrics.Sample{Name: one.Name})
		}
	}
	runtime.ReadMemStats(&answer.Memory)
	metrics.Read(samples)
	for _, sample := range samples {
		answer.Metrics[sample.Name] = sample.Value.Uint64()
	}
	json.NewEncoder(w).Encode(answer)
}

func main() {
	n := 1
	if len(os.Args) > 2 {
		n, _ = strconv.Atoi(os.Args[2])
	}
	full <- 1
	mutex.Lock()
	rwmutex.Lock()
	group.Add(1)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	for i := 0; i < n; i++ {
		go func() { <-never }()
		go func() { full <- 2 }()
		go func() { var none chan int; <-none }()
		go func() { var none chan int; none <- 1 }()
		go func() { select {} }()
		go func() {
			select {
			case <-never:
			case full <- 3:
			case <-time.After(24 * time.Hour):
			}
		}()
		go mutex.Lock()
		go func() { rwmutex.RLock() }()
		go group.Wait()
		go func() { condition.L.Lock(); condition.Wait() }()
		go func() { time.Sleep(24 * time.Hour) }()
		go func() { <-signals }()
		go func() { runtime.LockOSThread(); <-never }()
		go deep(20)
		go deep(150)
		go inlined()
		go recovers()
		go generic[string](make(chan string))
		go source(&receiver{never}).Receive()
		go (&receiver{never}).Receive()
		go pprof.Do(context.Background(), pprof.Labels("request", "slow", "tenant", strconv.Itoa(i%7)), func(context.Context) { <-never })
		go pprof.Do(context.Background(), pprof.Labels("ключ \"€\"", "\x01\t\xff𝄞\\", "path", "/a-b"), func(context.Context) { <-never })
		if i < 8 {
			go readsPipe()
			go listens()
		}
	}
	if len(os.Args) > 3 {
		n, _ = strconv.Atoi(os.Args[3])
		fmt.Printf("here %p\nthere %p\n", here, there)
		for i := 0; i < n; i++ {
			go moves()
		}
		go feeds()
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		panic(err)
	}
	fmt.Println("pprof", listener.Addr())
	time.AfterFunc(100*time.Millisecond, func() { fmt.Println("ready"); os.Stdout.Sync() })
	fmt.Printf("never %p\nfull %p\nmutex %p\nrwmutex %p\ngroup %p\ncondition %p\n", never, full, &mutex, &rwmutex, &group, condition)
	go pprof.Do(context.Background(), manyLabels(), func(context.Context) { <-labelled })
	http.HandleFunc("/stats", stats)
	if err := http.Serve(listener, nil); err != nil {
		panic(err)
	}
}
