/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel can do and lets us do: BPF, its types, tracepoints, perf events. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "check_host_probe.h"
#include "cleanup.h"
#include "fs.h"
#include "privileges.h"

static long perf_paranoid(void)
{
	return check_host_setting("/proc/sys/kernel/perf_event_paranoid", 2);
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

void check_host_try_bpf(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "bpf", "run programs in the kernel", true);
	_cleanup_close_ int map_fd = bpf_map_create(BPF_MAP_TYPE_HASH, "tsprof_check", 4, 8, 16, NULL);
	char log[4096] = "";

	if (map_fd < 0) {
		if (!check_host_blame_capability(ability, errno, "bpf(BPF_MAP_CREATE)", CAP_BPF, "CAP_BPF"))
			check_host_blame_unknown(ability, errno, "bpf(BPF_MAP_CREATE)");
		return;
	}
	probe->program_fd = load_program(log, sizeof(log));
	if (probe->program_fd >= 0) {
		probe->bpf_works = true;
		check_host_why(ability, "maps and programs load");
		return;
	}
	if (strstr(log, "unknown func") || strstr(log, "cannot use helper")) {
		check_host_why(ability, "bpf(BPF_PROG_LOAD): reading memory is forbidden");
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_NOPERM,
				"the kernel is locked down (confidentiality): boot with lockdown=integrity or none");
		return;
	}
	if (!check_host_blame_capability(ability, errno, "bpf(BPF_PROG_LOAD)", CAP_PERFMON, "CAP_PERFMON"))
		check_host_blame_unknown(ability, errno, "bpf(BPF_PROG_LOAD)");
}

void check_host_try_kernel(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "kernel", "at least Linux 5.17 (bpf_loop)", true);
	int r;

	if (!probe->bpf_works) {
		check_host_why(ability, "%s; not tried, as BPF does not work", probe->kernel.release);
		ability->state = CHECK_HOST_DEGRADED;
		ability->essential = false;
		return;
	}
	r = libbpf_probe_bpf_helper(BPF_PROG_TYPE_PERF_EVENT, BPF_FUNC_loop, NULL);
	if (r == 0) {
		check_host_why(ability, "%s has no bpf_loop()", probe->kernel.release);
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_UNAVAILABLE,
				"boot Linux 5.17 or newer (Debian 12 has 6.1)");
		return;
	}
	if (r < 0) {
		check_host_blame_unknown(ability, -r, "probe of bpf_loop()");
		return;
	}
	check_host_why(ability, "%s", probe->kernel.release);
}

void check_host_try_btf(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "btf", "the kernel describes its own types", true);
	struct btf *btf = btf__parse_raw("/sys/kernel/btf/vmlinux");
	long error = libbpf_get_error(btf);

	if (!error) {
		check_host_why(ability, "/sys/kernel/btf/vmlinux, %u types", btf__type_cnt(btf));
		btf__free(btf);
		return;
	}
	check_host_why(ability, "/sys/kernel/btf/vmlinux: %s", strerror(-(int)error));
	if (error == -ENOENT)
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_UNAVAILABLE,
				"boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (those of Debian, Fedora, Ubuntu and Arch "
				"are); in a container, mount /sys");
	else
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_OSERR,
				"make the file readable, or boot a kernel whose BTF is sound");
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

void check_host_try_tracepoints(struct check_host_probe *probe)
{
	static const char call[] = "attaching to a tracepoint";
	static const char *const names[] = { "sched_process_fork", "sched_process_exec", "sched_process_exit" };
	struct check_host_ability *ability = check_host_add(probe, "tracepoints", "see processes come and go", true);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int r = attach_tracepoint(names[i]);

		if (r == 0)
			continue;
		if (r == -ENOENT || r == -ESRCH) {
			check_host_why(ability, "this kernel has no BTF for the tracepoint %s", names[i]);
			check_host_lacks(ability, CHECK_HOST_MISSING, EX_UNAVAILABLE,
					"boot a kernel with CONFIG_DEBUG_INFO_BTF=y and CONFIG_BPF_EVENTS=y");
		} else if (!check_host_blame_capability(ability, -r, call, CAP_BPF, "CAP_BPF") &&
				!check_host_blame_capability(ability, -r, call, CAP_PERFMON, "CAP_PERFMON")) {
			check_host_blame_unknown(ability, -r, call);
		}
		return;
	}
	check_host_why(ability, "fork, exec and exit");
}

void check_host_try_block_io(struct check_host_probe *probe)
{
	static const char call[] = "attaching to a tracepoint";
	struct check_host_ability *ability = check_host_add(probe, "block-io", "time requests of block devices", false);
	int r = attach_tracepoint("block_rq_complete");

	if (r == 0) {
		check_host_why(ability, "block_rq_complete");
		return;
	}
	if (r == -ENOENT || r == -ESRCH) {
		check_host_why(ability, "this kernel has no BTF for the tracepoint block_rq_complete");
		check_host_lacks(ability, CHECK_HOST_DEGRADED, 0, "a kernel with CONFIG_BLOCK=y; all but the metrics tsprofd_block_io_* is there without");
		return;
	}
	if (!check_host_blame_capability(ability, -r, call, CAP_BPF, "CAP_BPF") &&
	    !check_host_blame_capability(ability, -r, call, CAP_PERFMON, "CAP_PERFMON"))
		check_host_blame_unknown(ability, -r, call);
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

	if (refused && perf_paranoid() > 2 && !check_host_is_effective(CAP_SYS_ADMIN)) {
		check_host_why(ability,
				"perf_event_open(): %s; kernel.perf_event_paranoid is %ld, where CAP_SYS_ADMIN is wanted",
				strerror(error), perf_paranoid());
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_NOPERM,
				"sysctl kernel.perf_event_paranoid=2 (and a line in /etc/sysctl.d), or run as root or with "
				"CAP_SYS_ADMIN, which is used for this call alone");
		return;
	}
	if (!check_host_blame_capability(ability, error, "perf_event_open()", CAP_PERFMON, "CAP_PERFMON"))
		check_host_blame_unknown(ability, error, "perf_event_open()");
}

void check_host_try_events(struct check_host_probe *probe)
{
	static const char call[] = "attaching a program to an event";
	struct check_host_ability *ability = check_host_add(probe, "perf-events", "sample all CPUs", true);
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
		if (!check_host_blame_capability(ability, errno, call, CAP_PERFMON, "CAP_PERFMON"))
			check_host_blame_unknown(ability, errno, call);
		return;
	}
	check_host_why(ability, "cpu-clock with a program; kernel.perf_event_paranoid is %ld", perf_paranoid());
}

/* Enough for what arrives between two looks; less than this the kernel gives to everyone. */
enum { RING_PAGES = 32 };

void check_host_try_mappings(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "perf-mappings", "see new mappings of code", true);
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
		check_host_why(ability, "perf_event_open(): no build ids in mapping records");
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_UNAVAILABLE, "boot Linux 5.12 or newer");
		return;
	}
	if (fd < 0) {
		blame_event(ability, -fd);
		return;
	}
	ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED) {
		check_host_why(ability, "ring buffer: %s; kernel.perf_event_mlock_kb is %ld", strerror(errno),
				check_host_setting("/proc/sys/kernel/perf_event_mlock_kb", -1));
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_OSERR,
				"LimitMEMLOCK=infinity (ulimit -l), or a larger kernel.perf_event_mlock_kb");
		return;
	}
	munmap(ring, size);
	check_host_why(ability, "mmap2 records with build ids");
}
