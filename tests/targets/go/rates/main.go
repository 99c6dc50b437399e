// SPDX-License-Identifier: Apache-2.0

// Does what the runtime's profilers count, and counts it itself. Imports nothing that asks for a heap profile, so that the linker switches it
// off. Each line of standard input is a command, answered by a line of JSON; it ends with the input.
//
//	allocate MIB   so much by each of four functions, of which an eighth is kept
//	wait N         so many waits for a channel, in main.receive
//	lock N         so many waits for a lock that main.unlock gives back
//	rate [N]       runtime.MemProfileRate, after it was set to N
//	exec [N]       becomes the program anew, which sets it to N at its start
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:noinline
func allocate64() []byte { return make([]byte, 64) }

//go:noinline
func allocate1K() []byte { return make([]byte, 1024) }

//go:noinline
func allocate16K() []byte { return make([]byte, 16384) }

//go:noinline
func allocate128K() []byte { return make([]byte, 131072) }

// All of sizes that the allocator has, so that none is rounded up.
var sites = map[string]func() []byte{
	"main.allocate64": allocate64, "main.allocate1K": allocate1K, "main.allocate16K": allocate16K, "main.allocate128K": allocate128K,
}

type counts struct {
	Allocs int64 `json:"allocs"`
	Size   int64 `json:"size"`
	Held   int64 `json:"held"`
}

var held [][]byte

func allocate(mib int) any {
	var mutex sync.Mutex
	var group sync.WaitGroup
	result := map[string]counts{}
	for name, site := range sites {
		name, site := name, site
		group.Add(1)
		go func() {
			defer group.Done()
			size := int64(len(site()))
			n := int64(mib) << 20 / size
			kept := make([][]byte, 0, n/8+1)
			for i := int64(1); i < n; i++ {
				if p := site(); i%8 == 0 {
					kept = append(kept, p)
				}
			}
			mutex.Lock()
			held = append(held, kept...)
			result[name] = counts{Allocs: n, Size: size, Held: int64(len(kept))}
			mutex.Unlock()
		}()
	}
	group.Wait()
	// What was allocated is told two collections later.
	for i := 0; i < 3; i++ {
		runtime.GC()
	}
	return result
}

type waits struct {
	N     int64   `json:"n"`
	Delay float64 `json:"delay"`
}

//go:noinline
func receive(from chan int) { <-from }

func wait(n int) any {
	var delay time.Duration
	ready, from := make(chan int), make(chan int)
	go func() {
		for range ready {
			time.Sleep(3 * time.Millisecond)
			from <- 0
		}
	}()
	for i := 0; i < n; i++ {
		ready <- 0
		start := time.Now()
		receive(from)
		delay += time.Since(start)
	}
	close(ready)
	return waits{int64(n), delay.Seconds()}
}

//go:noinline
func unlock(mutex *sync.Mutex) { mutex.Unlock() }

func lock(n int) any {
	var mutex sync.Mutex
	var delay time.Duration
	for i := 0; i < n; i++ {
		done, begun := make(chan time.Duration), make(chan int)
		mutex.Lock()
		go func() {
			start := time.Now()
			begun <- 0
			mutex.Lock()
			done <- time.Since(start)
			mutex.Unlock()
		}()
		<-begun
		time.Sleep(5 * time.Millisecond)
		unlock(&mutex)
		delay += <-done
	}
	return waits{int64(n), delay.Seconds()}
}

func rate(words []string) any {
	if len(words) > 0 {
		runtime.MemProfileRate, _ = strconv.Atoi(words[0])
	}
	return runtime.MemProfileRate
}

func again(words []string) any {
	return syscall.Exec("/proc/self/exe", append([]string{os.Args[0]}, words...), os.Environ()).Error()
}

func main() {
	rate(os.Args[1:])
	out := json.NewEncoder(os.Stdout)
	out.Encode(runtime.Version())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		words := strings.Fields(in.Text())
		number, _ := strconv.Atoi(words[len(words)-1])
		switch words[0] {
		case "allocate":
			out.Encode(allocate(number))
		case "wait":
			out.Encode(wait(number))
		case "lock":
			out.Encode(lock(number))
		case "rate":
			out.Encode(rate(words[1:]))
		case "exec":
			out.Encode(again(words[1:]))
		}
	}
}
