/* SPDX-License-Identifier: Apache-2.0 */
#include "check_host.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/landlock.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sysexits.h>
#include <unistd.h>

#include "cleanup.h"
#include "fs.h"
#include "privileges.h"

/* What one ability leaves behind for those that need it. */
struct probe {
	struct check_host *host;
	const char *output_directory;
	struct utsname kernel;
	bool bpf_works;
	int program_fd;              /* of a program for perf events */
	int event_fd;
};

/* Small facts. */

/* A number in a file of /proc/sys; `absent` when it cannot be read. */
static long read_setting(const char *path, long absent)
{
	_cleanup_free_ char *text = NULL;
	size_t size;

	if (fs_read(AT_FDCWD, path, 4096, &text, &size) < 0)
		return absent;
	return strtol(text, NULL, 10);
}

static long perf_paranoid(void)
{
	return read_setting("/proc/sys/kernel/perf_event_paranoid", 2);
}

static bool is_effective(cap_value_t capability)
{
	cap_flag_value_t value = CAP_CLEAR;
	cap_t set = cap_get_proc();

	if (!set)
		return false;
	(void)cap_get_flag(set, capability, CAP_EFFECTIVE, &value);
	cap_free(set);
	return value == CAP_SET;
}

/* In a user namespace of its own a process has capabilities that mean nothing to BPF. */
static bool in_initial_user_namespace(void)
{
	_cleanup_free_ char *text = NULL;
	unsigned long inside, outside, count;
	size_t size;

	if (fs_read(AT_FDCWD, "/proc/self/uid_map", 4096, &text, &size) < 0)
		return true;
	return sscanf(text, "%lu %lu %lu", &inside, &outside, &count) == 3 && inside == 0 && outside == 0 &&
			count == UINT32_MAX;
}

/* "none", "integrity", "confidentiality"; "" when it cannot be known. */
static void read_lockdown(char *ret_mode, size_t size)
{
	_cleanup_free_ char *text = NULL;
	const char *start, *end;
	size_t length;

	*ret_mode = 0;
	if (fs_read(AT_FDCWD, "/sys/kernel/security/lockdown", 4096, &text, &length) < 0)
		return;
	start = strchr(text, '[');
	end = start ? strchr(start, ']') : NULL;
	if (end)
		snprintf(ret_mode, size, "%.*s", (int)(end - start - 1), start + 1);
}

/* Writing the table. */

static struct check_host_ability *add(struct probe *probe, const char *name, const char *what, bool essential)
{
	static struct check_host_ability nowhere;
	struct check_host *host = probe->host;
	struct check_host_ability *ability = &nowhere;

	if (host->n < ARRAY_SIZE(host->abilities))
		ability = &host->abilities[host->n++];
	*ability = (struct check_host_ability){ .name = name, .what = what, .essential = essential };
	return ability;
}

__attribute__((format(printf, 2, 3))) static void why(struct check_host_ability *ability, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(ability->why, sizeof(ability->why), format, arguments);
	va_end(arguments);
}

__attribute__((format(printf, 4, 5))) static void lacks(struct check_host_ability *ability, enum check_host_state state,
		int exit_code, const char *remedy, ...)
{
	va_list arguments;

	ability->state = state;
	ability->exit_code = exit_code;
	va_start(arguments, remedy);
	vsnprintf(ability->remedy, sizeof(ability->remedy), remedy, arguments);
	va_end(arguments);
}

/* A call was refused: is it for want of this capability? Says so and returns true. */
static bool blame_capability(struct check_host_ability *ability, int error, const char *call, cap_value_t capability,
		const char *name)
{
	if (error != EPERM && error != EACCES)
		return false;
	if (!is_effective(capability)) {
		why(ability, "%s: %s; %s is missing", call, strerror(error), name);
		lacks(ability, CHECK_HOST_MISSING, EX_NOPERM, "run as root (sudo), as tsprofd.service, or add %s to what the "
				"service or container may do", name);
		return true;
	}
	if (!in_initial_user_namespace()) {
		why(ability, "%s: %s; %s counts only inside of this user namespace", call, strerror(error), name);
		lacks(ability, CHECK_HOST_MISSING, EX_NOPERM,
				"run outside of it: no PrivateUsers=, no rootless container");
		return true;
	}
	return false;
}

