/* SPDX-License-Identifier: Apache-2.0 */
#include "symbolizer_process.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "build_id.h"
#include "cleanup.h"
#include "clock.h"
#include "debug_file.h"
#include "fs.h"
#include "hash.h"
#include "log.h"
#include "map.h"
#include "spawn_self.h"
#include "symbolizer_child.h"
#include "symbolizer_protocol.h"
#include "unwind_image.h"

#define SOCKET_FD 3                          /* of the process, as symbolizer_process.h says */

#define DEFAULT_CPU_SECONDS 2
#define KERNEL_CPU_SECONDS 10                /* nobody's trap, needed by all, 200,000 lines; 0.1 s here */
#define KERNEL_NSEC (600 * NSEC_PER_SEC)     /* BPF programs come and go without a trace: its symbols are read again then */
#define BYTES_PER_CPU_SECOND (UINT64_C(50) << 20)  /* what libdw reads in half a second here: twice that for slow machines */
#define TABLE_BYTES_PER_CPU_SECOND (UINT64_C(256) << 20) /* node, 100 MiB, takes a fraction of a second here; most of a file is not read */
#define WALL_FACTOR 10                       /* wall time for each second of CPU time: it competes with what we profile */
#define STALLED_NSEC (NSEC_PER_SEC)          /* without CPU time, asleep or stopped, while we wait for an answer */
#define START_NSEC (20 * NSEC_PER_SEC)       /* to be confined: 5 ms on an idle machine, seconds on a starved virtual one */
#define RETRY_START_NSEC (10 * NSEC_PER_SEC) /* not at each file of a window when it can't be started */
#define TICK_MSEC 20

#define MAX_FILES 256                        /* then a new process: libdw leaks a little on malformed files */
#define MAX_IDLE_MEMORY (UINT64_C(40) << 20) /* between questions: the C library with its debug file and the kernel fit; all of us has 64 MiB */
#define MAX_MEMORY (UINT64_C(640) << 20)     /* resident, mapped files included: beyond its own limit something is wrong */

#define MAX_REFUSED 4096                     /* hopeless files remembered: 100 bytes each */
#define REFUSED_NSEC (3600 * NSEC_PER_SEC)
#define BLAMELESS_NSEC (60 * NSEC_PER_SEC)   /* killed by who knows whom: the file may be innocent */
#define MAX_CANDIDATES 32                    /* debug files tried for one file */
#define LOG_INTERVAL_NSEC (6 * NSEC_PER_SEC) /* ten lines a minute, however many files are hostile */

/* How a talk with the process ended. */
enum {
	TALK_E_DEAD = 1,
	TALK_E_TIMEOUT = 2,                  /* CPU time, wall time, or stopped */
	TALK_E_LIAR = 3,                     /* it sent what no sound symbolizer sends */
	TALK_E_REFUSED = 4,                  /* alive and well: this source has no names */
	TALK_E_WRONG_FILE = 5,               /* not the one with the expected build id */
};

/* What makes a source the same as an earlier one. Hashed as bytes. */
struct identity {
	uint64_t kind;
	uint64_t device, inode, size, mtime_nsec;
	uint64_t stamp;                      /* of the kernel: changes with its modules */
};

struct slot {
	bool used;
	struct identity identity;
	struct build_id build_id;
	uint64_t n_bytes;                    /* of the file and its debug files: how long it may take */
	uint64_t bytes_per_cpu_second;
	uint64_t last_used;                  /* count of questions */
	uint64_t memory;                     /* by how much the process grew for it */
};

struct symbolizer_process {
	const char *const *debug_directories;
	const char *purpose;
	uint64_t cpu_nsec_per_file;

	int socket;                          /* -1: no process */
	struct slot slots[SYMBOLIZER_SLOTS];
	uint64_t n_questions, n_files;       /* n_files: opened by this process since its start */
	uint64_t no_start_until_nsec;
	struct map refused;                  /* struct identity -> uint64_t: until when, monotonic */

	uint64_t logged_nsec;
	bool told_sandbox;

	pthread_mutex_t lock;                /* of the rest: others may ask for stats */
	pid_t pid;                           /* 0: none. It is ours to reap, so the number is not reused under us */
	bool cancelled;
	struct symbolizer_stats stats;
	uint64_t cpu_nsec_of_dead;

	struct symbolizer_question question;
	struct symbolizer_record record;
};

DEFINE_CLEANUP(struct names, names_free);
DEFINE_CLEANUP(struct symbolizer_names_reader, symbolizer_names_reader_free);

/* How long the current question may take. */
struct deadline {
	uint64_t begun_nsec, cpu_begun_nsec, cpu_limit_nsec;
	uint64_t progress_nsec, cpu_progress_nsec;   /* when CPU time was last seen to grow, and to what */
};

