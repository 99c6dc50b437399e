// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

// A Load is what clients do to a server until their time is over.
type Load struct {
	url     string
	batch   int
	devices int
	rate    float64 // requests a second of all clients together; 0 is as fast as they can
	clients int
	client  *http.Client
}

const maxClients = 1000

// The mix of requests, in percent.
var mix = []struct {
	percent int
	send    func(*Load, context.Context, *rand.Rand) error
}{
	{70, (*Load).sendBatch},
	{10, (*Load).sendPoint},
	{10, (*Load).sendQuery},
	{6, (*Load).sendAggregation},
	{2, (*Load).sendKAnonymous},
	{2, (*Load).sendNoisy},
}

// A loadReport is printed at the end, as JSON.
type loadReport struct {
	Requests  int64   `json:"requests"`
	Errors    int64   `json:"errors"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"requests_per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
}

func loadCommand(ctx context.Context, args []string) error {
	flags := newFlags("load")
	l := &Load{}
	flags.StringVar(&l.url, "url", "http://127.0.0.1:8080", "of the server")
	flags.IntVar(&l.clients, "clients", 8, "that ask at the same time")
	flags.IntVar(&l.batch, "batch", 50, "points in a batch")
	flags.IntVar(&l.devices, "devices", 200, "that the points come from")
	flags.Float64Var(&l.rate, "rate", 0, "requests a second of all clients together; 0 is as fast as they can")
	duration := flags.Duration("duration", 10*time.Second, "after which it ends")
	flags.Parse(args)
	if l.clients < 1 || l.clients > maxClients || l.batch < 1 || l.batch > maxBatch || l.devices < 1 || l.rate < 0 {
		return fmt.Errorf("-clients is 1 to %d, -batch 1 to %d, -devices at least 1, -rate at least 0", maxClients, maxBatch)
	}

	l.client = &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: l.clients},
	}
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	report := l.run(ctx)
	json.NewEncoder(os.Stdout).Encode(report)
	if report.Requests == report.Errors {
		return errors.New("no request succeeded")
	}
	return nil
}

func (l *Load) run(ctx context.Context) loadReport {
	var wait sync.WaitGroup
	results := make([]clientResult, l.clients)
	start := time.Now()
	for i := range results {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			l.runClient(ctx, rand.New(rand.NewSource(start.UnixNano()+int64(i))), &results[i])
		}(i)
	}
	wait.Wait()

	total := clientResult{}
	for i := range results {
		total.errors += results[i].errors
		total.latencies.Merge(&results[i].latencies)
	}
	seconds := time.Since(start).Seconds()
	return loadReport{
		Requests:  total.latencies.Count(),
		Errors:    total.errors,
		Seconds:   seconds,
		PerSecond: float64(total.latencies.Count()) / seconds,
		P50:       milliseconds(total.latencies.Percentile(50)),
		P99:       milliseconds(total.latencies.Percentile(99)),
		Max:       milliseconds(total.latencies.Max()),
	}
}

type clientResult struct {
	errors    int64
	latencies Latencies
}

func (l *Load) runClient(ctx context.Context, random *rand.Rand, result *clientResult) {
	for ctx.Err() == nil {
		start := time.Now()
		err := l.sendAny(ctx, random)
		if ctx.Err() != nil {
			return // cut off by the end, neither good nor bad
		}
		result.latencies.Add(time.Since(start))
		if err != nil {
			result.errors++
			pause(ctx, 100*time.Millisecond)
		}
		if l.rate > 0 {
			// Random pauses with the right mean keep clients from marching in step.
			mean := float64(l.clients) / l.rate * float64(time.Second)
			pause(ctx, time.Duration(random.ExpFloat64()*mean)-time.Since(start))
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (l *Load) sendAny(ctx context.Context, random *rand.Rand) error {
	dice := random.Intn(100)
	for _, kind := range mix {
		if dice -= kind.percent; dice < 0 {
			return kind.send(l, ctx, random)
		}
	}
	return nil
}

func (l *Load) sendBatch(ctx context.Context, random *rand.Rand) error {
	points := make([]Point, l.batch)
	for i := range points {
		points[i] = l.randomPoint(random)
	}
	return l.post(ctx, points)
}

func (l *Load) sendPoint(ctx context.Context, random *rand.Rand) error {
	return l.post(ctx, l.randomPoint(random))
}

func (l *Load) sendQuery(ctx context.Context, random *rand.Rand) error {
	return l.get(ctx, "/query", url.Values{
		"metric": {"temperature"},
		"tag":    {"device:" + deviceName(random.Intn(l.devices))},
		"from":   {"-10s"},
	})
}

func (l *Load) sendAggregation(ctx context.Context, random *rand.Rand) error {
	return l.get(ctx, "/aggregate", url.Values{
		"tag":    {"site:" + siteName(random.Intn(l.devices))},
		"from":   {"-10s"},
		"window": {"1s"},
		"by":     {"unit"},
	})
}

func (l *Load) sendKAnonymous(ctx context.Context, random *rand.Rand) error {
	return l.get(ctx, "/privacy/k-anonymous", url.Values{"metric": {"humidity"}, "from": {"-1s"}, "k": {"5"}})
}

func (l *Load) sendNoisy(ctx context.Context, random *rand.Rand) error {
	return l.get(ctx, "/privacy/noisy", url.Values{
		"metric": {"power"}, "from": {"-2s"}, "window": {"1s"}, "epsilon": {"0.5"}, "by": {"site"},
	})
}

var metrics = []struct{ name, unit string }{{"temperature", "C"}, {"humidity", "percent"}, {"power", "W"}}

func (l *Load) randomPoint(random *rand.Rand) Point {
	device := random.Intn(l.devices)
	metric := metrics[random.Intn(len(metrics))]
	return Point{
		Metric: metric.name,
		Device: deviceName(device),
		Tags:   map[string]string{"site": siteName(device), "unit": metric.unit},
		Time:   time.Now(),
		Value:  20 + 60*random.Float64(),
	}
}

func deviceName(device int) string {
	return fmt.Sprintf("device-%04d", device)
}

func siteName(device int) string {
	return fmt.Sprintf("plant%d.hall%d.row%d", device%3, device%7, device%13)
}

func (l *Load) post(ctx context.Context, body interface{}) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+"/ingest", bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	return l.send(request)
}

func (l *Load) get(ctx context.Context, path string, parameters url.Values) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+path+"?"+parameters.Encode(), nil)
	if err != nil {
		return err
	}
	return l.send(request)
}

// send reads the answer to its end, so that the connection can be used again.
func (l *Load) send(request *http.Request) error {
	response, err := l.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
