/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Goroutines that are made and never end, found in a series of looks at one process.
 *
 * A site is: who made it (the go statement), what it is (its function), and what it waits for. Three things together make a
 * leak of a site, and each of them alone is what healthy programs do, too:
 *
 *	- its number grows: the median slope of all pairs of looks (Theil and Sen), the same way nearly always (Kendall's tau),
 *	  and the lows of the looks grow with it, so that bursts and a sawtooth are none;
 *	- those that came stay: of each eighth of the time there are as many left, of the oldest as of the latest. Of clients
 *	  that come and go only young ones are there, of a pool that has filled only old ones, of a burst those of one eighth;
 *	- they add up: growth is most of what came. Where as many go as come, though slowly, there is none.
 *
 * How sure that is grows with the time and the number of looks; it is less for goroutines that still move (workers), and
 * for those that wait for the network, or whose number goes with that of those: these may be clients that came and stay, and
 * only when a whole day has passed it is no longer the time of day. A site whose rise has ended in a fall once has to
 * rise for twice as long the next time.
 *
 * Of each site there are two short series of numbers and of each goroutine 40 bytes: of 100,000 goroutines and 10,000 sites
 * 24 MiB. Of more goroutines than `max_goroutines` the ages of every second, fourth, ... are known; all are counted.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cleanup.h"
#include "go_goroutines.h"
#include "vec.h"

struct goroutine_leaks;

struct goroutine_leaks_options {                 /* 0: the default, of each */
	uint64_t half_nsec;                      /* after so long a leak is half as sure as it can be: 60 s; the least time, too */
	uint32_t least_looks;                    /* 5; at least 4: the first one only tells who is there */
	uint32_t least_growth;                   /* goroutines: 10 */
	uint32_t least_confidence;               /* percent: 50 */
	uint32_t max_sites;                      /* 10,000 */
	uint32_t max_goroutines;                 /* 131,072 */
};

enum { GOROUTINE_LEAKS_EXAMPLES = 8, GOROUTINE_LEAKS_COHORTS = 8 };

/* What a goroutine does that waits for no reason that the runtime tells. */
enum {
	GOROUTINE_WAIT_SYSCALL = UINT16_MAX - 1, /* in the kernel, or in C */
	GOROUTINE_WAIT_NONE = UINT16_MAX,        /* runs, or could */
};

struct goroutine_leak {
	uint64_t go_pc, start_pc;
	uint32_t wait_reason;                    /* index into go_goroutines.wait_reasons, or GOROUTINE_WAIT_* */
	char wait[GO_WAIT_REASON_LENGTH];        /* the same in words: "chan receive" */
	uint64_t n;                              /* goroutines now */
	double per_hour;                         /* growth */
	uint32_t confidence;                     /* percent */
	uint64_t first_seen_nsec;                /* as `taken_nsec`: when one of the site was first seen */
	uint64_t since_nsec;                     /* and since when it is seen to grow: what follows is of this time */
	uint64_t n_looks, n_grown;
	uint32_t monotony;                       /* percent: Kendall's tau */
	uint32_t n_cohorts;                      /* in so many equal parts of the time the goroutines that are left were first seen */
	uint64_t cohorts[GOROUTINE_LEAKS_COHORTS]; /* the earliest first */
	uint64_t n_still;                        /* of all cohorts: those that were never seen to move */
	struct goroutine_leak_example {
		uint64_t id;
		uint64_t age_nsec;               /* at least: since it was first seen */
	} examples[GOROUTINE_LEAKS_EXAMPLES];    /* the oldest of those that came since then */
	uint32_t n_examples;
};

struct goroutine_leaks_stats {
	uint64_t n_looks, n_sites, n_left_out;   /* goroutines of sites beyond max_sites, in all looks */
	uint64_t n_of_known_age, n_goroutines;   /* of the last look */
};

typedef VEC(struct goroutine_leak) goroutine_leak_list;

/* NULL: out of memory. For one process, from its start to its end: another program (execve) needs another one. */
struct goroutine_leaks *goroutine_leaks_new(const struct goroutine_leaks_options *options);
struct goroutine_leaks *goroutine_leaks_free(struct goroutine_leaks *leaks);
DEFINE_CLEANUP(struct goroutine_leaks, goroutine_leaks_free);

/*
 * One more look, at `taken_nsec` (CLOCK_MONOTONIC). 0; -EINVAL: it is not later than the one before; -ENOMEM: it is as if it
 * had not been.
 */
int goroutine_leaks_add(struct goroutine_leaks *leaks, const struct go_goroutines *goroutines, uint64_t taken_nsec);

/* Appends what grows now, the surest first, then what grows fastest. 0 or -ENOMEM. */
int goroutine_leaks_get(const struct goroutine_leaks *leaks, goroutine_leak_list *ret);
struct goroutine_leaks_stats goroutine_leaks_stats(const struct goroutine_leaks *leaks);

/*
 * For people, one line and an indented line of evidence. `name` appends what an address is called, or NULL: 0x....
 */
typedef void (*goroutine_name_fn)(uint64_t address, FILE *f, void *userdata);
void goroutine_leak_print(const struct goroutine_leak *leak, goroutine_name_fn name, void *userdata, FILE *f);
