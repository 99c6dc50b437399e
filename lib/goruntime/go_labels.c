/* SPDX-License-Identifier: Apache-2.0 */
#include "go_labels.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "cleanup.h"
#include "go_process.h"

enum {
	/* runtime/map.go until 1.23: hmap, and bmap of a map[string]string. */
	MAP_SIZE = 48, MAP_FLAGS = 8, MAP_LOG_BUCKETS = 9, MAP_BUCKETS = 16, MAP_OLD_BUCKETS = 24,
	SAME_SIZE_GROW = 8,
	CELLS = 8, BUCKET_KEYS = 8, BUCKET_VALUES = 136, BUCKET_OVERFLOW = 264, BUCKET_SIZE = 272,
	EVACUATED_X = 2, EVACUATED_EMPTY = 4, MIN_TOP_HASH = 5,
	MAX_LOG_BUCKETS = 6,                 /* for GO_LABELS_MAX labels 3 are enough */
	MAX_CHAIN = 64,                      /* buckets behind one: 1 or 2 in practice */
	MAX_COUNT = 1 << 16,                 /* labels of a goroutine that can be true */
};

/* A string of the process. */
struct text {
	uint64_t address, length;
};

struct pair {
	struct text key, value;
};

struct reading {
	struct go_memory *memory;
	struct pair pairs[GO_LABELS_MAX];
	size_t n, count;                     /* count: of the set, also those that we leave out */
};

