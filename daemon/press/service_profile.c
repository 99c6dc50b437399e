/* SPDX-License-Identifier: Apache-2.0 */
#include "service_profile.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "config.h"
#include "go_findings.h"
#include "gopclntab.h"
#include "image.h"
#include "locations.h"
#include "machinery.h"
#include "places.h"
#include "profile.h"
#include "rivals.h"
#include "stacks.h"
#include "wait_labels.h"

struct service_profile_writer {
	const struct service_profile_window *window;
	const struct stacks *stacks;         /* of the window */
	struct service_profile *out;
	struct locations *locations;
	VEC(uint32_t) stack;                 /* scratch: location ids */
	bool shows_hidden;                   /* in the stack that is made */
};

int service_profile_init(struct service_profile *profile, const char *service, enum profile_kind kind, uint64_t period_nsec)
{
	*profile = (struct service_profile){ .service = strdup(service), .kind = kind, .profile = profile_new() };
	return profile->service && profile->profile ? profile_set_kind(profile->profile, kind, period_nsec) : -ENOMEM;
}

void service_profile_deinit(struct service_profile *profile)
{
	free(profile->service);
	profile_free(profile->profile);
	vec_deinit(&profile->locks);
	vec_deinit(&profile->deadlocks);
	vec_deinit(&profile->go_processes);
	vec_deinit(&profile->leaks);
	vec_deinit(&profile->goroutine_deadlocks);
}

int service_profile_writer_new(const struct service_profile_window *window, struct service_profile *profile,
		struct service_profile_writer **ret)
{
	_cleanup_(service_profile_writer_free_p) struct service_profile_writer *writer = calloc(1, sizeof(*writer));
	int r;

	if (!writer)
		return -ENOMEM;
	writer->window = window;
	writer->stacks = window->capture->stacks;
	writer->out = profile;
	r = locations_new(window->places, profile->profile, &writer->locations);
	if (r < 0)
		return r;
	*ret = TAKE(writer);
	return 0;
}

struct service_profile_writer *service_profile_writer_free(struct service_profile_writer *writer)
{
	if (!writer)
		return NULL;
	locations_free(writer->locations);
	vec_deinit(&writer->stack);
	free(writer);
	return NULL;
}

/* --- labels --- */

static int add_text_label(struct profile *profile, const char *key, const char *value, struct profile_label *labels,
		size_t *n_labels)
{
	struct profile_label label = { 0 };
	int r;

	if (!value || !value[0])
		return 0;
	r = profile_string(profile, key, &label.key);
	if (r >= 0)
		r = profile_clean_string(profile, value, &label.str);
	if (r < 0)
		return r;
	labels[(*n_labels)++] = label;
	return 0;
}

/* `unit` may be NULL. */
static int add_measure_label(struct profile *profile, const char *key, int64_t value, const char *unit, struct profile_label *labels,
		size_t *n_labels)
{
	struct profile_label label = { .num = value };
	int r;

	r = profile_string(profile, key, &label.key);
	if (r >= 0)
		r = profile_string(profile, unit, &label.num_unit);
	if (r < 0)
		return r;
	labels[(*n_labels)++] = label;
	return 0;
}

static int add_number_label(struct profile *profile, const char *key, int64_t value, struct profile_label *labels,
		size_t *n_labels)
{
	return add_measure_label(profile, key, value, NULL, labels, n_labels);
}

/*
 * Ours, named in make_labels(), add_other_labels(), add_ran_labels() and add_go_labels() and by config_label_is_reserved(), those of the
 * configuration, and those of a goroutine.
 */
enum { MAX_LABELS = 19 + LABELS_MAX + GO_LABELS_MAX };

/* What only Go knows of a sample; NULL: nothing. */
static const struct go_sample *go_sample(const struct service_profile_writer *writer, const struct stacks_sample *sample)
{
	return go_findings_sample(writer->window->capture->go, (size_t)(sample - writer->stacks->samples.at));
}

