/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_deadlocks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "map.h"

enum { NONE = UINT32_MAX, MAX_PRINTED = 20, MAX_ROUNDS = 256 };
#define LEAST_NSEC (5 * NSEC_PER_SEC)
/* Nobody holds a lock for so long, or has nothing to do, without that being the trouble. */
#define LONG_NSEC (60 * NSEC_PER_SEC)

/* Goroutines and objects by their index. */
struct pair {
	uint32_t of, to;
	bool is_direct;
};
typedef VEC(struct pair) pair_list;

struct finding {
	const struct goroutine_deadlocks_input *input;
	struct goroutine_deadlocks *ret;
	struct map goroutine_numbers, object_numbers; /* uint64_t -> uint32_t */
	VEC(uint64_t) objects;
	VEC(uint32_t) kinds;                 /* of objects */
	pair_list waits;                     /* of an object to the goroutines that wait for it */
	pair_list reached;                   /* of a goroutine to objects */
	pair_list reaching;                  /* of an object to goroutines; NONE: by anything */
	bool *can_go_on;                     /* by goroutine */
	bool *is_told;
};

static int compare_pairs(const void *left, const void *right)
{
	const struct pair *a = left, *b = right;

	if (a->of != b->of)
		return a->of < b->of ? -1 : 1;
	return a->to < b->to ? -1 : a->to > b->to;
}

