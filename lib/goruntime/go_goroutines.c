/* SPDX-License-Identifier: Apache-2.0 */
#include "go_goroutines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "go_process.h"
#include "gopclntab.h"
#include "hash.h"
#include "map.h"

enum {
	MAX_G = 512,                         /* of a g that is read: go_layout.g.size is at most 448 */
	BATCH = 512,                         /* goroutines that are read at once: what is read twice is read soon */
	GAP = 4096,                          /* that is read for nothing, rather than with two calls */
	MAX_RUN = 1 << 20,                   /* bytes read at once */
	MAX_ALL_FRAMES = 16 << 20,           /* of different stacks: 100,000 goroutines of a server have some ten thousand */
	MAX_STACK = 256 << 10,               /* of one that is copied; what is deeper is told as cut */
	TRIES = 8,                           /* for one that moves: the first stand still, by far */
	MIN_COMPLETE_PERCENT = 95,           /* of the stacks: else this is no runtime as we know it */
	SCAN = 0x1000,                       /* runtime/runtime2.go _Gscan */
	MAX_THREAD = 1 << 22,                /* include/linux/threads.h PID_MAX_LIMIT */
	TABLE_SPARE = 4096,                  /* sudogs in the runtime's table beyond those of our goroutines */
};

/* A goroutine as its g has it. */
struct snapshot {
	uint64_t stack_low, stack_high, m, pc, sp, id, wait_since, locked_m, parent_id, go_pc, start_pc, waiting, labels;
	uint32_t status;
	uint8_t wait_reason, sequence;
};

struct reading {
	struct go_process *process;
	struct go_memory *memory;
	const struct go_layout *layout;
	struct go_goroutines *ret;
	struct go_stack *stack;
	struct go_stack_frames frames;       /* of the walk just done */
	struct map known_stacks;             /* hash of the frames -> index of the first frame */
	struct map label_sets;               /* address -> struct told: those that were read since the g of a batch were */
	uint64_t *addresses;                 /* of all g, in the order of the runtime */
	size_t n;
	uint8_t *run, *stack_bytes;          /* MAX_RUN, MAX_STACK */
	struct go_memory_pages *pages;
	uint64_t n_stacks, n_complete;
	uint64_t n_threads, n_wrong_threads; /* that run a goroutine; whose m knows nothing of it */
	bool has_first;                      /* goroutine 1 was there */
	uint8_t kinds[UINT8_MAX + 1];        /* wait reason -> enum go_wait_kind, where it tells */
	const char *why;
};

/* --- one g ---------------------------------------------------------------------------------------------------- */

static uint64_t u64_of(const uint8_t *g, uint16_t offset)
{
	uint64_t value = 0;

	if (offset != GO_LAYOUT_NONE)
		memcpy(&value, g + offset, sizeof(value));
	return value;
}

static struct snapshot snapshot_of(const struct reading *reading, const uint8_t *g)
{
	const struct go_layout *layout = reading->layout;
	struct snapshot s = {
		.stack_low = u64_of(g, 0),
		.stack_high = u64_of(g, 8),
		.m = u64_of(g, layout->g.m),
		.pc = u64_of(g, layout->g.sched_pc),
		.sp = u64_of(g, layout->g.sched_sp),
		.id = u64_of(g, layout->g.id),
		.wait_since = u64_of(g, layout->g.wait_since),
		.locked_m = u64_of(g, layout->g.locked_m),
		.parent_id = u64_of(g, layout->g.parent_id),
		.go_pc = u64_of(g, layout->g.go_pc),
		.start_pc = u64_of(g, layout->g.start_pc),
		.waiting = u64_of(g, layout->g.waiting),
		.labels = u64_of(g, layout->g.labels),
		.status = (uint32_t)u64_of(g, layout->g.status) & ~(uint32_t)SCAN,
		.wait_reason = g[layout->g.wait_reason],
		.sequence = g[layout->g.sequence],
	};

	/* In a system call the stack is as it was when it was entered: what is below may be C's (runtime/proc.go reentersyscall). */
	if (s.status == GO_SYSCALL && u64_of(g, layout->g.syscall_sp)) {
		s.sp = u64_of(g, layout->g.syscall_sp);
		s.pc = u64_of(g, layout->g.syscall_pc);
	}
	return s;
}

