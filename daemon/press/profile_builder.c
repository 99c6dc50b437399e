/* SPDX-License-Identifier: Apache-2.0 */
#include "profile_builder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "go_findings.h"
#include "go_idle.h"
#include "hash.h"
#include "idle.h"
#include "image.h"
#include "machinery.h"
#include "map.h"
#include "names_cache.h"
#include "places.h"
#include "rivals.h"
#include "stacks.h"
#include "strtab.h"
#include "wait_labels.h"

struct group {
	const char *service;
	uint64_t count;
	bool is_told;                        /* without a sample, too: of one of its processes nothing could be read, which its files say */
	bool in_depth;
	uint32_t profile;                    /* index into the result, of its first kind */
};

struct builder {
	const struct capture *capture;
	const struct stacks *stacks;
	VEC(struct group) groups;
	struct map group_of;                 /* string number -> index into groups */
	struct strtab *services;
	uint32_t *group_of_sample;           /* index into groups */
	struct service_profile_window window;
	VEC(struct service_profile_writer *) writers; /* of the result, in its order */
};

void service_profiles_deinit(struct service_profiles *profiles)
{
	for (size_t i = 0; i < profiles->profiles.n; i++)
		service_profile_deinit(&profiles->profiles.at[i]);
	vec_deinit(&profiles->profiles);
	for (size_t i = 0; i < profiles->deadlocks.n; i++)
		deadlock_text_deinit(&profiles->deadlocks.at[i]);
	vec_deinit(&profiles->deadlocks);
	goroutine_leak_text_deinit(&profiles->leaks);
	goroutine_deadlock_text_deinit(&profiles->goroutine_deadlocks);
}

/* Which waits are for work */

/* What one function in a stack says of the wait at its leaf; `name` may be NULL. Returns whether it is the application's. */
static bool look_at_function(const char *path, bool is_made, const char *name, struct idle_place *place)
{
	place->is_runtime |= machinery_is_runtime(path, name);
	place->is_opaque |= is_made || (name && machinery_interprets(name));
	if (name && !place->depth) {
		place->contends |= machinery_contends(name);
		place->accepts |= machinery_accepts(name);
	}
	return is_made || !(machinery_is_file(path) || (name && machinery_is_function(name)));
}

/* Leaf first, the innermost of those inlined first. */
static struct idle_place idle_place(const struct stacks_stack *stack, const void *userdata)
{
	const struct builder *b = userdata;
	struct idle_place place = { 0 };
	uint32_t n_library = 0;              /* frames at the leaf that are in another file than the application */
	bool is_library = true;

	for (size_t i = 0; i < stack->n_user; i++) {
		const struct place *at = &places_of(b->window.places, stack)[stack->n_kernel + i];
		const struct image_mapping *mapping = places_origin(b->window.places, at)->mapping;
		const char *path = mapping && mapping->binary ? mapping->binary->path : "";
		struct names_cache_name name = places_name(b->window.places, at);

		is_library = is_library && machinery_is_file(path);
		n_library += is_library;
		for (uint32_t k = 0; k < MAX(name.n_frames, 1U); k++) {
			const char *text = name.n_frames ? strtab_get(name.strings, name.frames[k].name, NULL) : NULL;

			place.depth += look_at_function(path, mapping && mapping->kind == IMAGE_MAPPING_ANONYMOUS, text, &place);
		}
		place.n_inner += !place.depth;
	}
	place.is_runtime &= !place.depth;
	/* The first function of a thread may have been inlined into one of the language that calls it, without a trace. */
	if (!place.depth)
		place.n_inner = n_library;
	return place;
}

/* Of a goroutine: each function by its name, those of the standard library do not count. */
static struct go_idle_place go_idle_place(const struct stacks_stack *stack, const void *userdata)
{
	const struct builder *b = userdata;
	struct go_idle_place place = { 0 };

