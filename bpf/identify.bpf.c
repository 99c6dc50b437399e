// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Which file the process that runs this (bpf(2), BPF_PROG_TEST_RUN) has mapped at an address, as a walk would name it: on
 * overlayfs and btrfs stat(2) has other numbers.
 */
#include "mapping.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct unwind_file found = {0};
__u32 is_found = 0;

static struct mapping_search search;      /* one caller at a time */

SEC("raw_tp")
int identify(struct bpf_raw_tracepoint_args *context)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct vm_area_struct *area;
	struct mapping mapping = {0};
	struct inode *inode;
	struct file *file;

	is_found = 0;
	if (!mapping_can_be_found())
		return 0;
	mapping_find(BPF_CORE_READ(task, mm), context->args[0], &search, &mapping);
	if (mapping.start != context->args[0])
		return 0;
	/* It is not executable, so that is all we are told; but the search went as far as the area. */
	area = (struct vm_area_struct *)search.entry;
	file = BPF_CORE_READ(area, vm_file);
	if (!file)
		return 0;
	inode = BPF_CORE_READ(file, f_inode);
	found.ino = BPF_CORE_READ(inode, i_ino);
	found.generation = BPF_CORE_READ(inode, i_generation);
	found.device = BPF_CORE_READ(inode, i_sb, s_dev);
	found.mtime_nsec = mapping_mtime(inode);
	is_found = 1;
	return 0;
}
