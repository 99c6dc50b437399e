/* SPDX-License-Identifier: Apache-2.0 */
#include "check_host_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "cleanup.h"
#include "fs.h"

long check_host_setting(const char *path, long absent)
{
	_cleanup_free_ char *text = NULL;
	size_t size;

	if (fs_read(AT_FDCWD, path, 4096, &text, &size) < 0)
		return absent;
	return strtol(text, NULL, 10);
}

bool check_host_is_effective(cap_value_t capability)
{
	cap_flag_value_t value = CAP_CLEAR;
	cap_t set = cap_get_proc();

	if (!set)
		return false;
	(void)cap_get_flag(set, capability, CAP_EFFECTIVE, &value);
	cap_free(set);
	return value == CAP_SET;
}

bool check_host_in_initial_user_namespace(void)
{
	_cleanup_free_ char *text = NULL;
	unsigned long inside, outside, count;
	size_t size;

	if (fs_read(AT_FDCWD, "/proc/self/uid_map", 4096, &text, &size) < 0)
		return true;
	return sscanf(text, "%lu %lu %lu", &inside, &outside, &count) == 3 && inside == 0 && outside == 0 &&
			count == UINT32_MAX;
}

void check_host_lockdown(char *ret_mode, size_t size)
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

struct check_host_ability *check_host_add(struct check_host_probe *probe, const char *name, const char *what,
		bool essential)
{
	static struct check_host_ability nowhere;
	struct check_host *host = probe->host;
	struct check_host_ability *ability = &nowhere;

	if (host->n < ARRAY_SIZE(host->abilities))
		ability = &host->abilities[host->n++];
	*ability = (struct check_host_ability){ .name = name, .what = what, .essential = essential };
	return ability;
}

void check_host_why(struct check_host_ability *ability, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(ability->why, sizeof(ability->why), format, arguments);
	va_end(arguments);
}

void check_host_lacks(struct check_host_ability *ability, enum check_host_state state,
		int exit_code, const char *remedy, ...)
{
	va_list arguments;

	ability->state = state;
	ability->exit_code = exit_code;
	va_start(arguments, remedy);
	vsnprintf(ability->remedy, sizeof(ability->remedy), remedy, arguments);
	va_end(arguments);
}

bool check_host_blame_capability(struct check_host_ability *ability, int error, const char *call,
		cap_value_t capability, const char *name)
{
	if (error != EPERM && error != EACCES)
		return false;
	if (!check_host_is_effective(capability)) {
		check_host_why(ability, "%s: %s; %s is missing", call, strerror(error), name);
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_NOPERM,
				"run as root (sudo), as tsprofd.service, or add %s to what the service or container may do",
				name);
		return true;
	}
	if (!check_host_in_initial_user_namespace()) {
		check_host_why(ability, "%s: %s; %s counts only inside of this user namespace", call, strerror(error),
				name);
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_NOPERM,
				"run outside of it: no PrivateUsers=, no rootless container");
		return true;
	}
	return false;
}

void check_host_blame_unknown(struct check_host_ability *ability, int error, const char *call)
{
	char lockdown[32];

	check_host_lockdown(lockdown, sizeof(lockdown));
	check_host_why(ability, "%s: %s", call, strerror(error));
	if (strcmp(lockdown, "confidentiality") == 0)
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_NOPERM,
				"the kernel is locked down (confidentiality): boot with lockdown=integrity or none");
	else if (error == EPERM || error == EACCES)
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_NOPERM,
				"a seccomp filter (container runtime, SystemCallFilter=) or a security module forbids the "
				"call: allow bpf and perf_event_open");
	else if (error == ENOSYS)
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_UNAVAILABLE,
				"this kernel was built without it: use another one");
	else
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_OSERR, "see the kernel log (dmesg)");
}
