/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real calls, with each capability missing in turn. Needs all that the service has: run as root.
 */
#include "check_host.h"

#include <errno.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "main.h"
#include "privileges.h"

static const struct privileges_options service = { 0 };

static const cap_value_t needed[] = {
	CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_SYSLOG, CAP_CHECKPOINT_RESTORE,
};

/* Before check begins: without the means there is nothing to test, and that is no success. */
__attribute__((constructor)) static void skip_without_privileges(void)
{
	char text[512];

	if (privileges_missing(text, sizeof(text)) == 0)
		return;
	printf("1..0 # SKIP %s\n", text);
	exit(77);
}

/* What one may drop by capset(2). CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, CAP_DAC_OVERRIDE for reading. */
static void drop(const cap_value_t *capabilities, int n)
{
	cap_t set = cap_get_proc();

	ck_assert_int_eq(cap_set_flag(set, CAP_PERMITTED, n, capabilities, CAP_CLEAR), 0);
	ck_assert_int_eq(cap_set_flag(set, CAP_EFFECTIVE, n, capabilities, CAP_CLEAR), 0);
	ck_assert_int_eq(cap_set_flag(set, CAP_INHERITABLE, n, capabilities, CAP_CLEAR), 0);
	ck_assert_int_eq(cap_set_proc(set), 0);
	cap_free(set);
}

static bool has(cap_value_t capability, cap_flag_t flag)
{
	cap_flag_value_t value = CAP_CLEAR;
	cap_t set = cap_get_proc();

	cap_get_flag(set, capability, flag, &value);
	cap_free(set);
	return value == CAP_SET;
}

static const struct check_host_ability *find(const struct check_host *host, const char *name)
{
	for (size_t i = 0; i < host->n; i++)
		if (strcmp(host->abilities[i].name, name) == 0)
			return &host->abilities[i];
	ck_abort_msg("no ability %s", name);
	return NULL;
}

/* check runs each test in a process of its own, so what one drops the next one has. */

START_TEST(with_all_capabilities_all_that_is_essential_works)
{
	struct check_host host;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_int_eq(privileges_init(&service), 0);
	check_host("/tmp", &host);
	check_host_print(&host, f);
	fclose(f);
	ck_assert_msg(check_host_exit_code(&host) == 0, "%s", text);
	for (size_t i = 0; i < host.n; i++)
		ck_assert_msg(*host.abilities[i].why && (host.abilities[i].state == CHECK_HOST_OK) ==
				(*host.abilities[i].remedy == 0), "%s", host.abilities[i].name);
	free(text);
}
END_TEST

/* Without one capability, the service's privileges_init() tells, and the call that needs it names it. */
static void assert_named(cap_value_t capability, const char *name, const char *ability_name, enum check_host_state state)
{
	const cap_value_t dropped[] = { capability, CAP_SYS_ADMIN, CAP_DAC_OVERRIDE };
	bool essential = state == CHECK_HOST_MISSING;
	const struct check_host_ability *ability;
	struct check_host host;
	char text[800];

	drop(dropped, 3);
	ck_assert_int_eq(privileges_init(&service), essential ? PRIVILEGES_E_MISSING : PRIVILEGES_E_LESS);
	privileges_missing(text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, name));
	check_host(NULL, &host);
	ability = find(&host, ability_name);
	ck_assert_int_eq(ability->state, state);
	ck_assert_msg(strstr(ability->why, name) != NULL, "%s", ability->why);
	ck_assert_msg(strstr(ability->remedy, name) != NULL, "%s", ability->remedy);
	ck_assert_int_eq(check_host_exit_code(&host), essential ? EX_NOPERM : 0);
	ck_assert_int_eq(check_host_explain(-EPERM, "start", text, sizeof(text)), EX_NOPERM);
	ck_assert_msg(!essential || strstr(text, name), "%s", text);
	ck_assert_ptr_null(strchr(text, '\n'));
}

START_TEST(a_missing_cap_bpf_is_named)
{
	assert_named(CAP_BPF, "CAP_BPF", "bpf", CHECK_HOST_MISSING);
}
END_TEST

START_TEST(a_missing_cap_perfmon_is_named)
{
	assert_named(CAP_PERFMON, "CAP_PERFMON", "perf-events", CHECK_HOST_MISSING);
}
END_TEST

START_TEST(a_missing_cap_sys_ptrace_is_named)
{
	assert_named(CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "processes", CHECK_HOST_MISSING);
}
END_TEST

START_TEST(a_missing_cap_dac_read_search_is_named)
{
	assert_named(CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "files", CHECK_HOST_MISSING);
}
END_TEST

START_TEST(a_missing_cap_syslog_costs_names_only)
{
	assert_named(CAP_SYSLOG, "CAP_SYSLOG", "kernel-names", CHECK_HOST_DEGRADED);
}
END_TEST

