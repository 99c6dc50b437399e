/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The goroutines of a capture as text, as net/http/pprof writes them:
 *
 *	debug=2   each goroutine with its state, stack and creator, as a traceback prints it (runtime/traceback.go). Arguments are not
 *	          read: "(...)"; nor is how far into a function a line is: "+0x12" is left out.
 *	debug=1   each distinct stack once, with how many are there and their labels (runtime/pprof/pprof.go printCountProfile()), and a
 *	          comment for each goroutine, so that lines can be counted. Addresses are return addresses, one a call: what was inlined
 *	          has none of its own.
 *
 * Which frames are left out is as in the version of Go that runs there.
 */
#include <stdio.h>

struct capture;
struct names_cache;

/*
 * What of the capture is no goroutine is left out. Where it has several processes, each has a comment above its goroutines in
 * debug=2. 0, -EINVAL (debug is neither 1 nor 2), -errno of naming; whether it could be written, `out` tells.
 */
int goroutine_text_write(const struct capture *capture, struct names_cache *names, int debug, FILE *out);
