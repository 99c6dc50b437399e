/* SPDX-License-Identifier: Apache-2.0 */
#include "go_findings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "go_report.h"
#include "go_stuck.h"
#include "hash.h"
#include "location.h"
#include "map.h"
#include "stacks.h"

/* Numbers of a process may be anything. Within these bounds scaling cannot leave an int64_t, and exp() tells a size from 0. */
static const uint64_t most_bytes = UINT64_C(1) << 62, most_rate = UINT64_C(1) << 50;
static const double most_count = 0x1p62;

struct adding {
	struct go_findings *findings;
	struct stacks *stacks;
	const struct go_addition *of;
	uint32_t process;
	struct map stack_of;                 /* struct stack_key -> uint32_t index of a stack */
	VEC(uint64_t) frames;                /* scratch: of a stack, as struct stacks has them */
	uint32_t wait_reasons[GO_WAIT_REASONS_MAX]; /* of the report -> of findings */
	size_t first_label;                  /* of the report, in findings */
	bool has_labels;
};

struct stack_key {
	uint64_t hash, n, verdict;
};

struct go_findings *go_findings_new(void)
{
	return calloc(1, sizeof(struct go_findings));
}

struct go_findings *go_findings_free(struct go_findings *findings)
{
	if (!findings)
		return NULL;
	go_labels_deinit(&findings->labels);
	vec_deinit(&findings->samples);
	vec_deinit(&findings->processes);
	vec_deinit(&findings->leaks);
	vec_deinit(&findings->deadlocks);
	vec_deinit(&findings->deadlock_members);
	free(findings);
	return NULL;
}

const struct go_sample *go_findings_sample(const struct go_findings *findings, size_t i)
{
	return findings && i < findings->samples.n && findings->samples.at[i].sort != GO_SAMPLE_NONE ? &findings->samples.at[i] : NULL;
}

const struct go_count *go_findings_count(const struct go_findings *findings, enum go_sample_sort sort)
{
	static const struct go_count none;

	return findings ? &findings->counts[sort] : &none;
}

static struct go_process_facts *find_facts(const struct go_findings *findings, uint32_t process)
{
	for (size_t i = 0; findings && i < findings->processes.n; i++)
		if (findings->processes.at[i].process == process)
			return &findings->processes.at[i];
	return NULL;
}

const struct go_process_facts *go_findings_process(const struct go_findings *findings, uint32_t process)
{
	return find_facts(findings, process);
}

static bool has_part(const struct go_addition *of, enum go_report_part part)
{
	return of->parts & of->report->has & UINT32_C(1) << part;
}

/* --- stacks --------------------------------------------------------------------------------------------------- */

static int find_process(struct stacks *stacks, const struct process_id *id, uint32_t *ret)
{
	for (size_t i = 0; i < stacks->processes.n; i++)
		if (!memcmp(&stacks->processes.at[i], id, sizeof(*id))) {
			*ret = (uint32_t)i;
			return 0;
		}
	*ret = (uint32_t)stacks->processes.n;
	return vec_push(&stacks->processes, *id);
}

/*
 * GO_STACK_EXACT is what SAMPLE_INTERRUPTED is, but not in the leaf: that is taken for the instruction itself, whereas that of a
 * goroutine which waits is where it will go on: behind the call.
 */
static int set_frames(struct adding *a, const uint64_t *frames, size_t n)
{
	_Static_assert(GO_STACK_EXACT == SAMPLE_INTERRUPTED, "one bit for both");
	uint64_t leaf;
	int r;

	a->frames.n = 0;
	r = vec_append(&a->frames, frames, n);
	if (r < 0 || !n)
		return r;
	leaf = frames[0] & ~GO_STACK_EXACT;
	a->frames.at[0] = frames[0] & GO_STACK_EXACT || !leaf ? leaf : leaf - 1;
	return 0;
}

