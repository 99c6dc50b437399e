/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_leak_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "clock.h"
#include "go_findings.h"
#include "hash.h"
#include "place_text.h"
#include "places.h"
#include "stacks.h"
#include "strtab.h"
#include "text.h"

void goroutine_leak_text_deinit(goroutine_leak_text_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->at[i].service);
		free(list->at[i].function);
		free(list->at[i].creator);
	}
	vec_deinit(list);
}

/* --- from a capture -------------------------------------------------------------------------------------------- */

static uint64_t id_of(const struct process_id *process, const struct goroutine_leak *is)
{
	/* Not exec_id, which may become known only later: another program has other addresses. */
	const uint64_t words[] = { process->pid, process->start_nsec, is->go_pc, is->start_pc, hash_bytes(is->wait, strnlen(is->wait, sizeof(is->wait))) };

	return hash_bytes(words, sizeof(words));
}

static int describe_creator(const struct capture *capture, const struct places *places, const struct go_leak *leak, char **ret)
{
	if (!leak->creator)
		return 0;
	*ret = place_text(places, places_of(places, &capture->stacks->stacks.at[leak->creator - 1]), PLACE_TEXT_GO_STATEMENT);
	return *ret ? 0 : -ENOMEM;
}

static bool is_hidden(const struct places *places, const struct place *place)
{
	return places_name(places, place).flags & NAMES_HIDDEN;
}

/* The outermost function of a goroutine that is the program's own; NULL: there is none. */
static const struct place *find_root(const struct places *places, const struct stacks_stack *stack)
{
	for (size_t i = stack->n_user; i-- > 0;) {
		const struct place *place = &places_of(places, stack)[i];
		const struct names_cache_name name = places_name(places, place);

		if (name.n_frames && !(name.flags & NAMES_HIDDEN) && strcmp(strtab_get(name.strings, name.frames[0].name, NULL), "runtime.goexit") != 0)
			return place;
	}
	return NULL;
}

/*
 * `go f(x)` runs a wrapper that the compiler made of f(), main.leak.gowrap1, which tracebacks leave out (runtime/traceback.go
 * elideWrapperCalling()): f is in the stack of any of these goroutines. NULL: in none.
 */
static const struct place *find_wrapped(const struct capture *capture, const struct places *places, const struct go_leak *leak)
{
	const struct place *root = NULL;

	for (size_t i = 0; i < capture->stacks->samples.n && !root; i++) {
		const struct stacks_stack *stack = &capture->stacks->stacks.at[capture->stacks->samples.at[i].stack];
		const struct go_sample *go = go_findings_sample(capture->go, i);

		if (go && go->sort == GO_SAMPLE_GOROUTINE && stack->process == leak->process && go->goroutine.is.go_pc == leak->is.go_pc &&
		    go->goroutine.is.start_pc == leak->is.start_pc && stack->verdict == SAMPLE_VERDICT_COMPLETE)
			root = find_root(places, stack);
	}
	return root;
}

static int describe_function(const struct capture *capture, const struct places *places, const struct go_leak *leak, char **ret)
{
	const struct place *place;

	if (!leak->function)
		return 0;
	place = places_of(places, &capture->stacks->stacks.at[leak->function - 1]);
	if (is_hidden(places, place)) {
		const struct place *wrapped = find_wrapped(capture, places, leak);

		place = wrapped ? wrapped : place;
	}
	*ret = place_text(places, place, PLACE_TEXT_FUNCTION);
	return *ret ? 0 : -ENOMEM;
}

static int describe(const struct capture *capture, const struct places *places, const struct go_leak *leak, struct goroutine_leak_text *ret)
{
	int r;

	ret->process = capture->stacks->processes.at[leak->process];
	ret->service = strdup(capture_service(capture, leak->process, ""));
	ret->is = leak->is;
	ret->id = id_of(&ret->process, &leak->is);
	ret->grows_nsec = leak->taken_nsec > leak->is.since_nsec ? leak->taken_nsec - leak->is.since_nsec : 0;
	r = describe_function(capture, places, leak, &ret->function);
	if (r >= 0)
		r = describe_creator(capture, places, leak, &ret->creator);
	return ret->service ? r : -ENOMEM;
}

int goroutine_leak_text_describe(const struct capture *capture, const struct places *places, goroutine_leak_text_list *ret)
{
	int r = 0;

	for (size_t i = 0; capture->go && i < capture->go->leaks.n && r >= 0; i++) {
		r = vec_push(ret, (struct goroutine_leak_text){ 0 });
		if (r >= 0)
			r = describe(capture, places, &capture->go->leaks.at[i], &ret->at[ret->n - 1]);
	}
	return r;
}

/* --- words ----------------------------------------------------------------------------------------------------- */

/* 18200 as "18,200". */
static void print_number(FILE *f, uint64_t number)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);

	for (int i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			fputc(',', f);
		fputc(digits[i], f);
	}
}

/* In the largest unit of which there are two. */
static void print_time(FILE *f, uint64_t nsec)
{
	uint64_t seconds = nsec / NSEC_PER_SEC;

	if (seconds < 120)
		fprintf(f, "%llus", (unsigned long long)seconds);
	else if (seconds < 120 * 60)
		fprintf(f, "%llum", (unsigned long long)(seconds / 60));
	else if (seconds < 48 * 3600)
		fprintf(f, "%lluh", (unsigned long long)(seconds / 3600));
	else
		fprintf(f, "%llud", (unsigned long long)(seconds / 86400));
}

static void print_what(FILE *f, const struct goroutine_leak_text *text)
{
	char wait[sizeof(text->is.wait)];

	fputs(text->function ? text->function : "[unknown]", f);
	if (text->creator)
		fprintf(f, " created by %s", text->creator);
	text_clean(text->is.wait, wait, sizeof(wait));
	if (wait[0])
		fprintf(f, ", waits in %s", wait);
}

static void print_line(FILE *f, const struct goroutine_leak_text *text)
{
	print_what(f, text);
	fputs(": ", f);
	print_number(f, text->is.n);
	fputs(" now, +", f);
	print_number(f, text->is.per_hour > 0 && text->is.per_hour < 0x1p63 ? (uint64_t)(text->is.per_hour + 0.5) : 0);
	fprintf(f, " an hour, confidence %u %%, seen growing for ", text->is.confidence);
	print_time(f, text->grows_nsec);
	for (uint32_t i = 0; i < text->is.n_examples; i++) {
		fprintf(f, "%s%llu (", i ? ", " : ", examples ", (unsigned long long)text->is.examples[i].id);
		print_time(f, text->is.examples[i].age_nsec);
		fputc(')', f);
	}
}

static char *print(const struct goroutine_leak_text *text, void (*print_text)(FILE *f, const struct goroutine_leak_text *text))
{
	char *words = NULL;
	size_t size;
	FILE *f = open_memstream(&words, &size);

	if (!f)
		return NULL;
	print_text(f, text);
	/* Want of memory shows here. */
	if (fclose(f) == 0)
		return words;
	free(words);
	return NULL;
}

char *goroutine_leak_text_what(const struct goroutine_leak_text *text)
{
	return print(text, print_what);
}

char *goroutine_leak_text_line(const struct goroutine_leak_text *text)
{
	return print(text, print_line);
}
