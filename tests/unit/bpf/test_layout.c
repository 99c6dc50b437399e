/* SPDX-License-Identifier: Apache-2.0 */
/* What crosses the boundary looks the same from both sides: BTF that clang makes for a program against this compiler. */
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stddef.h>
#include <string.h>

#include "main.h"
#include "block_io_value.h"
#include "go_thread.h"
#include "sample.h"

struct member {
	const char *name;
	size_t offset, size;
};

#define MEMBER(type, member) { #member, offsetof(struct type, member), sizeof(((struct type *)NULL)->member) }

static void compare(const struct btf *types, const char *name, size_t size, const struct member *members, size_t n)
{
	const struct btf_type *type;
	const struct btf_member *m;
	size_t end = 0;
	int id;

	id = btf__find_by_name_kind(types, name, BTF_KIND_STRUCT);
	ck_assert_msg(id > 0, "BTF has no struct %s", name);
	type = btf__type_by_id(types, (unsigned int)id);
	ck_assert_uint_eq(type->size, size);
	ck_assert_msg(btf_vlen(type) == n, "struct %s: %u members in BTF, %zu here", name, btf_vlen(type), n);
	m = btf_members(type);
	for (size_t i = 0; i < n; i++) {
		ck_assert_str_eq(btf__name_by_offset(types, m[i].name_off), members[i].name);
		ck_assert_uint_eq(m[i].offset, members[i].offset * 8);
		ck_assert_int_eq(btf__resolve_size(types, m[i].type), (int)members[i].size);
		ck_assert_msg(members[i].offset == end, "struct %s has a hole before %s", name, members[i].name);
		end = members[i].offset + members[i].size;
	}
	ck_assert_msg(end == size, "struct %s has a hole at its end", name);
}

#define COMPARE(btf, type, ...)                                                                                        \
	do {                                                                                                           \
		static const struct member members[] = { __VA_ARGS__ };                                                \
                                                                                                                       \
		compare(btf, #type, sizeof(struct type), members, sizeof(members) / sizeof(members[0]));               \
	} while (0)

static struct btf *btf;

static void read_btf(void)
{
	btf = btf__parse_elf(LAYOUT_OBJECT, NULL);
	ck_assert_ptr_nonnull(btf);
}

START_TEST(samples_look_the_same_from_both_sides)
{
	read_btf();
	COMPARE(btf, sample_process, MEMBER(sample_process, start_nsec), MEMBER(sample_process, pid),
			MEMBER(sample_process, exec_id));
	COMPARE(btf, sample_wait, MEMBER(sample_wait, object), MEMBER(sample_wait, device), MEMBER(sample_wait, reason),
			MEMBER(sample_wait, shift));
	COMPARE(btf, sample_key, MEMBER(sample_key, stack), MEMBER(sample_key, other), MEMBER(sample_key, process), MEMBER(sample_key, tid),
			MEMBER(sample_key, skip), MEMBER(sample_key, wait), MEMBER(sample_key, labels), MEMBER(sample_key, goroutine));
	COMPARE(btf, sample_value, MEMBER(sample_value, count), MEMBER(sample_value, nsec), MEMBER(sample_value, longest_nsec),
			MEMBER(sample_value, thread), MEMBER(sample_value, is_open), MEMBER(sample_value, zero));
	COMPARE(btf, sample_stack, MEMBER(sample_stack, key), MEMBER(sample_stack, epoch), MEMBER(sample_stack, n_kernel),
			MEMBER(sample_stack, n_user), MEMBER(sample_stack, loose), MEMBER(sample_stack, verdict),
			MEMBER(sample_stack, n_elided), MEMBER(sample_stack, zero), MEMBER(sample_stack, loose_nsec),
			MEMBER(sample_stack, thread));
	COMPARE(btf, sample_go_label, MEMBER(sample_go_label, key_size), MEMBER(sample_go_label, value_size), MEMBER(sample_go_label, zero),
			MEMBER(sample_go_label, key), MEMBER(sample_go_label, value));
	COMPARE(btf, sample_go_labels, MEMBER(sample_go_labels, key), MEMBER(sample_go_labels, epoch), MEMBER(sample_go_labels, mark),
			MEMBER(sample_go_labels, n), MEMBER(sample_go_labels, at));
	COMPARE(btf, sample_object_key, MEMBER(sample_object_key, object), MEMBER(sample_object_key, device),
			MEMBER(sample_object_key, zero));
	COMPARE(btf, sample_object, MEMBER(sample_object, kind), MEMBER(sample_object, window), MEMBER(sample_object, flags),
			MEMBER(sample_object, device), MEMBER(sample_object, family), MEMBER(sample_object, peer_port),
			MEMBER(sample_object, own_port), MEMBER(sample_object, path_size), MEMBER(sample_object, peer),
			MEMBER(sample_object, path));
	btf__free(btf);
}
END_TEST

START_TEST(the_life_of_processes_looks_the_same)
{
	read_btf();
	COMPARE(btf, life_event, MEMBER(life_event, time_nsec), MEMBER(life_event, process), MEMBER(life_event, parent_pid),
			MEMBER(life_event, kind), MEMBER(life_event, cgroup_id), MEMBER(life_event, comm));
	btf__free(btf);
}
END_TEST

START_TEST(go_processes_look_the_same)
{
	read_btf();
	COMPARE(btf, go_thread, MEMBER(go_thread, start_ticks), MEMBER(go_thread, exec_id), MEMBER(go_thread, g), MEMBER(go_thread, g_m),
			MEMBER(go_thread, g_id), MEMBER(go_thread, g_labels), MEMBER(go_thread, m_current_g), MEMBER(go_thread, labels),
			MEMBER(go_thread, wants_running), MEMBER(go_thread, wants_id));
	COMPARE(btf, go_running, MEMBER(go_running, time_nsec), MEMBER(go_running, start_nsec), MEMBER(go_running, pid), MEMBER(go_running, thread),
			MEMBER(go_running, exec_id), MEMBER(go_running, is_cut), MEMBER(go_running, n), MEMBER(go_running, goroutine),
			MEMBER(go_running, frames));
	btf__free(btf);
}
END_TEST

START_TEST(requests_of_block_devices_look_the_same)
{
	read_btf();
	COMPARE(btf, block_io_key, MEMBER(block_io_key, device), MEMBER(block_io_key, operation));
	COMPARE(btf, block_io_value, MEMBER(block_io_value, buckets), MEMBER(block_io_value, nsec), MEMBER(block_io_value, queued_nsec),
			MEMBER(block_io_value, n_queued), MEMBER(block_io_value, n_untimed), MEMBER(block_io_value, bytes));
	btf__free(btf);
}
END_TEST

START_TEST(frames_follow_a_record_aligned)
{
	ck_assert_uint_eq(sizeof(struct sample_stack) % sizeof(__u64), 0);
	/* Told apart by this one. */
	ck_assert_uint_eq(offsetof(struct sample_stack, n_kernel), offsetof(struct sample_go_labels, mark));
	ck_assert_uint_eq(offsetof(struct sample_stack, epoch), offsetof(struct sample_go_labels, epoch));
}
END_TEST

UNIT_TESTS("layout", samples_look_the_same_from_both_sides, the_life_of_processes_looks_the_same, go_processes_look_the_same, requests_of_block_devices_look_the_same,
		frames_follow_a_record_aligned)
