/* SPDX-License-Identifier: Apache-2.0 */
#include "config_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config_bind.h"
#include "config_value.h"

static bool is_wrong(const struct config_written *written)
{
	return written && written->is_wrong;
}

/* A value that came from nowhere was checked where it came from. Wrong ones were told already. */
static bool worth_checking(const struct config_written *a, const struct config_written *b)
{
	return (a || b) && !is_wrong(a) && !is_wrong(b);
}

static const struct config_place *place_of(const struct config_written *a, const struct config_written *b)
{
	return a ? &a->place : &b->place;
}

static void check_window(struct config_binder *binder, const char *path, const uint64_t *duration_usec,
		const uint64_t *interval_usec)
{
	const struct config_written *duration = config_written(binder, duration_usec, false);
	const struct config_written *interval = config_written(binder, interval_usec, false);
	char is[CONFIG_VALUE_BYTES], limit[CONFIG_VALUE_BYTES];

	if (!worth_checking(duration, interval) || *duration_usec <= *interval_usec)
		return;
	config_value_print_duration(is, *duration_usec);
	config_value_print_duration(limit, *interval_usec);
	config_bind_error(binder, place_of(duration, interval),
			"`%s.duration` %s is longer than `%s.interval` %s: the windows would overlap", path, is, path, limit);
}

/* The default of background_rate follows a lower rate; a written one must fit. */
static void check_rates(struct config_binder *binder, const char *path, struct config_cpu *cpu)
{
	const struct config_written *rate = config_written(binder, &cpu->rate, false);
	const struct config_written *background = config_written(binder, &cpu->background_rate, false);

	if (cpu->background_rate <= cpu->rate)
		return;
	if (background && worth_checking(background, rate))
		config_bind_error(binder, &background->place,
				"`%s.background_rate` %u is above `%s.rate` %u, which is for the windows", path,
				cpu->background_rate, path, cpu->rate);
	cpu->background_rate = cpu->rate;
}

static void check_retention(struct config_binder *binder)
{
	const struct config *config = binder->config;
	const struct config_written *retention = config_written(binder, &config->output.retention_usec, false);
	const struct config_written *interval = config_written(binder, &config->cpu.interval_usec, false);
	char is[CONFIG_VALUE_BYTES], limit[CONFIG_VALUE_BYTES];

	if (!worth_checking(retention, interval) || config->output.retention_usec >= config->cpu.interval_usec)
		return;
	config_value_print_duration(is, config->output.retention_usec);
	config_value_print_duration(limit, config->cpu.interval_usec);
	config_bind_error(binder, place_of(retention, interval),
			"`profiling.output.retention` %s is shorter than `profiling.cpu.interval` %s: "
			"each profile would go before the next one comes", is, limit);
}

static void check_same(struct config_binder *binder, const char *key, const uint64_t *wall_usec, const char *other, const uint64_t *other_usec)
{
	const struct config_written *wall = config_written(binder, wall_usec, false);
	const struct config_written *written = config_written(binder, other_usec, false);
	char is[CONFIG_VALUE_BYTES], wanted[CONFIG_VALUE_BYTES];

	if (*wall_usec == *other_usec || !worth_checking(wall, written))
		return;
	config_value_print_duration(is, *wall_usec);
	config_value_print_duration(wanted, *other_usec);
	config_bind_error(binder, place_of(wall, written),
			"`profiling.wall.%s` %s is not `profiling.%s.%s` %s: a wall profile is made of both, in the same windows", key, is,
			other, key, wanted);
}

/* Wall profiles are made of what ran and what waited in one and the same window. */
static void check_wall(struct config_binder *binder)
{
	const struct config *config = binder->config;
	const struct config_written *wall = config_written(binder, &config->wall.enabled, false);
	const struct config_written *cpu = config_written(binder, &config->cpu.enabled, false);

	if (!config->wall.enabled)
		return;
	if (!config->cpu.enabled && worth_checking(cpu, wall))
		config_bind_error(binder, place_of(cpu, wall), "`profiling.wall` wants `profiling.cpu`, which is not enabled");
	check_same(binder, "duration", &config->wall.duration_usec, "cpu", &config->cpu.duration_usec);
	check_same(binder, "interval", &config->wall.interval_usec, "cpu", &config->cpu.interval_usec);
	if (!config->block.enabled && !config->mutex.enabled)
		return;
	check_same(binder, "duration", &config->wall.duration_usec, "block", &config->block.duration_usec);
	check_same(binder, "interval", &config->wall.interval_usec, "block", &config->block.interval_usec);
}

/* What writes into other programs is not asked for in passing: not by a section that is off. */
static void check_go(struct config_binder *binder, const char *section, const bool *enabled, const char *key, const void *value, bool is_on)
{
	const struct config_written *written = config_written(binder, value, false), *off = config_written(binder, enabled, false);

	if (is_on && !*enabled && worth_checking(written, off))
		config_bind_error(binder, place_of(written, off), "`profiling.%s.%s` wants `profiling.%s`, which is not enabled", section, key,
				section);
}

