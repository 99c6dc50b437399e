// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/pprof"
	"sync"
	"time"
)

// A Pipeline takes uploads through two stages of workers joined by channels: decoders turn JSON into checked points,
// writers put those into the store. Both channels are bounded: when the store is slow, uploads wait at the door.
type Pipeline struct {
	store    *Store
	uploads  chan *upload
	writes   chan *upload
	decoders sync.WaitGroup
	writers  sync.WaitGroup
}

// An upload travels through the pipeline and back to who waits on done.
type upload struct {
	body   []byte
	points []Point
	err    error
	done   chan struct{}
}

const (
	queueLength = 64
	maxBatch    = 10000 // points
)

var errBusy = errors.New("ingestion is busy, try again")

// NewPipeline starts the workers. Close ends them.
func NewPipeline(store *Store, nDecoders, nWriters int) *Pipeline {
	p := &Pipeline{
		store:   store,
		uploads: make(chan *upload, queueLength),
		writes:  make(chan *upload, queueLength),
	}
	startWorkers(&p.decoders, nDecoders, "decode", p.decodeAll)
	startWorkers(&p.writers, nWriters, "write", p.writeAll)
	return p
}

// The label tells the stages apart in profiles taken by the runtime.
func startWorkers(group *sync.WaitGroup, n int, stage string, work func()) {
	group.Add(n)
	for i := 0; i < n; i++ {
		go pprof.Do(context.Background(), pprof.Labels("stage", stage), func(context.Context) {
			defer group.Done()
			work()
		})
	}
}

// Ingest stores the points of a body, one object or an array of them: all or, if one is wrong, none. It returns how many.
func (p *Pipeline) Ingest(ctx context.Context, body []byte) (int, error) {
	u := &upload{body: body, done: make(chan struct{})}
	select {
	case p.uploads <- u:
	case <-ctx.Done():
		return 0, errBusy
	}
	<-u.done
	if u.err != nil {
		return 0, u.err
	}
	return len(u.points), nil
}

// Close waits until what is under way is stored. Nothing may be ingested after it.
func (p *Pipeline) Close() {
	close(p.uploads)
	p.decoders.Wait()
	close(p.writes)
	p.writers.Wait()
}

func (p *Pipeline) decodeAll() {
	for u := range p.uploads {
		u.points, u.err = decodePoints(u.body, time.Now())
		if u.err != nil {
			close(u.done)
			continue
		}
		p.writes <- u
	}
}

func (p *Pipeline) writeAll() {
	for u := range p.writes {
		for i := range u.points {
			p.store.Add(&u.points[i])
		}
		close(u.done)
	}
}

func decodePoints(body []byte, now time.Time) ([]Point, error) {
	points, err := unmarshalPoints(body)
	if err != nil {
		return nil, err
	}
	if len(points) > maxBatch {
		return nil, fmt.Errorf("%d points, more than %d", len(points), maxBatch)
	}
	for i := range points {
		if points[i].Time.IsZero() {
			points[i].Time = now
		}
		if err := points[i].Check(); err != nil {
			return nil, fmt.Errorf("point %d: %w", i, err)
		}
	}
	return points, nil
}

func unmarshalPoints(body []byte) ([]Point, error) {
	if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
		var points []Point
		err := json.Unmarshal(body, &points)
		return points, err
	}
	points := make([]Point, 1)
	err := json.Unmarshal(body, &points[0])
	return points, err
}