/*
 * Whether it stood still in between. Where it stands does not tell: who waits in a loop waits at the same place each time, on another stack;
 * but the runtime counts how often it stopped running (runtime/proc.go casgstatus(); since 1.26 system calls do not count).
 */
static bool is_same(const struct snapshot *a, const struct snapshot *b)
{
	return a->status == b->status && a->id == b->id && a->pc == b->pc && a->sp == b->sp && a->stack_low == b->stack_low &&
	       a->wait_reason == b->wait_reason && a->waiting == b->waiting && a->labels == b->labels &&
	       a->sequence == b->sequence;
}

/* Who stops running has its new state for a moment before it is counted, and its thread until then (casgstatus(), dropg()). */
static bool is_settled(const struct snapshot *s)
{
	return !s->m || (s->status != GO_WAITING && s->status != GO_RUNNABLE);
}

static bool is_dead(const struct snapshot *s)
{
	return s->status == GO_IDLE || s->status == GO_DEAD || s->status == GO_DEAD_EXTRA;
}

static bool has_stack(const struct snapshot *s)
{
	return s->status != GO_RUNNING && s->status != GO_COPY_STACK;
}

/* Whether it can be a g at all. */
static bool makes_sense(const struct snapshot *s)
{
	if (s->status >= GO_N_STATUS || s->id >= UINT64_C(1) << 48)
		return false;
	return is_dead(s) || (s->stack_low < s->stack_high && s->stack_high - s->stack_low <= UINT64_C(1) << 32 &&
			(!has_stack(s) || (s->sp >= s->stack_low && s->sp < s->stack_high)));
}

/* --- its stack ------------------------------------------------------------------------------------------------ */

/* Frames that were met before are shared. 0 or -ENOMEM. */
static int keep_frames(struct reading *reading, struct go_goroutine *goroutine)
{
	struct go_goroutines *ret = reading->ret;
	size_t n = reading->frames.at.n;
	struct { uint64_t hash, n; } key = { .hash = hash_bytes(reading->frames.at.at, n * sizeof(uint64_t)), .n = n };
	void *value;
	int r;

	goroutine->n_frames = n;
	r = map_put(&reading->known_stacks, &key, &value);
	if (r < 0)
		return r;
	if (r == 0) {
		goroutine->first_frame = *(size_t *)value;
		if (!n || !memcmp(&ret->frames.at[goroutine->first_frame], reading->frames.at.at, n * sizeof(uint64_t)))
			return 0;
	}
	if (ret->frames.n + n > MAX_ALL_FRAMES)
		return -E2BIG;
	goroutine->first_frame = *(size_t *)value = ret->frames.n;
	return vec_append(&ret->frames, reading->frames.at.at, n);
}

/* Of one that stands. */
static int read_stack(struct reading *reading, const struct snapshot *s, uint32_t *ret_verdict)
{
	uint64_t size = MIN(s->stack_high - s->sp, (uint64_t)MAX_STACK);
	struct go_stack_from from = { .pc = s->pc, .sp = s->sp, .bytes = reading->stack_bytes, .n_bytes = size };
	int r;

	reading->frames.at.n = 0;
	r = go_memory_read(reading->memory, s->sp, reading->stack_bytes, size);
	if (r < 0)
		return r;
	r = go_stack_walk(reading->stack, &from, &reading->frames);
	if (r < 0)
		return r;
	*ret_verdict = (uint32_t)r;
	return 0;
}

/* --- its names ------------------------------------------------------------------------------------------------ */

static const char *function_at(const struct reading *reading, uint64_t pc)
{
	const struct gopclntab *functions;
	struct gopclntab_function function;
	uint64_t address;
	int32_t depth;

	functions = go_process_functions_at(reading->process, pc & ~GO_STACK_EXACT, &address);
	return functions && !gopclntab_depth(functions, address, &function, &depth) ? function.name : NULL;
}

static bool is_main(const struct reading *reading, uint64_t start_pc)
{
	const char *name = function_at(reading, start_pc);

	return name && !strcmp(name, "runtime.main");
}

