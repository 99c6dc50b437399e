/* SPDX-License-Identifier: Apache-2.0 */
#include "go_waits.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "go_process.h"

enum {
	SUDOG_G = 0, SUDOG_NEXT = 8, SUDOG_PREV = 16, /* the same in all */
	MAX_SUDOG = 112,
	CHANNEL_SIZE = 96,                   /* of a hchan that is read: up to both queues' first */
	/* runtime/sema.go: semTabSize roots, each with a cache line of its own: lock 0, treap 8. */
	N_ROOTS = 251, ROOT_SIZE = 64, ROOT_TREAP = 8,
};

static uint64_t u64_at(const uint8_t *bytes, size_t offset)
{
	uint64_t value;

	memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

static int read_sudog(struct go_process *process, uint64_t address, uint8_t *ret)
{
	return go_memory_read(go_process_memory(process), address, ret, go_process_layout(process)->sudog.channel + sizeof(uint64_t));
}

/*
 * On which side of a channel it is queued up. Whoever comes takes what the other side has queued: one of the queues is empty, but for a
 * goroutine that selects both ends. One that was taken from the queue and not woken yet is in neither (runtime/chan.go dequeue()).
 */
static uint32_t kind_of(struct go_process *process, uint64_t channel, uint64_t address, const uint8_t *sudog)
{
	const struct go_layout *layout = go_process_layout(process);
	uint8_t bytes[CHANNEL_SIZE];
	uint64_t receiver, sender;

	if (go_memory_read(go_process_memory(process), channel, bytes, sizeof(bytes)) < 0)
		return GO_WAIT_UNKNOWN;
	receiver = u64_at(bytes, layout->channel.receivers);
	sender = u64_at(bytes, layout->channel.senders);
	if (receiver == address)
		return GO_WAIT_RECEIVE;
	if (sender == address)
		return GO_WAIT_SEND;
	if (!u64_at(sudog, SUDOG_PREV) || !receiver == !sender)
		return GO_WAIT_UNKNOWN;
	return receiver ? GO_WAIT_RECEIVE : GO_WAIT_SEND;
}

static int add(struct go_waits *waits, uint64_t address, uint32_t kind)
{
	if (waits->all.n >= GO_WAITS_MAX_ALL)
		return -ENOSPC;
	return vec_push(&waits->all, ((struct go_wait){ .address = address, .kind = kind }));
}

int go_waits_read(struct go_process *process, const struct go_waits_of *of, struct go_waits *waits, size_t *ret_first, size_t *ret_n)
{
	const struct go_layout *layout = go_process_layout(process);
	uint64_t address = of->sudog;
	uint8_t sudog[MAX_SUDOG];
	size_t n = 0;
	int r = 0;

	*ret_first = waits->all.n;
	while (address) {
		uint64_t channel, elem;

		if (n == GO_WAITS_MAX) {
			waits->n_cut++;
			break;
		}
		r = read_sudog(process, address, sudog);
		if (r < 0 || u64_at(sudog, SUDOG_G) != of->goroutine)
			break;
		channel = u64_at(sudog, layout->sudog.channel);
		elem = u64_at(sudog, layout->sudog.elem);
		if (channel)
			r = add(waits, channel, of->kind ? of->kind : kind_of(process, channel, address, sudog));
		else if (elem && !go_waits_has_table(process))
			r = add(waits, elem, of->kind == GO_WAIT_CONDITION ? GO_WAIT_CONDITION : GO_WAIT_SEMAPHORE);
		else
			break;
		if (r < 0)
			break;
		n++;
		/* Of a semaphore the list is of those who wait for it, too. */
		address = channel && sudog[layout->sudog.is_select] ? u64_at(sudog, layout->sudog.wait_link) : 0;
	}
	if (r == -ENOMEM || r == -E2BIG) {
		waits->all.n = *ret_first;
		return r;
	}
	if (r == -ENOSPC)
		waits->n_cut++;
	*ret_n = n;
	return 0;
}

void go_waits_deinit(struct go_waits *waits)
{
	vec_deinit(&waits->all);
}

/* --- the runtime's table of semaphores ---------------------------------------------------------------------------- */

bool go_waits_has_table(const struct go_process *process)
{
	return !go_process_layout(process)->sudog.has_semaphores;
}

struct table {
	struct go_process *process;
	size_t left;                         /* sudogs that may still be read: a tree that is torn may have circles */
	int (*found)(void *userdata, uint64_t goroutine, uint64_t semaphore);
	void *userdata;
	VEC(uint64_t) nodes;                 /* of a tree, that are still to be visited */
};

/* A semaphore's first waiter is the node of the tree, the others are a list behind it. */
static int visit(struct table *table, uint64_t node)
{
	const struct go_layout *layout = go_process_layout(table->process);
	uint64_t address = node, semaphore = 0;
	uint8_t sudog[MAX_SUDOG];
	int r = 0;

	while (address && table->left && !r) {
		uint64_t elem, sides[2];

		table->left--;
		r = read_sudog(table->process, address, sudog);
		if (r < 0)
			/* Gone, or wild: the others are there all the same. */
			return r == -E2BIG ? r : 0;
		elem = u64_at(sudog, layout->sudog.elem);
		if (!elem || (semaphore && elem != semaphore))
			return 0;
		semaphore = elem;
		if (address == node) {
			sides[0] = u64_at(sudog, SUDOG_PREV);
			sides[1] = u64_at(sudog, SUDOG_NEXT);
			for (size_t i = 0; i < 2 && !r; i++)
				r = sides[i] ? vec_push(&table->nodes, sides[i]) : 0;
			if (r < 0)
				return r;
		}
		r = table->found(table->userdata, u64_at(sudog, SUDOG_G), semaphore);
		address = u64_at(sudog, layout->sudog.wait_link);
	}
	return r;
}

static int visit_all(struct table *table, uint64_t root)
{
	int r;

	table->nodes.n = 0;
	r = vec_push(&table->nodes, root);
	while (table->nodes.n && table->left && !r) {
		uint64_t node = table->nodes.at[--table->nodes.n];

		r = visit(table, node);
	}
	return r;
}

int go_waits_table(struct go_process *process, size_t max, int (*found)(void *userdata, uint64_t goroutine, uint64_t semaphore), void *userdata)
{
	struct table table = { .process = process, .left = max, .found = found, .userdata = userdata };
	uint8_t roots[N_ROOTS * ROOT_SIZE];
	uint64_t variable;
	int r;

	if (!go_process_variable(process, GO_SEMAPHORES, &variable))
		return 0;
	r = go_memory_read(go_process_memory(process), variable, roots, sizeof(roots));
	if (r < 0)
		return r == -E2BIG ? r : 0;
	for (size_t i = 0; i < N_ROOTS && !r; i++) {
		uint64_t root = u64_at(roots, i * ROOT_SIZE + ROOT_TREAP);

		if (root)
			r = visit_all(&table, root);
	}
	vec_deinit(&table.nodes);
	return r;
}