static int push_stack(struct adding *a, const struct stack_key *key, uint32_t *ret)
{
	const struct stacks_stack stack = {
		.process = a->process, .verdict = (uint32_t)key->verdict, .n_user = (uint16_t)a->frames.n, .first_frame = a->stacks->frames.n,
		.hash = a->frames.n ? key->hash | 1 : 0, /* not 0, nor SAMPLE_STACK_LOST but by a chance of 2^-63 */
	};
	int r;

	r = vec_append(&a->stacks->frames, a->frames.at, a->frames.n);
	if (r >= 0)
		r = vec_push(&a->stacks->stacks, stack);
	*ret = (uint32_t)(a->stacks->stacks.n - 1);
	return r;
}

static bool is_stack(const struct adding *a, uint32_t index)
{
	const struct stacks_stack *stack = &a->stacks->stacks.at[index];

	return stack->n_user == a->frames.n && (!stack->n_user ||
			!memcmp(&a->stacks->frames.at[stack->first_frame], a->frames.at, a->frames.n * sizeof(uint64_t)));
}

/* Frames as go_stack.h has them. */
static int find_stack(struct adding *a, const uint64_t *frames, size_t n, enum sample_verdict verdict, uint32_t *ret)
{
	struct stack_key key = { .n = n, .verdict = verdict };
	void *value;
	int r;

	if (n > GO_STACK_MAX_FRAMES)
		n = GO_STACK_MAX_FRAMES;
	r = set_frames(a, frames, n);
	if (r < 0)
		return r;
	key.hash = n ? hash_bytes(a->frames.at, n * sizeof(uint64_t)) : 0;
	r = map_put(&a->stack_of, &key, &value);
	if (r == 0 && is_stack(a, *(uint32_t *)value)) {
		*ret = *(uint32_t *)value;
		return 0;
	}
	if (r >= 0)
		r = push_stack(a, &key, ret);
	if (r >= 0)
		*(uint32_t *)value = *ret;
	return r;
}

static int push_sample(struct adding *a, const struct stacks_sample *sample, const struct go_sample *go)
{
	struct stacks *stacks = a->stacks;
	int r;

	r = vec_reserve(&stacks->samples, stacks->samples.n + 1);
	if (r >= 0)
		r = vec_reserve(&a->findings->samples, stacks->samples.n + 1);
	if (r < 0)
		return r;
	/* Of samplers that were there before. */
	while (a->findings->samples.n < stacks->samples.n)
		a->findings->samples.at[a->findings->samples.n++] = (struct go_sample){ .sort = GO_SAMPLE_NONE };
	stacks->samples.at[stacks->samples.n++] = *sample;
	a->findings->samples.at[a->findings->samples.n++] = *go;
	stacks->seen += sample->count;
	stacks->verdicts[stacks->stacks.at[sample->stack].verdict] += sample->count;
	a->findings->counts[go->sort].seen += sample->count;
	a->findings->counts[go->sort].verdicts[stacks->stacks.at[sample->stack].verdict] += sample->count;
	return 0;
}

static void count_lost(struct adding *a, enum go_sample_sort sort, uint64_t n)
{
	a->findings->counts[sort].seen += n;
	a->findings->counts[sort].lost += n;
	a->stacks->seen += n;
	a->stacks->lost_frames += n;
}

/* --- goroutines ----------------------------------------------------------------------------------------------- */

/* For each text of the report its number here; 0 when there is no more room. */
static void map_wait_reasons(struct adding *a, const char texts[][GO_WAIT_REASON_LENGTH], size_t n)
{
	struct go_findings *findings = a->findings;

	if (!findings->n_wait_reasons)
		findings->n_wait_reasons = 1;
	for (size_t i = 0; i < MIN(n, (size_t)GO_WAIT_REASONS_MAX); i++) {
		const char *text = texts[i];
		size_t number = 0;

		while (number < findings->n_wait_reasons && strncmp(findings->wait_reasons[number], text, GO_WAIT_REASON_LENGTH - 1) != 0)
			number++;
		if (number == findings->n_wait_reasons) {
			if (number >= GO_WAIT_REASONS_MAX)
				continue;
			memcpy(findings->wait_reasons[number], text, strnlen(text, GO_WAIT_REASON_LENGTH - 1));
			findings->n_wait_reasons++;
		}
		a->wait_reasons[i] = (uint32_t)number;
	}
}