static uint64_t u64_at(const uint8_t *bytes, size_t offset)
{
	uint64_t value;

	memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

static struct text text_at(const uint8_t *bytes, size_t offset)
{
	return (struct text){ u64_at(bytes, offset), u64_at(bytes, offset + 8) };
}

/* --- until 1.23 ------------------------------------------------------------------------------------------------- */

static bool is_full(const struct reading *reading)
{
	return reading->n == MIN((size_t)GO_LABELS_MAX, reading->count);
}

/* A bucket and those behind it. Of old ones only what was not moved to the new. */
static int read_chain(struct reading *reading, uint64_t address)
{
	uint8_t bucket[BUCKET_SIZE];
	int r;

	for (size_t i = 0; address && i < MAX_CHAIN && !is_full(reading); i++) {
		r = go_memory_read(reading->memory, address, bucket, sizeof(bucket));
		if (r < 0)
			return r;
		if (bucket[0] >= EVACUATED_X && bucket[0] <= EVACUATED_EMPTY)
			return 0;
		for (size_t cell = 0; cell < CELLS && !is_full(reading); cell++)
			if (bucket[cell] >= MIN_TOP_HASH)
				reading->pairs[reading->n++] = (struct pair){ text_at(bucket, BUCKET_KEYS + cell * 16),
					text_at(bucket, BUCKET_VALUES + cell * 16) };
		address = u64_at(bucket, BUCKET_OVERFLOW);
	}
	return 0;
}

static int read_buckets(struct reading *reading, uint64_t address, size_t n)
{
	int r = 0;

	for (size_t i = 0; address && i < n && r >= 0; i++)
		r = read_chain(reading, address + i * BUCKET_SIZE);
	return r;
}

static int read_map(struct reading *reading, uint64_t address)
{
	uint8_t map[MAP_SIZE];
	uint64_t count;
	size_t n_buckets;
	int r;

	r = go_memory_u64(reading->memory, address, &address);
	if (r < 0 || !address)
		return r;
	r = go_memory_read(reading->memory, address, map, sizeof(map));
	if (r < 0)
		return r;
	count = u64_at(map, 0);
	if (count > MAX_COUNT)
		return GO_LABELS_E_UNKNOWN;
	reading->count = count;
	/* One of more labels is not read to its end anyway. */
	n_buckets = (size_t)1 << MIN(map[MAP_LOG_BUCKETS], (uint8_t)MAX_LOG_BUCKETS);
	r = read_buckets(reading, u64_at(map, MAP_BUCKETS), n_buckets);
	if (r < 0)
		return r;
	/* One that was growing when the last label came has the rest where it was. */
	return read_buckets(reading, u64_at(map, MAP_OLD_BUCKETS), map[MAP_FLAGS] & SAME_SIZE_GROW ? n_buckets : n_buckets / 2);
}

/* --- since 1.24 ------------------------------------------------------------------------------------------------- */

static int read_slice(struct reading *reading, uint64_t address)
{
	uint64_t slice[3];
	int r;

	r = go_memory_read(reading->memory, address, slice, sizeof(slice));
	if (r < 0)
		return r;
	if (slice[1] > slice[2] || slice[1] > MAX_COUNT)
		return GO_LABELS_E_UNKNOWN;
	reading->count = slice[1];
	reading->n = MIN((size_t)slice[1], (size_t)GO_LABELS_MAX);
	return go_memory_read(reading->memory, slice[0], reading->pairs, reading->n * sizeof(reading->pairs[0]));
}

/* --- both ------------------------------------------------------------------------------------------------------- */

/* Without the beginning of a character whose end was cut off (UTF-8). */
static size_t whole_characters(const char *text, size_t n)
{
	size_t last = n, size;
	uint8_t lead;

	while (last && n - last < 4 && ((uint8_t)text[last - 1] & 0xc0) == 0x80)
		last--;
	lead = last ? (uint8_t)text[last - 1] : 0;
	size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 0;
	return size > n - last + 1 ? last - 1 : n;
}

/* 0, GO_LABELS_E_UNKNOWN, -errno. */
static int add_text(struct reading *reading, const struct text *text, struct go_labels *labels, uint32_t *ret)
{
	char bytes[GO_LABELS_MAX_TEXT + 1];
	size_t n;
	int r;

	if (labels->text.n >= GO_LABELS_MAX_ALL)
		return -ENOSPC;
	r = go_memory_string(reading->memory, text->address, text->length, bytes, sizeof(bytes));
	if (r < 0)
		return r;
	n = strlen(bytes);
	if (text->length > GO_LABELS_MAX_TEXT && n == GO_LABELS_MAX_TEXT) {
		n = whole_characters(bytes, n);
		bytes[n] = '\0';
		labels->n_cut++;
	}
	*ret = (uint32_t)labels->text.n;
	return vec_append(&labels->text, bytes, n + 1);
}

static int add_pair(struct reading *reading, const struct pair *pair, struct go_labels *labels, size_t first)
{
	struct go_label label;
	int r;

	r = add_text(reading, &pair->key, labels, &label.key);
	if (!r)
		r = add_text(reading, &pair->value, labels, &label.value);
	if (!r)
		r = vec_push(&labels->all, label);
	if (r)
		return r;
	/* A map has no order: sorted by key, equal sets are equal to us, too. */
	for (size_t i = labels->all.n - 1; i > first; i--) {
		struct go_label *it = &labels->all.at[i];

		if (strcmp(labels->text.at + it[-1].key, labels->text.at + label.key) <= 0)
			break;
		*it = it[-1];
		it[-1] = label;
	}
	return 0;
}

int go_labels_read(struct go_process *process, uint64_t address, struct go_labels *labels, size_t *ret_first, size_t *ret_n)
{
	struct reading reading = { .memory = go_process_memory(process) };
	size_t first = labels->all.n, first_text = labels->text.n;
	int r;

	r = go_process_layout(process)->labels_are_map ? read_map(&reading, address) : read_slice(&reading, address);
	/* A set that is a goroutine's never changes: what has not all that it tells of is none. */
	if (!r && !is_full(&reading))
		r = GO_LABELS_E_UNKNOWN;
	for (size_t i = 0; i < reading.n && !r; i++)
		r = add_pair(&reading, &reading.pairs[i], labels, first);
	if (r) {
		labels->all.n = first;
		labels->text.n = first_text;
		/* No room for more is no reason to doubt. */
		if (r == -ENOSPC)
			labels->n_cut++;
		return r == -ENOMEM || r == -E2BIG ? r : GO_LABELS_E_UNKNOWN;
	}
	if (reading.count > GO_LABELS_MAX)
		labels->n_cut++;
	*ret_first = first;
	*ret_n = labels->all.n - first;
	return 0;
}

void go_labels_deinit(struct go_labels *labels)
{
	vec_deinit(&labels->all);
	vec_deinit(&labels->text);
}
