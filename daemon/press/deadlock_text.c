/* SPDX-License-Identifier: Apache-2.0 */
#include "deadlock_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "cleanup.h"
#include "hash.h"
#include "image.h"
#include "places.h"
#include "stacks.h"
#include "strtab.h"
#include "text.h"

enum { MAX_NAME = 256 };                     /* of a function: C++ has longer ones, of which the end says little */

void deadlock_text_deinit(struct deadlock_text *text)
{
	free(text->service);
	for (size_t i = 0; i < text->waits.n; i++) {
		free(text->waits.at[i].thread);
		free(text->waits.at[i].owner_thread);
		free(text->waits.at[i].stack);
		free(text->waits.at[i].whole_stack);
	}
	vec_deinit(&text->waits);
}

char *deadlock_text_head(const struct deadlock_text *text)
{
	char name[MAX_NAME], *head;
	int n;

	text_clean(text->service, name, sizeof(name));
	if (text->n_waits == 1)
		n = asprintf(&head, "deadlock in %s (process %u): a thread waits for a lock that it has itself", name, text->process.pid);
	else
		n = asprintf(&head, "deadlock in %s (process %u): %zu threads wait for each other%s", name, text->process.pid, text->n_waits,
				text->waits.n < text->n_waits ? ", of which the first ones are told" : "");
	return n < 0 ? NULL : head;
}

char *deadlock_text_line(const struct deadlock_text_wait *wait, bool is_whole)
{
	const char *stack = is_whole ? wait->whole_stack : wait->stack;
	char *line;
	int n;

	if (wait->tid == wait->owner_tid)
		n = asprintf(&line, "thread %u (%s) waits for lock 0x%llx, which it has itself: %s", wait->tid, wait->thread,
				(unsigned long long)wait->lock, stack);
	else
		n = asprintf(&line, "thread %u (%s) waits for lock 0x%llx, which thread %u (%s) has: %s", wait->tid, wait->thread,
				(unsigned long long)wait->lock, wait->owner_tid, wait->owner_thread, stack);
	return n < 0 ? NULL : line;
}

int deadlock_text_add_frame(struct deadlock_text_stack *stack, const char *name)
{
	static const char arrow[] = " <- ", cut[] = "...";
	char clean[MAX_NAME], *grown;
	size_t length;

	if (stack->is_cut)
		return 0;
	text_clean(name, clean, sizeof(clean));
	/* There is always room left to say that more would follow. */
	if (stack->size + strlen(clean) + 2 * strlen(arrow) + sizeof(cut) > stack->max_size) {
		stack->is_cut = true;
		strcpy(clean, cut);
	}
	length = strlen(clean) + (stack->size ? strlen(arrow) : 0);
	grown = realloc(stack->text, stack->size + length + 1);
	if (!grown)
		return -ENOMEM;
	sprintf(grown + stack->size, "%s%s", stack->size ? arrow : "", clean);
	stack->text = grown;
	stack->size += length;
	return 0;
}

/* Where the waiting itself is done, and threads begin: in every stack of every lock. */
static bool is_of_system(const struct places *places, const struct place *place)
{
	static const char *const files[] = { "libc.so", "libc-2", "libpthread", "ld-linux", "ld-musl" };
	const struct place_origin *origin = places_origin(places, place);

	if (place->offset >= PLACES_KERNEL_START)
		return true;
	for (size_t i = 0; origin->mapping && origin->mapping->binary && i < sizeof(files) / sizeof(files[0]); i++)
		if (!strncmp(origin->title, files[i], strlen(files[i])))
			return true;
	return false;
}

static int describe_place(const struct places *places, const struct place *place, struct deadlock_text_stack *ret)
{
	const struct names_cache_name name = places_name(places, place);
	_cleanup_free_ char *title = NULL;
	int r = 0;

	for (uint32_t i = 0; i < name.n_frames && r >= 0; i++)
		r = deadlock_text_add_frame(ret, strtab_get(name.strings, name.frames[i].name, NULL));
	if (name.n_frames)
		return r;
	title = places_title(places, place);
	return title ? deadlock_text_add_frame(ret, title) : -ENOMEM;
}

