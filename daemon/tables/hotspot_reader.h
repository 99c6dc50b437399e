/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Reads from the memory of one Java process what the walk is to know of it (lib/unwind/unwind_hotspot). By a helper process
 * that lives some milliseconds and keeps of all that is ours CAP_SYS_PTRACE and a pipe: reading the memory of a process
 * waits for whoever provides it, a file system or the process itself (userfaultfd(2)), for as long as that likes; and what
 * is made of the strangest memory is made there.
 */
#include <stdint.h>
#include <systemd/sd-event.h>

#include "hotspot.h"

struct hotspot_reader;

enum hotspot_reader_outcome {
	HOTSPOT_READER_KNOWN,
	HOTSPOT_READER_EARLY,                /* the JVM is not far enough yet */
	HOTSPOT_READER_UNKNOWN,              /* it is of no sort that we know */
	HOTSPOT_READER_FAILED,               /* its memory could not be read; or our helper did not live */
};

/* `hotspot` is checked; valid during the call, if KNOWN. */
typedef void (*hotspot_reader_fn)(enum hotspot_reader_outcome outcome, const struct hotspot *hotspot, void *userdata);

/*
 * `base` as unwind_hotspot_read() wants it. `done` is called from `loop`, once; hotspot_reader_free() may be called there.
 * 0 or -errno.
 */
int hotspot_reader_new(sd_event *loop, uint32_t pid, uint64_t base, hotspot_reader_fn done, void *userdata,
		struct hotspot_reader **ret);
/* A helper still at work is ended. */
struct hotspot_reader *hotspot_reader_free(struct hotspot_reader *reader);
