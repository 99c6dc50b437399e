/* SPDX-License-Identifier: Apache-2.0 */
#include "hotspot_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cleanup.h"
#include "helper.h"
#include "privileges.h"
#include "unwind_hotspot.h"

enum { MOST_SEC = 2 };                       /* 2 ms, when all is in memory */

/* What the helper writes; it fits into the pipe. */
struct report {
	uint32_t outcome;                    /* enum hotspot_reader_outcome */
	uint32_t zero;
	struct hotspot hotspot;
};

struct hotspot_reader {
	hotspot_reader_fn done;
	void *userdata;
	struct helper helper;
	int pipe;
	sd_event_source *exit_source;
};

/* ---- the helper: system calls only, since the daemon has threads ---- */

static int read_memory(void *userdata, uint64_t address, void *to, size_t size)
{
	const pid_t *pid = userdata;
	struct iovec ours = { .iov_base = to, .iov_len = size };
	struct iovec theirs = { .iov_base = (void *)(uintptr_t)address, .iov_len = size };
	ssize_t n = process_vm_readv(*pid, &ours, 1, &theirs, 1, 0);

	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EFAULT;
}

static uint32_t outcome_of(int r)
{
	if (r < 0)
		return HOTSPOT_READER_FAILED;
	return r == 0 ? HOTSPOT_READER_KNOWN : r == UNWIND_HOTSPOT_E_EARLY ? HOTSPOT_READER_EARLY : HOTSPOT_READER_UNKNOWN;
}

static _Noreturn void help(pid_t pid, uint64_t base, int pipe)
{
	struct report report = { .outcome = HOTSPOT_READER_FAILED };

	helper_begin(&pipe, 1, MOST_SEC);
	if (privileges_keep_ptrace() >= 0)
		report.outcome = outcome_of(unwind_hotspot_read(base, read_memory, &pid, &report.hotspot));
	_exit(write(pipe, &report, sizeof(report)) == (ssize_t)sizeof(report) ? 0 : 1);
}

/* ---- the daemon's side ---- */

static int on_exit_of_helper(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct hotspot_reader *reader = userdata;
	enum hotspot_reader_outcome outcome = HOTSPOT_READER_FAILED;
	struct report report;

	sd_event_source_set_enabled(reader->exit_source, SD_EVENT_OFF);
	if (read(reader->pipe, &report, sizeof(report)) == (ssize_t)sizeof(report) && report.outcome <= HOTSPOT_READER_FAILED)
		outcome = (enum hotspot_reader_outcome)report.outcome;
	helper_leave(&reader->helper);
	if (outcome == HOTSPOT_READER_KNOWN && unwind_hotspot_check(&report.hotspot))
		outcome = HOTSPOT_READER_UNKNOWN;
	reader->done(outcome, &report.hotspot, reader->userdata);
	return 0;
}

static int start(struct hotspot_reader *reader, uint32_t pid, uint64_t base)
{
	_cleanup_close_ int writer = -1;
	int fds[2];
	pid_t helper;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	reader->pipe = fds[0];
	writer = fds[1];
	helper = fork();
	if (helper == 0)
		help((pid_t)pid, base, writer);
	return helper_watch(&reader->helper, helper);
}

DEFINE_CLEANUP(struct hotspot_reader, hotspot_reader_free);

int hotspot_reader_new(sd_event *loop, uint32_t pid, uint64_t base, hotspot_reader_fn done, void *userdata,
		struct hotspot_reader **ret)
{
	_cleanup_(hotspot_reader_free_p) struct hotspot_reader *reader = calloc(1, sizeof(*reader));
	int r;

	if (!reader)
		return -ENOMEM;
	reader->done = done;
	reader->userdata = userdata;
	reader->helper = HELPER_NONE;
	reader->pipe = -1;
	r = start(reader, pid, base);
	if (r >= 0)
		r = sd_event_add_io(loop, &reader->exit_source, reader->helper.fd, EPOLLIN, on_exit_of_helper, reader);
	if (r < 0)
		return r;
	*ret = TAKE(reader);
	return 0;
}

struct hotspot_reader *hotspot_reader_free(struct hotspot_reader *reader)
{
	if (!reader)
		return NULL;
	sd_event_source_disable_unref(reader->exit_source);
	helper_kill(&reader->helper);
	helper_deinit(&reader->helper);
	close_fd(reader->pipe);
	free(reader);
	return NULL;
}
