// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"
	"time"
)

// A Point is one measurement of one device, as clients send it.
type Point struct {
	Metric string            `json:"metric"`
	Device string            `json:"device"`
	Tags   map[string]string `json:"tags,omitempty"`
	Time   time.Time         `json:"time"` // absent: time of arrival
	Value  float64           `json:"value"`
}

const (
	maxNameLength = 128 // of metrics, devices, tag names and tag values
	maxTags       = 16
)

var (
	errNoMetric  = errors.New("point without a metric")
	errNoDevice  = errors.New("point without a device")
	errNotFinite = errors.New("value is not a finite number")
)

// Check says what is wrong with a point, if anything.
func (p *Point) Check() error {
	switch {
	case p.Metric == "":
		return errNoMetric
	case p.Device == "":
		return errNoDevice
	case math.IsNaN(p.Value) || math.IsInf(p.Value, 0):
		return errNotFinite
	case len(p.Metric) > maxNameLength || len(p.Device) > maxNameLength:
		return fmt.Errorf("metric or device longer than %d bytes", maxNameLength)
	case len(p.Tags) > maxTags:
		return fmt.Errorf("%d tags, more than %d", len(p.Tags), maxTags)
	}
	for name, value := range p.Tags {
		if name == "" || len(name) > maxNameLength || len(value) > maxNameLength {
			return fmt.Errorf("tag %q=%q: name empty or longer than %d bytes", name, value, maxNameLength)
		}
	}
	return nil
}

// SeriesKey is the identity of the series a point belongs to: metric, device and tags, in an order of their own.
func (p *Point) SeriesKey() string {
	names := make([]string, 0, len(p.Tags))
	for name := range p.Tags {
		names = append(names, name)
	}
	sort.Strings(names)

	var key strings.Builder
	key.WriteString(p.Metric)
	key.WriteByte(0)
	key.WriteString(p.Device)
	for _, name := range names {
		key.WriteByte(0)
		key.WriteString(name)
		key.WriteByte(1)
		key.WriteString(p.Tags[name])
	}
	return key.String()
}