/* --- what belongs to it --------------------------------------------------------------------------------------- */

/*
 * The thread that runs it. While it does, its m says so, too (runtime/proc.go execute(), dropg()): if not, we read something
 * else. 0: it went on meanwhile.
 */
static uint32_t thread_of(struct reading *reading, uint64_t m, uint64_t g)
{
	const struct go_layout *layout = reading->layout;
	bool is_wrong = false;

	for (unsigned int i = 0; i < TRIES && m; i++) {
		uint64_t thread, current, m_again;
		uint32_t status;

		if (go_memory_u64(reading->memory, m + layout->m.thread, &thread) < 0 ||
		    go_memory_u64(reading->memory, m + layout->m.current_g, &current) < 0) {
			is_wrong = true;
		} else if (current == g) {
			reading->n_threads++;
			reading->n_wrong_threads += thread > MAX_THREAD;
			return thread > MAX_THREAD ? 0 : (uint32_t)thread;
		}
		if (go_memory_u64(reading->memory, g + layout->g.m, &m_again) < 0 || go_memory_u32(reading->memory, g + layout->g.status, &status) < 0)
			return 0;
		status &= ~(uint32_t)SCAN;
		if (m_again != m || (status != GO_RUNNING && status != GO_SYSCALL))
			return 0;
		is_wrong = true;
	}
	reading->n_threads += is_wrong;
	reading->n_wrong_threads += is_wrong;
	return 0;
}

static bool waits(const struct snapshot *s)
{
	return s->status == GO_WAITING || s->status == GO_LEAKED;
}

/* The garbage collector stamps those in the kernel or in C, too (runtime/mgcmark.go markroot()); exitsyscall() takes it back. */
static bool has_stamp(const struct snapshot *s)
{
	return waits(s) || s->status == GO_SYSCALL;
}

/* What was read between two looks at a g, and is true if they are the same. */
struct told {
	uint32_t verdict;
	size_t first_label, n_labels, first_wait, n_waits;
	bool has_unknown_labels;
};

/* A set of labels never changes while it is a goroutine's: who has the same one before and after has had it meanwhile. */
static int read_labels(struct reading *reading, uint64_t address, struct told *told)
{
	struct told *known = map_get(&reading->label_sets, &address);
	void *value;
	int r;

	if (!known) {
		struct told it = { 0 };

		r = go_labels_read(reading->process, address, &reading->ret->labels, &it.first_label, &it.n_labels);
		if (r < 0)
			return r;
		it.has_unknown_labels = r == GO_LABELS_E_UNKNOWN;
		r = map_put(&reading->label_sets, &address, &value);
		if (r < 0)
			return r;
		known = value;
		*known = it;
	}
	told->first_label = known->first_label;
	told->n_labels = known->n_labels;
	told->has_unknown_labels = known->has_unknown_labels;
	return 0;
}

static int read_belongings(struct reading *reading, uint64_t g, const struct snapshot *s, struct told *told)
{
	struct go_waits_of of = { .goroutine = g, .sudog = s->waiting, .kind = (enum go_wait_kind)reading->kinds[s->wait_reason] };
	int r = 0;

	if (s->labels)
		r = read_labels(reading, s->labels, told);
	if (r >= 0 && s->waiting && waits(s))
		r = go_waits_read(reading->process, &of, &reading->ret->waits, &told->first_wait, &told->n_waits);
	return r;
}

/* Of one that waits for a single channel. */
static uint64_t channel_of(const struct reading *reading, const struct told *told)
{
	const struct go_wait *wait;

	if (told->n_waits != 1)
		return 0;
	wait = &reading->ret->waits.all.at[told->first_wait];
	return wait->kind <= GO_WAIT_SEND ? wait->address : 0;
}

