/* SPDX-License-Identifier: Apache-2.0 */
#include "java_attach.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "helper.h"
#include "privileges.h"
#include "process.h"

enum {
	/* 20 ms when it is idle, 200 ms when all CPUs are taken; jcmd waits 10 s. */
	SOCKET_MSEC = 2500,
	/* Some milliseconds for some thousand methods; but the JVM may be stopped for a collection. */
	ANSWER_MSEC = 1500,
	/* How soon and how often the socket is looked for. */
	FIRST_PAUSE_MSEC = 5,
	LAST_PAUSE_MSEC = 80,
	/* When it should have ended by itself. */
	GIVE_UP_MSEC = JAVA_ATTACH_MOST_MSEC + 500,
	/* "0\n" is what a good answer is; a bad one tells where in its sources it gave up. */
	MAX_ANSWER = 4096,
};

/* Protocol version, command, and three arguments, each terminated. */
static const char request[] = "1\0jcmd\0Compiler.perfmap\0\0";

/* What the helper is to do, as it finds it after fork(). */
struct errand {
	int root;                            /* O_PATH, of the process's file system */
	int status;                          /* its /proc/PID/status */
	int pid_fd;
	int report;                          /* where the outcome is written to */
	uint32_t pid, namespace_pid;
	uid_t uid;
	gid_t gid;
	bool may_signal;
	char socket_name[32], trigger_name[32], map_name[32];
};

/* What it found. */
struct report {
	uint32_t outcome;
	int32_t error, code;
	uint32_t was_signalled;
	uint64_t answer_nsec;
};

struct java_attach {
	java_attach_fn done;
	void *userdata;
	struct java_attach_result result;
	struct helper helper;                /* none: the outcome is known */
	int report;
	sd_event_source *exit_source, *timer;
};

int java_attach_parse_answer(const char *text, size_t size, int32_t *ret_code)
{
	bool is_negative = size && *text == '-';
	int64_t code = 0;
	size_t i = is_negative;

	for (; i < size && text[i] >= '0' && text[i] <= '9'; i++) {
		code = code * 10 + (text[i] - '0');
		if (code > INT32_MAX)
			return -EBADMSG;
	}
	if (i == is_negative || i == size || text[i] != '\n')
		return -EBADMSG;
	*ret_code = (int32_t)(is_negative ? -code : code);
	return 0;
}

/* ---- the helper: system calls only, since the daemon has threads ---- */

static uint64_t now_msec(void)
{
	return clock_monotonic_nsec() / NSEC_PER_MSEC;
}

static void pause_msec(int msec)
{
	poll(NULL, 0, msec);
}

static bool fail(struct report *report, enum java_attach_outcome outcome, int error)
{
	report->outcome = outcome;
	report->error = error;
	return false;
}

/* Its /tmp, which becomes our working directory: so that a path of a socket can lead there. */
static bool enter_tmp(const struct errand *errand, struct report *report)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int tmp = (int)syscall(SYS_openat2, errand->root, "tmp", &how, sizeof(how));

	if (tmp < 0 || fchdir(tmp) < 0)
		return fail(report, JAVA_ATTACH_NO_TMP, errno);
	close(tmp);
	return true;
}

/* What is there already would be written to: it could lead to another file, as a link, if nobody else forbids it. */
static bool check_map(const struct errand *errand, struct report *report)
{
	struct stat stat;

	if (fstatat(AT_FDCWD, errand->map_name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT || fail(report, JAVA_ATTACH_NO_TMP, errno);
	if (!S_ISREG(stat.st_mode) || stat.st_nlink != 1 || stat.st_uid != errand->uid)
		return fail(report, JAVA_ATTACH_FOREIGN_FILE, 0);
	return true;
}

/* A descriptor, or -1 with the outcome: JAVA_ATTACH_NO_SOCKET when there is none (yet). */
static int connect_to(const struct errand *errand, struct report *report)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	struct ucred peer;
	socklen_t size = sizeof(peer);
	struct stat stat;

	if (fstatat(AT_FDCWD, errand->socket_name, &stat, AT_SYMLINK_NOFOLLOW) < 0) {
		fail(report, errno == ENOENT ? JAVA_ATTACH_NO_SOCKET : JAVA_ATTACH_NO_TMP, errno);
		return -1;
	}
	if (!S_ISSOCK(stat.st_mode) || stat.st_uid != errand->uid) {
		fail(report, JAVA_ATTACH_FOREIGN_FILE, 0);
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	memcpy(address.sun_path, errand->socket_name, sizeof(errand->socket_name));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		/* EAGAIN: five others wait already. */
		fail(report, errno == EAGAIN ? JAVA_ATTACH_NO_SOCKET : JAVA_ATTACH_NO_CONNECTION, errno);
		return -1;
	}
	/* Who called listen(). */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || (uint32_t)peer.pid != errand->pid) {
		fail(report, JAVA_ATTACH_FOREIGN_FILE, 0);
		return -1;
	}
	return take_fd(&fd);
}

