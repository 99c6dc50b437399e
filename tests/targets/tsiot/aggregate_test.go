// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"testing"
	"time"
)

func series(device, site string, values ...float64) Range {
	r := Range{Metric: "m", Device: device, Tags: map[string]string{"site": site}}
	for i, v := range values {
		r.Samples = append(r.Samples, Sample{at(i).UnixNano(), v})
	}
	return r
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestAWindowSummarizesItsSamples(t *testing.T) {
	windows, err := Aggregate([]Range{series("d1", "a", 4, 1, 3), series("d2", "a", 2, 5)}, time.Minute, "")
	if err != nil || len(windows) != 1 {
		t.Fatalf("%v, %v", windows, err)
	}
	w := windows[0]
	if w.Count != 5 || w.Devices != 2 || !w.Start.Equal(noon) {
		t.Errorf("%+v", w)
	}
	if !near(w.Min, 1) || !near(w.Max, 5) || !near(w.Mean, 3) || !near(w.StdDev, math.Sqrt2) || !near(w.P50, 3) {
		t.Errorf("%+v", w)
	}
}

func TestWindowsAreAlignedAndOrdered(t *testing.T) {
	windows, err := Aggregate([]Range{series("d1", "b", 1, 2, 3), series("d2", "a", 4)}, 2*time.Second, "site")
	if err != nil || len(windows) != 3 {
		t.Fatalf("%v, %v", windows, err)
	}
	for i, want := range []struct {
		group   string
		seconds int
		count   int
	}{{"a", 0, 1}, {"b", 0, 2}, {"b", 2, 1}} {
		w := windows[i]
		if w.Group != want.group || !w.Start.Equal(at(want.seconds)) || w.Count != want.count {
			t.Errorf("window %d is %+v, want %+v", i, w, want)
		}
	}
}

func TestWindowsBeforeTheEpochAreAlignedToo(t *testing.T) {
	if got := floorTo(-1, 10); got != -10 {
		t.Errorf("floorTo(-1, 10) = %d", got)
	}
}

func TestTooManyOrImpossibleWindowsAreRefused(t *testing.T) {
	if _, err := Aggregate(nil, 0, ""); err == nil {
		t.Error("a window of no width was accepted")
	}
	long := series("d1", "a", make([]float64, maxWindows+1)...)
	if _, err := Aggregate([]Range{long}, time.Second, ""); err == nil {
		t.Error("more than maxWindows windows were made")
	}
}

func TestPercentilesInterpolate(t *testing.T) {
	sorted := []float64{10, 20, 30, 40}
	for percent, want := range map[float64]float64{0: 10, 50: 25, 100: 40, 95: 38.5} {
		if got := percentile(sorted, percent); !near(got, want) {
			t.Errorf("p%g is %g, want %g", percent, got, want)
		}
	}
	if got := percentile([]float64{7}, 99); !near(got, 7) {
		t.Errorf("p99 of one value is %g", got)
	}
}

func TestLatencyBucketsAreNarrowAndComplete(t *testing.T) {
	for _, v := range []uint64{0, 1, 15, 16, 17, 1000, 123456789, math.MaxInt64} {
		bucket := bucketOf(v)
		if end := bucketEnd(bucket); end < v || float64(end-v) > float64(v)/16 {
			t.Errorf("%d is in a bucket up to %d", v, end)
		}
		if bucket > 0 && bucketEnd(bucket-1) >= v {
			t.Errorf("%d is also in the bucket before its own", v)
		}
	}
	var l Latencies
	for i := 1; i <= 100; i++ {
		l.Add(time.Duration(i) * time.Millisecond)
	}
	if p := l.Percentile(50); p < 50*time.Millisecond || p > 55*time.Millisecond {
		t.Errorf("p50 of 1..100 ms is %s", p)
	}
}
