/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A command that is profiled from its first instruction on: it is there, as a process, before it begins.
 */
#include <sys/types.h>

struct command;

/* Forks a child that waits; it is who typed sudo, where there is somebody. 0 or -errno. */
int command_new(char *const *argv, struct command **ret);
/* A command that was never begun goes away; one that runs goes on. Takes and returns NULL. */
struct command *command_free(struct command *command);

pid_t command_pid(const struct command *command);
/* Lets it exec, and waits until it has. 0; a positive exit code, as shells have them, when it could not; -errno. */
int command_begin(struct command *command);
enum { COMMAND_EXIT_NOT_RUN = 126, COMMAND_EXIT_NOT_FOUND = 127 };
/* What a shell would call its status, from waitid()'s code and status: the exit code, or 128 + signal. */
int command_exit_code(int code, int status);