static int take_labels(struct adding *a)
{
	const struct go_labels *from = &a->of->report->goroutines.labels;
	struct go_labels *to = &a->findings->labels;
	size_t first_text = to->text.n;
	int r;

	a->first_label = to->all.n;
	/* Numbers of 32 bits tell where a text is. Without labels, then: bounds of one process make that a matter of hundreds of them. */
	if (to->text.n + from->text.n > UINT32_MAX || to->all.n + from->all.n > UINT32_MAX)
		return 0;
	a->has_labels = true;
	r = vec_append(&to->text, from->text.at, from->text.n);
	if (r >= 0)
		r = vec_append(&to->all, from->all.at, from->all.n);
	for (size_t i = a->first_label; r >= 0 && i < to->all.n; i++) {
		to->all.at[i].key += (uint32_t)first_text;
		to->all.at[i].value += (uint32_t)first_text;
	}
	to->n_cut += from->n_cut;
	return r;
}

static enum sample_verdict verdict_of(uint32_t verdict, size_t n_frames)
{
	switch (verdict) {
	case GO_STACK_COMPLETE:
		return SAMPLE_VERDICT_COMPLETE;
	case GO_STACK_SWITCHED:
		return SAMPLE_VERDICT_NO_RULE;
	case GO_STACK_CUT:
	case GO_STACK_TOO_DEEP:
		return SAMPLE_VERDICT_TOO_DEEP;
	case GO_GOROUTINE_RUNNING:
		/* Its stack is in registers, unless somebody met it. */
		return n_frames ? SAMPLE_VERDICT_COMPLETE : SAMPLE_VERDICT_KERNEL;
	default:
		return SAMPLE_VERDICT_BAD_FRAME;
	}
}

static bool waits(uint32_t status)
{
	return status == GO_WAITING || status == GO_LEAKED;
}

/* As long as was seen, or as the runtime says: its garbage collector sees only what waits while it runs. */
static uint64_t waited(const struct go_addition *of, size_t i)
{
	const struct go_goroutine *goroutine = &of->report->goroutines.all.at[i];
	uint64_t nsec = of->waited_nsec ? of->waited_nsec[i] : 0;

	if (goroutine->wait_since_nsec && goroutine->wait_since_nsec < of->report->taken_nsec)
		nsec = MAX(nsec, of->report->taken_nsec - goroutine->wait_since_nsec);
	return nsec;
}

/* The go statement, as a stack of one frame: 0 when it is not known, else its index plus one. */
static int find_creator(struct adding *a, const struct go_goroutine *goroutine, uint32_t *ret)
{
	uint64_t frame = goroutine->go_pc & ~GO_STACK_EXACT;
	uint32_t index;
	int r;

	*ret = 0;
	/* The first one has a caller in assembly. */
	if (!frame || goroutine->id == 1)
		return 0;
	r = find_stack(a, &frame, 1, SAMPLE_VERDICT_COMPLETE, &index);
	*ret = index + 1;
	return r;
}

static int add_goroutine(struct adding *a, size_t i)
{
	const struct go_goroutines *goroutines = &a->of->report->goroutines;
	const struct go_goroutine *goroutine = &goroutines->all.at[i];
	struct stacks_sample sample = { .tid = goroutine->thread, .count = 1, .is_go = true };
	struct go_sample go = { .sort = GO_SAMPLE_GOROUTINE, .goroutine.is = *goroutine };
	int r;

	go.goroutine.is.wait_reason = waits(goroutine->status) && goroutine->wait_reason < GO_WAIT_REASONS_MAX ? a->wait_reasons[goroutine->wait_reason] : 0;
	if (a->has_labels && goroutine->n_labels) {
		go.goroutine.first_label = (uint32_t)(a->first_label + goroutine->first_label);
		go.goroutine.n_labels = (uint32_t)goroutine->n_labels;
	}
	go.goroutine.waited_nsec = waited(a->of, i);
	r = find_stack(a, goroutine->n_frames ? &goroutines->frames.at[goroutine->first_frame] : NULL, goroutine->n_frames, verdict_of(goroutine->verdict, goroutine->n_frames),
			&sample.stack);
	if (r >= 0)
		r = find_creator(a, goroutine, &sample.other);
	return r < 0 ? r : push_sample(a, &sample, &go);
}