	for (size_t i = 0; i < stack->n_user; i++) {
		struct names_cache_name name = places_name(b->window.places, &places_of(b->window.places, stack)[stack->n_kernel + i]);

		for (uint32_t k = 0; k < name.n_frames; k++) {
			const char *text = strtab_get(name.strings, name.frames[k].name, NULL);

			place.accepts |= machinery_accepts(text);
			place.depth += !machinery_is_go_library(text);
			if (strcmp(text, "runtime.goexit") != 0)
				place.start = hash_bytes(text, strlen(text));
		}
		/* Nobody knows whose. */
		place.depth += !name.n_frames;
	}
	return place;
}

static int find_idle(const struct builder *b)
{
	/* Kinds without waits of threads. */
	const uint32_t others = capture_kind_bit(PROFILE_CPU) | capture_kind_bit(PROFILE_HEAP) | capture_kind_bit(PROFILE_ALLOCS) |
		capture_kind_bit(PROFILE_GOROUTINE);

	int r;

	if (!(b->capture->kinds & ~others))
		return 0;
	r = idle_find(b->capture->stacks, idle_place, b);
	return r < 0 ? r : go_idle_find(b->capture->stacks, b->capture->go, go_idle_place, b);
}

/* Whose samples they are */

static int find_group(struct builder *b, const char *service, struct group **ret)
{
	uint32_t number;
	void *value;
	int r;

	r = strtab_add_string(b->services, service, &number);
	if (r < 0)
		return r;
	r = map_put(&b->group_of, &number, &value);
	if (r < 0)
		return r;
	if (r == 1) {
		*(uint32_t *)value = b->groups.n;
		r = vec_push(&b->groups, ((struct group){ .service = service }));
		if (r < 0)
			return r;
	}
	*ret = &b->groups.at[*(uint32_t *)value];
	return 0;
}

static int count_services(struct builder *b)
{
	b->group_of_sample = calloc(b->stacks->samples.n + 1, sizeof(*b->group_of_sample));
	if (!b->group_of_sample)
		return -ENOMEM;
	for (size_t i = 0; i < b->stacks->samples.n; i++) {
		const struct stacks_sample *sample = &b->stacks->samples.at[i];
		const uint32_t process = b->stacks->stacks.at[sample->stack].process;
		const struct image *image = b->capture->images.at[process];
		struct group *group;
		int r;

		r = find_group(b, capture_service(b->capture, process, sample->thread), &group);
		if (r < 0)
			return r;
		b->group_of_sample[i] = (uint32_t)(group - b->groups.at);
		group->count += sample->count;
		group->in_depth |= image && image->in_depth;
	}
	return 0;
}

/* Kinds of which a file has nothing but what a runtime said. */
static bool is_of_runtimes(const struct capture *capture)
{
	return capture->kinds & (capture_kind_bit(PROFILE_GOROUTINE) | capture_kind_bit(PROFILE_HEAP) | capture_kind_bit(PROFILE_ALLOCS));
}

/* Who looks for goroutines of a service finds out why there are none. One that has ended needs no file. */
static int count_unread(struct builder *b)
{
	const struct go_findings *go = b->capture->go;

	for (size_t i = 0; go && is_of_runtimes(b->capture) && i < go->processes.n; i++) {
		const struct go_process_facts *facts = &go->processes.at[i];
		const struct image *image = b->capture->images.at[facts->process];
		struct group *group;
		int r;

		if (!facts->is_unread || facts->is_gone)
			continue;
		r = find_group(b, capture_service(b->capture, facts->process, ""), &group);
		if (r < 0)
			return r;
		group->is_told = true;
		group->in_depth |= image && image->in_depth;
	}
	return 0;
}

/* In-depth first, then by samples, then by name so that equal windows give equal files. */
static int compare_groups(const void *a, const void *b)
{
	const struct group *x = *(const struct group *const *)a, *y = *(const struct group *const *)b;

	if (x->in_depth != y->in_depth)
		return y->in_depth - x->in_depth;
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->service, y->service);
}