/* The file that tells the JVM what the signal is for. */
static bool make_trigger(const struct errand *errand, struct report *report, bool *ret_is_ours)
{
	int fd = open(errand->trigger_name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat stat;

	*ret_is_ours = fd >= 0;
	if (fd >= 0) {
		close(fd);
		return true;
	}
	if (errno != EEXIST)
		return fail(report, JAVA_ATTACH_NO_TMP, errno);
	/* Another tool's that is at it, too; the JVM looks at the owner alone. */
	if (fstatat(AT_FDCWD, errand->trigger_name, &stat, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(stat.st_mode) ||
	    (stat.st_uid != errand->uid && stat.st_uid != 0))
		return fail(report, JAVA_ATTACH_FOREIGN_FILE, 0);
	return true;
}

static bool send_signal(const struct errand *errand, struct report *report)
{
	char text[PROCESS_MAX_STATUS];
	ssize_t n = pread(errand->status, text, sizeof(text), 0);

	if (n < 0)
		return fail(report, errno == ESRCH ? JAVA_ATTACH_GONE : JAVA_ATTACH_NO_SIGNAL, errno);
	if (!process_catches(text, (size_t)n, SIGQUIT))
		return fail(report, JAVA_ATTACH_NOT_CATCHING, 0);
	if (syscall(SYS_pidfd_send_signal, errand->pid_fd, SIGQUIT, NULL, 0) < 0)
		return fail(report, errno == ESRCH ? JAVA_ATTACH_GONE : JAVA_ATTACH_NO_SIGNAL, errno);
	report->was_signalled = 1;
	return true;
}

static int wait_for_socket(const struct errand *errand, struct report *report)
{
	uint64_t end = now_msec() + SOCKET_MSEC;
	int fd = -1;

	for (int msec = FIRST_PAUSE_MSEC; fd < 0 && report->outcome == JAVA_ATTACH_NO_SOCKET && now_msec() < end;
			msec = MIN(2 * msec, LAST_PAUSE_MSEC)) {
		pause_msec(msec);
		fd = connect_to(errand, report);
	}
	return fd;
}

/* A connection to its attach listener, which is started if need be; -1 with the outcome. */
static int find_listener(const struct errand *errand, struct report *report)
{
	int fd = connect_to(errand, report);
	bool is_ours;

	if (fd >= 0 || report->outcome != JAVA_ATTACH_NO_SOCKET || !errand->may_signal)
		return fd;
	if (!make_trigger(errand, report, &is_ours))
		return -1;
	if (send_signal(errand, report))
		fd = wait_for_socket(errand, report);
	if (is_ours)
		unlink(errand->trigger_name);
	return fd;
}

static size_t read_answer(int fd, char *answer, size_t size)
{
	uint64_t now = now_msec(), end = now + ANSWER_MSEC;
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	size_t used = 0;

	for (; used < size && now < end; now = now_msec()) {
		ssize_t n;

		if (poll(&poll_fd, 1, (int)(end - now)) <= 0)
			continue;
		n = recv(fd, answer + used, size - used, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			break;
		used += n > 0 ? (size_t)n : 0;
	}
	return used;
}

static bool ask(const struct errand *errand, int fd, struct report *report)
{
	uint64_t begin_nsec = clock_monotonic_nsec();
	char answer[MAX_ANSWER];
	struct stat stat;
	size_t n;

	/* It fits into the buffer of any socket. */
	if (send(fd, request, sizeof(request), MSG_NOSIGNAL) != (ssize_t)sizeof(request))
		return fail(report, JAVA_ATTACH_NO_CONNECTION, errno);
	n = read_answer(fd, answer, sizeof(answer));
	report->answer_nsec = clock_monotonic_nsec() - begin_nsec;
	if (java_attach_parse_answer(answer, n, &report->code) < 0)
		return fail(report, JAVA_ATTACH_NO_ANSWER, 0);
	if (report->code)
		return fail(report, JAVA_ATTACH_REFUSED, 0);
	/* That it could not write it, it tells only its own log. */
	if (fstatat(AT_FDCWD, errand->map_name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(report, JAVA_ATTACH_NO_MAP, 0);
	report->outcome = JAVA_ATTACH_WRITTEN;
	report->error = 0;
	return true;
}

static void run_errand(const struct errand *errand, struct report *report)
{
	int r = privileges_become(errand->uid, errand->gid), fd;

	if (r < 0) {
		fail(report, JAVA_ATTACH_NO_USER, -r);
		return;
	}
	if (!enter_tmp(errand, report) || !check_map(errand, report))
		return;
	fd = find_listener(errand, report);
	if (fd >= 0)
		ask(errand, fd, report);
}

static _Noreturn void help(const struct errand *errand)
{
	const int kept[] = { errand->root, errand->status, errand->pid_fd, errand->report };
	struct report report = { 0 };

	/* Its /tmp may be a network's that does not answer. Nobody else may end what has another user now. */
	helper_begin(kept, ARRAY_SIZE(kept), JAVA_ATTACH_MOST_MSEC / 1000);
	run_errand(errand, &report);
	/* It fits into the pipe. */
	_exit(write(errand->report, &report, sizeof(report)) == (ssize_t)sizeof(report) ? 0 : 1);
}

/* ---- the daemon's side ---- */

static void finish(struct java_attach *attach)
{
	struct java_attach_result result;
	struct report report;

	sd_event_source_set_enabled(attach->exit_source, SD_EVENT_OFF);
	sd_event_source_set_enabled(attach->timer, SD_EVENT_OFF);
	if (attach->helper.pid) {
		attach->result.outcome = JAVA_ATTACH_FAILED;
		if (read(attach->report, &report, sizeof(report)) == (ssize_t)sizeof(report) &&
		    report.outcome < JAVA_ATTACH_N_OUTCOMES) {
			attach->result.outcome = (enum java_attach_outcome)report.outcome;
			attach->result.error = report.error;
			attach->result.code = report.code;
			attach->result.was_signalled = report.was_signalled;
			attach->result.answer_nsec = report.answer_nsec;
		}
		/* One that hangs in the kernel stays until it does not. */
		helper_leave(&attach->helper);
	}
	/* It may be freed there. */
	result = attach->result;
	attach->done(&result, attach->userdata);
}

static int on_helper_exit(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	finish(userdata);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	finish(userdata);
	return 0;
}

/* What is known of the process without asking it. -errno: nothing was found out. */
static int look(const struct java_attach_query *query, struct errand *errand, struct java_attach_result *result)
{
	_cleanup_free_ char *command_line = NULL;
	struct process_status status;
	int r = process_read_status(query->proc, query->pid, &status);

	if (r == 0)
		r = process_read_command_line(query->proc, query->pid, &command_line);
	if (r == PROCESS_E_GONE)
		result->outcome = JAVA_ATTACH_GONE;
	if (r)
		return MIN(r, 0);
	result->uid = errand->uid = status.effective_uid;
	result->namespace_pid = errand->namespace_pid = status.namespace_pid;
	errand->gid = status.effective_gid;
	/* It would take the signal for the wish for a thread dump. */
	if (strstr(command_line, "-XX:+DisableAttachMechanism"))
		result->outcome = JAVA_ATTACH_DISABLED;
	return 0;
}

static int open_below(const struct java_attach_query *query, const char *name, int flags)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "%" PRIu32 "/%s", query->pid, name);
	fd = openat(query->proc, path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Starts the helper, unless the outcome is known by now. */
static int start(struct java_attach *attach, const struct java_attach_query *query)
{
	struct errand errand = { .pid = query->pid, .pid_fd = query->pid_fd, .may_signal = query->may_signal };
	_cleanup_close_ int root = -1, status = -1, writer = -1;
	int r, fds[2];
	pid_t helper;

	attach->result.outcome = JAVA_ATTACH_WRITTEN;
	r = look(query, &errand, &attach->result);
	if (r < 0 || attach->result.outcome)
		return r;
	root = open_below(query, "root", O_PATH | O_DIRECTORY);
	status = open_below(query, "status", O_RDONLY);
	if (root < 0 || status < 0) {
		r = MIN(root, status);
		attach->result.outcome = JAVA_ATTACH_GONE;
		return r == -ENOENT || r == -ESRCH ? 0 : r;
	}
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	attach->report = fds[0];
	writer = fds[1];
	errand.root = root;
	errand.status = status;
	errand.report = writer;
	snprintf(errand.socket_name, sizeof(errand.socket_name), ".java_pid%" PRIu32, errand.namespace_pid);
	snprintf(errand.trigger_name, sizeof(errand.trigger_name), ".attach_pid%" PRIu32, errand.namespace_pid);
	snprintf(errand.map_name, sizeof(errand.map_name), "perf-%" PRIu32 ".map", errand.namespace_pid);
	helper = fork();
	if (helper == 0)
		help(&errand);
	return helper_watch(&attach->helper, helper);
}

DEFINE_CLEANUP(struct java_attach, java_attach_free);

int java_attach_new(sd_event *loop, const struct java_attach_query *query, java_attach_fn done, void *userdata,
		struct java_attach **ret)
{
	_cleanup_(java_attach_free_p) struct java_attach *attach = calloc(1, sizeof(*attach));
	int r;

	if (!attach)
		return -ENOMEM;
	attach->done = done;
	attach->userdata = userdata;
	attach->helper = HELPER_NONE;
	attach->report = -1;
	r = start(attach, query);
	/* One that has ended takes nothing more, but java_attach_wait() does not need it. */
	if (r >= 0 && sd_event_get_state(loop) == SD_EVENT_FINISHED) {
		*ret = TAKE(attach);
		return 0;
	}
	if (r >= 0 && attach->helper.pid)
		r = sd_event_add_io(loop, &attach->exit_source, attach->helper.fd, EPOLLIN, on_helper_exit, attach);
	if (r >= 0)
		r = sd_event_add_time_relative(loop, &attach->timer, CLOCK_MONOTONIC,
				attach->helper.pid ? GIVE_UP_MSEC * 1000 : 0, 1000, on_timer, attach);
	if (r < 0)
		return r;
	*ret = TAKE(attach);
	return 0;
}

struct java_attach *java_attach_free(struct java_attach *attach)
{
	if (!attach)
		return NULL;
	sd_event_source_disable_unref(attach->exit_source);
	sd_event_source_disable_unref(attach->timer);
	helper_deinit(&attach->helper);
	close_fd(attach->report);
	free(attach);
	return NULL;
}

void java_attach_wait(struct java_attach *attach)
{
	if (attach->helper.pid)
		helper_has_ended(&attach->helper, GIVE_UP_MSEC);
	finish(attach);
}

void java_attach_explain(const struct java_attach_result *result, char *text, size_t size)
{
	const char *error = strerror(result->error);
	uint32_t pid = result->namespace_pid;

	switch (result->outcome) {
	case JAVA_ATTACH_GONE:
		snprintf(text, size, "it has ended");
		return;
	case JAVA_ATTACH_DISABLED:
		snprintf(text, size, "it runs with -XX:+DisableAttachMechanism");
		return;
	case JAVA_ATTACH_NOT_CATCHING:
		snprintf(text, size, "it does not catch SIGQUIT: it is no HotSpot, still starts, or runs with -Xrs");
		return;
	case JAVA_ATTACH_NO_USER:
		snprintf(text, size,
				"cannot become its user %u to ask it (%s): the service lacks CAP_SETUID, CAP_SETGID or two system calls, "
				"see java_perfmap in profiling.yaml(5)", result->uid, error);
		return;
	case JAVA_ATTACH_NO_TMP:
		snprintf(text, size, "its /tmp cannot be used: %s", error);
		return;
	case JAVA_ATTACH_FOREIGN_FILE:
		snprintf(text, size,
				"one of /tmp/.java_pid%" PRIu32 ", .attach_pid%" PRIu32 " and perf-%" PRIu32 ".map, as it sees them, is not its own",
				pid, pid, pid);
		return;
	case JAVA_ATTACH_NO_SIGNAL:
		snprintf(text, size, "it cannot be signalled: %s", error);
		return;
	case JAVA_ATTACH_NO_SOCKET:
		snprintf(text, size, "it opened no socket /tmp/.java_pid%" PRIu32 " after SIGQUIT", pid);
		return;
	case JAVA_ATTACH_NO_CONNECTION:
		snprintf(text, size, "its socket /tmp/.java_pid%" PRIu32 " takes no request: %s", pid, error);
		return;
	case JAVA_ATTACH_NO_ANSWER:
		snprintf(text, size, "it gave no answer");
		return;
	case JAVA_ATTACH_REFUSED:
		snprintf(text, size, "it answered with code %" PRId32 ": JDK 17 is the first to have Compiler.perfmap", result->code);
		return;
	case JAVA_ATTACH_NO_MAP:
		snprintf(text, size, "it could not write /tmp/perf-%" PRIu32 ".map", pid);
		return;
	case JAVA_ATTACH_FAILED:
	case JAVA_ATTACH_WRITTEN:
	case JAVA_ATTACH_N_OUTCOMES:
	default:
		snprintf(text, size, "the helper process failed");
		return;
	}
}
