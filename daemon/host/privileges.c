/* SPDX-License-Identifier: Apache-2.0 */
#include "privileges.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "config_value.h"

/* What every core needs, and what for. */
static const struct need {
	cap_value_t capability;
	const char *name, *what;
	int without;                 /* what privileges_init() returns */
} needs[] = {
	{ CAP_BPF, "CAP_BPF", "load BPF programs", PRIVILEGES_E_MISSING },
	{ CAP_PERFMON, "CAP_PERFMON", "open perf events", PRIVILEGES_E_MISSING },
	{ CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "read other processes", PRIVILEGES_E_MISSING },
	{ CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "read their files", PRIVILEGES_E_MISSING },
	{ CAP_SYSLOG, "CAP_SYSLOG", "name kernel functions", PRIVILEGES_E_LESS },
	{ CAP_CHECKPOINT_RESTORE, "CAP_CHECKPOINT_RESTORE", "name replaced binaries", PRIVILEGES_E_LESS },
};

/*
 * In addition when root started us: its files shall belong to who typed sudo and lie in their folders, helpers change
 * their user, and a command that is theirs has to be ended.
 */
static const cap_value_t root_needs[] = {
	CAP_CHOWN, CAP_FOWNER, CAP_DAC_OVERRIDE, CAP_SETUID, CAP_SETGID, CAP_KILL,
};

/* A service has these only if its operator wants them: see privileges_become(). */
static const cap_value_t service_extras[] = { CAP_SETUID, CAP_SETGID };

static bool admin_is_kept;

static int cap_free_set(cap_t set)
{
	return set ? cap_free(set) : 0;
}

static void cap_free_p(cap_t *set)
{
	cap_free_set(*set);
}

#define _cleanup_cap_ _cleanup_(cap_free_p)

static bool is_permitted(cap_t set, cap_value_t capability)
{
	cap_flag_value_t value = CAP_CLEAR;

	return cap_get_flag(set, capability, CAP_PERMITTED, &value) == 0 && value == CAP_SET;
}

/* Takes over what `from` permits of one capability, effective or not. */
static int keep(cap_t to, cap_t from, cap_value_t capability, bool is_effective)
{
	if (!is_permitted(from, capability))
		return 0;
	if (cap_set_flag(to, CAP_PERMITTED, 1, &capability, CAP_SET) < 0)
		return -errno;
	if (is_effective && cap_set_flag(to, CAP_EFFECTIVE, 1, &capability, CAP_SET) < 0)
		return -errno;
	return 0;
}

static int keep_needed(cap_t to, cap_t from)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(needs) && r == 0; i++)
		r = keep(to, from, needs[i].capability, true);
	for (size_t i = 0; i < ARRAY_SIZE(root_needs) && r == 0 && geteuid() == 0; i++)
		r = keep(to, from, root_needs[i], true);
	for (size_t i = 0; i < ARRAY_SIZE(service_extras) && r == 0 && geteuid() != 0; i++)
		r = keep(to, from, service_extras[i], false);
	return r;
}

static int apply(cap_t set)
{
	return cap_set_proc(set) < 0 ? -errno : 0;
}

