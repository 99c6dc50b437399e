/* SPDX-License-Identifier: Apache-2.0 */
/* What confines: our helpers by our own will, and us. */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "check_host_probe.h"
#include "cleanup.h"
#include "fs.h"

void check_host_try_landlock(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "landlock", "keep the symbolizer from files", false);
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi > 0) {
		check_host_why(ability, "version %ld", abi);
		return;
	}
	check_host_why(ability, "%s", errno == EOPNOTSUPP ? "switched off at boot" : strerror(errno));
	check_host_lacks(ability, CHECK_HOST_DEGRADED, 0,
			"boot with lsm=landlock,... (CONFIG_SECURITY_LANDLOCK=y); allow landlock_* in SystemCallFilter=. "
			"It is confined by seccomp all the same");
}

void check_host_try_seccomp(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "seccomp", "confine the symbolizer", false);
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0) {
		check_host_why(ability, "filters work");
		return;
	}
	check_host_why(ability, "seccomp(): %s", strerror(errno));
	check_host_lacks(ability, CHECK_HOST_MISSING, 0,
			"a kernel with CONFIG_SECCOMP_FILTER=y; allow seccomp in SystemCallFilter=");
}

void check_host_try_lockdown(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "lockdown", "the kernel lets itself be read", false);
	_cleanup_free_ char *modules = NULL;
	char mode[32];
	size_t size;

	check_host_lockdown(mode, sizeof(mode));
	if (fs_read(AT_FDCWD, "/sys/kernel/security/lsm", 4096, &modules, &size) < 0) {
		modules = NULL;
	} else {
		modules[strcspn(modules, "\n")] = 0;
	}
	check_host_why(ability, "%s%s%s", *mode ? mode : "not known, securityfs is not mounted", modules ? "; modules: " : "",
			modules ? modules : "");
	if (strcmp(mode, "confidentiality") == 0)
		check_host_lacks(ability, CHECK_HOST_MISSING, 0, "boot with lockdown=integrity or none");
}

void check_host_try_memlock(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "memlock", "memory of maps and rings", false);
	struct rlimit limit = { 0 };

	getrlimit(RLIMIT_MEMLOCK, &limit);
	/* Since 5.11 maps are accounted to the cgroup; what is tried above is what counts. */
	if (limit.rlim_cur == RLIM_INFINITY)
		check_host_why(ability, "no limit");
	else
		check_host_why(ability, "%llu KiB, and %ld KiB a CPU for rings", (unsigned long long)limit.rlim_cur / 1024,
				check_host_setting("/proc/sys/kernel/perf_event_mlock_kb", 0));
}

void check_host_try_tracefs(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "tracefs", "not needed by this version", false);
	static const char path[] = "/sys/kernel/tracing/events";

	if (access(path, R_OK | X_OK) == 0)
		check_host_why(ability, "%s is readable", path);
	else
		check_host_why(ability, "%s: %s", path, strerror(errno));
}
