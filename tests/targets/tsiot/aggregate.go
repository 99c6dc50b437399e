// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"sort"
	"time"
)

// A Window is the summary of what a group of series measured in one span of time.
type Window struct {
	Group   string    `json:"group,omitempty"`
	Start   time.Time `json:"start"`
	Devices int       `json:"devices"` // how many different ones
	Count   int       `json:"count"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	Mean    float64   `json:"mean"`
	StdDev  float64   `json:"stddev"`
	P50     float64   `json:"p50"`
	P95     float64   `json:"p95"`
	P99     float64   `json:"p99"`
}

// maxWindows bounds the answer to a query of a long time in short windows.
const maxWindows = 10000

type windowKey struct {
	group string
	start int64
}

type windowContent struct {
	values  []float64
	devices map[string]struct{}
}

// Aggregate summarizes ranges by windows of equal width, aligned to the epoch, and by the value of the tag groupBy ("" is
// one group). Windows without a sample are absent; the order is group, then time.
func Aggregate(ranges []Range, width time.Duration, groupBy string) ([]Window, error) {
	if width <= 0 {
		return nil, fmt.Errorf("window of %s", width)
	}
	contents := make(map[windowKey]*windowContent)
	for _, r := range ranges {
		group := groupOf(r, groupBy)
		for _, sample := range r.Samples {
			key := windowKey{group, floorTo(sample.Time, int64(width))}
			content := contents[key]
			if content == nil {
				if len(contents) == maxWindows {
					return nil, fmt.Errorf("more than %d windows: choose wider ones", maxWindows)
				}
				content = &windowContent{devices: make(map[string]struct{})}
				contents[key] = content
			}
			content.values = append(content.values, sample.Value)
			content.devices[r.Device] = struct{}{}
		}
	}
	return summarizeAll(contents), nil
}

func groupOf(r Range, groupBy string) string {
	switch groupBy {
	case "":
		return ""
	case "device":
		return r.Device
	}
	return r.Tags[groupBy]
}

func floorTo(t, width int64) int64 {
	rest := t % width
	if rest < 0 {
		rest += width
	}
	return t - rest
}

func summarizeAll(contents map[windowKey]*windowContent) []Window {
	windows := make([]Window, 0, len(contents))
	for key, content := range contents {
		w := summarize(content.values)
		w.Group = key.group
		w.Start = time.Unix(0, key.start).UTC()
		w.Devices = len(content.devices)
		windows = append(windows, w)
	}
	sort.Slice(windows, func(i, j int) bool {
		if windows[i].Group != windows[j].Group {
			return windows[i].Group < windows[j].Group
		}
		return windows[i].Start.Before(windows[j].Start)
	})
	return windows
}

// summarize sorts the values, of which there is at least one.
func summarize(values []float64) Window {
	sort.Float64s(values)
	mean, stdDev := meanAndStdDev(values)
	return Window{
		Count:  len(values),
		Min:    values[0],
		Max:    values[len(values)-1],
		Mean:   mean,
		StdDev: stdDev,
		P50:    percentile(values, 50),
		P95:    percentile(values, 95),
		P99:    percentile(values, 99),
	}
}

// meanAndStdDev is Welford's method: one pass, and no loss when the mean is large beside the deviation.
func meanAndStdDev(values []float64) (mean, stdDev float64) {
	var squares float64
	for i, v := range values {
		delta := v - mean
		mean += delta / float64(i+1)
		squares += delta * (v - mean)
	}
	return mean, math.Sqrt(squares / float64(len(values)))
}

// percentile interpolates between the two nearest of sorted values.
func percentile(sorted []float64, percent float64) float64 {
	rank := percent / 100 * float64(len(sorted)-1)
	below := int(rank)
	if below+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[below] + (rank-float64(below))*(sorted[below+1]-sorted[below])
}
