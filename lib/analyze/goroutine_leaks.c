/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_leaks.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "map.h"

enum {
	TICKS_PER_SEC = 10,                  /* times inside: 32 bits are 13 years of them */
	MAX_RECENT = 32, MAX_LONG = 64,      /* points */
	BUSY_LOOKS = 5,                      /* in which clients that are served may seem to be fewer */
	MAX_WINDOWS = 5,
	N_COHORTS = GOROUTINE_LEAKS_COHORTS,
	NO_SITE = UINT32_MAX,
};
#define NSEC_PER_TICK (NSEC_PER_SEC / TICKS_PER_SEC)
/* Whatever goes with the time of day has gone round once. */
#define DAY_TICKS (26U * 3600 * TICKS_PER_SEC)

/* How many were there at a look and at the one before, too: who comes and goes in between is not counted. */
struct point {
	uint32_t tick, n;
	uint32_t most;                       /* of the looks that it stands for, n is the least */
};

/* All the time of a site: when it is full, of each two points one remains, with the lower number. */
struct series {
	struct point at[MAX_LONG];
	uint32_t n, stride;                  /* looks to a point */
	uint32_t n_pending, low, most;       /* looks of the next point, their lowest and highest */
};

struct site_key {
	uint64_t go_pc, start_pc;
	uint64_t wait;
};

enum wait_sort { WAIT_INSIDE, WAIT_SLEEP, WAIT_OUTSIDE };

struct site {
	struct site_key key;
	bool is_used;
	enum wait_sort sort;
	char wait[GO_WAIT_REASON_LENGTH];
	uint32_t first_tick;
	uint32_t n, n_settled;               /* at the last look: all; those that were there at the look before, too */
	struct point recent[MAX_RECENT];     /* a ring */
	uint32_t n_recent;                   /* ever */
	struct series series;
	/* The rise that goes on: where it began, and how high it came. */
	struct point rise;
	uint32_t peak;
	uint32_t longest_rise;               /* ticks, of those that ended in a fall */
};

/* One goroutine, as long as it lives. */
struct known {
	uint64_t id, sp, channel;
	uint32_t site;
	uint32_t first_tick, moved_tick;     /* at this site; moved: last seen to, or first seen */
	uint32_t stamp_tick;                 /* when the garbage collector first saw it wait; 0: not yet */
};

struct goroutine_leaks {
	struct goroutine_leaks_options options;
	struct map site_numbers;             /* site_key -> uint32_t */
	VEC(struct site) sites;
	VEC(uint32_t) free_sites;
	VEC(struct known) known;             /* by id */
	uint64_t origin_nsec, last_nsec;
	uint64_t mask;                       /* of goroutines whose mixed id has none of these bits the age is known */
	struct goroutine_leaks_stats stats;
};

static uint32_t or_default(uint32_t value, uint32_t standard)
{
	return value ? value : standard;
}

struct goroutine_leaks *goroutine_leaks_new(const struct goroutine_leaks_options *options)
{
	struct goroutine_leaks *leaks = calloc(1, sizeof(*leaks));

	if (!leaks)
		return NULL;
	leaks->options = (struct goroutine_leaks_options){
		.half_nsec = options->half_nsec ? options->half_nsec : 60 * NSEC_PER_SEC,
		.least_looks = MAX(or_default(options->least_looks, 5), 4U),
		.least_growth = or_default(options->least_growth, 10),
		.least_confidence = or_default(options->least_confidence, 50),
		.max_sites = or_default(options->max_sites, 10000),
		.max_goroutines = or_default(options->max_goroutines, 1 << 17),
	};
	map_init(&leaks->site_numbers, sizeof(struct site_key), sizeof(uint32_t));
	return leaks;
}

struct goroutine_leaks *goroutine_leaks_free(struct goroutine_leaks *leaks)
{
	if (!leaks)
		return NULL;
	map_deinit(&leaks->site_numbers);
	vec_deinit(&leaks->sites);
	vec_deinit(&leaks->free_sites);
	vec_deinit(&leaks->known);
	free(leaks);
	return NULL;
}

static uint32_t tick_of(const struct goroutine_leaks *leaks, uint64_t nsec)
{
	return nsec <= leaks->origin_nsec ? 1 : (uint32_t)((nsec - leaks->origin_nsec) / NSEC_PER_TICK + 1);
}

