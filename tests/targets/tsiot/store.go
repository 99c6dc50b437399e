// SPDX-License-Identifier: Apache-2.0

package main

import (
	"hash/maphash"
	"sort"
	"sync"
	"time"
)

// A Sample is one value of a series.
type Sample struct {
	Time  int64 // nanoseconds since 1970
	Value float64
}

// A Series is the samples of one metric of one device under one set of tags, ordered by time. It holds at most the
// newest maxSamples.
type Series struct {
	Metric  string
	Device  string
	Tags    map[string]string
	samples []Sample
}

// A Store keeps series in memory, spread over shards by key so that writers seldom wait for each other.
type Store struct {
	seed       maphash.Seed
	shards     []shard
	maxSamples int
}

type shard struct {
	mu     sync.RWMutex
	series map[string]*Series
}

// NewStore makes a store of nShards shards whose series hold at most maxSamples samples each.
func NewStore(nShards, maxSamples int) *Store {
	s := &Store{seed: maphash.MakeSeed(), shards: make([]shard, nShards), maxSamples: maxSamples}
	for i := range s.shards {
		s.shards[i].series = make(map[string]*Series)
	}
	return s
}

// Add stores a checked point.
func (s *Store) Add(p *Point) {
	key := p.SeriesKey()
	sh := s.shardOf(key)

	sh.mu.Lock()
	defer sh.mu.Unlock()
	series := sh.series[key]
	if series == nil {
		series = &Series{Metric: p.Metric, Device: p.Device, Tags: p.Tags}
		sh.series[key] = series
	}
	series.insert(Sample{p.Time.UnixNano(), p.Value}, s.maxSamples)
}

// Select copies what matches out of the store, ordered by metric, device and time; every range has at least one sample.
func (s *Store) Select(q Query) []Range {
	var ranges []Range
	for i := range s.shards {
		ranges = s.shards[i].appendMatches(ranges, q)
	}
	sort.Slice(ranges, func(i, j int) bool {
		if ranges[i].Metric != ranges[j].Metric {
			return ranges[i].Metric < ranges[j].Metric
		}
		if ranges[i].Device != ranges[j].Device {
			return ranges[i].Device < ranges[j].Device
		}
		return ranges[i].Samples[0].Time < ranges[j].Samples[0].Time
	})
	return ranges
}

// Size counts series and samples.
func (s *Store) Size() (nSeries, nSamples int) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.RLock()
		nSeries += len(sh.series)
		for _, series := range sh.series {
			nSamples += len(series.samples)
		}
		sh.mu.RUnlock()
	}
	return nSeries, nSamples
}

func (s *Store) shardOf(key string) *shard {
	var h maphash.Hash
	h.SetSeed(s.seed)
	h.WriteString(key)
	return &s.shards[h.Sum64()%uint64(len(s.shards))]
}

func (sh *shard) appendMatches(ranges []Range, q Query) []Range {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, series := range sh.series {
		if !q.matches(series) {
			continue
		}
		if samples := series.between(q.From, q.To); len(samples) > 0 {
			ranges = append(ranges, Range{
				Metric:  series.Metric,
				Device:  series.Device,
				Tags:    series.Tags,
				Samples: append([]Sample(nil), samples...),
			})
		}
	}
	return ranges
}

// insert keeps the order; points nearly always arrive in it, so the search starts at the end.
func (s *Series) insert(sample Sample, maxSamples int) {
	i := len(s.samples)
	for i > 0 && s.samples[i-1].Time > sample.Time {
		i--
	}
	s.samples = append(s.samples, Sample{})
	copy(s.samples[i+1:], s.samples[i:])
	s.samples[i] = sample

	// Dropping the oldest quarter at once makes dropping cheap on average.
	if len(s.samples) > maxSamples {
		n := copy(s.samples, s.samples[len(s.samples)-maxSamples*3/4:])
		s.samples = s.samples[:n]
	}
}

// between is the samples from `from` on and before `to`. It is valid while the shard is locked.
func (s *Series) between(from, to time.Time) []Sample {
	first := sort.Search(len(s.samples), func(i int) bool { return s.samples[i].Time >= from.UnixNano() })
	after := sort.Search(len(s.samples), func(i int) bool { return s.samples[i].Time >= to.UnixNano() })
	if after < first {
		return nil
	}
	return s.samples[first:after]
}
