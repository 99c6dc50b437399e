/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "clock.h"
#include "go_findings.h"
#include "go_layout.h"
#include "gopclntab.h"
#include "image.h"
#include "places.h"
#include "stacks.h"
#include "text.h"

enum {
	NEWEST = 27,                         /* what an unknown version is taken for: the latest that was looked at */
	MAX_FRAMES_UNTIL_120 = 100,          /* _TracebackMaxFrames: of the stack, whether they are shown or not */
	INNER_FRAMES = 50, OUTER_FRAMES = 50, /* since 1.21: tracebackInnerFrames, tracebackOuterFrames */
};

/* A function in a frame of a stack. */
struct function {
	char *title;                         /* instead of a name where there is none; the caller's */
	const char *name, *file;             /* file "": not known */
	uint32_t line;
	bool is_wrapper;
};

struct writing {
	const struct capture *capture;
	const struct go_findings *go;
	const struct stacks *stacks;
	struct places *places;
	FILE *out;                           /* NULL: frames are only counted */
	uint16_t *minors;                    /* of Go, by process of stacks */

	/* Of one goroutine. */
	unsigned int minor;
	size_t n_printed, n_skipped, n_elided; /* from the n_skipped-th on n_elided frames are left out */
	bool shows_runtime;
};

/* --- names ---------------------------------------------------------------------------------------------------- */

static bool starts_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* The k-th function of a frame, innermost first; false: there are no more. Of one without a name there is a title. */
static bool function_of(const struct writing *w, const struct place *place, uint32_t k, struct function *ret)
{
	const struct names_cache_name name = places_name(w->places, place);

	*ret = (struct function){ .file = "", .is_wrapper = name.flags & NAMES_HIDDEN };
	if (!name.n_frames) {
		ret->title = k ? NULL : places_title(w->places, place);
		ret->name = ret->title;
		return ret->title;
	}
	if (k >= name.n_frames)
		return false;
	ret->name = strtab_get(name.strings, name.frames[k].name, NULL);
	ret->file = strtab_get(name.strings, name.frames[k].file, NULL);
	ret->line = name.frames[k].line;
	return true;
}

static const struct place *place_at(const struct writing *w, const struct stacks_stack *stack, size_t i)
{
	return &places_of(w->places, stack)[i];
}

static void write_name(FILE *out, const struct function *function)
{
	char buffer[GOPCLNTAB_MAX_NAME];

	if (!function->title) {
		fputs(gopclntab_print_name(function->name, buffer, sizeof(buffer)), out);
		return;
	}
	/* The path of a file is in it. */
	text_clean(function->title, buffer, sizeof(buffer));
	fputs(buffer, out);
}

static void write_place(FILE *out, const struct function *function)
{
	fprintf(out, "%s:%u", function->file[0] ? function->file : "?", function->line);
}

/* --- what is shown -------------------------------------------------------------------------------------------- */

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

/* isExportedRuntime(): methods count since 1.23, if their type is exported, too. */
static bool is_exported(const char *name, unsigned int minor)
{
	const char *function = name + strlen("runtime."), *dot = strrchr(function, '.');
	const char *receiver = function;

	if (minor < 23 || !dot)
		return is_upper(function[0]);
	if (starts_with(receiver, "(*") && dot > receiver + 2 && dot[-1] == ')')
		receiver += 2;
	return is_upper(dot[1]) && is_upper(receiver[0]);
}

/* Who calls them shows why a wrapper is there. */
static bool is_panic(const char *name)
{
	return name && (!strcmp(name, "runtime.gopanic") || !strcmp(name, "runtime.sigpanic") || !strcmp(name, "runtime.panicwrap"));
}

/* showfuncinfo() of runtime/traceback.go. */
static bool is_shown(const struct writing *w, const struct function *function, bool panics)
{
	const char *name = function->name;

	if (w->shows_runtime || function->title)
		return true;
	if (function->is_wrapper && !panics)
		return false;
	if (w->minor >= 25 && (!strcmp(name, "runtime.runFinalizers") || !strcmp(name, "runtime.runCleanups")))
		return true;
	if (!strcmp(name, "runtime.gopanic") && w->n_printed)
		return true;
	return strchr(name, '.') && (!starts_with(name, "runtime.") || is_exported(name, w->minor));
}

/* --- one goroutine -------------------------------------------------------------------------------------------- */

static const char *state_of(const struct writing *w, const struct go_goroutine *is)
{
	static const char *const states[GO_N_STATUS] = {
		[GO_IDLE] = "idle", [GO_RUNNABLE] = "runnable", [GO_RUNNING] = "running", [GO_SYSCALL] = "syscall", [GO_WAITING] = "waiting",
		[GO_DEAD] = "dead", [GO_COPY_STACK] = "copystack", [GO_PREEMPTED] = "preempted", [GO_LEAKED] = "leaked",
	};
	bool waits = is->status == GO_WAITING || is->status == GO_LEAKED;

	if (waits && is->wait_reason && is->wait_reason < w->go->n_wait_reasons)
		return w->go->wait_reasons[is->wait_reason];
	return is->status < GO_N_STATUS && states[is->status] ? states[is->status] : "???";
}

