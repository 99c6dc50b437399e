/* SPDX-License-Identifier: Apache-2.0 */
#include "config_field.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_arena.h"
#include "config_value.h"

#define USEC UINT64_C(1)
#define SECOND (UINT64_C(1000000) * USEC)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define PIB (UINT64_C(1) << 50)

/* Checks of texts. */

static const char *check_directory(struct config_arena *arena, bool command_line, const char **text)
{
	bool dotted = strncmp(*text, "./", 2) == 0 || strcmp(*text, ".") == 0;

	if (!**text || strlen(*text) >= PATH_MAX - 256)
		return "the path of a folder";
	if (**text != '/' && !command_line && !dotted)
		return "an absolute path, or one that begins with ./ for a folder in the working directory";
	if (strspn(*text, "/") == strlen(*text))
		return "a folder of its own, not the root of the file system";
	return NULL;
}

static const char *check_absolute(struct config_arena *arena, bool command_line, const char **text)
{
	return **text == '/' && strlen(*text) < PATH_MAX ? NULL : "an absolute path";
}

static const char *check_absolute_or_none(struct config_arena *arena, bool command_line, const char **text)
{
	return **text ? check_absolute(arena, command_line, text) : NULL;
}

static const char *check_group(struct config_arena *arena, bool command_line, const char **text)
{
	/* What useradd(8) takes, and no more than 32 bytes of it. */
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	if (strlen(*text) > 32 || strspn(*text, letters) != strlen(*text) || **text == '-')
		return "the name of a group, or \"\" for none";
	return NULL;
}

/* A service name is part of a path and a metric: as the store would leave it. */
static const char *check_service(struct config_arena *arena, bool command_line, const char **text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@-";

	if (!**text || strlen(*text) > 100 || strspn(*text, letters) != strlen(*text) || **text == '.')
		return "1 to 100 letters, digits or _ . @ -, not beginning with a dot";
	return NULL;
}

static const char *check_name(struct config_arena *arena, bool command_line, const char **text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

	if (!**text || strlen(*text) > 64 || strspn(*text, letters) != strlen(*text))
		return "1 to 64 letters, digits or _";
	return NULL;
}

bool config_label_is_reserved(const char *label)
{
	/* Those of make_labels(), add_other_labels() and add_go_labels() in service_profile.c. */
	static const char *const reserved[] = { "service", "pid", "tid", "thread", "comm", "unit", "container", "reason", "source", "idle",
		"by", "holder", "file", "peer", "lock", "state", "wait_reason", "created by", "goid", "wait", "locked thread", "bytes",
		"labels" };

	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (!strcmp(reserved[i], label))
			return true;
	return false;
}

static const char *check_glob(struct config_arena *arena, bool command_line, const char **text)
{
	return **text && strlen(*text) <= 1024 ? NULL : "a pattern of 1 to 1024 characters";
}

static const char *check_pid_glob(struct config_arena *arena, bool command_line, const char **text)
{
	static const char letters[] = "0123456789*?[]!-";

	if (!**text || strlen(*text) > 64 || strspn(*text, letters) != strlen(*text))
		return "a number or a pattern of digits";
	return NULL;
}

static bool is_port(const char *text)
{
	uint64_t port;

	return config_value_integer(text, &port) == 0 && port > 0 && port <= UINT16_MAX;
}

static const char *check_address(struct config_arena *arena, bool command_line, const char **text)
{
	static const char want[] = "ADDRESS:PORT with a numeric address";
	char host[INET6_ADDRSTRLEN + 3];
	const char *colon = strrchr(*text, ':');
	unsigned char binary[sizeof(struct in6_addr)];
	size_t n;

	if (!colon || !is_port(colon + 1))
		return want;
	n = colon - *text;
	if (n >= sizeof(host))
		return want;
	memcpy(host, *text, n);
	host[n] = 0;
	if (strcmp(host, "localhost") == 0)
		return NULL;
	if (host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = 0;
		return inet_pton(AF_INET6, host + 1, binary) == 1 ? NULL : want;
	}
	return inet_pton(AF_INET, host, binary) == 1 ? NULL : want;
}

static const char *check_address_or_none(struct config_arena *arena, bool command_line, const char **text)
{
	return **text ? check_address(arena, command_line, text) : NULL;
}

static const char *check_listen(struct config_arena *arena, bool command_line, const char **text)
{
	/* sun_path of unix(7) */
	if (strncmp(*text, "unix:/", 6) == 0 && strlen(*text + 5) < 108)
		return NULL;
	return check_address(arena, command_line, text) ? "ADDRESS:PORT with a numeric address, or unix:/PATH" : NULL;
}