/* What is left when no capability is to blame. */
static void blame_unknown(struct check_host_ability *ability, int error, const char *call)
{
	char lockdown[32];

	read_lockdown(lockdown, sizeof(lockdown));
	why(ability, "%s: %s", call, strerror(error));
	if (strcmp(lockdown, "confidentiality") == 0)
		lacks(ability, CHECK_HOST_MISSING, EX_NOPERM,
				"the kernel is locked down (confidentiality): boot with lockdown=integrity or none");
	else if (error == EPERM || error == EACCES)
		lacks(ability, CHECK_HOST_MISSING, EX_NOPERM, "a seccomp filter (container runtime, SystemCallFilter=) or a "
				"security module forbids the call: allow bpf and perf_event_open");
	else if (error == ENOSYS)
		lacks(ability, CHECK_HOST_MISSING, EX_UNAVAILABLE, "this kernel was built without it: use another one");
	else
		lacks(ability, CHECK_HOST_MISSING, EX_OSERR, "see the kernel log (dmesg)");
}

/* The abilities. */

static void check_capabilities(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "capabilities", "what the service needs", true);
	int r = privileges_missing_names(ability->why, sizeof(ability->why));

	if (r == 0) {
		why(ability, "all six");
		return;
	}
	lacks(ability, r == PRIVILEGES_E_MISSING ? CHECK_HOST_MISSING : CHECK_HOST_DEGRADED, EX_NOPERM,
			"run as root (sudo) or as tsprofd.service; let the container have what is missing");
}

/*
 * A program that returns 0 after calling a helper that reads kernel memory: what profiling programs do, which takes
 * CAP_PERFMON beside CAP_BPF and is refused by lockdown=confidentiality.
 */
static int load_program(char *log, size_t log_size)
{
	struct bpf_insn instructions[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_1, .imm = -8 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = 8 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = 0 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_probe_read_kernel },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .log_buf = log, .log_size = log_size, .log_level = 1);

	return bpf_prog_load(BPF_PROG_TYPE_PERF_EVENT, "tsprof_check", "GPL", instructions, ARRAY_SIZE(instructions),
			&options);
}

static void check_bpf(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "bpf", "run programs in the kernel", true);
	_cleanup_close_ int map_fd = bpf_map_create(BPF_MAP_TYPE_HASH, "tsprof_check", 4, 8, 16, NULL);
	char log[4096] = "";

	if (map_fd < 0) {
		if (!blame_capability(ability, errno, "bpf(BPF_MAP_CREATE)", CAP_BPF, "CAP_BPF"))
			blame_unknown(ability, errno, "bpf(BPF_MAP_CREATE)");
		return;
	}
	probe->program_fd = load_program(log, sizeof(log));
	if (probe->program_fd >= 0) {
		probe->bpf_works = true;
		why(ability, "maps and programs load");
		return;
	}
	if (strstr(log, "unknown func") || strstr(log, "cannot use helper")) {
		why(ability, "bpf(BPF_PROG_LOAD): reading memory is forbidden");
		lacks(ability, CHECK_HOST_MISSING, EX_NOPERM,
				"the kernel is locked down (confidentiality): boot with lockdown=integrity or none");
		return;
	}
	if (!blame_capability(ability, errno, "bpf(BPF_PROG_LOAD)", CAP_PERFMON, "CAP_PERFMON"))
		blame_unknown(ability, errno, "bpf(BPF_PROG_LOAD)");
}

