/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a configuration is told with its place, all of it at once, and exactly so. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "config.h"
#include "diag.h"
#include "main.h"

/* Stands for the name of the file in what is expected. */
static const char placeholder[] = "FILE:";

static const struct {
	const char *yaml;
	const char *errors;          /* one a line */
} cases[] = {
	{ "profiling: {cpu: {durration: 30s}}",
		"FILE:1:19: unknown key `durration` in `profiling.cpu`, did you mean `duration`?" },
	{ "profiling:\n  cpu:\n    rate: abc\n",
		"FILE:3:11: `profiling.cpu.rate` wants a whole number from 1 to 9999, not `abc`" },
	{ "profiling: {cpu: {rate: 0}}",
		"FILE:1:25: `profiling.cpu.rate` wants a whole number from 1 to 9999, not `0`" },
	{ "profiling: {cpu: {rate: 10000}}",
		"FILE:1:25: `profiling.cpu.rate` wants a whole number from 1 to 9999, not `10000`" },
	{ "profiling: {cpu: {rate: -1}}",
		"FILE:1:25: `profiling.cpu.rate` wants a whole number from 1 to 9999, not `-1`" },
	{ "profiling: {cpu: {rate: 9.5}}",
		"FILE:1:25: `profiling.cpu.rate` wants a whole number from 1 to 9999, not `9.5`" },
	{ "profiling: {cpu: {rate: '99'}}",
		"FILE:1:25: `profiling.cpu.rate` wants a whole number from 1 to 9999, not the quoted text `99`" },
	{ "profiling: {cpu: {rate: 99999999999999999999999}}",
		"FILE:1:25: `profiling.cpu.rate` wants a whole number from 1 to 9999, not `99999999999999999999999`" },
	{ "profiling: {cpu: {rate: [99]}}",
		"FILE:1:25: `profiling.cpu.rate` wants a whole number from 1 to 9999, not a list" },
	{ "profiling: {cpu: {rate: }}",
		"FILE:1:25: `profiling.cpu.rate` wants a whole number from 1 to 9999, not nothing" },
	{ "profiling: {cpu: {duration: 30}}",
		"FILE:1:29: `profiling.cpu.duration` wants a duration from 1s to 1d, such as 30s or 1h30m, not `30`" },
	{ "profiling: {cpu: {duration: 30 s}}",
		"FILE:1:29: `profiling.cpu.duration` wants a duration from 1s to 1d, such as 30s or 1h30m, not `30 s`" },
	{ "profiling: {cpu: {duration: 5m1h}}",
		"FILE:1:29: `profiling.cpu.duration` wants a duration from 1s to 1d, such as 30s or 1h30m, not `5m1h`" },
	{ "profiling: {cpu: {duration: 500ms}}",
		"FILE:1:29: `profiling.cpu.duration` wants a duration from 1s to 1d, such as 30s or 1h30m, not `500ms`" },
	{ "profiling: {cpu: {duration: 400000000000000000d}}",
		"FILE:1:29: `profiling.cpu.duration` wants a duration from 1s to 1d, such as 30s or 1h30m, not `400000000000000000d`" },
	{ "profiling: {cpu: {duration: 10m}}",
		"FILE:1:29: `profiling.cpu.duration` 10m is longer than `profiling.cpu.interval` 5m: the windows would overlap" },
	{ "profiling: {cpu: {interval: 20s}}",
		"FILE:1:29: `profiling.cpu.duration` 30s is longer than `profiling.cpu.interval` 20s: the windows would overlap" },
	{ "profiling: {cpu: {duration: 2m, interval: 1m}}",
		"FILE:1:29: `profiling.cpu.duration` 2m is longer than `profiling.cpu.interval` 1m: the windows would overlap" },
	{ "profiling: {cpu: {background_rate: 200}}",
		"FILE:1:36: `profiling.cpu.background_rate` 200 is above `profiling.cpu.rate` 99, which is for the windows" },
	{ "profiling: {cpu: {rate: 50, background_rate: 51}}",
		"FILE:1:46: `profiling.cpu.background_rate` 51 is above `profiling.cpu.rate` 50, which is for the windows" },
	{ "profiling: {cpu: {enabled: maybe}}",
		"FILE:1:28: `profiling.cpu.enabled` wants true or false, not `maybe`" },
	{ "profiling: {cpu: {enabled: \"true\"}}",
		"FILE:1:28: `profiling.cpu.enabled` wants true or false, not the quoted text `true`" },
	{ "profiling: {cpu: 30s}",
		"FILE:1:18: `profiling.cpu` wants a mapping of keys to values, not `30s`" },
	{ "profiling: {cpu: [30s]}",
		"FILE:1:18: `profiling.cpu` wants a mapping of keys to values, not a list" },
	{ "profiling: {enabled: 1}",
		"FILE:1:22: `profiling.enabled` wants true or false, not `1`" },
	{ "profiling: [cpu]",
		"FILE:1:12: `profiling` wants a mapping of keys to values, not a list" },
	{ "profiling: on",
		"FILE:1:12: `profiling` wants a mapping of keys to values, not `on`" },
	{ "just text",
		"FILE:1:1: not a configuration: that begins with `profiling:`" },
	{ "- profiling",
		"FILE:1:1: not a configuration: that begins with `profiling:`" },
	{ "cpu: {rate: 99}",
		"FILE:1:1: unknown key `cpu`, did you mean `cpu` inside of `profiling`?" },
	{ "profilling: {enabled: true}",
		"FILE:1:1: unknown key `profilling`, did you mean `profiling`?" },
	{ "profiling: {foo: 1}",
		"FILE:1:13: unknown key `foo` in `profiling`" },
	{ "profiling: {cpu: {rate: 1}, cpu: {rate: 2}}",
		"FILE:1:29: duplicate key `cpu`, the first one is in line 1" },
	{ "profiling: {cpu: {rate: 1, duration: 1s, rate: 2}}",
		"FILE:1:42: duplicate key `rate`, the first one is in line 1" },
	{ "profiling: {output: {directory: profiles}}",
		"FILE:1:33: `profiling.output.directory` wants an absolute path, or one that begins with ./ for a folder in the working directory, not `profiles`" },
	{ "profiling: {output: {directory: /}}",
		"FILE:1:33: `profiling.output.directory` wants a folder of its own, not the root of the file system, not `/`" },
	{ "profiling: {output: {directory: ''}}",
		"FILE:1:33: `profiling.output.directory` wants the path of a folder, not the quoted text ``" },
	{ "profiling: {output: {directory: \"/a\\nb\"}}",
		"FILE:1:33: `profiling.output.directory` wants a text of at most 4096 bytes without control characters, not the quoted text `/a\\x0ab`" },
	{ "profiling: {output: {format: json}}",
		"FILE:1:30: `profiling.output.format` wants pprof, not `json`" },
	{ "profiling: {output: {retention: 30s}}",
		"FILE:1:33: `profiling.output.retention` wants a duration from 1m to 3650d, such as 12h or 7d, not `30s`" },
	{ "profiling: {output: {retention: 2m}}",
		"FILE:1:33: `profiling.output.retention` 2m is shorter than `profiling.cpu.interval` 5m: each profile would go before the next one comes" },
	{ "profiling: {output: {max_size: 5 GB}}",
		"FILE:1:32: `profiling.output.max_size` wants a size from 1MiB to 1024TiB, such as 10MB or 5GiB, not `5 GB`" },
	{ "profiling: {output: {max_size: 5Gib}}",
		"FILE:1:32: `profiling.output.max_size` wants a size from 1MiB to 1024TiB, such as 10MB or 5GiB, not `5Gib`" },
	{ "profiling: {output: {max_size: 1KiB}}",
		"FILE:1:32: `profiling.output.max_size` wants a size from 1MiB to 1024TiB, such as 10MB or 5GiB, not `1KiB`" },
	{ "profiling: {output: {keep_free: 99999999TiB}}",
		"FILE:1:33: `profiling.output.keep_free` wants a size from 0 to 1024TiB, such as 10MB or 5GiB, not `99999999TiB`" },
	{ "profiling: {output: {group: 'a:b'}}",
		"FILE:1:29: `profiling.output.group` wants the name of a group, or \"\" for none, not the quoted text `a:b`" },
	{ "profiling: {memory: {mode: heap}}",
		"FILE:1:28: `profiling.memory.mode` wants one of auto, growth, preload, probe, off, not `heap`" },
	{ "profiling: {memory: {sample_size: 5}}",
		"FILE:1:35: `profiling.memory.sample_size` wants a size from 1KiB to 1GiB, such as 10MB or 5GiB, not `5`" },
	{ "profiling: {memory: {go: true}}",
		"FILE:1:26: `profiling.memory.go` wants a mapping of keys to values, not `true`" },
	{ "profiling: {memory: {go: {enabled: true}}}",
		"FILE:1:27: unknown key `enabled` in `profiling.memory.go`, did you mean `enable`?" },
	{ "profiling: {block: {duration: 10m}}",
		"FILE:1:31: `profiling.block.duration` 10m is longer than `profiling.block.interval` 5m: the windows would overlap" },
	{ "profiling: {block: {min_delay: 0s}}",
		"FILE:1:32: `profiling.block.min_delay` wants a duration from 1us to 10s, such as 10us or 500ms, not `0s`" },
	{ "profiling: {wall: {interval: 10s}}",
		"FILE:1:30: `profiling.wall.duration` 30s is longer than `profiling.wall.interval` 10s: the windows would overlap" },
	{ "profiling: {cpu: {interval: 1m}, wall: {enabled: true}}",
		"FILE:1:29: `profiling.wall.interval` 5m is not `profiling.cpu.interval` 1m: a wall profile is made of both, in the same windows" },
	{ "profiling: {block: {duration: 10s}, wall: {enabled: true, duration: 20s}, cpu: {duration: 20s}}",
		"FILE:1:69: `profiling.wall.duration` 20s is not `profiling.block.duration` 10s: a wall profile is made of both, in the same windows" },
	{ "profiling: {cpu: {enabled: false}, wall: {enabled: true}}",
		"FILE:1:28: `profiling.wall` wants `profiling.cpu`, which is not enabled" },
	{ "profiling: {block: {enabled: false, go_rate: 1000}}",
		"FILE:1:46: `profiling.block.go_rate` wants `profiling.block`, which is not enabled" },
	{ "profiling: {mutex: {go_fraction: 1, enabled: false}}",
		"FILE:1:34: `profiling.mutex.go_fraction` wants `profiling.mutex`, which is not enabled" },
	{ "profiling: {memory: {enabled: false, go: {enable: true}}}",
		"FILE:1:51: `profiling.memory.go.enable` wants `profiling.memory`, which is not enabled" },
	{ "profiling: {block: {go_rate: -1}}",
		"FILE:1:30: `profiling.block.go_rate` wants a whole number from 0 to 1000000000, not `-1`" },
	{ "profiling: {block: {go_rate: 1ms}}",
		"FILE:1:30: `profiling.block.go_rate` wants a whole number from 0 to 1000000000, not `1ms`" },
	{ "profiling: {mutex: {go_fraction: 1000001}}",
		"FILE:1:34: `profiling.mutex.go_fraction` wants a whole number from 0 to 1000000, not `1000001`" },
	{ "profiling: {trace: {sample: 1}}",
		"FILE:1:29: `profiling.trace.sample` wants a share from 0.0001% to 100%, such as 0.1%, not `1`" },
	{ "profiling: {trace: {sample: 101%}}",
		"FILE:1:29: `profiling.trace.sample` wants a share from 0.0001% to 100%, such as 0.1%, not `101%`" },
	{ "profiling: {trace: {sample: 0.00001%}}",
		"FILE:1:29: `profiling.trace.sample` wants a share from 0.0001% to 100%, such as 0.1%, not `0.00001%`" },
	{ "profiling: {budget: {cpu: 0%}}",
		"FILE:1:27: `profiling.budget.cpu` wants a share from 0.01% to 100%, such as 0.1%, not `0%`" },
	{ "profiling: {budget: {memory: 1MiB}}",
		"FILE:1:30: `profiling.budget.memory` wants a size from 16MiB to 64GiB, such as 10MB or 5GiB, not `1MiB`" },
	{ "profiling: {symbols: {debug_directories: /usr/lib/debug}}",
		"FILE:1:42: `profiling.symbols.debug_directories` wants a list of texts, not `/usr/lib/debug`" },
	{ "profiling: {symbols: {debug_directories: [/a, b]}}",
		"FILE:1:47: `profiling.symbols.debug_directories[1]` wants an absolute path, not `b`" },
	{ "profiling: {symbols: {debug_directories: [[/a]]}}",
		"FILE:1:43: `profiling.symbols.debug_directories[0]` wants a text, not a list" },
	{ "profiling: {http: {listen: [\"0.0.0.0:6060\"]}}",
		"FILE:1:28: `profiling.http.listen` 0.0.0.0:6060 can be reached from other machines: that wants `allow_remote: true` and a `token_file`" },
	{ "profiling: {http: {listen: [\"6060\"]}}",
		"FILE:1:29: `profiling.http.listen[0]` wants ADDRESS:PORT with a numeric address, or unix:/PATH, not the quoted text `6060`" },
	{ "profiling: {http: {listen: [\"127.0.0.1:0\"]}}",
		"FILE:1:29: `profiling.http.listen[0]` wants ADDRESS:PORT with a numeric address, or unix:/PATH, not the quoted text `127.0.0.1:0`" },
	{ "profiling: {http: {listen: [\"example.org:80\"]}}",
		"FILE:1:29: `profiling.http.listen[0]` wants ADDRESS:PORT with a numeric address, or unix:/PATH, not the quoted text `example.org:80`" },
	{ "profiling: {http: {dashboard: \"127.0.0.1:6060\"}}",
		"FILE:1:31: `profiling.http.dashboard` and `profiling.http.listen` are both 127.0.0.1:6060" },
	{ "profiling: {http: {listen: [\"127.0.0.1:1\", \"127.0.0.1:1\"]}}",
		"FILE:1:28: `profiling.http.listen` has 127.0.0.1:1 twice" },
	{ "profiling: {http: {allow_remote: true}}",
		"FILE:1:34: `profiling.http.allow_remote` wants a `token_file`" },
	{ "profiling: {http: {token_file: token}}",
		"FILE:1:32: `profiling.http.token_file` wants an absolute path, not `token`" },
	{ "profiling: {host: {max_services: 0}}",
		"FILE:1:34: `profiling.host.max_services` wants a whole number from 1 to 1000, not `0`" },
	{ "profiling: {targets: {service: a}}",
		"FILE:1:22: `profiling.targets` wants a list of mappings, not a mapping" },
	{ "profiling: {targets: [a]}",
		"FILE:1:23: `profiling.targets[0]` wants a mapping of keys to values, not `a`" },
	{ "profiling: {targets: [{service: a}]}",
		"FILE:1:23: `profiling.targets[0]` lacks the key `match`" },
	{ "profiling: {targets: [{match: {}}]}",
		"FILE:1:31: `profiling.targets[0].match` wants at least one of unit, exe, comm, cmdline, cgroup, container, user, pid" },
	{ "profiling: {targets: [{match: {unti: a}}]}",
		"FILE:1:32: unknown key `unti` in `profiling.targets[0].match`, did you mean `unit`?" },
	{ "profiling: {targets: [{match: {comm: [a, b]}}]}",
		"FILE:1:38: `profiling.targets[0].match.comm` wants a text, not a list" },
	{ "profiling: {targets: [{match: {comm: ''}}]}",
		"FILE:1:38: `profiling.targets[0].match.comm` wants a pattern of 1 to 1024 characters, not the quoted text ``" },
	{ "profiling: {targets: [{match: {pid: self}}]}",
		"FILE:1:37: `profiling.targets[0].match.pid` wants a number or a pattern of digits, not `self`" },
	{ "profiling: {targets: [{service: a/b, match: {comm: a}}]}",
		"FILE:1:33: `profiling.targets[0].service` wants 1 to 100 letters, digits or _ . @ -, not beginning with a dot, not `a/b`" },
	{ "profiling: {targets: [{service: .a, match: {comm: a}}]}",
		"FILE:1:33: `profiling.targets[0].service` wants 1 to 100 letters, digits or _ . @ -, not beginning with a dot, not `.a`" },
	{ "profiling: {targets: [{match: {comm: a}, env_label: [A]}]}",
		"FILE:1:53: `profiling.targets[0].env_label` wants a mapping of variables to labels, not a list" },
	{ "profiling: {targets: [{match: {comm: a}, env_label: {A: pid}}]}",
		"FILE:1:57: `profiling.targets[0].env_label` wants a label of your own, not one that every sample has, not `pid`" },
	{ "profiling: {targets: [{match: {comm: a}, env_label: {A: b-c}}]}",
		"FILE:1:57: `profiling.targets[0].env_label` wants 1 to 64 letters, digits or _, not `b-c`" },
	{ "profiling: {targets: [{match: {comm: a}, cpu: {duration: 10m}}]}",
		"FILE:1:58: `profiling.targets[0].cpu.duration` 10m is longer than `profiling.targets[0].cpu.interval` 5m: the windows would overlap" },
	{ "profiling: {targets: [{match: {comm: a}, output: {}}]}",
		"FILE:1:42: unknown key `output` in `profiling.targets[0]`" },
	{ "alerts: {name: a}",
		"FILE:1:9: `alerts` wants a list of mappings, not a mapping" },
	{ "alerts: [{name: a b, condition: x > 1, action: capture_cpu_profile}]",
		"FILE:1:17: `alerts[0].name` wants 1 to 64 letters, digits or _, not `a b`" },
	{ "alerts: [{name: a, condition: x, action: capture_cpu_profile}]",
		"FILE:1:31: `alerts[0].condition` wants METRIC OPERATOR NUMBER, such as cpu_usage_percent > 80, not `x`" },
	{ "alerts: [{name: a, condition: x > nan, action: capture_cpu_profile}]",
		"FILE:1:31: `alerts[0].condition` wants METRIC OPERATOR NUMBER, such as cpu_usage_percent > 80, not `x > nan`" },
	{ "alerts: [{name: a, condition: x > 1, action: reboot}]",
		"FILE:1:46: `alerts[0].action` wants one of capture_cpu_profile, capture_memory_profile, capture_heap_profile, capture_allocs_profile, capture_growth_profile, capture_goroutine_profile, capture_thread_profile, capture_block_profile, capture_mutex_profile, capture_wall_profile, not `reboot`" },
	{ "alerts: [{name: a, condition: x > 1}]",
		"FILE:1:10: `alerts[0]` lacks the key `action`" },
	{ "alerts: [{condition: x > 1, action: capture_cpu_profile}]",
		"FILE:1:10: `alerts[0]` lacks the key `name`" },
	{ "alerts: [{name: a, condition: x > 1, action: capture_cpu_profile}, {name: a, condition: y > 1, action: capture_cpu_profile}]",
		"FILE:1:75: a second alert is called `a`" },
	{ "workloads: [a]",
		"FILE:1:12: `workloads` wants a mapping of names to settings, not a list" },
	{ "export: text",
		"FILE:1:9: `export` wants a mapping of names to settings, not `text`" },
	{ "profiling: {cpu: {rate: 99}\n",
		"FILE:2:1: did not find expected ',' or '}' (while parsing a flow mapping that began in line 1)" },
	{ "profiling:\n\tcpu: 1\n",
		"FILE:2:1: found character that cannot start any token (while scanning for the next token)" },
	{ "profiling:\n  cpu: {}\n enabled: true\n",
		"FILE:3:2: did not find expected key (while parsing a block mapping that began in line 1)" },
	{ "a: b: c",
		"FILE:1:5: mapping values are not allowed in this context" },
	{ "profiling: {\"\\e[31mx\": 1}",
		"FILE:1:13: unknown key `\\x1b[31mx` in `profiling`" },
	{ "profiling: {cpu: !!int 5}",
		"FILE:1:18: tags such as `tag:yaml.org,2002:int` are not known here" },
	{ "profiling: {}\n---\nprofiling: {}\n",
		"FILE:2:1: a second document; one file holds one" },
	{ "profiling: &a {cpu: *a}",
		"FILE:1:21: alias `*a` inside of what it stands for" },
	{ "profiling: {cpu: *nowhere}",
		"FILE:1:18: alias `*nowhere` without an anchor before it" },
	{ "profiling: {block: {<<: {wakers: true}}}",
		"FILE:1:21: unknown key `<<` in `profiling.block`: merge keys are not supported" },
	{ "? [a]\n: b\n",
		"FILE:1:3: a key must be a single word, not a list" },
	{ "profiling: \"\\0\"",
		"FILE:1:12: a zero byte in a text" },
	{ "profiling: {cpu: {rate: 0, interval: 0s, enabled: 2}, nonsense: 1}",
		"FILE:1:25: `profiling.cpu.rate` wants a whole number from 1 to 9999, not `0`\n"
		"FILE:1:38: `profiling.cpu.interval` wants a duration from 1s to 1d, such as 30s or 1h30m, not `0s`\n"
		"FILE:1:51: `profiling.cpu.enabled` wants true or false, not `2`\n"
		"FILE:1:55: unknown key `nonsense` in `profiling`" },
};

