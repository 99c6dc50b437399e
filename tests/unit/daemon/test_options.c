/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <string.h>

#include "diag.h"
#include "main.h"

enum { MAX_ARGUMENTS = 16 };

/* A command line as one would type it; getopt permutes nothing, but wants writable pointers. */
struct line {
	char text[256];
	char *argv[MAX_ARGUMENTS];
	int argc;
	struct diag *diag;
	struct options options;
};

static int parse(struct line *line, const char *text)
{
	char *rest = line->text, *word;

	*line = (struct line){ .diag = diag_new(), .argv = { (char *)"tsprofd" }, .argc = 1 };
	snprintf(line->text, sizeof(line->text), "%s", text);
	rest = line->text;
	while ((word = strsep(&rest, " ")))
		if (*word)
			line->argv[line->argc++] = word;
	return options_parse(line->argc, line->argv, line->diag, &line->options);
}

static void done(struct line *line)
{
	line->diag = diag_free(line->diag);
}

/* What is fine; the caller looks at the options and calls done(). */
static void parse_fine(struct line *line, const char *text)
{
	int r = parse(line, text);

	ck_assert_msg(r == 0 && diag_count(line->diag) == 0, "%s: %s", text,
			diag_count(line->diag) ? diag_message(line->diag, 0) : "");
}

START_TEST(without_arguments_the_daemon_runs)
{
	struct line line;

	parse_fine(&line, "");
	ck_assert_int_eq(line.options.mode, OPTIONS_RUN);
	ck_assert_str_eq(line.options.config_path, "/etc/tsiot/profiling.yaml");
	ck_assert(!line.options.config_given && !line.options.announce);
	ck_assert_uint_eq(line.options.n_overrides, 0);
	done(&line);
}
END_TEST

START_TEST(the_flags_of_the_seed_override_the_file)
{
	static const struct {
		const char *option, *key, *value;
	} expected[] = {
		{ "-profiling-interval", "profiling.cpu.interval", "5m" },
		{ "-profiling-duration", "profiling.cpu.duration", "30s" },
		{ "-profiling-output", "profiling.output.directory", "DIR" },
		{ "-enable-continuous-profiling", "profiling.enabled", "true" },
		{ "-port", "profiling.http.listen", "127.0.0.1:6060" },
	};
	static const char *const lines[] = {
		"-profiling-interval=5m -profiling-duration=30s -profiling-output=DIR -enable-continuous-profiling -port 6060",
		"--profiling-interval 5m --profiling-duration 30s --profiling-output DIR "
		"--enable-continuous-profiling=true --port=6060",
	};

	for (size_t i = 0; i < 2; i++) {
		struct line line;

		parse_fine(&line, lines[i]);
		ck_assert_uint_eq(line.options.n_overrides, 5);
		for (size_t j = 0; j < 5; j++) {
			ck_assert_str_eq(line.options.overrides[j].option, expected[j].option);
			ck_assert_str_eq(line.options.overrides[j].key, expected[j].key);
			ck_assert_str_eq(line.options.overrides[j].value, expected[j].value);
		}
		done(&line);
	}
}
END_TEST

START_TEST(of_an_override_given_twice_the_last_counts)
{
	struct line line;

	parse_fine(&line, "-profiling-interval=5m -profiling-interval=6m -enable-continuous-profiling=false");
	ck_assert_uint_eq(line.options.n_overrides, 2);
	ck_assert_str_eq(line.options.overrides[0].value, "6m");
	ck_assert_str_eq(line.options.overrides[1].value, "false");
	done(&line);
}
END_TEST

START_TEST(each_override_has_a_key_that_the_configuration_knows)
{
	struct line line;
	struct config *config = NULL;
	struct config_source source = { 0 };

	parse_fine(&line, "-profiling-interval=1h -profiling-duration=20s -profiling-output=DIR "
			"-enable-continuous-profiling=no -port 7070");
	source.overrides = line.options.overrides;
	source.n_overrides = line.options.n_overrides;
	ck_assert_int_eq(config_load(&source, line.diag, &config), 0);
	ck_assert(!config->enabled);
	ck_assert_uint_eq(config->cpu.interval_usec, UINT64_C(3600000000));
	ck_assert_uint_eq(config->cpu.duration_usec, 20000000);
	ck_assert_str_eq(config->output.directory, "DIR");
	ck_assert_str_eq(config->http.listen.at[0], "127.0.0.1:7070");
	config_free(config);
	done(&line);
}
END_TEST