/* METRIC OPERATOR NUMBER; given back with one blank between them. */
static const char *check_condition(struct config_arena *arena, bool command_line, const char **text)
{
	static const char want[] = "METRIC OPERATOR NUMBER, such as cpu_usage_percent > 80";
	static const char *const operators[] = { ">=", "<=", "==", "!=", ">", "<" };
	const char *metric = *text + strspn(*text, " \t"), *p = metric, *operator = NULL;
	size_t n_metric, n_number;
	char *end, *again;

	if (!isalpha((unsigned char)*p) && *p != '_')
		return want;
	while (isalnum((unsigned char)*p) || *p == '_' || *p == ':')
		p++;
	n_metric = p - metric;
	p += strspn(p, " \t");
	for (size_t i = 0; i < ARRAY_SIZE(operators) && !operator; i++)
		if (strncmp(p, operators[i], strlen(operators[i])) == 0)
			operator = operators[i];
	if (!operator || n_metric > 200)
		return want;
	p += strlen(operator);
	p += strspn(p, " \t");
	/* Not what else strtod() takes: inf, nan, hexadecimal. */
	n_number = strspn(p, "0123456789.eE+-");
	if (n_number == 0 || n_number > 40 || (p[n_number] && p[n_number + strspn(p + n_number, " \t")]))
		return want;
	strtod(p, &end);
	if (end != p + n_number)
		return want;
	again = config_arena_take(arena, n_metric + strlen(operator) + n_number + 3);
	if (again) {
		sprintf(again, "%.*s %s %.*s", (int)n_metric, metric, operator, (int)n_number, p);
		*text = again;
	}
	return NULL;
}

/* The keys. A field is in effect in this version unless it says no_effect. */

static const char *const memory_modes[] = { "auto", "growth", "preload", "probe", "off", NULL };
static const char *const formats[] = { "pprof", NULL };
/* In the order of enum config_event. */
static const char *const events[] = { "cpu-clock", "cycles", NULL };

#define FIELDS(s) .fields = (s), .n_fields = ARRAY_SIZE(s)
#define AT(member) .offset = offsetof(OF, member)

#define OF struct config_host
static const struct config_field host_fields[] = {
	{ "enabled", CONFIG_BOOL, AT(enabled), .standard = "true" },
	{ "max_services", CONFIG_INTEGER, AT(max_services), .min = 1, .max = 1000, .standard = "64" },
};
static const struct config_section host_section = { FIELDS(host_fields), sizeof(OF) };

#undef OF
#define OF struct config_cpu
static const struct config_field cpu_fields[] = {
	{ "enabled", CONFIG_BOOL, AT(enabled), .standard = "true" },
	{ "duration", CONFIG_DURATION, AT(duration_usec), .min = SECOND, .max = DAY, .standard = "30s" },
	{ "interval", CONFIG_DURATION, AT(interval_usec), .min = SECOND, .max = DAY, .standard = "5m" },
	{ "rate", CONFIG_INTEGER, AT(rate), .min = 1, .max = 9999, .standard = "99" },
	{ "background_rate", CONFIG_INTEGER, AT(background_rate), .max = 9999, .standard = "19" },
	{ "event", CONFIG_CHOICE, AT(event), .choices = events, .standard = "cpu-clock" },
	{ "go_labels", CONFIG_BOOL, AT(go_labels), .standard = "true" },
	{ "go_ids", CONFIG_BOOL, AT(go_ids), .standard = "false" },
};
static const struct config_section cpu_section = { FIELDS(cpu_fields), sizeof(OF) };

#undef OF
#define OF struct config_memory
static const struct config_field memory_go_fields[] = {
	{ "enable", CONFIG_BOOL, AT(go_enable), .standard = "false" },
};
static const struct config_section memory_go_section = { FIELDS(memory_go_fields), 0 };
static const struct config_field memory_jvm_fields[] = {
	{ "jfr", CONFIG_BOOL, AT(jvm_jfr), .standard = "false" },
};
static const struct config_section memory_jvm_section = { FIELDS(memory_jvm_fields), 0 };
static const struct config_field memory_fields[] = {
	{ "enabled", CONFIG_BOOL, AT(enabled), .standard = "true" },
	{ "snapshot_interval", CONFIG_DURATION, AT(snapshot_interval_usec), .min = SECOND, .max = DAY,
		.standard = "1m" },
	{ "mode", CONFIG_CHOICE, .no_effect = true, AT(mode), .choices = memory_modes, .standard = "auto" },
	{ "sample_size", CONFIG_SIZE, AT(sample_size_bytes), .min = KIB, .max = GIB, .standard = "512KiB" },
	/* Not structs of their own: their offsets are those of struct config_memory. */
	{ "go", CONFIG_SECTION, .section = &memory_go_section },
	{ "jvm", CONFIG_SECTION, .no_effect = true, .section = &memory_jvm_section },
};
static const struct config_section memory_section = { FIELDS(memory_fields), sizeof(OF) };