static uint64_t nsec_of(const struct goroutine_leaks *leaks, uint32_t tick)
{
	return leaks->origin_nsec + (tick - 1) * NSEC_PER_TICK;
}

/* --- sites ---------------------------------------------------------------------------------------------------- */

/* runtime/runtime2.go waitReasonStrings: "IO wait" is the network poller's; who sleeps is woken by time. */
static enum wait_sort sort_of(const char *wait)
{
	if (!strcmp(wait, "IO wait"))
		return WAIT_OUTSIDE;
	return !strcmp(wait, "sleep") ? WAIT_SLEEP : WAIT_INSIDE;
}

static struct site_key key_of(const struct go_goroutine *g)
{
	struct site_key key = { .go_pc = g->go_pc, .start_pc = g->start_pc, .wait = GOROUTINE_WAIT_NONE };

	if (g->status == GO_WAITING || g->status == GO_LEAKED)
		key.wait = MIN(g->wait_reason, (uint32_t)GO_WAIT_REASONS_MAX);
	else if (g->status == GO_SYSCALL)
		key.wait = GOROUTINE_WAIT_SYSCALL;
	return key;
}

static const char *words_of(const struct go_goroutines *goroutines, uint64_t wait)
{
	if (wait == GOROUTINE_WAIT_NONE)
		return "running";
	if (wait == GOROUTINE_WAIT_SYSCALL)
		return "syscall";
	return wait < GO_WAIT_REASONS_MAX ? goroutines->wait_reasons[wait] : "";
}

/* Those of which there are none any more make room. */
static int forget_empty_sites(struct goroutine_leaks *leaks)
{
	for (uint32_t i = 0; i < leaks->sites.n; i++) {
		struct site *site = &leaks->sites.at[i];

		if (!site->is_used || site->n)
			continue;
		if (vec_push(&leaks->free_sites, i) < 0)
			return -ENOMEM;
		map_remove(&leaks->site_numbers, &site->key);
		site->is_used = false;
	}
	return 0;
}

static int make_site(struct goroutine_leaks *leaks, const struct site_key *key, const char *wait, uint32_t tick, uint32_t *ret)
{
	struct site site = { .key = *key, .is_used = true, .sort = sort_of(wait), .first_tick = tick, .series.stride = 1 };
	uint32_t number;
	void *value;

	snprintf(site.wait, sizeof(site.wait), "%s", wait);
	if (leaks->free_sites.n) {
		number = leaks->free_sites.at[leaks->free_sites.n - 1];
	} else {
		number = (uint32_t)leaks->sites.n;
		if (vec_push(&leaks->sites, site) < 0)
			return -ENOMEM;
	}
	if (map_put(&leaks->site_numbers, key, &value) < 0) {
		if (!leaks->free_sites.n)
			leaks->sites.n--;
		return -ENOMEM;
	}
	if (leaks->free_sites.n)
		leaks->free_sites.n--;
	leaks->sites.at[number] = site;
	*(uint32_t *)value = number;
	*ret = number;
	return 0;
}

/* NO_SITE when there are too many. */
static int find_site(struct goroutine_leaks *leaks, const struct go_goroutines *goroutines, const struct go_goroutine *g, uint32_t tick,
		uint32_t *ret)
{
	struct site_key key = key_of(g);
	const uint32_t *number = map_get(&leaks->site_numbers, &key);

	if (number) {
		*ret = *number;
		return 0;
	}
	*ret = NO_SITE;
	if (leaks->site_numbers.n >= leaks->options.max_sites)
		return 0;
	return make_site(leaks, &key, words_of(goroutines, key.wait), tick, ret);
}

/* --- looks ---------------------------------------------------------------------------------------------------- */

static void series_add(struct series *series, struct point point)
{
	series->low = series->n_pending ? MIN(series->low, point.n) : point.n;
	series->most = series->n_pending ? MAX(series->most, point.most) : point.most;
	if (++series->n_pending < series->stride)
		return;
	series->n_pending = 0;
	if (series->n == MAX_LONG) {
		for (uint32_t i = 0; i < MAX_LONG / 2; i++)
			series->at[i] = (struct point){ series->at[2 * i + 1].tick, MIN(series->at[2 * i].n, series->at[2 * i + 1].n),
				MAX(series->at[2 * i].most, series->at[2 * i + 1].most) };
		series->n /= 2;
		series->stride *= 2;
	}
	series->at[series->n++] = (struct point){ point.tick, series->low, series->most };
}

