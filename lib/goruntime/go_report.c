/* SPDX-License-Identifier: Apache-2.0 */
#include "go_report.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "cleanup.h"
#include "reader.h"

/*
 * One function for each structure serves both ways, so that they cannot differ: it names the members in their order, and the
 * codec writes each or reads each. A new member is one line there, and one in is_sound_...() if it is an index, a
 * length or an enum. Numbers have the size of the member and are little-endian.
 */
static const uint64_t magic = UINT64_C(0x31306f47746f6f4c); /* LootGo01 */

/* Of a tally, and of all of it together, since it is added up elsewhere: 100,000 goroutines for three hours, in ns. */
#define MAX_TALLY_NUMBER (UINT64_C(1) << 60)

/* Behind all parts: what was cut there is not taken for whole. */
static const uint32_t end_mark = 0x21646e65;

struct codec {
	enum { WRITING, READING, MEASURING } mode;
	FILE *out;
	struct reader in;
	int error;                           /* of reading: GO_REPORT_E_MALFORMED or -ENOMEM */
	size_t n;                            /* bytes of buffer that are not written yet; when measuring: of all */
	uint8_t buffer[4096];
};

/* --- any member ------------------------------------------------------------------------------------------------ */

static bool is_reading(const struct codec *codec)
{
	return codec->mode == READING;
}

static void fail(struct codec *codec, int error)
{
	if (!codec->error)
		codec->error = error;
	reader_fail(&codec->in);
}

static void demand(struct codec *codec, bool condition)
{
	if (is_reading(codec) && !condition)
		fail(codec, GO_REPORT_E_MALFORMED);
}

static void flush(struct codec *codec)
{
	fwrite(codec->buffer, 1, codec->n, codec->out);
	codec->n = 0;
}

/* Some millions of times for large reports: with the size known it is a few instructions. */
__attribute__((always_inline)) static inline void pass(struct codec *codec, void *value, size_t size)
{
	const void *bytes;

	switch (codec->mode) {
	case WRITING:
		if (codec->n + size > sizeof(codec->buffer))
			flush(codec);
		memcpy(codec->buffer + codec->n, value, size);
		codec->n += size;
		break;
	case READING:
		bytes = reader_bytes(&codec->in, size);
		if (bytes)
			memcpy(value, bytes, size);
		else
			fail(codec, GO_REPORT_E_MALFORMED);
		break;
	case MEASURING:
		codec->n += size;
		break;
	}
}

static void pass_u64(struct codec *codec, uint64_t *value)
{
	pass(codec, value, sizeof(*value));
}

static void pass_i64(struct codec *codec, int64_t *value)
{
	pass(codec, value, sizeof(*value));
}

static void pass_u32(struct codec *codec, uint32_t *value)
{
	pass(codec, value, sizeof(*value));
}

static void pass_i32(struct codec *codec, int32_t *value)
{
	pass(codec, value, sizeof(*value));
}

static void pass_character(struct codec *codec, char *value)
{
	pass(codec, value, sizeof(*value));
}

/* Counts and indices: more than four billion of anything are not in a report of GO_REPORT_MAX_SIZE. */
static void pass_size(struct codec *codec, size_t *value)
{
	uint32_t number = (uint32_t)MIN(*value, (size_t)UINT32_MAX);

	pass_u32(codec, &number);
	*value = number;
}

static void pass_bool(struct codec *codec, bool *value)
{
	uint8_t byte = *value;

	pass(codec, &byte, sizeof(byte));
	demand(codec, byte <= 1);
	*value = byte;
}

/* Sums are made of them: neither infinite nor no number. */
static void pass_double(struct codec *codec, double *value)
{
	pass(codec, value, sizeof(*value));
	demand(codec, isfinite(*value));
}

/* Texts come from the process: what they hold in place of letters goes to no terminal and no file. */
static void make_printable(char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			text[i] = '?';
}

/* Of an array of `size` characters, terminated. */
static void pass_text(struct codec *codec, char *text, size_t size)
{
	uint16_t length = (uint16_t)strnlen(text, size - 1);

	pass(codec, &length, sizeof(length));
	demand(codec, length < size);
	if (codec->error)
		return;
	pass(codec, text, length);
	if (is_reading(codec)) {
		text[length] = '\0';
		make_printable(text, length);
	}
}

/*
 * A VEC of anything that `pass_one` passes. What is left of the input has room for as many as are announced, or nothing is
 * allocated: memory is bounded by the size of the input.
 */