/* --- the process ----------------------------------------------------------------------------------------------- */

static uint64_t cpu_nsec_of(pid_t pid)
{
	clockid_t clock;

	/* Any process's CPU clock may be read, clock_getcpuclockid(3). */
	return pid > 0 && clock_getcpuclockid(pid, &clock) == 0 ? clock_nsec(clock) : 0;
}

static uint64_t memory_of(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long size, resident;
	char path[64];
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	if (pid <= 0 || fs_read(AT_FDCWD, path, 4096, &text, &n) < 0 || sscanf(text, "%llu %llu", &size, &resident) != 2)
		return 0;
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The letter of proc(5), '?' when it is not to be had. */
static char state_of(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	const char *end;
	char path[64];
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (fs_read(AT_FDCWD, path, 4096, &text, &n) < 0)
		return '?';
	end = strrchr(text, ')');
	return end && end[1] == ' ' ? end[2] : '?';
}

static void count(struct symbolizer_process *process, uint64_t *counter, uint64_t n)
{
	pthread_mutex_lock(&process->lock);
	*counter += n;
	pthread_mutex_unlock(&process->lock);
}

static bool is_cancelled(struct symbolizer_process *process)
{
	bool cancelled;

	pthread_mutex_lock(&process->lock);
	cancelled = process->cancelled;
	pthread_mutex_unlock(&process->lock);
	return cancelled;
}

/* Ends the process, if there is one, and forgets what it had open. Returns its wait status, 0 when there was none. */
static int stop(struct symbolizer_process *process)
{
	struct rusage usage = {0};
	int status = 0;

	process->socket = close_fd(process->socket);
	memset(process->slots, 0, sizeof(process->slots));
	process->n_files = 0;
	pthread_mutex_lock(&process->lock);
	if (process->pid > 0) {
		pid_t pid;

		kill(process->pid, SIGKILL);
		do
			pid = wait4(process->pid, &status, 0, &usage);
		while (pid < 0 && errno == EINTR);
		process->pid = 0;
	}
	process->cpu_nsec_of_dead += (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * NSEC_PER_SEC +
		(uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * NSEC_PER_USEC;
	pthread_mutex_unlock(&process->lock);
	return status;
}

/* --- talking --------------------------------------------------------------------------------------------------- */

static struct deadline deadline_new(const struct symbolizer_process *process, uint64_t cpu_limit_nsec)
{
	uint64_t now = clock_monotonic_nsec(), cpu = cpu_nsec_of(process->pid);

	return (struct deadline){
		.begun_nsec = now, .progress_nsec = now,
		.cpu_begun_nsec = cpu, .cpu_progress_nsec = cpu,
		.cpu_limit_nsec = cpu_limit_nsec,
	};
}

/* Whether to wait on: 0, or why not. */
static int check_deadline(const struct symbolizer_process *process, struct deadline *deadline)
{
	uint64_t now = clock_monotonic_nsec(), cpu = cpu_nsec_of(process->pid);
	char state;

	if (cpu - deadline->cpu_begun_nsec > deadline->cpu_limit_nsec ||
	    now - deadline->begun_nsec > deadline->cpu_limit_nsec * WALL_FACTOR)
		return TALK_E_TIMEOUT;
	if (cpu != deadline->cpu_progress_nsec) {
		deadline->cpu_progress_nsec = cpu;
		deadline->progress_nsec = now;
		return memory_of(process->pid) > MAX_MEMORY ? TALK_E_DEAD : 0;
	}
	if (now - deadline->progress_nsec < STALLED_NSEC)
		return 0;
	/* It may wait for a core or a disk, but for nothing else. */
	state = state_of(process->pid);
	return state == 'R' || state == 'D' || state == '?' ? 0 : TALK_E_TIMEOUT;
}

static int wait_for(struct symbolizer_process *process, short events, struct deadline *deadline)
{
	struct pollfd p = { .fd = process->socket, .events = events };
	int r = poll(&p, 1, TICK_MSEC);

	if (r < 0 && errno != EINTR)
		return -errno;
	return r > 0 ? 0 : check_deadline(process, deadline);
}

/* Sends process->record, with a descriptor unless it is negative. */
static int send_record(struct symbolizer_process *process, int fd, struct deadline *deadline)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = { .iov_base = process->record.bytes, .iov_len = process->record.size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	int r;

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		*CMSG_FIRSTHDR(&message) = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(fd)),
		};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &fd, sizeof(fd));
	}
	for (;;) {
		if (sendmsg(process->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
		if (errno == EPIPE || errno == ECONNRESET)
			return TALK_E_DEAD;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_for(process, POLLOUT, deadline);
		if (r)
			return r;
	}
}

/* Receives into process->record. Descriptors that it might send are discarded by the kernel: no room is given for them. */
static int receive_record(struct symbolizer_process *process, struct deadline *deadline)
{
	int r;

	for (;;) {
		ssize_t n = recv(process->socket, process->record.bytes, sizeof(process->record.bytes), MSG_DONTWAIT | MSG_TRUNC);

		if (n > (ssize_t)sizeof(process->record.bytes))
			return TALK_E_LIAR;
		if (n > 0) {
			process->record.size = n;
			return 0;
		}
		if (n == 0 || errno == ECONNRESET)
			return TALK_E_DEAD;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_for(process, POLLIN, deadline);
		if (r)
			return r;
	}
}

/* Asks process->question. */
static int ask(struct symbolizer_process *process, int fd, struct deadline *deadline)
{
	symbolizer_protocol_put_question(&process->record, &process->question);
	return send_record(process, fd, deadline);
}

static int ask_opened(struct symbolizer_process *process, enum symbolizer_record_type type, size_t slot, int fd,
		struct deadline *deadline, struct symbolizer_opened *ret)
{
	int r;

	process->question.type = type;
	process->question.slot = slot;
	process->question.n_offsets = 0;
	r = ask(process, fd, deadline);
	if (!r)
		r = receive_record(process, deadline);
	if (!r && symbolizer_protocol_get_opened(process->record.bytes, process->record.size, ret))
		r = TALK_E_LIAR;
	return r;
}

static int ask_close(struct symbolizer_process *process, size_t slot, struct deadline *deadline)
{
	int r;

	process->question.type = SYMBOLIZER_CLOSE;
	process->question.slot = slot;
	process->question.n_offsets = 0;
	process->slots[slot].used = false;
	r = ask(process, -1, deadline);
	if (!r)
		r = receive_record(process, deadline);
	if (!r && symbolizer_protocol_get_closed(process->record.bytes, process->record.size))
		r = TALK_E_LIAR;
	return r;
}

/* --- start ----------------------------------------------------------------------------------------------------- */

static void tell_sandbox(struct symbolizer_process *process, const struct symbolizer_hello *hello)
{
	if (process->told_sandbox)
		return;
	process->told_sandbox = true;
	if (!hello->landlock_abi)
		log_print(LOG_NOTICE, "symbolizer: Landlock is not to be had here; system calls are limited all the same");
	if (!hello->limited)
		log_print(LOG_NOTICE, "symbolizer: not all resource limits could be set");
	if (!hello->unprivileged_user)
		log_print(LOG_NOTICE, "symbolizer: runs as root without capabilities: the user could not be changed");
}

static int greet(struct symbolizer_process *process)
{
	struct deadline deadline = deadline_new(process, START_NSEC / WALL_FACTOR);
	struct symbolizer_hello hello;
	int r = receive_record(process, &deadline);

	if (r)
		return r;
	if (symbolizer_protocol_get_hello(process->record.bytes, process->record.size, &hello))
		return TALK_E_LIAR;
	tell_sandbox(process, &hello);
	return 0;
}

static int start(struct symbolizer_process *process)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], r, status;
	pid_t pid;

	if (clock_monotonic_nsec() < process->no_start_until_nsec)
		return -EIO;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	r = spawn_self(&(struct spawn_self){ .name = SYMBOLIZER_PROCESS_NAME, .argument = process->purpose, .fds = &theirs, .n_fds = 1 }, &pid);
	if (r < 0) {
		log_print(LOG_ERR, "symbolizer: can't be started: %s", strerror(-r));
		process->no_start_until_nsec = clock_monotonic_nsec() + RETRY_START_NSEC;
		return r;
	}
	theirs = close_fd(theirs);
	process->socket = take_fd(&ours);
	pthread_mutex_lock(&process->lock);
	process->pid = pid;
	process->stats.starts++;
	pthread_mutex_unlock(&process->lock);
	/* Cancelled meanwhile: by who saw no process to kill. */
	r = is_cancelled(process) ? -ECANCELED : greet(process);
	if (!r)
		return 0;
	status = stop(process);
	if (is_cancelled(process))
		return -ECANCELED;
	log_print(LOG_ERR, "symbolizer: could not confine itself (wait status %#x); addresses stay without names for now", status);
	process->no_start_until_nsec = clock_monotonic_nsec() + RETRY_START_NSEC;
	return r < 0 ? r : -EIO;
}

