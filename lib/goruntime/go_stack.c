/* SPDX-License-Identifier: Apache-2.0 */
#include "go_stack.h"

#include <stdbool.h>
#include <string.h>

#include "cleanup.h"
#include "go_process.h"
#include "gopclntab.h"
#include "map.h"

enum { MAX_PLACES = 1 << 16 };               /* distinct return addresses on stacks: some thousand in the largest programs */

/* What is known of an address. */
struct place {
	int32_t depth;
	bool is_known, is_top, writes_sp;
	bool is_entry;                       /* the function has not begun */
	bool is_callback;                    /* runtime.cgocallback: its caller is on the same stack all the same */
	bool was_injected;                   /* a call that the program did not make: the caller was interrupted just there */
};

struct go_stack {
	const struct go_process *process;
	struct map places;                   /* uint64_t -> struct place */
};

struct go_stack *go_stack_new(const struct go_process *process)
{
	struct go_stack *stack = calloc(1, sizeof(*stack));

	if (!stack)
		return NULL;
	stack->process = process;
	map_init(&stack->places, sizeof(uint64_t), sizeof(struct place));
	return stack;
}

struct go_stack *go_stack_free(struct go_stack *stack)
{
	if (!stack)
		return NULL;
	map_deinit(&stack->places);
	free(stack);
	return NULL;
}

static struct place look_up(const struct go_stack *stack, uint64_t pc)
{
	const struct gopclntab *functions;
	struct gopclntab_function function;
	struct place place = { 0 };
	uint64_t address;

	functions = go_process_functions_at(stack->process, pc, &address);
	if (!functions || gopclntab_depth(functions, address, &function, &place.depth))
		return place;
	place.is_known = true;
	place.is_top = function.is_top;
	place.writes_sp = function.writes_sp;
	place.is_entry = address == function.start;
	if (function.name && !strncmp(function.name, "runtime.", 8)) {
		place.is_callback = !strcmp(function.name, "runtime.cgocallback");
		place.was_injected = !strcmp(function.name, "runtime.sigpanic") || !strcmp(function.name, "runtime.asyncPreempt") ||
			!strcmp(function.name, "runtime.debugCallV2");
	}
	return place;
}

static int place_of(struct go_stack *stack, uint64_t pc, struct place *ret)
{
	struct place *known = map_get(&stack->places, &pc);
	void *value;

	if (known) {
		*ret = *known;
		return 0;
	}
	*ret = look_up(stack, pc);
	if (stack->places.n >= MAX_PLACES)
		map_clear(&stack->places);
	if (map_put(&stack->places, &pc, &value) < 0)
		return -ENOMEM;
	*(struct place *)value = *ret;
	return 0;
}

int go_stack_walk(struct go_stack *stack, const struct go_stack_from *from, struct go_stack_frames *frames)
{
	uint64_t pc = from->pc, at = 0;
	bool is_exact = false;
	int r;

	for (size_t n = 0; n < GO_STACK_MAX_FRAMES; n++) {
		struct place place;

		r = place_of(stack, pc, &place);
		if (r >= 0 && !place.is_known)
			return GO_STACK_NOT_GO;
		if (r >= 0)
			r = vec_push(&frames->at, pc | (is_exact || place.is_entry ? GO_STACK_EXACT : 0));
		if (r < 0)
			return r;
		if (place.is_top)
			return GO_STACK_COMPLETE;
		if (place.writes_sp && n && !place.is_callback)
			return GO_STACK_SWITCHED;
		/* The return address is where rsp was at the function's entry. */
		at += (uint64_t)place.depth;
		if (at > from->n_bytes || from->n_bytes - at < sizeof(pc))
			return GO_STACK_CUT;
		memcpy(&pc, (const char *)from->bytes + at, sizeof(pc));
		at += sizeof(pc);
		is_exact = place.was_injected;
		if (pc >= GO_STACK_EXACT)
			return GO_STACK_NOT_GO;
	}
	return GO_STACK_TOO_DEEP;
}
