/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A circle of threads that wait for each other (deadlocks.h) in words: for the journal, the terminal and a profile's comments. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "location.h"
#include "vec.h"

struct capture;
struct deadlock;
struct places;

enum {
	DEADLOCK_TEXT_MAX_WAITS = 64,        /* told of a circle */
	DEADLOCK_TEXT_MAX_FRAMES = 12,       /* of a short stack */
	DEADLOCK_TEXT_MAX_SHORT = 1024,      /* bytes of one */
	DEADLOCK_TEXT_MAX_WHOLE = 16384,
};

struct deadlock_text_wait {
	uint32_t tid, owner_tid;             /* the owner: of the lock */
	uint64_t lock;
	char *thread, *owner_thread;         /* names, fit to show */
	char *stack;                         /* "leaf <- its caller <- ...": functions of the application */
	char *whole_stack;                   /* the same of all frames, those of libc and the kernel too */
};

struct deadlock_text {
	char *service;
	struct process_id process;
	uint64_t id;                         /* the same as long as it is the same circle */
	size_t n_waits;                      /* threads of the circle */
	VEC(struct deadlock_text_wait) waits; /* the first ones of them */
};

/*
 * A circle of the capture, whose frames are at these places. 0 or -ENOMEM; deadlock_text_deinit() is the caller's either way.
 * `ret` is zero-initialised.
 */
int deadlock_text_describe(const struct capture *capture, const struct places *places, const struct deadlock *circle,
		struct deadlock_text *ret);
void deadlock_text_deinit(struct deadlock_text *text);

/* What it is, in one line, and a line for each wait; the caller frees them. NULL: out of memory. */
char *deadlock_text_head(const struct deadlock_text *text);
char *deadlock_text_line(const struct deadlock_text_wait *wait, bool is_whole);

/* A stack as it is put together: its functions are added leaf first. Zero-initialise it with its bound of bytes. */
struct deadlock_text_stack {
	size_t max_size;
	char *text;
	size_t size;
	bool is_cut;
};

/* 0 or -ENOMEM; more than fits is cut, and says so. */
int deadlock_text_add_frame(struct deadlock_text_stack *stack, const char *name);
