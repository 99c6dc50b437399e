/* SPDX-License-Identifier: Apache-2.0 */
/* The format itself, on tables built here. What real programs say is in symbol/test_resolve_go.c. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../main.h"
#include "gopclntab.h"
#include "vec.h"

/* A table being written: two functions, the first of which has an inlined call that has another one inside. */
struct bytes {
	VEC(uint8_t) b;
};

static void u8(struct bytes *b, uint8_t v) { ck_assert_int_eq(vec_push(&b->b, v), 0); }
static void u32(struct bytes *b, uint32_t v) { ck_assert_int_eq(vec_append(&b->b, (uint8_t *)&v, 4), 0); }
static void u64(struct bytes *b, uint64_t v) { ck_assert_int_eq(vec_append(&b->b, (uint8_t *)&v, 8), 0); }
static uint32_t text(struct bytes *b, const char *s)
{
	uint32_t at = b->b.n;

	ck_assert_int_eq(vec_append(&b->b, (const uint8_t *)s, strlen(s) + 1), 0);
	return at;
}

/* A pc-value table: pairs of (value, number of bytes it holds for). Returns its offset. */
static uint32_t values(struct bytes *b, size_t n, const int32_t pairs[][2])
{
	uint32_t at = b->b.n;
	int32_t value = -1;

	for (size_t i = 0; i < n; i++) {
		int32_t delta = pairs[i][0] - value;
		uint32_t zigzag = ((uint32_t)delta << 1) ^ (uint32_t)(delta >> 31), pc = pairs[i][1];

		for (; zigzag >= 0x80; zigzag >>= 7)
			u8(b, zigzag | 0x80);
		u8(b, zigzag);
		for (; pc >= 0x80; pc >>= 7)
			u8(b, pc | 0x80);
		u8(b, pc);
		value = pairs[i][0];
	}
	u8(b, 0);
	return at;
}

struct table {
	struct bytes all, funcdata;
};

/* Where the fields of the first function are, for those who damage them. */
struct places {
	size_t functions, first_function, file_values, index_values, depth_values;
};

static struct table make(bool go_118, struct places *ret)
{
	struct bytes names = {0}, units = {0}, files = {0}, pcs = {0}, functions = {0};
	struct table t = {0};
	uint32_t outer, middle, inner, second, depth_table, file_table, line_table, index_table, second_lines;
	size_t offsets[5], at = 72;
	const struct bytes *const parts[] = { &names, &units, &files, &pcs, &functions };

	text(&names, "");
	outer = text(&names, "main.outer");
	middle = text(&names, "main.middle[go.shape.int]");
	inner = text(&names, "main.inner");
	second = text(&names, "main.(*T).second");
	u32(&units, UINT32_MAX);
	text(&files, "");
	u32(&units, text(&files, "/src/a.go"));
	u32(&units, text(&files, "/src/b.go"));

	u8(&pcs, 0);
	/* outer, 0x100 bytes: [0,0x40) its own; [0x40,0x80) middle; [0x80,0xc0) inner in middle; then its own again. */
	file_table = values(&pcs, 3, (const int32_t[][2]){ { 1, 0x80 }, { 2, 0x40 }, { 1, 0x40 } });
	line_table = values(&pcs, 5, (const int32_t[][2]){ { 10, 0x20 }, { 15, 0x20 }, { 305, 0x40 }, { 402, 0x40 }, { 12, 0x40 } });
	index_table = values(&pcs, 4, (const int32_t[][2]){ { -1, 0x40 }, { 0, 0x40 }, { 1, 0x40 }, { -1, 0x40 } });
	/* A frame from its second byte to the byte before its last, and padding. */
	depth_table = values(&pcs, 3, (const int32_t[][2]){ { 0, 1 }, { 64, 0xee }, { 0, 1 } });
	second_lines = values(&pcs, 1, (const int32_t[][2]){ { 77, 0x50 } });