#undef OF
#define OF struct config_goroutine
static const struct config_field goroutine_fields[] = {
	{ "enabled", CONFIG_BOOL, AT(enabled), .standard = "true" },
	{ "snapshot_interval", CONFIG_DURATION, AT(snapshot_interval_usec), .min = SECOND, .max = DAY,
		.standard = "1m" },
	{ "deadlock_after", CONFIG_DURATION, AT(deadlock_after_usec), .min = SECOND, .max = DAY, .standard = "1m" },
	{ "stop_running", CONFIG_BOOL, .no_effect = true, AT(stop_running), .standard = "false" },
};
static const struct config_section goroutine_section = { FIELDS(goroutine_fields), sizeof(OF) };

#undef OF
#define OF struct config_block
static const struct config_field block_fields[] = {
	{ "enabled", CONFIG_BOOL, AT(enabled), .standard = "true" },
	{ "duration", CONFIG_DURATION, AT(duration_usec), .min = SECOND, .max = DAY, .standard = "30s" },
	{ "interval", CONFIG_DURATION, AT(interval_usec), .min = SECOND, .max = DAY, .standard = "5m" },
	{ "min_delay", CONFIG_DURATION, AT(min_delay_usec), .min = USEC, .max = 10 * SECOND, .standard = "1us" },
	{ "wakers", CONFIG_BOOL, AT(wakers), .standard = "false" },
	{ "go_rate", CONFIG_INTEGER, AT(go_rate), .max = 1000000000, .standard = "0" },
};
static const struct config_section block_section = { FIELDS(block_fields), sizeof(OF) };

#undef OF
#define OF struct config_mutex
static const struct config_field mutex_fields[] = {
	{ "enabled", CONFIG_BOOL, AT(enabled), .standard = "true" },
	{ "go_fraction", CONFIG_INTEGER, AT(go_fraction), .max = 1000000, .standard = "0" },
};
static const struct config_section mutex_section = { FIELDS(mutex_fields), sizeof(OF) };

#undef OF
#define OF struct config_wall
static const struct config_field wall_fields[] = {
	{ "enabled", CONFIG_BOOL, AT(enabled), .standard = "false" },
	{ "duration", CONFIG_DURATION, AT(duration_usec), .min = SECOND, .max = DAY, .standard = "30s" },
	{ "interval", CONFIG_DURATION, AT(interval_usec), .min = SECOND, .max = DAY, .standard = "5m" },
};
static const struct config_section wall_section = { FIELDS(wall_fields), sizeof(OF) };

#undef OF
#define OF struct config_jit
static const struct config_field jit_fields[] = {
	{ "perf_map", CONFIG_BOOL, AT(perf_map), .standard = "true" },
	{ "java_perfmap", CONFIG_BOOL, AT(java_perfmap), .standard = "false" },
};
static const struct config_section jit_section = { FIELDS(jit_fields), sizeof(OF) };

#undef OF
#define OF struct config_trace
static const struct config_field trace_fields[] = {
	{ "enabled", CONFIG_BOOL, AT(enabled), .standard = "false" },
	{ "duration", CONFIG_DURATION, AT(duration_usec), .min = SECOND, .max = HOUR, .standard = "10s" },
	{ "interval", CONFIG_DURATION, AT(interval_usec), .min = SECOND, .max = DAY, .standard = "15m" },
	{ "sample", CONFIG_SHARE, AT(sample_ppm), .min = 1, .max = 1000000, .standard = "1%" },
};
static const struct config_section trace_section = { FIELDS(trace_fields), sizeof(OF) };

#undef OF
#define OF struct config_output
static const struct config_field output_fields[] = {
	{ "directory", CONFIG_STRING, AT(directory), .check = check_directory, .standard = "/var/log/tsiot/profiles" },
	{ "format", CONFIG_CHOICE, AT(format), .choices = formats, .standard = "pprof" },
	{ "retention", CONFIG_DURATION, AT(retention_usec), .min = MINUTE, .max = 3650 * DAY, .standard = "7d" },
	{ "max_size", CONFIG_SIZE, AT(max_size_bytes), .min = MIB, .max = PIB, .standard = "5GiB" },
	{ "keep_free", CONFIG_SIZE, AT(keep_free_bytes), .max = PIB, .standard = "1GiB" },
	{ "group", CONFIG_STRING, AT(group), .check = check_group, .standard = "tsprof" },
};
static const struct config_section output_section = { FIELDS(output_fields), sizeof(OF) };

