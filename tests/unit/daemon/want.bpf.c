// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Does for the process that runs it (bpf(2), BPF_PROG_TEST_RUN) what a walk does for a frame at an address of it: asks
 * for the table of its file, or finds the rule.
 */
#include "rules.bpf.h"
#include "target.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* As test_tables.c has it. */
struct result {
	__u32 kind, state;
	__s64 status;                    /* of rules_of_table() */
	struct unwind_file file;
	__u64 offset;
	struct unwind_rule rule;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct result));
	__uint(max_entries, 1);
} results SEC(".maps");

static struct mapping_search search;

SEC("raw_tp")
int want(struct bpf_raw_tracepoint_args *context)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct sample_process process = {0};
	__u64 address = context->args[0];
	struct result *result;
	__u32 zero = 0;
	struct unwind_rule rule = {0};
	struct mapping mapping = {0};

	result = bpf_map_lookup_elem(&results, &zero);
	if (!result)
		return 0;
	target_identify(task, &process);
	mapping_find(task->mm, address, &search, &mapping);
	rules_enter_mapping(&mapping, &process, address);
	result->kind = mapping.kind;
	result->state = mapping.state;
	result->file = mapping.file;
	result->offset = address - mapping.start + mapping.file_offset;
	result->status = -1;
	if (mapping.kind == MAPPING_NONE || mapping.state == UNWIND_FILE_WANTED || mapping.state == UNWIND_FILE_WITHOUT)
		return 0;
	result->status = rules_of_table(mapping.state, result->offset, &rule);
	result->rule = rule;
	return 0;
}