/* The file as a descriptor, so that nothing is left behind. */
struct input {
	int fd;
	char path[64];
};

static struct input input_of(const char *text, size_t size)
{
	struct input input = { .fd = memfd_create("config", MFD_CLOEXEC) };

	ck_assert_int_ge(input.fd, 0);
	ck_assert_int_eq(write(input.fd, text, size), size);
	lseek(input.fd, 0, SEEK_SET);
	snprintf(input.path, sizeof(input.path), "/proc/self/fd/%d", input.fd);
	return input;
}

/* The errors with the file's name replaced, one a line; warnings left out. */
static char *errors_of(const struct diag *diag, const char *path)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	for (size_t i = 0; i < diag_count(diag); i++) {
		const char *message = diag_message(diag, i);

		if (strstr(message, " warning: "))
			continue;
		ck_assert_int_eq(strncmp(message, path, strlen(path)), 0);
		fprintf(f, "%s%s%s", size ? "\n" : "", placeholder, message + strlen(path) + 1);
		fflush(f);
	}
	fclose(f);
	return text;
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int load(const char *text, size_t size, struct diag *diag, char **ret_errors)
{
	struct config *config = NULL;
	struct input input = input_of(text, size);
	const struct config_source source = { .path = input.path };
	int r = config_load(&source, diag, &config);

	ck_assert_int_eq(r == 0, config != NULL);
	ck_assert_int_eq(r == CONFIG_E_INVALID, diag_errors(diag) > 0);
	*ret_errors = errors_of(diag, input.path);
	config_free(config);
	close(input.fd);
	return r;
}