static void check_kernel(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "kernel", "at least Linux 5.17 (bpf_loop)", true);
	int r;

	if (!probe->bpf_works) {
		why(ability, "%s; not tried, as BPF does not work", probe->kernel.release);
		ability->state = CHECK_HOST_DEGRADED;
		ability->essential = false;
		return;
	}
	r = libbpf_probe_bpf_helper(BPF_PROG_TYPE_PERF_EVENT, BPF_FUNC_loop, NULL);
	if (r == 0) {
		why(ability, "%s has no bpf_loop()", probe->kernel.release);
		lacks(ability, CHECK_HOST_MISSING, EX_UNAVAILABLE, "boot Linux 5.17 or newer (Debian 12 has 6.1)");
		return;
	}
	if (r < 0) {
		blame_unknown(ability, -r, "probe of bpf_loop()");
		return;
	}
	why(ability, "%s", probe->kernel.release);
}

static void check_btf(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "btf", "the kernel describes its own types", true);
	struct btf *btf = btf__parse_raw("/sys/kernel/btf/vmlinux");
	long error = libbpf_get_error(btf);

	if (!error) {
		why(ability, "/sys/kernel/btf/vmlinux, %u types", btf__type_cnt(btf));
		btf__free(btf);
		return;
	}
	why(ability, "/sys/kernel/btf/vmlinux: %s", strerror(-(int)error));
	if (error == -ENOENT)
		lacks(ability, CHECK_HOST_MISSING, EX_UNAVAILABLE,
				"boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (those of Debian, Fedora, Ubuntu and Arch "
				"are); in a container, mount /sys");
	else
		lacks(ability, CHECK_HOST_MISSING, EX_OSERR, "make the file readable, or boot a kernel whose BTF is sound");
}

/* Loads and attaches an empty program to a kernel tracepoint, as bpf/life.bpf.c does. -errno on failure. */
static int attach_tracepoint(const char *name)
{
	struct bpf_insn instructions[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_TRACE_RAW_TP);
	_cleanup_close_ int program_fd = -1, link_fd = -1;
	int id = libbpf_find_vmlinux_btf_id(name, BPF_TRACE_RAW_TP);

	if (id < 0)
		return id;
	options.attach_btf_id = id;
	program_fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "tsprof_check", "GPL", instructions, ARRAY_SIZE(instructions),
			&options);
	if (program_fd < 0)
		return -errno;
	link_fd = bpf_raw_tracepoint_open(NULL, program_fd);
	return link_fd < 0 ? -errno : 0;
}

static void check_tracepoints(struct probe *probe)
{
	static const char *const names[] = { "sched_process_fork", "sched_process_exec", "sched_process_exit" };
	struct check_host_ability *ability = add(probe, "tracepoints", "see processes come and go", true);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int r = attach_tracepoint(names[i]);

		if (r == 0)
			continue;
		if (r == -ENOENT || r == -ESRCH) {
			why(ability, "this kernel has no BTF for the tracepoint %s", names[i]);
			lacks(ability, CHECK_HOST_MISSING, EX_UNAVAILABLE,
					"boot a kernel with CONFIG_DEBUG_INFO_BTF=y and CONFIG_BPF_EVENTS=y");
		} else if (!blame_capability(ability, -r, "attaching to a tracepoint", CAP_BPF, "CAP_BPF") &&
				!blame_capability(ability, -r, "attaching to a tracepoint", CAP_PERFMON, "CAP_PERFMON")) {
			blame_unknown(ability, -r, "attaching to a tracepoint");
		}
		return;
	}
	why(ability, "fork, exec and exit");
}