#undef OF
#define OF struct config_budget
static const struct config_field budget_fields[] = {
	{ "cpu", CONFIG_SHARE, AT(cpu_ppm), .min = 100, .max = 1000000, .standard = "0.1%" },
	{ "memory", CONFIG_SIZE, AT(memory_bytes), .min = 16 * MIB, .max = 64 * GIB, .standard = "128MiB" },
};
static const struct config_section budget_section = { FIELDS(budget_fields), sizeof(OF) };

#undef OF
#define OF struct config_symbols
static const struct config_field symbols_fields[] = {
	{ "debug_directories", CONFIG_STRINGS, AT(debug_directories), .max = 32, .check = check_absolute,
		.standard = "/usr/lib/debug" },
	{ "debuginfod", CONFIG_BOOL, .no_effect = true, AT(debuginfod), .standard = "false" },
};
static const struct config_section symbols_section = { FIELDS(symbols_fields), sizeof(OF) };

#undef OF
#define OF struct config_http
static const struct config_field http_fields[] = {
	{ "listen", CONFIG_STRINGS, AT(listen), .max = 16, .check = check_listen,
		.standard = "127.0.0.1:6060 unix:/run/tsprofd/tsprofd.sock" },
	{ "dashboard", CONFIG_STRING, AT(dashboard), .check = check_address_or_none, .standard = "127.0.0.1:9090" },
	{ "token_file", CONFIG_STRING, AT(token_file), .check = check_absolute_or_none, .standard = "" },
	{ "allow_remote", CONFIG_BOOL, AT(allow_remote), .standard = "false" },
};
static const struct config_section http_section = { FIELDS(http_fields), sizeof(OF) };

#undef OF
#define OF struct config_match
static const struct config_field match_fields[] = {
	{ "unit", CONFIG_STRING, AT(unit), .check = check_glob },
	{ "exe", CONFIG_STRING, AT(exe), .check = check_glob },
	{ "comm", CONFIG_STRING, AT(comm), .check = check_glob },
	{ "cmdline", CONFIG_STRING, AT(cmdline), .check = check_glob },
	{ "cgroup", CONFIG_STRING, AT(cgroup), .check = check_glob },
	{ "container", CONFIG_STRING, AT(container), .check = check_glob },
	{ "user", CONFIG_STRING, AT(user), .check = check_glob },
	{ "pid", CONFIG_STRING, AT(pid), .check = check_pid_glob },
};
static const struct config_section match_section = { FIELDS(match_fields), sizeof(OF) };

#undef OF
#define OF struct config_target
#define OVERRIDES(member) AT(member), .section = &member##_section, .inherits = 1 + offsetof(struct config, member)
static const struct config_field target_fields[] = {
	{ "service", CONFIG_STRING, AT(service), .check = check_service },
	{ "match", CONFIG_SECTION, .required = true, AT(match), .section = &match_section },
	{ "env_label", CONFIG_PAIRS, AT(env_labels), .max = 16, .check = check_name },
	{ "cpu", CONFIG_SECTION, .no_effect = true, OVERRIDES(cpu) },
	{ "memory", CONFIG_SECTION, .no_effect = true, OVERRIDES(memory) },
	{ "goroutine", CONFIG_SECTION, .no_effect = true, OVERRIDES(goroutine) },
	{ "block", CONFIG_SECTION, .no_effect = true, OVERRIDES(block) },
	{ "mutex", CONFIG_SECTION, .no_effect = true, OVERRIDES(mutex) },
	{ "wall", CONFIG_SECTION, .no_effect = true, OVERRIDES(wall) },
};
static const struct config_section target_section = { FIELDS(target_fields), sizeof(OF) };

#undef OF
#define OF struct config_alert
/* In the order of enum config_action. */
static const char *const alert_actions[] = {
	"capture_cpu_profile", "capture_memory_profile", "capture_heap_profile", "capture_allocs_profile",
	"capture_growth_profile", "capture_goroutine_profile", "capture_thread_profile", "capture_block_profile",
	"capture_mutex_profile", "capture_wall_profile", NULL,
};
static const struct config_field alert_fields[] = {
	{ "name", CONFIG_STRING, .required = true, AT(name), .check = check_name },
	{ "condition", CONFIG_STRING, .required = true, AT(condition), .check = check_condition },
	{ "duration", CONFIG_DURATION, AT(duration_usec), .max = DAY, .standard = "5m" },
	{ "action", CONFIG_CHOICE, .required = true, AT(action), .choices = alert_actions },
};
static const struct config_section alert_section = { FIELDS(alert_fields), sizeof(OF) };

