/* SPDX-License-Identifier: Apache-2.0 */
#include "go_text.h"

#include <string.h>

#include "clock.h"
#include "go_goroutines.h"
#include "go_process.h"
#include "gopclntab.h"

enum {
	MAX_INLINED = 64,                    /* calls in one frame */
	MAX_FRAMES_UNTIL_120 = 100,          /* _TracebackMaxFrames: of the stack, whether they are shown or not */
	INNER_FRAMES = 50, OUTER_FRAMES = 50, /* since 1.21: tracebackInnerFrames, tracebackOuterFrames */
};

struct writing {
	const struct go_process *process;
	const struct go_goroutines *goroutines;
	struct go_version version;
	FILE *out;                           /* NULL: frames are only counted */
	size_t n_printed, n_skipped, n_elided; /* of one goroutine; from the n_skipped-th on n_elided frames are left out */
	bool shows_runtime;
	const char *callee;                  /* of the frame that comes next */
};

/* --- what is shown -------------------------------------------------------------------------------------------- */

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool starts_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* isExportedRuntime(): methods count since 1.23, if their type is exported, too. */
static bool is_exported(const char *name, struct go_version version)
{
	const char *function = name + strlen("runtime."), *dot = strrchr(function, '.');
	const char *receiver = function;

	if (version.minor < 23 || !dot)
		return is_upper(function[0]);
	if (starts_with(receiver, "(*") && dot > receiver + 2 && dot[-1] == ')')
		receiver += 2;
	return is_upper(dot[1]) && is_upper(receiver[0]);
}

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

/* Who calls them shows why a wrapper is there. */
static bool is_panic(const char *name)
{
	static const char *const names[] = { "runtime.gopanic", "runtime.sigpanic", "runtime.panicwrap" };

	return name && is_one_of(name, names, 3);
}

static bool is_errand(const char *name)
{
	static const char *const names[] = { "runtime.runFinalizers", "runtime.runCleanups" };

	return is_one_of(name, names, 2);
}

static bool is_shown(const struct writing *w, const struct gopclntab_frame *frame, const char *callee)
{
	if (w->shows_runtime)
		return true;
	if (frame->wrapper && !is_panic(callee))
		return false;
	if (w->version.minor >= 25 && is_errand(frame->name))
		return true;
	if (!strcmp(frame->name, "runtime.gopanic") && w->n_printed)
		return true;
	return strchr(frame->name, '.') && (!starts_with(frame->name, "runtime.") || is_exported(frame->name, w->version));
}

const char *go_text_state(const struct go_goroutines *goroutines, const struct go_goroutine *goroutine)
{
	static const char *const states[GO_N_STATUS] = {
		[GO_IDLE] = "idle", [GO_RUNNABLE] = "runnable", [GO_RUNNING] = "running", [GO_SYSCALL] = "syscall", [GO_WAITING] = "waiting",
		[GO_DEAD] = "dead", [GO_COPY_STACK] = "copystack", [GO_PREEMPTED] = "preempted", [GO_LEAKED] = "leaked",
		[GO_DEAD_EXTRA] = "waiting for cgo callback",
	};
	bool waits = goroutine->status == GO_WAITING || goroutine->status == GO_LEAKED;

	if (waits && goroutine->wait_reason && goroutine->wait_reason < goroutines->n_wait_reasons)
		return goroutines->wait_reasons[goroutine->wait_reason];
	if (goroutine->status >= GO_N_STATUS || !states[goroutine->status])
		return "???";
	return states[goroutine->status];
}

/* --- one goroutine -------------------------------------------------------------------------------------------- */

static bool needs_quotes(const char *text)
{
	for (; *text; text++)
		if (!is_upper(*text) && !(*text >= 'a' && *text <= 'z') && !(*text >= '0' && *text <= '9') && !strchr("./_", *text))
			return true;
	return false;
}