/* A rise has ended when half of what it brought is gone again. */
static void follow_rise(struct site *site, struct point point, uint32_t least)
{
	if (point.n < site->rise.n || !site->n_recent) {
		if (site->n_recent && site->peak - site->rise.n >= least)
			site->longest_rise = MAX(site->longest_rise, point.tick - site->rise.tick);
		site->rise = point;
		site->peak = point.n;
		return;
	}
	site->peak = MAX(site->peak, point.n);
	if (site->peak - site->rise.n >= least && point.n - site->rise.n < (site->peak - site->rise.n) / 2) {
		site->longest_rise = MAX(site->longest_rise, point.tick - site->rise.tick);
		site->rise = point;
		site->peak = point.n;
	}
}

static void site_add_point(struct site *site, uint32_t tick, uint32_t least)
{
	struct point point = { tick, site->n_settled, site->n_settled };

	follow_rise(site, point, least);
	site->recent[site->n_recent++ % MAX_RECENT] = point;
	series_add(&site->series, point);
}

/* Ids count up: mixed, so that those that remain are of all times and all processors. */
static bool is_followed(const struct goroutine_leaks *leaks, uint64_t id)
{
	return !((id * UINT64_C(0x9e3779b97f4a7c15) >> 32) & leaks->mask);
}

static int compare_known(const void *a, const void *b)
{
	uint64_t x = ((const struct known *)a)->id, y = ((const struct known *)b)->id;

	return x < y ? -1 : x > y;
}

static uint32_t stamp_of(const struct goroutine_leaks *leaks, const struct go_goroutine *g)
{
	return g->wait_since_nsec ? tick_of(leaks, g->wait_since_nsec) : 0;
}

struct look {
	struct goroutine_leaks *leaks;
	uint32_t tick;
	uint32_t *counts;                    /* by site, with room for those that this look brings */
	VEC(struct known) known;
	uint64_t n_left_out;
};

static int look_at_all(struct look *look, const struct go_goroutines *goroutines)
{
	struct goroutine_leaks *leaks = look->leaks;
	uint32_t site;
	int r;

	for (size_t i = 0; i < goroutines->all.n; i++) {
		const struct go_goroutine *g = &goroutines->all.at[i];
		struct known known = { .id = g->id, .sp = g->sp, .channel = g->channel, .first_tick = look->tick, .moved_tick = look->tick,
			.stamp_tick = stamp_of(leaks, g) };

		if (!g->id)
			continue;
		r = find_site(leaks, goroutines, g, look->tick, &site);
		if (r < 0)
			return r;
		if (site == NO_SITE) {
			look->n_left_out++;
			continue;
		}
		look->counts[site]++;
		known.site = site;
		if (is_followed(leaks, g->id) && vec_push(&look->known, known) < 0)
			return -ENOMEM;
	}
	vec_sort(&look->known, compare_known);
	return 0;
}

/* The same goroutine at the look before: it is as old as then, and it has moved if anything of it is not the same. */
static void inherit(struct known *now, const struct known *before)
{
	bool has_moved = now->sp != before->sp || now->channel != before->channel ||
		(before->stamp_tick && now->stamp_tick != before->stamp_tick);

	now->first_tick = before->first_tick;
	if (!has_moved)
		now->moved_tick = before->moved_tick;
}

static void match(struct look *look, const struct goroutine_leaks *leaks, uint32_t *settled)
{
	size_t j = 0;

	for (size_t i = 0; i < look->known.n; i++) {
		struct known *now = &look->known.at[i];

		while (j < leaks->known.n && leaks->known.at[j].id < now->id)
			j++;
		if (j == leaks->known.n || leaks->known.at[j].id != now->id || leaks->known.at[j].site != now->site)
			continue;
		inherit(now, &leaks->known.at[j]);
		settled[now->site]++;
	}
}

/* Of too many goroutines only every second is followed from now on, and so on. */
static void follow_fewer(struct goroutine_leaks *leaks)
{
	size_t n;

	while (leaks->known.n > leaks->options.max_goroutines) {
		leaks->mask = leaks->mask << 1 | 1;
		n = 0;
		for (size_t i = 0; i < leaks->known.n; i++)
			if (is_followed(leaks, leaks->known.at[i].id))
				leaks->known.at[n++] = leaks->known.at[i];
		if (n == leaks->known.n)
			break;
		leaks->known.n = n;
	}
}

