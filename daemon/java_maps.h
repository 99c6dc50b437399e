/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Where captures wait until the Java processes in them have written their perf maps (jit.java_perfmap). At the end of a
 * window each JVM whose compiled or interpreted code was sampled in it is asked once, so that the map tells what the code
 * is called now, and the capture gets it when all have answered. A JVM that does not answer in time costs its own names.
 *
 * A JVM is asked the next time only when a hundred times as long has passed as it took to answer, and at least a second:
 * at most 1 % of its time goes into that. One that cannot be asked is tried again after a minute, then two, up to an hour;
 * SIGQUIT, which starts its attach listener, it never gets again if it did not answer the first.
 */
#include <stdint.h>
#include <systemd/sd-event.h>

struct capture;
struct java_maps;
struct targets;

struct java_maps_stats {
	uint64_t written, failed;            /* maps asked for */
	uint64_t answer_nsec;                /* what JVMs took to write them */
};

/* Consumes the capture. */
typedef void (*java_maps_ready_fn)(struct capture *capture, void *userdata);

/* `targets` must live as long as it. 0 or -errno. */
int java_maps_new(sd_event *loop, struct targets *targets, java_maps_ready_fn ready, void *userdata,
		struct java_maps **ret);
/* Captures that wait are lost: call java_maps_finish() first. */
struct java_maps *java_maps_free(struct java_maps *maps);

/* Asks the JVMs in a capture; `ready` gets it, perhaps at once, and at the latest after some seconds. */
void java_maps_add_take(struct java_maps *maps, struct capture *capture);
/* Waits for all that were asked, without the loop; `ready` gets all captures. */
void java_maps_finish(struct java_maps *maps);

struct java_maps_stats java_maps_stats(const struct java_maps *maps);