/* The character at the start of a text and how many bytes it has; 0: it is no UTF-8. */
static uint32_t character_at(const char *text, size_t *ret_n)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t lead = (uint8_t)*text;
	size_t n = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 0;
	uint32_t c = n < 2 ? lead : lead & (0x7fU >> n);

	*ret_n = 1;
	for (size_t i = 1; i < n; i++) {
		if (((uint8_t)text[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | ((uint8_t)text[i] & 0x3f);
	}
	if (!n || c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret_n = n;
	return c;
}

/* runtime/print.go printquoted() of 1.27. */
static void write_quoted(FILE *out, const char *text)
{
	size_t n;

	fputc('"', out);
	for (; *text; text += n) {
		uint32_t c = character_at(text, &n);

		if (c == '\n' || c == '\r' || c == '\t')
			fprintf(out, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
		else if (c == '\\' || c == '"')
			fprintf(out, "\\%c", (char)c);
		else if (c >= ' ' && c <= '~')
			fputc((char)c, out);
		else if (c < 127)
			fprintf(out, "\\x%02x", c ? c : (uint8_t)*text);
		else
			fprintf(out, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
	}
	fputc('"', out);
}

static void write_text(FILE *out, const char *text)
{
	if (needs_quotes(text))
		write_quoted(out, text);
	else
		fputs(text, out);
}

/* Since 1.27, whose debug.tracebacklabels is 1 if nobody says otherwise. */
static void write_labels(const struct writing *w, const struct go_goroutine *goroutine)
{
	const struct go_labels *labels = &w->goroutines->labels;

	for (size_t i = 0; i < goroutine->n_labels; i++) {
		const struct go_label *label = &labels->all.at[goroutine->first_label + i];

		fputs(i ? ", " : " {", w->out);
		write_text(w->out, labels->text.at + label->key);
		fputs(": ", w->out);
		write_text(w->out, labels->text.at + label->value);
	}
	if (goroutine->n_labels)
		fputc('}', w->out);
}

static void write_header(const struct writing *w, const struct go_goroutine *goroutine, uint64_t now_nsec)
{
	uint64_t minutes = 0;

	if (goroutine->wait_since_nsec && goroutine->wait_since_nsec < now_nsec)
		minutes = (now_nsec - goroutine->wait_since_nsec) / (60 * NSEC_PER_SEC);
	fprintf(w->out, "goroutine %llu [%s", (unsigned long long)goroutine->id, go_text_state(w->goroutines, goroutine));
	if (goroutine->status == GO_LEAKED)
		fputs(" (leaked)", w->out);
	if (minutes)
		fprintf(w->out, ", %llu minutes", (unsigned long long)minutes);
	if (goroutine->is_locked)
		fputs(", locked to thread", w->out);
	fputc(']', w->out);
	if (w->version.minor >= 27)
		write_labels(w, goroutine);
	fputs(":\n", w->out);
}

static void write_function(FILE *out, const char *name)
{
	char buffer[GOPCLNTAB_MAX_NAME];

	fputs(!strcmp(name, "runtime.gopanic") ? "panic" : gopclntab_print_name(name, buffer, sizeof(buffer)), out);
}

static void write_frame(struct writing *w, const struct gopclntab_frame *frame)
{
	size_t number = w->n_printed++;

	if (!w->out || (number >= w->n_skipped && number < w->n_skipped + w->n_elided))
		return;
	write_function(w->out, frame->name);
	fprintf(w->out, "(...)\n\t%s:%u\n", frame->file ? frame->file : "?", frame->line);
	if (number + 1 == w->n_skipped)
		fprintf(w->out, "...%zu frames elided...\n", w->n_elided);
}

static void write_frames(struct writing *w, const struct go_goroutine *goroutine)
{
	w->n_printed = 0;
	w->callee = NULL;
	for (size_t i = 0; i < goroutine->n_frames && (w->version.minor >= 21 || i < MAX_FRAMES_UNTIL_120); i++) {
		uint64_t word = w->goroutines->frames.at[goroutine->first_frame + i], pc = word & ~GO_STACK_EXACT, address;
		const struct gopclntab *functions = go_process_functions_at(w->process, pc, &address);
		struct gopclntab_frame frames[MAX_INLINED];
		size_t n;

		if (!functions || gopclntab_lookup(functions, word & GO_STACK_EXACT ? address : address - 1, frames, MAX_INLINED, &n))
			continue;
		for (size_t j = 0; j < n; j++) {
			bool shown = is_shown(w, &frames[j], w->callee);

			w->callee = frames[j].name;
			if (shown)
				write_frame(w, &frames[j]);
		}
	}
}

/* How many are shown, without showing any. */
static size_t count_frames(struct writing *w, const struct go_goroutine *goroutine)
{
	FILE *out = w->out;

	w->out = NULL;
	w->n_elided = 0;
	write_frames(w, goroutine);
	w->out = out;
	return w->n_printed;
}

static void write_stack(struct writing *w, const struct go_goroutine *goroutine)
{
	size_t n;

	w->shows_runtime = false;
	n = count_frames(w, goroutine);
	if (!n) {
		/* The runtime's own frames rather than none. */
		w->shows_runtime = true;
		n = count_frames(w, goroutine);
	}
	if (w->version.minor >= 21 && n > INNER_FRAMES + OUTER_FRAMES) {
		w->n_skipped = INNER_FRAMES;
		w->n_elided = n - INNER_FRAMES - OUTER_FRAMES;
	}
	write_frames(w, goroutine);
	if (w->version.minor < 21 && n == MAX_FRAMES_UNTIL_120)
		fputs("...additional frames elided...\n", w->out);
}

static void write_creator(struct writing *w, const struct go_goroutine *goroutine)
{
	const struct gopclntab *functions;
	struct gopclntab_frame frames[MAX_INLINED];
	uint64_t address;
	size_t n;

	functions = goroutine->id != 1 ? go_process_functions_at(w->process, goroutine->go_pc, &address) : NULL;
	if (!functions || gopclntab_lookup(functions, address - 1, frames, MAX_INLINED, &n))
		return;
	w->shows_runtime = false;
	w->n_printed = 1; /* it is not the first frame */
	/* The function that the code lies in, not what was inlined into it; the line is the call's, wherever that is from. */
	if (!is_shown(w, &frames[n - 1], NULL))
		return;
	fputs("created by ", w->out);
	write_function(w->out, frames[n - 1].name);
	if (goroutine->parent_id)
		fprintf(w->out, " in goroutine %llu", (unsigned long long)goroutine->parent_id);
	fprintf(w->out, "\n\t%s:%u\n", frames[0].file ? frames[0].file : "?", frames[0].line);
}

void go_text_write(const struct go_process *process, const struct go_goroutines *goroutines, uint64_t now_nsec, FILE *out)
{
	struct writing w = { .process = process, .goroutines = goroutines, .version = go_process_version(process), .out = out };
	bool is_first = true;

	for (size_t i = 0; i < goroutines->all.n; i++) {
		const struct go_goroutine *goroutine = &goroutines->all.at[i];

		if (goroutine->is_system)
			continue;
		if (!is_first)
			fputc('\n', out);
		is_first = false;
		write_header(&w, goroutine, now_nsec);
		if (goroutine->verdict == GO_GOROUTINE_RUNNING)
			fputs("\tgoroutine running on other thread; stack unavailable\n", out);
		else
			write_stack(&w, goroutine);
		write_creator(&w, goroutine);
	}
}
