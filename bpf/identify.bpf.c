// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Which file the process that runs this (bpf(2), BPF_PROG_TEST_RUN) has mapped at an address, as a walk would name it: on
 * overlayfs and btrfs stat(2) has other numbers.
 */
#include "mapping.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct unwind_file found = {0};
__u32 is_found = 0;

SEC("raw_tp")
int identify(struct bpf_raw_tracepoint_args *context)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct mapping_search search = {0};
	struct vm_area_struct *area;
	struct mapping mapping = {0};
	struct inode *inode;
	struct file *file;

	is_found = 0;
	if (!mapping_find(BPF_CORE_READ(task, mm), context->args[0], &search, &mapping) || !search.entry || search.entry & 3)
		return 0;
	/* It is not mapped to be executed: the search went as far as the area. */
	area = (struct vm_area_struct *)search.entry;
	file = BPF_CORE_READ(area, vm_file);
	if (!file || BPF_CORE_READ(area, vm_start) != context->args[0])
		return 0;
	inode = BPF_CORE_READ(file, f_inode);
	found.ino = BPF_CORE_READ(inode, i_ino);
	found.generation = BPF_CORE_READ(inode, i_generation);
	found.device = BPF_CORE_READ(inode, i_sb, s_dev);
	found.mtime_nsec = mapping_mtime(inode);
	is_found = 1;
	return 0;
}
