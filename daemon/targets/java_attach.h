/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Asks one Java process to write its perf map, as `jcmd PID Compiler.perfmap` does (HotSpot of JDK 17 and later).
 *
 * A JVM listens on the socket /tmp/.java_pidPID, as it sees the file system and itself. One that was never asked has none:
 * it makes it when it gets a SIGQUIT and finds a file /tmp/.attach_pidPID of its own user, and takes the signal for
 * something else (a thread dump to its standard output) when it does not find that. Only who has its user and group may
 * ask, so a helper process does it, which becomes that user and keeps nothing of ours: no capability, no descriptor. It
 * takes the file away again, and is bounded in time. What the JVM writes, /tmp/perf-PID.map, is its own and stays.
 *
 * SIGQUIT ends a program that does not expect it: it is sent only to a process that catches it, right after looking, by a
 * descriptor that can mean no other process. And nothing is asked, nothing written, when a file of the three is not the
 * process's own: /tmp is open to everyone.
 *
 * Sources: OpenJDK 17 src/hotspot/os/linux/attachListener_linux.cpp (since 19: os/posix/attachListener_posix.cpp),
 * src/jdk.attach/linux/classes/sun/tools/attach/VirtualMachineImpl.java, CodeCache::write_perf_map().
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct java_attach;

enum java_attach_outcome {
	JAVA_ATTACH_WRITTEN,                 /* the map is there, new */
	JAVA_ATTACH_GONE,                    /* the process is */
	JAVA_ATTACH_DISABLED,                /* by -XX:+DisableAttachMechanism */
	JAVA_ATTACH_NOT_CATCHING,            /* no socket, and SIGQUIT would end it */
	JAVA_ATTACH_NO_USER,                 /* we cannot become its user; error */
	JAVA_ATTACH_NO_TMP,                  /* its /tmp cannot be used; error */
	JAVA_ATTACH_FOREIGN_FILE,            /* one of the three files is there and not its own */
	JAVA_ATTACH_NO_SIGNAL,               /* it could not be sent; error */
	JAVA_ATTACH_NO_SOCKET,               /* SIGQUIT brought none in time */
	JAVA_ATTACH_NO_CONNECTION,           /* to the socket; error */
	JAVA_ATTACH_NO_ANSWER,               /* none in time, or one that makes no sense */
	JAVA_ATTACH_REFUSED,                 /* it answered with an error: an older JDK does; code */
	JAVA_ATTACH_NO_MAP,                  /* it answered that all is well, but there is no map */
	JAVA_ATTACH_FAILED,                  /* our helper did, or took too long */
	JAVA_ATTACH_N_OUTCOMES,
};

struct java_attach_result {
	enum java_attach_outcome outcome;
	int error;                           /* of errno, or 0 */
	int32_t code;                        /* of JAVA_ATTACH_REFUSED */
	bool was_signalled;
	uint64_t answer_nsec;                /* from connection to answer: what its attach listener was busy for */
	uid_t uid;                           /* of the process */
	uint32_t namespace_pid;
};

struct java_attach_query {
	int proc;                            /* a descriptor of /proc */
	uint32_t pid;
	int pid_fd;                          /* pidfd of the same, made sure of */
	bool may_signal;                     /* no: ask it only if it listens already */
};

typedef void (*java_attach_fn)(const struct java_attach_result *result, void *userdata);

/*
 * Begins to ask; `done` is called from `loop`, once, and java_attach_free() may be called there. The caller has made sure that
 * it is HotSpot: the file libjvm.so is mapped, and no libj9vm*.so (OpenJ9, which writes a dump at SIGQUIT).
 * 0 or -errno. What can be known at once is told by `done`, too.
 */
int java_attach_new(sd_event *loop, const struct java_attach_query *query, java_attach_fn done, void *userdata,
		struct java_attach **ret);
/* A helper still at work goes on to its end: it has a file to remove. */
struct java_attach *java_attach_free(struct java_attach *attach);
/* Waits until it is done, and calls `done`: for who has no loop to wait in (one that has ended is no hindrance to any of this). */
void java_attach_wait(struct java_attach *attach);

/* The helper ends after this time, whatever happens. */
enum { JAVA_ATTACH_MOST_MSEC = 5000 };

/* Why it came to nothing, for people, as the end of a sentence. */
void java_attach_explain(const struct java_attach_result *result, char *text, size_t size);

/* The number on the first line of an answer; -EBADMSG when there is none. */
int java_attach_parse_answer(const char *text, size_t size, int32_t *ret_code);
