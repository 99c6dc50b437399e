/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * To whom a process belongs, read from the names of its control groups: systemd unit and container. Knows the unified
 * hierarchy (v2), the many of v1, and both side by side as systemd's "hybrid" mode has them.
 */
#include <stddef.h>
#include <stdint.h>

struct cgroup {
	char *path;                          /* in the hierarchy that systemd or the container engine keeps; "/" at least */
	char *unit;                          /* innermost *.service or *.scope, unescaped; NULL */
	char *service;                       /* the service to name it by: "x" for unit "x@1.service"; NULL: unit is none */
	char *container;                     /* 64 hex digits, or fewer where an engine uses fewer; NULL */
};

void cgroup_deinit(struct cgroup *cgroup);

/* The text of /proc/PID/cgroup. 0 or -ENOMEM: a text without sense belongs to nobody. */
int cgroup_parse(const char *text, size_t size, struct cgroup *ret);
/* 0, PROCESS_E_GONE or -errno. */
int cgroup_read(int proc, uint32_t pid, struct cgroup *ret);

/* A copy of one path component with systemd's \xNN undone; NULL when out of memory. */
char *cgroup_unescape(const char *text, size_t length);
