/* SPDX-License-Identifier: Apache-2.0 */
#include "go_tallier.h"

#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "go_report.h"
#include "image.h"

struct go_tallier {
	struct image *image;
	struct go_reader *reader;            /* NULL: it has ended */
	struct go_report *report;            /* then: NULL: `error` */
	int error;
	go_reader_fn done;                   /* NULL: it goes on */
	void *userdata;
};

DEFINE_CLEANUP(struct go_tallier, go_tallier_free);

static void on_read(struct go_report *report, int error, void *userdata)
{
	struct go_tallier *tallier = userdata;

	if (tallier->done) {
		tallier->done(report, error, tallier->userdata);
		return;
	}
	/* The process ended before it was stopped. */
	tallier->reader = go_reader_free(tallier->reader);
	tallier->error = error;
	tallier->report = report ? malloc(sizeof(*report)) : NULL;
	if (!tallier->report) {
		tallier->error = report ? -ENOMEM : error;
		return;
	}
	*tallier->report = *report;
	*report = (struct go_report){ 0 };
}

int go_tallier_new_take(sd_event *loop, struct image *image, uint32_t ppm, struct go_tallier **ret)
{
	const struct go_request request = { .parts = 1U << GO_REPORT_TALLY, .tally_ppm = ppm };
	_cleanup_(go_tallier_free_p) struct go_tallier *tallier = calloc(1, sizeof(*tallier));
	int r;

	if (!tallier) {
		image_free(image);
		return -ENOMEM;
	}
	tallier->image = image;
	r = go_reader_new(loop, image, &request, on_read, tallier, &tallier->reader);
	if (r < 0)
		return r;
	*ret = TAKE(tallier);
	return 0;
}

struct go_tallier *go_tallier_free(struct go_tallier *tallier)
{
	if (!tallier)
		return NULL;
	go_reader_free(tallier->reader);
	if (tallier->report)
		go_report_deinit(tallier->report);
	free(tallier->report);
	image_free(tallier->image);
	free(tallier);
	return NULL;
}

const struct image *go_tallier_image(const struct go_tallier *tallier)
{
	return tallier->image;
}

struct image *go_tallier_take_image(struct go_tallier *tallier)
{
	return TAKE(tallier->image);
}

void go_tallier_stop(struct go_tallier *tallier, go_reader_fn done, void *userdata)
{
	tallier->done = done;
	tallier->userdata = userdata;
	if (tallier->reader)
		go_reader_stop(tallier->reader);
	else
		done(tallier->report, tallier->error, userdata);
}

void go_tallier_wait(struct go_tallier *tallier)
{
	go_reader_wait(tallier->reader);
}
