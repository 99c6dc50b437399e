/* SPDX-License-Identifier: Apache-2.0 */
#include "go_reach.h"

#include <errno.h>
#include <string.h>

#include "cleanup.h"
#include "go_goroutines.h"
#include "go_process.h"
#include "map.h"

enum {
	PAGE_SHIFT = 13, PAGE = 1 << PAGE_SHIFT, /* runtime.pageSize */
	ARENA_SHIFT = 26,                    /* heapArenaBytes of linux/amd64: 64 MiB */
	CHUNK = 256 << 10,
	SPAN_START = 24, SPAN_PAGES = 32, SPAN_CLASS = 98, SPAN_STATE = 99, SPAN_ELEMENT = 104, SPAN_SIZE = 128,
	SHIFT_121 = 8,
	SPAN_IN_USE = 1, CLASS_NO_POINTERS = 1,
	MIN_SUDOG = 80, MAX_SUDOG = 128,
	MAX_ROUNDS = 64,
	KERNEL_PAGE_SHIFT = 12, KERNEL_PAGE = 1 << KERNEL_PAGE_SHIFT,
	WINDOW = 512,                        /* pages looked up at once: 2 MiB */
	MANY_PAGES = 16 * KERNEL_PAGE,       /* a stack of less is read without looking */
	FILTER_BITS = 20,                    /* a bit for each page, up to 8 GiB without sharing */
	MAX_TRIES = 10,                      /* at a list of spans that agrees with itself */
	N_LOOKED_AT = 16,                    /* spans, before a slice is believed to be the one of them all */
	ROOT = 0,                            /* node */
	MAX_STEPS = 1 << 24,
	MAX_EDGES = 1 << 23, MAX_DIRECT = 1 << 21,
	MAX_PAGES = 1 << 26,                 /* 512 GiB in use */
};

struct span {
	uint64_t start, end, element;
	bool has_pointers;
};

struct stack {
	uint64_t start, end;
	uint32_t goroutine;                  /* index */
};

/* An object of the heap, or a goroutine, or all the rest. */
struct node {
	uint64_t start, end;
	bool is_reached;                     /* by the rest: nothing more is to be known of it */
};

struct edge {
	uint32_t from, to;                   /* nodes; a goroutine is node 1 + its index */
};

struct search {
	struct go_process *process;
	struct go_memory *memory;
	const struct go_reach_options *options;
	struct go_reach *ret;
	const char *why;
	VEC(struct span) spans;              /* in use, by address */
	VEC(uint64_t) span_records;          /* addresses of the runtime's mspans, sorted */
	VEC(uint64_t) arenas;                /* numbers, sorted */
	VEC(struct stack) stacks;
	struct map goroutines;               /* address of its g -> its index */
	VEC(uint64_t) objects;               /* sorted */
	VEC(uint32_t) object_nodes;
	VEC(struct node) nodes;
	struct map numbers;                  /* start of an object -> its node */
	VEC(struct edge) edges;
	VEC(uint32_t) wanted;                /* nodes that this round looks for, by address */
	VEC(uint32_t) found;                 /* nodes that the next one will */
	uint64_t low, high;                  /* of wanted */
	bool has_too_many_direct;
	uint64_t *filter;
	uint8_t *chunk;
	bool has_window;
	uint64_t window_at;                  /* its first page, by number, / WINDOW */
	uint64_t window[WINDOW];             /* entries of pagemap */
};