static int add(struct reading *reading, uint64_t address, const struct snapshot *s, const struct told *told)
{
	struct go_goroutine goroutine = {
		.id = s->id,
		.parent_id = s->parent_id,
		.address = address,
		.go_pc = s->go_pc,
		.start_pc = s->start_pc,
		.sp = has_stack(s) ? s->sp : 0,
		.wait_since_nsec = has_stamp(s) ? s->wait_since : 0,
		.channel = channel_of(reading, told),
		.label_set = s->labels,
		.status = s->status,
		.wait_reason = s->wait_reason,
		.verdict = told->verdict,
		.is_locked = s->locked_m != 0,
		.first_label = told->first_label,
		.n_labels = told->n_labels,
		.first_wait = told->first_wait,
		.n_waits = told->n_waits,
	};
	int r;

	if (s->status == GO_RUNNING || s->status == GO_SYSCALL)
		goroutine.thread = thread_of(reading, s->m, address);
	reading->has_first |= s->id == 1 && is_main(reading, s->start_pc);
	reading->ret->n_unknown_labels += told->has_unknown_labels;
	if (told->verdict != GO_GOROUTINE_RUNNING) {
		reading->n_stacks++;
		reading->n_complete += told->verdict == GO_STACK_COMPLETE;
		r = keep_frames(reading, &goroutine);
		if (r < 0)
			return r;
	}
	return vec_push(&reading->ret->all, goroutine);
}

/* One that moved while it was read, or whose neighbours could not be read: alone, as often as it takes. */
static int read_alone(struct reading *reading, uint64_t address)
{
	uint8_t before[MAX_G], after[MAX_G];
	struct snapshot s = { 0 };
	struct told told = { .verdict = GO_GOROUTINE_RUNNING };
	bool was_read = false;
	int r;

	for (unsigned int i = 0; i < TRIES; i++) {
		struct snapshot again;

		told = (struct told){ .verdict = GO_GOROUTINE_RUNNING };
		map_clear(&reading->label_sets);
		r = go_memory_read(reading->memory, address, before, reading->layout->g.size);
		if (r == -E2BIG)
			return r;
		if (r < 0)
			break;
		s = snapshot_of(reading, before);
		if (!makes_sense(&s))
			continue;
		was_read = true;
		if (is_dead(&s)) {
			reading->ret->n_dead++;
			return 0;
		}
		r = has_stack(&s) ? read_stack(reading, &s, &told.verdict) : 0;
		if (r >= 0)
			r = read_belongings(reading, address, &s, &told);
		if (r == -ENOMEM || r == -E2BIG)
			return r;
		if (r < 0 || go_memory_read(reading->memory, address, after, reading->layout->g.size) < 0)
			continue; /* its stack moved, and what was there is gone */
		again = snapshot_of(reading, after);
		/* The runtime's own that mark for the garbage collector wait, on a thread, as long as it takes. */
		if (is_same(&s, &again) && !is_settled(&again) && i + 1 < TRIES)
			continue;
		if (is_same(&s, &again) || (!has_stack(&s) && s.id == again.id && s.status == again.status && s.labels == again.labels))
			return add(reading, address, &s, &told);
	}
	if (!was_read) {
		reading->ret->n_unread++;
		return 0;
	}
	reading->ret->n_restless++;
	s.status = GO_RUNNING;
	return add(reading, address, &s, &(struct told){ .verdict = GO_GOROUTINE_RUNNING });
}

/* --- many ----------------------------------------------------------------------------------------------------- */

struct place {
	uint64_t address;
	uint32_t index;                      /* in its batch */
};

static int compare_places(const void *a, const void *b)
{
	uint64_t x = ((const struct place *)a)->address, y = ((const struct place *)b)->address;

	return x < y ? -1 : x > y;
}

/* Copies of the g at places[0..n), which are sorted; those that lie near each other with one call. ret_read: which could be. */
static void read_all(struct reading *reading, const struct place *places, size_t n, uint8_t (*ret)[MAX_G], bool *ret_read)
{
	size_t size = reading->layout->g.size;

	for (size_t first = 0, last; first < n; first = last) {
		uint64_t start = places[first].address;

		for (last = first + 1; last < n && places[last].address - places[last - 1].address <= GAP &&
				places[last].address + size - start <= MAX_RUN; last++)
			;
		if (go_memory_read(reading->memory, start, reading->run, places[last - 1].address + size - start) < 0)
			continue; /* each of them alone, later */
		for (size_t i = first; i < last; i++) {
			memcpy(ret[places[i].index], reading->run + (places[i].address - start), size);
			ret_read[places[i].index] = true;
		}
	}
}