static int open_event(struct perf_event_attr *attributes)
{
	_cleanup_free_ char *online = NULL;
	size_t size;
	int cpu = 0, fd, error, r;

	/* "0-3,8" */
	if (fs_read(AT_FDCWD, "/sys/devices/system/cpu/online", 4096, &online, &size) == 0)
		cpu = atoi(online);
	attributes->size = sizeof(*attributes);
	attributes->disabled = 1;
	r = privileges_begin_admin();
	if (r < 0)
		return r;
	fd = syscall(SYS_perf_event_open, attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	error = errno;
	privileges_end_admin();
	return fd < 0 ? -error : fd;
}

static void blame_event(struct check_host_ability *ability, int error)
{
	bool refused = error == EPERM || error == EACCES;

	if (refused && perf_paranoid() > 2 && !is_effective(CAP_SYS_ADMIN)) {
		why(ability, "perf_event_open(): %s; kernel.perf_event_paranoid is %ld, where CAP_SYS_ADMIN is wanted",
				strerror(error), perf_paranoid());
		lacks(ability, CHECK_HOST_MISSING, EX_NOPERM,
				"sysctl kernel.perf_event_paranoid=2 (and a line in /etc/sysctl.d), or run as root or with "
				"CAP_SYS_ADMIN, which is used for this call alone");
		return;
	}
	if (!blame_capability(ability, error, "perf_event_open()", CAP_PERFMON, "CAP_PERFMON"))
		blame_unknown(ability, error, "perf_event_open()");
}

static void check_events(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "perf-events", "sample all CPUs", true);
	struct perf_event_attr attributes = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = 10000000,
	};

	probe->event_fd = open_event(&attributes);
	if (probe->event_fd < 0) {
		blame_event(ability, -probe->event_fd);
		return;
	}
	if (probe->program_fd >= 0 && ioctl(probe->event_fd, PERF_EVENT_IOC_SET_BPF, probe->program_fd) < 0) {
		if (!blame_capability(ability, errno, "attaching a program to an event", CAP_PERFMON, "CAP_PERFMON"))
			blame_unknown(ability, errno, "attaching a program to an event");
		return;
	}
	why(ability, "cpu-clock with a program; kernel.perf_event_paranoid is %ld", perf_paranoid());
}

/* Enough for what arrives between two looks; less than this the kernel gives to everyone. */
enum { RING_PAGES = 32 };

static void check_mappings(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "perf-mappings", "see new code mappings with build ids", true);
	size_t size = (1 + RING_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
	struct perf_event_attr attributes = {
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_DUMMY,
		.mmap = 1,
		.mmap2 = 1,
		.build_id = 1,
		.sample_id_all = 1,
	};
	_cleanup_close_ int fd = open_event(&attributes);
	void *ring;

	if (fd == -EINVAL) {
		why(ability, "perf_event_open(): no build ids in mapping records");
		lacks(ability, CHECK_HOST_MISSING, EX_UNAVAILABLE, "boot Linux 5.12 or newer");
		return;
	}
	if (fd < 0) {
		blame_event(ability, -fd);
		return;
	}
	ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED) {
		why(ability, "ring buffer: %s; kernel.perf_event_mlock_kb is %ld", strerror(errno),
				read_setting("/proc/sys/kernel/perf_event_mlock_kb", -1));
		lacks(ability, CHECK_HOST_MISSING, EX_OSERR,
				"LimitMEMLOCK=infinity (ulimit -l), or a larger kernel.perf_event_mlock_kb");
		return;
	}
	munmap(ring, size);
	why(ability, "mmap2 records with build ids");
}

static void check_kernel_names(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "kernel-names", "name functions of the kernel", false);
	_cleanup_fclose_ FILE *f = fopen("/proc/kallsyms", "re");
	char line[256], *p = line;

	if (!f || !fgets(line, sizeof(line), f)) {
		why(ability, "/proc/kallsyms: %s", f ? "empty" : strerror(errno));
		lacks(ability, CHECK_HOST_DEGRADED, 0, "no ProtectKernelTunables=, no ProcSubset=pid; in a container, no "
				"masked /proc/kallsyms");
		return;
	}
	/* The first symbol of x86-64 may honestly be 0 (per-CPU): look until one is not. */
	do {
		p = line + strspn(line, "0");
		if (*p != ' ') {
			why(ability, "/proc/kallsyms shows addresses");
			return;
		}
	} while (fgets(line, sizeof(line), f));
	if (!is_effective(CAP_SYSLOG)) {
		why(ability, "/proc/kallsyms shows no addresses; CAP_SYSLOG is missing");
		lacks(ability, CHECK_HOST_DEGRADED, 0, "run as root (sudo), as tsprofd.service, or add CAP_SYSLOG");
		return;
	}
	why(ability, "/proc/kallsyms shows no addresses; kernel.kptr_restrict is %ld",
			read_setting("/proc/sys/kernel/kptr_restrict", -1));
	lacks(ability, CHECK_HOST_DEGRADED, 0, "sysctl kernel.kptr_restrict=1; no ProtectKernelTunables=, no "
			"ProtectKernelLogs= in the unit");
}