/* goroutineheader(), without the line's end. */
static void write_head(const struct writing *w, const struct go_sample *go)
{
	const struct go_goroutine *is = &go->goroutine.is;
	uint64_t minutes = is->status == GO_WAITING || is->status == GO_LEAKED ? go->goroutine.waited_nsec / (60 * NSEC_PER_SEC) : 0;
	char state[GO_WAIT_REASON_LENGTH];

	text_clean(state_of(w, is), state, sizeof(state));
	fprintf(w->out, "goroutine %llu [%s", (unsigned long long)is->id, state);
	if (is->status == GO_LEAKED)
		fputs(" (leaked)", w->out);
	if (minutes)
		fprintf(w->out, ", %llu minutes", (unsigned long long)minutes);
	if (is->is_locked)
		fputs(", locked to thread", w->out);
	fputc(']', w->out);
}

static void write_frame(struct writing *w, const struct function *function)
{
	size_t number = w->n_printed++;

	if (!w->out || (number >= w->n_skipped && number < w->n_skipped + w->n_elided))
		return;
	if (!strcmp(function->name, "runtime.gopanic"))
		fputs("panic", w->out);
	else
		write_name(w->out, function);
	fputs("(...)\n\t", w->out);
	write_place(w->out, function);
	fputc('\n', w->out);
	if (number + 1 == w->n_skipped)
		fprintf(w->out, "...%zu frames elided...\n", w->n_elided);
}

static void write_frames(struct writing *w, const struct stacks_stack *stack)
{
	bool panics = false;

	w->n_printed = 0;
	for (size_t i = 0; i < stack->n_user && (w->minor >= 21 || i < MAX_FRAMES_UNTIL_120); i++) {
		struct function function;

		for (uint32_t k = 0; function_of(w, place_at(w, stack, i), k, &function); k++) {
			if (is_shown(w, &function, panics))
				write_frame(w, &function);
			panics = is_panic(function.name);
			free(function.title);
		}
	}
}

/* How many are shown, without showing any. */
static size_t count_frames(struct writing *w, const struct stacks_stack *stack)
{
	FILE *out = w->out;

	w->out = NULL;
	w->n_skipped = w->n_elided = 0;
	write_frames(w, stack);
	w->out = out;
	return w->n_printed;
}

static void write_stack(struct writing *w, const struct stacks_stack *stack)
{
	size_t n;

	w->shows_runtime = false;
	n = count_frames(w, stack);
	if (!n) {
		/* The runtime's own frames rather than none. */
		w->shows_runtime = true;
		n = count_frames(w, stack);
	}
	if (w->minor >= 21 && n > INNER_FRAMES + OUTER_FRAMES) {
		w->n_skipped = INNER_FRAMES;
		w->n_elided = n - INNER_FRAMES - OUTER_FRAMES;
	}
	write_frames(w, stack);
	if (w->minor < 21 && n == MAX_FRAMES_UNTIL_120)
		fputs("...additional frames elided...\n", w->out);
	if (stacks_broken_reason(stack->verdict))
		fprintf(w->out, "...broken: %s...\n", stacks_broken_reason(stack->verdict));
}

/*
 * The function that the go statement lies in, not what was inlined into it; the line is the statement's, wherever that is from.
 * False: the runtime leaves it out.
 */
static bool find_creator(struct writing *w, const struct stacks_sample *sample, struct function *ret)
{
	const struct stacks_stack *creator = sample->other ? &w->stacks->stacks.at[sample->other - 1] : NULL;
	struct function inner, function;
	uint32_t k = 1;

	if (!creator || !creator->n_user || !function_of(w, place_at(w, creator, 0), 0, &inner))
		return false;
	if (inner.title) {
		free(inner.title);
		return false;
	}
	*ret = inner;
	for (; function_of(w, place_at(w, creator, 0), k, &function); k++)
		ret->name = function.name;
	w->shows_runtime = false;
	w->n_printed = 1; /* it is not the first frame */
	return is_shown(w, ret, false);
}

static void write_created_by(struct writing *w, const struct stacks_sample *sample, const struct go_sample *go, const char *before,
		bool has_line)
{
	struct function creator;

	if (!find_creator(w, sample, &creator))
		return;
	fprintf(w->out, "%screated by ", before);
	write_name(w->out, &creator);
	if (go->goroutine.is.parent_id)
		fprintf(w->out, " in goroutine %llu", (unsigned long long)go->goroutine.is.parent_id);
	if (!has_line)
		return;
	fputs("\n\t", w->out);
	write_place(w->out, &creator);
	fputc('\n', w->out);
}