static void take_look(struct look *look, const uint32_t *settled, uint64_t taken_nsec)
{
	struct goroutine_leaks *leaks = look->leaks;

	for (uint32_t i = 0; i < leaks->sites.n; i++) {
		struct site *site = &leaks->sites.at[i];

		if (!site->is_used)
			continue;
		site->n = look->counts[i];
		site->n_settled = (uint32_t)MIN(settled[i] * (leaks->mask + 1), (uint64_t)look->counts[i]);
		if (leaks->stats.n_looks)
			site_add_point(site, look->tick, leaks->options.least_growth);
	}
	vec_deinit(&leaks->known);
	leaks->known.at = look->known.at;
	leaks->known.n = look->known.n;
	leaks->known.n_allocated = look->known.n_allocated;
	memset(&look->known, 0, sizeof(look->known));
	follow_fewer(leaks);
	leaks->last_nsec = taken_nsec;
	leaks->stats.n_looks++;
	leaks->stats.n_left_out += look->n_left_out;
}

int goroutine_leaks_add(struct goroutine_leaks *leaks, const struct go_goroutines *goroutines, uint64_t taken_nsec)
{
	struct look look = { .leaks = leaks };
	_cleanup_free_ uint32_t *settled = NULL;
	size_t most;
	int r;

	if (leaks->stats.n_looks && taken_nsec <= leaks->last_nsec)
		return -EINVAL;
	if (!leaks->stats.n_looks)
		leaks->origin_nsec = taken_nsec;
	r = leaks->site_numbers.n >= leaks->options.max_sites ? forget_empty_sites(leaks) : 0;
	if (r < 0)
		return r;
	most = leaks->sites.n + goroutines->all.n + 1;
	most = MAX(leaks->sites.n, MIN(most, (size_t)leaks->options.max_sites)) + 1;
	look.tick = tick_of(leaks, taken_nsec);
	look.counts = calloc(most, sizeof(*look.counts));
	settled = calloc(most, sizeof(*settled));
	r = look.counts && settled ? look_at_all(&look, goroutines) : -ENOMEM;
	if (r >= 0) {
		match(&look, leaks, settled);
		take_look(&look, settled, taken_nsec);
		leaks->stats.n_goroutines = goroutines->all.n;
	}
	free(look.counts);
	vec_deinit(&look.known);
	return r;
}

struct goroutine_leaks_stats goroutine_leaks_stats(const struct goroutine_leaks *leaks)
{
	struct goroutine_leaks_stats stats = leaks->stats;

	stats.n_sites = leaks->site_numbers.n;
	stats.n_of_known_age = leaks->known.n;
	return stats;
}

/* --- growth --------------------------------------------------------------------------------------------------- */

/* The end of a series, and what its numbers do. */
struct window {
	uint32_t site;
	uint32_t start, end;                 /* ticks */
	uint32_t n_points, n_looks;
	double slope;                        /* goroutines a tick */
	double tau;
	/* What is left of those that came since: by when they were first seen. */
	uint64_t cohorts[N_COHORTS];
	uint32_t n_cohorts;
	uint64_t n_still;
	struct goroutine_leak_example examples[GOROUTINE_LEAKS_EXAMPLES];
	uint32_t n_examples;
};
typedef VEC(struct window) window_list;

static double growth_of(const struct window *window)
{
	return window->slope * (window->end - window->start);
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure(struct window *window, const struct point *points, size_t n)
{
	double slopes[MAX_LONG * (MAX_LONG - 1) / 2];
	size_t n_slopes = 0, n_up = 0, n_down = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = i + 1; j < n; j++) {
			if (points[j].tick <= points[i].tick)
				continue;
			n_up += points[j].n > points[i].n;
			n_down += points[j].n < points[i].n;
			slopes[n_slopes++] = ((double)points[j].n - points[i].n) / (points[j].tick - points[i].tick);
		}
	if (!n_slopes)
		return;
	qsort(slopes, n_slopes, sizeof(slopes[0]), compare_doubles);
	window->slope = slopes[n_slopes / 2];
	/* Pairs that are equal are no sign of either; a slow leak has many of them. */
	window->tau = n_up + n_down ? ((double)n_up - (double)n_down) / (double)(n_up + n_down) : 0;
}