	/* Inlined calls: middle is called at 0x20 (line 15 of a.go), inner at 0x44 in middle. */
	for (int i = 0; i < 2; i++) {
		if (go_118) {
			u32(&t.funcdata, (uint32_t)-1 & 0xffff);
			u32(&t.funcdata, 0);
			u32(&t.funcdata, 0);
			u32(&t.funcdata, i ? inner : middle);
			u32(&t.funcdata, i ? 0x44 : 0x20);
		} else {
			u32(&t.funcdata, 0);
			u32(&t.funcdata, i ? inner : middle);
			u32(&t.funcdata, i ? 0x44 : 0x20);
			u32(&t.funcdata, i ? 400 : 300);
		}
	}

	/* findfunctab: entry, offset of _func; the last has the end of the text. */
	u32(&functions, 0);
	u32(&functions, 20);
	u32(&functions, 0x100);
	u32(&functions, 0);
	u32(&functions, 0x150);
	ret->first_function = functions.b.n;
	memcpy(functions.b.at + 4, &(uint32_t){ functions.b.n }, 4);
	u32(&functions, 0);                  /* entry */
	u32(&functions, outer);
	u32(&functions, 0);
	u32(&functions, 0);
	u32(&functions, depth_table);
	u32(&functions, file_table);
	u32(&functions, line_table);
	u32(&functions, 3);                  /* npcdata */
	u32(&functions, 0);                  /* cuOffset */
	if (!go_118)
		u32(&functions, 9);          /* startLine */
	u32(&functions, 4u << 24 | 2u << 8); /* funcID, flag (SPWRITE), pad, nfuncdata */
	u32(&functions, 0);
	u32(&functions, 0);
	u32(&functions, index_table);
	for (int i = 0; i < 3; i++)
		u32(&functions, UINT32_MAX);
	u32(&functions, 0);                  /* FUNCDATA_InlTree at 0 of go:func.* */
	memcpy(functions.b.at + 12, &(uint32_t){ functions.b.n }, 4);
	u32(&functions, 0x100);
	u32(&functions, second);
	for (int i = 0; i < 3; i++)
		u32(&functions, 0);
	u32(&functions, file_table);
	u32(&functions, second_lines);
	u32(&functions, 0);
	u32(&functions, 0);
	if (!go_118)
		u32(&functions, 70);
	u32(&functions, 22);                 /* funcID: the largest, a wrapper */

	for (size_t i = 0; i < 5; i++) {
		offsets[i] = at;
		at += parts[i]->b.n;
	}
	u32(&t.all, go_118 ? 0xfffffff0 : 0xfffffff1);
	u32(&t.all, 0x08010000);
	u64(&t.all, 2);
	u64(&t.all, 3);
	u64(&t.all, 0);
	for (size_t i = 0; i < 5; i++)
		u64(&t.all, offsets[i]);
	ret->functions = offsets[4];
	ret->file_values = offsets[3] + file_table;
	ret->index_values = offsets[3] + index_table;
	ret->depth_values = offsets[3] + depth_table;
	for (size_t i = 0; i < 5; i++) {
		ck_assert_int_eq(vec_append(&t.all.b, parts[i]->b.at, parts[i]->b.n), 0);
		free(parts[i]->b.at);
	}
	return t;
}

static void table_deinit(struct table *t)
{
	vec_deinit(&t->all.b);
	vec_deinit(&t->funcdata.b);
}

static int open_table(const struct table *t, struct gopclntab **ret)
{
	return gopclntab_new(&(struct gopclntab_source){
		.table = reader_of(t->all.b.at, t->all.b.n),
		.text = 0x401000,
		.funcdata = reader_of(t->funcdata.b.at, t->funcdata.b.n),
	}, ret);
}

static void assert_frame(const struct gopclntab_frame *frame, const char *name, const char *file, uint32_t line, uint32_t start_line)
{
	ck_assert_str_eq(frame->name, name);
	ck_assert_str_eq(frame->file, file);
	ck_assert_uint_eq(frame->line, line);
	ck_assert_uint_eq(frame->start_line, start_line);
}