static uint64_t u64_at(const uint8_t *bytes, size_t offset)
{
	uint64_t value;

	memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

static int unknown(struct search *s, const char *why)
{
	s->why = why;
	return GO_REACH_E_UNKNOWN;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The last of `at` that is not above `value`; n: none. */
static size_t find_u64(const uint64_t *at, size_t n, uint64_t value)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (at[middle] <= value)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? low - 1 : n;
}

static int read_memory(struct search *s, uint64_t address, void *to, size_t size)
{
	s->ret->n_bytes += size;
	return go_memory_read(s->memory, address, to, size);
}

/* --- the heap ------------------------------------------------------------------------------------------------- */

static size_t span_shift(const struct search *s)
{
	return go_process_version(s->process).minor == 21 ? SHIFT_121 : 0;
}

static int read_span(struct search *s, uint64_t address, struct span *ret, bool *ret_is_in_use)
{
	uint8_t bytes[SPAN_SIZE];
	size_t shift = span_shift(s);
	uint64_t pages;
	int r = read_memory(s, address, bytes, sizeof(bytes));

	if (r < 0)
		return r;
	pages = u64_at(bytes, SPAN_PAGES);
	ret->start = u64_at(bytes, SPAN_START);
	ret->end = ret->start + (pages << PAGE_SHIFT);
	ret->element = u64_at(bytes, SPAN_ELEMENT + shift);
	ret->has_pointers = !(bytes[SPAN_CLASS + shift] & CLASS_NO_POINTERS);
	*ret_is_in_use = bytes[SPAN_STATE + shift] == SPAN_IN_USE;
	/* One that is free has whatever it had. */
	if (ret->start % PAGE || pages >= UINT64_C(1) << 32 || bytes[SPAN_STATE + shift] > 2)
		return -EBADMSG;
	if (*ret_is_in_use && (!pages || !ret->start || ret->element < 8 || ret->element > ret->end - ret->start))
		return -EBADMSG;
	return 0;
}

static bool is_slice_of_spans(struct search *s, const uint64_t *slice)
{
	uint64_t pointers[N_LOOKED_AT];
	size_t n_in_use = 0;

	if (slice[1] < N_LOOKED_AT || slice[1] > slice[2] || slice[2] > GO_REACH_MAX_SPANS || slice[0] % 8 || slice[0] < PAGE ||
	    slice[0] >= UINT64_C(1) << 47)
		return false;
	if (read_memory(s, slice[0], pointers, sizeof(pointers)) < 0)
		return false;
	for (size_t i = 0; i < N_LOOKED_AT; i++) {
		struct span span;
		bool is_in_use;

		if (read_span(s, pointers[i], &span, &is_in_use) < 0)
			return false;
		n_in_use += is_in_use;
	}
	return n_in_use > N_LOOKED_AT / 4;
}

/* runtime.mheap_.allspans: of all that the program's data has nothing else looks like it. */
static int find_all_spans(struct search *s, uint64_t *ret_slice)
{
	uint64_t start, end, slice[3];

	go_process_data(s->process, &start, &end);
	for (uint64_t at = start; at + sizeof(slice) <= end; at += CHUNK - sizeof(slice)) {
		size_t size = MIN(end - at, (uint64_t)CHUNK);

		if (read_memory(s, at, s->chunk, size) < 0)
			return -EFAULT;
		for (size_t i = 0; i + sizeof(slice) <= size; i += 8) {
			memcpy(slice, s->chunk + i, sizeof(slice));
			if (!is_slice_of_spans(s, slice))
				continue;
			memcpy(ret_slice, slice, sizeof(slice));
			return 0;
		}
	}
	return unknown(s, "the list of spans was not found");
}

static int compare_spans(const void *a, const void *b)
{
	return compare_u64(&((const struct span *)a)->start, &((const struct span *)b)->start);
}

static int try_spans(struct search *s)
{
	uint64_t slice[3], n_pages = 0;
	int r = find_all_spans(s, slice);

	if (r)
		return r;
	s->spans.n = s->span_records.n = s->arenas.n = 0;
	if (vec_reserve(&s->span_records, slice[1]) < 0)
		return -ENOMEM;
	r = read_memory(s, slice[0], s->span_records.at, slice[1] * sizeof(uint64_t));
	if (r < 0)
		return r;
	s->span_records.n = slice[1];
	vec_sort(&s->span_records, compare_u64);
	for (size_t i = 0; i < s->span_records.n; i++) {
		struct span span;
		bool is_in_use;
		uint64_t arena;

		r = read_span(s, s->span_records.at[i], &span, &is_in_use);
		if (r == -E2BIG)
			return r;
		if (r < 0)
			return unknown(s, "a span is not as we know them");
		arena = span.start >> ARENA_SHIFT;
		/* The record of one that was given back has no place. */
		if ((is_in_use && vec_push(&s->spans, span) < 0) || (arena && vec_push(&s->arenas, arena) < 0))
			return -ENOMEM;
	}
	vec_sort(&s->spans, compare_spans);
	vec_sort(&s->arenas, compare_u64);
	for (size_t i = 0; i < s->spans.n; i++)
		n_pages += (s->spans.at[i].end - s->spans.at[i].start) >> PAGE_SHIFT;
	if (n_pages > MAX_PAGES)
		return unknown(s, "the heap is larger than any");
	for (size_t i = 1; i < s->spans.n; i++)
		if (s->spans.at[i].start < s->spans.at[i - 1].end)
			return unknown(s, "spans overlap");
	return 0;
}

/* Under load memory is given back and taken anew while the list is read: what was part of one span is part of another one. */
static int read_spans(struct search *s)
{
	int r = GO_REACH_E_UNKNOWN;

	for (int i = 0; i < MAX_TRIES && r == GO_REACH_E_UNKNOWN; i++)
		r = try_spans(s);
	return r;
}

static const struct span *find_span(const struct search *s, uint64_t address)
{
	size_t low = 0, high = s->spans.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->spans.at[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low && address < s->spans.at[low - 1].end ? &s->spans.at[low - 1] : NULL;
}

static uint64_t object_of(const struct span *span, uint64_t address)
{
	return address - (address - span->start) % span->element;
}

/* --- goroutines ----------------------------------------------------------------------------------------------- */

static int add_goroutines(struct search *s)
{
	const struct go_goroutines *goroutines = s->options->goroutines;
	uint64_t bounds[2];
	void *value;

	for (uint32_t i = 0; i < goroutines->all.n; i++) {
		const struct go_goroutine *g = &goroutines->all.at[i];
		const struct span *span = find_span(s, g->address);
		bool is_at_rest = g->status == GO_WAITING || g->status == GO_LEAKED;
		struct stack stack = { .goroutine = i };
		int r = read_memory(s, g->address, bounds, sizeof(bounds));

		if (r < 0)
			return r;
		/* Each g is an object of the heap: were the spans anything else, this would not hold. */
		if (!span || object_of(span, g->address) != g->address)
			return unknown(s, "a goroutine is not in the heap");
		stack.start = is_at_rest && g->sp >= bounds[0] && g->sp < bounds[1] ? g->sp : bounds[0];
		stack.end = bounds[1];
		if (stack.end < stack.start || stack.end - stack.start > UINT64_C(1) << 32)
			return unknown(s, "a goroutine has no stack");
		if (vec_push(&s->stacks, stack) < 0 || map_put(&s->goroutines, &g->address, &value) < 0)
			return -ENOMEM;
		*(uint32_t *)value = i;
	}
	return 0;
}

/* --- nodes ---------------------------------------------------------------------------------------------------- */

/* ROOT when there are too many. */
static int add_node(struct search *s, const struct span *span, uint64_t start, uint32_t *ret)
{
	const uint32_t *known = map_get(&s->numbers, &start);
	struct node node = { .start = start, .end = start + span->element };
	void *value;

	if (known) {
		*ret = *known;
		return 0;
	}
	*ret = ROOT;
	if (s->ret->n_nodes >= GO_REACH_MAX_NODES) {
		s->ret->is_cut = true;
		return 0;
	}
	*ret = (uint32_t)s->nodes.n;
	if (map_put(&s->numbers, &start, &value) < 0 || vec_push(&s->nodes, node) < 0 || vec_push(&s->found, *ret) < 0)
		return -ENOMEM;
	*(uint32_t *)value = *ret;
	s->ret->n_nodes++;
	return 0;
}

static int add_objects(struct search *s)
{
	size_t n = 0;

	if (vec_append(&s->objects, s->options->objects, s->options->n_objects) < 0)
		return -ENOMEM;
	vec_sort(&s->objects, compare_u64);
	for (size_t i = 0; i < s->objects.n; i++)
		if (!i || s->objects.at[i] != s->objects.at[n - 1])
			s->objects.at[n++] = s->objects.at[i];
	s->objects.n = n;
	for (size_t i = 0; i < n; i++) {
		const struct span *span = find_span(s, s->objects.at[i]);
		uint32_t node = ROOT;

		/* A global variable, or of C: whoever knows it needs no pointer. */
		if (span && add_node(s, span, object_of(span, s->objects.at[i]), &node) < 0)
			return -ENOMEM;
		if (vec_push(&s->object_nodes, node) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_way(struct search *s, uint64_t object, uint64_t goroutine, bool is_direct)
{
	return vec_push(&s->ret->ways, ((struct go_reach_way){ object, goroutine, is_direct }));
}

/* --- one round ------------------------------------------------------------------------------------------------ */

static int compare_wanted(const void *a, const void *b, void *userdata)
{
	const struct search *s = userdata;

	return compare_u64(&s->nodes.at[*(const uint32_t *)a].start, &s->nodes.at[*(const uint32_t *)b].start);
}

static void begin_round(struct search *s)
{
	s->wanted.n = 0;
	for (size_t i = 0; i < s->found.n; i++)
		if (!s->nodes.at[s->found.at[i]].is_reached)
			s->wanted.at[s->wanted.n++] = s->found.at[i];
	s->found.n = 0;
	memset(s->filter, 0, (size_t)1 << (FILTER_BITS - 3));
	if (!s->wanted.n)
		return;
	qsort_r(s->wanted.at, s->wanted.n, sizeof(uint32_t), compare_wanted, s);
	s->low = s->nodes.at[s->wanted.at[0]].start;
	s->high = s->nodes.at[s->wanted.at[s->wanted.n - 1]].end;
	for (size_t i = 0; i < s->wanted.n; i++) {
		const struct node *node = &s->nodes.at[s->wanted.at[i]];

		for (uint64_t page = node->start >> PAGE_SHIFT; page <= (node->end - 1) >> PAGE_SHIFT; page++)
			s->filter[(page & ((1 << FILTER_BITS) - 1)) / 64] |= UINT64_C(1) << page % 64;
	}
}

static bool may_be_wanted(const struct search *s, uint64_t word)
{
	uint64_t page = word >> PAGE_SHIFT;

	return word >= s->low && word < s->high && s->filter[(page & ((1 << FILTER_BITS) - 1)) / 64] >> page % 64 & 1;
}

/* ROOT: none of them. */
static uint32_t find_wanted(const struct search *s, uint64_t word)
{
	size_t low = 0, high = s->wanted.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->nodes.at[s->wanted.at[middle]].start <= word)
			low = middle + 1;
		else
			high = middle;
	}
	return low && word < s->nodes.at[s->wanted.at[low - 1]].end ? s->wanted.at[low - 1] : (uint32_t)ROOT;
}

static int add_edge(struct search *s, uint32_t from, uint32_t to)
{
	if (from == ROOT) {
		s->nodes.at[to].is_reached = true;
		return 0;
	}
	/* The same pointer again and again, as stacks have them. */
	if (s->edges.n && s->edges.at[s->edges.n - 1].from == from && s->edges.at[s->edges.n - 1].to == to)
		return 0;
	if (s->edges.n == MAX_EDGES) {
		s->ret->is_cut = true;
		return add_edge(s, ROOT, to);
	}
	return vec_push(&s->edges, ((struct edge){ from, to }));
}

struct source {
	const struct span *span;             /* NULL: no heap */
	uint64_t start, end;
	uint32_t node;                       /* of no heap: who has it */
};

/* Where in the heap a pointer was found: an object that is to be looked for in turn, or a goroutine, or what is not followed. */
static int add_container(struct search *s, const struct source *source, uint64_t address, const uint8_t *bytes, uint32_t to)
{
	uint64_t start = object_of(source->span, address), first;
	const uint32_t *goroutine = map_get(&s->goroutines, &start);
	uint32_t from;

	if (start == s->nodes.at[to].start)
		return 0;
	if (goroutine)
		return add_edge(s, 1 + *goroutine, to);
	if (source->span->element >= MIN_SUDOG && source->span->element <= MAX_SUDOG && address - start <= (uint64_t)(bytes - s->chunk)) {
		first = u64_at(bytes - (address - start), 0);
		if (map_get(&s->goroutines, &first))
			return 0;
	}
	if (add_node(s, source->span, start, &from) < 0)
		return -ENOMEM;
	return s->nodes.at[from].is_reached ? add_edge(s, ROOT, to) : add_edge(s, from, to);
}

/* The runtime's mspans know the first object of each span. */
static bool is_span_record(const struct search *s, uint64_t address)
{
	size_t i = find_u64(s->span_records.at, s->span_records.n, address);

	return i < s->span_records.n && address - s->span_records.at[i] < SPAN_SIZE + 32;
}

static int take_word(struct search *s, const struct source *source, uint64_t address, const uint8_t *bytes, uint64_t word)
{
	uint32_t to = find_wanted(s, word);

	if (to == ROOT || s->nodes.at[to].is_reached)
		return 0;
	if (source->span)
		return add_container(s, source, address, bytes, to);
	if (source->node == ROOT && is_span_record(s, address))
		return 0;
	return add_edge(s, source->node, to);
}

/* RWMutex: its Mutex is first, with its semaphore at 4; writerSem is at 8, readerSem at 12. */
static int take_direct(struct search *s, const struct source *source, uint64_t word)
{
	enum { BEFORE = 12 };
	size_t i = find_u64(s->objects.at, s->objects.n, word + BEFORE);

	if (i == s->objects.n || s->objects.at[i] < word)
		return 0;
	if (s->ret->ways.n == MAX_DIRECT) {
		s->has_too_many_direct = s->ret->is_cut = true;
		return 0;
	}
	return add_way(s, s->objects.at[i], s->options->goroutines->all.at[source->node - 1].id, true);
}

/* From `offset` to `end` of what is read from `at` on. */
static int search_chunk(struct search *s, const struct source *source, uint64_t at, size_t offset, size_t end)
{
	bool is_direct = !s->ret->n_rounds; /* before the first one: stacks alone */
	int r = 0;

	for (size_t i = offset; i + 8 <= end && r >= 0; i += 8) {
		uint64_t word = u64_at(s->chunk, i);

		if (is_direct && word >= PAGE)
			r = take_direct(s, source, word);
		if (r >= 0 && may_be_wanted(s, word))
			r = take_word(s, source, at + i, s->chunk + i, word);
	}
	return r;
}

/* --- pages that were never touched ----------------------------------------------------------------------------- */

/* Present, or swapped; or it is not known. */
static bool is_touched(struct search *s, uint64_t address)
{
	enum { SWAPPED_BIT = 62 };           /* and PRESENT is 63 */
	uint64_t page = address >> KERNEL_PAGE_SHIFT;

	if (!s->options->pagemap)
		return true;
	if (!s->has_window || s->window_at != page / WINDOW) {
		s->has_window = true;
		s->window_at = page / WINDOW;
		if (go_memory_read(s->options->pagemap, s->window_at * sizeof(s->window), s->window, sizeof(s->window)) < 0)
			memset(s->window, 0xff, sizeof(s->window));
	}
	return s->window[page % WINDOW] >> SWAPPED_BIT;
}

static bool has_untouched(const struct source *source)
{
	return source->span || source->node == ROOT || source->end - source->start >= MANY_PAGES;
}

/* Where what begins at `at` ends: pages that are all touched, or all not. */
static uint64_t end_of_run(struct search *s, const struct source *source, uint64_t at, uint64_t end, bool *ret_is_touched)
{
	uint64_t next = at;

	*ret_is_touched = true;
	/* No process has memory so high: who says so lies, and the next page may be the first one. */
	if (!has_untouched(source) || end > UINT64_C(1) << 63)
		return end;
	*ret_is_touched = is_touched(s, at);
	do
		next = (next | (KERNEL_PAGE - 1)) + 1;
	while (next < end && is_touched(s, next) == *ret_is_touched);
	return MIN(next, end);
}

/* -E2BIG, -ENOMEM. */
static int search_piece(struct search *s, const struct source *source, uint64_t start, size_t size)
{
	bool is_read;
	int r;

	for (uint64_t at = start, next; at < start + size; at = next) {
		size_t offset = at - start, end;

		next = end_of_run(s, source, at, start + size, &is_read);
		end = next - start;
		if (!is_read) {
			/* Where what follows looks for the beginning of its object. */
			memset(s->chunk + offset, 0, source->span ? end - offset : 0);
			continue;
		}
		r = read_memory(s, at, s->chunk + offset, end - offset);
		if (r == -E2BIG)
			return r;
		/* Unmapped meanwhile: nothing has it any more. Of a mapping that cannot be read: a device's. */
		if (r >= 0)
			r = search_chunk(s, source, start, offset, end);
		if (r == -ENOMEM)
			return r;
	}
	return 0;
}

static int search_source(struct search *s, const struct source *source)
{
	/* In whole objects, so that each one's first word is there. */
	uint64_t step = source->span && source->span->element <= CHUNK ? CHUNK / source->span->element * source->span->element : CHUNK;
	int r;

	for (uint64_t at = source->start; at < source->end; at += step) {
		r = search_piece(s, source, at, MIN(source->end - at, step));
		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_of_heap(const struct search *s, uint64_t address)
{
	size_t i = find_u64(s->arenas.at, s->arenas.n, address >> ARENA_SHIFT);

	return i < s->arenas.n && s->arenas.at[i] == address >> ARENA_SHIFT;
}

static int search_region(struct search *s, const struct go_reach_region *region)
{
	int r = 0;

	for (uint64_t at = region->start, next; at < region->end && r >= 0; at = next) {
		next = MIN(region->end, ((at >> ARENA_SHIFT) + 1) << ARENA_SHIFT);
		if (!is_of_heap(s, at))
			r = search_source(s, &(struct source){ .start = (at + 7) & ~UINT64_C(7), .end = next, .node = ROOT });
	}
	return r;
}

static int search_stacks(struct search *s)
{
	int r = 0;

	for (size_t i = 0; i < s->stacks.n && r >= 0; i++)
		r = search_source(s, &(struct source){ .start = s->stacks.at[i].start, .end = s->stacks.at[i].end,
				.node = 1 + s->stacks.at[i].goroutine });
	return r;
}

static int search_all(struct search *s)
{
	int r;

	s->ret->n_rounds++;
	s->has_window = false;
	r = search_stacks(s);
	for (size_t i = 0; i < s->options->n_regions && r >= 0; i++)
		r = search_region(s, &s->options->regions[i]);
	for (size_t i = 0; i < s->spans.n && r >= 0; i++)
		if (s->spans.at[i].has_pointers)
			r = search_source(s, &(struct source){ .span = &s->spans.at[i], .start = s->spans.at[i].start, .end = s->spans.at[i].end });
	return r;
}

/* --- what follows --------------------------------------------------------------------------------------------- */

static int compare_edges(const void *left, const void *right)
{
	const struct edge *a = left, *b = right;

	if (a->from != b->from)
		return a->from < b->from ? -1 : 1;
	return a->to < b->to ? -1 : a->to > b->to;
}

static size_t first_edge(const struct search *s, uint32_t from)
{
	size_t low = 0, high = s->edges.n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->edges.at[middle].from < from)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct walk {
	uint32_t *seen;                      /* by node: the walk that met it last */
	uint32_t *queue;
	size_t n_queued, n_steps;
};

static void walk_from(struct search *s, struct walk *walk, uint32_t mark)
{
	for (size_t i = 0; i < walk->n_queued; i++)
		for (size_t j = first_edge(s, walk->queue[i]); j < s->edges.n && s->edges.at[j].from == walk->queue[i]; j++) {
			uint32_t to = s->edges.at[j].to;

			walk->n_steps++;
			if (walk->seen[to] == mark || s->nodes.at[to].is_reached)
				continue;
			walk->seen[to] = mark;
			walk->queue[walk->n_queued++] = to;
		}
}

/* What the rest reaches is reached: nobody's way to it matters. */
static void spread_reached(struct search *s, struct walk *walk)
{
	walk->n_queued = 0;
	for (uint32_t i = 0; i < s->nodes.n; i++)
		if (s->nodes.at[i].is_reached)
			walk->queue[walk->n_queued++] = i;
	walk_from(s, walk, 1);
	for (size_t i = 0; i < walk->n_queued; i++)
		s->nodes.at[walk->queue[i]].is_reached = true;
}

static int add_ways_of(struct search *s, struct walk *walk, uint32_t goroutine, const struct map *objects_of)
{
	uint32_t mark = 2 + goroutine;
	int r = 0;

	walk->queue[0] = 1 + goroutine;
	walk->n_queued = 1;
	walk_from(s, walk, mark);
	for (size_t i = 1; i < walk->n_queued && r >= 0; i++) {
		const uint32_t *first = map_get(objects_of, &s->nodes.at[walk->queue[i]].start);
		uint64_t end = s->nodes.at[walk->queue[i]].end;

		for (size_t j = first ? *first : s->objects.n; j < s->objects.n && s->objects.at[j] < end && r >= 0; j++) {
			r = add_way(s, s->objects.at[j], s->options->goroutines->all.at[goroutine].id, false);
			walk->n_steps++;
		}
	}
	return r;
}

static int add_ways_with(struct search *s, struct walk *walk, struct map *objects_of)
{
	void *value;
	int r = 0;

	if (!walk->seen || !walk->queue)
		return -ENOMEM;
	vec_sort(&s->edges, compare_edges);
	spread_reached(s, walk);
	for (size_t i = s->objects.n; i-- > 0 && r >= 0; ) {
		r = map_put(objects_of, &s->nodes.at[s->object_nodes.at[i]].start, &value);
		if (r >= 0)
			*(uint32_t *)value = (uint32_t)i;
	}
	for (uint32_t i = 0; i < s->options->goroutines->all.n && r >= 0 && walk->n_steps < MAX_STEPS; i++)
		r = add_ways_of(s, walk, i, objects_of);
	if (walk->n_steps >= MAX_STEPS)
		s->ret->is_cut = true;
	for (size_t i = 0; i < s->objects.n && r >= 0; i++)
		if (s->nodes.at[s->object_nodes.at[i]].is_reached || walk->n_steps >= MAX_STEPS)
			r = add_way(s, s->objects.at[i], 0, false);
	return r;
}

static int add_ways(struct search *s)
{
	_cleanup_free_ uint32_t *seen = calloc(s->nodes.n + 1, sizeof(*seen));
	_cleanup_free_ uint32_t *queue = calloc(s->nodes.n + 1, sizeof(*queue));
	struct map objects_of;
	int r;

	map_init(&objects_of, sizeof(uint64_t), sizeof(uint32_t));
	r = add_ways_with(s, &(struct walk){ .seen = seen, .queue = queue }, &objects_of);
	map_deinit(&objects_of);
	return r;
}

static int run(struct search *s)
{
	unsigned int max_rounds = s->options->max_rounds ? s->options->max_rounds : MAX_ROUNDS;
	int r;

	s->filter = malloc((size_t)1 << (FILTER_BITS - 3));
	s->chunk = malloc(CHUNK);
	if (!s->filter || !s->chunk)
		return -ENOMEM;
	r = read_spans(s);
	if (!r)
		r = add_goroutines(s);
	if (r)
		return r;
	for (size_t i = 0; i <= s->options->goroutines->all.n; i++)
		if (vec_push(&s->nodes, ((struct node){ .is_reached = i == ROOT })) < 0)
			return -ENOMEM;
	r = add_objects(s);
	memset(s->filter, 0, (size_t)1 << (FILTER_BITS - 3));
	if (!r)
		r = search_stacks(s);
	while (!r && s->found.n) {
		if (vec_reserve(&s->wanted, s->found.n) < 0)
			return -ENOMEM;
		begin_round(s);
		if (s->ret->n_rounds == max_rounds) {
			/* Who reaches these is not known: anybody. */
			s->ret->is_cut |= s->wanted.n > 0;
			for (size_t i = 0; i < s->wanted.n; i++)
				s->nodes.at[s->wanted.at[i]].is_reached = true;
			break;
		}
		if (s->wanted.n)
			r = search_all(s);
	}
	/* Who has been left out may be the one who can go on. */
	for (size_t i = 0; s->has_too_many_direct && i < s->ret->ways.n; i++)
		s->ret->ways.at[i].is_direct = false;
	if (!r)
		r = add_ways(s);
	return r ? r : vec_append(&s->ret->objects, s->objects.at, s->objects.n);
}

int go_reach_find(struct go_process *process, const struct go_reach_options *options, struct go_reach *ret)
{
	struct search s = { .process = process, .memory = go_process_memory(process), .options = options, .ret = ret };
	int r;

	map_init(&s.goroutines, sizeof(uint64_t), sizeof(uint32_t));
	map_init(&s.numbers, sizeof(uint64_t), sizeof(uint32_t));
	r = run(&s);
	if (r == GO_REACH_E_UNKNOWN && options->why)
		*options->why = s.why;
	map_deinit(&s.goroutines);
	map_deinit(&s.numbers);
	vec_deinit(&s.spans);
	vec_deinit(&s.span_records);
	vec_deinit(&s.arenas);
	vec_deinit(&s.stacks);
	vec_deinit(&s.objects);
	vec_deinit(&s.object_nodes);
	vec_deinit(&s.nodes);
	vec_deinit(&s.edges);
	vec_deinit(&s.wanted);
	vec_deinit(&s.found);
	free(s.filter);
	free(s.chunk);
	if (r)
		go_reach_deinit(ret);
	return r;
}

void go_reach_deinit(struct go_reach *reach)
{
	vec_deinit(&reach->ways);
	vec_deinit(&reach->objects);
}