/* There is a process that is alive, as far as can be told. */
static int ensure_started(struct symbolizer_process *process)
{
	siginfo_t info = {0};

	if (is_cancelled(process))
		return -ECANCELED;
	if (process->pid > 0 && waitid(P_PID, process->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
		/* Between two questions: no file is to blame. */
		count(process, &process->stats.deaths, 1);
		stop(process);
	}
	return process->pid > 0 ? 0 : start(process);
}

/* --- files ----------------------------------------------------------------------------------------------------- */

/*
 * Which modules are loaded, as a number: names and addresses of /proc/modules, whose other columns change all the time.
 * Their symbols come and go with them.
 */
static uint64_t kernel_stamp(void)
{
	_cleanup_free_ char *text = NULL;
	uint64_t stamp = 0;
	size_t n;

	if (fs_read(AT_FDCWD, "/proc/modules", 4 << 20, &text, &n) < 0)
		return 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		const char *address = strstr(line, " 0x");

		stamp = stamp * 31 + hash_bytes(line, strcspn(line, " ")) + (address ? hash_bytes(address, strlen(address)) : 0);
	}
	return stamp;
}

/* Not by build id: a hostile file may claim that of libc, and libc must not lose its names for what that file did. */
static int identify(const struct symbol_source *source, int fd, struct identity *ret, uint64_t *ret_bytes)
{
	struct identity identity = { .kind = source->kind };
	struct stat st = {0};

	if (source->kind == SYMBOL_SOURCE_KERNEL)
		identity.stamp = kernel_stamp() + clock_monotonic_nsec() / KERNEL_NSEC;
	else if (source->kind != SYMBOL_SOURCE_VDSO) {
		if (fstat(fd, &st) < 0)
			return -errno;
		identity.device = st.st_dev;
		identity.inode = st.st_ino;
		identity.size = st.st_size;
		identity.mtime_nsec = (uint64_t)st.st_mtim.tv_sec * NSEC_PER_SEC + (uint64_t)st.st_mtim.tv_nsec;
	}
	*ret = identity;
	/* Holes take no time: a sparse file does not buy itself minutes. */
	*ret_bytes = MIN((uint64_t)st.st_size, (uint64_t)st.st_blocks * 512);
	return 0;
}

