/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * The contract between the programs in the kernel and the daemon: everything that crosses the boundary is here, of
 * fixed width, without holes. Both sides include it; tests/unit/bpf compares the layouts that clang and gcc give it.
 *
 * A sampler counts in the kernel. Each distinct (stack, thread) of a window is one entry of a hash map; the frames of a
 * stack are sent through a ring once per window and process. Two sets of maps take turns ("epochs"), so that a window
 * is drained while the next one already fills.
 *
 *	seen = sum of counts + loose records + lost, in every epoch, exactly.
 */
#include <linux/types.h>

enum {
	SAMPLE_MAX_KERNEL_FRAMES = 127,  /* sysctl kernel.perf_event_max_stack */
	SAMPLE_MAX_USER_FRAMES = 1024,   /* kept of a stack: half of them next to the leaf, half next to the root */
	SAMPLE_MAX_DEPTH = 8192,         /* of a program's stack that is walked */
	SAMPLE_COMM_LENGTH = 16,         /* TASK_COMM_LEN */
	SAMPLE_EPOCHS = 2,
	SAMPLE_VARIANCE_SHIFT = 12,
	SAMPLE_TARGET_BITS = 1 << 14,    /* by the last bits of a process's number: is it a target, perhaps? */
	SAMPLE_MAX_LABELS = 10,          /* of a goroutine, that are told; */
	SAMPLE_LABEL_KEY = 48,           /* bytes of each */
	SAMPLE_LABEL_VALUE = 128,
	SAMPLE_MAX_LABEL_SETS = 1024,    /* of an epoch, all processes together */
};

/*
 * In an address of the program that is not the leaf: this is an instruction that did not begin, because a signal
 * interrupted it or because nobody called its function; not the return address of a call. (Addresses of programs are below
 * 2^63.)
 */
#define SAMPLE_INTERRUPTED (1ULL << 63)

/* How the walk of the user stack ended: whole, none, or broken for some reason. */
enum sample_verdict {
	SAMPLE_VERDICT_COMPLETE,         /* reached the thread's first function */
	SAMPLE_VERDICT_ELIDED,           /* the same, but frames in the middle were not kept: n_elided */
	SAMPLE_VERDICT_KERNEL,           /* a kernel thread, or a task that exits or is amid an exec: no user stack to walk */
	SAMPLE_VERDICT_NO_MAPPING,       /* an address where the program has no code */
	SAMPLE_VERDICT_NO_TABLE,         /* the file's unwind table is not made yet */
	SAMPLE_VERDICT_NO_ROW,           /* the file's unwind table does not speak of this place */
	SAMPLE_VERDICT_NO_RULE,          /* it does, but in a way that we cannot follow */
	SAMPLE_VERDICT_NO_FRAME,         /* code without a table whose frame pointer leads nowhere: a JIT's, mostly */
	SAMPLE_VERDICT_BAD_FRAME,        /* what the rule leads to cannot be the caller's frame: not aligned, not above, or not code */
	SAMPLE_VERDICT_UNREADABLE,       /* a page of the stack is not resident, or not mapped */
	SAMPLE_VERDICT_TOO_DEEP,         /* deeper than SAMPLE_MAX_DEPTH */
	SAMPLE_VERDICT_COMPAT,           /* a 32-bit program: only its leaf is known */
	SAMPLE_N_VERDICTS,
};

/* Per epoch and CPU. */
enum sample_counter {
	SAMPLE_SEEN,                     /* the event fired on a thread that is to be sampled */
	SAMPLE_LOST_RING,                /* the entry could not be made and the ring was full */
	SAMPLE_LOST_NAMESPACE,           /* a process that the daemon cannot see: outside its pid namespace */
	SAMPLE_LOST_STORAGE,             /* a wait that was not timed: no memory to remember its beginning */
	SAMPLE_LOST_NSEC,                /* of waits that were timed and lost all the same */
	SAMPLE_LOST_OTHER,               /* waits that are told without who ended them: there was no room for its stack */
	SAMPLE_SHORT,                    /* not counted as seen: waits that are shorter than what is to be told */
	SAMPLE_SHORT_NSEC,
	SAMPLE_SKIP_VARIANCE,            /* of the sum of waits that not all were timed of, as estimated; in 2^SAMPLE_VARIANCE_SHIFT ns^2 */
	SAMPLE_NOT_TARGET,               /* not counted as seen: left early */
	SAMPLE_NSEC,                     /* time that the program itself took, with all that it did for others, too */
	/* Of samples that are told all the same: */
	SAMPLE_LABELS_UNREAD,            /* without the labels of their goroutine: their memory is not resident */
	SAMPLE_LABELS_CUT,               /* with fewer or shorter ones than there are */
	SAMPLE_LABELS_LEFT_OUT,          /* as SAMPLE_LABELS_OTHER */
	SAMPLE_VERDICTS,                 /* first of SAMPLE_N_VERDICTS counters, by verdict; they sum to SAMPLE_SEEN less lost */
	SAMPLE_N_COUNTERS = SAMPLE_VERDICTS + SAMPLE_N_VERDICTS,
};

