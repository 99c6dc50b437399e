/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * How a caller's registers are found from its callee's, for each byte of an executable file: the tables that
 * lib/unwind makes, daemon/tables puts into the kernel, and bpf/unwind.bpf.h searches. Fixed width, without holes.
 *
 * A table speaks of file offsets: what a mapping adds to them is in the mapping, so no load address is needed and all
 * processes share one table. Rows say "from this offset on rule R holds"; rules are few, so a row is 4 bytes.
 *
 *	struct unwind_table           index pages (0 to UNWIND_ROOT_ENTRIES)          row pages
 *	  root[]: offset, page   -->    offset, page  ... UNWIND_INDEX_ENTRIES  -->     delta, rule ... UNWIND_ROW_ENTRIES
 *	  rule_pages[]           -->    rules
 *
 * A tree of pages, all of one size, so that memory is given and taken without ever moving anything. With n_levels 1 the
 * root points at row pages. A row's offset is that of its page's entry plus its delta. Free entries at the end of an
 * index page or of the root have offset UINT32_MAX; a page of rows is filled up with copies of its last row.
 */
#include <linux/types.h>

enum {
	UNWIND_PAGE_SIZE = 2048,
	UNWIND_CHUNK_PAGES = 512,        /* of memory that is given to the kernel at a time: 1 MiB */
	UNWIND_ROOT_ENTRIES = 32,
	UNWIND_INDEX_ENTRIES = UNWIND_PAGE_SIZE / 8,
	UNWIND_ROW_ENTRIES = UNWIND_PAGE_SIZE / 4,
	UNWIND_RULE_ENTRIES = UNWIND_PAGE_SIZE / 8,
	UNWIND_MAX_RULE_PAGES = 16,
	UNWIND_MAX_RULES = UNWIND_MAX_RULE_PAGES * UNWIND_RULE_ENTRIES, /* measured: 6 to 1,213 in a file */
};

/* How the CFA, the value of rsp in the caller just after it is returned to, is found. The return address is at CFA - 8. */
enum unwind_cfa {
	UNWIND_CFA_UNKNOWN,              /* no rule that we can follow: the walk is broken here */
	UNWIND_CFA_END,                  /* the outermost function: its return address is undefined; the walk is complete */
	UNWIND_CFA_REGISTER,             /* reg + offset */
	UNWIND_CFA_DEREFERENCE,          /* *(reg + inner) + addend */
	UNWIND_CFA_PLT,                  /* rsp + 8, and 8 more from byte `offset` of each 16-byte entry on */
	UNWIND_CFA_FRAME_POINTER,        /* code that cannot be followed: as REGISTER rbp + 16, rbp at CFA - 16, but rbp 0 ends the walk */
	UNWIND_CFA_SIGNAL,               /* the signal trampoline: all registers are in the ucontext that rsp points at */
	UNWIND_CFA_RETURN_REGISTER,      /* rsp + offset; the return address is in reg: glibc's vfork() keeps it from its child */
	UNWIND_N_CFAS,
	/* In no table: rbp as above, and the caller's rsp is at rbp - 8: HotSpot's interpreter. */
	UNWIND_CFA_INTERPRETER = UNWIND_N_CFAS,
};

/* Registers by DWARF number (System V ABI, AMD64 supplement, figure 3.36): 0 rax, 1 rdx, 2 rcx, 3 rbx, 4 rsi, 5 rdi, 6 rbp, 7 rsp, 8-15. */
enum {
	UNWIND_REGISTER_BX = 3,
	UNWIND_REGISTER_BP = 6,
	UNWIND_REGISTER_SP = 7,
	UNWIND_N_REGISTERS = 16,
};

/*
 * In unwind_rule.bp and .bx. Other negative numbers count words from the CFA, positive ones words down from rbp as it is in
 * the callee: 1 is at rbp, 2 at rbp - 8 (functions that align their stack save there).
 */
enum {
	UNWIND_SAVED_SAME = 0,           /* the caller's value is the callee's */
	UNWIND_SAVED_AT_BP = 1,
	UNWIND_SAVED_NOWHERE = 127,      /* undefined, or kept where we don't look */
};

/*
 * In unwind_rule.reg: the caller did not call, it was interrupted: by Go's runtime, which lets it look like a call
 * (asyncPreempt, sigpanic). The return address is of an instruction that did not begin.
 */
#define UNWIND_CALLER_INTERRUPTED 0x80

/* As unwind_rule.reg of END: nobody called this, somebody put its address where a return address is. */
#define UNWIND_END_NOT_CALLED 1

struct unwind_rule {
	__u8 cfa;                        /* enum unwind_cfa */
	__u8 reg;                        /* below UNWIND_N_REGISTERS; UNWIND_CALLER_INTERRUPTED or not */
	__s8 bp, bx;                     /* where the caller's rbp and rbx are (-2: at CFA - 16) */
	union {
		__s32 offset;            /* all but DEREFERENCE */
		struct {
			__s16 inner;     /* DEREFERENCE: the offset that is added to reg */
			__s16 addend;
		};
	};
};

struct unwind_row {
	__u16 delta;                     /* from the offset of the page's entry */
	__u16 rule;
};

struct unwind_index {
	__u32 offset;                    /* in the file: the first that this page speaks of */
	__u32 page;
};

/* Of one executable. Between `begin` and `end`, file offsets, each byte has a row; outside there is none. */
struct unwind_table {
	__u32 begin, end;
	__u32 n_levels;                  /* 1: the root points at row pages; 2: at index pages, which do */
	__u32 n_rules;
	__u32 serial;                    /* in the kernel: that of no other table, ever; else 0 */
	__u32 zero;
	__u32 rule_pages[UNWIND_MAX_RULE_PAGES];
	struct unwind_index root[UNWIND_ROOT_ENTRIES];
};

/*
 * Which file a mapping is of, as the kernel's inode has it: not the numbers of stat(2), which differ on overlayfs and
 * btrfs. The vdso, which is in no file, has ino 0 and generation 1.
 */
struct unwind_file {
	__u64 ino;
	__u64 mtime_nsec;                /* a file may be written anew in its place */
	__u32 device;                    /* super_block.s_dev */
	__u32 generation;                /* of the inode: numbers are used again */
};

/* What the daemon knows of a file: value of the map by struct unwind_file. */
enum unwind_file_state {
	UNWIND_FILE_WANTED = 0,          /* the daemon was asked for its table */
	UNWIND_FILE_WITHOUT = 0xffffffff,/* it has none: frame pointers are all there is */
	/* else: number of its table */
};

/* A record of the ring of wants: code without a table was met. */
struct unwind_want {
	struct unwind_file file;         /* zero: code in no file, of a process of which it is not known whether it is a JVM (hotspot.h) */
	struct {
		__u64 start_nsec;
		__u32 pid, exec_id;
	} process;                       /* as struct sample_process */
	__u64 address;                   /* in that process */
	__u32 is_vdso;
	__u32 is_made;                   /* no file: at run time */
};