static int add_goroutines(struct adding *a, struct go_process_facts *facts)
{
	const struct go_goroutines *goroutines = &a->of->report->goroutines;
	int r;

	facts->has_goroutines = true;
	facts->n_retried = goroutines->n_retried;
	facts->n_restless = goroutines->n_restless;
	facts->n_unread = goroutines->n_unread;
	facts->n_broken = goroutines->n_broken;
	facts->n_unknown_labels = goroutines->n_unknown_labels;
	count_lost(a, GO_SAMPLE_GOROUTINE, goroutines->n_unread);
	map_wait_reasons(a, goroutines->wait_reasons, goroutines->n_wait_reasons);
	r = take_labels(a);
	for (size_t i = 0; i < goroutines->all.n && r >= 0; i++) {
		if (goroutines->all.at[i].is_system) {
			facts->n_system++;
			continue;
		}
		facts->n_goroutines++;
		if (goroutines->all.at[i].status < GO_N_STATUS)
			facts->n_by_status[goroutines->all.at[i].status]++;
		facts->n_met += goroutines->all.at[i].status == GO_RUNNING && goroutines->all.at[i].n_frames;
		r = add_goroutine(a, i);
	}
	return r;
}

/* --- leaks ---------------------------------------------------------------------------------------------------- */

static int add_leak(struct adding *a, const struct goroutine_leak *is)
{
	const uint64_t creator = is->go_pc & ~GO_STACK_EXACT, function = is->start_pc | GO_STACK_EXACT;
	struct go_leak leak = { .process = a->process, .taken_nsec = a->of->report->taken_nsec, .is = *is };
	uint32_t index;
	int r = 0;

	if (creator) {
		r = find_stack(a, &creator, 1, SAMPLE_VERDICT_COMPLETE, &index);
		leak.creator = index + 1;
	}
	if (r >= 0 && is->start_pc) {
		r = find_stack(a, &function, 1, SAMPLE_VERDICT_COMPLETE, &index);
		leak.function = index + 1;
	}
	return r < 0 ? r : vec_push(&a->findings->leaks, leak);
}

static int add_leaks(struct adding *a, struct go_process_facts *facts)
{
	goroutine_leak_list found = { 0 };
	int r = goroutine_leaks_get(a->of->leaks, &found);

	facts->has_leaks = r >= 0;
	facts->n_leaks = found.n;
	facts->leak_stats = goroutine_leaks_stats(a->of->leaks);
	for (size_t i = 0; i < MIN(found.n, (size_t)GO_LEAKS_MAX) && r >= 0; i++)
		r = add_leak(a, &found.at[i]);
	vec_deinit(&found);
	return r;
}

/* --- deadlocks ------------------------------------------------------------------------------------------------- */

/* `indices`: id -> index into the report's goroutines. */
static int add_member(struct adding *a, const struct goroutine_deadlock_member *member, const struct map *indices)
{
	const struct go_goroutines *goroutines = &a->of->report->goroutines;
	struct go_deadlock_member told = { .id = member->id, .object = member->object };
	const uint32_t *index = map_get(indices, &member->id);
	int r = 0;

	if (index) {
		const struct go_goroutine *g = &goroutines->all.at[*index];

		told.waited_nsec = waited(a->of, *index);
		told.wait_reason = waits(g->status) && g->wait_reason < GO_WAIT_REASONS_MAX ? a->wait_reasons[g->wait_reason] : 0;
		r = find_creator(a, g, &told.creator);
		if (r >= 0 && g->n_frames) {
			r = find_stack(a, &goroutines->frames.at[g->first_frame], g->n_frames, verdict_of(g->verdict, g->n_frames), &told.stack);
			told.stack++;
		}
	}
	return r < 0 ? r : vec_push(&a->findings->deadlock_members, told);
}