#define PASS_VEC(codec, vec, pass_one)                                                             \
	do {                                                                                       \
		struct codec *codec_ = (codec);                                                    \
		size_t n_ = (vec)->n;                                                              \
                                                                                                   \
		pass_size(codec_, &n_);                                                            \
		if (is_reading(codec_)) {                                                          \
			__typeof__(*(vec)->at) least_ = { 0 };                                     \
			struct codec measure_ = { .mode = MEASURING };                             \
                                                                                                   \
			pass_one(&measure_, &least_);                                              \
			demand(codec_, n_ <= reader_left(&codec_->in) / measure_.n);               \
			if (!codec_->error && vec_reserve((vec), n_) < 0)                          \
				fail(codec_, -ENOMEM);                                             \
			if (codec_->error)                                                         \
				break;                                                             \
			if (n_)                                                                    \
				memset((vec)->at, 0, n_ * sizeof(*(vec)->at));                     \
			(vec)->n = n_;                                                             \
		}                                                                                  \
		for (size_t i_ = 0; i_ < n_ && !codec_->error; i_++)                               \
			pass_one(codec_, &(vec)->at[i_]);                                          \
	} while (0)

/* Whether [first, first + n) is inside of `all`. */
static bool is_inside(size_t first, size_t n, size_t all)
{
	return first <= all && n <= all - first;
}

/* --- goroutines ------------------------------------------------------------------------------------------------ */

static void pass_goroutine(struct codec *codec, struct go_goroutine *g)
{
	pass_u64(codec, &g->id);
	pass_u64(codec, &g->parent_id);
	pass_u64(codec, &g->address);
	pass_u64(codec, &g->go_pc);
	pass_u64(codec, &g->start_pc);
	pass_u64(codec, &g->sp);
	pass_u64(codec, &g->wait_since_nsec);
	pass_u64(codec, &g->channel);
	pass_u64(codec, &g->label_set);
	pass_u32(codec, &g->thread);
	pass_u32(codec, &g->status);
	pass_u32(codec, &g->wait_reason);
	pass_u32(codec, &g->verdict);
	pass_bool(codec, &g->is_locked);
	pass_bool(codec, &g->is_system);
	pass_size(codec, &g->first_frame);
	pass_size(codec, &g->n_frames);
	pass_size(codec, &g->first_label);
	pass_size(codec, &g->n_labels);
	pass_size(codec, &g->first_wait);
	pass_size(codec, &g->n_waits);
}

static bool is_sound_goroutine(const struct go_goroutine *g, const struct go_goroutines *goroutines)
{
	return g->status < GO_N_STATUS && g->wait_reason <= UINT8_MAX &&
	       (g->verdict <= GO_STACK_TOO_DEEP || g->verdict == GO_GOROUTINE_RUNNING) &&
	       g->n_frames <= GO_STACK_MAX_FRAMES && is_inside(g->first_frame, g->n_frames, goroutines->frames.n) &&
	       g->n_labels <= GO_LABELS_MAX && is_inside(g->first_label, g->n_labels, goroutines->labels.all.n) &&
	       g->n_waits <= GO_WAITS_MAX && is_inside(g->first_wait, g->n_waits, goroutines->waits.all.n);
}

static void pass_label(struct codec *codec, struct go_label *label)
{
	pass_u32(codec, &label->key);
	pass_u32(codec, &label->value);
}

/* Of the program: any bytes. */
static void pass_labels(struct codec *codec, struct go_labels *labels)
{
	size_t n;

	pass_u64(codec, &labels->n_cut);
	PASS_VEC(codec, &labels->all, pass_label);
	PASS_VEC(codec, &labels->text, pass_character);
	n = labels->text.n;
	/* With a NUL at the end of all texts, each ends where it begins or behind. */
	demand(codec, codec->error || !n || !labels->text.at[n - 1]);
	for (size_t i = 0; is_reading(codec) && i < labels->all.n; i++)
		demand(codec, labels->all.at[i].key < n && labels->all.at[i].value < n);
}

static void pass_wait(struct codec *codec, struct go_wait *wait)
{
	pass_u64(codec, &wait->address);
	pass_u32(codec, &wait->kind);
	demand(codec, wait->kind < GO_WAIT_N_KINDS);
}

static void pass_waits(struct codec *codec, struct go_waits *waits)
{
	pass_u64(codec, &waits->n_cut);
	PASS_VEC(codec, &waits->all, pass_wait);
}

static void pass_wait_reasons(struct codec *codec, char texts[GO_WAIT_REASONS_MAX][GO_WAIT_REASON_LENGTH], size_t *n)
{
	pass_size(codec, n);
	demand(codec, *n <= GO_WAIT_REASONS_MAX);
	for (size_t i = 0; !codec->error && i < *n; i++)
		pass_text(codec, texts[i], GO_WAIT_REASON_LENGTH);
}