static void check_go_rates(struct config_binder *binder)
{
	const struct config *config = binder->config;

	check_go(binder, "memory", &config->memory.enabled, "go.enable", &config->memory.go_enable, config->memory.go_enable);
	check_go(binder, "block", &config->block.enabled, "go_rate", &config->block.go_rate, config->block.go_rate);
	check_go(binder, "mutex", &config->mutex.enabled, "go_fraction", &config->mutex.go_fraction, config->mutex.go_fraction);
}

static bool is_loopback(const char *address)
{
	return strncmp(address, "unix:", 5) == 0 || strncmp(address, "127.", 4) == 0 ||
			strncmp(address, "localhost:", 10) == 0 || strncmp(address, "[::1]:", 6) == 0;
}

static void check_remote(struct config_binder *binder, const char *path, const char *address, const void *value)
{
	const struct config_http *http = &binder->config->http;
	const struct config_written *written = config_written(binder, value, false);

	if (!*address || !written || written->is_wrong || is_loopback(address) || http->allow_remote)
		return;
	config_bind_error(binder, &written->place,
			"`%s` %s can be reached from other machines: that wants `allow_remote: true` and a `token_file`",
			path, address);
}

static void check_http(struct config_binder *binder)
{
	const struct config_http *http = &binder->config->http;
	const struct config_written *remote = config_written(binder, &http->allow_remote, false);
	const struct config_written *token = config_written(binder, &http->token_file, false);
	const struct config_written *listen = config_written(binder, &http->listen, false);
	const struct config_written *dashboard = config_written(binder, &http->dashboard, false);

	for (size_t i = 0; i < http->listen.n; i++)
		check_remote(binder, "profiling.http.listen", http->listen.at[i], &http->listen);
	check_remote(binder, "profiling.http.dashboard", http->dashboard, &http->dashboard);
	if (http->allow_remote && remote && !is_wrong(token) && !*http->token_file)
		config_bind_error(binder, &remote->place, "`profiling.http.allow_remote` wants a `token_file`");
	for (size_t i = 0; i < http->listen.n; i++) {
		if (worth_checking(dashboard, listen) && strcmp(http->listen.at[i], http->dashboard) == 0)
			config_bind_error(binder, place_of(dashboard, listen),
					"`profiling.http.dashboard` and `profiling.http.listen` are both %s",
					http->dashboard);
		for (size_t j = 0; j < i; j++)
			if (worth_checking(listen, NULL) && strcmp(http->listen.at[i], http->listen.at[j]) == 0)
				config_bind_error(binder, &listen->place, "`profiling.http.listen` has %s twice",
						http->listen.at[i]);
	}
}

static bool matches_all(const struct config_match *match)
{
	return !match->unit && !match->exe && !match->comm && !match->cmdline && !match->cgroup && !match->container &&
			!match->user && !match->pid;
}

static void check_target(struct config_binder *binder, size_t i, struct config_target *target)
{
	const struct config_written *match = config_written(binder, &target->match, true);
	char path[64];

	if (matches_all(&target->match) && match && !match->is_wrong)
		config_bind_error(binder, &match->place,
				"`profiling.targets[%zu].match` wants at least one of unit, exe, comm, cmdline, cgroup, "
				"container, user, pid", i);
	snprintf(path, sizeof(path), "profiling.targets[%zu].cpu", i);
	check_window(binder, path, &target->cpu.duration_usec, &target->cpu.interval_usec);
	check_rates(binder, path, &target->cpu);
	snprintf(path, sizeof(path), "profiling.targets[%zu].block", i);
	check_window(binder, path, &target->block.duration_usec, &target->block.interval_usec);
	snprintf(path, sizeof(path), "profiling.targets[%zu].wall", i);
	check_window(binder, path, &target->wall.duration_usec, &target->wall.interval_usec);
}

/* Two alerts of one name could not be told apart in file names. */
static void check_alerts(struct config_binder *binder)
{
	const struct config *config = binder->config;

	for (size_t i = 0; i < config->n_alerts; i++)
		for (size_t j = 0; j < i; j++) {
			const struct config_written *written;

			if (!config->alerts[i].name || !config->alerts[j].name ||
					strcmp(config->alerts[i].name, config->alerts[j].name) != 0)
				continue;
			written = config_written(binder, &config->alerts[i].name, false);
			if (written)
				config_bind_error(binder, &written->place, "a second alert is called `%s`",
						config->alerts[i].name);
			break;
		}
}

void config_check(struct config_binder *binder)
{
	struct config *config = binder->config;

	check_window(binder, "profiling.cpu", &config->cpu.duration_usec, &config->cpu.interval_usec);
	check_rates(binder, "profiling.cpu", &config->cpu);
	check_window(binder, "profiling.block", &config->block.duration_usec, &config->block.interval_usec);
	check_window(binder, "profiling.wall", &config->wall.duration_usec, &config->wall.interval_usec);
	check_wall(binder);
	check_go_rates(binder);
	check_window(binder, "profiling.trace", &config->trace.duration_usec, &config->trace.interval_usec);
	check_retention(binder);
	check_http(binder);
	for (size_t i = 0; i < config->n_targets; i++)
		/* The arena's: nobody else has seen it yet. */
		check_target(binder, i, (struct config_target *)&config->targets[i]);
	check_alerts(binder);
}