/* Another process than ours, better one of another user. 0 when there is none. */
static pid_t find_other_process(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	pid_t other = 0;

	while (dir && (entry = readdir(dir))) {
		pid_t pid = atoi(entry->d_name);
		char path[64], link[8];
		struct stat status;

		if (pid <= 0 || pid == getpid() || pid == getppid() || fstatat(dirfd(dir), entry->d_name, &status, 0) < 0)
			continue;
		/* Threads of the kernel have no executable, and that is no refusal. */
		snprintf(path, sizeof(path), "/proc/%d/exe", pid);
		if (readlink(path, link, sizeof(link)) < 0 && errno == ENOENT)
			continue;
		other = pid;
		if (status.st_uid != geteuid())
			break;
	}
	if (dir)
		closedir(dir);
	return other;
}

static void check_other_processes(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "processes", "read processes of all users", true);
	static const char *const files[] = { "maps", "exe", "root/." };
	pid_t pid = find_other_process();

	if (pid == 0) {
		why(ability, "no other process to try it with");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_close_ int fd = -1;
		_cleanup_free_ char *data = NULL;
		char path[64];
		size_t size;
		int r = 0;

		snprintf(path, sizeof(path), "/proc/%d/%s", pid, files[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			r = -errno;
		else if (i == 0)
			r = fs_read_fd(fd, 16 << 20, &data, &size);
		/* It may have ended just now. */
		if (r == 0 || r == -ENOENT || r == -ESRCH)
			continue;
		if (!blame_capability(ability, -r, path, CAP_SYS_PTRACE, "CAP_SYS_PTRACE"))
			blame_unknown(ability, -r, path);
		return;
	}
	why(ability, "maps, exe and root of process %d", pid);
}

static void check_other_files(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "files", "read executables that are not for all", true);
	_cleanup_close_ int fd = memfd_create("tsprof-check", MFD_CLOEXEC), again = -1;
	char path[64];

	if (fd < 0 || fchmod(fd, 0) < 0) {
		blame_unknown(ability, errno, "memfd_create()");
		return;
	}
	/* A file of nobody's to read, opened by its name. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC);
	if (again >= 0) {
		why(ability, "whatever their mode");
		return;
	}
	if (!blame_capability(ability, errno, "open()", CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"))
		blame_unknown(ability, errno, "open()");
}

static void check_map_files(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "map-files", "name binaries that were replaced or deleted", false);
	DIR *dir = opendir("/proc/self/map_files");
	struct dirent *entry;
	int error = 0;

	if (!dir) {
		error = errno;
	} else {
		_cleanup_close_ int fd = -1;

		do {
			errno = ENOENT;
			entry = readdir(dir);
		} while (entry && entry->d_name[0] == '.');
		fd = entry ? openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC) : -1;
		if (fd < 0)
			error = errno;
		closedir(dir);
	}
	if (error == 0) {
		why(ability, "/proc/PID/map_files opens");
		return;
	}
	if (!blame_capability(ability, error, "/proc/self/map_files", CAP_CHECKPOINT_RESTORE, "CAP_CHECKPOINT_RESTORE"))
		blame_unknown(ability, error, "/proc/self/map_files");
	ability->state = CHECK_HOST_DEGRADED;
}

static void check_pid_namespace(struct probe *probe)
{
	/* PROC_PID_INIT_INO, include/linux/proc_ns.h (since 6.16 in the uapi, as PID_NS_INIT_INO) */
	static const ino_t initial = 0xEFFFFFFC;
	struct check_host_ability *ability = add(probe, "pid-namespace", "see all processes of the machine", false);
	struct stat status;

	if (stat("/proc/self/ns/pid", &status) < 0) {
		why(ability, "/proc/self/ns/pid: %s", strerror(errno));
		lacks(ability, CHECK_HOST_DEGRADED, 0, "mount /proc");
		return;
	}
	if (status.st_ino == initial) {
		why(ability, "the initial one");
		return;
	}
	why(ability, "one of its own: processes outside of it are counted, not named");
	lacks(ability, CHECK_HOST_DEGRADED, 0, "to profile the whole machine, run outside of the container or with --pid=host");
}