START_TEST(every_error_is_told_with_its_place)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct diag *diag = diag_new();
		char *errors;
		int r = load(cases[i].yaml, strlen(cases[i].yaml), diag, &errors);

		ck_assert_msg(r == CONFIG_E_INVALID, "accepted: %s", cases[i].yaml);
		ck_assert_msg(strcmp(errors, cases[i].errors) == 0, "%s\n%s\n%s", cases[i].yaml, errors,
				cases[i].errors);
		free(errors);
		diag_free(diag);
	}
}
END_TEST

/* The first of several errors, and how long it took. */
static void assert_refused(const char *text, size_t size, const char *beginning)
{
	struct diag *diag = diag_new();
	double start = cpu_seconds();
	char *errors;

	ck_assert_int_eq(load(text, size, diag, &errors), CONFIG_E_INVALID);
	/* It takes a few milliseconds; sanitizers and a busy machine are slower. */
	ck_assert_double_lt(cpu_seconds() - start, 2.0);
	ck_assert_msg(strncmp(errors, beginning, strlen(beginning)) == 0, "%.200s", errors);
	free(errors);
	diag_free(diag);
}

/* head, then n times the printf format of a number, then tail. */
static char *repeat(const char *head, const char *format, int n, const char *tail)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	fputs(head, f);
	for (int i = 0; i < n; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		fprintf(f, format, i);
#pragma GCC diagnostic pop
	}
	fputs(tail, f);
	fclose(f);
	return text;
}

