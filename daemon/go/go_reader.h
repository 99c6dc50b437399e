/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Has one Go process read: a helper process without any privilege is given the program's file and read-only descriptors of
 * /proc/PID/mem and /proc/PID/pagemap (which pages are there; no more than that without CAP_SYS_ADMIN), reads what is asked for (lib/goruntime), and sends a report. Reading the memory of a process may last as
 * long as that process likes (pages of its own file system): the helper is ended when it takes too long, and one that not even
 * SIGKILL ends is left behind, to be waited for when the kernel lets go of it.
 *
 * Nothing is written into the process, it is sent nothing and never stopped: the descriptor is opened by the core, which may
 * (CAP_SYS_PTRACE is asked for at open alone), and made sure of by the time at which the process began; it stays that of the memory of
 * this program, and has none any more when the process ends or becomes another program by exec. A debugger or strace(1) at the
 * same process is neither noticed nor in the way.
 *
 * The helper runs at idle priority (SCHED_IDLE): it takes what nobody else wants. When that is nothing for a quarter of its time, it is
 * begun anew at a low one, since a machine that is busy is what is looked at.
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
	/* 0: GO_READER_GOROUTINES. Bounds memory, too: of the helper 48 MiB and 400 bytes each, of ours about 500 bytes each for a moment. */
	uint32_t max_goroutines;
	uint64_t most_nsec;                  /* from start to end, but for GO_REPORT_REACH; 0: 10 s. Of snapshots: after go_reader_stop() */
	/* Of GO_REPORT_TALLY, which is asked for alone: mean time between two snapshots, 0: 50 ms; the most of a CPU, 0: 1 %. */
	uint64_t tally_period_nsec;
	uint32_t tally_ppm;
	/*
	 * Of GO_REPORT_REACH, which is for GO_REPORT_GOROUTINES alone: what is read of the process, and how long that may take. What is
	 * too much for either is left out of the report (its status says -ETIMEDOUT when idle priority gave it no time: the rest is read anew).
	 */
	uint64_t max_reach_bytes, max_reach_nsec; /* 0: 16 GiB, 10 s */
	bool is_urgent;                      /* never at idle priority: somebody waits */
};
#define GO_READER_GOROUTINES (UINT32_C(1) << 18)

/*
 * `report` is the callee's to move out of (go_report_deinit() follows either way), NULL when there is none: then `error` is
 * -errno: -ESRCH it is gone, by exec, too; -ETIMEDOUT it took too long; -EACCES its memory may not be read; -EBADMSG the report
 * is malformed; -EMSGSIZE more than `max_goroutines` may have; -ECHILD the helper died; -EFAULT, -EIO its memory is not there.
 *
 * report->cycles_per_second: as the runtime has measured it, else as we have (go_clock.h).
 */
typedef void (*go_reader_fn)(struct go_report *report, int error, void *userdata);

/*
 * Begins to read the process of the image, which need not outlive the call. `done` is called from `loop`, once, or from
 * go_reader_wait(), without which nothing comes where `loop` is NULL; go_reader_free() may be called there. 0; -ENOEXEC: it is no
 * Go program of ours (64 bit, whose file we have); -ESRCH, -EACCES as above; -errno.
 */
int go_reader_new(sd_event *loop, const struct image *image, const struct go_request *request, go_reader_fn done, void *userdata,
		struct go_reader **ret);
/*
 * GO_REPORT_TALLY: snapshots are taken until this is called, or the process ends, at a low priority instead of an idle one: they
 * must not be taken when nobody has anything to do alone. The report is as for anything else.
 */
void go_reader_stop(struct go_reader *reader);
/* Waits until it is done, however long that is allowed to take, without the loop. */
void go_reader_wait(struct go_reader *reader);
/* A helper still at work is ended. */
struct go_reader *go_reader_free(struct go_reader *reader);

/* What main() is called as when it is to be the helper: argv[0]. */
#define GO_READER_NAME "tsprofd-go"
/* The life of the helper. Its descriptors are go_reader.c's business. */
int go_reader_main(void);
