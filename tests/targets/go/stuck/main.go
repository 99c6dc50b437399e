// SPDX-License-Identifier: Apache-2.0

// Goroutines that nobody will wake any more, or that only look so. `stuck MODE [N] [SECONDS]`, one of:
//
//	leak     N more a second wait in main.forgotten for a channel that nobody sends to
//	locks    N pairs in main.crosswise each have a lock that the other one wants
//	channels N pairs in main.waitsForOther: each would send what the other one waits for, afterwards
//	pool     N workers in main.worker that get a job now and then
//	idle     a server that nobody connects to, a goroutine that waits for a signal, one for a timer, N for a channel that main has
//
// When all are where they should be it prints "ready" and how many, and ends after SECONDS (60). With STUCK_PROFILE set it writes the
// goroutineleak profile as text, which Go has since 1.27, to that file when SIGUSR1 comes.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"sync"
	"syscall"
	"time"
)

//go:noinline
func forgotten(results chan int) { results <- 1 }

// As it happens: the caller has given up waiting, and what it waited for is gone with it.
//
//go:noinline
func leak() {
	results := make(chan int)
	go forgotten(results)
	select {
	case <-results:
	default:
	}
}

//go:noinline
func crosswise(mine, others *sync.Mutex, both *sync.WaitGroup) {
	mine.Lock()
	defer mine.Unlock()
	both.Done()
	both.Wait()
	others.Lock()
	others.Unlock()
}

//go:noinline
func crosswisePair() {
	locks := new([2]struct {
		sync.Mutex
		value [4]*int // as a lock is a part of what it guards
	})
	both := new(sync.WaitGroup)
	both.Add(2)
	go crosswise(&locks[0].Mutex, &locks[1].Mutex, both)
	go crosswise(&locks[1].Mutex, &locks[0].Mutex, both)
}

//go:noinline
func waitsForOther(mine, others chan int) {
	others <- <-mine + 1
}

//go:noinline
func channelPair() {
	a, b := make(chan int), make(chan int)
	go waitsForOther(a, b)
	go waitsForOther(b, a)
}

//go:noinline
func worker(jobs <-chan int, done *sync.WaitGroup) {
	for range jobs {
		time.Sleep(time.Millisecond)
		done.Done()
	}
}

func pool(n int) {
	jobs, done := make(chan int), new(sync.WaitGroup)
	for i := 0; i < n; i++ {
		go worker(jobs, done)
	}
	for {
		time.Sleep(500 * time.Millisecond)
		done.Add(3)
		for i := 0; i < 3; i++ {
			jobs <- i
		}
		done.Wait()
	}
}

func idle(n int) {
	never, signals := make(chan int), make(chan os.Signal, 1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	signal.Notify(signals, syscall.SIGUSR2)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			connection.Close()
		}
	}()
	go func() { <-time.After(time.Hour) }()
	for i := 0; i < n; i++ {
		go func() { <-never }()
	}
	<-signals
	close(never)
}

func writeProfileOnSignal(path string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	for range signals {
		file, err := os.Create(path + ".new")
		if err != nil {
			panic(err)
		}
		if profile := pprof.Lookup("goroutineleak"); profile != nil {
			profile.WriteTo(file, 1)
		}
		file.Close()
		os.Rename(path+".new", path)
	}
}

func main() {
	mode, n, seconds := "idle", 1, 60
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	if len(os.Args) > 2 {
		n, _ = strconv.Atoi(os.Args[2])
	}
	if len(os.Args) > 3 {
		seconds, _ = strconv.Atoi(os.Args[3])
	}
	if path := os.Getenv("STUCK_PROFILE"); path != "" {
		go writeProfileOnSignal(path)
	}
	switch mode {
	case "leak":
		go func() {
			for start, made := time.Now(), 0; ; time.Sleep(20 * time.Millisecond) {
				for ; made < int(time.Since(start).Seconds()*float64(n)); made++ {
					leak()
				}
			}
		}()
	case "locks":
		for i := 0; i < n; i++ {
			crosswisePair()
		}
	case "channels":
		for i := 0; i < n; i++ {
			channelPair()
		}
	case "pool":
		go pool(n)
	case "idle":
		go idle(n)
	default:
		fmt.Fprintln(os.Stderr, "usage: stuck leak|locks|channels|pool|idle [N] [SECONDS]")
		os.Exit(64)
	}
	time.Sleep(200 * time.Millisecond)
	fmt.Println("ready", n)
	time.Sleep(time.Duration(seconds) * time.Second)
}
