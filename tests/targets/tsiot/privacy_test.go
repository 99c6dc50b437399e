// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"math/rand"
	"testing"
	"time"
)

func TestNoPublishedClassHasFewerThanKDevices(t *testing.T) {
	var ranges []Range
	for i := 0; i < 60; i++ {
		site := fmt.Sprintf("plant%d.hall%d.row%d", i%2, i%5, i%17)
		ranges = append(ranges, series(fmt.Sprint("d", i), site, float64(i)))
	}
	for _, k := range []int{1, 2, 5, 10, 40} {
		public, nSuppressed, err := KAnonymize(ranges, k)
		if err != nil {
			t.Fatal(err)
		}
		n := nSuppressed
		for _, r := range public {
			if r.Device != "" {
				t.Errorf("k=%d: device %s is public", k, r.Device)
			}
			if len(r.Samples) < k {
				t.Errorf("k=%d: %v is shared by %d devices", k, r.Tags, len(r.Samples))
			}
			n += len(r.Samples)
		}
		if n != len(ranges) {
			t.Errorf("k=%d: %d published or suppressed of %d", k, n, len(ranges))
		}
	}
}

func TestTagsStayFineWhereEnoughShareThem(t *testing.T) {
	ranges := []Range{series("d1", "p.h", 1), series("d2", "p.h", 2), series("d3", "p.x", 3), series("d4", "p.y", 4)}
	public, nSuppressed, err := KAnonymize(ranges, 2)
	if err != nil || nSuppressed != 0 || len(public) != 2 {
		t.Fatalf("%v, %d suppressed, %v", public, nSuppressed, err)
	}
	if public[0].Tags["site"] != "p.h" || public[1].Tags["site"] != "p.*" {
		t.Errorf("%v", public)
	}
}

func TestWhatIsTooRareIsSuppressed(t *testing.T) {
	public, nSuppressed, err := KAnonymize([]Range{series("d1", "a", 1, 2), series("d1", "b", 3)}, 2)
	if err != nil || len(public) != 0 || nSuppressed != 2 {
		t.Errorf("%v, %d suppressed, %v", public, nSuppressed, err)
	}
}

func TestLaplaceNoiseHasItsScale(t *testing.T) {
	const n, scale = 200000, 3.0
	random := rand.New(rand.NewSource(1))
	var sum, absolute float64
	for i := 0; i < n; i++ {
		v := laplace(random, scale)
		if math.IsInf(v, 0) || math.IsNaN(v) {
			t.Fatalf("noise of %g", v)
		}
		sum += v
		absolute += math.Abs(v)
	}
	// The mean is 0 and the mean absolute deviation is the scale.
	if math.Abs(sum/n) > 0.05 || math.Abs(absolute/n-scale) > 0.05 {
		t.Errorf("mean %g, absolute deviation %g", sum/n, absolute/n)
	}
}

func TestNoisyMeansAreNearTheTruthWhenManyTakePart(t *testing.T) {
	var ranges []Range
	for i := 0; i < 1000; i++ {
		ranges = append(ranges, series(fmt.Sprint("d", i), "a", 40, 60))
	}
	p := Privacy{Epsilon: 1, Low: 0, High: 100}
	windows, err := p.Noisy(ranges, time.Minute, "site", rand.New(rand.NewSource(1)))
	if err != nil || len(windows) != 1 || windows[0].Group != "a" {
		t.Fatalf("%v, %v", windows, err)
	}
	if w := windows[0]; math.Abs(w.Devices-1000) > 50 || math.Abs(w.Mean-50) > 5 {
		t.Errorf("%+v", w)
	}
}

func TestAChattyOrWildDeviceCountsOnce(t *testing.T) {
	wild := series("wild", "a", 1e9, 1e9, 1e9, 1e9)
	p := Privacy{Epsilon: 1, Low: 0, High: 10}
	ranges, err := p.onePerDevice([]Range{wild, series("calm", "a", 0)}, time.Minute, "")
	if err != nil {
		t.Fatal(err)
	}
	windows, err := Aggregate(ranges, time.Minute, "")
	if err != nil || len(windows) != 1 || windows[0].Count != 2 || !near(windows[0].Mean, 5) {
		t.Errorf("%+v, %v", windows, err)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	if _, _, err := KAnonymize(nil, 0); err == nil {
		t.Error("k of 0 was accepted")
	}
	for _, p := range []Privacy{{0, 0, 1}, {math.NaN(), 0, 1}, {1, 2, 2}} {
		if p.Check() == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
}
