/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What is told of the Go processes of a profile as a whole, as its comments: versions, what could not be read and why, goroutines by
 * state, those that leak, what the memory profiler samples, and what the garbage collector does.
 */

struct capture;
struct service_profile;

/* For want of memory some may be missing. */
void go_comments_add(const struct capture *capture, const struct service_profile *service);
