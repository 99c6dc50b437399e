/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Finds out from the file of a program what the sampler is to know of its Go runtime (bpf/go_thread.h), by a helper process that
 * is confined before it reads the first byte of the file, as the symbolizer is: the file may be of any making.
 */
#include <stdint.h>
#include <systemd/sd-event.h>

#include "go_thread.h"

struct go_file_reader;

enum go_file_reader_outcome {
	GO_FILE_READER_KNOWN,
	GO_FILE_READER_NO_GO,                /* no Go program, or its function table is not understood */
	GO_FILE_READER_VERSION,              /* of Go before 1.18, or of none that it tells */
	GO_FILE_READER_NO_G,                 /* where its threads keep their g is not found */
	GO_FILE_READER_FAILED,               /* the helper did not live */
};

/* `process` has what holds for every process of the file: all but start_ticks, exec_id and wants_id. Valid during the call, if KNOWN. */
typedef void (*go_file_reader_fn)(enum go_file_reader_outcome outcome, const struct go_thread *process, void *userdata);

/* `fd`: the file, borrowed. `done` is called from `loop`, once; go_file_reader_free() may be called there. 0 or -errno. */
int go_file_reader_new(sd_event *loop, int fd, go_file_reader_fn done, void *userdata, struct go_file_reader **ret);
/* A helper still at work is ended. */
struct go_file_reader *go_file_reader_free(struct go_file_reader *reader);

/* What main() is called as when it is to be the helper: argv[0]; descriptor 3 is the file, 4 the pipe. */
#define GO_FILE_READER_NAME "tsprofd-go-file"
int go_file_reader_main(void);