/* Of heap profiles it is the mean of bytes between two samples: the largest, where programs differ. */
static uint64_t period_of(const struct builder *b, enum profile_kind kind)
{
	const struct go_findings *go = b->capture->go;
	uint64_t rate = 0;

	if (kind != PROFILE_HEAP && kind != PROFILE_ALLOCS)
		return b->stacks->period_nsec;
	for (size_t i = 0; go && i < go->processes.n; i++)
		rate = MAX(rate, go->processes.at[i].memory_rate);
	return rate ? MIN(rate, (uint64_t)INT64_MAX) : b->stacks->period_nsec;
}

static int add_profile(struct builder *b, struct service_profiles *profiles, const char *service, enum profile_kind kind)
{
	struct service_profile out;
	int r;

	r = service_profile_init(&out, service, kind, period_of(b, kind));
	if (r >= 0)
		r = vec_push(&profiles->profiles, out);
	if (r < 0)
		service_profile_deinit(&out);
	return r;
}

static uint32_t n_kinds(const struct capture *capture)
{
	return (uint32_t)__builtin_popcount(capture->kinds);
}

/* One of each kind. */
static int add_profiles(struct builder *b, struct service_profiles *profiles, const char *service)
{
	int r = 0;

	for (int kind = 0; kind < PROFILE_N_KINDS && r >= 0; kind++)
		if (b->capture->kinds & capture_kind_bit(kind))
			r = add_profile(b, profiles, service, kind);
	return r;
}

static int put_together(struct builder *b, struct group *const *order, struct service_profiles *profiles)
{
	for (size_t i = 0; i < b->groups.n; i++)
		order[i]->profile = 0;
	return add_profiles(b, profiles, b->groups.n ? order[0]->service : "none");
}

/* Gives each group its profile. */
static int divide(struct builder *b, uint32_t max_services, struct service_profiles *profiles)
{
	_cleanup_free_ struct group **order = calloc(b->groups.n + 1, sizeof(*order));
	uint32_t n_hosts = 0;
	uint32_t other = UINT32_MAX;
	int r;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < b->groups.n; i++)
		order[i] = &b->groups.at[i];
	qsort(order, b->groups.n, sizeof(*order), compare_groups);
	if (max_services == PROFILE_BUILDER_TOGETHER)
		return put_together(b, order, profiles);
	for (size_t i = 0; i < b->groups.n; i++) {
		bool own = order[i]->in_depth || n_hosts < max_services;

		n_hosts += !order[i]->in_depth;
		if (own || other == UINT32_MAX) {
			r = add_profiles(b, profiles, own ? order[i]->service : "other");
			if (r < 0)
				return r;
		}
		if (!own && other == UINT32_MAX)
			other = profiles->profiles.n - n_kinds(b->capture);
		order[i]->profile = own ? profiles->profiles.n - n_kinds(b->capture) : other;
	}
	return 0;
}

/* Who had the CPUs instead is told of the samples of each profile together. */
static int rank_rivals(struct builder *b)
{
	_cleanup_free_ uint32_t *profiles = calloc(b->stacks->samples.n + 1, sizeof(*profiles));

	if (!profiles)
		return -ENOMEM;
	for (size_t i = 0; i < b->stacks->samples.n; i++)
		profiles[i] = b->groups.at[b->group_of_sample[i]].profile;
	return rivals_new(b->capture, profiles, &b->window.rivals);
}

/* Samples become rows of their profiles */

static int add_writers(struct builder *b, struct service_profiles *profiles)
{
	int r;

	r = vec_reserve(&b->writers, profiles->profiles.n);
	for (size_t i = 0; i < profiles->profiles.n && r >= 0; i++) {
		struct service_profile_writer *writer;

		r = service_profile_writer_new(&b->window, &profiles->profiles.at[i], &writer);
		if (r >= 0)
			b->writers.at[b->writers.n++] = writer;
	}
	return r;
}

