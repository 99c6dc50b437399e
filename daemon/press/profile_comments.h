/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What a reader of a file alone must know, as its comments: who made it, of which window or snapshot, how its samples came to be, what was
 * lost, how its stacks ended, what of it is an estimate; for locks, who waited for which. What is told of Go processes: go_comments.h.
 */

struct capture;
struct service_profile;
struct utsname;

/* Gives service->profile its time, too. `host`: this machine. For want of memory some may be missing. */
void profile_comments_add(const struct capture *capture, const struct service_profile *service, const struct utsname *host);