static int add_deadlock(struct adding *a, const struct goroutine_deadlock *is, const struct map *indices)
{
	struct go_deadlock deadlock = {
		.process = a->process, .sort = is->sort, .confidence = is->confidence, .is_unreachable = is->is_unreachable, .still_nsec = is->still_nsec,
		.n_members = is->members.n, .n_behind = is->n_behind, .least_id = UINT64_MAX, .first_member = a->findings->deadlock_members.n,
		.n_told = MIN(is->members.n, (size_t)GO_DEADLOCK_MEMBERS_MAX),
	};
	int r = 0;

	for (size_t i = 0; i < is->members.n; i++)
		deadlock.least_id = MIN(deadlock.least_id, is->members.at[i].id);
	for (size_t i = 0; i < deadlock.n_told && r >= 0; i++)
		r = add_member(a, &is->members.at[i], indices);
	return r < 0 ? r : vec_push(&a->findings->deadlocks, deadlock);
}

static int add_deadlocks_with(struct adding *a, struct map *indices)
{
	const struct goroutine_deadlocks *found = go_stuck_found(a->of->stuck);
	const struct go_goroutines *goroutines = &a->of->report->goroutines;
	int r = 0;

	for (uint32_t i = 0; i < goroutines->all.n && r >= 0; i++) {
		void *value;

		r = map_put(indices, &goroutines->all.at[i].id, &value);
		if (r >= 0)
			*(uint32_t *)value = i;
	}
	for (size_t i = 0; i < MIN(found->all.n, (size_t)GO_DEADLOCKS_MAX) && r >= 0; i++)
		r = add_deadlock(a, &found->all.at[i], indices);
	return r;
}

static int add_deadlocks(struct adding *a, struct go_process_facts *facts)
{
	const struct goroutine_deadlocks *found = go_stuck_found(a->of->stuck);
	struct map indices;
	int r;

	facts->has_deadlocks = true;
	facts->n_deadlocks = found->all.n;
	facts->n_searches = go_stuck_searches(a->of->stuck, &facts->searches_nsec);
	for (size_t i = 0; i < found->all.n; i++)
		facts->n_deadlocked += found->all.at[i].members.n;
	if (!found->all.n)
		return 0;
	map_init(&indices, sizeof(uint64_t), sizeof(uint32_t));
	r = add_deadlocks_with(a, &indices);
	map_deinit(&indices);
	return r;
}

/* --- memory --------------------------------------------------------------------------------------------------- */

/* *count objects of *bytes in all, as sampled: what they stand for. False: no numbers of a profile. */
static bool scale(uint64_t rate, uint64_t count, uint64_t bytes, int64_t *ret_count, int64_t *ret_bytes)
{
	if (rate > most_rate || bytes > most_bytes || count > bytes || (double)count * (double)MAX(rate, 1U) > most_count)
		return false;
	*ret_count = (int64_t)count;
	*ret_bytes = (int64_t)bytes;
	go_buckets_scale(rate, ret_count, ret_bytes);
	return true;
}

static int add_allocations(struct adding *a, const struct go_bucket *bucket)
{
	const struct go_buckets *memory = &a->of->report->memory;
	struct stacks_sample sample = { .count = 1, .is_go = true };
	struct go_sample go = { .sort = GO_SAMPLE_MEMORY };
	int64_t *values = go.memory.values;
	uint64_t allocs = bucket->memory.allocs, bytes = bucket->memory.alloc_bytes;
	int r;

	/* Allocated since the garbage collection before the last: the runtime does not tell of it yet. */
	if (!allocs && !bucket->memory.frees)
		return 0;
	if (!allocs || bucket->memory.frees > allocs || bucket->memory.free_bytes > bytes ||
	    !scale(memory->rate, allocs, bytes, &values[0], &values[1]) ||
	    !scale(memory->rate, allocs - bucket->memory.frees, bytes - bucket->memory.free_bytes, &values[2], &values[3])) {
		count_lost(a, GO_SAMPLE_MEMORY, 1);
		return 0;
	}
	go.memory.object_size = bytes / allocs;
	r = find_stack(a, &memory->frames.at[bucket->first_frame], bucket->n_frames, SAMPLE_VERDICT_COMPLETE, &sample.stack);
	return r < 0 ? r : push_sample(a, &sample, &go);
}

