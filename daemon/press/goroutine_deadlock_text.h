/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Goroutines that nobody will wake any more (go_findings.h) in words: for the journal, the terminal and a profile's comments. */
#include <stddef.h>
#include <stdint.h>

#include "location.h"
#include "vec.h"

struct capture;
struct places;

struct goroutine_deadlock_text {
	char *service;
	struct process_id process;
	uint64_t id;                         /* the same as long as it is the same deadlock */
	char *head;                          /* "5 goroutines wait for each other's locks, ..." */
	VEC(char *) members;                 /* a line each, the first of them: "goroutine 18 waits in chan receive at main.worker (/src/a.go:3), ..." */
	uint64_t n_members;                  /* all */
};

typedef VEC(struct goroutine_deadlock_text) goroutine_deadlock_text_list;

/* Appends those of a capture, whose frames are at these places, in their order. 0 or -ENOMEM; what is in the list is the caller's either way. */
int goroutine_deadlock_text_describe(const struct capture *capture, const struct places *places, goroutine_deadlock_text_list *ret);
void goroutine_deadlock_text_deinit(goroutine_deadlock_text_list *list);