START_TEST(modes_and_their_files)
{
	static const struct {
		const char *text;
		enum options_mode mode;
		const char *path;
	} cases[] = {
		{ "--config a", OPTIONS_RUN, "a" },
		{ "-config=a", OPTIONS_RUN, "a" },
		{ "--check-config", OPTIONS_CHECK_CONFIG, CONFIG_PATH },
		{ "--check-config a", OPTIONS_CHECK_CONFIG, "a" },
		{ "--check-config=a", OPTIONS_CHECK_CONFIG, "a" },
		{ "--config a --check-config", OPTIONS_CHECK_CONFIG, "a" },
		{ "--print-config --config a", OPTIONS_PRINT_CONFIG, "a" },
		{ "--check-host", OPTIONS_CHECK_HOST, CONFIG_PATH },
		{ "--version", OPTIONS_VERSION, CONFIG_PATH },
		{ "-version", OPTIONS_VERSION, CONFIG_PATH },
		{ "--help", OPTIONS_HELP, CONFIG_PATH },
		{ "-h", OPTIONS_HELP, CONFIG_PATH },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct line line;

		parse_fine(&line, cases[i].text);
		ck_assert_int_eq(line.options.mode, cases[i].mode);
		ck_assert_str_eq(line.options.config_path, cases[i].path);
		done(&line);
	}
}
END_TEST

START_TEST(once_has_its_defaults)
{
	struct line line;

	parse_fine(&line, "--once");
	ck_assert_int_eq(line.options.mode, OPTIONS_ONCE);
	ck_assert(line.options.once.all);
	ck_assert_uint_eq(line.options.once.n_kinds, 1);
	ck_assert_str_eq(line.options.once.kinds[0], "cpu");
	ck_assert_uint_eq(line.options.once.duration_usec, 10000000);
	ck_assert(!line.options.once.has_duration);
	ck_assert_uint_eq(line.options.once.rate, 99);
	ck_assert_ptr_null(line.options.once.output);
	done(&line);
}
END_TEST

START_TEST(once_takes_a_process_or_a_service)
{
	struct line line;

	parse_fine(&line, "--once --kind cpu,cpu --pid 42 --duration 1m30s --rate=999 --output f.pprof");
	ck_assert(!line.options.once.all);
	ck_assert_uint_eq(line.options.once.n_kinds, 1);
	ck_assert_uint_eq(line.options.once.pid, 42);
	ck_assert_uint_eq(line.options.once.duration_usec, 90000000);
	ck_assert(line.options.once.has_duration);
	ck_assert_uint_eq(line.options.once.rate, 999);
	ck_assert_str_eq(line.options.once.output, "f.pprof");
	done(&line);
	parse_fine(&line, "--once --kind goroutine --pid 42 --output f --debug 2");
	ck_assert_int_eq(line.options.once.debug, 2);
	done(&line);
	parse_fine(&line, "--once --service tsiot-server");
	ck_assert_str_eq(line.options.once.service, "tsiot-server");
	ck_assert(!line.options.once.all);
	done(&line);
}
END_TEST

START_TEST(a_command_keeps_its_own_options)
{
	struct line line;

	parse_fine(&line, "--once --output f -- ls --all -rate 5 -- x");
	ck_assert_str_eq(line.options.once.command[0], "ls");
	ck_assert_str_eq(line.options.once.command[1], "--all");
	ck_assert_str_eq(line.options.once.command[4], "--");
	ck_assert_str_eq(line.options.once.command[5], "x");
	ck_assert_ptr_null(line.options.once.command[6]);
	ck_assert(!line.options.once.all);
	/* Until it exits. */
	ck_assert_uint_eq(line.options.once.duration_usec, 0);
	ck_assert_uint_eq(line.options.once.rate, 99);
	done(&line);
	parse_fine(&line, "--once --duration 5s -- ls");
	ck_assert_uint_eq(line.options.once.duration_usec, 5000000);
	done(&line);
}
END_TEST

