/* SPDX-License-Identifier: Apache-2.0 */
#include "go_rounds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "cleanup.h"
#include "clock.h"
#include "go_reader.h"
#include "go_report.h"
#include "go_tallier.h"
#include "image.h"

enum {
	READERS_MAX = 2,
};

struct go_round {
	TAILQ_ENTRY(go_round) link;
	void *of;
	uint32_t parts;
	size_t n_open;                       /* readings that are not done, and one while it is put together */
};

struct reading {
	TAILQ_ENTRY(reading) link;
	struct go_rounds *rounds;
	struct go_round *round;
	struct go_reading is;
	struct go_reader *reader;            /* NULL: it has its turn yet, or is a tally */
	struct go_tallier *tallier;          /* NULL: one look */
};

struct go_rounds {
	sd_event *loop;                      /* NULL: it has ended, whoever is waited for is waited for */
	const struct go_rounds_ops *ops;
	void *userdata;
	TAILQ_HEAD(, go_round) all;
	TAILQ_HEAD(, reading) readings;      /* those that are read come first */
	size_t n_readers;
	struct go_rounds_stats stats;
};

static void end_round(struct go_rounds *rounds, struct go_round *round)
{
	void *of = round->of;

	TAILQ_REMOVE(&rounds->all, round, link);
	free(round);
	rounds->ops->end(of, rounds->userdata);
}

static void reading_free(struct reading *reading)
{
	struct go_rounds *rounds = reading->rounds;

	TAILQ_REMOVE(&rounds->readings, reading, link);
	if (reading->reader) {
		go_reader_free(reading->reader);
		rounds->n_readers--;
	}
	go_tallier_free(reading->tallier);
	image_free(reading->is.image);
	free(reading);
}

static const char *why_not(int error)
{
	switch (error) {
	case -ESRCH:
		return "it has ended";
	case -ETIMEDOUT:
		return "reading it took too long";
	case -EACCES:
		return "its memory may not be read";
	case -ENOEXEC:
		return "a program for another processor";
	default:
		return strerror(-error);
	}
}

static void end_reading(struct reading *reading, struct go_report *report, int error)
{
	struct go_rounds *rounds = reading->rounds;
	struct go_round *round = reading->round;
	struct go_report none = { 0 };

	if (!report) {
		report = &none;
		none.taken_nsec = clock_monotonic_nsec();
		none.asked = round->parts | reading->is.asked;
		snprintf(none.refusal, sizeof(none.refusal), "%s", why_not(error));
		for (size_t i = 0; i < GO_REPORT_N_PARTS; i++)
			none.status[i] = none.asked >> i & 1 ? error : 0;
	}
	rounds->stats.n_reads++;
	rounds->stats.n_failed += !report->has || report->refusal[0];
	rounds->ops->read(&reading->is, report, rounds->userdata);
	reading_free(reading);
	if (!--round->n_open)
		end_round(rounds, round);
}

static void start_readers(struct go_rounds *rounds);

static void on_read(struct go_report *report, int error, void *userdata)
{
	struct reading *reading = userdata;
	struct go_rounds *rounds = reading->rounds;

	end_reading(reading, report, error);
	start_readers(rounds);
}

static void start_readers(struct go_rounds *rounds)
{
	struct reading *reading, *next;

	for (reading = TAILQ_FIRST(&rounds->readings); reading && rounds->n_readers < READERS_MAX; reading = next) {
		struct go_request request = { .parts = reading->is.parts };
		int r;

		next = TAILQ_NEXT(reading, link);
		if (reading->reader || reading->tallier)
			continue;
		rounds->ops->begin(&reading->is, &request, rounds->userdata);
		reading->is.asked = request.parts;
		r = go_reader_new(rounds->loop, reading->is.image, &request, on_read, reading, &reading->reader);
		if (r >= 0)
			rounds->n_readers++;
		else
			end_reading(reading, NULL, r);
	}
}

/* --- What a round is put together of --- */

struct go_round *go_rounds_begin(struct go_rounds *rounds, void *of, uint32_t parts)
{
	struct go_round *round = calloc(1, sizeof(*round));

	if (!round)
		return NULL;
	/* It does not end before all are in it. */
	*round = (struct go_round){ .of = of, .parts = parts, .n_open = 1 };
	TAILQ_INSERT_TAIL(&rounds->all, round, link);
	return round;
}

int go_rounds_add_take(struct go_rounds *rounds, struct go_round *round, struct image *image)
{
	struct reading *reading = calloc(1, sizeof(*reading));

	if (!reading) {
		image_free(image);
		return -ENOMEM;
	}
	*reading = (struct reading){ .rounds = rounds, .round = round, .is = { .image = image, .of = round->of, .parts = round->parts } };
	TAILQ_INSERT_TAIL(&rounds->readings, reading, link);
	round->n_open++;
	return 0;
}

int go_rounds_add_tally_take(struct go_rounds *rounds, struct go_round *round, struct go_tallier *tallier)
{
	struct reading *reading = calloc(1, sizeof(*reading));

	if (!reading) {
		go_tallier_free(tallier);
		return -ENOMEM;
	}
	*reading = (struct reading){
		.rounds = rounds, .round = round, .tallier = tallier,
		.is = { .image = go_tallier_take_image(tallier), .of = round->of, .parts = 1U << GO_REPORT_TALLY, .is_tally = true },
	};
	/* Like others that are read: first. */
	TAILQ_INSERT_HEAD(&rounds->readings, reading, link);
	round->n_open++;
	go_tallier_stop(tallier, on_read, reading);
	return 0;
}

void go_rounds_start(struct go_rounds *rounds, struct go_round *round)
{
	if (--round->n_open)
		start_readers(rounds);
	else
		end_round(rounds, round);
}

const struct go_round *go_rounds_next(const struct go_rounds *rounds, const struct go_round *round)
{
	return round ? TAILQ_NEXT(round, link) : TAILQ_FIRST(&rounds->all);
}

void *go_rounds_of(const struct go_round *round)
{
	return round->of;
}

/* --- Life --- */

void go_rounds_leave_loop(struct go_rounds *rounds)
{
	rounds->loop = NULL;
}

void go_rounds_finish(struct go_rounds *rounds)
{
	struct reading *reading;

	/* Those that are read come first; each one's end starts another. */
	while ((reading = TAILQ_FIRST(&rounds->readings)))
		if (reading->tallier)
			go_tallier_wait(reading->tallier);
		else
			go_reader_wait(reading->reader);
}

struct go_rounds_stats go_rounds_stats(const struct go_rounds *rounds)
{
	return rounds->stats;
}

int go_rounds_new(sd_event *loop, const struct go_rounds_ops *ops, void *userdata, struct go_rounds **ret)
{
	struct go_rounds *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->loop = loop;
	made->ops = ops;
	made->userdata = userdata;
	TAILQ_INIT(&made->all);
	TAILQ_INIT(&made->readings);
	*ret = made;
	return 0;
}

struct go_rounds *go_rounds_free(struct go_rounds *rounds)
{
	struct reading *reading;
	struct go_round *round;

	if (!rounds)
		return NULL;
	while ((reading = TAILQ_FIRST(&rounds->readings)))
		reading_free(reading);
	while ((round = TAILQ_FIRST(&rounds->all))) {
		TAILQ_REMOVE(&rounds->all, round, link);
		free(round);
	}
	free(rounds);
	return NULL;
}