static int make_labels(const struct service_profile_writer *writer, const struct stacks_sample *sample, struct profile_label *labels, size_t *n)
{
	const struct capture *capture = writer->window->capture;
	struct profile *profile = writer->out->profile;
	enum profile_kind kind = writer->out->kind;
	uint32_t process = capture->stacks->stacks.at[sample->stack].process;
	const struct image *image = capture->images.at[process];
	struct wait_label about = wait_labels_get(writer->window->wait_labels, (size_t)(sample - capture->stacks->samples.at));
	int r;

	*n = 0;
	r = add_text_label(profile, "service", capture_service(capture, process, sample->thread), labels, n);
	if (r >= 0)
		r = add_number_label(profile, "pid", capture->stacks->processes.at[process].pid, labels, n);
	/* Nobody keeps the threads of what Go's own profilers record. */
	if (r >= 0 && (sample->tid || !sample->is_go))
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
	if (r >= 0 && !sample->is_go && kind != PROFILE_CPU && (kind != PROFILE_THREAD || sample->wait.reason != SAMPLE_RAN))
		r = add_text_label(profile, "reason", stacks_reason(sample->wait.reason), labels, n);
	/* What the kernel sees; the runtime of Go knows of other waits. */
	if (r >= 0 && (kind == PROFILE_BLOCK || kind == PROFILE_MUTEX || kind == PROFILE_WALL))
		r = add_text_label(profile, "source", sample->is_go ? "go" : "os", labels, n);
	if (r >= 0 && sample->is_idle)
		r = add_number_label(profile, "idle", 1, labels, n);
	if (r >= 0 && about.key && kind != PROFILE_CPU)
		r = add_text_label(profile, about.key, about.value, labels, n);
	for (size_t i = 0; r >= 0 && image && i < image->labels.pairs.n; i++)
		r = add_text_label(profile, image->labels.pairs.at[i].key, image->labels.pairs.at[i].value, labels, n);
	return r;
}

/* Who ended a wait is in the stacks of this kind. */
static bool shows_others(const struct service_profile_writer *writer)
{
	return writer->out->kind == PROFILE_MUTEX || (writer->out->kind == PROFILE_BLOCK && writer->window->capture->facts.wakers);
}

/* Who had the CPU, and the lock. */
static int add_other_labels(const struct service_profile_writer *writer, const struct stacks_sample *sample, struct profile_label *labels,
		size_t *n)
{
	const char *by;

	if (sample->wait.reason == SAMPLE_LOCK && sample->wait.device && shows_others(writer))
		return add_number_label(writer->out->profile, "holder", sample->wait.device, labels, n);
	by = rivals_by(writer->window->rivals, (size_t)(sample - writer->stacks->samples.at));
	return add_text_label(writer->out->profile, "by", by, labels, n);
}

/* --- what only Go knows --- */

/* The innermost function of a frame of a stack; NULL: it has no name. Valid until the window's end. */
static const char *function_at(const struct service_profile_writer *writer, const struct stacks_stack *stack, size_t frame)
{
	const struct names_cache_name name = places_name(writer->window->places, &places_of(writer->window->places, stack)[frame]);

	return name.n_frames ? strtab_get(name.strings, name.frames[0].name, NULL) : NULL;
}

