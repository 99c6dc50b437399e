/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * To whom a process belongs: its service, and whether the configuration wants it in depth. Read from /proc while the
 * process lives, else inferred from the one it came from.
 *
 * A service is named by, in this order: the first target of the configuration that matches, the systemd unit, the
 * container, the executable, the thread name. Kernel threads are the service "kernel".
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cgroup.h"
#include "labels.h"

struct config;
struct identities;

/* Shared by a process and its forks, hence counted; never changed once made. */
struct identity {
	size_t n_references;
	struct cgroup cgroup;
	char *exe;                           /* path without " (deleted)"; NULL when unknown */
	char *service;                       /* never NULL or empty */
	struct labels labels;                /* those that env_label asks for */
	bool in_depth;
	uid_t uid;                           /* effective */
	bool has_uid;
	uint32_t namespace_pid;              /* 0: unknown */
};

int identities_new(int proc, const struct config *config, struct identities **ret);
struct identities *identities_free(struct identities *identities);
void identities_set_config(struct identities *identities, const struct config *config);

/* Of a living process; `thread`: process_living_thread(). 0, PROCESS_E_GONE, -errno. */
int identities_read(struct identities *identities, uint32_t pid, uint32_t thread, const char *comm, struct identity **ret);
/*
 * Of one that is gone: started by a process of identity `origin` (may be NULL), from program `exe` (may be NULL). Targets
 * that ask for the command line do not match it.
 */
int identities_infer(struct identities *identities, uint32_t pid, const char *comm, const struct identity *origin,
		const char *exe, struct identity **ret);
/* Of kernel threads. */
int identities_kernel(struct identity **ret);

struct identity *identity_ref(struct identity *identity);
struct identity *identity_unref(struct identity *identity);