/* The lowest of each third of the time is above that of the one before: growth that is over, or falls back, does not pass. */
static bool lows_grow(const struct window *window, const struct point *points, size_t n)
{
	size_t third = MAX(n / 3, (size_t)1);
	uint32_t low[3] = { UINT32_MAX, UINT32_MAX, UINT32_MAX };

	for (size_t i = 0; i < n; i++) {
		size_t part = MIN(i / third, (size_t)2);

		low[part] = MIN(low[part], points[i].n);
	}
	/* Lows a third of the time apart differ by a third of the growth; half of that is asked. */
	return low[1] >= low[0] && low[2] >= low[1] && low[2] - low[1] >= growth_of(window) / 6 && low[2] - low[0] >= growth_of(window) / 3;
}

static int try_window(const struct goroutine_leaks *leaks, window_list *windows, struct window window, const struct point *points, size_t n)
{
	const struct site *site = &leaks->sites.at[window.site];
	uint64_t length;

	if (n + 1 < leaks->options.least_looks || points[n - 1].n < points[0].n + leaks->options.least_growth)
		return 0;
	window.start = points[0].tick;
	window.end = points[n - 1].tick;
	window.n_points = (uint32_t)n;
	length = window.end - window.start;
	if (length * NSEC_PER_TICK < leaks->options.half_nsec || length < 2 * (uint64_t)site->longest_rise)
		return 0;
	measure(&window, points, n);
	if (growth_of(&window) < leaks->options.least_growth || window.tau < 0.5 || !lows_grow(&window, points, n))
		return 0;
	window.n_cohorts = (uint32_t)MIN(n - 1, (size_t)N_COHORTS);
	return vec_push(windows, window);
}

/* The last looks, and all, a half, a quarter and an eighth of the whole time. */
static int try_site(const struct goroutine_leaks *leaks, window_list *windows, uint32_t number)
{
	const struct site *site = &leaks->sites.at[number];
	struct point recent[MAX_RECENT];
	uint32_t n = MIN(site->n_recent, (uint32_t)MAX_RECENT);
	int r;

	if (!site->is_used || site->key.wait == GOROUTINE_WAIT_NONE || site->n < leaks->options.least_growth)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		recent[i] = site->recent[(site->n_recent - n + i) % MAX_RECENT];
	r = n ? try_window(leaks, windows, (struct window){ .site = number, .n_looks = n }, recent, n) : 0;
	for (uint32_t part = site->series.n; r >= 0 && part >= 4 && part > site->series.n / 16 && (part > MAX_RECENT || site->series.stride > 1);
	     part /= 2)
		r = try_window(leaks, windows, (struct window){ .site = number, .n_looks = part * site->series.stride },
				site->series.at + site->series.n - part, part);
	return r;
}

static void add_example(struct window *window, const struct known *known, uint64_t age_nsec)
{
	uint32_t i = window->n_examples;

	if (i == GOROUTINE_LEAKS_EXAMPLES && window->examples[i - 1].age_nsec >= age_nsec)
		return;
	if (i == GOROUTINE_LEAKS_EXAMPLES)
		i--;
	else
		window->n_examples++;
	for (; i && window->examples[i - 1].age_nsec < age_nsec; i--)
		window->examples[i] = window->examples[i - 1];
	window->examples[i] = (struct goroutine_leak_example){ known->id, age_nsec };
}

static void count_cohort(const struct goroutine_leaks *leaks, struct window *window, const struct known *known)
{
	uint64_t scale = leaks->mask + 1, length = window->end - window->start;

	/* Those of its first look are of no known age. */
	if (known->first_tick <= window->start)
		return;
	window->cohorts[MIN((known->first_tick - window->start - 1) * (uint64_t)window->n_cohorts / length, window->n_cohorts - 1)] += scale;
	if (known->moved_tick == known->first_tick)
		window->n_still += scale;
	add_example(window, known, leaks->last_nsec - nsec_of(leaks, known->first_tick));
}

/* `windows` are those of one site after the other. */
static int count_cohorts(const struct goroutine_leaks *leaks, window_list *windows)
{
	_cleanup_free_ uint32_t *first = calloc(leaks->sites.n + 1, sizeof(*first));

	if (!first)
		return -ENOMEM;
	for (size_t i = windows->n; i-- > 0; )
		first[windows->at[i].site] = (uint32_t)i + 1;
	for (size_t i = 0; i < leaks->known.n; i++) {
		const struct known *known = &leaks->known.at[i];

		if (!first[known->site])
			continue;
		for (size_t j = first[known->site] - 1; j < windows->n && windows->at[j].site == known->site; j++)
			count_cohort(leaks, &windows->at[j], known);
	}
	return 0;
}

