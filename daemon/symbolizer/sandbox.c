/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_SANITIZER 1
#endif
#endif
#ifndef WITH_SANITIZER
#define WITH_SANITIZER 0
#endif

/* The user and group without any rights; the kernel's overflow ids, the same on every distribution. */
#define NOBODY 65534

/* --- descriptors ----------------------------------------------------------------------------------------------- */

static int close_descriptors(int keep_fd)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	for (int fd = 0; fd < 3; fd++) {
		/* A sanitizer's report has no other way out. */
		if (WITH_SANITIZER && fd == 2)
			continue;
		if (dup2(null, fd) < 0)
			return -errno;
	}
	/* Standard descriptors up to 2 and keep_fd stay: they are adjacent, or what is between is the caller's. */
	if (syscall(SYS_close_range, (unsigned)keep_fd + 1, ~0U, 0) < 0)
		for (int fd = keep_fd + 1; fd < 65536; fd++)   /* before 5.9 */
			close(fd);
	if (null > keep_fd)
		null = -1;
	return 0;
}

/* --- limits ---------------------------------------------------------------------------------------------------- */

static bool limit(int resource, uint64_t value)
{
	struct rlimit now;

	if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
		return false;
	value = MIN(value, (uint64_t)now.rlim_max);
	return setrlimit((__rlimit_resource_t)resource, &(struct rlimit){ value, value }) == 0;
}

static bool set_limits(const struct sandbox_options *options)
{
	unsigned n_failed = 0;

	n_failed += !limit(RLIMIT_FSIZE, 0);
	n_failed += !limit(RLIMIT_CORE, 0);
	n_failed += !limit(RLIMIT_NPROC, 0);
	n_failed += !limit(RLIMIT_NOFILE, options->max_descriptors);
	/* A sanitizer reserves terabytes for its shadow. */
	if (!WITH_SANITIZER) {
		n_failed += !limit(RLIMIT_DATA, options->max_memory);
		n_failed += !limit(RLIMIT_AS, options->max_address_space);
	}
	return !n_failed;
}

/* Memory is scarce: rather this process than the one we profile. */
static void be_first_to_die(void)
{
	static const char score[] = "500";
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, score, sizeof(score) - 1);
}

/* --- privileges ------------------------------------------------------------------------------------------------ */

static bool leave_root(void)
{
	if (getuid() && geteuid())
		return true;
	/* Denied in a container or service that is root in name only; the other layers hold. */
	return setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0;
}

static bool has_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return true;
	return data[0].effective || data[0].permitted || data[0].inheritable ||
		data[1].effective || data[1].permitted || data[1].inheritable;
}

/* The bounding set: where we may (CAP_SETPCAP); no_new_privs makes it moot elsewhere. */
static void drop_bounding_capabilities(void)
{
	for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
			break;
}

static bool drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = {0};

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* Denied by some services' filters: what counts is whether there are any. */
	syscall(SYS_capset, &header, none);
	return !has_capabilities();
}

/* --- Landlock -------------------------------------------------------------------------------------------------- */

/* All rights of an ABI by the bits that the kernel knew then; include/uapi/linux/landlock.h. The header here may be older. */
static uint64_t landlock_filesystem_rights(int abi)
{
	static const unsigned n_bits[] = { 0, 13, 14, 15, 15, 16 };

	return (UINT64_C(1) << n_bits[MIN(abi, 5)]) - 1;
}

/* A rule set that handles everything and allows nothing. Returns the ABI, 0 when there is none. */
static uint32_t enter_landlock(void)
{
	struct {
		uint64_t filesystem, network, scoped;
	} attr = {0};
	int abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	_cleanup_close_ int ruleset = -1;
	size_t size;

	if (abi <= 0)
		return 0;
	attr.filesystem = landlock_filesystem_rights(abi);
	attr.network = abi >= 4 ? 3 : 0;     /* bind and connect TCP */
	attr.scoped = abi >= 6 ? 3 : 0;      /* abstract unix sockets, signals */
	size = abi >= 6 ? sizeof(attr) : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
	ruleset = syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (ruleset < 0 || syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return 0;
	return abi;
}

/* --- system calls ---------------------------------------------------------------------------------------------- */

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_ARGUMENT(i) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + (i) * 8)
#define IF_EQUAL(value, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (then), (otherwise))
#define IF_ANY_BIT(value, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (value), (then), (otherwise))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, (value))
#define ALLOW RETURN(SECCOMP_RET_ALLOW)
#define DENY RETURN(SECCOMP_RET_ERRNO | EPERM)
#define KILL RETURN(SECCOMP_RET_KILL_PROCESS)