/* Which program image: struct process_id of lib/base/location.h has the same members, start in ns instead of ticks. */
struct sample_process {
	__u64 start_nsec;                /* start_boottime of the group leader */
	__u32 pid;                       /* in the daemon's pid namespace */
	__u32 exec_id;                   /* low half of task_struct.self_exec_id */
};

/* Why a thread did not run; 0: it did. */
enum sample_reason {
	SAMPLE_RAN,
	SAMPLE_RUNQUEUE,                 /* ready, but somebody else had the CPU */
	SAMPLE_THROTTLED,                /* ready, but its cgroup had used up its quota (cpu.max) */
	SAMPLE_LOCK,
	SAMPLE_CHANNEL,                  /* a futex that is no lock: condition variables, parked threads of Go and Java */
	SAMPLE_SELECT,                   /* poll, select, epoll */
	SAMPLE_NETWORK,
	SAMPLE_DISK,
	SAMPLE_PIPE,
	SAMPLE_SLEEP,
	SAMPLE_CHILD,
	SAMPLE_FAULT,                    /* a page that had to be read, or mmap_lock */
	SAMPLE_RECLAIM,                  /* memory was short */
	SAMPLE_IO_URING,
	SAMPLE_STOPPED,                  /* by a signal, a debugger or the freezer */
	SAMPLE_SYSCALL,                  /* another one */
	SAMPLE_KERNEL,                   /* a thread of the kernel */
	SAMPLE_N_REASONS,
};

/* Of a thread that waited; all 0 for one that ran. */
struct sample_wait {
	__u64 object;                    /* futex: its address; DISK, FAULT, PIPE, NETWORK: inode; RUNQUEUE: pid of who ran before it; else 0 */
	__u32 device;                    /* of the inode; LOCK: the thread that has it, as its process numbers threads; 0: not known */
	__u16 reason;                    /* enum sample_reason */
	__u16 shift;                     /* one in 2^shift such waits was given a stack; nothing is scaled by that yet */
};

/* As skip of a key: all waits of the thread that were not timed, and what they took by the scheduler's clock; count is 0. */
enum { SAMPLE_SKIP_ALL = 31 };

/* As stack: it was taken, but there was no room for its frames, or for another entry. Shares its waits' shift. */
#define SAMPLE_STACK_LOST (~0ULL)

/*
 * As shift: nobody drew whether this wait has a stack. It began before we looked, and what was found then is its stack, if
 * that could be read; its time stands for itself alone.
 */
enum { SAMPLE_SHIFT_NONE = 0xffff };

/*
 * Who was sampled where. With tid 0 the entry counts nothing and says that the stack's frames were sent in this epoch.
 * With stack 0 it is about waits that were not given a stack; what they add up to is exact.
 */
struct sample_key {
	__u64 stack;                     /* hash of the frames, salted per run */
	/*
	 * Of waits: hash of the stack of who woke it, had the lock or had the CPU, with that one's process mixed in; 0: not
	 * known. The entry and the record that bring the frames have it, too, and are of that process.
	 */
	__u64 other;
	struct sample_process process;
	__u32 tid;
	__u32 skip;                      /* of waits: one in 2^skip such waits was timed at all; nothing is scaled by that yet */
	struct sample_wait wait;
	__u64 labels;                    /* of the goroutine it ran: hash of them, salted; 0: none, or SAMPLE_LABELS_OTHER */
	__u64 goroutine;                 /* its number, where that is asked for; 0: none */
};

/* As labels: it has some, but of these there are too many sets in this epoch, or there was no room to tell them. */
#define SAMPLE_LABELS_OTHER 1ULL

/* As other: no thread did it, but an interrupt. */
#define SAMPLE_OTHER_INTERRUPT 1ULL

struct sample_value {
	__u64 count;
	__u64 nsec, longest_nsec;        /* of waits; 0 where it ran */
	char thread[SAMPLE_COMM_LENGTH]; /* name of the thread when the entry was made */
	__u32 is_open;                   /* one of the waits has not ended: it goes on in the next epoch */
	__u32 zero;
};

/*
 * A record of the ring: this and the frames of a stack, n_kernel + n_user times a __u64: first those of the kernel, then
 * those of the program, each leaf first: instruction pointer, then return addresses. No stack has no frames: a record
 * without says that its key's frames were sent before; but with key.other it is of a thread that has none, and `thread` is its name.
 *
 * With n_elided > 0, n_user is SAMPLE_MAX_USER_FRAMES; the first half of them is next to the leaf, in order; the second
 * half is next to the root and was written round and round: it begins at its entry n_elided % (SAMPLE_MAX_USER_FRAMES / 2).
 */
