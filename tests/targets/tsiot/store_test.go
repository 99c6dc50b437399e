// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/url"
	"reflect"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

func point(device string, seconds int, value float64) *Point {
	return &Point{Metric: "temperature", Device: device, Tags: map[string]string{"site": "a"}, Time: at(seconds), Value: value}
}

func values(r Range) []float64 {
	var vs []float64
	for _, s := range r.Samples {
		vs = append(vs, s.Value)
	}
	return vs
}

func TestSamplesComeBackInOrderOfTime(t *testing.T) {
	store := NewStore(4, 100)
	for _, seconds := range []int{3, 1, 2, 0} {
		store.Add(point("d1", seconds, float64(seconds)))
	}
	ranges := store.Select(Query{From: at(0), To: at(10)})
	if len(ranges) != 1 || !reflect.DeepEqual(values(ranges[0]), []float64{0, 1, 2, 3}) {
		t.Errorf("got %v", ranges)
	}
}

func TestARangeIncludesItsStartAndNotItsEnd(t *testing.T) {
	store := NewStore(4, 100)
	for seconds := 0; seconds < 5; seconds++ {
		store.Add(point("d1", seconds, float64(seconds)))
	}
	ranges := store.Select(Query{From: at(1), To: at(3)})
	if len(ranges) != 1 || !reflect.DeepEqual(values(ranges[0]), []float64{1, 2}) {
		t.Errorf("got %v", ranges)
	}
	if ranges := store.Select(Query{From: at(7), To: at(9)}); len(ranges) != 0 {
		t.Errorf("an empty range came back: %v", ranges)
	}
}

func TestTagsMetricAndDeviceSelect(t *testing.T) {
	store := NewStore(4, 100)
	store.Add(point("d1", 0, 1))
	store.Add(point("d2", 0, 2))
	other := point("d1", 0, 3)
	other.Tags = map[string]string{"site": "b"}
	store.Add(other)

	for _, c := range []struct {
		query Query
		want  int
	}{
		{Query{}, 3},
		{Query{Metric: "temperature"}, 3},
		{Query{Metric: "humidity"}, 0},
		{Query{Tags: map[string]string{"site": "a"}}, 2},
		{Query{Tags: map[string]string{"device": "d1"}}, 2},
		{Query{Tags: map[string]string{"device": "d1", "site": "b"}}, 1},
		{Query{Tags: map[string]string{"hall": "a"}}, 0},
	} {
		c.query.From, c.query.To = at(0), at(1)
		if got := store.Select(c.query); len(got) != c.want {
			t.Errorf("%+v: %d ranges, want %d", c.query, len(got), c.want)
		}
	}
}

func TestASeriesKeepsOnlyItsNewestSamples(t *testing.T) {
	store := NewStore(1, 8)
	for seconds := 0; seconds < 100; seconds++ {
		store.Add(point("d1", seconds, float64(seconds)))
	}
	_, nSamples := store.Size()
	if nSamples > 8 || nSamples < 6 {
		t.Errorf("%d samples kept of at most 8", nSamples)
	}
	last := store.Select(Query{From: at(99), To: at(100)})
	if len(last) != 1 || last[0].Samples[0].Value != 99 {
		t.Errorf("the newest is gone: %v", last)
	}
}

func TestManyWritersLoseNothing(t *testing.T) {
	store := NewStore(4, 1000)
	var wait sync.WaitGroup
	for i := 0; i < 8; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			for seconds := 0; seconds < 100; seconds++ {
				store.Add(point(fmt.Sprint("d", i%4), seconds, 1))
			}
		}(i)
	}
	wait.Wait()
	if nSeries, nSamples := store.Size(); nSeries != 4 || nSamples != 800 {
		t.Errorf("%d series, %d samples, want 4 and 800", nSeries, nSamples)
	}
}

func TestThePipelineStoresAllPointsOfABodyOrNone(t *testing.T) {
	for body, want := range map[string]int{
		`{"metric":"m","device":"d","value":1}`:                                          1,
		` [{"metric":"m","device":"d","value":1},{"metric":"m","device":"e","value":2}]`: 2,
		`[{"metric":"m","device":"d","value":1},{"metric":"m","value":2}]`:               -1,
		`[]`: 0,
		`{`:  -1,
		``:   -1,
	} {
		points, err := decodePoints([]byte(body), noon)
		if want < 0 && err == nil || want >= 0 && (err != nil || len(points) != want) {
			t.Errorf("%s: %d points, error %v", body, len(points), err)
		}
	}
}

func TestQueriesAreParsedOrRefused(t *testing.T) {
	q, err := parseQuery(url.Values{"metric": {"m"}, "tag": {"site:a", "device:d"}, "from": {"-5m"}}, noon)
	if err != nil || q.Metric != "m" || q.Tags["site"] != "a" || q.Tags["device"] != "d" || !q.From.Equal(at(-300)) {
		t.Errorf("%+v, %v", q, err)
	}
	for _, bad := range []url.Values{
		{"tag": {"site"}},
		{"from": {"yesterday"}},
		{"from": {"-1m"}, "to": {"-2m"}},
	} {
		if _, err := parseQuery(bad, noon); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}