static bool is_refused(struct symbolizer_process *process, const struct identity *identity)
{
	const uint64_t *until = map_get(&process->refused, identity);

	return until && clock_monotonic_nsec() < *until;
}

static void refuse(struct symbolizer_process *process, const struct identity *identity, uint64_t nsec)
{
	void *until;

	/* Full of what somebody made up: those who return are refused again soon. */
	if (process->refused.n >= MAX_REFUSED)
		map_clear(&process->refused);
	if (map_put(&process->refused, identity, &until) >= 0)
		*(uint64_t *)until = clock_monotonic_nsec() + nsec;
}

static bool same_file(const struct identity *a, const struct identity *b)
{
	return a->kind == b->kind && a->device == b->device && a->inode == b->inode;
}

/* The slot that has it, or the one to put it into: that of an older version of the same file, a free one, the longest unused. */
static size_t find_slot(const struct symbolizer_process *process, const struct identity *identity, bool *ret_open)
{
	size_t best = 0;

	*ret_open = false;
	for (size_t i = 0; i < SYMBOLIZER_SLOTS; i++) {
		const struct slot *slot = &process->slots[i];

		if (slot->used && same_file(&slot->identity, identity)) {
			*ret_open = !memcmp(&slot->identity, identity, sizeof(*identity));
			return i;
		}
		if (process->slots[best].used && (!slot->used || slot->last_used < process->slots[best].last_used))
			best = i;
	}
	return best;
}

/*
 * Opens what may be a debug file, by a name that a foreign file had a say in. The process that asks for it may be an
 * attacker's by now, who is after files that only we can read: so nothing but ELF files that everybody may read.
 */
static int open_candidate(const char *path, uint64_t *ret_bytes)
{
	const struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, .resolve = RESOLVE_NO_MAGICLINKS };
	_cleanup_close_ int fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	char magic[SELFMAG];
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || !(st.st_mode & S_IROTH))
		return -EACCES;
	if (pread(fd, magic, SELFMAG, 0) != SELFMAG || memcmp(magic, ELFMAG, SELFMAG))
		return -ENOEXEC;
	*ret_bytes = MIN((uint64_t)st.st_size, (uint64_t)st.st_blocks * 512);
	return take_fd(&fd);
}

static uint64_t cpu_limit_nsec(const struct symbolizer_process *process, const struct slot *slot)
{
	return process->cpu_nsec_per_file + slot->n_bytes * NSEC_PER_SEC / slot->bytes_per_cpu_second;
}

