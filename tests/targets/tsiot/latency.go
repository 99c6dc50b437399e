// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/bits"
	"time"
)

// Latencies counts durations in buckets whose width is a 16th of their value or less: any number of them in 8 KiB.
type Latencies struct {
	counts [60 * subBuckets]int64
	n      int64
	max    time.Duration
}

const (
	subBits    = 4
	subBuckets = 1 << subBits
)

// Add counts one.
func (l *Latencies) Add(d time.Duration) {
	if d < 0 {
		d = 0
	}
	l.counts[bucketOf(uint64(d))]++
	l.n++
	if d > l.max {
		l.max = d
	}
}

// Merge adds those of another.
func (l *Latencies) Merge(other *Latencies) {
	for i, n := range other.counts {
		l.counts[i] += n
	}
	l.n += other.n
	if other.max > l.max {
		l.max = other.max
	}
}

// Count is how many were added.
func (l *Latencies) Count() int64 { return l.n }

// Max is the longest, exactly.
func (l *Latencies) Max() time.Duration { return l.max }

// Percentile is the upper end of the bucket that so many percent do not pass.
func (l *Latencies) Percentile(percent float64) time.Duration {
	rank := int64(percent / 100 * float64(l.n))
	for i, n := range l.counts {
		if rank -= n; rank < 0 {
			return time.Duration(bucketEnd(i))
		}
	}
	return l.max
}

// The first 16 buckets hold one value each; from there on each power of two is cut in 16.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)*subBuckets + int(v>>uint(shift)) - subBuckets
}

func bucketEnd(bucket int) uint64 {
	if bucket < subBuckets {
		return uint64(bucket)
	}
	shift := uint(bucket/subBuckets - 1)
	return (uint64(bucket%subBuckets)+subBuckets+1)<<shift - 1
}
