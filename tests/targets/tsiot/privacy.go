// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"math/rand"
	"sort"
	"strings"
	"time"
)

// KAnonymize makes ranges safe to publish in the sense of k-anonymity: devices vanish, and every combination of the tags
// that remain is shared by at least k devices. Tags are coarsened until that holds: each step cuts the last part of every
// dotted value ("plant3.hall2.row7" becomes "plant3.hall2.*"); what is still too rare at the end is left out and counted.
func KAnonymize(ranges []Range, k int) (public []Range, nSuppressed int, err error) {
	if k < 1 {
		return nil, 0, fmt.Errorf("k is %d, less than 1", k)
	}
	rare := ranges
	for level := 0; len(rare) > 0; level++ {
		classes := classesAt(rare, level)
		var stillRare []Range
		for _, class := range classes {
			if class.nDevices() >= k {
				public = append(public, class.publish())
			} else {
				stillRare = append(stillRare, class.members...)
			}
		}
		if level > maxDots(rare) {
			return public, len(stillRare), nil
		}
		rare = stillRare
	}
	return public, 0, nil
}

// A class is the ranges that look alike once their tags are coarse and their devices unknown.
type class struct {
	metric  string
	tags    map[string]string
	members []Range
}

func classesAt(ranges []Range, level int) []*class {
	byKey := make(map[string]*class)
	var keys []string
	for _, r := range ranges {
		tags := coarseTags(r.Tags, level)
		key := (&Point{Metric: r.Metric, Tags: tags}).SeriesKey()
		c := byKey[key]
		if c == nil {
			c = &class{metric: r.Metric, tags: tags}
			byKey[key] = c
			keys = append(keys, key)
		}
		c.members = append(c.members, r)
	}
	sort.Strings(keys)

	classes := make([]*class, len(keys))
	for i, key := range keys {
		classes[i] = byKey[key]
	}
	return classes
}

func coarseTags(tags map[string]string, level int) map[string]string {
	coarse := make(map[string]string, len(tags))
	for name, value := range tags {
		coarse[name] = coarsen(value, level)
	}
	return coarse
}

// coarsen cuts that many parts off a dotted value; the last one leaves "*".
func coarsen(value string, level int) string {
	if level == 0 {
		return value
	}
	parts := strings.Split(value, ".")
	if level >= len(parts) {
		return "*"
	}
	return strings.Join(parts[:len(parts)-level], ".") + ".*"
}

func maxDots(ranges []Range) int {
	most := 0
	for _, r := range ranges {
		for _, value := range r.Tags {
			if n := strings.Count(value, "."); n > most {
				most = n
			}
		}
	}
	return most
}

func (c *class) nDevices() int {
	devices := make(map[string]struct{})
	for _, r := range c.members {
		devices[r.Device] = struct{}{}
	}
	return len(devices)
}

func (c *class) publish() Range {
	public := Range{Metric: c.metric, Tags: c.tags}
	for _, r := range c.members {
		public.Samples = append(public.Samples, r.Samples...)
	}
	sort.Slice(public.Samples, func(i, j int) bool { return public.Samples[i].Time < public.Samples[j].Time })
	return public
}

// A Privacy is a differential-privacy mechanism: who sees an answer cannot tell whether one device was part of it.
type Privacy struct {
	Epsilon float64 // smaller is more private; split evenly between count and mean
	Low     float64 // values are clamped to this range, so that a device moves a sum by no more than its larger end
	High    float64
}

// Check says what is wrong with the parameters, if anything.
func (p Privacy) Check() error {
	if !(p.Epsilon > 0) {
		return fmt.Errorf("epsilon is %g, not over 0", p.Epsilon)
	}
	if !(p.Low < p.High) {
		return fmt.Errorf("low %g is not below high %g", p.Low, p.High)
	}
	return nil
}

// A NoisyWindow is what differential privacy lets out of a window.
type NoisyWindow struct {
	Group   string    `json:"group,omitempty"`
	Start   time.Time `json:"start"`
	Devices float64   `json:"devices"`
	Mean    float64   `json:"mean"`
}

// Noisy summarizes as Aggregate does, with Laplace noise on the number of devices and on the sum of their means. The
// promise holds for one window; who sees several windows of one device has spent epsilon several times.
func (p Privacy) Noisy(ranges []Range, width time.Duration, groupBy string, random *rand.Rand) ([]NoisyWindow, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	contributions, err := p.onePerDevice(ranges, width, groupBy)
	if err != nil {
		return nil, err
	}
	windows, err := Aggregate(contributions, width, groupBy)
	if err != nil {
		return nil, err
	}

	noisy := make([]NoisyWindow, len(windows))
	half := p.Epsilon / 2
	for i, w := range windows {
		sum := w.Mean*float64(w.Devices) + laplace(random, math.Max(math.Abs(p.Low), math.Abs(p.High))/half)
		devices := float64(w.Devices) + laplace(random, 1/half)
		noisy[i] = NoisyWindow{
			Group:   w.Group,
			Start:   w.Start,
			Devices: devices,
			Mean:    p.clamp(sum / math.Max(1, devices)),
		}
	}
	return noisy, nil
}

// onePerDevice makes the samples of a device in a window one, their clamped mean, so that a chatty device weighs no more
// than a silent one.
func (p Privacy) onePerDevice(ranges []Range, width time.Duration, groupBy string) ([]Range, error) {
	type key struct{ device, group string }
	byDevice := make(map[key][]Range)
	for _, r := range ranges {
		k := key{r.Device, groupOf(r, groupBy)}
		byDevice[k] = append(byDevice[k], r)
	}

	contributions := make([]Range, 0, len(byDevice))
	for k, members := range byDevice {
		windows, err := Aggregate(members, width, "")
		if err != nil {
			return nil, err
		}
		one := Range{Device: k.device, Tags: map[string]string{groupBy: k.group}}
		for _, w := range windows {
			one.Samples = append(one.Samples, Sample{w.Start.UnixNano(), p.clamp(w.Mean)})
		}
		contributions = append(contributions, one)
	}
	return contributions, nil
}

func (p Privacy) clamp(v float64) float64 {
	return math.Max(p.Low, math.Min(p.High, v))
}

// laplace draws from the Laplace distribution around 0: the difference of two exponential ones.
func laplace(random *rand.Rand, scale float64) float64 {
	return scale * (random.ExpFloat64() - random.ExpFloat64())
}