/* --- debug=2 -------------------------------------------------------------------------------------------------- */

static const char running[] = "goroutine running on other thread; stack unavailable\n";

static void write_process(const struct writing *w, uint32_t process)
{
	char service[256];

	text_clean(capture_service(w->capture, process, ""), service, sizeof(service));
	fprintf(w->out, "# process %u (%s)\n", w->stacks->processes.at[process].pid, service);
}

static void write_tracebacks(struct writing *w, const uint32_t *samples, size_t n)
{
	uint32_t last = UINT32_MAX;

	for (size_t i = 0; i < n; i++) {
		const struct stacks_sample *sample = &w->stacks->samples.at[samples[i]];
		const struct stacks_stack *stack = &w->stacks->stacks.at[sample->stack];
		const struct go_sample *go = &w->go->samples.at[samples[i]];

		w->minor = w->minors[stack->process];
		if (i)
			fputc('\n', w->out);
		if (stack->process != last && w->stacks->processes.n > 1)
			write_process(w, stack->process);
		last = stack->process;
		write_head(w, go);
		fputs(":\n", w->out);
		if (!stack->n_user && stack->verdict == SAMPLE_VERDICT_KERNEL)
			fprintf(w->out, "\t%s", running);
		else
			write_stack(w, stack);
		write_created_by(w, sample, go, "", true);
	}
}

/* --- debug=1 -------------------------------------------------------------------------------------------------- */

/* Goroutines with one stack and one set of labels: members [first, first + n) of the sorted samples. */
struct group {
	size_t first, n;
};

/* Equal sets of labels are one (lib/goruntime/go_labels.h). */
static int compare_samples(const void *a, const void *b, void *userdata)
{
	const struct writing *w = userdata;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	const struct stacks_sample *x = &w->stacks->samples.at[i], *y = &w->stacks->samples.at[j];
	const struct go_sample *p = &w->go->samples.at[i], *q = &w->go->samples.at[j];

	if (x->stack != y->stack)
		return x->stack < y->stack ? -1 : 1;
	if (p->goroutine.n_labels != q->goroutine.n_labels)
		return p->goroutine.n_labels < q->goroutine.n_labels ? -1 : 1;
	if (p->goroutine.n_labels && p->goroutine.first_label != q->goroutine.first_label)
		return p->goroutine.first_label < q->goroutine.first_label ? -1 : 1;
	return i < j ? -1 : i > j;
}

static bool is_one_group(const struct writing *w, uint32_t i, uint32_t j)
{
	const struct go_sample *p = &w->go->samples.at[i], *q = &w->go->samples.at[j];

	return w->stacks->samples.at[i].stack == w->stacks->samples.at[j].stack && p->goroutine.n_labels == q->goroutine.n_labels &&
	       (!p->goroutine.n_labels || p->goroutine.first_label == q->goroutine.first_label);
}