/* All samples, to their service's profile of each kind. */
static int add_all(struct builder *b, int (*add)(struct service_profile_writer *writer, const struct stacks_sample *sample))
{
	int r = 0;

	for (size_t i = 0; i < b->stacks->samples.n; i++) {
		const struct group *group = &b->groups.at[b->group_of_sample[i]];

		for (uint32_t k = 0; k < n_kinds(b->capture) && r >= 0; k++)
			r = add(b->writers.at[group->profile + k], &b->stacks->samples.at[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_samples(struct builder *b, struct service_profiles *profiles)
{
	int r;

	r = add_writers(b, profiles);
	if (r >= 0)
		r = add_all(b, service_profile_add_main_mapping);
	if (r >= 0)
		r = add_all(b, service_profile_add);
	return r;
}

/* What is told of locks */

/* The mutex profile of who has samples in this window; NULL: there is none. */
static int find_mutex_profile(struct builder *b, struct service_profiles *profiles, const char *service, struct service_profile **ret)
{
	struct group *group;
	int r;

	*ret = NULL;
	if (!(b->capture->kinds & capture_kind_bit(PROFILE_MUTEX)))
		return 0;
	r = find_group(b, service, &group);
	if (r >= 0 && group->count)
		*ret = &profiles->profiles.at[group->profile + (uint32_t)__builtin_popcount(b->capture->kinds & (capture_kind_bit(PROFILE_MUTEX) - 1))];
	return r;
}

static int add_locks(struct builder *b, struct service_profiles *profiles)
{
	const struct locks *locks = &b->stacks->locks;
	struct service_profile *out;
	int r = 0;

	/* Most time first, of all services. */
	for (size_t i = 0; i < locks->longest.n && r >= 0; i++) {
		const struct lock *lock = &locks->longest.at[i];

		r = find_mutex_profile(b, profiles, capture_service(b->capture, lock->process, lock->thread), &out);
		if (r >= 0 && out && out->locks.n < LOCKS_MAX_SHOWN)
			r = vec_push(&out->locks, *lock);
	}
	for (size_t i = 0; i < locks->processes.n && r >= 0; i++) {
		const struct locks_process *process = &locks->processes.at[i];

		r = find_mutex_profile(b, profiles, capture_service(b->capture, process->process, process->thread), &out);
		if (r >= 0 && out) {
			out->n_locks += process->n;
			out->locks_nsec += process->nsec;
			out->has_estimates |= process->is_estimate;
		}
	}
	return r;
}

static int add_deadlocks(struct builder *b, struct service_profiles *profiles)
{
	const struct deadlocks *deadlocks = &b->capture->deadlocks;
	/* They do not move from here on. */
	int r = vec_reserve(&profiles->deadlocks, deadlocks->circles.n);

	for (size_t i = 0; i < deadlocks->circles.n && r >= 0; i++) {
		struct service_profile *out;

		r = vec_push(&profiles->deadlocks, (struct deadlock_text){ 0 });
		if (r >= 0)
			r = deadlock_text_describe(b->capture, b->window.places, &deadlocks->circles.at[i], &profiles->deadlocks.at[i]);
		if (r >= 0)
			r = find_mutex_profile(b, profiles, profiles->deadlocks.at[i].service, &out);
		if (r >= 0 && out)
			r = vec_push(&out->deadlocks, &profiles->deadlocks.at[i]);
	}
	return r;
}

/* --- what is told of Go processes as a whole --- */

static bool is_about_go(enum profile_kind kind)
{
	return kind == PROFILE_GOROUTINE || kind == PROFILE_HEAP || kind == PROFILE_ALLOCS || kind == PROFILE_BLOCK || kind == PROFILE_MUTEX || kind == PROFILE_WALL;
}

static int add_go_processes(struct builder *b, bool together, struct service_profiles *profiles)
{
	const struct go_findings *go = b->capture->go;
	int r = 0;

	for (size_t i = 0; go && i < go->processes.n && r >= 0; i++) {
		struct group *group;

		r = find_group(b, capture_service(b->capture, go->processes.at[i].process, ""), &group);
		if (r < 0 || (!group->count && !group->is_told && !together))
			continue;
		for (uint32_t k = 0; k < n_kinds(b->capture) && r >= 0; k++) {
			struct service_profile *out = &profiles->profiles.at[group->profile + k];

			if (is_about_go(out->kind))
				r = vec_push(&out->go_processes, (uint32_t)i);
			out->tells_unread |= group->is_told && is_of_runtimes(b->capture);
		}
	}
	return r;
}

static int add_leaks(struct builder *b, struct service_profiles *profiles)
{
	const uint32_t kinds = b->capture->kinds;
	/* They do not move from here on. */
	int r = goroutine_leak_text_describe(b->capture, b->window.places, &profiles->leaks);

	for (size_t i = 0; i < profiles->leaks.n && r >= 0 && kinds & capture_kind_bit(PROFILE_GOROUTINE); i++) {
		struct group *group;

		r = find_group(b, profiles->leaks.at[i].service, &group);
		if (r >= 0 && group->count)
			r = vec_push(&profiles->profiles.at[group->profile + (uint32_t)__builtin_popcount(kinds & (capture_kind_bit(PROFILE_GOROUTINE) - 1))].leaks,
					&profiles->leaks.at[i]);
	}
	return r;
}

static int add_goroutine_deadlocks(struct builder *b, struct service_profiles *profiles)
{
	const uint32_t kinds = b->capture->kinds;
	/* They do not move from here on. */
	int r = goroutine_deadlock_text_describe(b->capture, b->window.places, &profiles->goroutine_deadlocks);

	for (size_t i = 0; i < profiles->goroutine_deadlocks.n && r >= 0 && kinds & capture_kind_bit(PROFILE_GOROUTINE); i++) {
		const uint32_t nth = (uint32_t)__builtin_popcount(kinds & (capture_kind_bit(PROFILE_GOROUTINE) - 1));
		struct group *group;

		r = find_group(b, profiles->goroutine_deadlocks.at[i].service, &group);
		if (r >= 0 && group->count)
			r = vec_push(&profiles->profiles.at[group->profile + nth].goroutine_deadlocks, &profiles->goroutine_deadlocks.at[i]);
	}
	return r;
}

int profile_builder_run(const struct capture *capture, struct names_cache *cache, uint32_t max_services,
		struct service_profiles *ret)
{
	struct service_profiles profiles = { 0 };
	struct builder b = {
		.capture = capture,
		.stacks = capture->stacks,
		.services = strtab_new(),
		.window.capture = capture,
	};
	int r;

	map_init(&b.group_of, sizeof(uint32_t), sizeof(uint32_t));
	r = b.services ? places_new(capture, cache, &b.window.places) : -ENOMEM;
	if (r >= 0)
		r = find_idle(&b);
	if (r >= 0)
		r = count_services(&b);
	if (r >= 0)
		r = count_unread(&b);
	if (r >= 0)
		r = wait_labels_new(capture, cache, b.group_of_sample, &b.window.wait_labels);
	if (r >= 0)
		r = divide(&b, max_services, &profiles);
	if (r >= 0)
		r = rank_rivals(&b);
	if (r >= 0)
		r = add_samples(&b, &profiles);
	if (r >= 0)
		r = add_locks(&b, &profiles);
	if (r >= 0)
		r = add_deadlocks(&b, &profiles);
	if (r >= 0)
		r = add_go_processes(&b, max_services == PROFILE_BUILDER_TOGETHER, &profiles);
	if (r >= 0)
		r = add_leaks(&b, &profiles);
	if (r >= 0)
		r = add_goroutine_deadlocks(&b, &profiles);
	names_cache_end_window(cache);
	strtab_free(b.services);
	for (size_t i = 0; i < b.writers.n; i++)
		service_profile_writer_free(b.writers.at[i]);
	vec_deinit(&b.writers);
	rivals_free(b.window.rivals);
	wait_labels_free(b.window.wait_labels);
	free(b.group_of_sample);
	map_deinit(&b.group_of);
	vec_deinit(&b.groups);
	places_free(b.window.places);
	if (r < 0)
		service_profiles_deinit(&profiles);
	else
		*ret = profiles;
	return r;
}