/* Offers candidates until one is taken. *ret_taken is its path, to be freed, or NULL. */
static int offer(struct symbolizer_process *process, enum symbolizer_record_type type, size_t slot,
		const struct debug_file_paths *candidates, struct deadline *deadline, struct symbolizer_opened *opened, char **ret_taken)
{
	for (size_t i = 0; i < candidates->paths.n && i < MAX_CANDIDATES; i++) {
		struct symbolizer_opened answer;
		uint64_t n_bytes = 0;
		_cleanup_close_ int fd = open_candidate(candidates->paths.at[i], &n_bytes);
		int r;

		if (fd < 0)
			continue;
		process->slots[slot].n_bytes += n_bytes;
		deadline->cpu_limit_nsec = cpu_limit_nsec(process, &process->slots[slot]);
		r = ask_opened(process, type, slot, fd, deadline, &answer);
		if (r)
			return r;
		if (answer.status)
			continue;
		*opened = answer;
		*ret_taken = strdup(candidates->paths.at[i]);
		return 0;
	}
	return 0;
}

/* The debug file that is wanted, if there is one: *ret_path is its path, to be freed, or NULL. */
static int add_debug_file(struct symbolizer_process *process, size_t slot, const char *path, struct deadline *deadline,
		struct symbolizer_opened *opened, char **ret_path)
{
	_cleanup_(debug_file_paths_deinit) struct debug_file_paths files = {0};
	int r;

	if (!opened->wants.debug_file)
		return 0;
	r = debug_file_candidates(&opened->wants, path, process->debug_directories, &files);
	return r ? r : offer(process, SYMBOLIZER_ADD_DEBUG_FILE, slot, &files, deadline, opened, ret_path);
}

static int add_debug_files(struct symbolizer_process *process, size_t slot, const char *path, struct deadline *deadline,
		struct symbolizer_opened *opened)
{
	_cleanup_(debug_file_paths_deinit) struct debug_file_paths supplements = {0};
	_cleanup_free_ char *debug_file = NULL, *supplement = NULL;
	int r;

	r = add_debug_file(process, slot, path, deadline, opened, &debug_file);
	if (r || !opened->wants.supplement)
		return r;
	r = debug_file_supplement_candidates(&opened->wants, debug_file ? debug_file : path, process->debug_directories, &supplements);
	if (r)
		return r;
	return offer(process, SYMBOLIZER_ADD_SUPPLEMENT, slot, &supplements, deadline, opened, &supplement);
}

static enum symbolizer_kind kind_of(enum symbol_source_kind kind)
{
	switch (kind) {
	case SYMBOL_SOURCE_KERNEL:
		return SYMBOLIZER_KERNEL;
	case SYMBOL_SOURCE_VDSO:
		return SYMBOLIZER_VDSO;
	case SYMBOL_SOURCE_PERF_MAP:
		return SYMBOLIZER_PERF_MAP;
	case SYMBOL_SOURCE_ELF:
	default:
		return SYMBOLIZER_ELF;
	}
}

static int open_file(struct symbolizer_process *process, size_t slot, const struct symbol_source *source, int fd,
		struct deadline *deadline, struct symbolizer_opened *ret)
{
	int r;

	process->question.kind = kind_of(source->kind);
	process->n_files++;
	r = ask_opened(process, SYMBOLIZER_OPEN, slot, fd, deadline, ret);
	if (r)
		return r;
	if (ret->status)
		return TALK_E_REFUSED;
	process->slots[slot].used = true;
	process->slots[slot].build_id = ret->build_id;
	return 0;
}

/* Opens a source in a slot, with all debug files that can be found for it. */
static int open_source(struct symbolizer_process *process, size_t slot, const struct symbol_source *source, int fd,
		struct deadline *deadline)
{
	struct symbolizer_opened opened;
	int r;

	r = open_file(process, slot, source, fd, deadline, &opened);
	return r ? r : add_debug_files(process, slot, source->path, deadline, &opened);
}

static int resolve_some(struct symbolizer_process *process, size_t slot, const uint64_t *offsets, size_t n,
		struct deadline *deadline, struct names *names)
{
	_cleanup_(symbolizer_names_reader_free_p) struct symbolizer_names_reader *reader = NULL;
	bool complete = false;
	int32_t status = 0;
	int r;

	reader = symbolizer_names_reader_new(names, offsets, n);
	if (!reader)
		return -ENOMEM;
	process->question.type = SYMBOLIZER_RESOLVE;
	process->question.slot = slot;
	process->question.n_offsets = n;
	if (n)
		memcpy(process->question.offsets, offsets, n * sizeof(*offsets));
	r = ask(process, -1, deadline);
	while (!r && !complete) {
		r = receive_record(process, deadline);
		if (!r)
			r = symbolizer_names_reader_add(reader, process->record.bytes, process->record.size, &complete, &status);
		if (r == SYMBOLIZER_PROTOCOL_E_MALFORMED)
			r = TALK_E_LIAR;
	}
	return !r && status ? TALK_E_REFUSED : r;
}