#undef OF
#define OF struct config
static const struct config_field profiling_fields[] = {
	{ "enabled", CONFIG_BOOL, AT(enabled), .standard = "true" },
	{ "targets", CONFIG_RECORDS, AT(targets), .max = 1000, .section = &target_section },
	{ "host", CONFIG_SECTION, AT(host), .section = &host_section },
	{ "cpu", CONFIG_SECTION, AT(cpu), .section = &cpu_section },
	{ "memory", CONFIG_SECTION, AT(memory), .section = &memory_section },
	{ "goroutine", CONFIG_SECTION, AT(goroutine), .section = &goroutine_section },
	{ "block", CONFIG_SECTION, AT(block), .section = &block_section },
	{ "mutex", CONFIG_SECTION, AT(mutex), .section = &mutex_section },
	{ "wall", CONFIG_SECTION, AT(wall), .section = &wall_section },
	{ "jit", CONFIG_SECTION, AT(jit), .section = &jit_section },
	{ "trace", CONFIG_SECTION, .no_effect = true, AT(trace), .section = &trace_section },
	{ "output", CONFIG_SECTION, AT(output), .section = &output_section },
	{ "budget", CONFIG_SECTION, AT(budget), .section = &budget_section },
	{ "symbols", CONFIG_SECTION, AT(symbols), .section = &symbols_section },
	{ "http", CONFIG_SECTION, .no_effect = true, AT(http), .section = &http_section },
};
static const struct config_section profiling_section = { FIELDS(profiling_fields), sizeof(OF) };
static const struct config_field root_fields[] = {
	/* Not a struct of its own: its offsets are those of struct config. */
	{ "profiling", CONFIG_SECTION, .section = &profiling_section },
	{ "alerts", CONFIG_RECORDS, .no_effect = true, AT(alerts), .max = 1000, .section = &alert_section },
	{ "workloads", CONFIG_ANYTHING, .no_effect = true },
	{ "export", CONFIG_ANYTHING, .no_effect = true },
};
const struct config_section config_root = { FIELDS(root_fields), sizeof(OF) };
#undef OF

void config_field_describe(const struct config_field *field, char *ret_text, size_t size)
{
	char min[CONFIG_VALUE_BYTES], max[CONFIG_VALUE_BYTES];
	size_t used;

	switch (field->type) {
	case CONFIG_BOOL:
		snprintf(ret_text, size, "true or false");
		return;
	case CONFIG_INTEGER:
		snprintf(ret_text, size, "a whole number from %" PRIu64 " to %" PRIu64, field->min, field->max);
		return;
	case CONFIG_DURATION:
		config_value_print_duration(min, field->min);
		config_value_print_duration(max, field->max);
		snprintf(ret_text, size, "a duration from %s to %s, such as %s", min, max,
				field->max > DAY ? "12h or 7d" : field->max >= HOUR ? "30s or 1h30m" : "10us or 500ms");
		return;
	case CONFIG_SIZE:
		config_value_print_size(min, field->min);
		config_value_print_size(max, field->max);
		snprintf(ret_text, size, "a size from %s to %s, such as 10MB or 5GiB", min, max);
		return;
	case CONFIG_SHARE:
		config_value_print_share(min, field->min);
		config_value_print_share(max, field->max);
		snprintf(ret_text, size, "a share from %s to %s, such as 0.1%%", min, max);
		return;
	case CONFIG_CHOICE:
		used = snprintf(ret_text, size, "%s", field->choices[1] ? "one of" : "");
		for (size_t i = 0; field->choices[i] && used < size; i++)
			used += snprintf(ret_text + used, size - used, "%s%s", i ? ", " : used ? " " : "",
					field->choices[i]);
		return;
	case CONFIG_STRING:
		snprintf(ret_text, size, "a text");
		return;
	case CONFIG_STRINGS:
		snprintf(ret_text, size, "a list of texts");
		return;
	case CONFIG_RECORDS:
		snprintf(ret_text, size, "a list of mappings");
		return;
	case CONFIG_SECTION:
	case CONFIG_PAIRS:
	case CONFIG_ANYTHING:
		snprintf(ret_text, size, "a mapping of keys to values");
		return;
	}
}
