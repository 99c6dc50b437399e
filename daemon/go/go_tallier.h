/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Looks at the goroutines of one process many times, until it is stopped: a helper (go_reader.h) that adds up what it sees. When the
 * process ends before, what was seen until then is kept for whoever stops it.
 */
#include <stdint.h>
#include <systemd/sd-event.h>

#include "go_reader.h"

struct go_tallier;
struct image;

/* Takes the image in any case. `ppm`: of a CPU, that it may use. 0; -errno as go_reader_new() has it. */
int go_tallier_new_take(sd_event *loop, struct image *image, uint32_t ppm, struct go_tallier **ret);
/* No report comes any more. */
struct go_tallier *go_tallier_free(struct go_tallier *tallier);

/* The process as it was when it began. Borrowed until go_tallier_take_image(). */
const struct image *go_tallier_image(const struct go_tallier *tallier);
struct image *go_tallier_take_image(struct go_tallier *tallier);

/* Once: has `done` called with its report, perhaps at once, where go_tallier_free() may be called. */
void go_tallier_stop(struct go_tallier *tallier, go_reader_fn done, void *userdata);
/* After that: waits for it, without the loop. */
void go_tallier_wait(struct go_tallier *tallier);