static int add_memory(struct adding *a, struct go_process_facts *facts)
{
	const struct go_buckets *memory = &a->of->report->memory;
	int r = 0;

	facts->has_memory = true;
	facts->memory_rate = memory->rate;
	for (size_t i = 0; i < memory->all.n && r >= 0; i++)
		r = add_allocations(a, &memory->all.at[i]);
	return r;
}

/* --- block and mutex ------------------------------------------------------------------------------------------ */

struct contentions {
	uint64_t count, nsec;
};

/* As printCountCycleProfile() and blockProfileInternal() tell it, where 0 is 1. False: no numbers of a profile. */
static bool contentions_of(const struct go_bucket *bucket, double cycles_per_second, struct contentions *ret)
{
	double nsec = (double)bucket->block.cycles / ((double)(int64_t)cycles_per_second / 1e9);

	if (!(bucket->block.count >= 0 && bucket->block.count < most_count && nsec >= 0 && nsec < most_count))
		return false;
	ret->count = MAX((uint64_t)bucket->block.count, UINT64_C(1));
	ret->nsec = (uint64_t)nsec;
	return true;
}

static struct stack_key key_of(const struct go_buckets *buckets, const struct go_bucket *bucket)
{
	return (struct stack_key){ .hash = bucket->n_frames ? hash_bytes(&buckets->frames.at[bucket->first_frame], bucket->n_frames * sizeof(uint64_t)) : 0,
		.n = bucket->n_frames };
}

/* stack_key -> struct contentions, which are to be taken off. */
static int sum_before(const struct go_buckets *buckets, double cycles_per_second, struct map *before)
{
	for (size_t i = 0; i < buckets->all.n; i++) {
		const struct stack_key key = key_of(buckets, &buckets->all.at[i]);
		struct contentions told, *sum;
		void *value;

		if (!contentions_of(&buckets->all.at[i], cycles_per_second, &told))
			continue;
		if (map_put(before, &key, &value) < 0)
			return -ENOMEM;
		sum = value;
		sum->count += told.count;
		sum->nsec += told.nsec;
	}
	return 0;
}

/* What is more than before. */
static void take_off(struct contentions *now, struct contentions *before)
{
	const struct contentions both = { MIN(now->count, before->count), MIN(now->nsec, before->nsec) };

	now->count -= both.count;
	now->nsec -= both.nsec;
	before->count -= both.count;
	before->nsec -= both.nsec;
}

static int add_contention(struct adding *a, const struct go_buckets *buckets, size_t i, enum go_sample_sort sort, const struct map *before)
{
	const struct go_bucket *bucket = &buckets->all.at[i];
	const struct stack_key key = key_of(buckets, bucket);
	struct contentions now, *then = map_get(before, &key);
	struct go_sample go = { .sort = sort };
	struct stacks_sample sample = { .is_go = true };
	int r;

	if (!contentions_of(bucket, a->of->report->cycles_per_second, &now)) {
		count_lost(a, sort, 1);
		return 0;
	}
	if (then)
		take_off(&now, then);
	if (!now.count && !now.nsec)
		return 0;
	sample.count = now.count;
	sample.nsec = sample.longest_nsec = now.nsec;
	go.block.contentions = (int64_t)now.count;
	go.block.delay_nsec = (int64_t)now.nsec;
	r = find_stack(a, &buckets->frames.at[bucket->first_frame], bucket->n_frames, SAMPLE_VERDICT_COMPLETE, &sample.stack);
	return r < 0 ? r : push_sample(a, &sample, &go);
}

static int add_contentions(struct adding *a, const struct go_buckets *now, const struct go_buckets *then, enum go_sample_sort sort)
{
	struct map before;
	int r;

	map_init(&before, sizeof(struct stack_key), sizeof(struct contentions));
	r = sum_before(then, a->of->report->cycles_per_second, &before);
	for (size_t i = 0; i < now->all.n && r >= 0; i++)
		r = add_contention(a, now, i, sort, &before);
	map_deinit(&before);
	return r;
}