struct sample_stack {
	struct sample_key key;           /* tid: the thread in which it was seen first */
	__u32 epoch;                     /* 0 or 1 */
	__u16 n_kernel;
	__u16 n_user;
	__u32 loose;                     /* samples that this record itself stands for (0, or 1 when the map had no room) */
	__u32 verdict;                   /* enum sample_verdict */
	__u32 n_elided;                  /* frames of the program left out in its middle */
	__u32 zero;
	__u64 loose_nsec;                /* of a wait */
	char thread[SAMPLE_COMM_LENGTH]; /* of loose ones, and of another's */
};

struct sample_go_label {
	__u16 key_size, value_size;
	__u32 zero;
	__u64 key[SAMPLE_LABEL_KEY / 8]; /* bytes; what is not used is 0 */
	__u64 value[SAMPLE_LABEL_VALUE / 8];
};

/*
 * Another record of the ring: labels that goroutines have, once in an epoch and process. It has `mark` where struct sample_stack has
 * n_kernel, which is never as large; and `n` of `at` are sent. An entry with its key says that it was sent.
 */
enum { SAMPLE_LABELS_MARK = 0xffff };

struct sample_go_labels {
	struct sample_key key;           /* process and labels; the rest is 0 */
	__u32 epoch;
	__u16 mark;
	__u16 n;
	struct sample_go_label at[SAMPLE_MAX_LABELS];
};

/* What a wait was about (sample_wait.object, .device), for those that have a name. */
enum sample_object_kind {
	SAMPLE_OBJECT_NONE,
	SAMPLE_OBJECT_FILE,
	SAMPLE_OBJECT_BLOCK_DEVICE,      /* without a path: what the kernel itself reads of it */
	SAMPLE_OBJECT_SOCKET,
};

enum { SAMPLE_PATH_MAX = 256, SAMPLE_ADDRESS_MAX = 16 };

enum {
	SAMPLE_PATH_CUT = 1,             /* there are more components above the last one */
	SAMPLE_PATH_DELETED = 2,
	SAMPLE_PATH_ROOT = 4,            /* the file is a root itself: "/", or what a file without a directory is called (memfd) */
	SAMPLE_PATH_ABSTRACT = 8,        /* of a UNIX socket: a name that is in no file system */
};

struct sample_object_key {
	__u64 object;
	__u32 device;
	__u32 zero;
};

/*
 * The path, inside of the file's own file system, are components that each end with 0, the last one first, path_size bytes
 * in all. Of a UNIX socket it is its peer's name as it was bound, one component.
 */
struct sample_object {
	__u32 kind;                      /* enum sample_object_kind */
	__u32 window;                    /* in which it was looked up */
	__u32 flags;                     /* SAMPLE_PATH_* */
	__u32 device;                    /* of a block device: itself */
	__u16 family;                    /* of a socket; AF_* */
	__u16 peer_port, own_port;
	__u16 path_size;
	__u8 peer[SAMPLE_ADDRESS_MAX];   /* as in packets: 4 bytes, or 16 */
	char path[SAMPLE_PATH_MAX];
};

/*
 * Of a thread that waits so often that not all of its waits are timed. Only the thread itself writes, which is never on two
 * CPUs; but the end of a window takes `since_nsec` and `untimed_nsec`.
 */
struct sample_pace {
	__u32 pid;                       /* thread, in the initial pid namespace; 0: nobody's */
	__u32 state;                     /* in which it left its CPU */
	__u64 since_nsec;                /* when a wait began that is not timed, by the scheduler's clock; 0: none */
	__u16 skip, skip_ready;          /* of its next wait: one in 2^skip is timed; of one for a CPU: 2^skip_ready */
	__u16 is_preempted;
	__u16 pass;                      /* of looking for those that wait already, when it began */
	__u64 untimed_nsec;              /* what such waits took that are not told, and not yet told as SAMPLE_SKIP_ALL */
};

/* Life of processes: records of the ring of life.bpf.c. */
enum life_kind { LIFE_FORK, LIFE_EXEC, LIFE_EXIT };

struct life_event {
	__u64 time_nsec;                 /* CLOCK_MONOTONIC */
	struct sample_process process;   /* fork: the child; exec: as it is now, with its new exec_id */
	__u32 parent_pid;
	__u32 kind;                      /* enum life_kind */
	__u64 cgroup_id;                 /* of the default (v2) hierarchy; 0 when unknown */
	char comm[SAMPLE_COMM_LENGTH];
};