/* All of a stack, or what is the application's of it; all of it, too, where nothing is (libc may be part of the program). */
static int describe_stack(const struct places *places, const struct stacks_stack *stack, size_t max_frames, struct deadlock_text_stack *ret)
{
	size_t n = (size_t)stack->n_kernel + stack->n_user, n_told = 0;
	int r = 0;

	for (size_t i = 0; i < n && r >= 0 && n_told < max_frames; i++) {
		const struct place *place = &places_of(places, stack)[i];

		if (max_frames != SIZE_MAX && is_of_system(places, place))
			continue;
		r = describe_place(places, place, ret);
		n_told++;
	}
	for (size_t i = stack->n_kernel; i < n && r >= 0 && !n_told && i < stack->n_kernel + max_frames; i++)
		r = describe_place(places, &places_of(places, stack)[i], ret);
	if (r >= 0 && !n)
		r = deadlock_text_add_frame(ret, "[no stack was taken]");
	if (r >= 0 && max_frames == SIZE_MAX && stack->n_elided)
		r = deadlock_text_add_frame(ret, "[some frames elided]");
	if (r >= 0 && max_frames == SIZE_MAX && stacks_broken_reason(stack->verdict))
		r = deadlock_text_add_frame(ret, "[broken]");
	return r;
}

static char *clean_copy(const char *text)
{
	char clean[SAMPLE_COMM_LENGTH];

	text_clean(text, clean, sizeof(clean));
	return strdup(clean);
}

static int describe_wait(const struct capture *capture, const struct places *places, const struct deadlock_wait *wait,
		const struct deadlock_wait *owner, struct deadlock_text_wait *ret)
{
	const struct stacks_stack *stack = &capture->stacks->stacks.at[wait->stack];
	struct deadlock_text_stack some = { .max_size = DEADLOCK_TEXT_MAX_SHORT }, all = { .max_size = DEADLOCK_TEXT_MAX_WHOLE };
	int r;

	ret->tid = wait->tid;
	ret->owner_tid = owner->tid;
	ret->lock = wait->lock;
	ret->thread = clean_copy(wait->thread);
	ret->owner_thread = clean_copy(owner->thread);
	r = describe_stack(places, stack, DEADLOCK_TEXT_MAX_FRAMES, &some);
	if (r >= 0)
		r = describe_stack(places, stack, SIZE_MAX, &all);
	ret->stack = some.text;
	ret->whole_stack = all.text;
	return r < 0 || !ret->thread || !ret->owner_thread ? -ENOMEM : 0;
}

static uint64_t id_of(const struct process_id *process, const struct deadlock *circle)
{
	uint64_t id = hash_bytes(process, sizeof(*process));

	for (size_t i = 0; i < circle->waits.n; i++) {
		const uint64_t words[] = { id, circle->waits.at[i].tid, circle->waits.at[i].lock };

		id = hash_bytes(words, sizeof(words));
	}
	return id;
}

int deadlock_text_describe(const struct capture *capture, const struct places *places, const struct deadlock *circle, struct deadlock_text *ret)
{
	int r = 0;

	ret->service = strdup(capture_service(capture, circle->process, circle->waits.at[0].thread));
	ret->process = capture->stacks->processes.at[circle->process];
	ret->id = id_of(&ret->process, circle);
	ret->n_waits = circle->waits.n;
	for (size_t i = 0; i < MIN(circle->waits.n, (size_t)DEADLOCK_TEXT_MAX_WAITS) && r >= 0; i++) {
		r = vec_push(&ret->waits, (struct deadlock_text_wait){ 0 });
		if (r >= 0)
			r = describe_wait(capture, places, &circle->waits.at[i], &circle->waits.at[(i + 1) % circle->waits.n], &ret->waits.at[i]);
	}
	return ret->service ? r : -ENOMEM;
}