/* --- many snapshots ------------------------------------------------------------------------------------------- */

static int add_tallied(struct adding *a, const struct go_tallied *tallied, bool has_records)
{
	const struct go_tally *tally = &a->of->report->tally;
	struct stacks_sample sample = { .count = tallied->count, .nsec = tallied->nsec, .longest_nsec = tallied->nsec, .is_go = true };
	struct go_sample go = { .sort = GO_SAMPLE_TALLY, .tally = {
		.status = tallied->status, .n_least = tallied->n_least, .n_most = tallied->n_most, .is_block = waits(tallied->status) && !has_records,
	} };
	int r;

	if (waits(tallied->status) && tallied->wait_reason < GO_WAIT_REASONS_MAX)
		go.tally.wait_reason = a->wait_reasons[tallied->wait_reason];
	r = find_stack(a, tallied->n_frames ? &tally->frames.at[tallied->first_frame] : NULL, tallied->n_frames,
			verdict_of(tallied->verdict, tallied->n_frames), &sample.stack);
	return r < 0 ? r : push_sample(a, &sample, &go);
}

static int add_tally(struct adding *a, struct go_process_facts *facts)
{
	const struct go_tally *tally = &a->of->report->tally;
	/* Then its waits are told already. */
	bool has_records = a->of->report->rates.of[GO_RATE_BLOCK].value;
	int r = 0;

	facts->has_tally = true;
	facts->tally.n_snapshots = tally->n_snapshots;
	facts->tally.nsec = tally->nsec;
	facts->tally.n_failed = tally->n_failed;
	facts->tally.cpu_nsec = tally->cpu_nsec;
	facts->tally.lost_count = tally->lost_count;
	facts->tally.lost_nsec = tally->lost_nsec;
	count_lost(a, GO_SAMPLE_TALLY, tally->lost_count);
	map_wait_reasons(a, tally->wait_reasons, tally->n_wait_reasons);
	for (size_t i = 0; i < tally->all.n && r >= 0; i++)
		r = add_tallied(a, &tally->all.at[i], has_records);
	return r;
}

/* --- all ------------------------------------------------------------------------------------------------------ */

/* Of nothing that was asked for there was more to be had than that. */
static bool has_ended(const struct go_report *report)
{
	for (size_t i = 0; i < GO_REPORT_N_PARTS; i++)
		if (report->asked >> i & 1 && report->status[i] != -ESRCH)
			return false;
	return report->asked;
}

static void describe(const struct go_addition *of, uint32_t process, struct go_process_facts *ret)
{
	const struct go_report *report = of->report;

	*ret = (struct go_process_facts){ .process = process, .taken_nsec = report->taken_nsec, .took_nsec = report->took_nsec };
	snprintf(ret->version, sizeof(ret->version), "%.*s", (int)sizeof(report->version) - 1, report->version);
	snprintf(ret->refusal, sizeof(ret->refusal), "%.*s", (int)sizeof(report->refusal) - 1, report->refusal);
	ret->is_unread = !report->has;
	ret->is_gone = ret->is_unread && has_ended(report);
	ret->memory_is_off = of->parts & report->asked & UINT32_C(1) << GO_REPORT_MEMORY &&
		(has_part(of, GO_REPORT_MEMORY) ? !report->memory.rate : report->status[GO_REPORT_MEMORY] == GO_BUCKETS_E_NONE);
	ret->memory_is_off_by_linker = ret->memory_is_off && report->rates.memory_is_off_by_linker;
	ret->memory_since_wall_nsec = has_part(of, GO_REPORT_MEMORY) ? of->memory_since_wall_nsec : 0;
	ret->has_block = has_part(of, GO_REPORT_BLOCK);
	ret->block_rate = ret->has_block ? report->block.rate : 0;
	ret->has_mutex = has_part(of, GO_REPORT_MUTEX);
	ret->mutex_rate = ret->has_mutex ? report->mutex.rate : 0;
	/* These are no samples: nobody has to ask. */
	ret->has_stats = report->has & UINT32_C(1) << GO_REPORT_STATS;
	if (ret->has_stats)
		ret->stats = report->stats;
}

