/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The clock that Go's runtime counts waits with, runtime.cputicks(): on amd64 the time stamp counter (runtime/asm_amd64.s). A runtime finds out
 * how fast it runs only when something in the program asks for it (runtime/runtime.go ticksPerSecond(), tickspersecond() before 1.21), so
 * most never do. Here it is measured, against CLOCK_MONOTONIC, once: it is the same for all processes and does not change.
 *
 * Both of a rate that is written into a process and of what is read from one, so that they are told by one clock. Not for several threads.
 */

/* Once, early: what is asked later is then answered at once. */
void go_clock_begin(void);
/*
 * To some 0.001 %. Sleeps if go_clock_begin() was less than 20 ms ago, or if the machine slept since it (20 ms then); neither once it is known.
 * 0: the counter does not count.
 */
double go_clock_cycles_per_second(void);
