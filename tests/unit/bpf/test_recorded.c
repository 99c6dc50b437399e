/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk of bpf/unwind.bpf.h, compiled for this machine, over stacks of real programs (stacks/, by record_stack), as they
 * were and damaged in many ways. With the sanitizers it is where the walk is proved to stay in its bounds.
 */
#include <dirent.h>

#include "cleanup.h"
#include "recorded.h"

#include "main.h"

static const struct recorded *now;

static long unwind_read(void *to, uint32_t size, uint64_t from)
{
	return recorded_read(now, to, size, from);
}

static int unwind_rule_at(struct unwind *unwind, memory_owner owner, __u64 address, struct unwind_rule *ret)
{
	const struct recorded_rule *found = recorded_rule_at(now, address);

	if (!found)
		return SAMPLE_VERDICT_NO_MAPPING;
	*ret = found->rule;
	unwind->guess = found->guess;
	return (int)found->verdict;
}

static struct unwind walk_of(const struct recorded *recorded)
{
	struct unwind walk = { .registers = recorded->registers };

	now = recorded;
	unwind_user(&walk, 0, 1);
	return walk;
}

/* Reading them */

static bool read_memory(const char *line, struct recorded *recorded)
{
	struct recorded_memory memory = { 0 };
	int at = 0;

	if (sscanf(line, "memory %" SCNx64 " %n", &memory.start, &at) != 1)
		return false;
	for (; memory.size < sizeof(memory.bytes) && sscanf(line + at, "%2hhx", &memory.bytes[memory.size]) == 1; at += 2)
		memory.size++;
	return vec_push(&recorded->memory, memory) == 0;
}

static bool read_rule(const char *line, struct recorded *recorded)
{
	struct recorded_rule r = { 0 };
	uint32_t cfa, reg, bp, bx, offset;

	if (sscanf(line, "rule %" SCNx64 " %" SCNx64 " %x %x %x %x %x %x %x", &r.start, &r.end, &cfa, &reg, &bp, &bx, &offset, &r.guess,
			&r.verdict) != 9)
		return false;
	r.rule = (struct unwind_rule){ .cfa = (uint8_t)cfa, .reg = (uint8_t)reg, .bp = (int8_t)bp, .bx = (int8_t)bx, .offset = (int32_t)offset };
	return vec_push(&recorded->rules, r) == 0;
}

static bool read_registers(const char *line, struct recorded *recorded)
{
	char *end;

	recorded->registers = (struct unwind_registers){ .known = UNWIND_KNOWN_ALL, .is_exact = true };
	recorded->registers.ip = strtoull(line + strlen("registers"), &end, 16);
	for (size_t i = 0; i < UNWIND_N_REGISTERS; i++)
		recorded->registers.at[i] = strtoull(end, &end, 16);
	return *end == '\n';
}

static bool read_line(const char *line, struct recorded *recorded)
{
	uint64_t frame;

	if (line[0] == '#')
		return true;
	if (!strncmp(line, "registers ", 10))
		return read_registers(line, recorded);
	if (sscanf(line, "frame %" SCNx64, &frame) == 1)
		return vec_push(&recorded->frames, frame) == 0;
	return read_memory(line, recorded) || read_rule(line, recorded) || sscanf(line, "verdict %x", &recorded->verdict) == 1;
}

static void read_recorded(const char *name, struct recorded *ret)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[512], line[1024];

	*ret = (struct recorded){ 0 };
	snprintf(path, sizeof(path), "%s/%s", STACKS, name);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		ck_assert_msg(read_line(line, ret), "%s: %s", name, line);
	ck_assert_uint_ne(ret->frames.n, 0);
}

static size_t for_each_recorded(void (*fn)(const char *name, struct recorded *recorded))
{
	DIR *directory = opendir(STACKS);
	struct dirent *entry;
	size_t n = 0;

	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory))) {
		struct recorded recorded;

		if (!strstr(entry->d_name, ".stack"))
			continue;
		read_recorded(entry->d_name, &recorded);
		fn(entry->d_name, &recorded);
		recorded_deinit(&recorded);
		n++;
	}
	closedir(directory);
	return n;
}

/* Tests */

static void expect_its_frames(const char *name, struct recorded *recorded)
{
	static struct unwind walk;

	walk = walk_of(recorded);
	ck_assert_msg(walk.verdict == recorded->verdict, "%s: verdict %u", name, walk.verdict);
	ck_assert_msg((walk.n < SAMPLE_MAX_USER_FRAMES ? walk.n : SAMPLE_MAX_USER_FRAMES) == recorded->frames.n, "%s: %u frames", name, walk.n);
	for (size_t i = 0; i < recorded->frames.n; i++)
		ck_assert_msg(walk.frames[i] == recorded->frames.at[i], "%s: frame %zu is %llx", name, i, walk.frames[i]);
}

START_TEST(each_recorded_stack_has_its_frames)
{
	ck_assert_uint_ge(for_each_recorded(expect_its_frames), 10);
}
END_TEST

static uint64_t seed = 88172645463325252;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* Something else for one thing: a bit, a neighbour, anything. */
static uint64_t damaged(uint64_t value)
{
	switch (next_random() % 4) {
	case 0:
		return value ^ UINT64_C(1) << next_random() % 64;
	case 1:
		return value + (int64_t)(next_random() % 33) * 8 - 128;
	case 2:
		return next_random();
	default:
		return next_random() % 3 - 1; /* 0, 1, all bits */
	}
}

static void damage(struct recorded *recorded)
{
	struct recorded_memory *memory;
	struct recorded_rule *rule;
	uint64_t word;

	switch (next_random() % 4) {
	case 0:
		recorded->registers.at[next_random() % UNWIND_N_REGISTERS] = next_random();
		return;
	case 1:
		if (!recorded->rules.n)
			return;
		rule = &recorded->rules.at[next_random() % recorded->rules.n];
		memcpy(&word, &rule->rule, sizeof(word));
		word = damaged(word);
		memcpy(&rule->rule, &word, sizeof(word));
		return;
	default:
		if (!recorded->memory.n)
			return;
		memory = &recorded->memory.at[next_random() % recorded->memory.n];
		if (memory->size < 8)
			return;
		memcpy(&word, memory->bytes + next_random() % (memory->size / 8) * 8, sizeof(word));
		word = damaged(word);
		memcpy(memory->bytes + next_random() % (memory->size / 8) * 8, &word, sizeof(word));
	}
}

static void expect_an_end_when_damaged(const char *name, struct recorded *recorded)
{
	static struct unwind walk;

	for (int i = 0; i < 300; i++) {
		struct recorded copy;

		read_recorded(name, &copy);
		for (uint64_t n = 1 + next_random() % 8; n; n--)
			damage(&copy);
		walk = walk_of(&copy);
		ck_assert_uint_lt(walk.verdict, SAMPLE_N_VERDICTS);
		ck_assert_uint_ge(walk.n, 1);
		ck_assert_uint_le(walk.n, SAMPLE_MAX_DEPTH);
		for (size_t k = 1; k < walk.n && k < SAMPLE_MAX_USER_FRAMES; k++)
			ck_assert_uint_lt(walk.frames[k] & ~SAMPLE_INTERRUPTED, UNWIND_USER_END);
		recorded_deinit(&copy);
	}
}

START_TEST(a_damaged_stack_ends_within_bounds)
{
	for_each_recorded(expect_an_end_when_damaged);
}
END_TEST

UNIT_TESTS("recorded", each_recorded_stack_has_its_frames, a_damaged_stack_ends_within_bounds)
