/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Which mapping of the current process has an address: read from the kernel's own tree of mappings (a maple tree since
 * Linux 6.1), without a lock and without being told anything before. So a mapping is known from its first instruction on,
 * however many there are and however short it lives, and nobody has to follow 10,000 forks a second.
 *
 * bpf_find_vma() would be the official way; it works once in an interrupt (it unlocks mmap_lock by irq_work and is busy
 * until then, kernel/bpf/task_iter.c) and makes the target wait for its own mmap_lock. A walk wants several mappings.
 *
 * The tree may change while we read. Nodes are freed by RCU and say when they are dead (their parent is themselves), a
 * read that leads nowhere fails without harm, and a mapping that does not hold the address is none: at worst one stack
 * ends as broken.
 */
#include <stdbool.h>

#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "unwind_table.h"

enum mapping_kind { MAPPING_NONE, MAPPING_FILE, MAPPING_VDSO, MAPPING_ANONYMOUS };

struct mapping {
	__u64 start, end;                /* [start, end) */
	__u64 file_offset;               /* of start; vdso: 0 */
	struct unwind_file file;
	__u32 kind;                      /* enum mapping_kind; NONE: not executable, too */
	__u32 state;                     /* of the file: enum unwind_file_state */
	__u32 serial;                    /* of its table */
	__u32 zero;
};

/*
 * struct maple_node as words: lib/maple_tree.c and include/linux/maple_tree.h of Linux 6.1, unchanged in 6.18. An encoded
 * pointer has its node's type in bits 3 to 6; nodes are aligned to 256 bytes.
 */
enum {
	MAPPING_NODE_WORDS = 32,
	MAPPING_LEAF_64 = 1,             /* enum maple_type */
	MAPPING_RANGE_64 = 2,
	MAPPING_ARANGE_64 = 3,
	MAPPING_RANGE_PIVOTS = 15,       /* MAPLE_RANGE64_SLOTS - 1; word 0 is the parent, the pivots and slots follow */
	MAPPING_ARANGE_PIVOTS = 9,       /* MAPLE_ARANGE64_SLOTS - 1 */
	MAPPING_MAX_HEIGHT = 16,         /* 10^9 mappings, did the kernel allow them; sysctl vm.max_map_count */
	MAPPING_PAGE_SHIFT = 12,
	MAPPING_VM_EXEC = 4,
};

/* In scratch memory: the BPF stack is small. */
struct mapping_search {
	__u64 address;
	__u64 entry;                     /* encoded node, at last the mapping; 0: not found */
	__u64 words[MAPPING_NODE_WORDS];
};

/* 1 when a < b, else 0, for numbers below 2^63; the compiler is kept from making a branch of it. */
static __always_inline __u64 mapping_is_less(__u64 a, __u64 b)
{
	__u64 difference = a - b;

	asm volatile("" : "+r"(difference));
	return difference >> 63;
}

/* One level down. */
static long mapping_descend(__u32 index, void *data)
{
	struct mapping_search *search = *(struct mapping_search **)data; /* bpf_loop() passes on pointers to the stack only */
	__u64 node = search->entry & ~0xffULL, type = search->entry >> 3 & 15;
	__u64 n_pivots = type == MAPPING_ARANGE_64 ? MAPPING_ARANGE_PIVOTS : MAPPING_RANGE_PIVOTS;
	__u64 page = search->address >> MAPPING_PAGE_SHIFT, slot = 0, goes_on = 1;

	search->entry = 0;
	if (type < MAPPING_LEAF_64 || type > MAPPING_ARANGE_64)
		return 1;
	if (bpf_probe_read_kernel(search->words, sizeof(search->words), (void *)node) < 0 || search->words[0] == node)
		return 1;
	/*
	 * A pivot is the last address of its slot; one that is 0, but for the first, is beyond the last slot in use. The
	 * first slot whose pivot is not below the address: counted without a branch, which the verifier would follow
	 * both ways 15 times over.
	 */
#pragma unroll
	for (__u64 i = 0; i < MAPPING_RANGE_PIVOTS; i++) {
		__u64 pivot = search->words[1 + i];

		goes_on &= mapping_is_less(pivot >> MAPPING_PAGE_SHIFT, page) & mapping_is_less(i, n_pivots);
		if (i)
			goes_on &= mapping_is_less(0, pivot >> 1) | (pivot & 1);
		slot += goes_on;
	}
	search->entry = search->words[(1 + n_pivots + slot) & (MAPPING_NODE_WORDS - 1)];
	return type == MAPPING_LEAF_64 || !search->entry;
}