struct batch {
	struct place places[BATCH];
	uint8_t before[BATCH][MAX_G], after[BATCH][MAX_G];
	bool was_read[BATCH], was_read_again[BATCH];
	struct told told[BATCH];
	size_t first_frame[BATCH], n_frames[BATCH];
	VEC(uint64_t) frames;                /* of stacks that may prove to be torn */
};

enum { VERDICT_NONE = GO_GOROUTINE_RUNNING + 1 };

/* Whether there was one, alive. */
static bool is_there(const struct reading *reading, const struct batch *batch, size_t i, struct snapshot *ret)
{
	if (!batch->was_read[i])
		return false;
	*ret = snapshot_of(reading, batch->before[i]);
	return makes_sense(ret) && !is_dead(ret);
}

/* What they wait for, and labels, lie close together, those of one goroutine next to those of others; other than stacks. */
static int read_all_belongings(struct reading *reading, struct batch *batch, const uint64_t *addresses, size_t n)
{
	int r = 0;

	go_memory_hold(reading->memory, reading->pages);
	for (size_t i = 0; i < n && r >= 0; i++) {
		struct snapshot s;

		batch->told[i] = (struct told){ .verdict = VERDICT_NONE };
		if (is_there(reading, batch, i, &s))
			r = read_belongings(reading, addresses[i], &s, &batch->told[i]);
	}
	go_memory_release(reading->memory);
	return r;
}