static void check_goroutines(struct codec *codec, struct go_goroutines *goroutines)
{
	demand(codec, goroutines->all.n <= GO_GOROUTINES_MAX);
	for (size_t i = 0; i < goroutines->all.n && !codec->error; i++) {
		struct go_goroutine *g = &goroutines->all.at[i];

		demand(codec, is_sound_goroutine(g, goroutines));
		/* One without a text; the first has none ever. */
		if (g->wait_reason >= goroutines->n_wait_reasons)
			g->wait_reason = 0;
	}
}

static void pass_goroutines(struct codec *codec, struct go_goroutines *goroutines)
{
	pass_u64(codec, &goroutines->n_retried);
	pass_u64(codec, &goroutines->n_restless);
	pass_u64(codec, &goroutines->n_unread);
	pass_u64(codec, &goroutines->n_seen);
	pass_u64(codec, &goroutines->n_dead);
	pass_u64(codec, &goroutines->n_broken);
	pass_u64(codec, &goroutines->n_unknown_labels);
	/* They are added up elsewhere. */
	demand(codec, goroutines->n_seen <= GO_GOROUTINES_MAX && goroutines->n_retried <= GO_GOROUTINES_MAX &&
			goroutines->n_restless <= GO_GOROUTINES_MAX && goroutines->n_unread <= GO_GOROUTINES_MAX &&
			goroutines->n_dead <= GO_GOROUTINES_MAX && goroutines->n_broken <= GO_GOROUTINES_MAX &&
			goroutines->n_unknown_labels <= GO_GOROUTINES_MAX);
	pass_wait_reasons(codec, goroutines->wait_reasons, &goroutines->n_wait_reasons);
	PASS_VEC(codec, &goroutines->frames, pass_u64);
	if (!codec->error)
		pass_labels(codec, &goroutines->labels);
	if (!codec->error)
		pass_waits(codec, &goroutines->waits);
	PASS_VEC(codec, &goroutines->all, pass_goroutine);
	if (is_reading(codec))
		check_goroutines(codec, goroutines);
}

/* --- buckets --------------------------------------------------------------------------------------------------- */

static void pass_memory_bucket(struct codec *codec, struct go_bucket *bucket)
{
	pass_size(codec, &bucket->first_frame);
	pass_size(codec, &bucket->n_frames);
	pass_u64(codec, &bucket->memory.allocs);
	pass_u64(codec, &bucket->memory.frees);
	pass_u64(codec, &bucket->memory.alloc_bytes);
	pass_u64(codec, &bucket->memory.free_bytes);
}

static void pass_block_bucket(struct codec *codec, struct go_bucket *bucket)
{
	pass_size(codec, &bucket->first_frame);
	pass_size(codec, &bucket->n_frames);
	pass_double(codec, &bucket->block.count);
	pass_i64(codec, &bucket->block.cycles);
}

static void pass_buckets(struct codec *codec, struct go_buckets *buckets, enum go_buckets_kind kind)
{
	pass_u64(codec, &buckets->rate);
	PASS_VEC(codec, &buckets->frames, pass_u64);
	if (kind == GO_BUCKETS_MEMORY)
		PASS_VEC(codec, &buckets->all, pass_memory_bucket);
	else
		PASS_VEC(codec, &buckets->all, pass_block_bucket);
	for (size_t i = 0; is_reading(codec) && i < buckets->all.n; i++)
		demand(codec, is_inside(buckets->all.at[i].first_frame, buckets->all.at[i].n_frames, buckets->frames.n));
}

/* --- statistics ------------------------------------------------------------------------------------------------ */

static void pass_stats(struct codec *codec, struct go_stats *stats)
{
	pass_u32(codec, &stats->n_gc);
	pass_u64(codec, &stats->pause_total_nsec);
	pass_size(codec, &stats->n_pauses);
	demand(codec, stats->n_pauses <= GO_STATS_PAUSES);
	for (size_t i = 0; !codec->error && i < stats->n_pauses; i++)
		pass_u64(codec, &stats->pauses_nsec[i]);
	pass_double(codec, &stats->gc_cpu_fraction);
	pass_u64(codec, &stats->last_gc_wall_nsec);
	pass_i64(codec, &stats->gc_percent);
	pass_u64(codec, &stats->memory_limit);
	pass_u64(codec, &stats->heap_live);
	pass_u64(codec, &stats->heap_marked);
	pass_u64(codec, &stats->heap_goal);
	pass_u64(codec, &stats->stacks_in_use);
	pass_bool(codec, &stats->has_heap_bytes);
	pass_u64(codec, &stats->heap_in_use);
	pass_u64(codec, &stats->heap_free);
	pass_u64(codec, &stats->heap_released);
	pass_u64(codec, &stats->mapped);
	pass_u64(codec, &stats->total_alloc);
	pass_u64(codec, &stats->total_free);
	pass_u32(codec, &stats->gomaxprocs);
}

