/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

#include "diag.h"
#include "fs.h"
#include "main.h"

/* The file of the seed, as it stands. */
static const char seed[] =
	"profiling:\n"
	"  enabled: true\n"
	"  cpu:\n"
	"    enabled: true\n"
	"    duration: 30s\n"
	"    interval: 5m\n"
	"    rate: 100\n"
	"  memory:\n"
	"    enabled: true\n"
	"    snapshot_interval: 1m\n"
	"  output:\n"
	"    directory: /var/log/tsiot/profiles\n"
	"    format: pprof\n"
	"    retention: 7d\n";

/* A folder with a configuration in it, of which parts are written by name. */
static char folder[] = "/tmp/test_config.XXXXXX";
static char file[64];

static void make_folder(void)
{
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/profiling.yaml", folder);
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void remove_folder(void)
{
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	*strrchr(path, '/') = 0;
	ck_assert_int_eq(fs_make_directories(path, 0755), 0);
	path[strlen(path)] = '/';
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static int try_to_load(const struct config_override *overrides, size_t n, struct diag *diag, struct config **ret)
{
	const struct config_source source = { .path = file, .overrides = overrides, .n_overrides = n };

	return config_load(&source, diag, ret);
}

/* Loads what must be fine. */
static struct config *load(void)
{
	struct config *config = NULL;
	struct diag *diag = diag_new();
	int r = try_to_load(NULL, 0, diag, &config);

	if (r != 0)
		diag_print(diag, stderr);
	ck_assert_int_eq(r, 0);
	diag_free(diag);
	return config;
}

static char *print(const struct config *config)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_int_eq(config_print(config, f), 0);
	fclose(f);
	return text;
}

START_TEST(without_a_file_all_has_its_default)
{
	const struct config_source source = { 0 };
	struct diag *diag = diag_new();
	struct config *config = NULL;

	ck_assert_int_eq(config_load(&source, diag, &config), 0);
	ck_assert_uint_eq(diag_count(diag), 0);
	ck_assert(config->enabled && config->host.enabled && config->cpu.enabled && !config->wall.enabled);
	ck_assert_uint_eq(config->host.max_services, 64);
	ck_assert_uint_eq(config->cpu.duration_usec, 30000000);
	ck_assert_uint_eq(config->cpu.interval_usec, 300000000);
	ck_assert_uint_eq(config->cpu.rate, 99);
	ck_assert_uint_eq(config->cpu.background_rate, 19);
	ck_assert_uint_eq(config->memory.mode, CONFIG_MEMORY_AUTO);
	ck_assert_uint_eq(config->memory.sample_size_bytes, 524288);
	ck_assert_uint_eq(config->block.min_delay_usec, 1);
	ck_assert_uint_eq(config->trace.sample_ppm, 10000);
	ck_assert_str_eq(config->output.directory, "/var/log/tsiot/profiles");
	ck_assert_uint_eq(config->output.retention_usec, UINT64_C(604800000000));
	ck_assert_uint_eq(config->output.max_size_bytes, UINT64_C(5) << 30);
	ck_assert_uint_eq(config->output.keep_free_bytes, UINT64_C(1) << 30);
	ck_assert_str_eq(config->output.group, "tsprof");
	ck_assert_uint_eq(config->budget.cpu_ppm, 1000);
	ck_assert_uint_eq(config->budget.memory_bytes, UINT64_C(128) << 20);
	ck_assert_uint_eq(config->symbols.debug_directories.n, 1);
	ck_assert_str_eq(config->symbols.debug_directories.at[0], "/usr/lib/debug");
	ck_assert_ptr_null(config->symbols.debug_directories.at[1]);
	ck_assert_uint_eq(config->http.listen.n, 2);
	ck_assert_str_eq(config->http.dashboard, "127.0.0.1:9090");
	/* "Anything called tsiot-*" */
	ck_assert_uint_eq(config->n_targets, 3);
	ck_assert_str_eq(config->targets[0].match.unit, "tsiot-*");
	ck_assert_str_eq(config->targets[1].match.exe, "tsiot-*");
	ck_assert_str_eq(config->targets[2].match.comm, "tsiot-*");
	ck_assert_uint_eq(config->targets[2].cpu.rate, 99);
	config_free(config);
	diag_free(diag);
}
END_TEST

START_TEST(the_seed_file_is_valid_as_it_stands)
{
	struct diag *diag = diag_new();
	struct config *config = NULL;

	make_folder();
	put("profiling.yaml", seed);
	ck_assert_int_eq(try_to_load(NULL, 0, diag, &config), 0);
	ck_assert_uint_eq(config->cpu.rate, 100);
	/* Each part that does not exist yet would be told once. */
	ck_assert_uint_eq(diag_count(diag), 0);
	config_free(config);
	diag_free(diag);
	remove_folder();
}
END_TEST

START_TEST(an_empty_file_and_empty_sections_are_the_defaults)
{
	struct config *config;
	char *empty, *sections;

	make_folder();
	put("profiling.yaml", "# nothing\n");
	config = load();
	empty = print(config);
	config_free(config);
	put("profiling.yaml", "profiling:\n  cpu:\n  targets:\n  output: ~\nalerts:\n");
	config = load();
	sections = print(config);
	config_free(config);
	ck_assert_str_eq(empty, sections);
	free(empty);
	free(sections);
	remove_folder();
}
END_TEST

static const char every_kind_of_value[] =
	"profiling:\n"
	"  enabled: off\n"
	"  targets:\n"
	"    - service: a.b@c-d\n"
	"      match: {unit: 'tsiot-*', exe: \"/x/\\\"y\\\\z\", cmdline: '# {} [] : , & * ! | > % @ `', user: \"'\"}\n"
	"      env_label: {V: version, W: w}\n"
	"      cpu: {rate: 500, duration: 1m30s}\n"
	"      memory: {mode: preload, go: {enable: yes}}\n"
	"    - {match: {comm: 'yes', pid: '4[0-9]', container: \"\\u00fc\\U0001F600\", cgroup: '0x10'}}\n"
	"  host: {enabled: no, max_services: 7}\n"
	"  cpu: {interval: 2m, duration: 2m, rate: 9999, background_rate: 0}\n"
	"  memory: {mode: off, sample_size: 1025, snapshot_interval: 1h1m1s, jvm: {jfr: on}}\n"
	"  block: {min_delay: 1ms1us, go_rate: 12}\n"
	"  trace: {sample: 0.0001%}\n"
	"  output: {directory: ./here, retention: 36h, max_size: 10MB, keep_free: 0, group: ''}\n"
	"  symbols: {debug_directories: []}\n"
	"  http: {listen: ['0.0.0.0:1', '[::]:2', 'unix:/x'], dashboard: '', allow_remote: true, token_file: /t}\n"
	"alerts:\n"
	"  - {name: A, condition: 'cpu_usage_percent   >=   -8.5e1', duration: 0, action: capture_wall_profile}\n";

START_TEST(what_is_printed_loads_to_the_same)
{
	struct config *config;
	char *once, *twice;

	make_folder();
	put("profiling.yaml", every_kind_of_value);
	config = load();
	once = print(config);
	config_free(config);
	put("profiling.yaml", once);
	config = load();
	twice = print(config);
	ck_assert_str_eq(once, twice);
	/* And it is what was written. */
	ck_assert(!config->enabled && !config->host.enabled && config->memory.jvm_jfr && !config->memory.go_enable);
	ck_assert_uint_eq(config->n_targets, 2);
	ck_assert_str_eq(config->targets[0].service, "a.b@c-d");
	ck_assert_str_eq(config->targets[0].match.exe, "/x/\"y\\z");
	ck_assert_str_eq(config->targets[0].match.cmdline, "# {} [] : , & * ! | > % @ `");
	ck_assert_uint_eq(config->targets[0].n_env_labels, 2);
	ck_assert_str_eq(config->targets[0].env_labels[1].variable, "W");
	ck_assert_uint_eq(config->targets[0].cpu.rate, 500);
	ck_assert_uint_eq(config->targets[0].cpu.interval_usec, 120000000);
	ck_assert_uint_eq(config->targets[0].memory.mode, CONFIG_MEMORY_PRELOAD);
	ck_assert(config->targets[0].memory.go_enable && config->targets[0].memory.jvm_jfr);
	ck_assert_ptr_null(config->targets[1].service);
	ck_assert_str_eq(config->targets[1].match.comm, "yes");
	ck_assert_str_eq(config->targets[1].match.container, "\xc3\xbc\xf0\x9f\x98\x80");
	ck_assert_uint_eq(config->targets[1].cpu.rate, 9999);
	ck_assert_uint_eq(config->memory.mode, CONFIG_MEMORY_OFF);
	ck_assert_uint_eq(config->memory.sample_size_bytes, 1025);
	ck_assert_uint_eq(config->block.min_delay_usec, 1001);
	ck_assert_uint_eq(config->trace.sample_ppm, 1);
	ck_assert_uint_eq(config->symbols.debug_directories.n, 0);
	ck_assert_str_eq(config->output.group, "");
	ck_assert_uint_eq(config->n_alerts, 1);
	ck_assert_str_eq(config->alerts[0].condition, "cpu_usage_percent >= -8.5e1");
	ck_assert_uint_eq(config->alerts[0].action, CONFIG_CAPTURE_WALL);
	config_free(config);
	free(once);
	free(twice);
	remove_folder();
}
END_TEST

START_TEST(drop_ins_go_over_the_file_key_by_key_in_order)
{
	struct config *config;

	make_folder();
	put("profiling.yaml", "profiling:\n"
			"  targets: [{match: {comm: a}}, {match: {comm: b}}]\n"
			"  cpu: {rate: 10, interval: 1m, background_rate: 3}\n"
			"  output: {retention: 2d}\n");
	put("profiling.yaml.d/20-b.yaml", "profiling: {cpu: {rate: 30}, symbols: {debug_directories: [/b]}}\n");
	put("profiling.yaml.d/10-a.yaml", "profiling:\n"
			"  targets: [{match: {comm: c}}]\n"
			"  cpu: {rate: 20, duration: 5s}\n"
			"  symbols: {debug_directories: [/a, /a2]}\n");
	put("profiling.yaml.d/30-c.conf", "not: [yaml");
	put("profiling.yaml.d/.40-d.yaml", "not: [yaml");
	config = load();
	ck_assert_uint_eq(config->cpu.rate, 30);
	ck_assert_uint_eq(config->cpu.duration_usec, 5000000);
	ck_assert_uint_eq(config->cpu.interval_usec, 60000000);
	ck_assert_uint_eq(config->output.retention_usec, UINT64_C(172800000000));
	ck_assert_uint_eq(config->symbols.debug_directories.n, 1);
	ck_assert_str_eq(config->symbols.debug_directories.at[0], "/b");
	ck_assert_uint_eq(config->n_targets, 1);
	ck_assert_str_eq(config->targets[0].match.comm, "c");
	/* A target inherits what came after it, too. */
	ck_assert_uint_eq(config->targets[0].cpu.rate, 30);
	config_free(config);
	remove_folder();
}
END_TEST

START_TEST(errors_of_all_files_are_told_together)
{
	struct diag *diag = diag_new();
	struct config *config = NULL;
	char *expected;

	make_folder();
	put("profiling.yaml", "profiling: {cpu: {rate: 0, interval: 1m}}\n");
	put("profiling.yaml.d/a.yaml", "profiling: {cpu: [}\n");
	put("profiling.yaml.d/b.yaml", "profiling:\n  cpu: {duration: 2m}\n");
	ck_assert_int_eq(try_to_load(NULL, 0, diag, &config), CONFIG_E_INVALID);
	ck_assert_uint_eq(diag_errors(diag), 3);
	ck_assert_ptr_nonnull(strstr(diag_message(diag, 0), "/profiling.yaml:1:25: `profiling.cpu.rate` wants"));
	ck_assert_ptr_nonnull(strstr(diag_message(diag, 1), "/profiling.yaml.d/a.yaml:1:19: "));
	/* Each is fine alone: the place is that of the later one. */
	ck_assert_int_gt(asprintf(&expected, "%s.d/b.yaml:2:19: `profiling.cpu.duration` 2m is longer than "
			"`profiling.cpu.interval` 1m: the windows would overlap", file), 0);
	ck_assert_str_eq(diag_message(diag, 2), expected);
	free(expected);
	diag_free(diag);
	remove_folder();
}
END_TEST

START_TEST(the_command_line_goes_before_the_files)
{
	static const struct config_override overrides[] = {
		{ "-profiling-interval", "profiling.cpu.interval", "1m" },
		{ "-profiling-output", "profiling.output.directory", "relative" },
		{ "-port", "profiling.http.listen", "127.0.0.1:7070" },
	};
	static const struct config_override wrong[] = {
		{ "-profiling-interval", "profiling.cpu.interval", "soon" },
		{ "-profiling-duration", "profiling.cpu.duration", "10m" },
	};
	struct diag *diag = diag_new();
	struct config *config = NULL;

	make_folder();
	put("profiling.yaml", "profiling: {targets: [{match: {comm: a}}], cpu: {interval: 10m}, output: {directory: /a}}\n");
	ck_assert_int_eq(try_to_load(overrides, 3, diag, &config), 0);
	ck_assert_uint_eq(config->cpu.interval_usec, 60000000);
	ck_assert_uint_eq(config->targets[0].cpu.interval_usec, 60000000);
	ck_assert_str_eq(config->output.directory, "relative");
	ck_assert_uint_eq(config->http.listen.n, 1);
	ck_assert_str_eq(config->http.listen.at[0], "127.0.0.1:7070");
	config_free(config);
	config = NULL;
	ck_assert_int_eq(try_to_load(wrong, 1, diag, &config), CONFIG_E_INVALID);
	ck_assert_str_eq(diag_message(diag, diag_count(diag) - 1),
			"-profiling-interval: `profiling.cpu.interval` wants a duration from 1s to 1d, such as 30s or 1h30m, "
			"not `soon`");
	put("profiling.yaml", "profiling: {cpu: {interval: 5m}}\n");
	ck_assert_int_eq(try_to_load(wrong + 1, 1, diag, &config), CONFIG_E_INVALID);
	ck_assert_str_eq(diag_message(diag, diag_count(diag) - 1),
			"-profiling-duration: `profiling.cpu.duration` 10m is longer than `profiling.cpu.interval` 5m: "
			"the windows would overlap");
	diag_free(diag);
	remove_folder();
}
END_TEST

START_TEST(a_lower_rate_lowers_the_default_background_rate)
{
	struct config *config;

	make_folder();
	put("profiling.yaml", "profiling: {cpu: {rate: 5}, targets: [{match: {comm: a}}, {match: {comm: b}, cpu: {rate: 2}}]}\n");
	config = load();
	ck_assert_uint_eq(config->cpu.background_rate, 5);
	ck_assert_uint_eq(config->targets[0].cpu.background_rate, 5);
	ck_assert_uint_eq(config->targets[1].cpu.background_rate, 2);
	config_free(config);
	remove_folder();
}
END_TEST

START_TEST(plain_anchors_are_followed)
{
	struct config *config;

	make_folder();
	put("profiling.yaml", "profiling:\n  targets:\n    - {service: a, match: &m {comm: x}}\n    - {service: b, match: *m}\n");
	config = load();
	ck_assert_uint_eq(config->n_targets, 2);
	ck_assert_str_eq(config->targets[1].match.comm, "x");
	config_free(config);
	remove_folder();
}
END_TEST

START_TEST(the_default_file_may_be_absent)
{
	const struct config_source source = { .path = "/nowhere/profiling.yaml", .may_be_absent = true };
	struct diag *diag = diag_new();
	struct config *config = NULL;

	ck_assert_int_eq(config_load(&source, diag, &config), 0);
	ck_assert_str_eq(diag_message(diag, 0),
			"/nowhere/profiling.yaml: warning: no such file: the defaults are in effect");
	config_free(config);
	diag_free(diag);
}
END_TEST

/* The installed examples: config/ of the source tree. */
static struct config *load_example(const char *name, struct diag *diag)
{
	const char *top = getenv("SOURCE_ROOT");
	struct config *config = NULL;
	char path[512];
	struct config_source source = { .path = path };

	ck_assert_msg(top != NULL, "run by meson, which sets SOURCE_ROOT");
	snprintf(path, sizeof(path), "%s/config/%s", top, name);
	ck_assert_int_eq(config_load(&source, diag, &config), 0);
	return config;
}

START_TEST(the_commented_example_says_the_defaults)
{
	const struct config_source nothing = { 0 };
	struct diag *diag = diag_new();
	struct config *example = load_example("profiling.yaml", diag), *defaults = NULL;
	char *a, *b;

	ck_assert_uint_eq(diag_count(diag), 0);
	ck_assert_int_eq(config_load(&nothing, diag, &defaults), 0);
	a = print(example);
	b = print(defaults);
	ck_assert_str_eq(a, b);
	free(a);
	free(b);
	config_free(example);
	config_free(defaults);
	diag_free(diag);
}
END_TEST

START_TEST(the_commented_example_has_every_key)
{
	const char *top = getenv("SOURCE_ROOT");
	struct diag *diag = diag_new();
	struct config *config = load_example("quickstart.yaml", diag);
	char path[512], *text, *printed, *line, *rest;
	size_t size;

	ck_assert_uint_eq(diag_count(diag), 0);
	snprintf(path, sizeof(path), "%s/config/profiling.yaml", top);
	ck_assert_int_eq(fs_read(AT_FDCWD, path, 1 << 20, &text, &size), 0);
	rest = printed = print(config);
	/* Each key of what is printed stands in the example. */
	while ((line = strsep(&rest, "\n")) && *line) {
		char *key = line + strspn(line, " -");

		key[strcspn(key, ":")] = 0;
		strcat(key, ":");
		ck_assert_msg(strstr(text, key) != NULL, "%s", key);
	}
	free(text);
	free(printed);
	config_free(config);
	diag_free(diag);
}
END_TEST

UNIT_TESTS("config", without_a_file_all_has_its_default, the_seed_file_is_valid_as_it_stands,
		an_empty_file_and_empty_sections_are_the_defaults, what_is_printed_loads_to_the_same,
		drop_ins_go_over_the_file_key_by_key_in_order, errors_of_all_files_are_told_together,
		the_command_line_goes_before_the_files, a_lower_rate_lowers_the_default_background_rate,
		plain_anchors_are_followed, the_default_file_may_be_absent, the_commented_example_says_the_defaults,
		the_commented_example_has_every_key)