static int read_stacks(struct reading *reading, struct batch *batch, size_t n)
{
	batch->frames.n = 0;
	for (size_t i = 0; i < n; i++) {
		struct snapshot s;
		int r;

		if (!is_there(reading, batch, i, &s))
			continue;
		if (!has_stack(&s)) {
			batch->told[i].verdict = GO_GOROUTINE_RUNNING;
			continue;
		}
		r = read_stack(reading, &s, &batch->told[i].verdict);
		if (r == -ENOMEM || r == -E2BIG)
			return r;
		if (r < 0)
			continue;
		batch->first_frame[i] = batch->frames.n;
		batch->n_frames[i] = reading->frames.at.n;
		r = vec_append(&batch->frames, reading->frames.at.at, reading->frames.at.n);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take(struct reading *reading, struct batch *batch, const uint64_t *addresses, size_t i)
{
	struct snapshot before, after;
	int r;

	if (!batch->was_read[i] || !batch->was_read_again[i])
		return read_alone(reading, addresses[i]);
	before = snapshot_of(reading, batch->before[i]);
	after = snapshot_of(reading, batch->after[i]);
	if (makes_sense(&before) && is_same(&before, &after) && is_settled(&after)) {
		if (is_dead(&before)) {
			reading->ret->n_dead++;
			return 0;
		}
		if (!has_stack(&before))
			return add(reading, addresses[i], &before, &batch->told[i]);
		if (batch->told[i].verdict != VERDICT_NONE) {
			reading->frames.at.n = 0;
			r = vec_append(&reading->frames.at, batch->frames.at + batch->first_frame[i], batch->n_frames[i]);
			return r < 0 ? r : add(reading, addresses[i], &before, &batch->told[i]);
		}
	}
	reading->ret->n_retried++;
	return read_alone(reading, addresses[i]);
}

static int read_batch(struct reading *reading, struct batch *batch, const uint64_t *addresses, size_t n)
{
	int r;

	for (size_t i = 0; i < n; i++) {
		batch->places[i] = (struct place){ addresses[i], (uint32_t)i };
		batch->was_read[i] = batch->was_read_again[i] = false;
	}
	qsort(batch->places, n, sizeof(batch->places[0]), compare_places);
	read_all(reading, batch->places, n, batch->before, batch->was_read);
	map_clear(&reading->label_sets);
	r = read_all_belongings(reading, batch, addresses, n);
	if (r >= 0)
		r = read_stacks(reading, batch, n);
	if (r < 0)
		return r;
	read_all(reading, batch->places, n, batch->after, batch->was_read_again);
	for (size_t i = 0; i < n && r >= 0; i++)
		r = take(reading, batch, addresses, i);
	return r;
}

/* --- all ------------------------------------------------------------------------------------------------------ */

static int unknown(struct reading *reading, const char *why)
{
	reading->why = why;
	return GO_GOROUTINES_E_UNKNOWN;
}

/* runtime.allgs only grows, and its old array is garbage once it did: what was read is right if the slice stayed. */
static int read_addresses(struct reading *reading, size_t max)
{
	uint64_t variable, slice[3], again[3];
	int r;

	if (!go_process_variable(reading->process, GO_ALLGS, &variable))
		return unknown(reading, "runtime.allgs was not found");
	for (unsigned int i = 0; i < TRIES; i++) {
		r = go_memory_read(reading->memory, variable, slice, sizeof(slice));
		if (r < 0)
			return r;
		if (!slice[0] || !slice[1])
			return GO_GOROUTINES_E_NONE;
		if (slice[1] > slice[2] || slice[2] > UINT64_C(1) << 32)
			return unknown(reading, "runtime.allgs is no slice");
		if (slice[1] > max)
			return GO_GOROUTINES_E_MANY;
		free(reading->addresses);
		reading->n = slice[1];
		reading->addresses = calloc(reading->n, sizeof(*reading->addresses));
		if (!reading->addresses)
			return -ENOMEM;
		r = go_memory_read(reading->memory, slice[0], reading->addresses, reading->n * sizeof(*reading->addresses));
		if (r == -E2BIG)
			return r;
		if (go_memory_read(reading->memory, variable, again, sizeof(again)) < 0)
			return -EFAULT;
		if (r >= 0 && again[0] == slice[0])
			return 0;
	}
	return unknown(reading, "runtime.allgs never stands still");
}

static uint8_t kind_of_reason(const char *reason)
{
	if (!strcmp(reason, "chan receive"))
		return GO_WAIT_RECEIVE;
	if (!strcmp(reason, "chan send"))
		return GO_WAIT_SEND;
	return !strcmp(reason, "sync.Cond.Wait") ? GO_WAIT_CONDITION : GO_WAIT_UNKNOWN;
}

/* The texts have no table of ours: the runtime's own array of strings. */
static void read_wait_reasons(struct reading *reading)
{
	struct go_goroutines *ret = reading->ret;
	uint64_t variable, string[2];

	if (!go_process_variable(reading->process, GO_WAIT_REASONS, &variable))
		return;
	for (size_t i = 0; i < GO_WAIT_REASONS_MAX; i++) {
		/* Behind the array is something else: a pointer and a length that are no text. */
		if (go_memory_read(reading->memory, variable + i * sizeof(string), string, sizeof(string)) < 0 ||
		    string[1] >= GO_WAIT_REASON_LENGTH || (!string[0] && i) ||
		    go_memory_string(reading->memory, string[0], string[1], ret->wait_reasons[i], GO_WAIT_REASON_LENGTH) < 0) {
			ret->wait_reasons[i][0] = '\0';
			return;
		}
		ret->n_wait_reasons = i + 1;
		reading->kinds[i] = kind_of_reason(ret->wait_reasons[i]);
	}
}

/* --- semaphores, until 1.25 ------------------------------------------------------------------------------------- */

static bool may_wait_for_semaphore(const struct reading *reading, const struct go_goroutine *goroutine)
{
	const struct go_goroutines *ret = reading->ret;
	const char *reason;

	if (goroutine->status != GO_WAITING || goroutine->n_waits || goroutine->wait_reason >= ret->n_wait_reasons ||
	    reading->kinds[goroutine->wait_reason])
		return false;
	reason = ret->wait_reasons[goroutine->wait_reason];
	return !strcmp(reason, "semacquire") || !strncmp(reason, "sync.", 5);
}

struct semaphores {
	struct go_goroutines *ret;
	struct map waiting;                  /* address of a g -> its index in ret->all */
};

static int add_semaphore(void *userdata, uint64_t g, uint64_t semaphore)
{
	struct semaphores *semaphores = userdata;
	struct go_waits *waits = &semaphores->ret->waits;
	const size_t *index = map_get(&semaphores->waiting, &g);
	struct go_goroutine *goroutine = index ? &semaphores->ret->all.at[*index] : NULL;

	if (!goroutine || goroutine->n_waits)
		return 0;
	if (waits->all.n >= GO_WAITS_MAX_ALL) {
		waits->n_cut++;
		return 0;
	}
	goroutine->first_wait = waits->all.n;
	goroutine->n_waits = 1;
	return vec_push(&waits->all, ((struct go_wait){ .address = semaphore, .kind = GO_WAIT_SEMAPHORE }));
}

/* Those that went on until the table was read wait for something else there, if for anything. */
static int forget_if_moved(struct reading *reading, struct go_goroutine *goroutine)
{
	uint8_t g[MAX_G];
	struct snapshot s;
	int r;

	r = go_memory_read(reading->memory, goroutine->address, g, reading->layout->g.size);
	if (r == -E2BIG)
		return r;
	if (r >= 0)
		s = snapshot_of(reading, g);
	if (r < 0 || s.id != goroutine->id || s.sp != goroutine->sp || s.status != goroutine->status || s.wait_reason != goroutine->wait_reason)
		goroutine->n_waits = 0;
	return 0;
}

static int read_semaphores(struct reading *reading)
{
	struct semaphores semaphores = { .ret = reading->ret };
	const void *key;
	void *value;
	size_t cursor = 0;
	int r = 0;

	if (!go_waits_has_table(reading->process))
		return 0;
	map_init(&semaphores.waiting, sizeof(uint64_t), sizeof(size_t));
	for (size_t i = 0; i < reading->ret->all.n && r >= 0; i++) {
		if (!may_wait_for_semaphore(reading, &reading->ret->all.at[i]))
			continue;
		r = map_put(&semaphores.waiting, &reading->ret->all.at[i].address, &value);
		if (r >= 0)
			*(size_t *)value = i;
	}
	if (r >= 0 && semaphores.waiting.n)
		r = go_waits_table(reading->process, 2 * reading->n + TABLE_SPARE, add_semaphore, &semaphores);
	while (r >= 0 && map_next(&semaphores.waiting, &cursor, &key, &value))
		if (reading->ret->all.at[*(size_t *)value].n_waits)
			r = forget_if_moved(reading, &reading->ret->all.at[*(size_t *)value]);
	map_deinit(&semaphores.waiting);
	return r;
}

/* --- the runtime's own ------------------------------------------------------------------------------------------ */

/* runtime/traceback.go isSystemGoroutine(). */
enum owner { OWNER_PROGRAM = 1, OWNER_RUNTIME, OWNER_ERRAND };

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static enum owner owner_of(const struct reading *reading, uint64_t start_pc)
{
	static const char *const of_the_program[] = { "runtime.main", "runtime.corostart", "runtime.handleAsyncEvent" };
	static const char *const errands[] = { "runtime.runfinq", "runtime.runFinalizers", "runtime.runCleanups" };
	const char *name = function_at(reading, start_pc);

	if (!name || strncmp(name, "runtime.", 8) != 0 || is_one_of(name, of_the_program, ARRAY_SIZE(of_the_program)))
		return OWNER_PROGRAM;
	return is_one_of(name, errands, ARRAY_SIZE(errands)) ? OWNER_ERRAND : OWNER_RUNTIME;
}

static bool is_all_runtime(const struct reading *reading, const struct go_goroutine *goroutine)
{
	for (size_t i = 0; i < goroutine->n_frames; i++) {
		const char *name = function_at(reading, reading->ret->frames.at[goroutine->first_frame + i]);

		if (name && strncmp(name, "runtime.", 8) != 0)
			return false;
	}
	return true;
}

static int find_owners(struct reading *reading)
{
	struct map known;                    /* start_pc -> enum owner */
	int r = 0;

	map_init(&known, sizeof(uint64_t), sizeof(enum owner));
	for (size_t i = 0; i < reading->ret->all.n && r >= 0; i++) {
		struct go_goroutine *goroutine = &reading->ret->all.at[i];
		void *value;

		r = map_put(&known, &goroutine->start_pc, &value);
		if (r < 0)
			break;
		if (r > 0)
			*(enum owner *)value = owner_of(reading, goroutine->start_pc);
		/* Finalizers are the program's once they have called it. */
		goroutine->is_system = *(enum owner *)value == OWNER_RUNTIME ||
			(*(enum owner *)value == OWNER_ERRAND && is_all_runtime(reading, goroutine));
	}
	map_deinit(&known);
	return r < 0 ? r : 0;
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Whether it was goroutines that we read. */
static int check(struct reading *reading)
{
	const struct go_goroutines *ret = reading->ret;
	_cleanup_free_ uint64_t *ids = calloc(ret->all.n + 1, sizeof(*ids));

	if (!ids)
		return -ENOMEM;
	if (ret->n_unread > reading->n / 20)
		return unknown(reading, "what runtime.allgs points at are no goroutines");
	if (!reading->ret->n_wait_reasons)
		return unknown(reading, "runtime.waitReasonStrings are no texts");
	if (!reading->has_first)
		return unknown(reading, "there is no goroutine 1");
	if (reading->n_wrong_threads * 2 > reading->n_threads)
		return unknown(reading, "threads know nothing of the goroutines that they run");
	if (reading->n_complete * 100 < reading->n_stacks * MIN_COMPLETE_PERCENT)
		return unknown(reading, "the stacks of goroutines do not end where they should");
	for (size_t i = 0; i < ret->all.n; i++)
		ids[i] = ret->all.at[i].id;
	qsort(ids, ret->all.n, sizeof(*ids), compare_ids);
	for (size_t i = 1; i < ret->all.n; i++)
		/* One that ended and one that began as the same g are read once each; and 0 is one that is being made. */
		if (ids[i] == ids[i - 1] && ids[i])
			return unknown(reading, "two goroutines have the same number");
	return 0;
}

static int read_goroutines(struct reading *reading, const struct go_goroutines_options *options)
{
	_cleanup_free_ struct batch *batch = calloc(1, sizeof(*batch));
	int r;

	reading->run = malloc(MAX_RUN);
	reading->stack_bytes = malloc(MAX_STACK);
	reading->pages = go_memory_pages_new();
	reading->stack = go_stack_new(reading->process);
	if (!batch || !reading->run || !reading->stack_bytes || !reading->pages || !reading->stack)
		return -ENOMEM;
	r = read_addresses(reading, options->max ? options->max : GO_GOROUTINES_MAX);
	if (r)
		return r;
	reading->ret->n_seen = reading->n;
	read_wait_reasons(reading);
	for (size_t i = 0; i < reading->n && r >= 0; i += BATCH)
		r = read_batch(reading, batch, reading->addresses + i, MIN(reading->n - i, (size_t)BATCH));
	vec_deinit(&batch->frames);
	if (r < 0)
		return r;
	r = read_semaphores(reading);
	if (r >= 0)
		r = find_owners(reading);
	if (r < 0)
		return r;
	reading->ret->n_broken = reading->n_stacks - reading->n_complete;
	return check(reading);
}

int go_goroutines_read(struct go_process *process, const struct go_goroutines_options *options, struct go_goroutines *ret)
{
	struct reading reading = {
		.process = process,
		.memory = go_process_memory(process),
		.layout = go_process_layout(process),
		.ret = ret,
	};
	int r;

	map_init(&reading.known_stacks, 2 * sizeof(uint64_t), sizeof(size_t));
	map_init(&reading.label_sets, sizeof(uint64_t), sizeof(struct told));
	r = read_goroutines(&reading, options);
	if (r == GO_GOROUTINES_E_UNKNOWN && options->why)
		*options->why = reading.why;
	map_deinit(&reading.known_stacks);
	map_deinit(&reading.label_sets);
	go_stack_free(reading.stack);
	vec_deinit(&reading.frames.at);
	free(reading.addresses);
	free(reading.run);
	free(reading.stack_bytes);
	go_memory_pages_free(reading.pages);
	if (r)
		go_goroutines_deinit(ret);
	return r;
}

void go_goroutines_deinit(struct go_goroutines *goroutines)
{
	vec_deinit(&goroutines->all);
	vec_deinit(&goroutines->frames);
	go_labels_deinit(&goroutines->labels);
	go_waits_deinit(&goroutines->waits);
}
