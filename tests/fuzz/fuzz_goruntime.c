/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Go process that writes into its own runtime: the first byte is its version, what follows are writes into the memory of one that is
 * right: where (3 bytes, of which the highest bit says that what is written is a pointer into that memory), and 8 bytes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "../unit/goruntime/made_process.h"
#include "cleanup.h"
#include "go_buckets.h"
#include "go_goroutines.h"
#include "go_reach.h"
#include "go_stats.h"
#include "go_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Everything that was read must be where it says: these are the sums that the sanitizers look at. */
static uint64_t use(const struct go_goroutines *all)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < all->all.n; i++) {
		const struct go_goroutine *g = &all->all.at[i];

		for (size_t j = 0; j < g->n_frames; j++)
			sum += all->frames.at[g->first_frame + j];
		for (size_t j = 0; j < g->n_waits; j++)
			if (all->waits.all.at[g->first_wait + j].kind >= GO_WAIT_N_KINDS)
				abort();
		for (size_t j = 0; j < g->n_labels; j++) {
			const struct go_label *label = &all->labels.all.at[g->first_label + j];

			sum += strlen(all->labels.text.at + label->key) + strlen(all->labels.text.at + label->value);
		}
		if (g->n_waits > GO_WAITS_MAX || g->n_labels > GO_LABELS_MAX || g->status >= GO_N_STATUS)
			abort();
	}
	return sum;
}

/* Whatever the heap says of itself: within the bytes that may be read, and what is told is of who was asked for. */
static void search(struct made_process *made, const struct go_goroutines *goroutines)
{
	const struct go_reach_region regions[] = { { MADE_MEMORY, MADE_MEMORY + MADE_GS_AT }, { MADE_MEMORY + MADE_BUCKETS_AT, MADE_MEMORY + MADE_MEMORY_SIZE } };
	const uint64_t objects[] = { made_channel(0), made_channel(1), made_channel(2), MADE_MEMORY + 0x3f00 };
	struct go_reach_options options = { .goroutines = goroutines, .objects = objects, .n_objects = ARRAY_SIZE(objects), .regions = regions,
		.n_regions = ARRAY_SIZE(regions) };
	struct go_reach reach = { 0 };

	if (!go_reach_find(made->process, &options, &reach))
		for (size_t i = 0; i < reach.ways.n; i++) {
			bool is_asked = false;

			for (size_t j = 0; j < ARRAY_SIZE(objects); j++)
				is_asked |= reach.ways.at[i].object == objects[j];
			if (!is_asked)
				abort();
		}
	go_reach_deinit(&reach);
}

static void read_everything(struct made_process *made)
{
	struct go_goroutines goroutines = { 0 };
	struct go_buckets buckets = { 0 };
	struct go_stats stats;
	FILE *nowhere;
	volatile uint64_t sum;

	if (!go_goroutines_read(made->process, &(struct go_goroutines_options){ .max = 1 << 16 }, &goroutines)) {
		sum = use(&goroutines);
		(void)sum;
		nowhere = fopen("/dev/null", "we");
		if (!nowhere)
			abort();
		go_text_write(made->process, &goroutines, 1, nowhere);
		fclose(nowhere);
		search(made, &goroutines);
	}
	go_goroutines_deinit(&goroutines);
	for (int kind = GO_BUCKETS_MEMORY; kind <= GO_BUCKETS_MUTEX; kind++) {
		go_buckets_read(made->process, (enum go_buckets_kind)kind, &buckets);
		for (size_t i = 0; i < buckets.all.n; i++) {
			int64_t count = (int64_t)buckets.all.at[i].memory.allocs, bytes = (int64_t)buckets.all.at[i].memory.alloc_bytes;

			go_buckets_scale(buckets.rate, &count, &bytes);
		}
		go_buckets_deinit(&buckets);
	}
	go_buckets_cycles_per_second(made->process);
	go_stats_read(made->process, &stats);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char version[16];
	struct made_process *made;

	snprintf(version, sizeof(version), "go1.%u.1", 18 + (size ? data[0] % 12 : 0));
	made = made_process_new(version);
	for (size_t i = 1; i + 11 <= size; i += 11) {
		uint32_t where = data[i] | (uint32_t)data[i + 1] << 8 | (uint32_t)data[i + 2] << 16;
		uint64_t value;

		memcpy(&value, data + i + 3, sizeof(value));
		made_put(made, MADE_MEMORY + where % (sizeof(made->bytes) - sizeof(value)),
			where >> 23 ? MADE_MEMORY + value % sizeof(made->bytes) : value);
	}
	if (!made_process_open(made, NULL))
		read_everything(made);
	/* Whose module data is damaged is refused above: the rest of it has to be read, too. */
	go_process_free(made->process);
	made->process = NULL;
	made_module(made);
	made_put(made, made_variable(GO_FIRST_MODULE) + made->layout->module.next, 0);
	made->memory.left_bytes = 64 << 20;
	if (made_process_open(made, NULL))
		abort();
	read_everything(made);
	made_process_free(made);
	return 0;
}
