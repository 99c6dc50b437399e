/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_deadlock_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "cleanup.h"
#include "clock.h"
#include "go_findings.h"
#include "hash.h"
#include "place_text.h"
#include "places.h"
#include "stacks.h"
#include "text.h"

/* The top of a stack is how it waits; beyond so many frames of that the first one is told. */
enum { MAX_MACHINERY = 12 };

void goroutine_deadlock_text_deinit(goroutine_deadlock_text_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		struct goroutine_deadlock_text *text = &list->at[i];

		free(text->service);
		free(text->head);
		for (size_t j = 0; j < text->members.n; j++)
			free(text->members.at[j]);
		vec_deinit(&text->members);
	}
	vec_deinit(list);
}

/* Another verdict of the same goroutines is another deadlock. */
static uint64_t id_of(const struct process_id *process, const struct go_deadlock *is)
{
	const uint64_t words[] = { process->pid, process->start_nsec, is->sort, is->least_id };

	return hash_bytes(words, sizeof(words));
}

/* How the runtime and its locks wait is no news. */
static bool is_machinery(const char *text)
{
	static const char *const packages[] = { "runtime.", "sync.", "internal/sync.", "internal/runtime", "internal/poll." };

	for (size_t i = 0; i < ARRAY_SIZE(packages); i++)
		if (!strncmp(text, packages[i], strlen(packages[i])))
			return true;
	return false;
}

/* Where the program itself waits. NULL: it is not known, or out of memory. */
static char *find_top(const struct capture *capture, const struct places *places, uint32_t stack)
{
	const struct stacks_stack *is = stack ? &capture->stacks->stacks.at[stack - 1] : NULL;
	const struct place *all = is ? places_of(places, is) : NULL;
	char *first = NULL;

	for (size_t i = 0; is && i < MIN((size_t)is->n_user, (size_t)MAX_MACHINERY); i++) {
		const struct place *place = &all[is->n_kernel + i];
		char *text = place_text(places, place, PLACE_TEXT_CODE);

		/* What was inlined is machinery: that it lies in says who wants it. */
		if (text && is_machinery(text)) {
			char *outer = place_text(places, place, PLACE_TEXT_FUNCTION);

			if (outer && !is_machinery(outer)) {
				free(text);
				text = outer;
			} else {
				free(outer);
			}
		}
		if (text && !is_machinery(text)) {
			free(first);
			return text;
		}
		if (first)
			free(text);
		else
			first = text;
	}
	return first;
}

static void print_member(FILE *f, const struct capture *capture, const struct places *places, const struct go_deadlock_member *member)
{
	_cleanup_free_ char *top = find_top(capture, places, member->stack);
	_cleanup_free_ char *creator = NULL;
	char reason[GO_WAIT_REASON_LENGTH];

	text_clean(capture->go->wait_reasons[member->wait_reason], reason, sizeof(reason));
	if (member->creator)
		creator = place_text(places, places_of(places, &capture->stacks->stacks.at[member->creator - 1]), PLACE_TEXT_GO_STATEMENT);
	fprintf(f, "goroutine %llu waits", (unsigned long long)member->id);
	if (reason[0])
		fprintf(f, " in %s", reason);
	if (member->object)
		fprintf(f, " for 0x%llx", (unsigned long long)member->object);
	fprintf(f, " at %s", top ? top : "[unknown]");
	if (creator)
		fprintf(f, ", created by %s", creator);
	fprintf(f, ", for %llu s", (unsigned long long)(member->waited_nsec / NSEC_PER_SEC));
}

static void print_head(FILE *f, const struct go_deadlock *is)
{
	static const char *const what[][2] = { /* of one; of more */
		[GOROUTINE_CIRCLE] = { "waits for its own lock", "wait for each other's locks" },
		[GOROUTINE_UNREACHABLE] = { "waits for what no goroutine that goes on can reach", "wait for what no goroutine that goes on can reach" },
		[GOROUTINE_FOREVER] = { "waits for a nil channel, which never wakes anybody", "wait for nil channels, which never wake anybody" },
		[GOROUTINE_ASLEEP] = { "is all that there is, and cannot go on", "are all that there are, and none can go on" },
	};
	bool is_one = is->n_members == 1;

	fprintf(f, "%llu goroutine%s %s", (unsigned long long)is->n_members, is_one ? "" : "s", what[is->sort][!is_one]);
	if (is->is_unreachable)
		fputs(", nobody else reaches the locks", f);
	if (is->n_behind)
		fprintf(f, ", %llu more wait for these", (unsigned long long)is->n_behind);
	fprintf(f, "; confidence %u %%, not moved for %llu s", is->confidence, (unsigned long long)(is->still_nsec / NSEC_PER_SEC));
}

/* The caller frees it; NULL: out of memory. */
static char *end_print(FILE *f, char **words)
{
	if (fclose(f) == 0)
		return *words;
	free(*words);
	return NULL;
}

static int describe(const struct capture *capture, const struct places *places, const struct go_deadlock *is, struct goroutine_deadlock_text *ret)
{
	char *words = NULL;
	size_t size;
	FILE *f = open_memstream(&words, &size);

	if (!f)
		return -ENOMEM;
	print_head(f, is);
	ret->head = end_print(f, &words);
	ret->process = capture->stacks->processes.at[is->process];
	ret->service = strdup(capture_service(capture, is->process, ""));
	ret->id = id_of(&ret->process, is);
	ret->n_members = is->n_members;
	for (size_t i = 0; i < is->n_told; i++) {
		char *line;

		words = NULL;
		f = open_memstream(&words, &size);
		if (!f)
			return -ENOMEM;
		print_member(f, capture, places, &capture->go->deadlock_members.at[is->first_member + i]);
		line = end_print(f, &words);
		if (!line || vec_push(&ret->members, line) < 0) {
			free(line);
			return -ENOMEM;
		}
	}
	return ret->head && ret->service ? 0 : -ENOMEM;
}

int goroutine_deadlock_text_describe(const struct capture *capture, const struct places *places, goroutine_deadlock_text_list *ret)
{
	int r = 0;

	for (size_t i = 0; capture->go && i < capture->go->deadlocks.n && r >= 0; i++) {
		r = vec_push(ret, (struct goroutine_deadlock_text){ 0 });
		if (r >= 0)
			r = describe(capture, places, &capture->go->deadlocks.at[i], &ret->at[ret->n - 1]);
	}
	return r;
}
