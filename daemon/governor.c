/* SPDX-License-Identifier: Apache-2.0 */
#include "governor.h"

#include "cleanup.h"
#include "clock.h"

/* One core is not saved by sparing 1/100 of it, and a small machine is not worth less of a profile. */
static const uint64_t least_core_ppm = 10000;
/* Clocks of helpers and of the kernel's programs are read one after the other: below a second that shows. */
static const uint64_t least_span_nsec = NSEC_PER_SEC;
/* A schedule of a second does not make judgements of a second worth anything; one of an hour does not excuse waiting for hours. */
static const uint64_t least_cycle_nsec = 10 * NSEC_PER_SEC, most_cycle_nsec = 300 * NSEC_PER_SEC;
static const uint64_t patience_cycles = 2;
static const uint64_t calm_cycles = 3;
/* To double the rate doubles the cost at the very most, and mostly much less: most of it does not depend on the rate. */
static const uint64_t calm_percent = 60;
/* A window of 30 s every 5 minutes may take 10 times the budget while it lasts, if it is our own time. */
static const uint64_t rush_factor = 4;
static const uint32_t rush_spans = 2;
/* With cycles of 5 minutes: 4 hours. */
static const uint64_t most_calm_factor = 16;

/* Twice in a row, and then long enough for what was done to show. */
static const uint32_t memory_spans = 2;
static const uint64_t memory_recovered_percent = 80;
/* To an eighth: less than that is too little to unwind anything. */
static const uint32_t most_tables_reliefs = 3;

static uint64_t cycle(const struct governor *governor)
{
	return MIN(MAX(governor->options.cycle_nsec, least_cycle_nsec), most_cycle_nsec);
}

/* Of one CPU. */
static uint64_t allowed_ppm(const struct governor *governor)
{
	return MAX((uint64_t)governor->options.cpu_ppm * governor->options.n_cpus, least_core_ppm);
}

/* Durations are below hours: no overflow. */
static uint64_t allowed(const struct governor *governor, uint64_t duration_nsec)
{
	return duration_nsec / 1000 * allowed_ppm(governor) / 1000;
}

static uint64_t share_ppm(const struct governor *governor, uint64_t cpu_nsec, uint64_t duration_nsec)
{
	return duration_nsec ? (uint64_t)(1e6 * cpu_nsec / duration_nsec / governor->options.n_cpus) : 0;
}

void governor_init(struct governor *governor, const struct governor_options *options)
{
	*governor = (struct governor){ .calm_factor = 1 };
	governor_set_options(governor, options);
	governor->since_relief_nsec = cycle(governor);
}

void governor_set_options(struct governor *governor, const struct governor_options *options)
{
	governor->options = *options;
	governor->options.n_cpus = MAX(options->n_cpus, 1U);
}

uint32_t governor_level(const struct governor *governor)
{
	return governor->level;
}

uint32_t governor_rate(const struct governor *governor, uint32_t rate)
{
	return rate ? MAX(rate >> governor->level, 1U) : 0;
}

uint64_t governor_cost_ppm(const struct governor *governor)
{
	return governor->cost_ppm;
}

uint64_t governor_budget_ppm(const struct governor *governor)
{
	return allowed_ppm(governor) / governor->options.n_cpus;
}

/* A new level is judged by what it costs itself. */
static struct governor_decision step(struct governor *governor, int by, uint64_t cpu_nsec, uint64_t duration_nsec)
{
	governor->level += by;
	governor->debt_nsec = governor->debt_cpu_nsec = governor->debt_duration_nsec = 0;
	governor->calm_cpu_nsec = governor->calm_duration_nsec = 0;
	governor->n_rushes = 0;
	return (struct governor_decision){ .step = by, .cost_ppm = share_ppm(governor, cpu_nsec, duration_nsec) };
}

static uint64_t calm_wait(const struct governor *governor)
{
	return cycle(governor) * calm_cycles * governor->calm_factor;
}

static void owe(struct governor *governor, const struct governor_measure *span)
{
	uint64_t may = allowed(governor, span->duration_nsec);
	/* Whatever happened in it, one span alone decides nothing. */
	uint64_t most = allowed(governor, cycle(governor) * patience_cycles) / 2;

	if (span->cpu_nsec > may)
		governor->debt_nsec += MIN(span->cpu_nsec - may, most);
	else
		governor->debt_nsec -= MIN(may - span->cpu_nsec, governor->debt_nsec);
	if (!governor->debt_nsec) {
		governor->debt_cpu_nsec = governor->debt_duration_nsec = 0;
		return;
	}
	governor->debt_cpu_nsec += span->cpu_nsec;
	governor->debt_duration_nsec += span->duration_nsec;
}

