// SPDX-License-Identifier: Apache-2.0

// Goroutines that wait in C, each for something else: main.inMutex calls c_in_mutex by cgo, and so on. `cgowaits [SECONDS]`;
// the line is that of ../../cpp/waits.cpp.
package main

/*
#cgo CFLAGS: -O2 -g -fomit-frame-pointer
#cgo LDFLAGS: -pthread
#include <stdint.h>

int c_begin(const char *name);
uint64_t c_clock(void);
void c_start_feeder(void);
void c_in_mutex(void);
void c_in_condition(void);
void c_in_read(void);
void c_in_poll(void);
void c_in_sleep(void);
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

type waiter struct {
	name, reason           string
	wait                   func()
	tid, waits, waitedNsec uint64
}

//go:noinline
func inMutex() { C.c_in_mutex() }

//go:noinline
func inCondition() { C.c_in_condition() }

//go:noinline
func inRead() { C.c_in_read() }

//go:noinline
func inPoll() { C.c_in_poll() }

//go:noinline
func inSleep() { C.c_in_sleep() }

func (w *waiter) run() {
	runtime.LockOSThread()
	w.tid = uint64(C.c_begin(C.CString(w.name)))
	for {
		start := C.c_clock()
		w.wait()
		w.waitedNsec += uint64(C.c_clock() - start)
		w.waits++
	}
}

func main() {
	seconds := 5.0
	if len(os.Args) > 1 {
		number, err := strconv.ParseFloat(os.Args[1], 64)
		if err != nil {
			fmt.Fprintf(os.Stderr, "seconds, not %q\n", os.Args[1])
			os.Exit(64)
		}
		seconds = number
	}
	waiters := []*waiter{
		{name: "mutex", reason: "lock", wait: inMutex},
		{name: "condition", reason: "channel", wait: inCondition},
		{name: "read", reason: "pipe", wait: inRead},
		{name: "poll", reason: "select", wait: inPoll},
		{name: "sleep", reason: "sleep", wait: inSleep},
	}
	C.c_start_feeder()
	for _, w := range waiters {
		go w.run()
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	lines := make([]string, len(waiters))
	for i, w := range waiters {
		lines[i] = fmt.Sprintf("{\"name\":%q,\"tid\":%d,\"reason\":%q,\"waits\":%d,\"waited_ns\":%d}", w.name, w.tid, w.reason, w.waits, w.waitedNsec)
	}
	fmt.Printf("{\"target\":\"go-cgowaits\",\"pid\":%d,\"threads\":[%s]}\n", os.Getpid(), strings.Join(lines, ","))
}