/* --- a tally --------------------------------------------------------------------------------------------------- */

static void pass_tallied(struct codec *codec, struct go_tallied *tallied)
{
	pass_u64(codec, &tallied->nsec);
	pass_u64(codec, &tallied->count);
	pass_u32(codec, &tallied->n_least);
	pass_u32(codec, &tallied->n_most);
	pass_size(codec, &tallied->first_frame);
	pass_size(codec, &tallied->n_frames);
	pass_u32(codec, &tallied->status);
	pass_u32(codec, &tallied->wait_reason);
	pass_u32(codec, &tallied->verdict);
}

static bool is_sound_tallied(const struct go_tallied *tallied, const struct go_tally *tally)
{
	return tallied->status < GO_N_STATUS && tallied->wait_reason <= UINT8_MAX && tallied->n_least <= tallied->n_most &&
	       (tallied->verdict <= GO_STACK_TOO_DEEP || tallied->verdict == GO_GOROUTINE_RUNNING) &&
	       tallied->nsec <= MAX_TALLY_NUMBER && tallied->count <= MAX_TALLY_NUMBER &&
	       tallied->n_frames <= GO_STACK_MAX_FRAMES && is_inside(tallied->first_frame, tallied->n_frames, tally->frames.n);
}

static void check_tally(struct codec *codec, struct go_tally *tally)
{
	uint64_t sum_nsec = 0, sum_count = 0;

	demand(codec, tally->all.n <= GO_TALLY_MAX && tally->frames.n <= GO_TALLY_MAX_FRAMES + GO_STACK_MAX_FRAMES);
	demand(codec, tally->n_snapshots <= MAX_TALLY_NUMBER && tally->nsec <= MAX_TALLY_NUMBER && tally->n_failed <= MAX_TALLY_NUMBER &&
			tally->cpu_nsec <= MAX_TALLY_NUMBER && tally->lost_count <= MAX_TALLY_NUMBER && tally->lost_nsec <= MAX_TALLY_NUMBER);
	for (size_t i = 0; i < tally->all.n && !codec->error; i++) {
		struct go_tallied *tallied = &tally->all.at[i];

		demand(codec, is_sound_tallied(tallied, tally));
		if (codec->error)
			return;
		sum_nsec += tallied->nsec;
		sum_count += tallied->count;
		demand(codec, sum_nsec <= MAX_TALLY_NUMBER && sum_count <= MAX_TALLY_NUMBER);
		if (tallied->wait_reason >= tally->n_wait_reasons)
			tallied->wait_reason = 0;
	}
}

static void pass_tally(struct codec *codec, struct go_tally *tally)
{
	pass_u64(codec, &tally->n_snapshots);
	pass_u64(codec, &tally->nsec);
	pass_u64(codec, &tally->n_failed);
	pass_u64(codec, &tally->cpu_nsec);
	pass_u64(codec, &tally->lost_count);
	pass_u64(codec, &tally->lost_nsec);
	pass_wait_reasons(codec, tally->wait_reasons, &tally->n_wait_reasons);
	PASS_VEC(codec, &tally->frames, pass_u64);
	PASS_VEC(codec, &tally->all, pass_tallied);
	if (is_reading(codec))
		check_tally(codec, tally);
}

/* --- who reaches what ------------------------------------------------------------------------------------------ */

static void pass_way(struct codec *codec, struct go_reach_way *way)
{
	pass_u64(codec, &way->object);
	pass_u64(codec, &way->goroutine);
	pass_bool(codec, &way->is_direct);
}

/* They are looked up by bisection. */
static void check_reach(struct codec *codec, const struct go_reach *reach)
{
	demand(codec, reach->ways.n <= GO_REPORT_MAX_WAYS && reach->objects.n <= GO_REPORT_MAX_REACH_OBJECTS);
	for (size_t i = 1; i < reach->objects.n && !codec->error; i++)
		demand(codec, reach->objects.at[i - 1] < reach->objects.at[i]);
	for (size_t i = 1; i < reach->ways.n && !codec->error; i++)
		demand(codec, reach->ways.at[i - 1].object <= reach->ways.at[i].object);
}