static void check_landlock(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "landlock", "keep the symbolizer from files", false);
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi > 0) {
		why(ability, "version %ld", abi);
		return;
	}
	why(ability, "%s", errno == EOPNOTSUPP ? "switched off at boot" : strerror(errno));
	lacks(ability, CHECK_HOST_DEGRADED, 0, "boot with lsm=landlock,... (CONFIG_SECURITY_LANDLOCK=y); allow landlock_* in "
			"SystemCallFilter=. It is confined by seccomp all the same");
}

static void check_seccomp(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "seccomp", "confine the symbolizer", false);
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0) {
		why(ability, "filters work");
		return;
	}
	why(ability, "seccomp(): %s", strerror(errno));
	lacks(ability, CHECK_HOST_MISSING, 0, "a kernel with CONFIG_SECCOMP_FILTER=y; allow seccomp in SystemCallFilter=");
}

static void check_lockdown(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "lockdown", "the kernel lets itself be read", false);
	_cleanup_free_ char *modules = NULL;
	char mode[32];
	size_t size;

	read_lockdown(mode, sizeof(mode));
	if (fs_read(AT_FDCWD, "/sys/kernel/security/lsm", 4096, &modules, &size) < 0) {
		modules = NULL;
	} else {
		modules[strcspn(modules, "\n")] = 0;
	}
	why(ability, "%s%s%s", *mode ? mode : "not known, securityfs is not mounted", modules ? "; modules: " : "",
			modules ? modules : "");
	if (strcmp(mode, "confidentiality") == 0)
		lacks(ability, CHECK_HOST_MISSING, 0, "boot with lockdown=integrity or none");
}

static void check_memlock(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "memlock", "memory of maps and rings", false);
	struct rlimit limit = { 0 };

	getrlimit(RLIMIT_MEMLOCK, &limit);
	/* Since 5.11 maps are accounted to the cgroup; what is tried above is what counts. */
	if (limit.rlim_cur == RLIM_INFINITY)
		why(ability, "no limit");
	else
		why(ability, "%llu KiB, and %ld KiB a CPU for rings", (unsigned long long)limit.rlim_cur / 1024,
				read_setting("/proc/sys/kernel/perf_event_mlock_kb", 0));
}

static void check_tracefs(struct probe *probe)
{
	struct check_host_ability *ability = add(probe, "tracefs", "not needed by this version", false);
	static const char path[] = "/sys/kernel/tracing/events";

	if (access(path, R_OK | X_OK) == 0)
		why(ability, "%s is readable", path);
	else
		why(ability, "%s: %s", path, strerror(errno));
}

/* The folder itself or, when it is yet to be made, the nearest one that is there. */
static void nearest_folder(const char *path, char *ret, size_t size)
{
	struct stat status;
	char *slash;

	snprintf(ret, size, "%s", path);
	while (stat(ret, &status) < 0 && errno == ENOENT) {
		slash = strrchr(ret, '/');
		if (!slash) {
			snprintf(ret, size, ".");
			return;
		}
		if (slash == ret) {
			ret[1] = 0;
			return;
		}
		*slash = 0;
	}
}

/* Writes into a folder and leaves nothing behind. 0 or -errno. */
static int try_to_write(const char *folder)
{
	_cleanup_close_ int fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	char name[PATH_MAX + 32];

	if (fd >= 0)
		return 0;
	/* Some file systems have no unnamed files. */
	if (errno != EOPNOTSUPP && errno != EISDIR)
		return -errno;
	snprintf(name, sizeof(name), "%s/.tmp-check-%d", folder, getpid());
	if (mkdir(name, 0700) < 0)
		return -errno;
	rmdir(name);
	return 0;
}

