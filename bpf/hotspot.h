/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * What the walk has to know of a Java process (HotSpot) to find the callers of code that it compiled, which keeps no frame
 * pointer: where its code heaps are, and how the JVM itself notes what is in them. lib/unwind/unwind_hotspot finds it out.
 *
 * A code heap is cut into segments. A byte for each says how many segments before it what it belongs to begins: 0 here,
 * 255 it is free, else so many at least (CodeHeap::find_block_for(), OpenJDK src/hotspot/share/memory/heap.cpp). There is a
 * HeapBlock and, behind it, a CodeBlob, which tells the size of its frames.
 */
#include <linux/types.h>

enum {
	HOTSPOT_MAX_HEAPS = 4,           /* CodeBlobType of JDK 25: methods without and with profiling, others; all in one */
	HOTSPOT_MAX_PROCESSES = 1024,
	HOTSPOT_BLOB_SIZE = 128,         /* of a CodeBlob, that is looked at: its fields are in the first 100 bytes */
	HOTSPOT_SEGMENT_FREE = 0xff,
	HOTSPOT_MAX_HOPS = 32,           /* 254 segments of 128 bytes each; more after a heap was cut up. */
};

enum hotspot_state {
	HOTSPOT_WANTED = 0,              /* the daemon was asked whether it is a JVM */
	HOTSPOT_NONE,                    /* it is not */
	HOTSPOT_KNOWN,
};

struct hotspot_heap {
	__u64 low, high;                 /* [low, high): as reserved, however much is in use */
	__u64 segments;                  /* address of the bytes by segment */
};

/* Value of the map by struct sample_process. */
struct hotspot {
	__u32 state;                     /* enum hotspot_state */
	__u32 n_heaps;
	struct hotspot_heap heaps[HOTSPOT_MAX_HEAPS];
	__u64 interpreter_start, interpreter_end;
	__u64 entries_start, entries_end;/* where it enters methods; 0: not known */
	__u32 segment_shift;             /* of the size of a segment */
	__u32 block_size;                /* sizeof(HeapBlock) */
	/* Offsets in CodeBlob, of the width that they are aligned to. */
	__u32 frame_size;                /* int: words, with the return address; not positive: of no size that is known */
	__u32 frame_complete;            /* int16_t or int: from the code's begin on; negative: unknown */
	__u32 is_frame_complete_short;
	__u32 code;                      /* char *, or int: from the blob on (JDK 8; JDK 24 and later) */
	__u32 is_code_relative;
};