/* Whether there are two reports to compare, and cycles can be told as time. */
static bool can_compare(struct adding *a, enum go_report_part part, const struct go_buckets *now, struct go_process_facts *facts)
{
	const struct go_addition *of = a->of;

	if (!of->before || !has_part(of, part) || !(of->before->has & UINT32_C(1) << part) || !now->all.n)
		return false;
	if (of->report->cycles_per_second >= 1 && of->report->cycles_per_second < most_count)
		return true;
	if (!facts->refusal[0])
		snprintf(facts->refusal, sizeof(facts->refusal), "block and mutex: the rate of its clock is not known");
	return false;
}

/* At both ends of the window, and in it as far as we know. Where nobody waited yet there are no records to compare. */
static bool is_recorded(const struct go_addition *of, enum go_report_part part, const struct go_buckets *then, const struct go_buckets *now)
{
	return has_part(of, part) && of->before->has & UINT32_C(1) << part && then->rate && now->rate && of->report->cycles_per_second >= 1;
}

/* Of one process two reports tell, one of them of snapshots alone. */
static void merge_facts(struct go_process_facts *into, const struct go_process_facts *more, bool more_is_tally)
{
	const struct go_process_facts *tally = more_is_tally ? more : into;
	struct go_process_facts both = more_is_tally ? *into : *more;

	both.is_unread = into->is_unread && more->is_unread;
	both.has_tally = tally->has_tally;
	both.tally = tally->tally;
	if (!both.version[0])
		memcpy(both.version, tally->version, sizeof(both.version));
	if (!both.refusal[0])
		memcpy(both.refusal, tally->refusal, sizeof(both.refusal));
	*into = both;
}

static int add_parts(struct adding *a, struct go_process_facts *facts)
{
	const struct go_report *report = a->of->report, *before = a->of->before;
	int r = 0;

	facts->records_block = before && is_recorded(a->of, GO_REPORT_BLOCK, &before->block, &report->block);
	facts->records_mutex = before && is_recorded(a->of, GO_REPORT_MUTEX, &before->mutex, &report->mutex);
	if (has_part(a->of, GO_REPORT_TALLY))
		r = add_tally(a, facts);
	if (r >= 0 && has_part(a->of, GO_REPORT_GOROUTINES))
		r = add_goroutines(a, facts);
	if (r >= 0 && has_part(a->of, GO_REPORT_GOROUTINES) && a->of->leaks)
		r = add_leaks(a, facts);
	if (r >= 0 && has_part(a->of, GO_REPORT_GOROUTINES) && a->of->stuck)
		r = add_deadlocks(a, facts);
	if (r >= 0 && has_part(a->of, GO_REPORT_MEMORY))
		r = add_memory(a, facts);
	if (r >= 0 && can_compare(a, GO_REPORT_BLOCK, &report->block, facts))
		r = add_contentions(a, &report->block, &before->block, GO_SAMPLE_BLOCK);
	if (r >= 0 && can_compare(a, GO_REPORT_MUTEX, &report->mutex, facts))
		r = add_contentions(a, &report->mutex, &before->mutex, GO_SAMPLE_MUTEX);
	return r;
}

int go_findings_add(struct go_findings *findings, struct stacks *stacks, const struct go_addition *addition)
{
	struct adding a = { .findings = findings, .stacks = stacks, .of = addition };
	struct go_process_facts facts, *told;
	int r;

	map_init(&a.stack_of, sizeof(struct stack_key), sizeof(uint32_t));
	r = find_process(stacks, addition->process, &a.process);
	if (r >= 0) {
		describe(addition, a.process, &facts);
		r = add_parts(&a, &facts);
	}
	told = r >= 0 ? find_facts(findings, a.process) : NULL;
	if (told)
		merge_facts(told, &facts, addition->parts == UINT32_C(1) << GO_REPORT_TALLY);
	else if (r >= 0)
		r = vec_push(&findings->processes, facts);
	map_deinit(&a.stack_of);
	vec_deinit(&a.frames);
	return r;
}
