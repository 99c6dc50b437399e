/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the core and its symbolizer process say to each other: records of at most 64 KiB on a SOCK_SEQPACKET pair, a
 * question and its answer in turn. Descriptors travel towards the symbolizer only.
 *
 * The core believes nothing that comes back: the process that answers has parsed what an attacker wrote, and may by now
 * be one. Every length, count, number and index is checked here; names become text in names_add_frame().
 *
 *	core          OPEN slot kind, descriptor    ADD slot, descriptor     RESOLVE slot offsets     CLOSE slot
 *	symbolizer    OPENED status, wants          OPENED                   ANSWER, STRINGS...,      CLOSED
 *	                                                                     FRAMES..., LOCATIONS...
 *
 *	core          TABLE slot
 *	symbolizer    TABLE_ANSWER status, size     TABLE_BYTES...
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "debug_file.h"
#include "names.h"
#include "symbolizer.h"
#include "unwind_image.h"
#include "vec.h"

#define SYMBOLIZER_RECORD_MAX 65536U
#define SYMBOLIZER_SLOTS 16U                 /* files that the process holds open: those of one window, mostly */
#define SYMBOLIZER_OFFSETS_MAX 4096U         /* of one question: its answer stays small, and death loses little */
#define SYMBOLIZER_STRINGS_MAX (4U << 20)    /* bytes of all strings of one answer: 1 KiB an offset, ten times what is usual */
#define SYMBOLIZER_N_STRINGS_MAX (1U << 20)  /* three a frame, were all different */
#define SYMBOLIZER_SEGMENTS_MAX 64U          /* executable ones; programs have one to three */
#define SYMBOLIZER_TABLE_MAX UNWIND_IMAGE_MAX_SIZE

enum symbolizer_record_type {
	SYMBOLIZER_HELLO = 1,                /* confined and ready; comes unasked, once */
	SYMBOLIZER_OPEN,
	SYMBOLIZER_ADD_DEBUG_FILE,
	SYMBOLIZER_ADD_SUPPLEMENT,
	SYMBOLIZER_RESOLVE,
	SYMBOLIZER_CLOSE,
	SYMBOLIZER_OPENED,
	SYMBOLIZER_CLOSED,
	SYMBOLIZER_ANSWER,
	SYMBOLIZER_STRINGS,
	SYMBOLIZER_FRAMES,
	SYMBOLIZER_LOCATIONS,
	SYMBOLIZER_TABLE,
	SYMBOLIZER_TABLE_ANSWER,
	SYMBOLIZER_TABLE_BYTES,
};

enum { SYMBOLIZER_PROTOCOL_E_MALFORMED = 1 };

/* A record being written: fixed room, so that a record can't be too long. */
struct symbolizer_record {
	size_t size;
	uint8_t bytes[SYMBOLIZER_RECORD_MAX];
};

/* --- questions ------------------------------------------------------------------------------------------------- */

struct symbolizer_question {
	enum symbolizer_record_type type;
	uint32_t slot;
	enum symbolizer_kind kind;           /* OPEN */
	uint32_t n_offsets;                  /* RESOLVE */
	uint64_t offsets[SYMBOLIZER_OFFSETS_MAX];
};

void symbolizer_protocol_put_question(struct symbolizer_record *record, const struct symbolizer_question *question);
/* 0 or SYMBOLIZER_PROTOCOL_E_MALFORMED. */
int symbolizer_protocol_get_question(const void *data, size_t size, struct symbolizer_question *ret);

/* --- short answers --------------------------------------------------------------------------------------------- */

struct symbolizer_hello {
	uint32_t landlock_abi;
	bool limited, unprivileged_user;     /* as struct sandbox has it */
};

struct symbolizer_opened {
	int32_t status;                      /* of symbolizer_open() or symbolizer_add_*() */
	struct build_id build_id;            /* of the file; size 0: none */
	struct debug_file_wants wants;       /* what is wanted now */
	bool lacks_frames;                   /* the file tells next to nothing of its frames: its debug file may (.debug_frame) */
};

void symbolizer_protocol_put_hello(struct symbolizer_record *record, const struct symbolizer_hello *hello);
int symbolizer_protocol_get_hello(const void *data, size_t size, struct symbolizer_hello *ret);
void symbolizer_protocol_put_opened(struct symbolizer_record *record, const struct symbolizer_opened *opened);
int symbolizer_protocol_get_opened(const void *data, size_t size, struct symbolizer_opened *ret);
void symbolizer_protocol_put_closed(struct symbolizer_record *record);
int symbolizer_protocol_get_closed(const void *data, size_t size);

/* --- names ----------------------------------------------------------------------------------------------------- */

/*
 * Sends `names` as an answer, record by record; what is beyond the limits above is left out: strings become absent,
 * segments and the outer frames of a location are dropped. names may be NULL when status is not 0. 0, or the negative result of `emit`.
 */
int symbolizer_protocol_put_names(int32_t status, const struct names *names,
		int (*emit)(void *userdata, const struct symbolizer_record *record), void *userdata);

/* An answer being put together; appends to names that are the caller's. */
struct symbolizer_names_reader;

/*
 * For an answer about exactly these offsets, which the caller keeps as long as the reader. `names` has locations
 * appended, and its segments, build id and has_* set if it has none yet. NULL when out of memory.
 */
struct symbolizer_names_reader *symbolizer_names_reader_new(struct names *names, const uint64_t *offsets, size_t n_offsets);
struct symbolizer_names_reader *symbolizer_names_reader_free(struct symbolizer_names_reader *reader);

/*
 * Takes the next record of the answer. 0; SYMBOLIZER_PROTOCOL_E_MALFORMED; -ENOMEM. `names` is to be thrown away after
 * a failure. *ret_complete tells that this was the last one, *ret_status then what symbolizer_resolve() returned.
 */
int symbolizer_names_reader_add(struct symbolizer_names_reader *reader, const void *data, size_t size,
		bool *ret_complete, int32_t *ret_status);

/* --- unwind tables --------------------------------------------------------------------------------------------- */

/*
 * Sends the bytes of unwind_image_encode() as an answer, record by record. With a status other than 0, or more than
 * SYMBOLIZER_TABLE_MAX bytes (status -EFBIG), it has none. 0, or the negative result of `emit`.
 */
int symbolizer_protocol_put_table(int32_t status, const void *bytes, size_t size,
		int (*emit)(void *userdata, const struct symbolizer_record *record), void *userdata);

/* An answer being put together. Zero-initialise before first use. */
struct symbolizer_table_reader {
	bool begun;
	int32_t status;
	uint8_t *bytes;                      /* to be freed, or taken; aligned as malloc(3) does */
	size_t size, n;                      /* n: of them that are there */
};

/* As symbolizer_names_reader_add(). What the bytes say is not looked at: unwind_image_open() does. */
int symbolizer_table_reader_add(struct symbolizer_table_reader *reader, const void *data, size_t size,
		bool *ret_complete, int32_t *ret_status);
void symbolizer_table_reader_deinit(struct symbolizer_table_reader *reader);
