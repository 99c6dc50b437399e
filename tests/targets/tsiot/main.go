// SPDX-License-Identifier: Apache-2.0

// Tsiot-server is a small server of IoT time series, made to be profiled: it has the work of a real one (ingestion,
// queries, aggregations, privacy transforms), faults of known size to find, and tells at /truth what it really did.
//
//	tsiot-server serve -listen 127.0.0.1:8080 [-leak-goroutines 10] [-contend-hold 2ms] ...
//	tsiot-server load -url http://127.0.0.1:8080 -clients 8 -duration 30s
//
// Read store.go first; ingest.go fills it, query.go, aggregate.go and privacy.go read it, server.go is the door.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const exitUsage = 64 // of sysexits.h

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	if len(os.Args) < 2 {
		usage()
	}
	var err error
	switch verb, args := os.Args[1], os.Args[2:]; verb {
	case "serve":
		err = serveCommand(ctx, args)
	case "load":
		err = loadCommand(ctx, args)
	default:
		usage()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tsiot-server:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: tsiot-server serve|load [flags]; tsiot-server serve -h lists the flags")
	os.Exit(exitUsage)
}

func newFlags(verb string) *flag.FlagSet {
	return flag.NewFlagSet("tsiot-server "+verb, flag.ExitOnError)
}
