/* SPDX-License-Identifier: Apache-2.0 */
#include "go_layout.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define NONE GO_LAYOUT_NONE
enum { NEWEST_MINOR = 27 };

/* Members that are together everywhere they are. */
#define G_118 .m = 48, .sched_sp = 56, .sched_pc = 64, .syscall_sp = 112, .syscall_pc = 120, .status = 144, .id = 152, .wait_since = 168, .wait_reason = 176
#define G_123 .m = 48, .sched_sp = 56, .sched_pc = 64, .syscall_sp = 112, .syscall_pc = 120, .status = 152, .id = 160, .wait_since = 176, .wait_reason = 184
#define G_125 .m = 48, .sched_sp = 56, .sched_pc = 64, .syscall_sp = 104, .syscall_pc = 112, .status = 144, .id = 152, .wait_since = 168, .wait_reason = 176
#define M_118 { .thread = 72, .current_g = 192, .size = 256 }
#define M_125 { .thread = 64, .current_g = 184, .size = 256 }
#define SUDOG_118 { .elem = 24, .is_select = 52, .wait_link = 64, .channel = 80 }
/* elem and c have two words since, of which the second is always there (runtime2.go maybeTraceablePtr). */
#define SUDOG_126 { .elem = 32, .is_select = 60, .wait_link = 72, .channel = 96, .has_semaphores = true }
#define STATS_119 { .n_gc = 7704, .pause_total = 3600, .pauses = 3608, .pause_ends = 5656, .cpu_fraction = 7712, .last_gc = 3592, \
	.stacks = 24, .stacks_stride = 1176 }
#define STATS_125 { .n_gc = 7680, .pause_total = 3576, .pauses = 3584, .pause_ends = 5632, .cpu_fraction = 7688, .last_gc = 3568, \
	.stacks = 24, .stacks_stride = 1168 }
#define GC_121 { .percent = 0, .memory_limit = 8, .marked = 152, .live = 104, .heap_in_use = 272, .heap_released = 280, .heap_free = 288, \
	.mapped_ready = 312, .total_alloc = 296, .total_free = 304, .goal = 72, .limit_headroom_percent = 3 }

