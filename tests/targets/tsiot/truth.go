// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// A Truth is what a server did and consumed since its start, for comparison with what a profiler saw of it.
type Truth struct {
	Pid        int     `json:"pid"`
	Go         string  `json:"go"`
	Uptime     float64 `json:"uptime_seconds"`
	CPUUser    float64 `json:"cpu_user_seconds"`
	CPUSystem  float64 `json:"cpu_system_seconds"`
	CPU        float64 `json:"cpu_seconds"`
	MaxRSS     int64   `json:"max_rss_bytes"`
	HeapInUse  uint64  `json:"heap_inuse_bytes"`
	Goroutines int     `json:"goroutines"`

	Requests     int64 `json:"requests"`
	Errors       int64 `json:"errors"`
	Points       int64 `json:"points"`
	Queries      int64 `json:"queries"`
	Aggregations int64 `json:"aggregations"`
	Privacy      int64 `json:"privacy"`
	Series       int   `json:"series"`
	Samples      int   `json:"samples"`

	Faults FaultTruth `json:"faults"`
}

func (s *Server) truth() Truth {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	user, system := seconds(usage.Utime), seconds(usage.Stime)
	nSeries, nSamples := s.store.Size()

	return Truth{
		Pid:        os.Getpid(),
		Go:         runtime.Version(),
		Uptime:     time.Since(s.started).Seconds(),
		CPUUser:    user,
		CPUSystem:  system,
		CPU:        user + system,
		MaxRSS:     usage.Maxrss * 1024,
		HeapInUse:  memory.HeapInuse,
		Goroutines: runtime.NumGoroutine(),

		Requests:     s.done.requests.Load(),
		Errors:       s.done.errors.Load(),
		Points:       s.done.points.Load(),
		Queries:      s.done.queries.Load(),
		Aggregations: s.done.aggregations.Load(),
		Privacy:      s.done.privacy.Load(),
		Series:       nSeries,
		Samples:      nSamples,

		Faults: s.faults.Truth(),
	}
}

func seconds(t syscall.Timeval) float64 {
	return float64(t.Sec) + float64(t.Usec)/1e6
}