START_TEST(what_is_wrong_is_told_in_one_line)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "--conf a", "unknown option `--conf`, did you mean `--config`?" },
		{ "-enable", "unknown option `-enable`, did you mean `--enable-continuous-profiling`?" },
		{ "--duraton 5s", "unknown option `--duraton`, did you mean `--duration`?" },
		{ "-c a", "unknown option `-c`; see tsprofd --help" },
		{ "-x", "unknown option `-x`; see tsprofd --help" },
		{ "--xyz=1", "unknown option `--xyz`; see tsprofd --help" },
		{ "--config", "--config wants a value" },
		{ "--config=", "--config wants a file, not ``" },
		{ "--once --pid", "--pid wants a value" },
		{ "--version=5", "--version takes no value" },
		{ "a", "unexpected `a`; see tsprofd --help" },
		{ "--check-config a b", "unexpected `a`; see tsprofd --help" },
		{ "--check-config=a b", "unexpected `b`; see tsprofd --help" },
		{ "--once ls", "unexpected `ls`; a command goes behind --" },
		{ "--once --", "-- wants a command behind it, and --once before it" },
		{ "-- ls", "unexpected `ls`; see tsprofd --help" },
		{ "--once --check-host", "--once and --check-host exclude each other" },
		{ "--print-config -check-config", "--print-config and -check-config exclude each other" },
		{ "--pid 5", "--pid is for --once" },
		{ "--rate 5 --check-host", "--rate is for --once" },
		{ "--once -profiling-interval=5m", "-profiling-interval is for the daemon, not for --once" },
		{ "--once --announce", "--announce is for the daemon, not for --once" },
		{ "--once --pid 0", "--pid wants the number of a process, not `0`" },
		{ "--once --pid -1", "--pid wants the number of a process, not `-1`" },
		{ "--once --pid 4294967296", "--pid wants the number of a process, not `4294967296`" },
		{ "--once --pid self", "--pid wants the number of a process, not `self`" },
		{ "--once --service=", "--service wants the name of a service, not ``" },
		{ "--once --rate 0", "--rate wants a whole number from 1 to 9999, not `0`" },
		{ "--once --rate 10000", "--rate wants a whole number from 1 to 9999, not `10000`" },
		{ "--once --duration 10", "--duration wants a duration from 1ms to 1d, such as 10s, not `10`" },
		{ "--once --duration 0s", "--duration wants a duration from 1ms to 1d, such as 10s, not `0s`" },
		{ "--once --duration 2d", "--duration wants a duration from 1ms to 1d, such as 10s, not `2d`" },
		{ "--once --kind cpu,growth", "--kind growth: this version makes profiles of cpu, block, mutex, wall and thread" },
		{ "--once --kind cpi", "--kind: unknown kind `cpi`, did you mean `cpu`?" },
		{ "--once --kind cpu,", "--kind: unknown kind ``" },
		{ "--once --output=", "--output wants a file or folder, not ``" },
		{ "--once --kind goroutine --pid 5 --output f --debug 3", "--debug wants 1 or 2, not `3`" },
		{ "--once --kind goroutine --pid 5 --output f --debug=02", "--debug wants 1 or 2, not `02`" },
		{ "--once --kind cpu --pid 5 --output f --debug 1",
			"--debug is about --kind goroutine alone, of --pid, --service or a command, and wants an --output file" },
		{ "--once --kind goroutine --pid 5 --output /tmp --debug 1",
			"--debug is about --kind goroutine alone, of --pid, --service or a command, and wants an --output file" },
		{ "--once --kind goroutine --output f --debug 1",
			"--debug is about --kind goroutine alone, of --pid, --service or a command, and wants an --output file" },
		{ "--once --kind goroutine --pid 5 --debug 1",
			"--debug is about --kind goroutine alone, of --pid, --service or a command, and wants an --output file" },
		{ "--once --all --pid 5", "choose one of --all, --pid, --service and a command" },
		{ "--once --service a -- ls", "choose one of --all, --pid, --service and a command" },
		{ "--once --output f.pprof", "--output f.pprof: several files are to come, that wants a folder" },
		{ "--once --all --output /dev/null",
			"--output /dev/null: several files are to come, that wants a folder" },
		{ "-port 0", "-port wants a port from 1 to 65535, not `0`" },
		{ "-port http", "-port wants a port from 1 to 65535, not `http`" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char expected[256];
		struct line line;
		int r = parse(&line, cases[i].text);

		snprintf(expected, sizeof(expected), "tsprofd: %s", cases[i].message);
		ck_assert_msg(r == OPTIONS_E_USAGE, "accepted: %s", cases[i].text);
		ck_assert_uint_eq(diag_count(line.diag), 1);
		ck_assert_str_eq(diag_message(line.diag, 0), expected);
		done(&line);
	}
}
END_TEST

START_TEST(the_help_names_each_option)
{
	static const char *const names[] = {
		"--config", "--check-config", "--print-config", "--check-host", "--once", "--kind", "--pid", "--service",
		"--all", "--duration", "--rate", "--output", "--debug", "--version", "--help", "-profiling-interval",
		"-profiling-duration", "-profiling-output", "-enable-continuous-profiling", "-port", "--announce",
	};
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	options_print_help(f);
	fclose(f);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_msg(strstr(text, names[i]) != NULL, "%s", names[i]);
	free(text);
}
END_TEST

UNIT_TESTS("options", without_arguments_the_daemon_runs, the_flags_of_the_seed_override_the_file,
		of_an_override_given_twice_the_last_counts, each_override_has_a_key_that_the_configuration_knows,
		modes_and_their_files, once_has_its_defaults, once_takes_a_process_or_a_service,
		a_command_keeps_its_own_options, what_is_wrong_is_told_in_one_line, the_help_names_each_option)
