/* SPDX-License-Identifier: Apache-2.0 */
#include "go_idle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "go_findings.h"
#include "map.h"
#include "stacks.h"

enum { SNAPSHOTS_ENOUGH = 10 };

struct start_key {
	uint64_t start;
	uint32_t process, zero;
};

/* Of goroutines that began with one function. */
struct start {
	uint32_t deepest, home_depth;
	uint32_t home;                       /* index into stacks */
	bool has_home, is_ambiguous;
};

struct finding {
	const struct stacks *stacks;
	const struct go_findings *findings;
	struct go_idle_place *places;        /* of samples */
	struct map starts;                   /* struct start_key -> struct start */
};

static const struct go_sample *tallied(const struct finding *f, size_t i)
{
	const struct go_sample *go = go_findings_sample(f->findings, i);

	return go && go->sort == GO_SAMPLE_TALLY ? go : NULL;
}

static const struct stacks_stack *stack_of(const struct finding *f, size_t i)
{
	return &f->stacks->stacks.at[f->stacks->samples.at[i].stack];
}

static const char *reason_of(const struct finding *f, const struct go_sample *go)
{
	return go->tally.wait_reason < f->findings->n_wait_reasons ? f->findings->wait_reasons[go->tally.wait_reason] : "";
}

static bool is_read(const struct finding *f, const struct go_sample *go)
{
	return !strcmp(reason_of(f, go), "IO wait");
}

static bool is_sleep(const struct finding *f, const struct go_sample *go)
{
	return !strcmp(reason_of(f, go), "sleep");
}

/* runtime/runtime2.go waitReasonStrings. */
static bool is_way_of_work(const char *reason)
{
	static const char *const ways[] = {
		"chan receive", "chan receive (nil chan)", "select", "select (no cases)", "sleep", "sync.Cond.Wait", "finalizer wait", "cleanup wait",
	};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (!strcmp(reason, ways[i]))
			return true;
	return false;
}

static bool has_whole_stack(const struct finding *f, size_t i)
{
	return stack_of(f, i)->n_user && stack_of(f, i)->verdict == SAMPLE_VERDICT_COMPLETE;
}

static bool is_for_work(const struct finding *f, size_t i, const struct go_sample *go)
{
	return go->tally.status == GO_WAITING && has_whole_stack(f, i) && is_way_of_work(reason_of(f, go));
}

/* Where nothing of the application is in the stack, or a connection is waited for: idle whatever else is seen. */
static bool is_nobodys(const struct finding *f, size_t i, const struct go_sample *go)
{
	return go->tally.status == GO_WAITING && has_whole_stack(f, i) && (!f->places[i].depth || f->places[i].accepts) &&
	       (is_way_of_work(reason_of(f, go)) || is_read(f, go));
}

static struct start_key key_of(const struct finding *f, size_t i)
{
	return (struct start_key){ .start = f->places[i].start, .process = stack_of(f, i)->process };
}

static void look_for_home(struct start *start, uint32_t depth, uint32_t stack)
{
	if (!start->has_home || depth < start->home_depth) {
		start->has_home = true;
		start->is_ambiguous = false;
		start->home_depth = depth;
		start->home = stack;
	}
	if (depth == start->home_depth && stack != start->home)
		start->is_ambiguous = true;
}

static int find_starts(struct finding *f, go_idle_place_fn place, const void *userdata)
{
	for (size_t i = 0; i < f->stacks->samples.n; i++) {
		const struct go_sample *go = tallied(f, i);
		struct start *start;
		struct start_key key;
		void *value;

		if (!go || !has_whole_stack(f, i))
			continue;
		f->places[i] = place(stack_of(f, i), userdata);
		key = key_of(f, i);
		if (map_put(&f->starts, &key, &value) < 0)
			return -ENOMEM;
		start = value;
		start->deepest = MAX(start->deepest, f->places[i].depth);
		if (is_for_work(f, i, go) || is_nobodys(f, i, go))
			look_for_home(start, f->places[i].depth, f->stacks->samples.at[i].stack);
	}
	return 0;
}

/* A few snapshots may be like each other by chance. */
static bool stayed(const struct finding *f, size_t i, const struct go_sample *go)
{
	const struct go_process_facts *facts = go_findings_process(f->findings, stack_of(f, i)->process);

	return facts && facts->tally.n_snapshots >= SNAPSHOTS_ENOUGH && go->tally.n_least && go->tally.n_least == go->tally.n_most;
}

static bool comes_back(const struct finding *f, size_t i, const struct go_sample *go, const struct start *start)
{
	return start->deepest > start->home_depth || go->tally.n_most > 1 || stayed(f, i, go);
}

static bool is_idle(const struct finding *f, size_t i)
{
	const struct go_sample *go = tallied(f, i);
	const struct start *start;
	struct start_key key;

	if (!go)
		return false;
	if (is_nobodys(f, i, go))
		return true;
	if (!is_for_work(f, i, go))
		return false;
	key = key_of(f, i);
	start = map_get(&f->starts, &key);
	if (!start || f->places[i].depth > start->home_depth)
		return false;
	/* Of what nobody but a clock ends, several places may be home. */
	return is_sleep(f, go) || (!start->is_ambiguous && start->home == f->stacks->samples.at[i].stack && comes_back(f, i, go, start));
}

int go_idle_find(struct stacks *stacks, const struct go_findings *findings, go_idle_place_fn place, const void *userdata)
{
	struct finding f = { .stacks = stacks, .findings = findings };
	int r;

	if (!findings || !findings->samples.n)
		return 0;
	f.places = calloc(stacks->samples.n, sizeof(*f.places));
	map_init(&f.starts, sizeof(struct start_key), sizeof(struct start));
	r = f.places ? find_starts(&f, place, userdata) : -ENOMEM;
	for (size_t i = 0; i < stacks->samples.n; i++)
		if (tallied(&f, i))
			stacks->samples.at[i].is_idle = r >= 0 && is_idle(&f, i);
	map_deinit(&f.starts);
	free(f.places);
	return r;
}
