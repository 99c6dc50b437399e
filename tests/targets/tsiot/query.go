// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// A Query selects series by metric and tags, and their samples by time.
type Query struct {
	Metric string            // "" is every metric
	Tags   map[string]string // all must match; "device" is matched like a tag
	From   time.Time
	To     time.Time // not included
}

// A Range is the part of one series that a query selected.
type Range struct {
	Metric  string            `json:"metric"`
	Device  string            `json:"device,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
	Samples []Sample          `json:"samples"`
}

// MarshalJSON writes [time, value]: half the bytes of an object with names.
func (s Sample) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]interface{}{s.Time, s.Value})
}

// parseQuery reads ?metric=M&tag=name:value&tag=...&from=T&to=T, where T is RFC 3339 or a span before now such as -5m.
func parseQuery(values url.Values, now time.Time) (Query, error) {
	q := Query{Metric: values.Get("metric"), Tags: make(map[string]string)}
	for _, tag := range values["tag"] {
		name, value, found := strings.Cut(tag, ":")
		if !found || name == "" {
			return Query{}, fmt.Errorf("tag %q is not name:value", tag)
		}
		q.Tags[name] = value
	}

	var err error
	if q.From, err = parseTime(values.Get("from"), now, now.Add(-time.Hour)); err != nil {
		return Query{}, err
	}
	// Points of this instant belong to an answer up to now.
	if q.To, err = parseTime(values.Get("to"), now, now.Add(time.Second)); err != nil {
		return Query{}, err
	}
	if !q.From.Before(q.To) {
		return Query{}, fmt.Errorf("from %s is not before to %s", q.From, q.To)
	}
	return q, nil
}

func parseTime(text string, now, fallback time.Time) (time.Time, error) {
	if text == "" {
		return fallback, nil
	}
	if strings.HasPrefix(text, "-") {
		span, err := time.ParseDuration(text)
		return now.Add(span), err
	}
	return time.Parse(time.RFC3339Nano, text)
}

func (q *Query) matches(s *Series) bool {
	if q.Metric != "" && q.Metric != s.Metric {
		return false
	}
	for name, value := range q.Tags {
		has := s.Tags[name]
		if name == "device" {
			has = s.Device
		}
		if has != value {
			return false
		}
	}
	return true
}
