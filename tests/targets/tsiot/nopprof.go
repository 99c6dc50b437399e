// SPDX-License-Identifier: Apache-2.0

//go:build !pprof

package main

import "flag"

func pprofFlag(*flag.FlagSet) *string {
	return new(string)
}

func startPprof(string) error {
	return nil
}
