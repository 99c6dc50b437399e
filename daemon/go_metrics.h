/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What Go processes said of themselves when they were looked at last, added up by service, as Prometheus text under the names of
 * docs/METRICS.md. Of one service the numbers of its processes are added; of shares and settings the largest is told.
 */
#include <stddef.h>
#include <stdio.h>

#include "go_switch.h"
#include "vec.h"

struct go_process_facts;

struct go_metrics_process {
	const char *service;
	const struct go_process_facts *facts;
};

enum { GO_METRICS_MAX_SERVICES = 256 };      /* the rest is "other" */

struct go_metrics {
	VEC(struct go_metrics_process) processes;
	unsigned long long n_reads, n_failed; /* looks at processes, ever; those that brought nothing */
	unsigned long long n_left_out;       /* snapshots, ever: the one before was not done yet */
	struct go_switch_stats rates;
};

/* Sorts the processes by service. */
void go_metrics_print(struct go_metrics *metrics, FILE *f);