static const struct {
	uint16_t until;                      /* the last minor version that it holds for */
	struct go_layout layout;
} rows[] = {
	{ 18, {
		.g = { G_118, .sequence = 189, .locked_m = 232, .parent_id = NONE, .go_pc = 296, .start_pc = 312, .waiting = 328, .labels = 360, .size = 392 },
		.m = M_118, .sudog = SUDOG_118, .channel = { .receivers = 56, .senders = 72 },
		.stats = { .n_gc = 4280, .pause_total = 176, .pauses = 184, .pause_ends = 2232, .cpu_fraction = 4288, .last_gc = 168,
			.stacks = 5984, .stacks_stride = 1176 },
		.gc = { .percent = 0, .memory_limit = NONE, .marked = 168, .live = 120, .heap_in_use = NONE, .heap_released = NONE,
			.heap_free = NONE, .mapped_ready = NONE, .total_alloc = NONE, .total_free = NONE, .goal = 104 },
		.stats_enabled = 4296, .module.next = 544, .ticks_value = 16, .labels_are_map = true } },
	{ 19, {
		.g = { G_118, .sequence = 189, .locked_m = 232, .parent_id = NONE, .go_pc = 296, .start_pc = 312, .waiting = 328, .labels = 360, .size = 392 },
		.m = M_118, .sudog = SUDOG_118, .channel = { .receivers = 56, .senders = 72 }, .stats = STATS_119,
		.gc = { .percent = 0, .memory_limit = 8, .marked = 184, .live = 136, .heap_in_use = 304, .heap_released = 312, .heap_free = 320,
			.mapped_ready = 344, .total_alloc = 328, .total_free = 336, .goal = 104 },
		.stats_enabled = 7736, .module.next = 544, .ticks_value = 16, .labels_are_map = true } },
	{ 20, {
		.g = { G_118, .sequence = 189, .locked_m = 232, .parent_id = NONE, .go_pc = 296, .start_pc = 312, .waiting = 328, .labels = 360, .size = 392 },
		.m = M_118, .sudog = SUDOG_118, .channel = { .receivers = 56, .senders = 72 }, .stats = STATS_119,
		.gc = { .percent = 0, .memory_limit = 8, .marked = 128, .live = 80, .heap_in_use = 248, .heap_released = 256, .heap_free = 264,
			.mapped_ready = 288, .total_alloc = 272, .total_free = 280, .goal = 48 },
		.stats_enabled = 7736, .module.next = 560, .ticks_value = 8, .labels_are_map = true } },
	{ 21, {
		.g = { G_118, .sequence = 188, .locked_m = 208, .parent_id = 272, .go_pc = 280, .start_pc = 296, .waiting = 312, .labels = 344, .size = 400 },
		.m = M_118, .sudog = SUDOG_118, .channel = { .receivers = 56, .senders = 72 }, .stats = STATS_119, .gc = GC_121,
		.stats_enabled = 7736, .module.next = 584, .ticks_value = 8, .labels_are_map = true } },
	{ 22, {
		.g = { G_118, .sequence = 191, .locked_m = 208, .parent_id = 272, .go_pc = 280, .start_pc = 296, .waiting = 312, .labels = 344, .size = 400 },
		.m = M_118, .sudog = SUDOG_118, .channel = { .receivers = 56, .senders = 72 }, .stats = STATS_119, .gc = GC_121,
		.stats_enabled = 7736, .module.next = 584, .ticks_value = 24, .labels_are_map = true } },
	{ 23, {
		.g = { G_123, .sequence = 199, .locked_m = 216, .parent_id = 280, .go_pc = 288, .start_pc = 304, .waiting = 320, .labels = 352, .size = 432 },
		.m = M_118, .sudog = SUDOG_118, .channel = { .receivers = 64, .senders = 80 }, .stats = STATS_119, .gc = GC_121,
		.stats_enabled = 7736, .module.next = 576, .ticks_value = 24, .labels_are_map = true } },
	{ 24, {
		.g = { G_123, .sequence = 199, .locked_m = 216, .parent_id = 280, .go_pc = 288, .start_pc = 304, .waiting = 320, .labels = 352, .size = 432 },
		.m = M_118, .sudog = SUDOG_118, .channel = { .receivers = 64, .senders = 80 }, .stats = STATS_119, .gc = GC_121,
		.stats_enabled = 7736, .module.next = 576, .ticks_value = 24 } },
	{ 25, {
		.g = { G_125, .sequence = 191, .locked_m = 208, .parent_id = 272, .go_pc = 280, .start_pc = 296, .waiting = 312, .labels = 344, .size = 432 },
		.m = M_125, .sudog = SUDOG_118, .channel = { .receivers = 64, .senders = 80 }, .stats = STATS_125, .gc = GC_121,
		.stats_enabled = 8256, .module.next = 576, .ticks_value = 24 } },
	{ 26, {
		.g = { G_125, .sequence = 191, .locked_m = 208, .parent_id = 280, .go_pc = 288, .start_pc = 304, .waiting = 320, .labels = 352, .size = 448 },
		.m = M_125, .sudog = SUDOG_126, .channel = { .receivers = 64, .senders = 80 }, .stats = STATS_125, .gc = GC_121,
		.stats_enabled = 10432, .module.next = 584, .ticks_value = 24 } },
	{ NEWEST_MINOR, {
		.g = { G_125, .sequence = 191, .locked_m = 208, .parent_id = 280, .go_pc = 288, .start_pc = 304, .waiting = 320, .labels = 352, .size = 448 },
		.m = M_125, .sudog = SUDOG_126, .channel = { .receivers = 64, .senders = 80 }, .stats = STATS_125, .gc = GC_121,
		.stats_enabled = 10432, .module.next = 560, .ticks_value = 24 } },
};

bool go_version_parse(const char *text, struct go_version *ret)
{
	const char *version = strstr(text, "go1.");
	unsigned int minor;

	if (!version || (version != text && version[-1] != ' ') || sscanf(version, "go1.%4u", &minor) != 1)
		return false;
	*ret = (struct go_version){ .major = 1, .minor = (uint16_t)minor };
	return true;
}

const struct go_layout *go_layout_of(struct go_version version, bool *ret_is_guess)
{
	if (version.major != 1 || version.minor < 18)
		return NULL;
	*ret_is_guess = version.minor > NEWEST_MINOR;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) - 1; i++)
		if (version.minor <= rows[i].until)
			return &rows[i].layout;
	return &rows[sizeof(rows) / sizeof(rows[0]) - 1].layout;
}