/* Whether the file in the slot is another one than the caller speaks of. */
static bool is_other_file(const struct symbolizer_process *process, size_t slot, const struct symbol_source *source)
{
	return source->build_id.size && !build_id_equal(&source->build_id, &process->slots[slot].build_id);
}

static int resolve_all(struct symbolizer_process *process, const struct symbol_source *source, int fd,
		const struct identity *identity, uint64_t n_bytes, const uint64_t *offsets, size_t n, struct names *names)
{
	uint64_t memory_before = memory_of(process->pid), memory;
	struct deadline deadline;
	size_t slot, done = 0;
	bool is_open;
	int r;

	slot = find_slot(process, identity, &is_open);
	if (!is_open)
		process->slots[slot] = (struct slot){
			.identity = *identity, .n_bytes = n_bytes, .bytes_per_cpu_second = BYTES_PER_CPU_SECOND,
		};
	deadline = deadline_new(process, cpu_limit_nsec(process, &process->slots[slot]));
	if (source->kind == SYMBOL_SOURCE_KERNEL)
		deadline.cpu_limit_nsec = MAX(deadline.cpu_limit_nsec, KERNEL_CPU_SECONDS * NSEC_PER_SEC);
	if (!is_open) {
		r = open_source(process, slot, source, fd, &deadline);
		if (r)
			return r;
	}
	process->slots[slot].last_used = ++process->n_questions;
	if (is_other_file(process, slot, source))
		return TALK_E_WRONG_FILE;
	do {
		size_t part = MIN(n - done, (size_t)SYMBOLIZER_OFFSETS_MAX);

		r = resolve_some(process, slot, offsets + done, part, &deadline, names);
		done += part;
	} while (!r && done < n);
	memory = memory_of(process->pid);
	process->slots[slot].memory += memory > memory_before ? memory - memory_before : 0;
	return r;
}

static int receive_table(struct symbolizer_process *process, size_t slot, struct deadline *deadline, void **ret, size_t *ret_size)
{
	_cleanup_(symbolizer_table_reader_deinit) struct symbolizer_table_reader reader = {0};
	struct unwind_image image;
	bool complete = false;
	int32_t status = 0;
	int r;

	process->question.type = SYMBOLIZER_TABLE;
	process->question.slot = slot;
	r = ask(process, -1, deadline);
	while (!r && !complete) {
		r = receive_record(process, deadline);
		if (!r)
			r = symbolizer_table_reader_add(&reader, process->record.bytes, process->record.size, &complete, &status);
		if (r == SYMBOLIZER_PROTOCOL_E_MALFORMED)
			r = TALK_E_LIAR;
	}
	if (r || status)
		return r ? r : TALK_E_REFUSED;
	r = unwind_image_open(reader.bytes, reader.size, &image);
	if (r)
		return r < 0 ? r : TALK_E_LIAR;
	*ret = TAKE(reader.bytes);
	*ret_size = reader.size;
	return 0;
}

/*
 * Opens, asks, closes: a table is asked for once. A debug file is worth its time only where the file itself says nothing
 * of its frames: with .eh_frame, .debug_frame has next to nothing to add.
 */
static int make_table(struct symbolizer_process *process, const struct symbol_source *source,
		const struct identity *identity, uint64_t n_bytes, void **ret, size_t *ret_size)
{
	_cleanup_free_ char *debug_file = NULL;
	_cleanup_free_ void *bytes = NULL;
	struct symbolizer_opened opened;
	struct deadline deadline;
	size_t slot, size = 0;
	bool is_open;
	int r, closed;

	slot = find_slot(process, identity, &is_open);
	process->slots[slot] = (struct slot){
		.identity = *identity, .n_bytes = n_bytes, .bytes_per_cpu_second = TABLE_BYTES_PER_CPU_SECOND,
	};
	deadline = deadline_new(process, cpu_limit_nsec(process, &process->slots[slot]));
	r = open_file(process, slot, source, source->fd, &deadline, &opened);
	if (r)
		return r;
	if (is_other_file(process, slot, source))
		r = TALK_E_WRONG_FILE;
	if (!r && opened.lacks_frames)
		r = add_debug_file(process, slot, source->path, &deadline, &opened, &debug_file);
	if (!r)
		r = receive_table(process, slot, &deadline, &bytes, &size);
	if (r && r != TALK_E_REFUSED && r != TALK_E_WRONG_FILE)
		return r;
	closed = ask_close(process, slot, &deadline);
	if (closed)
		return closed;
	if (!r) {
		*ret = TAKE(bytes);
		*ret_size = size;
	}
	return r;
}

/* --- afterwards ------------------------------------------------------------------------------------------------ */

/* What is asked for, for who reads the log. */
static const char names_are_missing[] = "its addresses stay without names for a while";
static const char table_is_missing[] = "stacks may end in its code for a while";

