/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Readings of many Go processes (go_reader.h), two at a time, in rounds: when all of a round have been read it ends. What a round is
 * for, and what becomes of the reports, is the owner's business. One that cannot be read costs the round what it would have said.
 */
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct go_report;
struct go_request;
struct go_round;
struct go_rounds;
struct go_tallier;
struct image;

/* One process in a round. */
struct go_reading {
	struct image *image;                 /* owned; its taker leaves NULL */
	void *of;                            /* of the round */
	uint32_t parts;                      /* bits of enum go_report_part, of the round; of a tally that alone */
	uint32_t asked;                      /* what go_rounds_ops.begin made of them; 0: its turn did not come */
	bool is_tally;                       /* many looks, not one */
};

/* None of these may begin a round. */
struct go_rounds_ops {
	/* Its turn has come, but for a tally: `request` has the parts, and may be changed. */
	void (*begin)(const struct go_reading *reading, struct go_request *request, void *userdata);
	/* It was read. The report is the callee's to move out of; one of what could not be read has nothing but a refusal that says why. */
	void (*read)(struct go_reading *reading, struct go_report *report, void *userdata);
	/* All of the round have been read; it is gone. */
	void (*end)(void *of, void *userdata);
};

/* `ops` is static. 0 or -ENOMEM. */
int go_rounds_new(sd_event *loop, const struct go_rounds_ops *ops, void *userdata, struct go_rounds **ret);
/* What is being read is given up; the `of` of open rounds is the caller's, who asks for it (go_rounds_next()) before. */
struct go_rounds *go_rounds_free(struct go_rounds *rounds);

/*
 * A round in which these parts are read of each process; `of` is what the callbacks are told, may be NULL. It is put together until
 * go_rounds_start(), which must follow, and valid until then. NULL: out of memory.
 */
struct go_round *go_rounds_begin(struct go_rounds *rounds, void *of, uint32_t parts);
/* These take what they are given in any case. 0 or -ENOMEM. */
int go_rounds_add_take(struct go_rounds *rounds, struct go_round *round, struct image *image);
/* It is stopped, and its report is one of the round: `read` may be called at once. */
int go_rounds_add_tally_take(struct go_rounds *rounds, struct go_round *round, struct go_tallier *tallier);
/* It ends when all have been read, perhaps at once. */
void go_rounds_start(struct go_rounds *rounds, struct go_round *round);

/* Open rounds, the oldest first: the one after `round`, or after none; NULL: there are no more. */
const struct go_round *go_rounds_next(const struct go_rounds *rounds, const struct go_round *round);
void *go_rounds_of(const struct go_round *round);

/* What is begun from now on is read by go_rounds_finish(). */
void go_rounds_leave_loop(struct go_rounds *rounds);
/* Waits for all, without the loop. */
void go_rounds_finish(struct go_rounds *rounds);

struct go_rounds_stats {
	uint64_t n_reads, n_failed;          /* ever; those that brought nothing, or not all that was asked for */
};
struct go_rounds_stats go_rounds_stats(const struct go_rounds *rounds);
