// SPDX-License-Identifier: Apache-2.0

//go:build pprof

package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof" // registers its handlers
)

func pprofFlag(flags *flag.FlagSet) *string {
	return flags.String("pprof-listen", "127.0.0.1:6061", "loopback `address` of net/http/pprof")
}

// startPprof serves the runtime's own profiles on an address of their own, beside which ours are judged.
func startPprof(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		listener.Close()
		return fmt.Errorf("-pprof-listen %s is not a loopback address", address)
	}
	fmt.Printf("pprof on http://%s\n", listener.Addr())
	go http.Serve(listener, http.DefaultServeMux)
	return nil
}
