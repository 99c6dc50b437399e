/* SPDX-License-Identifier: Apache-2.0 */
#include "profile_builder.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "idle.h"
#include "image.h"
#include "machinery.h"
#include "map.h"
#include "names_cache.h"
#include "places.h"
#include "profile.h"
#include "rivals.h"
#include "stacks.h"
#include "text.h"
#include "wait_labels.h"

/* Instead of an index into origins, of frames that are no code; the offset says the rest. */
static const uint32_t origin_broken = UINT32_MAX, origin_elided = UINT32_MAX - 1, origin_without = UINT32_MAX - 2,
		      origin_other = UINT32_MAX - 3, origin_kernel_thread = UINT32_MAX - 4;

/* Offsets of origin_without: what is missing is a wait's stack (SAMPLE_N_REASONS), a stack on a CPU (SAMPLE_RAN), or: */
static const uint64_t without_room = SAMPLE_N_REASONS + 1, without_running = SAMPLE_N_REASONS + 2;

/* Offsets of origin_other. Those of origin_kernel_thread are numbers of builder.names. */
enum { OTHER_HELD, OTHER_WOKEN, OTHER_RAN, OTHER_INTERRUPT };

struct group {
	const char *service;
	uint64_t count;
	bool in_depth;
	uint32_t profile;                    /* index into the result, of its first kind */
};

struct builder {
	const struct capture *capture;
	const struct stacks *stacks;
	struct names_cache *cache;
	struct places *places;
	VEC(struct group) groups;
	struct map group_of;                 /* string number -> index into groups */
	struct strtab *services;
	uint32_t *group_of_sample;           /* index into groups */
	struct strtab *names;                /* of threads of the kernel */
	struct rivals *rivals;
	struct wait_labels *wait_labels;
};

/* State of one profile while its samples are added. */
struct sheet {
	struct service_profile *out;
	struct map location_of;              /* struct place -> location id */
	VEC(uint32_t) stack;                 /* scratch, as lines */
	VEC(struct profile_line) lines;
};