static void log_loss(struct symbolizer_process *process, const struct symbol_source *source, int talk, int wait_status,
		const char *missing)
{
	static const char *const reasons[] = {
		[TALK_E_DEAD] = "died of", [TALK_E_TIMEOUT] = "took too long for", [TALK_E_LIAR] = "answered nonsense about",
	};
	uint64_t now = clock_monotonic_nsec();

	if (process->logged_nsec && now - process->logged_nsec < LOG_INTERVAL_NSEC)
		return;
	process->logged_nsec = now;
	log_print(LOG_WARNING, "symbolizer: %s %s (wait status %#x); %s", reasons[talk],
			source->path ? source->path : "a file without a name", wait_status, missing);
}

/*
 * The process is lost, or must be: remembers whose fault it was. Whether it is worth asking another one: it was killed, by
 * somebody else, for the first time with this question.
 */
static bool lose(struct symbolizer_process *process, const struct symbol_source *source, const struct identity *identity,
		int talk, const char *missing, bool first)
{
	int status = stop(process);
	/* Our own SIGKILL ends a liar, a hang and one that was dead already alike: what it died of by itself tells more. */
	bool was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	bool by_itself = talk == TALK_E_DEAD && !was_killed;

	if (is_cancelled(process))
		return true;
	count(process, talk == TALK_E_TIMEOUT ? &process->stats.timeouts : &process->stats.deaths, 1);
	if (talk == TALK_E_DEAD && was_killed && first)
		return true;
	refuse(process, identity, by_itself || talk == TALK_E_LIAR ? REFUSED_NSEC : BLAMELESS_NSEC);
	log_loss(process, source, talk, status, missing);
	return false;
}

/* The open file that takes most memory; SYMBOLIZER_SLOTS when none is open. */
static size_t largest_slot(const struct symbolizer_process *process)
{
	size_t largest = SYMBOLIZER_SLOTS;

	for (size_t i = 0; i < SYMBOLIZER_SLOTS; i++)
		if (process->slots[i].used &&
		    (largest == SYMBOLIZER_SLOTS || process->slots[i].memory > process->slots[largest].memory))
			largest = i;
	return largest;
}

/* Keeps it small between questions: drops files, the largest first, so that one giant does not cost all others; then itself. */
static void trim(struct symbolizer_process *process)
{
	struct deadline deadline = deadline_new(process, process->cpu_nsec_per_file);

	while (process->pid > 0 && memory_of(process->pid) > MAX_IDLE_MEMORY) {
		size_t largest = largest_slot(process);

		if (largest == SYMBOLIZER_SLOTS || ask_close(process, largest, &deadline))
			stop(process);
	}
	if (process->n_files >= MAX_FILES)
		stop(process);
}

static void count_names(struct symbolizer_process *process, const struct names *names)
{
	uint64_t named = 0;

	for (size_t i = 0; i < names->locations.n; i++)
		named += names->locations.at[i].n_frames > 0;
	count(process, &process->stats.named, named);
}

/* ASK_AGAIN: of a new process, which is only said when `first`. */
enum { ASK_AGAIN = 100 };

/* What the end of a talk, other than 0, means for its source. */
static int settle(struct symbolizer_process *process, const struct symbol_source *source, const struct identity *identity,
		int talk, const char *missing, bool first)
{
	bool again;

	switch (talk) {
	case TALK_E_REFUSED:
		refuse(process, identity, REFUSED_NSEC);
		break;
	case TALK_E_WRONG_FILE:
		count(process, &process->stats.files_refused, 1);
		break;
	case TALK_E_DEAD:
	case TALK_E_TIMEOUT:
	case TALK_E_LIAR:
		again = lose(process, source, identity, talk, missing, first);
		if (is_cancelled(process))
			return -ECANCELED;
		return again ? ASK_AGAIN : SYMBOLIZER_E_UNAVAILABLE;
	default:
		/* In the middle of an answer nobody reads on. */
		stop(process);
		return talk;
	}
	trim(process);
	return SYMBOLIZER_E_UNAVAILABLE;
}

static int ask_names(struct symbolizer_process *process, const struct symbol_source *source, int fd,
		const struct identity *identity, uint64_t n_bytes, const uint64_t *offsets, size_t n, bool first,
		struct names **ret)
{
	_cleanup_(names_free_p) struct names *names = NULL;
	int r;

	r = ensure_started(process);
	if (r < 0)
		return r;
	names = names_new();
	if (!names)
		return -ENOMEM;
	r = resolve_all(process, source, fd, identity, n_bytes, offsets, n, names);
	if (r)
		return settle(process, source, identity, r, names_are_missing, first);
	count_names(process, names);
	*ret = TAKE(names);
	trim(process);
	return 0;
}

