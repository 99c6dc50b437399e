// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const maxBody = 8 << 20 // bytes

// A Server answers for one store, over HTTP.
type Server struct {
	store    *Store
	pipeline *Pipeline
	faults   *Faults
	started  time.Time
	done     counters

	randomMu sync.Mutex
	random   *rand.Rand
}

// What was answered so far; failed requests count only as requests and errors.
type counters struct {
	requests     atomic.Int64
	errors       atomic.Int64
	points       atomic.Int64
	queries      atomic.Int64
	aggregations atomic.Int64
	privacy      atomic.Int64
}

func serveCommand(ctx context.Context, args []string) error {
	flags := newFlags("serve")
	listen := flags.String("listen", "127.0.0.1:8080", "`address` to serve on; port 0 takes a free one")
	pprofListen := pprofFlag(flags)
	nShards := flags.Int("shards", 16, "of the store")
	maxSamples := flags.Int("max-samples", 5000, "of one series in memory")
	nDecoders := flags.Int("decoders", 2, "workers that decode uploads")
	nWriters := flags.Int("writers", 2, "workers that write to the store")
	var faults FaultConfig
	faults.addFlags(flags)
	flags.Parse(args)
	if *nShards < 1 || *maxSamples < 4 || *nDecoders < 1 || *nWriters < 1 {
		return errors.New("-shards, -decoders and -writers are at least 1, -max-samples 4")
	}
	if err := faults.Check(); err != nil {
		return err
	}

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if err := startPprof(*pprofListen); err != nil {
		return err
	}
	store := NewStore(*nShards, *maxSamples)
	server := &Server{
		store:    store,
		pipeline: NewPipeline(store, *nDecoders, *nWriters),
		faults:   NewFaults(faults),
		started:  time.Now(),
		random:   rand.New(rand.NewSource(time.Now().UnixNano())),
	}
	server.faults.Start(ctx)

	// Who started us reads the port from this line.
	fmt.Printf("listening on http://%s\n", listener.Addr())
	if err := server.serveUntilDone(ctx, listener); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(server.truth())
}

func (s *Server) serveUntilDone(ctx context.Context, listener net.Listener) error {
	web := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if web.Shutdown(grace) == nil { // otherwise a request may still be at the pipeline's door
		s.pipeline.Close()
	}
	return nil
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ingest", s.answer(http.MethodPost, s.ingest))
	mux.HandleFunc("/query", s.answer(http.MethodGet, s.query))
	mux.HandleFunc("/aggregate", s.answer(http.MethodGet, s.aggregate))
	mux.HandleFunc("/privacy/k-anonymous", s.answer(http.MethodGet, s.kAnonymous))
	mux.HandleFunc("/privacy/noisy", s.answer(http.MethodGet, s.noisy))
	mux.HandleFunc("/truth", s.answer(http.MethodGet, func(*http.Request) (interface{}, error) { return s.truth(), nil }))
	return mux
}

// answer makes a handler of a function that returns what to send as JSON, or what the client did wrong.
func (s *Server) answer(method string, f func(*http.Request) (interface{}, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.done.requests.Add(1)
		if r.Method != method {
			s.done.errors.Add(1)
			w.Header().Set("Allow", method)
			http.Error(w, "only "+method, http.StatusMethodNotAllowed)
			return
		}
		body, err := f(r)
		if err != nil {
			s.done.errors.Add(1)
			status := http.StatusBadRequest
			if errors.Is(err, errBusy) {
				status = http.StatusServiceUnavailable
			}
			http.Error(w, err.Error(), status)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(body)
	}
}

func (s *Server) ingest(r *http.Request) (interface{}, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("body over %d bytes", maxBody)
	}
	n, err := s.pipeline.Ingest(r.Context(), body)
	if err != nil {
		return nil, err
	}
	s.done.points.Add(int64(n))
	return map[string]int{"stored": n}, nil
}

func (s *Server) query(r *http.Request) (interface{}, error) {
	ranges, err := s.selectRanges(r)
	if err != nil {
		return nil, err
	}
	s.done.queries.Add(1)
	return ranges, nil
}

func (s *Server) aggregate(r *http.Request) (interface{}, error) {
	width, err := durationParameter(r, "window", time.Minute)
	if err != nil {
		return nil, err
	}
	ranges, err := s.selectRanges(r)
	if err != nil {
		return nil, err
	}
	windows, err := Aggregate(ranges, width, r.FormValue("by"))
	if err != nil {
		return nil, err
	}
	s.done.aggregations.Add(1)
	return windows, nil
}

func (s *Server) kAnonymous(r *http.Request) (interface{}, error) {
	k, err := numberParameter(r, "k", 5)
	if err != nil {
		return nil, err
	}
	ranges, err := s.selectRanges(r)
	if err != nil {
		return nil, err
	}
	public, nSuppressed, err := KAnonymize(ranges, int(k))
	if err != nil {
		return nil, err
	}
	s.done.privacy.Add(1)
	return map[string]interface{}{"ranges": public, "suppressed": nSuppressed}, nil
}

func (s *Server) noisy(r *http.Request) (interface{}, error) {
	width, err := durationParameter(r, "window", time.Minute)
	if err != nil {
		return nil, err
	}
	var privacy Privacy
	for _, parameter := range []struct {
		name     string
		fallback float64
		value    *float64
	}{{"epsilon", 1, &privacy.Epsilon}, {"low", 0, &privacy.Low}, {"high", 100, &privacy.High}} {
		if *parameter.value, err = numberParameter(r, parameter.name, parameter.fallback); err != nil {
			return nil, err
		}
	}
	ranges, err := s.selectRanges(r)
	if err != nil {
		return nil, err
	}
	windows, err := privacy.Noisy(ranges, width, r.FormValue("by"), s.newRandom())
	if err != nil {
		return nil, err
	}
	s.done.privacy.Add(1)
	return windows, nil
}

func (s *Server) selectRanges(r *http.Request) ([]Range, error) {
	q, err := parseQuery(r.URL.Query(), time.Now())
	if err != nil {
		return nil, err
	}
	return s.store.Select(q), nil
}

// newRandom gives a request a generator of its own: they are not safe to share.
func (s *Server) newRandom() *rand.Rand {
	s.randomMu.Lock()
	defer s.randomMu.Unlock()
	return rand.New(rand.NewSource(s.random.Int63()))
}

func durationParameter(r *http.Request, name string, fallback time.Duration) (time.Duration, error) {
	text := r.FormValue(name)
	if text == "" {
		return fallback, nil
	}
	return time.ParseDuration(text)
}

func numberParameter(r *http.Request, name string, fallback float64) (float64, error) {
	text := r.FormValue(name)
	if text == "" {
		return fallback, nil
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a number: %q", name, text)
	}
	return number, nil
}