START_TEST(an_address_has_its_function_and_what_is_inlined)
{
	for (int go_118 = 0; go_118 < 2; go_118++) {
		struct gopclntab_frame frames[8];
		struct places places;
		struct table t = make(go_118, &places);
		struct gopclntab *tab;
		uint64_t start, end;
		size_t n;

		ck_assert_int_eq(open_table(&t, &tab), 0);
		gopclntab_range(tab, &start, &end);
		ck_assert_uint_eq(start, 0x401000);
		ck_assert_uint_eq(end, 0x401150);

		ck_assert_int_eq(gopclntab_lookup(tab, 0x401000, frames, 8, &n), 0);
		ck_assert_uint_eq(n, 1);
		assert_frame(&frames[0], "main.outer", "/src/a.go", 10, go_118 ? 0 : 9);
		ck_assert(!frames[0].wrapper);

		ck_assert_int_eq(gopclntab_lookup(tab, 0x40105f, frames, 8, &n), 0);
		ck_assert_uint_eq(n, 2);
		assert_frame(&frames[0], "main.middle[go.shape.int]", "/src/a.go", 305, go_118 ? 0 : 300);
		assert_frame(&frames[1], "main.outer", "/src/a.go", 15, go_118 ? 0 : 9);

		ck_assert_int_eq(gopclntab_lookup(tab, 0x4010bf, frames, 8, &n), 0);
		ck_assert_uint_eq(n, 3);
		assert_frame(&frames[0], "main.inner", "/src/b.go", 402, go_118 ? 0 : 400);
		assert_frame(&frames[1], "main.middle[go.shape.int]", "/src/a.go", 305, go_118 ? 0 : 300);
		assert_frame(&frames[2], "main.outer", "/src/a.go", 15, go_118 ? 0 : 9);

		ck_assert_int_eq(gopclntab_lookup(tab, 0x4010c0, frames, 8, &n), 0);
		ck_assert_uint_eq(n, 1);
		ck_assert_uint_eq(frames[0].line, 12);

		ck_assert_int_eq(gopclntab_lookup(tab, 0x40114f, frames, 8, &n), 0);
		assert_frame(&frames[0], "main.(*T).second", "/src/a.go", 77, go_118 ? 0 : 70);
		ck_assert(frames[0].wrapper);
		gopclntab_free(tab);
		table_deinit(&t);
	}
}
END_TEST

START_TEST(code_outside_of_the_table_is_not_claimed)
{
	struct gopclntab_frame frame;
	struct places places;
	struct table t = make(false, &places);
	struct gopclntab *tab;
	size_t n;

	ck_assert_int_eq(open_table(&t, &tab), 0);
	ck_assert_int_eq(gopclntab_lookup(tab, 0x400fff, &frame, 1, &n), GOPCLNTAB_E_UNKNOWN);
	ck_assert_int_eq(gopclntab_lookup(tab, 0x401150, &frame, 1, &n), GOPCLNTAB_E_UNKNOWN);
	ck_assert_int_eq(gopclntab_lookup(tab, UINT64_MAX, &frame, 1, &n), GOPCLNTAB_E_UNKNOWN);
	ck_assert_int_eq(gopclntab_lookup(tab, 0, &frame, 1, &n), GOPCLNTAB_E_UNKNOWN);
	gopclntab_free(tab);
	table_deinit(&t);
}
END_TEST

