/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The daemon at work: owns the event loop and every other object of the daemon, starts them, reloads the configuration,
 * and stops them.
 */
struct config;
struct manager;
struct options;

/*
 * Starts everything; sampling runs when it returns. Takes the config on success. Failures are logged with cause and
 * remedy. 0, or the exit code (sysexits) that the process should end with.
 */
int manager_new(const struct options *options, struct config *config, struct manager **ret);
struct manager *manager_free(struct manager *manager);

/* Until SIGTERM or SIGINT; writes the running window then. The exit code. */
int manager_run(struct manager *manager);