#define ALLOW_CALL(name) IF_EQUAL(__NR_##name, 0, 1), ALLOW
/* What no parser does by mistake: somebody else has taken over. */
#define KILL_CALL(name) IF_EQUAL(__NR_##name, 0, 1), KILL
/* Memory that is code: only what was there from the start. */
#define ALLOW_CALL_UNLESS_EXECUTABLE(name)                                                         \
	IF_EQUAL(__NR_##name, 0, 4), LOAD_ARGUMENT(2), IF_ANY_BIT(PROT_EXEC, 0, 1), DENY, ALLOW

static int forbid_system_calls(void)
{
	const struct sock_filter filter[] = {
		LOAD(arch),
		IF_EQUAL(AUDIT_ARCH_X86_64, 1, 0),
		KILL,
		LOAD(nr),
		/* The x32 ABI numbers the same calls anew. */
		IF_ANY_BIT(0x40000000, 0, 1),
		KILL,

		/* Descriptors that it has: asked first what is asked most. */
		ALLOW_CALL(read),
		ALLOW_CALL(pread64),
		ALLOW_CALL(recvmsg),
		ALLOW_CALL(sendmsg),
		ALLOW_CALL(lseek),
		ALLOW_CALL(fstat),
		ALLOW_CALL(newfstatat),      /* fstat() of glibc 2.33 to 2.38; Landlock and the descriptors bound it */
		ALLOW_CALL(close),
		ALLOW_CALL(write),
		ALLOW_CALL(readv),
		ALLOW_CALL(writev),          /* abort message of glibc */
		ALLOW_CALL(poll),
		ALLOW_CALL(ppoll),
		ALLOW_CALL(dup),

		/* Its memory. */
		ALLOW_CALL_UNLESS_EXECUTABLE(mmap),
		ALLOW_CALL_UNLESS_EXECUTABLE(mprotect),
		ALLOW_CALL(munmap),
		ALLOW_CALL(mremap),
		ALLOW_CALL(madvise),
		ALLOW_CALL(brk),

		/* Time and locks. */
		ALLOW_CALL(futex),
		ALLOW_CALL(clock_gettime),
		ALLOW_CALL(gettimeofday),
		ALLOW_CALL(getrandom),
		ALLOW_CALL(sched_yield),
		ALLOW_CALL(restart_syscall),

		/* Its end; abort() signals the own process. */
		ALLOW_CALL(exit),
		ALLOW_CALL(exit_group),
		ALLOW_CALL(rt_sigreturn),
		ALLOW_CALL(rt_sigprocmask),
		ALLOW_CALL(rt_sigaction),
		ALLOW_CALL(sigaltstack),
		ALLOW_CALL(getpid),
		ALLOW_CALL(gettid),
		IF_EQUAL(__NR_tgkill, 0, 4),
		LOAD_ARGUMENT(0),
		IF_EQUAL((uint32_t)getpid(), 0, 1),
		ALLOW,
		DENY,

		/* libelf duplicates and asks for flags; it sets no owner for signals. */
		IF_EQUAL(__NR_fcntl, 0, 8),
		LOAD_ARGUMENT(1),
		IF_EQUAL(F_GETFD, 5, 0),
		IF_EQUAL(F_GETFL, 4, 0),
		IF_EQUAL(F_SETFD, 3, 0),
		IF_EQUAL(F_DUPFD, 2, 0),
		IF_EQUAL(F_DUPFD_CLOEXEC, 1, 0),
		DENY,
		ALLOW,

#if WITH_SANITIZER
		ALLOW_CALL(readlink),
		ALLOW_CALL(sched_getaffinity),
		ALLOW_CALL(prlimit64),
		ALLOW_CALL(getrlimit),
#endif

		KILL_CALL(execve),
		KILL_CALL(execveat),
		KILL_CALL(fork),
		KILL_CALL(vfork),
		KILL_CALL(clone),
		KILL_CALL(clone3),
		KILL_CALL(socket),
		KILL_CALL(connect),
		KILL_CALL(bind),
		KILL_CALL(kill),
		KILL_CALL(tkill),
		KILL_CALL(pidfd_open),
		KILL_CALL(pidfd_send_signal),
		KILL_CALL(ptrace),
		KILL_CALL(process_vm_readv),
		KILL_CALL(process_vm_writev),
		KILL_CALL(bpf),
		KILL_CALL(perf_event_open),
		KILL_CALL(userfaultfd),
		KILL_CALL(io_uring_setup),
		KILL_CALL(keyctl),
		KILL_CALL(add_key),
		KILL_CALL(mount),
		KILL_CALL(unshare),
		KILL_CALL(setns),
		KILL_CALL(setuid),
		KILL_CALL(setresuid),
		KILL_CALL(capset),
		KILL_CALL(open_by_handle_at),
		KILL_CALL(init_module),
		KILL_CALL(finit_module),

		/* The rest, open() above all: a library may try and cope. */
		DENY,
	};
	const struct sock_fprog program = { ARRAY_SIZE(filter), (struct sock_filter *)filter };

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
		return -errno;
	return 0;
}

int sandbox_enter(const struct sandbox_options *options, struct sandbox *ret)
{
	struct sandbox sandbox = {0};
	int r;

	r = close_descriptors(options->keep_fd);
	if (r < 0)
		return r;
	be_first_to_die();
	sandbox.limited = set_limits(options);
	/* In this order: each step needs a capability that a later one takes. */
	drop_bounding_capabilities();
	sandbox.unprivileged_user = leave_root();
	if (!drop_capabilities())
		return -EPERM;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	/* After the change of user, which would clear it. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	sandbox.landlock_abi = enter_landlock();
	r = forbid_system_calls();
	if (r < 0)
		return r;
	*ret = sandbox;
	return 0;
}
