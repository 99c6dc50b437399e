// SPDX-License-Identifier: Apache-2.0

// asks URL RATE: so many requests a second for URL until its standard input ends, then a line of JSON: how long they took, in microseconds.
// Each has its moment, and its time is from then on: those that had to wait for an answer before them took that long, too.
package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"
)

const clients = 16

func main() {
	url := os.Args[1]
	rate, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	ask := func() error {
		answer, err := client.Get(url)
		if err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		return err
	}
	moments := make(chan time.Time, 1<<20)
	took := [clients][]float64{}
	failed := [clients]int{}
	var group sync.WaitGroup
	for i := 0; i < clients; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			for moment := range moments {
				if ask() != nil {
					failed[i]++
					continue
				}
				took[i] = append(took[i], float64(time.Since(moment).Nanoseconds())/1e3)
			}
		}(i)
	}
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	start := time.Now()
	for n := 0; ; n++ {
		moment := start.Add(time.Duration(n) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(moment))
		select {
		case <-ended:
			close(moments)
			group.Wait()
			tell(took[:], failed[:])
			return
		default:
			moments <- moment
		}
	}
}

func tell(took [][]float64, failed []int) {
	var all []float64
	n := 0
	for i := range took {
		all = append(all, took[i]...)
		n += failed[i]
	}
	sort.Float64s(all)
	at := func(share float64) float64 {
		if len(all) == 0 {
			return 0
		}
		return all[int(share*float64(len(all)-1))]
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"requests": len(all), "failed": n, "p50": at(0.5), "p99": at(0.99), "p999": at(0.999),
		"highest": at(1)})
}