static int resolve_with(struct symbolizer_process *process, const struct symbol_source *source, int fd,
		const uint64_t *offsets, size_t n, struct names **ret)
{
	struct identity identity;
	uint64_t n_bytes = 0;
	int r;

	r = identify(source, fd, &identity, &n_bytes);
	if (r < 0)
		return r;
	if (is_refused(process, &identity)) {
		count(process, &process->stats.files_refused, 1);
		return SYMBOLIZER_E_UNAVAILABLE;
	}
	r = ask_names(process, source, fd, &identity, n_bytes, offsets, n, true, ret);
	if (r == ASK_AGAIN)
		r = ask_names(process, source, fd, &identity, n_bytes, offsets, n, false, ret);
	return r;
}

int symbolizer_process_resolve(struct symbolizer_process *process, const struct symbol_source *source,
		const uint64_t *offsets, size_t n, struct names **ret)
{
	_cleanup_close_ int opened = -1;
	int fd = source->fd;

	count(process, &process->stats.requests, 1);
	count(process, &process->stats.locations, n);
	if (source->kind == SYMBOL_SOURCE_KERNEL && fd < 0) {
		/* Who opens it decides whether addresses are shown: kallsyms_show_value() looks at the file's credentials. */
		fd = opened = open("/proc/kallsyms", O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	}
	return resolve_with(process, source, fd, offsets, n, ret);
}

static int ask_table(struct symbolizer_process *process, const struct symbol_source *source,
		const struct identity *identity, uint64_t n_bytes, bool first, void **ret, size_t *ret_size)
{
	int r;

	r = ensure_started(process);
	if (r < 0)
		return r;
	r = make_table(process, source, identity, n_bytes, ret, ret_size);
	if (r)
		return settle(process, source, identity, r, table_is_missing, first);
	trim(process);
	return 0;
}

int symbolizer_process_table(struct symbolizer_process *process, const struct symbol_source *source,
		void **ret, size_t *ret_size)
{
	struct identity identity;
	uint64_t n_bytes = 0;
	int r;

	if (source->kind != SYMBOL_SOURCE_ELF && source->kind != SYMBOL_SOURCE_VDSO)
		return -EINVAL;
	count(process, &process->stats.requests, 1);
	r = identify(source, source->fd, &identity, &n_bytes);
	if (r < 0)
		return r;
	if (is_refused(process, &identity)) {
		count(process, &process->stats.files_refused, 1);
		return SYMBOLIZER_E_UNAVAILABLE;
	}
	r = ask_table(process, source, &identity, n_bytes, true, ret, ret_size);
	if (r == ASK_AGAIN)
		r = ask_table(process, source, &identity, n_bytes, false, ret, ret_size);
	return r;
}

/* --- life ------------------------------------------------------------------------------------------------------ */

void symbolizer_process_rest(struct symbolizer_process *process)
{
	stop(process);
}

void symbolizer_process_cancel(struct symbolizer_process *process)
{
	pthread_mutex_lock(&process->lock);
	process->cancelled = true;
	if (process->pid > 0)
		kill(process->pid, SIGKILL);
	pthread_mutex_unlock(&process->lock);
}

int symbolizer_process_new(const struct symbolizer_options *options, struct symbolizer_process **ret)
{
	struct symbolizer_process *process = calloc(1, sizeof(*process));
	static const char *const no_directories[] = { NULL };

	if (!process)
		return -ENOMEM;
	process->debug_directories = options->debug_directories ? options->debug_directories : no_directories;
	process->purpose = options->purpose;
	process->cpu_nsec_per_file =
		(options->cpu_seconds_per_file ? options->cpu_seconds_per_file : DEFAULT_CPU_SECONDS) * NSEC_PER_SEC;
	process->socket = -1;
	map_init(&process->refused, sizeof(struct identity), sizeof(uint64_t));
	pthread_mutex_init(&process->lock, NULL);
	*ret = process;
	return 0;
}

struct symbolizer_process *symbolizer_process_free(struct symbolizer_process *process)
{
	if (!process)
		return NULL;
	stop(process);
	map_deinit(&process->refused);
	pthread_mutex_destroy(&process->lock);
	free(process);
	return NULL;
}

struct symbolizer_stats symbolizer_process_stats(const struct symbolizer_process *process)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)&process->lock;
	struct symbolizer_stats stats;

	pthread_mutex_lock(lock);
	stats = process->stats;
	stats.cpu_nsec = process->cpu_nsec_of_dead + cpu_nsec_of(process->pid);
	stats.memory_bytes = memory_of(process->pid);
	pthread_mutex_unlock(lock);
	return stats;
}

int symbolizer_process_main(void)
{
	return symbolizer_child_run(SOCKET_FD);
}
