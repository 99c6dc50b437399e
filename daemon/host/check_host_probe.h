/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the rooms of the host check share: facts, the row of an ability, and whom to blame for a refusal. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/capability.h>
#include <sys/utsname.h>

#include "check_host.h"

/* What one ability leaves behind for those that need it. */
struct check_host_probe {
	struct check_host *host;
	const char *output_directory;
	struct utsname kernel;
	bool bpf_works;
	int program_fd;              /* of a program for perf events; -1: none */
	int event_fd;                /* negative: none */
};

/* Facts. */

/* A number in a file of /proc/sys; `absent` when it cannot be read. */
long check_host_setting(const char *path, long absent);
/* "none", "integrity", "confidentiality"; "" when it cannot be known. */
void check_host_lockdown(char *ret_mode, size_t size);
bool check_host_is_effective(cap_value_t capability);
/* In a user namespace of its own a process has capabilities that mean nothing to BPF. */
bool check_host_in_initial_user_namespace(void);

/* A new row, ok until something else is said. */
struct check_host_ability *check_host_add(struct check_host_probe *probe, const char *name, const char *what,
		bool essential);
void check_host_why(struct check_host_ability *ability, const char *format, ...) __attribute__((format(printf, 2, 3)));
void check_host_lacks(struct check_host_ability *ability, enum check_host_state state, int exit_code,
		const char *remedy, ...) __attribute__((format(printf, 4, 5)));

/* A call was refused: is it for want of this capability? Says so and returns true. */
bool check_host_blame_capability(struct check_host_ability *ability, int error, const char *call,
		cap_value_t capability, const char *name);
/* What is left when no capability is to blame. */
void check_host_blame_unknown(struct check_host_ability *ability, int error, const char *call);

/* The abilities; each adds its row. Of the kernel, in this order: */
void check_host_try_bpf(struct check_host_probe *probe);
void check_host_try_kernel(struct check_host_probe *probe);
void check_host_try_btf(struct check_host_probe *probe);
void check_host_try_tracepoints(struct check_host_probe *probe);
void check_host_try_events(struct check_host_probe *probe);
void check_host_try_mappings(struct check_host_probe *probe);
void check_host_try_block_io(struct check_host_probe *probe);
/* Of what we may reach: */
void check_host_try_other_processes(struct check_host_probe *probe);
void check_host_try_other_files(struct check_host_probe *probe);
void check_host_try_output(struct check_host_probe *probe);
void check_host_try_map_files(struct check_host_probe *probe);
void check_host_try_kernel_names(struct check_host_probe *probe);
void check_host_try_pid_namespace(struct check_host_probe *probe);
/* Of what confines: */
void check_host_try_seccomp(struct check_host_probe *probe);
void check_host_try_landlock(struct check_host_probe *probe);
void check_host_try_lockdown(struct check_host_probe *probe);
void check_host_try_memlock(struct check_host_probe *probe);
void check_host_try_tracefs(struct check_host_probe *probe);