/* Whether a system-wide event opens with what is effective now: the one way to know what this kernel wants. */
static bool can_open_events(void)
{
	struct perf_event_attr attributes = {
		.size = sizeof(attributes),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = 1000000000,
		.disabled = 1,
	};
	_cleanup_close_ int fd = -1;

	/* CPU 0 may be offline, but what is refused is refused before that is looked at. */
	fd = syscall(SYS_perf_event_open, &attributes, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	return fd >= 0 || (errno != EACCES && errno != EPERM);
}

/* Of the set that children can ever get. It takes CAP_SETPCAP, which is about to go. */
static void drop_bounding(cap_t kept)
{
	for (cap_value_t capability = 0; cap_get_bound(capability) >= 0; capability++)
		if (!is_permitted(kept, capability))
			/* Without CAP_SETPCAP it stays as whoever started us set it. */
			(void)cap_drop_bound(capability);
}

int privileges_init(const struct privileges_options *options)
{
	_cleanup_cap_ cap_t had = cap_get_proc(), kept = cap_init();
	int r;

	if (!had || !kept)
		return -errno;
	r = keep_needed(kept, had);
	if (r < 0)
		return r;
	/* Helpers that are started by exec shall not inherit what systemd gave us this way. */
	(void)cap_reset_ambient();
	admin_is_kept = false;
	if (is_permitted(had, CAP_SYS_ADMIN)) {
		_cleanup_cap_ cap_t tried = cap_dup(kept);

		if (!tried)
			return -errno;
		r = keep(tried, had, CAP_SYS_ADMIN, false);
		/* For a moment what is dropped for good below is only not effective. */
		r = r < 0 ? r : keep(tried, had, CAP_SETPCAP, false);
		r = r < 0 ? r : apply(tried);
		if (r < 0)
			return r;
		if (!can_open_events()) {
			admin_is_kept = true;
			r = keep(kept, had, CAP_SYS_ADMIN, false);
			if (r < 0)
				return r;
		}
	}
	if (!options->will_start_command && is_permitted(had, CAP_SETPCAP)) {
		_cleanup_cap_ cap_t dropping = cap_dup(kept);

		if (!dropping)
			return -errno;
		r = keep(dropping, had, CAP_SETPCAP, true);
		r = r < 0 ? r : apply(dropping);
		if (r < 0)
			return r;
		drop_bounding(kept);
	}
	r = apply(kept);
	if (r < 0)
		return r;
	return privileges_missing_names(NULL, 0);
}

int privileges_missing_names(char *ret_text, size_t size)
{
	_cleanup_cap_ cap_t set = cap_get_proc();
	size_t used = 0;
	int r = 0;

	if (size)
		*ret_text = 0;
	for (size_t i = 0; set && i < ARRAY_SIZE(needs); i++) {
		if (is_permitted(set, needs[i].capability))
			continue;
		if (used < size)
			used += snprintf(ret_text + used, size - used, "%s%s (%s)", r ? ", " : "missing ", needs[i].name,
					needs[i].what);
		if (r != PRIVILEGES_E_MISSING)
			r = needs[i].without;
	}
	return r;
}

int privileges_missing(char *ret_text, size_t size)
{
	int r = privileges_missing_names(ret_text, size);
	size_t used = r ? strlen(ret_text) : 0;

	if (r)
		snprintf(ret_text + used, size - used, "%s", geteuid() == 0 ?
				"; let the service or container that runs tsprofd have it" :
				"; run tsprofd with sudo, or as tsprofd.service");
	return r;
}

int privileges_after_start(void)
{
	_cleanup_cap_ cap_t had = cap_get_proc(), kept = cap_init();
	int r;

	if (!had || !kept)
		return -errno;
	r = keep_needed(kept, had);
	/* CPUs that come later need new events. */
	if (r == 0 && admin_is_kept)
		r = keep(kept, had, CAP_SYS_ADMIN, false);
	return r < 0 ? r : apply(kept);
}

static int set_admin(cap_flag_value_t value)
{
	static const cap_value_t admin = CAP_SYS_ADMIN;
	_cleanup_cap_ cap_t set = NULL;

	if (!admin_is_kept)
		return 0;
	set = cap_get_proc();
	if (!set || cap_set_flag(set, CAP_EFFECTIVE, 1, &admin, value) < 0)
		return -errno;
	return apply(set);
}

int privileges_begin_admin(void)
{
	return set_admin(CAP_SET);
}

void privileges_end_admin(void)
{
	/* Lowering what one has cannot be refused. */
	(void)set_admin(CAP_CLEAR);
}

static bool number_of(const char *variable, uint32_t *ret)
{
	const char *text = getenv(variable);
	uint64_t number;

	if (!text || config_value_integer(text, &number) < 0 || number >= UINT32_MAX)
		return false;
	*ret = number;
	return true;
}

bool privileges_owner(uid_t *ret_uid, gid_t *ret_gid)
{
	uint32_t uid, gid;

	if (geteuid() != 0 || !number_of("SUDO_UID", &uid) || !number_of("SUDO_GID", &gid) || uid == 0)
		return false;
	*ret_uid = uid;
	*ret_gid = gid;
	return true;
}

static int drop_all(void)
{
	_cleanup_cap_ cap_t none = cap_init();

	return none ? apply(none) : -errno;
}

int privileges_become_owner(void)
{
	const struct passwd *user;
	uid_t uid;
	gid_t gid;

	if (!privileges_owner(&uid, &gid))
		return 0;
	/* sudo keeps the group the user had; the others come from the list. */
	user = getpwuid(uid);
	if ((user ? initgroups(user->pw_name, gid) : setgroups(0, NULL)) < 0)
		return -errno;
	if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	if (user) {
		setenv("HOME", user->pw_dir, 1);
		setenv("USER", user->pw_name, 1);
		setenv("LOGNAME", user->pw_name, 1);
	}
	return drop_all();
}

/* Of the calling thread, without a lock or memory of libcap's. Capabilities below 32 only. */
static int set_capabilities(uint32_t permitted)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{ .effective = permitted, .permitted = permitted },
	};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int privileges_become(uid_t uid, gid_t gid)
{
	int r = 0;

	if (geteuid() != uid || getegid() != gid || getuid() != uid || getgid() != gid) {
		r = set_capabilities(1U << CAP_SETUID | 1U << CAP_SETGID);
		if (r < 0)
			return r;
		/* glibc's own would ask all threads that the parent had. */
		if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, gid, gid, gid) < 0 ||
		    syscall(SYS_setresuid, uid, uid, uid) < 0)
			return -errno;
	}
	r = set_capabilities(0);
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

int privileges_keep_ptrace(void)
{
	int r = set_capabilities(1U << CAP_SYS_PTRACE);

	if (r < 0)
		return r;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}