static struct governor_decision step_down(struct governor *governor, uint64_t cpu_nsec, uint64_t duration_nsec)
{
	struct governor_decision decision = step(governor, 1, cpu_nsec, duration_nsec);

	/* What was too early shows sooner or later, by how much it is too much; what comes much later has other reasons. */
	if (governor->was_up && governor->since_up_nsec < cycle(governor) * calm_cycles * most_calm_factor)
		governor->calm_factor = MIN(2 * governor->calm_factor, most_calm_factor);
	else
		governor->calm_factor = 1;
	governor->was_up = false;
	governor->cost_ppm = decision.cost_ppm;
	return decision;
}

static struct governor_decision step_up(struct governor *governor)
{
	governor->was_up = true;
	governor->since_up_nsec = 0;
	return step(governor, -1, governor->calm_cpu_nsec, governor->calm_duration_nsec);
}

/* Whether the calm time is over, and was one. */
static bool was_calm(struct governor *governor, const struct governor_measure *span)
{
	uint64_t most;

	governor->calm_duration_nsec += span->duration_nsec;
	governor->calm_cpu_nsec += span->cpu_nsec;
	most = allowed(governor, calm_wait(governor)) / 100 * calm_percent;
	/* More than the whole of it may cost: it begins anew now and not at its end. */
	if (governor->calm_cpu_nsec > most) {
		governor->calm_duration_nsec = governor->calm_cpu_nsec = 0;
		return false;
	}
	return governor->calm_duration_nsec >= calm_wait(governor);
}

static bool is_rushing(struct governor *governor, const struct governor_measure *span)
{
	bool is_far_too_much = span->bpf_nsec > rush_factor * allowed(governor, span->duration_nsec);

	governor->n_rushes = is_far_too_much ? governor->n_rushes + 1 : 0;
	return governor->n_rushes >= rush_spans && governor->level + 1 < GOVERNOR_LEVELS;
}

static struct governor_decision judge_cpu(struct governor *governor, const struct governor_measure *span)
{
	const struct governor_decision none = { 0 };

	governor->since_up_nsec += span->duration_nsec;
	if (is_rushing(governor, span))
		return step_down(governor, span->cpu_nsec, span->duration_nsec);
	if (governor->age_nsec < cycle(governor)) {
		governor->age_nsec += span->duration_nsec;
		return none;
	}
	owe(governor, span);
	if (governor->debt_nsec > allowed(governor, cycle(governor) * patience_cycles)) {
		if (governor->level + 1 < GOVERNOR_LEVELS)
			return step_down(governor, governor->debt_cpu_nsec, governor->debt_duration_nsec);
		/* There is nothing below: what is owed is not held against the time after. */
		governor->debt_nsec = governor->debt_cpu_nsec = governor->debt_duration_nsec = 0;
	}
	return governor->level && was_calm(governor, span) ? step_up(governor) : none;
}

/* Each is asked for once until memory has recovered; of the tables' part only what they can do without, for good. */
static enum governor_relief next_relief(struct governor *governor)
{
	if (!governor->has_dropped) {
		governor->has_dropped = true;
		return GOVERNOR_RELIEF_CACHES;
	}
	if (governor->n_tables_reliefs < most_tables_reliefs) {
		governor->n_tables_reliefs++;
		return GOVERNOR_RELIEF_TABLES;
	}
	if (governor->has_told)
		return GOVERNOR_RELIEF_NONE;
	governor->has_told = true;
	return GOVERNOR_RELIEF_TELL;
}

static enum governor_relief judge_memory(struct governor *governor, const struct governor_measure *span)
{
	uint64_t budget = governor->options.memory_bytes;

	governor->since_relief_nsec += span->duration_nsec;
	governor->n_memory_over = span->memory_bytes > budget ? governor->n_memory_over + 1 : 0;
	if (span->memory_bytes < budget / 100 * memory_recovered_percent)
		governor->has_dropped = governor->has_told = false;
	if (governor->n_memory_over < memory_spans || governor->since_relief_nsec < cycle(governor))
		return GOVERNOR_RELIEF_NONE;
	governor->since_relief_nsec = 0;
	return next_relief(governor);
}

struct governor_decision governor_add(struct governor *governor, const struct governor_measure *measure)
{
	struct governor_measure span = governor->span;
	struct governor_decision decision = { 0 };

	span.duration_nsec += measure->duration_nsec;
	span.cpu_nsec += measure->cpu_nsec;
	span.bpf_nsec += measure->bpf_nsec;
	span.memory_bytes = measure->memory_bytes;
	if (span.duration_nsec < least_span_nsec) {
		governor->span = span;
		return decision;
	}
	governor->span = (struct governor_measure){ 0 };
	decision = judge_cpu(governor, &span);
	decision.relief = judge_memory(governor, &span);
	return decision;
}
