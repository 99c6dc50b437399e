/* SPDX-License-Identifier: Apache-2.0 */
#include "deadlock_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
