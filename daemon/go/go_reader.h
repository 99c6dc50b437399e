/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Has one Go process read: a helper process without any privilege is given the program's file and a read-only descriptor of
 * /proc/PID/mem, reads what is asked for (lib/goruntime), and sends a report. Reading the memory of a process may last as
 * long as that process likes (userfaultfd(2), pages of its own file system): the helper is ended when it takes too long.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

struct go_report;
struct go_reader;
struct image;

struct go_request {
	uint32_t parts;                      /* bits of enum go_report_part */
	uint32_t max_goroutines;             /* 0: default */
	uint64_t most_nsec;                  /* from start to end; 0: 10 s */
};

/*
 * `report` is the callee's to move out of (go_report_deinit() follows either way), NULL when there is none: then `error` is
 * -errno: -ESRCH it is gone, -ETIMEDOUT it took too long, -EACCES its memory may not be read, -EBADMSG the report is malformed,
 * -ECHILD the helper died.
 */
typedef void (*go_reader_fn)(struct go_report *report, int error, void *userdata);

/*
 * Begins to read the process of the image, which need not outlive the call. `done` is called from `loop`, once, or from
 * go_reader_wait(), without which nothing comes where `loop` is NULL; go_reader_free() may be called there. 0; -ENOEXEC: it is no Go program; -errno.
 */
int go_reader_new(sd_event *loop, const struct image *image, const struct go_request *request, go_reader_fn done, void *userdata,
		struct go_reader **ret);
/* Waits until it is done, however long that is allowed to take, without the loop. */
void go_reader_wait(struct go_reader *reader);
/* A helper still at work is ended. */
struct go_reader *go_reader_free(struct go_reader *reader);

/* What main() is called as when it is to be the helper: argv[0]. */
#define GO_READER_NAME "tsprofd-go"
/* The life of the helper. Its descriptors are go_reader.c's business. */
int go_reader_main(void);