static void assert_repeated_refused(const char *head, const char *format, int n, const char *tail, const char *beginning)
{
	char *text = repeat(head, format, n, tail);

	assert_refused(text, strlen(text), beginning);
	free(text);
}

START_TEST(a_file_of_twenty_thousand_keys_is_refused_in_time)
{
	assert_repeated_refused("profiling:\n", "  key%d: 1\n", 20000, "", "FILE:2:3: unknown key `key0` in `profiling`\n");
	assert_repeated_refused("profiling:\n", "  rate: %d\n", 20000, "",
			"FILE:3:3: duplicate key `rate`, the first one is in line 2\n");
}
END_TEST

START_TEST(an_alias_bomb_is_refused)
{
	static const char bomb[] =
		"a: &a [x, x, x, x, x, x, x, x, x, x]\n"
		"b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
		"c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n"
		"d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
		"e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n"
		"f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]\n";

	assert_refused(bomb, strlen(bomb), "FILE:5:");
	assert_repeated_refused("[", "&a%d x, ", 50000, "]", "FILE:1:");
}
END_TEST

START_TEST(depth_and_size_are_bounded)
{
	assert_repeated_refused("", "[", 100000, "", "FILE:1:21: nested more than 20 deep");
	assert_repeated_refused("", "- ", 100000, "", "FILE:1:41: nested more than 20 deep");
	assert_repeated_refused("{", "k%d: 1, ", 60000, "}", "FILE:1:");
	assert_repeated_refused("", "#", (1 << 20) + 1, "", "FILE: larger than 1 MiB");
}
END_TEST