/* --- verdicts ------------------------------------------------------------------------------------------------- */

/* How evenly the times when those that are left came are spread, 0 to 1; the last of them may yet go. */
static double evenness(const struct window *window)
{
	uint32_t n = window->n_cohorts - 1, n_filled = 0;
	uint64_t sum = 0, early = 0;
	double mean;

	for (uint32_t i = 0; i < n; i++) {
		sum += window->cohorts[i];
		early += i < n / 2 ? window->cohorts[i] : 0;
	}
	mean = (double)sum / n;
	if (!sum || (double)window->cohorts[n - 1] < mean / 8)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		n_filled += (double)window->cohorts[i] >= mean / 4;
	/* Half of them, of a number of parts that may be odd; a leak may double its rate, and those who go soon are there, too. */
	if (n >= 4 && (double)early < 0.25 * (double)sum * (n / 2) / n * 2)
		return 0;
	return n_filled * 4 >= n * 3 ? (double)n_filled / n : 0;
}

static uint64_t n_came(const struct window *window)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i + 1 < window->n_cohorts; i++)
		n += window->cohorts[i];
	return n;
}

struct points {
	const struct point *at;
	uint32_t first, n, size;             /* of a ring of `size` */
};

/* The most of the last n_points up to `tick`; false: there are none. */
static bool find_most(const struct points *points, uint32_t tick, uint32_t n_points, uint32_t *ret)
{
	uint32_t most = 0, n_found = 0;

	for (uint32_t i = points->n; i-- > 0 && n_found < n_points; ) {
		const struct point *point = &points->at[(points->first + i) % points->size];

		if (point->tick > tick)
			continue;
		most = MAX(most, point->most);
		n_found++;
	}
	*ret = most;
	return n_found > 0;
}

/*
 * How many there were at that time. Clients that are served just then do not wait: all may, for a look or two, when something is
 * sent to all of them, or when the process had no CPU for a while.
 */
static uint32_t most_until(const struct site *site, uint32_t tick)
{
	uint32_t n = MIN(site->n_recent, (uint32_t)MAX_RECENT), most = 0;
	const struct points recent = { site->recent, site->n_recent - n, n, MAX_RECENT };
	const struct points all = { site->series.at, 0, site->series.n, MAX_LONG };

	if (!find_most(&recent, tick, BUSY_LOOKS, &most))
		(void)find_most(&all, tick, 1 + BUSY_LOOKS / site->series.stride, &most);
	return most;
}

/* What is added to those who wait for the network, of sites that are no leaks by themselves, too. */
static double network_growth(const struct goroutine_leaks *leaks, const struct window *window)
{
	double sum = 0;

	for (size_t i = 0; i < leaks->sites.n; i++) {
		const struct site *site = &leaks->sites.at[i];

		if (site->is_used && site->sort == WAIT_OUTSIDE)
			sum += (double)most_until(site, UINT32_MAX) - (double)most_until(site, window->start);
	}
	return sum;
}

/* Clients that came and stay, or those that work for them. */
static bool may_be_clients(const struct goroutine_leaks *leaks, const struct window *window)
{
	double network;

	if (window->end - window->start >= DAY_TICKS)
		return false;
	if (leaks->sites.at[window->site].sort == WAIT_OUTSIDE)
		return true;
	network = network_growth(leaks, window);
	return network >= growth_of(window) / 2 && network <= growth_of(window) * 2;
}

static double confidence_of(const struct goroutine_leaks *leaks, const struct window *window)
{
	double length = (double)(window->end - window->start) * (double)NSEC_PER_TICK, came = (double)n_came(window), even, still;

	even = evenness(window);
	if (even <= 0 || growth_of(window) < came / 2)
		return 0;
	still = MIN((double)window->n_still / MAX(came, 1), 1.0);
	return length / (length + (double)leaks->options.half_nsec) * (1 - 2.0 / window->n_looks) * even * (0.5 + window->tau / 2) *
		(0.6 + 0.4 * still) * (may_be_clients(leaks, window) ? 0.45 : 1);
}