static void pass_reach(struct codec *codec, struct go_report_reach *reach)
{
	pass_u32(codec, &reach->n_searches);
	demand(codec, reach->n_searches <= GO_REPORT_MAX_SEARCHES);
	pass_u64(codec, &reach->took_nsec);
	pass_u64(codec, &reach->all.n_bytes);
	pass_u64(codec, &reach->all.n_nodes);
	pass_u32(codec, &reach->all.n_rounds);
	pass_bool(codec, &reach->all.is_cut);
	PASS_VEC(codec, &reach->all.objects, pass_u64);
	PASS_VEC(codec, &reach->all.ways, pass_way);
	if (is_reading(codec))
		check_reach(codec, &reach->all);
}

/* --- a report -------------------------------------------------------------------------------------------------- */

static bool has_part(const struct go_report *report, enum go_report_part part)
{
	return report->has >> part & 1;
}

static void pass_rates(struct codec *codec, struct go_rates *rates)
{
	for (size_t i = 0; i < GO_N_RATES; i++) {
		struct go_rate *rate = &rates->of[i];
		uint32_t size = rate->size;

		pass_u64(codec, &rate->address);
		pass_i64(codec, &rate->value);
		pass_u32(codec, &size);
		demand(codec, size == (rate->address ? sizeof(rate->value) : 0));
		rate->size = (uint8_t)size;
	}
	pass_bool(codec, &rates->memory_is_off_by_linker);
}

static void pass_head(struct codec *codec, struct go_report *report)
{
	uint64_t word = magic;

	pass_u64(codec, &word);
	demand(codec, word == magic);
	pass_text(codec, report->version, sizeof(report->version));
	pass_text(codec, report->refusal, sizeof(report->refusal));
	pass_u32(codec, &report->asked);
	pass_u32(codec, &report->has);
	demand(codec, report->asked < 1U << GO_REPORT_N_PARTS && !(report->has & ~report->asked));
	for (size_t i = 0; i < GO_REPORT_N_PARTS; i++)
		pass_i32(codec, &report->status[i]);
	pass_u64(codec, &report->taken_nsec);
	pass_u64(codec, &report->took_nsec);
	pass_double(codec, &report->cycles_per_second);
	demand(codec, report->cycles_per_second >= 0);
	pass_rates(codec, &report->rates);
}

static void pass_parts(struct codec *codec, struct go_report *report)
{
	if (has_part(report, GO_REPORT_GOROUTINES))
		pass_goroutines(codec, &report->goroutines);
	if (has_part(report, GO_REPORT_MEMORY) && !codec->error)
		pass_buckets(codec, &report->memory, GO_BUCKETS_MEMORY);
	if (has_part(report, GO_REPORT_BLOCK) && !codec->error)
		pass_buckets(codec, &report->block, GO_BUCKETS_BLOCK);
	if (has_part(report, GO_REPORT_MUTEX) && !codec->error)
		pass_buckets(codec, &report->mutex, GO_BUCKETS_MUTEX);
	if (has_part(report, GO_REPORT_STATS) && !codec->error)
		pass_stats(codec, &report->stats);
	if (has_part(report, GO_REPORT_TALLY) && !codec->error)
		pass_tally(codec, &report->tally);
	if (has_part(report, GO_REPORT_REACH) && !codec->error)
		pass_reach(codec, &report->reach);
}

static void pass_report(struct codec *codec, struct go_report *report)
{
	uint32_t mark = end_mark;

	pass_head(codec, report);
	if (!codec->error)
		pass_parts(codec, report);
	pass_u32(codec, &mark);
	demand(codec, mark == end_mark && !reader_left(&codec->in));
}

void go_report_write(const struct go_report *report, FILE *out)
{
	struct codec codec = { .mode = WRITING, .out = out };

	/* Nothing is changed when writing. */
	pass_report(&codec, (struct go_report *)(uintptr_t)report);
	flush(&codec);
}

int go_report_read(const void *bytes, size_t size, struct go_report *ret)
{
	struct codec codec = { .mode = READING, .in = reader_of(bytes, size) };

	pass_report(&codec, ret);
	if (codec.error) {
		go_report_deinit(ret);
		memset(ret, 0, sizeof(*ret));
	}
	return codec.error;
}

void go_report_deinit(struct go_report *report)
{
	go_goroutines_deinit(&report->goroutines);
	go_buckets_deinit(&report->memory);
	go_buckets_deinit(&report->block);
	go_buckets_deinit(&report->mutex);
	go_tally_deinit(&report->tally);
	go_reach_deinit(&report->reach.all);
}