static void check_output(struct probe *probe)
{
	struct check_host_ability *ability;
	char folder[PATH_MAX];
	const char *name = probe->output_directory;
	int r;

	if (!name)
		return;
	ability = add(probe, "output", "write profiles", true);
	nearest_folder(name, folder, sizeof(folder));
	r = try_to_write(folder);
	if (r == 0) {
		why(ability, "%s%s", name, strcmp(name, folder) == 0 ? "" : ", which will be made");
		return;
	}
	why(ability, "%s: %s", folder, strerror(-r));
	if (r == -EROFS)
		lacks(ability, CHECK_HOST_MISSING, EX_OSERR, "choose another output.directory; in a unit with "
				"ProtectSystem=strict name it in ReadWritePaths=");
	else if (r == -ENOTDIR)
		lacks(ability, CHECK_HOST_MISSING, EX_OSERR, "choose another output.directory: this is a file");
	else
		lacks(ability, CHECK_HOST_MISSING, r == -EACCES || r == -EPERM ? EX_NOPERM : EX_OSERR,
				"make the folder writable for the user of tsprofd, or choose another output.directory");
}

static int say_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return 0;
}

void check_host(const char *output_directory, struct check_host *ret)
{
	struct probe probe = {
		.host = ret,
		.output_directory = output_directory,
		.program_fd = -1,
		.event_fd = -1,
	};
	libbpf_print_fn_t print = libbpf_set_print(say_nothing);

	ret->n = 0;
	uname(&probe.kernel);
	/* In the order in which a cause shows best: the first essential one that is missing explains a failed start. */
	check_capabilities(&probe);
	check_bpf(&probe);
	check_kernel(&probe);
	check_btf(&probe);
	check_tracepoints(&probe);
	check_events(&probe);
	check_mappings(&probe);
	check_other_processes(&probe);
	check_other_files(&probe);
	check_output(&probe);
	check_map_files(&probe);
	check_kernel_names(&probe);
	check_pid_namespace(&probe);
	check_seccomp(&probe);
	check_landlock(&probe);
	check_lockdown(&probe);
	check_memlock(&probe);
	check_tracefs(&probe);
	close_fd(probe.event_fd);
	close_fd(probe.program_fd);
	libbpf_set_print(print);
}

void check_host_print(const struct check_host *host, FILE *f)
{
	static const char *const states[] = { "ok", "degraded", "MISSING" };

	for (size_t i = 0; i < host->n; i++) {
		const struct check_host_ability *ability = &host->abilities[i];

		fprintf(f, "%-14s %-9s %s (%s)\n", ability->name, states[ability->state], ability->why, ability->what);
		if (*ability->remedy)
			fprintf(f, "%-14s %-9s -> %s\n", "", "", ability->remedy);
	}
}

int check_host_exit_code(const struct check_host *host)
{
	for (size_t i = 0; i < host->n; i++)
		if (host->abilities[i].essential && host->abilities[i].state == CHECK_HOST_MISSING)
			return host->abilities[i].exit_code;
	return 0;
}

int check_host_explain(int error, const char *doing, char *ret_text, size_t size)
{
	_cleanup_free_ struct check_host *host = calloc(1, sizeof(*host));

	if (host)
		check_host(NULL, host);
	for (size_t i = 0; host && i < host->n; i++) {
		const struct check_host_ability *ability = &host->abilities[i];

		if (!ability->essential || ability->state != CHECK_HOST_MISSING)
			continue;
		snprintf(ret_text, size, "cannot %s: %s; %s", doing, ability->why, ability->remedy);
		return ability->exit_code;
	}
	snprintf(ret_text, size, "cannot %s: %s", doing, strerror(error < 0 ? -error : error));
	return error == -EPERM || error == -EACCES ? EX_NOPERM : EX_OSERR;
}