static int add_verdict(const struct goroutine_leaks *leaks, const struct window *window, double confidence, goroutine_leak_list *ret)
{
	const struct site *site = &leaks->sites.at[window->site];
	struct goroutine_leak leak = {
		.go_pc = site->key.go_pc, .start_pc = site->key.start_pc, .wait_reason = (uint32_t)site->key.wait, .n = site->n,
		.per_hour = window->slope * TICKS_PER_SEC * 3600, .confidence = (uint32_t)MIN(confidence * 100, 99.0),
		.first_seen_nsec = nsec_of(leaks, site->first_tick), .since_nsec = nsec_of(leaks, window->start),
		.n_looks = window->n_looks, .n_grown = (uint64_t)growth_of(window), .monotony = (uint32_t)(window->tau * 100),
		.n_cohorts = window->n_cohorts, .n_still = window->n_still, .n_examples = window->n_examples,
	};

	memcpy(leak.wait, site->wait, sizeof(leak.wait));
	memcpy(leak.cohorts, window->cohorts, sizeof(leak.cohorts));
	memcpy(leak.examples, window->examples, sizeof(leak.examples));
	return vec_push(ret, leak);
}

static int compare_leaks(const void *left, const void *right)
{
	const struct goroutine_leak *a = left, *b = right;

	if (a->confidence != b->confidence)
		return a->confidence > b->confidence ? -1 : 1;
	return a->per_hour > b->per_hour ? -1 : a->per_hour < b->per_hour;
}

/* Of the windows of one site the surest one. */
static int judge(const struct goroutine_leaks *leaks, const window_list *windows, goroutine_leak_list *ret)
{
	size_t first = ret->n;
	int r = 0;

	for (size_t i = 0; i < windows->n && r >= 0; ) {
		const struct window *best = NULL;
		double most = 0, confidence;
		uint32_t site = windows->at[i].site;

		for (; i < windows->n && windows->at[i].site == site; i++) {
			confidence = confidence_of(leaks, &windows->at[i]);
			if (confidence > most) {
				most = confidence;
				best = &windows->at[i];
			}
		}
		if (best && most * 100 >= leaks->options.least_confidence)
			r = add_verdict(leaks, best, most, ret);
	}
	if (r < 0)
		ret->n = first;
	else if (ret->n > first)
		qsort(ret->at + first, ret->n - first, sizeof(*ret->at), compare_leaks);
	return r;
}

int goroutine_leaks_get(const struct goroutine_leaks *leaks, goroutine_leak_list *ret)
{
	window_list windows = { 0 };
	int r = 0;

	for (uint32_t i = 0; i < leaks->sites.n && r >= 0; i++)
		r = try_site(leaks, &windows, i);
	if (r >= 0)
		r = count_cohorts(leaks, &windows);
	if (r >= 0)
		r = judge(leaks, &windows, ret);
	vec_deinit(&windows);
	return r;
}

static void print_name(uint64_t address, goroutine_name_fn name, void *userdata, FILE *f)
{
	if (name)
		name(address, f, userdata);
	else
		fprintf(f, "0x%" PRIx64, address);
}

void goroutine_leak_print(const struct goroutine_leak *leak, goroutine_name_fn name, void *userdata, FILE *f)
{
	fprintf(f, "leak: %" PRIu64 " goroutines of ", leak->n);
	print_name(leak->start_pc, name, userdata, f);
	fputs(" created by ", f);
	print_name(leak->go_pc, name, userdata, f);
	fprintf(f, " wait (%s), %.0f more an hour, confidence %u%%\n", leak->wait, leak->per_hour, leak->confidence);
	fprintf(f, "    %" PRIu64 " more in %" PRIu64 " looks, monotony %u%%, %" PRIu64 " never moved; came and stayed:", leak->n_grown, leak->n_looks,
			leak->monotony, leak->n_still);
	for (uint32_t i = 0; i < leak->n_cohorts; i++)
		fprintf(f, " %" PRIu64, leak->cohorts[i]);
	for (uint32_t i = 0; i < leak->n_examples; i++)
		fprintf(f, "%s goroutine %" PRIu64 " (%.1f s)", i ? "," : "; oldest:", leak->examples[i].id,
				(double)leak->examples[i].age_nsec / (double)NSEC_PER_SEC);
	putc('\n', f);
}