static bool has_prefix(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* By what is called first: who fills the runtime's profile (callers of blockevent(): runtime/chan.go, select.go, sema.go). */
static const char *go_reason(const struct service_profile_writer *writer, const struct go_sample *go, const struct stacks_stack *stack)
{
	const char *leaf = stack->n_user ? function_at(writer, stack, 0) : NULL;

	if (go->sort == GO_SAMPLE_MUTEX || !leaf)
		return go->sort == GO_SAMPLE_MUTEX ? "lock" : NULL;
	if (has_prefix(leaf, "runtime.chan") || has_prefix(leaf, "runtime.selectnb"))
		return "channel";
	if (has_prefix(leaf, "runtime.select"))
		return "select";
	return has_prefix(leaf, "sync.") || has_prefix(leaf, "internal/sync.") ? "lock" : NULL;
}

/* As runtime/runtime2.go calls them, without the underscore. */
static const char *go_state(uint32_t status)
{
	static const char *const states[GO_N_STATUS] = {
		[GO_IDLE] = "idle", [GO_RUNNABLE] = "runnable", [GO_RUNNING] = "running", [GO_SYSCALL] = "syscall", [GO_WAITING] = "waiting",
		[GO_DEAD] = "dead", [GO_COPY_STACK] = "copystack", [GO_PREEMPTED] = "preempted", [GO_LEAKED] = "leaked", [GO_DEAD_EXTRA] = "dead",
	};

	return status < GO_N_STATUS ? states[status] : NULL;
}

/* The function that the go statement is in, as tracebacks print it. */
static int add_creator_label(const struct service_profile_writer *writer, const struct stacks_sample *sample, struct profile_label *labels,
		size_t *n)
{
	const struct stacks_stack *creator = sample->other ? &writer->stacks->stacks.at[sample->other - 1] : NULL;
	char buffer[GOPCLNTAB_MAX_NAME];
	struct names_cache_name name;

	if (!creator || !creator->n_user)
		return 0;
	name = places_name(writer->window->places, places_of(writer->window->places, creator));
	/* Not what was inlined there, if the go statement came from it: so does the runtime. */
	if (!name.n_frames)
		return 0;
	return add_text_label(writer->out->profile, "created by",
			gopclntab_print_name(strtab_get(name.strings, name.frames[name.n_frames - 1].name, NULL), buffer, sizeof(buffer)), labels, n);
}

static bool has_label(const struct profile_label *labels, size_t n, uint32_t key)
{
	for (size_t i = 0; i < n; i++)
		if (labels[i].key == key)
			return true;
	return false;
}

/* A label of the program (pprof.Do). One that is called as one of ours, or of the configuration, has "go." before its name. */
static int add_own_label(struct profile *profile, const char *own_key, const char *value, struct profile_label *labels, size_t *n)
{
	struct profile_label label = { 0 };
	char key[GO_LABELS_MAX_TEXT + 8];
	int r;

	snprintf(key, sizeof(key), "%s%s", config_label_is_reserved(own_key) ? "go." : "", own_key);
	r = profile_clean_string(profile, key, &label.key);
	if (r >= 0 && has_label(labels, *n, label.key)) {
		snprintf(key, sizeof(key), "go.%s", own_key);
		r = profile_clean_string(profile, key, &label.key);
	}
	if (r >= 0)
		r = profile_clean_string(profile, value, &label.str);
	if (r < 0 || !label.str || has_label(labels, *n, label.key))
		return r;
	labels[(*n)++] = label;
	return 0;
}

/* What the program itself said of the goroutine that ran (pprof.Do()). */
static int add_ran_labels(const struct service_profile_writer *writer, const struct stacks_sample *sample, struct profile_label *labels,
		size_t *n)
{
	const struct stacks_labels *set = stacks_find_labels(writer->stacks, sample->labels);
	struct profile *profile = writer->out->profile;
	int r = 0;

	if (sample->goroutine)
		r = add_number_label(profile, "goid", (int64_t)sample->goroutine, labels, n);
	if (r >= 0 && sample->labels == SAMPLE_LABELS_OTHER)
		r = add_text_label(profile, "labels", "other", labels, n);
	for (uint32_t i = 0; r >= 0 && set && i < set->n; i++) {
		const struct sample_go_label *own = &set->at[i];
		char key[SAMPLE_LABEL_KEY + 1] = "", value[SAMPLE_LABEL_VALUE + 1] = "";

		memcpy(key, own->key, own->key_size);
		memcpy(value, own->value, own->value_size);
		r = add_own_label(profile, key, value, labels, n);
	}
	return r;
}

static int add_goroutine_labels(const struct service_profile_writer *writer, const struct stacks_sample *sample, const struct go_sample *go,
		struct profile_label *labels, size_t *n)
{
	const struct go_findings *findings = writer->window->capture->go;
	const struct go_goroutine *is = &go->goroutine.is;
	struct profile *profile = writer->out->profile;
	int r;

	r = add_text_label(profile, "state", go_state(is->status), labels, n);
	if (r >= 0 && is->wait_reason < findings->n_wait_reasons)
		r = add_text_label(profile, "wait_reason", findings->wait_reasons[is->wait_reason], labels, n);
	if (r >= 0)
		r = add_creator_label(writer, sample, labels, n);
	if (r >= 0)
		r = add_number_label(profile, "goid", (int64_t)is->id, labels, n);
	if (r >= 0 && go->goroutine.waited_nsec)
		r = add_measure_label(profile, "wait", (int64_t)go->goroutine.waited_nsec, "nanoseconds", labels, n);
	/* One that is locked to a thread and waits has that thread all the same, but its number is not read. */
	if (r >= 0 && is->is_locked)
		r = is->thread ? add_number_label(profile, "locked thread", is->thread, labels, n) :
				add_text_label(profile, "locked thread", "parked", labels, n);
	for (size_t i = 0; r >= 0 && i < MIN(go->goroutine.n_labels, (uint32_t)GO_LABELS_MAX); i++) {
		const struct go_label *own = &findings->labels.all.at[go->goroutine.first_label + i];

		r = add_own_label(profile, findings->labels.text.at + own->key, findings->labels.text.at + own->value, labels, n);
	}
	return r;
}

static int add_tally_labels(const struct service_profile_writer *writer, const struct go_sample *go, struct profile_label *labels, size_t *n)
{
	const struct go_findings *findings = writer->window->capture->go;
	struct profile *profile = writer->out->profile;
	int r;

	r = add_text_label(profile, "state", go_state(go->tally.status), labels, n);
	if (r >= 0 && go->tally.wait_reason < findings->n_wait_reasons)
		r = add_text_label(profile, "wait_reason", findings->wait_reasons[go->tally.wait_reason], labels, n);
	return r;
}

static int add_go_labels(const struct service_profile_writer *writer, const struct stacks_sample *sample, struct profile_label *labels, size_t *n)
{
	const struct go_sample *go = go_sample(writer, sample);
	const struct stacks_stack *stack = &writer->stacks->stacks.at[sample->stack];

	if (!go)
		return 0;
	switch (go->sort) {
	case GO_SAMPLE_GOROUTINE:
		return add_goroutine_labels(writer, sample, go, labels, n);
	case GO_SAMPLE_TALLY:
		return add_tally_labels(writer, go, labels, n);
	case GO_SAMPLE_MEMORY:
		/* The size of one object: as in net/http/pprof's, by which it keeps rows of one stack apart. */
		return go->memory.object_size ? add_measure_label(writer->out->profile, "bytes", (int64_t)go->memory.object_size, NULL, labels, n) : 0;
	default:
		return add_text_label(writer->out->profile, "reason", go_reason(writer, go, stack), labels, n);
	}
}

/* --- stacks --- */

static int add_pseudo_frame(struct service_profile_writer *writer, const char *name)
{
	uint32_t location;
	int r;

	r = locations_find_pseudo(writer->locations, name, &location);
	return r < 0 ? r : vec_push(&writer->stack, location);
}

static int add_elided(struct service_profile_writer *writer, uint32_t n)
{
	char name[64];

	snprintf(name, sizeof(name), "[%u frames elided]", n);
	return add_pseudo_frame(writer, name);
}

/* How the walk ended, unless that was the root. */
static int add_broken(struct service_profile_writer *writer, uint32_t verdict)
{
	const char *reason = stacks_broken_reason(verdict);
	char name[64];

	if (!reason)
		return 0;
	snprintf(name, sizeof(name), "[broken: %s]", reason);
	return add_pseudo_frame(writer, name);
}

static void count_frame(const struct service_profile_writer *writer, const struct place *place, const struct names_cache_name *name,
		uint64_t count)
{
	writer->out->n_frames += count;
	if (!name->n_frames)
		writer->out->n_unnamed += count;
	if (!places_origin(writer->window->places, place)->file)
		writer->out->n_unmapped += count;
}

/* Appends frames [begin, end) of a stack. */
static int add_frames(struct service_profile_writer *writer, const struct stacks_stack *stack, size_t begin, size_t end,
		uint64_t count)
{
	bool shows_caller = false;           /* the frame before does */
	uint32_t location;
	int r;

	for (size_t i = begin; i < end; i++) {
		const struct place *place = &places_of(writer->window->places, stack)[i];
		struct names_cache_name name = places_name(writer->window->places, place);
		bool is_hidden = name.flags & NAMES_HIDDEN && !shows_caller && !writer->shows_hidden;

		shows_caller = name.flags & NAMES_SHOWS_CALLER;
		/* What is hidden is told rather than nothing. */
		if (is_hidden && (writer->stack.n || i + 1 < end))
			continue;
		r = locations_find(writer->locations, place, &location);
		if (r >= 0)
			r = vec_push(&writer->stack, location);
		if (r < 0)
			return r;
		count_frame(writer, place, &name, count);
	}
	return 0;
}

static const char *what_is_missing(enum profile_kind kind, const struct stacks_stack *stack, const struct stacks_sample *sample)
{
	if (sample->is_go)
		return stack->verdict == SAMPLE_VERDICT_KERNEL ? "[running]" : "[no stack was taken]";
	if (sample->wait.reason != SAMPLE_RAN)
		return stack->hash == SAMPLE_STACK_LOST ? "[stack lost]" : "[no stack was taken]";
	return kind == PROFILE_THREAD ? "[running]" : "[on cpu, not sampled]";
}

/* All frames of a stack that has some, and what is missing in its middle and at its end. */
static int add_whole(struct service_profile_writer *writer, const struct stacks_stack *stack, uint64_t count)
{
	size_t n_frames = (size_t)stack->n_kernel + stack->n_user, at = 0;
	int r = 0;

	if (stack->n_elided) {
		at = (size_t)stack->n_kernel + STACKS_LEAF_HALF;
		r = add_frames(writer, stack, 0, at, count);
		if (r >= 0)
			r = add_elided(writer, stack->n_elided);
	}
	if (r >= 0)
		r = add_frames(writer, stack, at, n_frames, count);
	return r < 0 ? r : add_broken(writer, stack->verdict);
}

/* By its name without what tells apart those of one sort: `ksoftirqd/0`, `kworker/u8:2`. */
static int add_kernel_thread(struct service_profile_writer *writer, const struct stacks_stack *stack)
{
	char thread[sizeof(stack->thread)] = "", name[sizeof(thread) + 32];

	memcpy(thread, stack->thread, strnlen(stack->thread, sizeof(thread) - 1));
	thread[strcspn(thread, "/")] = '\0';
	snprintf(name, sizeof(name), "[kernel thread %s]", thread);
	return add_pseudo_frame(writer, name);
}

/* Above the leaf of who waited: who ended that. From the root on one reads: it waited here [held by] who was there. */
static int add_other(struct service_profile_writer *writer, const struct stacks_sample *sample)
{
	const struct stacks_stack *other = &writer->stacks->stacks.at[sample->other - 1];
	int r;

	if (other->n_kernel + other->n_user)
		r = add_whole(writer, other, sample->count);
	else if (other->thread[0])
		r = add_kernel_thread(writer, other);
	else
		r = add_pseudo_frame(writer, "[interrupt]");
	if (r < 0)
		return r;
	return add_pseudo_frame(writer, sample->wait.reason == SAMPLE_LOCK ? "[held by]" :
			sample->wait.reason == SAMPLE_RUNQUEUE ? "[ran instead]" : "[woken by]");
}

/* runtime/pprof/protomem.go hides these from the leaf on, unless there are no others (the second prefix since 1.24, when it came). */
static bool is_go_runtime(const char *function)
{
	return has_prefix(function, "runtime.") || has_prefix(function, "internal/runtime/");
}

/* The frame of the stack, and the function in it, that allocated. */
static void find_allocating(const struct service_profile_writer *writer, const struct stacks_stack *stack, size_t *ret_frame, uint32_t *ret_function)
{
	*ret_frame = 0;
	*ret_function = 0;
	for (size_t i = 0; i < stack->n_user; i++) {
		const struct names_cache_name name = places_name(writer->window->places, &places_of(writer->window->places, stack)[i]);

		for (uint32_t k = 0; k < MAX(name.n_frames, 1U); k++) {
			if (name.n_frames && is_go_runtime(strtab_get(name.strings, name.frames[k].name, NULL)))
				continue;
			*ret_frame = i;
			*ret_function = k;
			return;
		}
	}
}

/* As Go itself shows it: without goexit, which calls every goroutine (runtime/pprof/proto.go allFrames()). */
static int add_go_stack(struct service_profile_writer *writer, const struct stacks_stack *stack, const struct stacks_sample *sample)
{
	const struct go_sample *go = go_sample(writer, sample);
	size_t first = 0, end = stack->n_user;
	const char *root = function_at(writer, stack, end - 1);
	uint32_t n_inner = 0, location;
	int r = 0;

	if (go && go->sort == GO_SAMPLE_MEMORY)
		find_allocating(writer, stack, &first, &n_inner);
	if (root && !strcmp(root, "runtime.goexit") && end > first + 1)
		end--;
	if (n_inner) {
		r = locations_find_outer(writer->locations, &places_of(writer->window->places, stack)[first], n_inner, &location);
		if (r >= 0)
			r = vec_push(&writer->stack, location);
		first++;
	}
	/* Since 1.23 the runtime walks by frame pointers there, and leaves nothing out (mprof.go saveblockevent()); before, it is not in the record. */
	writer->shows_hidden = go && (go->sort == GO_SAMPLE_BLOCK || go->sort == GO_SAMPLE_MUTEX);
	if (r >= 0)
		r = add_frames(writer, stack, first, end, sample->count);
	writer->shows_hidden = false;
	return r < 0 ? r : add_broken(writer, stack->verdict);
}

static int add_stack(struct service_profile_writer *writer, const struct stacks_stack *stack, const struct stacks_sample *sample)
{
	int r = 0;

	writer->stack.n = 0;
	if (sample->is_go && stack->n_user)
		return add_go_stack(writer, stack, sample);
	if (sample->other && !sample->is_go && shows_others(writer))
		r = add_other(writer, sample);
	if (r < 0)
		return r;
	if (stack->n_kernel + stack->n_user)
		return add_whole(writer, stack, sample->count);
	r = add_pseudo_frame(writer, what_is_missing(writer->out->kind, stack, sample));
	return r < 0 ? r : add_broken(writer, stack->verdict);
}

/* --- rows --- */

static bool is_go_of_kind(enum profile_kind kind, const struct go_sample *go)
{
	switch (go ? go->sort : GO_SAMPLE_NONE) {
	case GO_SAMPLE_GOROUTINE:
		return kind == PROFILE_GOROUTINE;
	case GO_SAMPLE_MEMORY:
		return kind == PROFILE_HEAP || kind == PROFILE_ALLOCS;
	case GO_SAMPLE_BLOCK:
		return kind == PROFILE_BLOCK;
	case GO_SAMPLE_MUTEX:
		return kind == PROFILE_MUTEX;
	case GO_SAMPLE_TALLY:
		return kind == PROFILE_WALL || (kind == PROFILE_BLOCK && go->tally.is_block);
	default:
		return false;
	}
}

static bool is_of_kind(enum profile_kind kind, const struct stacks_sample *sample, const struct go_sample *go)
{
	if (sample->is_go)
		return is_go_of_kind(kind, go);
	switch (kind) {
	case PROFILE_BLOCK:
		return sample->wait.reason != SAMPLE_RAN;
	case PROFILE_MUTEX:
		return sample->wait.reason == SAMPLE_LOCK;
	case PROFILE_GOROUTINE:
	case PROFILE_HEAP:
	case PROFILE_ALLOCS:
		/* Told by runtimes; a window may be for these and for others. */
		return false;
	default:
		return true;
	}
}

static bool has_suffix(const char *text, const char *suffix)
{
	size_t n = strlen(text), n_suffix = strlen(suffix);

	return n >= n_suffix && !strcmp(text + n - n_suffix, suffix);
}

/* As its function table tells: what C has made is in other files, where it is in the same program. */
static bool is_go_function(const struct names_cache_name *name, uint32_t k)
{
	const char *file = strtab_get(name->strings, name->frames[k].file, NULL);

	return has_suffix(file, ".go") || has_suffix(file, ".s");
}

/* Go's code in all of it, but for how a thread begins where there is cgo. */
static bool is_all_go(const struct service_profile_writer *writer, const struct stacks_stack *stack)
{
	for (size_t i = 0; i < stack->n_user; i++) {
		const struct place *place = &places_of(writer->window->places, stack)[stack->n_kernel + i];
		const struct names_cache_name name = places_name(writer->window->places, place);
		const struct image_mapping *mapping = places_origin(writer->window->places, place)->mapping;

		if (mapping && mapping->binary && machinery_is_file(mapping->binary->path))
			continue;
		for (uint32_t k = 0; k < name.n_frames; k++)
			if (!is_go_function(&name, k) && !machinery_is_function(strtab_get(name.strings, name.frames[k].name, NULL)))
				return false;
		if (!name.n_frames)
			return false;
	}
	return true;
}

/* A thread of Go's runtime parks while goroutines wait, and the runtime's own records tell of these: the same wait would be told twice. */
static bool is_told_by_go(const struct service_profile_writer *writer, const struct stacks_sample *sample)
{
	const struct stacks_stack *stack = &writer->stacks->stacks.at[sample->stack];
	const struct go_process_facts *facts = go_findings_process(writer->window->capture->go, stack->process);
	enum profile_kind kind = writer->out->kind;
	const char *leaf;

	if (sample->is_go || !facts || !stack->n_user || !((kind == PROFILE_BLOCK && facts->records_block) || (kind == PROFILE_MUTEX && facts->records_mutex)))
		return false;
	leaf = function_at(writer, stack, stack->n_kernel);
	/* runtime/os_linux.go futexsleep(): nothing else of the runtime waits by it. */
	return leaf && (!strcmp(leaf, "runtime.futex") || !strcmp(leaf, "runtime.futex.abi0")) && is_all_go(writer, stack);
}

int service_profile_add(struct service_profile_writer *writer, const struct stacks_sample *sample)
{
	const struct stacks_stack *stack = &writer->stacks->stacks.at[sample->stack];
	enum profile_kind kind = writer->out->kind;
	const struct go_sample *go = go_sample(writer, sample);
	struct profile_label labels[MAX_LABELS];
	int64_t values[PROFILE_KIND_MAX_TYPES] = { sample->count, kind == PROFILE_CPU ? sample->count * writer->stacks->period_nsec : sample->nsec };
	size_t n_labels;
	int r;

	if (!is_of_kind(kind, sample, go))
		return 0;
	if (is_told_by_go(writer, sample)) {
		writer->out->n_left_out += sample->count;
		writer->out->left_out_nsec += sample->nsec;
		return 0;
	}
	if (go && go->sort == GO_SAMPLE_MEMORY)
		memcpy(values, go->memory.values, sizeof(go->memory.values));
	r = add_stack(writer, stack, sample);
	if (r < 0)
		return r;
	writer->out->verdicts[stack->verdict] += sample->count;
	r = make_labels(writer, sample, labels, &n_labels);
	if (r >= 0)
		r = sample->is_go ? add_go_labels(writer, sample, labels, &n_labels) : add_other_labels(writer, sample, labels, &n_labels);
	if (r >= 0)
		r = add_ran_labels(writer, sample, labels, &n_labels);
	if (r < 0)
		return r;
	writer->out->n_samples += sample->count;
	writer->out->nsec += kind == PROFILE_CPU ? sample->count * writer->stacks->period_nsec : sample->nsec;
	if (sample->is_idle) {
		writer->out->n_idle += sample->count;
		writer->out->idle_nsec += values[1];
	}
	return profile_add_sample(writer->out->profile, writer->stack.at, writer->stack.n, values, labels, n_labels);
}

int service_profile_add_main_mapping(struct service_profile_writer *writer, const struct stacks_sample *sample)
{
	const struct stacks_stack *stack = &writer->stacks->stacks.at[sample->stack];
	const struct image *image = writer->window->capture->images.at[stack->process];

	if (writer->out->profile->mappings.n)
		return 0;
	for (size_t i = 0; image && image->exe && i < stack->n_user; i++) {
		const struct place *place = &places_of(writer->window->places, stack)[stack->n_kernel + i];
		const struct image_mapping *mapping = places_origin(writer->window->places, place)->mapping;

		if (mapping && mapping->binary && !strcmp(mapping->binary->path, image->exe))
			return locations_add_mapping(writer->locations, place);
	}
	return 0;
}