/* The first pair of `of`, or where it would be. */
static size_t find_pairs(const pair_list *pairs, uint32_t of)
{
	size_t low = 0, high = pairs->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (pairs->at[middle].of < of)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

#define FOR_PAIRS(i, pairs, number) \
	for (size_t i = find_pairs((pairs), (number)); i < (pairs)->n && (pairs)->at[i].of == (number); i++)

static void sort_pairs(pair_list *pairs)
{
	vec_sort(pairs, compare_pairs);
}

static uint32_t number_of(const struct map *map, uint64_t key)
{
	const uint32_t *number = map_get(map, &key);

	return number ? *number : NONE;
}

/* --- what is there -------------------------------------------------------------------------------------------- */

/* runtime/runtime2.go waitReasonStrings of 1.18 to 1.27: waits that another goroutine ends, and no one else. */
static bool is_for_goroutines(const char *reason)
{
	static const char *const reasons[] = {
		"chan receive", "chan send", "select", "semacquire", "sync.Cond.Wait", "sync.Mutex.Lock", "sync.RWMutex.RLock",
		"sync.RWMutex.Lock", "sync.WaitGroup.Wait",
	};

	for (size_t i = 0; reason && i < ARRAY_SIZE(reasons); i++)
		if (!strcmp(reason, reasons[i]))
			return true;
	return false;
}

static bool is_for_nothing(const char *reason)
{
	return reason && (!strcmp(reason, "chan receive (nil chan)") || !strcmp(reason, "chan send (nil chan)"));
}

static bool is_parked(const char *reason)
{
	return is_for_nothing(reason) || (reason && !strcmp(reason, "select (no cases)"));
}

static int add_object(struct finding *f, const struct goroutine_wait *wait, uint32_t *ret)
{
	void *value;
	int r = map_put(&f->object_numbers, &wait->object, &value);

	if (r < 0)
		return r;
	if (r > 0) {
		*(uint32_t *)value = (uint32_t)f->objects.n;
		if (vec_push(&f->objects, wait->object) < 0 || vec_push(&f->kinds, wait->kind) < 0)
			return -ENOMEM;
	}
	*ret = *(uint32_t *)value;
	return 0;
}

static const struct goroutine_wait *waits_of(const struct finding *f, const struct goroutine_facts *facts, size_t *ret_n)
{
	const struct goroutine_deadlocks_input *input = f->input;

	*ret_n = facts->first_wait <= input->n_waits ? MIN(facts->n_waits, input->n_waits - facts->first_wait) : 0;
	return input->waits + (*ret_n ? facts->first_wait : 0);
}

static int add_goroutine(struct finding *f, uint32_t number)
{
	const struct goroutine_facts *facts = &f->input->goroutines[number];
	const struct goroutine_wait *waits;
	uint32_t object;
	void *value;
	size_t n;
	int r = map_put(&f->goroutine_numbers, &facts->id, &value);

	if (r < 0)
		return r;
	*(uint32_t *)value = number;
	waits = waits_of(f, facts, &n);
	for (size_t i = 0; i < n; i++) {
		r = add_object(f, &waits[i], &object);
		if (r < 0 || vec_push(&f->waits, ((struct pair){ .of = object, .to = number })) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_reference(struct finding *f, const struct goroutine_reference *reference)
{
	uint32_t object = number_of(&f->object_numbers, reference->object), from = NONE;

	if (object == NONE)
		return 0;
	if (reference->from)
		from = number_of(&f->goroutine_numbers, reference->from);
	if (vec_push(&f->reaching, ((struct pair){ object, from, reference->is_direct })) < 0)
		return -ENOMEM;
	return from == NONE ? 0 : vec_push(&f->reached, ((struct pair){ from, object, reference->is_direct }));
}

static int take_input(struct finding *f)
{
	const struct goroutine_deadlocks_input *input = f->input;
	int r = 0;

	for (size_t i = 0; i < input->n_goroutines && r >= 0; i++)
		r = add_goroutine(f, (uint32_t)i);
	for (size_t i = 0; i < input->n_references && r >= 0; i++)
		r = add_reference(f, &input->references[i]);
	f->can_go_on = calloc(input->n_goroutines + 1, sizeof(*f->can_go_on));
	f->is_told = calloc(input->n_goroutines + 1, sizeof(*f->is_told));
	if (r < 0 || !f->can_go_on || !f->is_told)
		return -ENOMEM;
	sort_pairs(&f->waits);
	sort_pairs(&f->reached);
	sort_pairs(&f->reaching);
	return 0;
}

static bool is_still(const struct finding *f, uint32_t number)
{
	return f->input->goroutines[number].still_nsec >= (f->input->least_nsec ? f->input->least_nsec : LEAST_NSEC);
}

/* Whether it waits for nothing but other goroutines, of which all that could wake it is known. */
static bool waits_for_known(const struct finding *f, uint32_t number)
{
	const struct goroutine_facts *facts = &f->input->goroutines[number];
	size_t n;

	if (facts->is_system || !is_still(f, number))
		return false;
	waits_of(f, facts, &n);
	return is_parked(facts->reason) || (is_for_goroutines(facts->reason) && n && !facts->waits_for_more);
}

/* --- telling -------------------------------------------------------------------------------------------------- */

static int tell_member(struct finding *f, struct goroutine_deadlock *deadlock, uint32_t number)
{
	const struct goroutine_facts *facts = &f->input->goroutines[number];
	struct goroutine_deadlock_member member = { .id = facts->id };
	const struct goroutine_wait *waits;
	size_t n;

	waits = waits_of(f, facts, &n);
	member.object = n ? waits[0].object : 0;
	deadlock->still_nsec = deadlock->members.n ? MIN(deadlock->still_nsec, facts->still_nsec) : facts->still_nsec;
	f->is_told[number] = true;
	return vec_push(&deadlock->members, member);
}

/* Takes what `deadlock` has. */
static int tell(struct finding *f, struct goroutine_deadlock *deadlock)
{
	int r = 0;

	if (!deadlock->members.n)
		return 0;
	if (f->ret->all.n == GOROUTINE_DEADLOCKS_MAX)
		f->ret->n_left_out += deadlock->members.n;
	else
		r = vec_push(&f->ret->all, *deadlock);
	if (r < 0 || f->ret->n_left_out)
		vec_deinit(&deadlock->members);
	memset(&deadlock->members, 0, sizeof(deadlock->members));
	return r;
}

/* --- who can go on -------------------------------------------------------------------------------------------- */

static void reach(struct finding *f, uint32_t object, bool *is_reached, uint32_t *queue, size_t *n_queued)
{
	if (is_reached[object])
		return;
	is_reached[object] = true;
	FOR_PAIRS(i, &f->waits, object) {
		uint32_t waiter = f->waits.at[i].to;

		if (f->can_go_on[waiter])
			continue;
		f->can_go_on[waiter] = true;
		queue[(*n_queued)++] = waiter;
	}
}

/* From those who can go on to what they reach, to those who wait for that, and so on until nothing is new. */
static int find_who_can_go_on(struct finding *f)
{
	_cleanup_free_ bool *is_reached = calloc(f->objects.n + 1, sizeof(*is_reached));
	_cleanup_free_ uint32_t *queue = calloc(f->input->n_goroutines + 1, sizeof(*queue));
	size_t n_queued = 0;

	if (!is_reached || !queue)
		return -ENOMEM;
	for (uint32_t i = 0; i < f->input->n_goroutines; i++)
		if (!waits_for_known(f, i)) {
			f->can_go_on[i] = true;
			queue[n_queued++] = i;
		}
	for (size_t i = 0; i < f->reaching.n; i++)
		if (f->reaching.at[i].to == NONE)
			reach(f, f->reaching.at[i].of, is_reached, queue, &n_queued);
	for (size_t i = 0; i < n_queued; i++)
		FOR_PAIRS(j, &f->reached, queue[i])
			reach(f, f->reached.at[j].to, is_reached, queue, &n_queued);
	return 0;
}

/* --- circles -------------------------------------------------------------------------------------------------- */

static uint32_t find_lock(const struct finding *f, uint32_t number)
{
	const struct goroutine_facts *facts = &f->input->goroutines[number];
	const struct goroutine_wait *waits;
	size_t n;

	waits = waits_of(f, facts, &n);
	if (n != 1 || waits->kind != GOROUTINE_WAITS_LOCK || !waits_for_known(f, number))
		return NONE;
	return number_of(&f->object_numbers, waits->object);
}

struct circles {
	uint32_t *locks;                     /* by goroutine: what it waits for; NONE: no lock, or it can be part of no circle */
	uint32_t *next;                      /* and who may have that */
	uint32_t *ends_at;                   /* the lowest number on the circle that it leads to */
	uint32_t *holders;                   /* by object */
	bool *has_one_holder;
};

/*
 * The one that may have the lock: whose stack has its address though it does not wait for it. NONE: nobody, or one of
 * them is part of no circle: it may let go of it yet.
 */
static void find_holder(const struct finding *f, struct circles *circles, uint32_t lock)
{
	uint32_t holder = NONE;

	circles->holders[lock] = NONE;
	circles->has_one_holder[lock] = true;
	FOR_PAIRS(i, &f->reaching, lock) {
		uint32_t from = f->reaching.at[i].to;

		if (!f->reaching.at[i].is_direct || from == NONE || circles->locks[from] == lock || from == holder)
			continue;
		if (circles->locks[from] == NONE)
			return;
		if (holder != NONE)
			circles->has_one_holder[lock] = false;
		else
			holder = from;
	}
	circles->holders[lock] = holder;
}

/* Who waits for nobody that is left is taken out, until all that are left wait for one of them. */
static void narrow(const struct finding *f, struct circles *circles)
{
	bool has_changed = true;

	for (unsigned int i = 0; i < MAX_ROUNDS && has_changed; i++) {
		has_changed = false;
		for (uint32_t lock = 0; lock < f->objects.n; lock++)
			if (f->kinds.at[lock] == GOROUTINE_WAITS_LOCK)
				find_holder(f, circles, lock);
		for (uint32_t number = 0; number < f->input->n_goroutines; number++) {
			if (circles->locks[number] == NONE)
				continue;
			circles->next[number] = circles->holders[circles->locks[number]];
			if (circles->next[number] != NONE)
				continue;
			circles->locks[number] = NONE;
			has_changed = true;
		}
	}
	for (uint32_t number = 0; has_changed && number < f->input->n_goroutines; number++)
		circles->locks[number] = NONE;
}

static uint32_t confidence_of_circle(const struct finding *f, const struct goroutine_deadlock *circle, bool is_only_one)
{
	/* Complete references say that nobody else could have it; or that somebody could. */
	if (circle->is_unreachable)
		return 100 - 20 / f->input->n_searches;
	return (f->input->n_searches ? 45U : 55U) + (circle->still_nsec >= LONG_NSEC ? 20U : 0) + (is_only_one ? 10U : 0);
}

static int tell_circle(struct finding *f, const struct circles *circles, uint32_t first)
{
	struct goroutine_deadlock circle = { .sort = GOROUTINE_CIRCLE, .is_unreachable = f->input->n_searches > 0 };
	bool is_only_one = true;
	uint32_t at = first;
	int r;

	do {
		r = tell_member(f, &circle, at);
		circle.is_unreachable &= !f->can_go_on[at];
		is_only_one &= circles->has_one_holder[circles->locks[at]];
		at = circles->next[at];
	} while (r >= 0 && at != first);
	for (uint32_t i = 0; i < f->input->n_goroutines; i++)
		circle.n_behind += !f->is_told[i] && circles->ends_at[i] == first;
	circle.confidence = confidence_of_circle(f, &circle, is_only_one);
	if (r >= 0)
		return tell(f, &circle);
	vec_deinit(&circle.members);
	return r;
}

static void find_ends(const struct finding *f, const struct circles *circles)
{
	enum { OPEN = UINT32_MAX - 1 };
	uint32_t *ends_at = circles->ends_at, *next = circles->next;

	for (uint32_t i = 0; i < f->input->n_goroutines; i++)
		ends_at[i] = NONE;
	for (uint32_t i = 0; i < f->input->n_goroutines; i++) {
		uint32_t at = i, end;

		if (circles->locks[i] == NONE || ends_at[i] != NONE)
			continue;
		for (; ends_at[at] == NONE; at = next[at])
			ends_at[at] = OPEN;
		end = ends_at[at];
		if (end == OPEN) {
			end = at;
			for (uint32_t j = next[at]; j != at; j = next[j])
				end = MIN(end, j);
		}
		for (at = i; ends_at[at] == OPEN; at = next[at])
			ends_at[at] = end;
	}
}

static int find_circles_with(struct finding *f, struct circles *circles)
{
	int r = 0;

	if (!circles->locks || !circles->next || !circles->ends_at || !circles->holders || !circles->has_one_holder)
		return -ENOMEM;
	for (uint32_t i = 0; i < f->input->n_goroutines; i++)
		circles->locks[i] = find_lock(f, i);
	narrow(f, circles);
	find_ends(f, circles);
	for (uint32_t i = 0; i < f->input->n_goroutines && r >= 0; i++)
		if (circles->locks[i] != NONE && circles->ends_at[i] == i)
			r = tell_circle(f, circles, i);
	return r;
}

static int find_circles(struct finding *f)
{
	size_t n = f->input->n_goroutines + 1;
	_cleanup_free_ uint32_t *locks = calloc(n, sizeof(*locks));
	_cleanup_free_ uint32_t *next = calloc(n, sizeof(*next));
	_cleanup_free_ uint32_t *ends_at = calloc(n, sizeof(*ends_at));
	_cleanup_free_ uint32_t *holders = calloc(f->objects.n + 1, sizeof(*holders));
	_cleanup_free_ bool *has_one_holder = calloc(f->objects.n + 1, sizeof(*has_one_holder));

	return find_circles_with(f, &(struct circles){ locks, next, ends_at, holders, has_one_holder });
}

/* --- unreachable, forever, asleep ----------------------------------------------------------------------------- */

struct stuck {
	uint32_t number, group;
	uint64_t site;                       /* of one that is alone */
};

static int compare_stuck(const void *left, const void *right)
{
	const struct stuck *a = left, *b = right;

	if (a->site != b->site)
		return a->site < b->site ? -1 : 1;
	if (a->group != b->group)
		return a->group < b->group ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

static uint32_t find_group(uint32_t *groups, uint32_t of)
{
	while (groups[of] != of)
		of = groups[of] = groups[groups[of]];
	return of;
}

/* Those that wait for the same, or for what another one of them could reach, are one group. */
static void group_by_objects(const struct finding *f, uint32_t *groups, uint32_t *sizes)
{
	for (uint32_t i = 0; i < f->input->n_goroutines; i++)
		groups[i] = i;
	for (uint32_t object = 0; object < f->objects.n; object++) {
		uint32_t first = NONE;

		FOR_PAIRS(i, &f->waits, object) {
			uint32_t waiter = f->waits.at[i].to;

			if (f->can_go_on[waiter])
				continue;
			if (first == NONE)
				first = waiter;
			groups[find_group(groups, waiter)] = find_group(groups, first);
		}
		if (first == NONE)
			continue;
		FOR_PAIRS(i, &f->reaching, object)
			if (f->reaching.at[i].to != NONE)
				groups[find_group(groups, f->reaching.at[i].to)] = find_group(groups, first);
	}
	for (uint32_t i = 0; i < f->input->n_goroutines; i++)
		sizes[find_group(groups, i)] += !f->can_go_on[i];
}

/* Goroutines of one group and one site follow each other. */
static int tell_groups(struct finding *f, struct stuck *stuck, size_t n, struct goroutine_deadlock like)
{
	int r = 0;

	if (n)
		qsort(stuck, n, sizeof(*stuck), compare_stuck);
	for (size_t i = 0; i < n && r >= 0; ) {
		struct goroutine_deadlock deadlock = like;
		size_t first = i;

		for (; i < n && r >= 0 && stuck[i].site == stuck[first].site && stuck[i].group == stuck[first].group; i++)
			r = tell_member(f, &deadlock, stuck[i].number);
		if (r >= 0)
			r = tell(f, &deadlock);
		else
			vec_deinit(&deadlock.members);
	}
	return r;
}

static int find_unreachable(struct finding *f)
{
	_cleanup_free_ uint32_t *groups = calloc(f->input->n_goroutines + 1, sizeof(*groups));
	_cleanup_free_ uint32_t *sizes = calloc(f->input->n_goroutines + 1, sizeof(*sizes));
	_cleanup_free_ struct stuck *stuck = calloc(f->input->n_goroutines + 1, sizeof(*stuck));
	size_t n = 0;

	if (!groups || !sizes || !stuck)
		return -ENOMEM;
	group_by_objects(f, groups, sizes);
	for (uint32_t i = 0; i < f->input->n_goroutines; i++) {
		uint32_t group = find_group(groups, i);

		if (f->can_go_on[i] || f->is_told[i] || is_parked(f->input->goroutines[i].reason))
			continue;
		/* The main one, alone: so programs wait for ever while others serve, as with `select {}`. */
		if (f->input->goroutines[i].id == 1 && sizes[group] == 1)
			continue;
		/* A thousand that each wait for a channel of their own are one finding, by where they were made. */
		stuck[n++] = sizes[group] > 1 ? (struct stuck){ i, group, 0 } : (struct stuck){ i, NONE, f->input->goroutines[i].go_pc };
	}
	return tell_groups(f, stuck, n, (struct goroutine_deadlock){ .sort = GOROUTINE_UNREACHABLE,
		.confidence = 100 - 50 / f->input->n_searches });
}

static int find_forever(struct finding *f)
{
	_cleanup_free_ struct stuck *stuck = calloc(f->input->n_goroutines + 1, sizeof(*stuck));
	size_t n = 0;

	if (!stuck)
		return -ENOMEM;
	for (uint32_t i = 0; i < f->input->n_goroutines; i++) {
		const struct goroutine_facts *facts = &f->input->goroutines[i];

		if (is_for_nothing(facts->reason) && !facts->is_system && is_still(f, i))
			stuck[n++] = (struct stuck){ i, NONE, facts->go_pc };
	}
	return tell_groups(f, stuck, n, (struct goroutine_deadlock){ .sort = GOROUTINE_FOREVER, .confidence = 99 });
}

static int find_asleep(struct finding *f)
{
	struct goroutine_deadlock deadlock = { .sort = GOROUTINE_ASLEEP, .confidence = 80 };
	size_t n_waiting = 0;
	int r = 0;

	for (uint32_t i = 0; i < f->input->n_goroutines; i++) {
		const struct goroutine_facts *facts = &f->input->goroutines[i];
		const struct goroutine_wait *waits;
		size_t n;

		if (facts->is_system)
			continue;
		if (!waits_for_known(f, i) || facts->still_nsec < LONG_NSEC)
			return 0;
		/* Parked for good on purpose, or by mistake: it does not wait for any of the others. */
		n_waiting += !is_parked(facts->reason);
		waits = waits_of(f, facts, &n);
		for (size_t j = 0; j < n; j++)
			if (waits[j].kind == GOROUTINE_WAITS_CHANNEL)
				deadlock.confidence = 40;
	}
	for (uint32_t i = 0; n_waiting && i < f->input->n_goroutines && r >= 0; i++)
		if (!f->input->goroutines[i].is_system && !f->is_told[i] && !is_parked(f->input->goroutines[i].reason))
			r = tell_member(f, &deadlock, i);
	if (r >= 0)
		return tell(f, &deadlock);
	vec_deinit(&deadlock.members);
	return r;
}

static int find_all(struct finding *f)
{
	int r = take_input(f);

	if (r >= 0)
		r = find_who_can_go_on(f);
	if (r >= 0)
		r = find_circles(f);
	if (r >= 0 && f->input->n_searches)
		r = find_unreachable(f);
	if (r >= 0)
		r = find_forever(f);
	return r < 0 ? r : find_asleep(f);
}

int goroutine_deadlocks_find(const struct goroutine_deadlocks_input *input, struct goroutine_deadlocks *ret)
{
	struct finding f = { .input = input, .ret = ret };
	int r;

	map_init(&f.goroutine_numbers, sizeof(uint64_t), sizeof(uint32_t));
	map_init(&f.object_numbers, sizeof(uint64_t), sizeof(uint32_t));
	r = find_all(&f);
	map_deinit(&f.goroutine_numbers);
	map_deinit(&f.object_numbers);
	vec_deinit(&f.objects);
	vec_deinit(&f.kinds);
	vec_deinit(&f.waits);
	vec_deinit(&f.reached);
	vec_deinit(&f.reaching);
	free(f.can_go_on);
	free(f.is_told);
	if (r < 0)
		goroutine_deadlocks_deinit(ret);
	return r;
}

void goroutine_deadlocks_deinit(struct goroutine_deadlocks *deadlocks)
{
	for (size_t i = 0; i < deadlocks->all.n; i++)
		vec_deinit(&deadlocks->all.at[i].members);
	vec_deinit(&deadlocks->all);
}

void goroutine_deadlock_print(const struct goroutine_deadlock *deadlock, FILE *f)
{
	static const char *const what[] = {
		[GOROUTINE_CIRCLE] = "goroutines wait for each other's locks in a circle",
		[GOROUTINE_UNREACHABLE] = "goroutines wait for what no goroutine that can go on reaches",
		[GOROUTINE_FOREVER] = "goroutines wait for nil channels",
		[GOROUTINE_ASLEEP] = "goroutines are all there are, and all wait for each other",
	};

	fprintf(f, "deadlock: %zu %s, for %.1f s, confidence %u%%", deadlock->members.n, what[deadlock->sort],
			(double)deadlock->still_nsec / (double)NSEC_PER_SEC, deadlock->confidence);
	if (deadlock->is_unreachable)
		fputs(", nobody else reaches the locks", f);
	if (deadlock->n_behind)
		fprintf(f, ", %" PRIu64 " more wait for these", deadlock->n_behind);
	putc('\n', f);
	for (size_t i = 0; i < MIN(deadlock->members.n, (size_t)MAX_PRINTED); i++) {
		const struct goroutine_deadlock_member *member = &deadlock->members.at[i];

		fprintf(f, "    goroutine %" PRIu64, member->id);
		if (member->object)
			fprintf(f, " waits for 0x%" PRIx64, member->object);
		putc('\n', f);
	}
	if (deadlock->members.n > MAX_PRINTED)
		fprintf(f, "    and %zu more\n", deadlock->members.n - MAX_PRINTED);
}