START_TEST(a_missing_cap_checkpoint_restore_costs_names_only)
{
	assert_named(CAP_CHECKPOINT_RESTORE, "CAP_CHECKPOINT_RESTORE", "map-files", CHECK_HOST_DEGRADED);
}
END_TEST

START_TEST(an_output_folder_that_cannot_be_written_is_told)
{
	struct check_host host;

	/* A file system that nobody can write, even as root. */
	check_host("/proc/profiles", &host);
	ck_assert_int_eq(find(&host, "output")->state, CHECK_HOST_MISSING);
	ck_assert_int_ne(check_host_exit_code(&host), 0);
	check_host("/dev/null", &host);
	ck_assert_int_eq(find(&host, "output")->state, CHECK_HOST_MISSING);
	check_host("/tmp/not/there/yet", &host);
	ck_assert_int_eq(find(&host, "output")->state, CHECK_HOST_OK);
}
END_TEST

START_TEST(what_no_ability_explains_is_told_as_it_is)
{
	char text[800];

	ck_assert_int_eq(check_host_explain(-ENOMEM, "load the programs", text, sizeof(text)), EX_OSERR);
	ck_assert_str_eq(text, "cannot load the programs: Cannot allocate memory");
}
END_TEST

START_TEST(the_core_keeps_what_it_needs_and_no_more)
{
	static const cap_value_t gone[] = {
		CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_NET_ADMIN, CAP_SYS_BOOT, CAP_SETPCAP, CAP_MKNOD, CAP_SYS_CHROOT,
	};

	ck_assert_int_eq(privileges_init(&service), 0);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		ck_assert(has(needed[i], CAP_EFFECTIVE));
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		ck_assert(!has(gone[i], CAP_PERMITTED) && cap_get_bound(gone[i]) == 0);
	/* Permitted where events need it, but effective never of its own. */
	ck_assert(!has(CAP_SYS_ADMIN, CAP_EFFECTIVE));
	ck_assert_int_eq(privileges_begin_admin(), 0);
	ck_assert_int_eq(has(CAP_SYS_ADMIN, CAP_EFFECTIVE), has(CAP_SYS_ADMIN, CAP_PERMITTED));
	privileges_end_admin();
	ck_assert(!has(CAP_SYS_ADMIN, CAP_EFFECTIVE));
	ck_assert_int_eq(privileges_after_start(), 0);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		ck_assert(has(needed[i], CAP_EFFECTIVE));
}
END_TEST

START_TEST(a_command_has_the_bounding_set_it_would_have_without_us)
{
	const struct privileges_options options = { .will_start_command = true };
	bool bounded = cap_get_bound(CAP_NET_RAW) == 1;

	ck_assert_int_eq(privileges_init(&options), 0);
	ck_assert(!has(CAP_NET_RAW, CAP_PERMITTED));
	ck_assert_int_eq(cap_get_bound(CAP_NET_RAW) == 1, bounded);
}
END_TEST

START_TEST(a_child_becomes_who_typed_sudo)
{
	uid_t uid = 0;
	gid_t gid = 0;
	pid_t child;
	int status;

	unsetenv("SUDO_UID");
	ck_assert(!privileges_owner(&uid, &gid));
	setenv("SUDO_UID", "0", 1);
	setenv("SUDO_GID", "0", 1);
	ck_assert(!privileges_owner(&uid, &gid));
	setenv("SUDO_UID", "12x", 1);
	ck_assert(!privileges_owner(&uid, &gid));
	setenv("SUDO_UID", "65534", 1);
	setenv("SUDO_GID", "65534", 1);
	ck_assert_int_eq(privileges_init(&service), 0);
	ck_assert(privileges_owner(&uid, &gid));
	ck_assert_uint_eq(uid, 65534);
	child = fork();
	if (child == 0) {
		int r = privileges_become_owner();
		uid_t real, effective, saved;

		getresuid(&real, &effective, &saved);
		_exit(r == 0 && real == uid && effective == uid && saved == uid && getegid() == gid &&
				!has(CAP_BPF, CAP_PERMITTED) && setuid(0) < 0 ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

UNIT_TESTS("check_host", with_all_capabilities_all_that_is_essential_works, a_missing_cap_bpf_is_named,
		a_missing_cap_perfmon_is_named, a_missing_cap_sys_ptrace_is_named, a_missing_cap_dac_read_search_is_named,
		a_missing_cap_syslog_costs_names_only, a_missing_cap_checkpoint_restore_costs_names_only,
		an_output_folder_that_cannot_be_written_is_told, what_no_ability_explains_is_told_as_it_is,
		the_core_keeps_what_it_needs_and_no_more, a_command_has_the_bounding_set_it_would_have_without_us,
		a_child_becomes_who_typed_sudo)
