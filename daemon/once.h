/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * tsprofd --once: one window with no daemon and no configuration file, of the whole host, one process, one service, or a
 * command that is started for it.
 */
struct config;
struct options;

/* `config` is borrowed. The exit code: sysexits, or that of the command. */
int once_run(const struct options *options, const struct config *config);
