/* SPDX-License-Identifier: Apache-2.0 */
#include "check_host.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "check_host_probe.h"
#include "cleanup.h"
#include "privileges.h"

static void try_capabilities(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "capabilities", "what the service needs", true);
	int r = privileges_missing_names(ability->why, sizeof(ability->why));

	if (r == 0) {
		check_host_why(ability, "all six");
		return;
	}
	check_host_lacks(ability, r == PRIVILEGES_E_MISSING ? CHECK_HOST_MISSING : CHECK_HOST_DEGRADED, EX_NOPERM,
			"run as root (sudo) or as tsprofd.service; let the container have what is missing");
}

static int say_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return 0;
}

void check_host(const char *output_directory, struct check_host *ret)
{
	struct check_host_probe probe = {
		.host = ret,
		.output_directory = output_directory,
		.program_fd = -1,
		.event_fd = -1,
	};
	libbpf_print_fn_t print = libbpf_set_print(say_nothing);

	ret->n = 0;
	uname(&probe.kernel);
	/* In the order in which a cause shows best: the first essential one that is missing explains a failed start. */
	try_capabilities(&probe);
	check_host_try_bpf(&probe);
	check_host_try_kernel(&probe);
	check_host_try_btf(&probe);
	check_host_try_tracepoints(&probe);
	check_host_try_events(&probe);
	check_host_try_mappings(&probe);
	check_host_try_other_processes(&probe);
	check_host_try_other_files(&probe);
	check_host_try_output(&probe);
	check_host_try_map_files(&probe);
	check_host_try_kernel_names(&probe);
	check_host_try_pid_namespace(&probe);
	check_host_try_seccomp(&probe);
	check_host_try_landlock(&probe);
	check_host_try_lockdown(&probe);
	check_host_try_memlock(&probe);
	check_host_try_tracefs(&probe);
	check_host_try_block_io(&probe);
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