static int compare_groups(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	if (x->n != y->n)
		return x->n < y->n ? 1 : -1;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* As Go's %q, of text that is cleaned. */
static void write_quoted(FILE *out, const char *text)
{
	char clean[GO_LABELS_MAX_TEXT + 1];

	text_clean(text, clean, sizeof(clean));
	fputc('"', out);
	for (const char *c = clean; *c; c++) {
		if (*c == '"' || *c == '\\')
			fputc('\\', out);
		fputc(*c, out);
	}
	fputc('"', out);
}

static void write_labels(const struct writing *w, const struct go_sample *go)
{
	const struct go_labels *labels = &w->go->labels;

	if (!go->goroutine.n_labels)
		return;
	fputs("# labels: {", w->out);
	for (uint32_t i = 0; i < go->goroutine.n_labels; i++) {
		const struct go_label *label = &labels->all.at[go->goroutine.first_label + i];

		if (i)
			fputs(", ", w->out);
		write_quoted(w->out, labels->text.at + label->key);
		fputc(':', w->out);
		write_quoted(w->out, labels->text.at + label->value);
	}
	fputs("}\n", w->out);
}

/* What runtime.tracebackPCs() gives: behind the instruction that tells where it is. */
static uint64_t return_address(const struct writing *w, const struct stacks_stack *stack, size_t i)
{
	uint64_t frame = w->stacks->frames.at[stack->first_frame + i];

	return !i ? frame + 1 : frame & SAMPLE_INTERRUPTED ? (frame & ~SAMPLE_INTERRUPTED) + 1 : frame;
}

/* printStackRecord(): goexit and what of the runtime is innermost are left out, unless there is nothing else. */
static bool write_record(const struct writing *w, const struct stacks_stack *stack, bool shows_all)
{
	bool shows = shows_all;

	for (size_t i = 0; i < stack->n_user; i++) {
		struct function function;

		for (uint32_t k = 0; function_of(w, place_at(w, stack, i), k, &function); k++) {
			bool is_runtime = starts_with(function.name, "runtime.") ||
				(w->minor >= 24 && starts_with(function.name, "internal/runtime/"));

			if ((!function.is_wrapper || function.title) && strcmp(function.name, "runtime.goexit") != 0 && (shows || !is_runtime)) {
				shows = true;
				fprintf(w->out, "#\t0x%llx\t", (unsigned long long)return_address(w, stack, i) - 1);
				write_name(w->out, &function);
				fputc('\t', w->out);
				write_place(w->out, &function);
				fputc('\n', w->out);
			}
			free(function.title);
		}
	}
	return shows;
}

static void write_group(struct writing *w, const uint32_t *members, size_t n)
{
	const struct stacks_stack *stack = &w->stacks->stacks.at[w->stacks->samples.at[members[0]].stack];

	w->minor = w->minors[stack->process];
	fprintf(w->out, "%zu @", n);
	for (size_t i = 0; i < stack->n_user; i++)
		fprintf(w->out, " 0x%llx", (unsigned long long)return_address(w, stack, i));
	/* Readers of this form want one. */
	fputs(stack->n_user ? "\n" : " 0x0\n", w->out);
	write_labels(w, &w->go->samples.at[members[0]]);
	if (!stack->n_user)
		fprintf(w->out, "#\t%s", stack->verdict == SAMPLE_VERDICT_KERNEL ? running : "no stack\n");
	else if (!write_record(w, stack, false))
		write_record(w, stack, true);
	for (size_t i = 0; i < n; i++) {
		fputs("# ", w->out);
		write_head(w, &w->go->samples.at[members[i]]);
		write_created_by(w, &w->stacks->samples.at[members[i]], &w->go->samples.at[members[i]], " ", false);
		fputc('\n', w->out);
	}
	fputc('\n', w->out);
}

/* Largest groups first. */
static int write_counts(struct writing *w, uint32_t *samples, size_t n)
{
	VEC(struct group) groups = { 0 };
	int r = 0;

	if (n)
		qsort_r(samples, n, sizeof(*samples), compare_samples, w);
	for (size_t i = 0; i < n && r >= 0; i++) {
		if (i && is_one_group(w, samples[i - 1], samples[i]))
			groups.at[groups.n - 1].n++;
		else
			r = vec_push(&groups, ((struct group){ i, 1 }));
	}
	if (r >= 0 && groups.n)
		vec_sort(&groups, compare_groups);
	if (r >= 0)
		fprintf(w->out, "goroutine profile: total %zu\n", n);
	for (size_t i = 0; i < groups.n && r >= 0; i++)
		write_group(w, samples + groups.at[i].first, groups.at[i].n);
	vec_deinit(&groups);
	return r;
}

/* --- all ------------------------------------------------------------------------------------------------------ */

static void find_versions(struct writing *w)
{
	for (size_t i = 0; i < w->stacks->processes.n; i++)
		w->minors[i] = NEWEST;
	for (size_t i = 0; i < w->go->processes.n; i++) {
		struct go_version version;

		if (go_version_parse(w->go->processes.at[i].version, &version))
			w->minors[w->go->processes.at[i].process] = version.minor;
	}
}

/* Those that are goroutines, as index into stacks->samples. */
static size_t find_goroutines(const struct writing *w, uint32_t *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < w->stacks->samples.n; i++) {
		const struct go_sample *go = go_findings_sample(w->go, i);

		if (go && go->sort == GO_SAMPLE_GOROUTINE)
			ret[n++] = (uint32_t)i;
	}
	return n;
}

int goroutine_text_write(const struct capture *capture, struct names_cache *names, int debug, FILE *out)
{
	static const struct go_findings none;
	struct writing w = { .capture = capture, .go = capture->go ? capture->go : &none, .stacks = capture->stacks, .out = out };
	_cleanup_(places_free_p) struct places *places = NULL;
	_cleanup_free_ uint32_t *samples = calloc(capture->stacks->samples.n + 1, sizeof(*samples));
	_cleanup_free_ uint16_t *minors = calloc(capture->stacks->processes.n + 1, sizeof(*minors));
	size_t n;
	int r;

	if (debug != 1 && debug != 2)
		return -EINVAL;
	if (!samples || !minors)
		return -ENOMEM;
	r = places_new(capture, names, &places);
	if (r >= 0) {
		w.places = places;
		w.minors = minors;
		find_versions(&w);
		n = find_goroutines(&w, samples);
		if (debug == 2)
			write_tracebacks(&w, samples, n);
		else
			r = write_counts(&w, samples, n);
	}
	names_cache_end_window(names);
	return r;
}