void service_profiles_deinit(struct service_profiles *profiles)
{
	for (size_t i = 0; i < profiles->profiles.n; i++) {
		free(profiles->profiles.at[i].service);
		profile_free(profiles->profiles.at[i].profile);
		vec_deinit(&profiles->profiles.at[i].locks);
		vec_deinit(&profiles->profiles.at[i].deadlocks);
	}
	vec_deinit(&profiles->profiles);
	for (size_t i = 0; i < profiles->deadlocks.n; i++)
		deadlock_text_deinit(&profiles->deadlocks.at[i]);
	vec_deinit(&profiles->deadlocks);
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
		const struct place *at = &places_of(b->places, stack)[stack->n_kernel + i];
		const struct image_mapping *mapping = places_origin(b->places, at)->mapping;
		const char *path = mapping && mapping->binary ? mapping->binary->path : "";
		struct names_cache_name name = places_name(b->places, at);

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

static int find_idle(const struct builder *b)
{
	return b->capture->kinds == capture_kind_bit(PROFILE_CPU) ? 0 : idle_find(b->capture->stacks, idle_place, b);
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

static int add_profile(struct builder *b, struct service_profiles *profiles, const char *service, enum profile_kind kind)
{
	struct service_profile out = { .service = strdup(service), .kind = kind, .profile = profile_new() };
	int r;

	r = out.service && out.profile ? vec_push(&profiles->profiles, out) : -ENOMEM;
	if (r < 0) {
		free(out.service);
		profile_free(out.profile);
		return r;
	}
	return profile_set_kind(out.profile, kind, b->stacks->period_nsec);
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
	return rivals_new(b->capture, profiles, &b->rivals);
}

/* Samples become rows of their profile */

/* A string from a stranger: a path, or the name of a thread. */
static int add_text(struct profile *profile, const char *text, uint32_t *ret)
{
	char clean[PATH_MAX];

	text_clean(text, clean, sizeof(clean));
	return profile_string(profile, clean, ret);
}

static int build_id_string(struct profile *profile, const struct build_id *id, uint32_t *ret)
{
	char hex[2 * sizeof(id->bytes) + 1] = "";

	for (size_t i = 0; i < MIN(id->size, sizeof(id->bytes)); i++)
		snprintf(hex + 2 * i, 3, "%02x", id->bytes[i]);
	return profile_string(profile, hex, ret);
}

/* The segment of the file that an address of it is in. */
static const struct names_segment *find_segment(const struct names *names, uint64_t address)
{
	for (size_t i = 0; i < names->segments.n; i++) {
		const struct names_segment *segment = &names->segments.at[i];

		if (address >= segment->address && address - segment->address < segment->size)
			return segment;
	}
	return NULL;
}

static int add_mapping(const struct builder *b, struct profile *profile, const struct place *place,
		const struct names_cache_name *name, uint32_t *ret)
{
	const struct place_origin *origin = places_origin(b->places, place);
	const struct names *names = places_tables(b->places, place);
	struct profile_mapping mapping = { 0 };
	const struct names_segment *segment = names ? find_segment(names, name->address) : NULL;
	int r;

	if (!origin->file) {
		*ret = 0;
		return 0;
	}
	if (segment) {
		mapping.start = segment->address;
		mapping.limit = segment->address + segment->size;
		mapping.offset = segment->file_offset;
	} else if (origin->mapping && origin->mapping->kind == IMAGE_MAPPING_FILE) {
		/* Nothing but the offset is known: addresses are offsets, then. */
		mapping.start = origin->mapping->file_offset;
		mapping.limit = mapping.start + (origin->mapping->end - origin->mapping->start);
		mapping.offset = mapping.start;
	} else if (place->offset >= PLACES_KERNEL_START) {
		mapping.start = PLACES_KERNEL_START;
		mapping.limit = UINT64_MAX;
	} else {
		mapping.limit = PLACES_KERNEL_START;
	}
	if (names) {
		mapping.has_functions = names->has_functions;
		mapping.has_filenames = names->has_filenames;
		mapping.has_line_numbers = names->has_line_numbers;
		mapping.has_inline_frames = names->has_inline_frames;
	}
	/* Every location gets a function, if only "file+0xoffset": pprof must not look for better ones elsewhere. */
	mapping.has_functions = true;
	r = add_text(profile, origin->file, &mapping.file);
	if (r >= 0 && origin->mapping && origin->mapping->binary)
		r = build_id_string(profile, names && names->build_id.size ? &names->build_id :
				&origin->mapping->binary->build_id, &mapping.build_id);
	return r < 0 ? r : profile_add_mapping(profile, &mapping, ret);
}

/* A function of which there is no more than what it is called. */
static int add_bare_line(struct profile *profile, const char *name, struct profile_line *ret)
{
	struct profile_function function = { 0 };
	int r;

	r = add_text(profile, name, &function.name);
	if (r < 0)
		return r;
	function.system_name = function.name;
	*ret = (struct profile_line){ 0 };
	return profile_add_function(profile, &function, &ret->function);
}

static int add_unnamed(const struct builder *b, struct profile *profile, const struct place *place, struct profile_line *ret)
{
	_cleanup_free_ char *title = places_title(b->places, place);

	return title ? add_bare_line(profile, title, ret) : -ENOMEM;
}

static int add_line(struct profile *profile, const struct strtab *strings, const struct names_frame *frame,
		struct profile_line *ret)
{
	struct profile_function function = { .start_line = frame->start_line };
	int r;

	r = profile_string(profile, strtab_get(strings, frame->name, NULL), &function.name);
	if (r >= 0)
		r = profile_string(profile, strtab_get(strings, frame->system_name, NULL), &function.system_name);
	if (r >= 0)
		r = profile_string(profile, strtab_get(strings, frame->file, NULL), &function.file);
	if (r < 0)
		return r;
	*ret = (struct profile_line){ .line = frame->line };
	return profile_add_function(profile, &function, &ret->function);
}

static int add_location(const struct builder *b, struct sheet *sheet, const struct place *place, uint32_t *ret)
{
	struct profile *profile = sheet->out->profile;
	struct names_cache_name name = places_name(b->places, place);
	struct profile_line line;
	uint32_t mapping;
	int r;

	r = add_mapping(b, profile, place, &name, &mapping);
	sheet->lines.n = 0;
	for (uint32_t i = 0; r >= 0 && i < name.n_frames; i++) {
		r = add_line(profile, name.strings, &name.frames[i], &line);
		if (r >= 0)
			r = vec_push(&sheet->lines, line);
	}
	if (r >= 0 && !name.n_frames) {
		r = add_unnamed(b, profile, place, &line);
		if (r >= 0)
			r = vec_push(&sheet->lines, line);
	}
	if (r < 0)
		return r;
	return profile_add_location(profile, mapping, name.address, sheet->lines.at, sheet->lines.n, ret);
}

/* A location that is no code: it has neither mapping nor address. */
static int add_pseudo_location(const struct builder *b, struct profile *profile, const struct place *place, uint32_t *ret)
{
	static const char *const others[] = {
		[OTHER_HELD] = "[held by]", [OTHER_WOKEN] = "[woken by]", [OTHER_RAN] = "[ran instead]", [OTHER_INTERRUPT] = "[interrupt]",
	};
	struct profile_line line;
	char name[64];
	int r;

	if (place->origin == origin_broken)
		snprintf(name, sizeof(name), "[broken: %s]", stacks_broken_reason(place->offset));
	else if (place->origin == origin_other)
		snprintf(name, sizeof(name), "%s", others[place->offset]);
	else if (place->origin == origin_kernel_thread)
		snprintf(name, sizeof(name), "[kernel thread %s]", strtab_get(b->names, (uint32_t)place->offset, NULL));
	else if (place->origin == origin_without)
		snprintf(name, sizeof(name), "%s", place->offset == SAMPLE_RAN ? "[on cpu, not sampled]" :
				place->offset == without_room ? "[stack lost]" : place->offset == without_running ? "[running]" : "[no stack was taken]");
	else
		snprintf(name, sizeof(name), "[%llu frames elided]", (unsigned long long)place->offset);
	r = add_bare_line(profile, name, &line);
	return r < 0 ? r : profile_add_location(profile, 0, 0, &line, 1, ret);
}

static bool is_pseudo(const struct place *place)
{
	return place->origin >= origin_kernel_thread;
}

static int find_location(const struct builder *b, struct sheet *sheet, const struct place *place, uint32_t *ret)
{
	void *value;
	int r;

	r = map_put(&sheet->location_of, place, &value);
	if (r < 0)
		return r;
	if (r == 1) {
		r = is_pseudo(place) ? add_pseudo_location(b, sheet->out->profile, place, value) :
				add_location(b, sheet, place, value);
		if (r < 0)
			return r;
	}
	*ret = *(uint32_t *)value;
	return 0;
}

static int add_text_label(struct profile *profile, const char *key, const char *value, struct profile_label *labels,
		size_t *n_labels)
{
	struct profile_label label = { 0 };
	int r;

	if (!value || !value[0])
		return 0;
	r = profile_string(profile, key, &label.key);
	if (r >= 0)
		r = add_text(profile, value, &label.str);
	if (r < 0)
		return r;
	labels[(*n_labels)++] = label;
	return 0;
}

static int add_number_label(struct profile *profile, const char *key, int64_t value, struct profile_label *labels,
		size_t *n_labels)
{
	struct profile_label label = { .num = value };
	int r;

	r = profile_string(profile, key, &label.key);
	if (r < 0)
		return r;
	labels[(*n_labels)++] = label;
	return 0;
}

/* Ours, named in make_labels() and add_other_labels() and by config_label_is_reserved(), and those of the configuration. */
enum { MAX_LABELS = 13 + LABELS_MAX };

static int make_labels(const struct builder *b, struct profile *profile, enum profile_kind kind, const struct stacks_sample *sample,
		struct profile_label *labels, size_t *n)
{
	uint32_t process = b->stacks->stacks.at[sample->stack].process;
	const struct image *image = b->capture->images.at[process];
	struct wait_label about = wait_labels_get(b->wait_labels, (size_t)(sample - b->stacks->samples.at));
	int r;

	*n = 0;
	r = add_text_label(profile, "service", capture_service(b->capture, process, sample->thread), labels, n);
	if (r >= 0)
		r = add_number_label(profile, "pid", b->stacks->processes.at[process].pid, labels, n);
	if (r >= 0)
		r = add_number_label(profile, "tid", sample->tid, labels, n);
	if (r >= 0)
		r = add_text_label(profile, "thread", sample->thread, labels, n);
	if (r >= 0)
		r = add_text_label(profile, "comm", image ? image->comm : sample->thread, labels, n);
	if (r >= 0 && image)
		r = add_text_label(profile, "unit", image->unit, labels, n);
	if (r >= 0 && image)
		r = add_text_label(profile, "container", image->container, labels, n);
	if (r >= 0 && kind == PROFILE_THREAD)
		r = add_text_label(profile, "state", stacks_state(sample->wait.reason), labels, n);
	if (r >= 0 && kind != PROFILE_CPU && (kind != PROFILE_THREAD || sample->wait.reason != SAMPLE_RAN))
		r = add_text_label(profile, "reason", stacks_reason(sample->wait.reason), labels, n);
	/* What the kernel sees; the runtime of Go knows of other waits. */
	if (r >= 0 && (kind == PROFILE_BLOCK || kind == PROFILE_MUTEX))
		r = add_text_label(profile, "source", "os", labels, n);
	if (r >= 0 && sample->is_idle)
		r = add_number_label(profile, "idle", 1, labels, n);
	if (r >= 0 && about.key && kind != PROFILE_CPU)
		r = add_text_label(profile, about.key, about.value, labels, n);
	for (size_t i = 0; r >= 0 && image && i < image->labels.pairs.n; i++)
		r = add_text_label(profile, image->labels.pairs.at[i].key, image->labels.pairs.at[i].value, labels, n);
	return r;
}

/* Who ended a wait is in the stacks of this kind. */
static bool shows_others(const struct builder *b, enum profile_kind kind)
{
	return kind == PROFILE_MUTEX || (kind == PROFILE_BLOCK && b->capture->facts.wakers);
}

/* Who had the CPU, and the lock. */
static int add_other_labels(const struct builder *b, const struct sheet *sheet, const struct stacks_sample *sample, struct profile_label *labels,
		size_t *n)
{
	if (sample->wait.reason == SAMPLE_LOCK && sample->wait.device && shows_others(b, sheet->out->kind))
		return add_number_label(sheet->out->profile, "holder", sample->wait.device, labels, n);
	return add_text_label(sheet->out->profile, "by", rivals_by(b->rivals, (size_t)(sample - b->stacks->samples.at)), labels, n);
}

static int add_frame(const struct builder *b, struct sheet *sheet, const struct place *place)
{
	uint32_t location;
	int r;

	r = find_location(b, sheet, place, &location);
	return r < 0 ? r : vec_push(&sheet->stack, location);
}

static int add_pseudo_frame(const struct builder *b, struct sheet *sheet, uint32_t origin, uint64_t what)
{
	const struct place place = { .offset = what, .origin = origin };

	return add_frame(b, sheet, &place);
}

static void count_frame(const struct builder *b, struct service_profile *out, const struct place *place,
		const struct names_cache_name *name, uint64_t count)
{
	out->n_frames += count;
	if (!name->n_frames)
		out->n_unnamed += count;
	if (!places_origin(b->places, place)->file)
		out->n_unmapped += count;
}

/* Appends frames [begin, end) of a stack. */
static int add_frames(const struct builder *b, struct sheet *sheet, const struct stacks_stack *stack, size_t begin,
		size_t end, uint64_t count)
{
	bool shows_caller = false;           /* the frame before does */
	int r;

	for (size_t i = begin; i < end; i++) {
		const struct place *place = &places_of(b->places, stack)[i];
		struct names_cache_name name = places_name(b->places, place);
		bool is_hidden = name.flags & NAMES_HIDDEN && !shows_caller;

		shows_caller = name.flags & NAMES_SHOWS_CALLER;
		/* What is hidden is told rather than nothing. */
		if (is_hidden && (sheet->stack.n || i + 1 < end))
			continue;
		r = add_frame(b, sheet, place);
		if (r < 0)
			return r;
		count_frame(b, sheet->out, place, &name, count);
	}
	return 0;
}

static uint64_t what_is_missing(enum profile_kind kind, const struct stacks_stack *stack, const struct stacks_sample *sample)
{
	if (sample->wait.reason != SAMPLE_RAN)
		return stack->hash == SAMPLE_STACK_LOST ? without_room : SAMPLE_N_REASONS;
	return kind == PROFILE_THREAD ? without_running : SAMPLE_RAN;
}

/* All frames of a stack that has some, and what is missing in its middle and at its end. */
static int add_whole(const struct builder *b, struct sheet *sheet, const struct stacks_stack *stack, uint64_t count)
{
	size_t n_frames = (size_t)stack->n_kernel + stack->n_user, at = 0;
	int r = 0;

	if (stack->n_elided) {
		at = (size_t)stack->n_kernel + STACKS_LEAF_HALF;
		r = add_frames(b, sheet, stack, 0, at, count);
		if (r >= 0)
			r = add_pseudo_frame(b, sheet, origin_elided, stack->n_elided);
	}
	if (r >= 0)
		r = add_frames(b, sheet, stack, at, n_frames, count);
	if (r >= 0 && stacks_broken_reason(stack->verdict))
		r = add_pseudo_frame(b, sheet, origin_broken, stack->verdict);
	return r;
}

/* By its name without what tells apart those of one sort: `ksoftirqd/0`, `kworker/u8:2`. */
static int add_kernel_thread(const struct builder *b, struct sheet *sheet, const struct stacks_stack *stack)
{
	char name[sizeof(stack->thread)] = "";
	uint32_t number;
	int r;

	memcpy(name, stack->thread, strnlen(stack->thread, sizeof(name) - 1));
	name[strcspn(name, "/")] = '\0';
	r = strtab_add_string(b->names, name, &number);
	return r < 0 ? r : add_pseudo_frame(b, sheet, origin_kernel_thread, number);
}

/* Above the leaf of who waited: who ended that. From the root on one reads: it waited here [held by] who was there. */
static int add_other(const struct builder *b, struct sheet *sheet, const struct stacks_sample *sample)
{
	const struct stacks_stack *other = &b->stacks->stacks.at[sample->other - 1];
	int r;

	if (other->n_kernel + other->n_user)
		r = add_whole(b, sheet, other, sample->count);
	else if (other->thread[0])
		r = add_kernel_thread(b, sheet, other);
	else
		r = add_pseudo_frame(b, sheet, origin_other, OTHER_INTERRUPT);
	if (r < 0)
		return r;
	return add_pseudo_frame(b, sheet, origin_other, sample->wait.reason == SAMPLE_LOCK ? OTHER_HELD :
			sample->wait.reason == SAMPLE_RUNQUEUE ? OTHER_RAN : OTHER_WOKEN);
}

static int add_stack(const struct builder *b, struct sheet *sheet, const struct stacks_stack *stack, const struct stacks_sample *sample)
{
	int r = 0;

	sheet->stack.n = 0;
	if (sample->other && shows_others(b, sheet->out->kind))
		r = add_other(b, sheet, sample);
	if (r < 0)
		return r;
	if (stack->n_kernel + stack->n_user)
		return add_whole(b, sheet, stack, sample->count);
	r = add_pseudo_frame(b, sheet, origin_without, what_is_missing(sheet->out->kind, stack, sample));
	if (r >= 0 && stacks_broken_reason(stack->verdict))
		r = add_pseudo_frame(b, sheet, origin_broken, stack->verdict);
	return r;
}

static bool is_of_kind(enum profile_kind kind, const struct stacks_sample *sample)
{
	switch (kind) {
	case PROFILE_BLOCK:
		return sample->wait.reason != SAMPLE_RAN;
	case PROFILE_MUTEX:
		return sample->wait.reason == SAMPLE_LOCK;
	default:
		return true;
	}
}

static int add_sample(const struct builder *b, struct sheet *sheet, const struct stacks_sample *sample)
{
	const struct stacks_stack *stack = &b->stacks->stacks.at[sample->stack];
	enum profile_kind kind = sheet->out->kind;
	struct profile_label labels[MAX_LABELS];
	int64_t values[] = { sample->count, kind == PROFILE_CPU ? sample->count * b->stacks->period_nsec : sample->nsec };
	size_t n_labels;
	int r;

	if (!is_of_kind(kind, sample))
		return 0;
	r = add_stack(b, sheet, stack, sample);
	if (r < 0)
		return r;
	sheet->out->verdicts[stack->verdict] += sample->count;
	r = make_labels(b, sheet->out->profile, kind, sample, labels, &n_labels);
	if (r >= 0)
		r = add_other_labels(b, sheet, sample, labels, &n_labels);
	if (r < 0)
		return r;
	sheet->out->n_samples += sample->count;
	sheet->out->nsec += values[1];
	if (sample->is_idle) {
		sheet->out->n_idle += sample->count;
		sheet->out->idle_nsec += values[1];
	}
	return profile_add_sample(sheet->out->profile, sheet->stack.at, sheet->stack.n, values, labels, n_labels);
}

/*
 * pprof takes the first mapping for the main program and shows its name: it must not be the kernel or libc, only because
 * a sample met it first.
 */
static int add_main_mapping(const struct builder *b, struct profile *profile, const struct stacks_sample *sample)
{
	const struct stacks_stack *stack = &b->stacks->stacks.at[sample->stack];
	const struct image *image = b->capture->images.at[stack->process];

	for (size_t i = 0; image && image->exe && i < stack->n_user; i++) {
		const struct place *place = &places_of(b->places, stack)[stack->n_kernel + i];
		const struct image_mapping *mapping = places_origin(b->places, place)->mapping;
		struct names_cache_name name;
		uint32_t id;

		if (!mapping || !mapping->binary || strcmp(mapping->binary->path, image->exe))
			continue;
		name = places_name(b->places, place);
		return add_mapping(b, profile, place, &name, &id);
	}
	return 0;
}

static int add_main_mappings(struct builder *b, const struct service_profiles *profiles)
{
	for (size_t i = 0; i < b->stacks->samples.n; i++) {
		const struct stacks_sample *sample = &b->stacks->samples.at[i];
		const struct group *group = &b->groups.at[b->group_of_sample[i]];
		struct profile *profile;
		int r = 0;

		for (uint32_t k = 0; k < n_kinds(b->capture) && r >= 0; k++) {
			profile = profiles->profiles.at[group->profile + k].profile;
			r = profile->mappings.n ? 0 : add_main_mapping(b, profile, sample);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_samples(struct builder *b, struct service_profiles *profiles)
{
	_cleanup_free_ struct sheet *sheets = calloc(profiles->profiles.n + 1, sizeof(*sheets));
	int r = 0;

	if (!sheets)
		return -ENOMEM;
	for (size_t i = 0; i < profiles->profiles.n; i++) {
		sheets[i].out = &profiles->profiles.at[i];
		map_init(&sheets[i].location_of, sizeof(struct place), sizeof(uint32_t));
	}
	for (size_t i = 0; r >= 0 && i < b->stacks->samples.n; i++) {
		const struct stacks_sample *sample = &b->stacks->samples.at[i];
		const struct group *group = &b->groups.at[b->group_of_sample[i]];

		for (uint32_t k = 0; k < n_kinds(b->capture) && r >= 0; k++)
			r = add_sample(b, &sheets[group->profile + k], sample);
	}
	for (size_t i = 0; i < profiles->profiles.n; i++) {
		map_deinit(&sheets[i].location_of);
		vec_deinit(&sheets[i].stack);
		vec_deinit(&sheets[i].lines);
	}
	return MIN(r, 0);
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
			r = deadlock_text_describe(b->capture, b->places, &deadlocks->circles.at[i], &profiles->deadlocks.at[i]);
		if (r >= 0)
			r = find_mutex_profile(b, profiles, profiles->deadlocks.at[i].service, &out);
		if (r >= 0 && out)
			r = vec_push(&out->deadlocks, &profiles->deadlocks.at[i]);
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
		.cache = cache,
		.services = strtab_new(),
		.names = strtab_new(),
	};
	int r;

	map_init(&b.group_of, sizeof(uint32_t), sizeof(uint32_t));
	r = b.services && b.names ? places_new(capture, cache, &b.places) : -ENOMEM;
	if (r >= 0)
		r = find_idle(&b);
	if (r >= 0)
		r = count_services(&b);
	if (r >= 0)
		r = wait_labels_new(capture, cache, b.group_of_sample, &b.wait_labels);
	if (r >= 0)
		r = divide(&b, max_services, &profiles);
	if (r >= 0)
		r = rank_rivals(&b);
	if (r >= 0)
		r = add_main_mappings(&b, &profiles);
	if (r >= 0)
		r = add_samples(&b, &profiles);
	if (r >= 0)
		r = add_locks(&b, &profiles);
	if (r >= 0)
		r = add_deadlocks(&b, &profiles);
	names_cache_end_window(cache);
	strtab_free(b.services);
	strtab_free(b.names);
	rivals_free(b.rivals);
	wait_labels_free(b.wait_labels);
	free(b.group_of_sample);
	map_deinit(&b.group_of);
	vec_deinit(&b.groups);
	places_free(b.places);
	if (r < 0)
		service_profiles_deinit(&profiles);
	else
		*ret = profiles;
	return r;
}