START_TEST(bytes_that_are_no_text_are_refused_by_place)
{
	static const char bad[] = "profiling:\n  cpu: \xff\n";
	static const char utf16[] = "\xff\xfep\0r\0o\0f\0";

	assert_refused(bad, sizeof(bad) - 1, "FILE:2:8: not valid UTF-8 text: invalid leading UTF-8 octet");
	assert_refused(utf16, sizeof(utf16) - 1, "FILE:1:1: not valid UTF-8 text: invalid leading UTF-8 octet");
}
END_TEST

START_TEST(a_file_that_is_missing_or_a_folder_is_told_by_name)
{
	struct config_source source = { .path = "/nowhere/profiling.yaml" };
	struct diag *diag = diag_new();
	struct config *config = NULL;

	ck_assert_int_eq(config_load(&source, diag, &config), CONFIG_E_INVALID);
	ck_assert_str_eq(diag_message(diag, 0), "/nowhere/profiling.yaml: No such file or directory");
	source.path = "/proc";
	ck_assert_int_eq(config_load(&source, diag, &config), CONFIG_E_INVALID);
	ck_assert_str_eq(diag_message(diag, 1), "/proc: Is a directory");
	ck_assert_ptr_null(config);
	diag_free(diag);
}
END_TEST

UNIT_TESTS("config_errors", every_error_is_told_with_its_place, a_file_of_twenty_thousand_keys_is_refused_in_time,
		an_alias_bomb_is_refused, depth_and_size_are_bounded, bytes_that_are_no_text_are_refused_by_place,
		a_file_that_is_missing_or_a_folder_is_told_by_name)