static __always_inline __u64 mapping_mtime(struct inode *inode)
{
	struct inode___linux_6_7 *middle = (void *)inode;
	struct inode___before *before = (void *)inode;

	if (bpf_core_field_exists(inode->i_mtime_sec))
		return (__u64)BPF_CORE_READ(inode, i_mtime_sec) * 1000000000 + BPF_CORE_READ(inode, i_mtime_nsec);
	if (bpf_core_field_exists(middle->__i_mtime))
		return (__u64)BPF_CORE_READ(middle, __i_mtime.tv_sec) * 1000000000 +
				(__u64)BPF_CORE_READ(middle, __i_mtime.tv_nsec);
	return (__u64)BPF_CORE_READ(before, i_mtime.tv_sec) * 1000000000 + (__u64)BPF_CORE_READ(before, i_mtime.tv_nsec);
}

/* Before 6.1 the mappings were in a red-black tree, which we do not read. */
static __always_inline bool mapping_can_be_found(void)
{
	return bpf_core_field_exists(((struct mm_struct *)NULL)->mm_mt);
}

/* The mapping that has `address`; ret->kind tells what it is. `search` is scratch memory. */
static __always_inline void mapping_find(struct mm_struct *mm, __u64 address, struct mapping_search *search,
		struct mapping *ret)
{
	struct vm_area_struct *area;
	struct inode *inode;
	struct file *file;

	ret->kind = MAPPING_NONE;
	ret->start = ret->end = 0;
	search->address = address;
	search->entry = (__u64)BPF_CORE_READ(mm, mm_mt.ma_root);
	bpf_loop(MAPPING_MAX_HEIGHT, mapping_descend, &search, 0);
	if (!search->entry || search->entry & 3) /* nothing there, or an entry that only reserves its place */
		return;
	area = (struct vm_area_struct *)search->entry;
	ret->start = BPF_CORE_READ(area, vm_start);
	ret->end = BPF_CORE_READ(area, vm_end);
	if (address < ret->start || address >= ret->end) {
		ret->start = ret->end = 0;
		return;
	}
	if (!(BPF_CORE_READ(area, vm_flags) & MAPPING_VM_EXEC))
		return;
	ret->file.generation = 0;
	ret->file.device = 0;
	ret->file.ino = 0;
	ret->file.mtime_nsec = 0;
	ret->file_offset = 0;
	file = BPF_CORE_READ(area, vm_file);
	if (file) {
		inode = BPF_CORE_READ(file, f_inode);
		ret->file_offset = BPF_CORE_READ(area, vm_pgoff) << MAPPING_PAGE_SHIFT;
		ret->file.ino = BPF_CORE_READ(inode, i_ino);
		ret->file.generation = BPF_CORE_READ(inode, i_generation);
		ret->file.device = BPF_CORE_READ(inode, i_sb, s_dev);
		ret->file.mtime_nsec = mapping_mtime(inode);
		ret->kind = MAPPING_FILE;
	} else if ((__u64)BPF_CORE_READ(mm, context.vdso) == ret->start) {
		ret->file.generation = 1;
		ret->kind = MAPPING_VDSO;
	} else {
		ret->kind = MAPPING_ANONYMOUS;
	}
}