START_TEST(a_short_answer_keeps_the_physical_function)
{
	struct gopclntab_frame frames[2];
	struct places places;
	struct table t = make(false, &places);
	struct gopclntab *tab;
	size_t n;

	ck_assert_int_eq(open_table(&t, &tab), 0);
	ck_assert_int_eq(gopclntab_lookup(tab, 0x4010bf, frames, 2, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(frames[0].name, "main.inner");
	ck_assert_str_eq(frames[1].name, "main.outer");
	gopclntab_free(tab);
	table_deinit(&t);
}
END_TEST

START_TEST(without_inline_trees_the_function_is_still_named)
{
	struct gopclntab_frame frames[8];
	struct places places;
	struct table t = make(false, &places);
	struct gopclntab *tab;
	size_t n;

	t.funcdata.b.n = 0;
	ck_assert_int_eq(open_table(&t, &tab), 0);
	ck_assert(!gopclntab_has_inline(tab));
	ck_assert_int_eq(gopclntab_lookup(tab, 0x4010bf, frames, 8, &n), 0);
	ck_assert_uint_eq(n, 1);
	assert_frame(&frames[0], "main.outer", "/src/b.go", 402, 9);
	ck_assert_str_eq(frames[0].function_file, "/src/a.go");
	gopclntab_free(tab);
	table_deinit(&t);
}
END_TEST

/* Its first instruction may be of an inlined call, from another file. */
START_TEST(the_file_of_a_function_is_that_of_its_own_code)
{
	struct gopclntab_frame frames[8];
	struct places places;
	struct table t = make(false, &places);
	struct gopclntab *tab;
	size_t n;

	/* b.go until 0x80, a.go until 0xc0, b.go; middle until 0x40, inner until 0x80, outer itself until 0xc0, middle. */
	memcpy(t.all.b.at + places.file_values, (const uint8_t[]){ 6, 0x80, 1, 1, 0x40, 2, 0x40 }, 7);
	memcpy(t.all.b.at + places.index_values, (const uint8_t[]){ 2, 0x40, 2, 0x40, 3, 0x40, 2, 0x40 }, 8);
	memcpy(t.funcdata.b.at + 8, &(uint32_t){ 0x80 }, 4);
	memcpy(t.funcdata.b.at + 24, &(uint32_t){ 0 }, 4);
	ck_assert_int_eq(open_table(&t, &tab), 0);
	ck_assert_int_eq(gopclntab_lookup(tab, 0x401000, frames, 8, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(frames[0].name, "main.middle[go.shape.int]");
	ck_assert_str_eq(frames[0].function_file, "/src/b.go");
	ck_assert_str_eq(frames[1].function_file, "/src/a.go");
	ck_assert_int_eq(gopclntab_lookup(tab, 0x401090, frames, 8, &n), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_str_eq(frames[0].function_file, "/src/a.go");
	gopclntab_free(tab);
	table_deinit(&t);
}
END_TEST

START_TEST(a_circle_of_inlined_calls_ends)
{
	struct gopclntab_frame frames[128];
	struct places places;
	struct table t = make(false, &places);
	struct gopclntab *tab;
	size_t n;

	/* middle is called from where middle is inlined. */
	memcpy(t.funcdata.b.at + 8, &(uint32_t){ 0x44 }, 4);
	ck_assert_int_eq(open_table(&t, &tab), 0);
	ck_assert_int_eq(gopclntab_lookup(tab, 0x401050, frames, 128, &n), 0);
	ck_assert_uint_eq(n, 128);
	ck_assert_str_eq(frames[127].name, "main.outer");
	gopclntab_free(tab);
	table_deinit(&t);
}
END_TEST

START_TEST(a_table_that_contradicts_itself_is_refused)
{
	static const struct { size_t at; uint64_t value; int result; } cases[] = {
		{ 0, 0x08010000fffffffa, GOPCLNTAB_E_UNSUPPORTED },   /* Go 1.16 */
		{ 0, 0x08010000fffffffb, GOPCLNTAB_E_UNSUPPORTED },   /* Go 1.2 */
		{ 0, 0x04010000fffffff1, GOPCLNTAB_E_UNSUPPORTED },   /* 32 bit */
		{ 0, 0x08040000fffffff1, GOPCLNTAB_E_UNSUPPORTED },   /* arm64 */
		{ 8, 0, GOPCLNTAB_E_CORRUPT },
		{ 8, 1000, GOPCLNTAB_E_CORRUPT },
		{ 8, UINT64_MAX, GOPCLNTAB_E_CORRUPT },
		{ 32, 71, GOPCLNTAB_E_CORRUPT },
		{ 32, UINT64_MAX, GOPCLNTAB_E_CORRUPT },
		{ 64, 80, GOPCLNTAB_E_CORRUPT },
		{ 64, UINT64_MAX, GOPCLNTAB_E_CORRUPT },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct places places;
		struct table t = make(false, &places);
		struct gopclntab *tab;

		memcpy(t.all.b.at + cases[i].at, &cases[i].value, 8);
		ck_assert_msg(open_table(&t, &tab) == cases[i].result, "case %zu", i);
		table_deinit(&t);
	}
}
END_TEST

START_TEST(a_cut_table_is_refused_or_answers)
{
	for (size_t cut = 0; cut < 1000; cut++) {
		struct gopclntab_frame frames[8];
		struct places places;
		struct table t = make(cut & 1, &places);
		struct gopclntab *tab;
		size_t n;

		if (cut < t.all.b.n) {
			/* A copy of that very size: the sanitizer sees each byte too far. */
			uint8_t *copy = malloc(cut + 1);

			memcpy(copy, t.all.b.at, cut);
			copy = realloc(copy, cut ? cut : 1);
			free(t.all.b.at);
			t.all.b.at = copy;
			t.all.b.n = cut;
		}
		if (open_table(&t, &tab) == 0) {
			for (uint64_t address = 0x400fff; address < 0x401152; address++)
				gopclntab_lookup(tab, address, frames, 8, &n);
			gopclntab_free(tab);
		}
		table_deinit(&t);
	}
}
END_TEST

START_TEST(a_function_of_other_code_is_not_believed)
{
	struct gopclntab_frame frame;
	struct places places;
	struct table t = make(false, &places);
	struct gopclntab *tab;
	size_t n;

	memcpy(t.all.b.at + places.functions + places.first_function, &(uint32_t){ 0x30 }, 4);
	ck_assert_int_eq(open_table(&t, &tab), 0);
	ck_assert_int_eq(gopclntab_lookup(tab, 0x401000, &frame, 1, &n), GOPCLNTAB_E_CORRUPT);
	gopclntab_free(tab);
	table_deinit(&t);
}
END_TEST

struct depths {
	size_t n;
	struct { uint64_t start, end; int32_t depth; } at[8];
};

static bool add_depth(void *userdata, uint64_t start, uint64_t end, int32_t depth)
{
	struct depths *depths = userdata;

	ck_assert_uint_lt(depths->n, 8);
	depths->at[depths->n].start = start;
	depths->at[depths->n].end = end;
	depths->at[depths->n++].depth = depth;
	return true;
}

static void assert_depth(const struct depths *depths, size_t i, uint64_t start, uint64_t end, int32_t depth)
{
	ck_assert_uint_lt(i, depths->n);
	ck_assert_uint_eq(depths->at[i].start, start);
	ck_assert_uint_eq(depths->at[i].end, end);
	ck_assert_int_eq(depths->at[i].depth, depth);
}

START_TEST(each_function_tells_its_code_and_how_deep_it_is)
{
	for (int go_118 = 0; go_118 < 2; go_118++) {
		struct gopclntab_function f;
		struct depths depths = {0};
		struct places places;
		struct table t = make(go_118, &places);
		struct gopclntab *tab;

		ck_assert_int_eq(open_table(&t, &tab), 0);
		ck_assert_uint_eq(gopclntab_n_functions(tab), 2);
		ck_assert_int_eq(gopclntab_function(tab, 0, &f), 0);
		ck_assert_str_eq(f.name, "main.outer");
		ck_assert_uint_eq(f.start, 0x401000);
		ck_assert_uint_eq(f.end, 0x401100);
		ck_assert(f.writes_sp && !f.is_top);
		gopclntab_walk_depths(tab, &f, add_depth, &depths);
		ck_assert_uint_eq(depths.n, 3);
		assert_depth(&depths, 0, 0x401000, 0x401001, 0);
		assert_depth(&depths, 1, 0x401001, 0x4010ef, 64);
		assert_depth(&depths, 2, 0x4010ef, 0x4010f0, 0);
		/* Without a table: code of another linker. */
		ck_assert_int_eq(gopclntab_function(tab, 1, &f), 0);
		ck_assert_str_eq(f.name, "main.(*T).second");
		ck_assert_uint_eq(f.end, 0x401150);
		ck_assert(!f.writes_sp && !f.is_top);
		gopclntab_walk_depths(tab, &f, add_depth, &depths);
		ck_assert_uint_eq(depths.n, 3);
		ck_assert_int_eq(gopclntab_function(tab, 2, &f), GOPCLNTAB_E_CORRUPT);
		gopclntab_free(tab);
		table_deinit(&t);
	}
}
END_TEST

START_TEST(depths_end_with_their_function_and_where_they_stand_still)
{
	struct gopclntab_function f;
	struct depths depths = {0};
	struct places places;
	struct table t = make(false, &places);
	struct gopclntab *tab;

	/* 0 for 1 byte, 64 for 0x100 bytes: one more than there are. */
	memcpy(t.all.b.at + places.depth_values, (const uint8_t[]){ 2, 1, 0x80, 1, 0x80, 2 }, 6);
	ck_assert_int_eq(open_table(&t, &tab), 0);
	ck_assert_int_eq(gopclntab_function(tab, 0, &f), 0);
	gopclntab_walk_depths(tab, &f, add_depth, &depths);
	ck_assert_uint_eq(depths.n, 2);
	assert_depth(&depths, 1, 0x401001, 0x401100, 64);
	memcpy(t.all.b.at + places.depth_values, (const uint8_t[]){ 2, 1, 2, 0, 2, 0 }, 6);
	depths.n = 0;
	gopclntab_walk_depths(tab, &f, add_depth, &depths);
	ck_assert_uint_eq(depths.n, 1);
	gopclntab_free(tab);
	table_deinit(&t);
}
END_TEST

START_TEST(names_are_printed_as_the_runtime_prints_them)
{
	char buffer[64], small[8];

	ck_assert_str_eq(gopclntab_print_name("main.f", buffer, sizeof(buffer)), "main.f");
	ck_assert_str_eq(gopclntab_print_name("main.f[go.shape.int]", buffer, sizeof(buffer)), "main.f[...]");
	ck_assert_str_eq(gopclntab_print_name("main.(*p[go.shape.[]int,x]).set.func1", buffer, sizeof(buffer)), "main.(*p[...]).set.func1");
	ck_assert_str_eq(gopclntab_print_name("main.f[...]", buffer, sizeof(buffer)), "main.f[...]");
	ck_assert_str_eq(gopclntab_print_name("a]b[c", buffer, sizeof(buffer)), "a]b[c");
	ck_assert_str_eq(gopclntab_print_name("a[b", buffer, sizeof(buffer)), "a[b");
	ck_assert_str_eq(gopclntab_print_name("main.f[x]", small, sizeof(small)), "main.f[");
}
END_TEST

UNIT_TESTS("gopclntab", an_address_has_its_function_and_what_is_inlined, code_outside_of_the_table_is_not_claimed,
	a_short_answer_keeps_the_physical_function, without_inline_trees_the_function_is_still_named,
	the_file_of_a_function_is_that_of_its_own_code, a_circle_of_inlined_calls_ends,
	a_table_that_contradicts_itself_is_refused, a_cut_table_is_refused_or_answers, a_function_of_other_code_is_not_believed,
	each_function_tells_its_code_and_how_deep_it_is, depths_end_with_their_function_and_where_they_stand_still,
	names_are_printed_as_the_runtime_prints_them)
