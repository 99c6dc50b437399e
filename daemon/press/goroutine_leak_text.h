/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Goroutines that leak (goroutine_leaks.h) in words: for the journal, the terminal and a profile's comments. */
#include <stdint.h>

#include "goroutine_leaks.h"
#include "location.h"
#include "vec.h"

struct capture;
struct places;

struct goroutine_leak_text {
	char *service;
	struct process_id process;
	uint64_t id;                         /* the same as long as it is the same leak */
	char *function, *creator;            /* what they run, and "function (file:line)" of the go statement; NULL: not known */
	uint64_t grows_nsec;                 /* so long it was seen to grow */
	struct goroutine_leak is;            /* addresses are those of the process; wait_reason is of no meaning here */
};

typedef VEC(struct goroutine_leak_text) goroutine_leak_text_list;

/* Appends those of a capture, whose frames are at these places, in their order. 0 or -ENOMEM; what is in the list is the caller's either way. */
int goroutine_leak_text_describe(const struct capture *capture, const struct places *places, goroutine_leak_text_list *ret);
void goroutine_leak_text_deinit(goroutine_leak_text_list *list);

/*
 * What they are ("main.worker created by main.handle (/src/a.go:3), waits in chan receive"), and with how many there are, and what tells so
 * ("...: 18,200 now, +18,000 an hour, confidence 77 %, seen growing for 12m, ..."). The caller frees them; NULL: out of memory.
 */
char *goroutine_leak_text_what(const struct goroutine_leak_text *text);
char *goroutine_leak_text_line(const struct goroutine_leak_text *text);
