/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config_value.h"
#include "diag.h"
#include "nearest.h"

enum option_id {
	OPTION_CONFIG = 256,
	OPTION_CHECK_CONFIG,
	OPTION_PRINT_CONFIG,
	OPTION_CHECK_HOST,
	OPTION_ONCE,
	OPTION_KIND,
	OPTION_PID,
	OPTION_SERVICE,
	OPTION_ALL,
	OPTION_DURATION,
	OPTION_RATE,
	OPTION_OUTPUT,
	OPTION_DEBUG,
	OPTION_VERSION,
	OPTION_HELP,
	OPTION_PROFILING_INTERVAL,
	OPTION_PROFILING_DURATION,
	OPTION_PROFILING_OUTPUT,
	OPTION_ENABLE,
	OPTION_PORT,
	OPTION_ANNOUNCE,
	OPTION_TEST_ENTRIES,
	OPTION_TEST_RING_BYTES,
};

/* Sorted as the help shows them. */
static const struct option long_options[] = {
	{ "config", required_argument, NULL, OPTION_CONFIG },
	{ "check-config", optional_argument, NULL, OPTION_CHECK_CONFIG },
	{ "print-config", no_argument, NULL, OPTION_PRINT_CONFIG },
	{ "check-host", no_argument, NULL, OPTION_CHECK_HOST },
	{ "once", no_argument, NULL, OPTION_ONCE },
	{ "kind", required_argument, NULL, OPTION_KIND },
	{ "pid", required_argument, NULL, OPTION_PID },
	{ "service", required_argument, NULL, OPTION_SERVICE },
	{ "all", no_argument, NULL, OPTION_ALL },
	{ "duration", required_argument, NULL, OPTION_DURATION },
	{ "rate", required_argument, NULL, OPTION_RATE },
	{ "output", required_argument, NULL, OPTION_OUTPUT },
	{ "debug", required_argument, NULL, OPTION_DEBUG },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "h", no_argument, NULL, OPTION_HELP },
	{ "profiling-interval", required_argument, NULL, OPTION_PROFILING_INTERVAL },
	{ "profiling-duration", required_argument, NULL, OPTION_PROFILING_DURATION },
	{ "profiling-output", required_argument, NULL, OPTION_PROFILING_OUTPUT },
	{ "enable-continuous-profiling", optional_argument, NULL, OPTION_ENABLE },
	{ "port", required_argument, NULL, OPTION_PORT },
	{ "announce", no_argument, NULL, OPTION_ANNOUNCE },
	/* Not in the help: they make samples get lost, so that tests can see them counted. */
	{ "test-entries", required_argument, NULL, OPTION_TEST_ENTRIES },
	{ "test-ring", required_argument, NULL, OPTION_TEST_RING_BYTES },
	{ 0 },
};

/* All that product names, so that a kind of a later version is told from a typing error. */
static const char *const known_kinds[] = {
	"cpu", "block", "mutex", "wall", "heap", "allocs", "growth", "goroutine", "thread",
};
static const char *const working_kinds[] = { "cpu", "block", "mutex", "wall", "goroutine", "heap", "allocs", "thread" };

/* `--once` without a command and a duration. */
static const uint64_t default_once_usec = UINT64_C(10000000);
static const uint64_t max_once_usec = UINT64_C(86400000000);
static const uint32_t default_rate = 99;
static const uint32_t max_rate = 9999;

struct parser {
	struct options *options;
	struct diag *diag;
	const char *written;         /* the option as the user wrote it, without its value */
	const char *once_only;       /* an option was given that only --once knows */
	const char *daemon_only;     /* one that only the daemon knows */
	const char *mode_option;     /* the option that set the mode */
	bool duration_given;
	char name[64];
};

__attribute__((format(printf, 2, 3))) static int refuse(struct parser *parser, const char *format, ...)
{
	char message[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	diag_error(parser->diag, "tsprofd", 0, 0, "%s", message);
	return OPTIONS_E_USAGE;
}

static int refuse_value(struct parser *parser, const char *value, const char *wanted)
{
	char quoted[CONFIG_VALUE_BYTES];

	config_value_quote(quoted, value);
	return refuse(parser, "%s wants %s, not `%s`", parser->name, wanted, quoted);
}

static int set_mode(struct parser *parser, enum options_mode mode)
{
	if (parser->mode_option && parser->options->mode != mode)
		return refuse(parser, "--%s and %s exclude each other", parser->mode_option, parser->name);
	for (const struct option *o = long_options; o->name; o++)
		if (strcmp(o->name, parser->name + strspn(parser->name, "-")) == 0)
			parser->mode_option = o->name;
	parser->options->mode = mode;
	return 0;
}

static int set_path(struct parser *parser, const char *path)
{
	if (!*path)
		return refuse_value(parser, path, "a file");
	parser->options->config_path = path;
	parser->options->config_given = true;
	return 0;
}

/* The last one of an option counts. */
static int add_override(struct parser *parser, const char *option, const char *key, const char *value)
{
	struct options *options = parser->options;
	size_t i = 0;

	while (i < options->n_overrides && strcmp(options->overrides[i].key, key) != 0)
		i++;
	if (i == OPTIONS_MAX_OVERRIDES)
		return refuse(parser, "too many options");
	options->overrides[i] = (struct config_override){ .option = option, .key = key, .value = value };
	if (i == options->n_overrides)
		options->n_overrides++;
	parser->daemon_only = option;
	return 0;
}

static int parse_duration(struct parser *parser, const char *value)
{
	struct options_once *once = &parser->options->once;

	if (config_value_duration(value, &once->duration_usec) < 0 || once->duration_usec < 1000 ||
			once->duration_usec > max_once_usec)
		return refuse_value(parser, value, "a duration from 1ms to 1d, such as 10s");
	parser->duration_given = once->has_duration = true;
	return 0;
}

static int parse_number(struct parser *parser, const char *value, uint64_t max, const char *wanted, uint32_t *ret)
{
	uint64_t number;

	if (config_value_integer(value, &number) < 0 || number == 0 || number > max)
		return refuse_value(parser, value, wanted);
	*ret = number;
	return 0;
}

static const char *find(const char *const *words, size_t n, const char *word, size_t length)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(words[i]) == length && memcmp(words[i], word, length) == 0)
			return words[i];
	return NULL;
}

static int add_kind(struct parser *parser, const char *kind, size_t length)
{
	struct options_once *once = &parser->options->once;
	const char *known = find(known_kinds, ARRAY_SIZE(known_kinds), kind, length);
	struct nearest nearest = { 0 };
	char quoted[CONFIG_VALUE_BYTES];
	_cleanup_free_ char *copy = NULL;

	if (known && find(working_kinds, ARRAY_SIZE(working_kinds), kind, length)) {
		if (!find(once->kinds, once->n_kinds, kind, length))
			once->kinds[once->n_kinds++] = known;
		return 0;
	}
	if (known)
		return refuse(parser, "%s %s: this version makes profiles of cpu, block, mutex, wall and thread", parser->name, known);
	copy = strndup(kind, length);
	if (!copy)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(working_kinds); i++)
		nearest_offer(&nearest, copy, working_kinds[i]);
	config_value_quote(quoted, copy);
	if (nearest.word)
		return refuse(parser, "%s: unknown kind `%s`, did you mean `%s`?", parser->name, quoted, nearest.word);
	return refuse(parser, "%s: unknown kind `%s`", parser->name, quoted);
}

static int parse_kinds(struct parser *parser, const char *value)
{
	int r = 0;

	do {
		size_t length = strcspn(value, ",");

		r = add_kind(parser, value, length);
		value += length;
	} while (r == 0 && *value++ == ',');
	return r;
}

static int parse_port(struct parser *parser, const char *value)
{
	struct options *options = parser->options;
	uint32_t port;
	int r = parse_number(parser, value, UINT16_MAX, "a port from 1 to 65535", &port);

	if (r != 0)
		return r;
	snprintf(options->storage, sizeof(options->storage), "127.0.0.1:%u", port);
	return add_override(parser, "-port", "profiling.http.listen", options->storage);
}

static int parse_option(struct parser *parser, int id, const char *value)
{
	struct options *options = parser->options;
	struct options_once *once = &options->once;

	if (id >= OPTION_KIND && id <= OPTION_DEBUG)
		parser->once_only = long_options[id - OPTION_CONFIG].name;
	switch (id) {
	case OPTION_CONFIG:
		return set_path(parser, value);
	case OPTION_CHECK_CONFIG:
		if (value && set_path(parser, value) != 0)
			return OPTIONS_E_USAGE;
		return set_mode(parser, OPTIONS_CHECK_CONFIG);
	case OPTION_PRINT_CONFIG:
		return set_mode(parser, OPTIONS_PRINT_CONFIG);
	case OPTION_CHECK_HOST:
		return set_mode(parser, OPTIONS_CHECK_HOST);
	case OPTION_ONCE:
		return set_mode(parser, OPTIONS_ONCE);
	case OPTION_KIND:
		return parse_kinds(parser, value);
	case OPTION_PID:
		return parse_number(parser, value, INT32_MAX, "the number of a process", &once->pid);
	case OPTION_SERVICE:
		if (!*value)
			return refuse_value(parser, value, "the name of a service");
		once->service = value;
		return 0;
	case OPTION_ALL:
		once->all = true;
		return 0;
	case OPTION_DURATION:
		return parse_duration(parser, value);
	case OPTION_RATE:
		return parse_number(parser, value, max_rate, "a whole number from 1 to 9999", &once->rate);
	case OPTION_OUTPUT:
		if (!*value)
			return refuse_value(parser, value, "a file or folder");
		once->output = value;
		return 0;
	case OPTION_DEBUG:
		if (strcmp(value, "1") != 0 && strcmp(value, "2") != 0)
			return refuse_value(parser, value, "1 or 2");
		once->debug = value[0] - '0';
		return 0;
	case OPTION_ANNOUNCE:
		options->announce = true;
		parser->daemon_only = "--announce";
		return 0;
	case OPTION_TEST_ENTRIES:
		return parse_number(parser, value, INT32_MAX, "a number", &options->test_entries);
	case OPTION_TEST_RING_BYTES:
		return parse_number(parser, value, INT32_MAX, "a number", &options->test_ring_bytes);
	case OPTION_VERSION:
		return set_mode(parser, OPTIONS_VERSION);
	case OPTION_HELP:
		return set_mode(parser, OPTIONS_HELP);
	case OPTION_PROFILING_INTERVAL:
		return add_override(parser, "-profiling-interval", "profiling.cpu.interval", value);
	case OPTION_PROFILING_DURATION:
		return add_override(parser, "-profiling-duration", "profiling.cpu.duration", value);
	case OPTION_PROFILING_OUTPUT:
		return add_override(parser, "-profiling-output", "profiling.output.directory", value);
	case OPTION_ENABLE:
		return add_override(parser, "-enable-continuous-profiling", "profiling.enabled", value ? value : "true");
	default:
		return parse_port(parser, value);
	}
}

static int refuse_unknown(struct parser *parser)
{
	const char *word = parser->name + strspn(parser->name, "-");
	struct nearest nearest = { 0 };
	char quoted[CONFIG_VALUE_BYTES];

	config_value_quote(quoted, parser->name);
	for (const struct option *o = long_options; o->name; o++)
		if (strlen(o->name) > 1)
			nearest_offer(&nearest, word, o->name);
	/* What getopt would have taken: tell it, but do not take it. A script must not break when an option is added. */
	for (const struct option *o = long_options; o->name && !nearest.word; o++)
		if (strlen(word) > 1 && strncmp(o->name, word, strlen(word)) == 0)
			nearest.word = o->name;
	if (nearest.word)
		return refuse(parser, "unknown option `%s`, did you mean `--%s`?", quoted, nearest.word);
	return refuse(parser, "unknown option `%s`; see tsprofd --help", quoted);
}

/* The option at the cursor, as it was written. */
static void note_name(struct parser *parser, const char *argument)
{
	size_t length = MIN(strcspn(argument, "="), sizeof(parser->name) - 1);

	memcpy(parser->name, argument, length);
	parser->name[length] = 0;
}

static bool is_known(const char *word)
{
	for (const struct option *o = long_options; o->name; o++)
		if (strcmp(o->name, word) == 0)
			return true;
	return false;
}

static int parse_all(struct parser *parser, int argc, char **argv)
{
	/* "+": the command behind -- has options of its own. ":": getopt does not write to stderr itself. */
	static const char short_options[] = "+:";
	int id, r = 0;

	optind = 0;
	while (r == 0) {
		int at = optind ? optind : 1;

		if (at < argc)
			note_name(parser, argv[at]);
		id = getopt_long_only(argc, argv, short_options, long_options, NULL);
		if (id == -1)
			return 0;
		if (!is_known(parser->name + strspn(parser->name, "-")))
			return refuse_unknown(parser);
		if (id == ':')
			return refuse(parser, "%s wants a value", parser->name);
		if (id == '?')
			return refuse(parser, "%s takes no value", parser->name);
		r = parse_option(parser, id, optarg);
	}
	return r;
}

static int check_once(struct parser *parser)
{
	struct options_once *once = &parser->options->once;
	struct stat status;
	int n_subjects = once->all + (once->pid != 0) + (once->service != NULL) + (once->command != NULL);
	size_t length = once->output ? strlen(once->output) : 0;
	bool exists;

	if (n_subjects > 1)
		return refuse(parser, "choose one of --all, --pid, --service and a command");
	once->all |= n_subjects == 0;
	if (once->n_kinds == 0)
		once->kinds[once->n_kinds++] = working_kinds[0];
	if (once->debug && (once->n_kinds != 1 || strcmp(once->kinds[0], "goroutine") != 0 || once->all || !once->output ||
			(stat(once->output, &status) == 0 && S_ISDIR(status.st_mode))))
		return refuse(parser, "--debug is about --kind goroutine alone, of --pid, --service or a command, and wants an --output file");
	if (!once->rate)
		once->rate = default_rate;
	if (!parser->duration_given && !once->command)
		once->duration_usec = default_once_usec;
	if (!once->output || (!once->all && once->n_kinds == 1))
		return 0;
	exists = stat(once->output, &status) == 0;
	if (exists ? !S_ISDIR(status.st_mode) : length > 6 && strcmp(once->output + length - 6, ".pprof") == 0)
		return refuse(parser, "--output %s: several files are to come, that wants a folder", once->output);
	return 0;
}

static int check_arguments(struct parser *parser, int argc, char **argv)
{
	struct options *options = parser->options;
	bool behind_dashes = optind > 1 && strcmp(argv[optind - 1], "--") == 0;
	char quoted[CONFIG_VALUE_BYTES];

	if (options->mode == OPTIONS_HELP || options->mode == OPTIONS_VERSION)
		return 0;
	if (options->mode == OPTIONS_CHECK_CONFIG && optind == argc - 1 && !behind_dashes && !options->config_given) {
		snprintf(parser->name, sizeof(parser->name), "--check-config");
		if (set_path(parser, argv[optind]) != 0)
			return OPTIONS_E_USAGE;
		optind++;
	}
	if (options->mode == OPTIONS_ONCE && optind < argc && behind_dashes) {
		options->once.command = argv + optind;
		optind = argc;
	}
	if (optind < argc) {
		config_value_quote(quoted, argv[optind]);
		return refuse(parser, options->mode == OPTIONS_ONCE ? "unexpected `%s`; a command goes behind --" :
				"unexpected `%s`; see tsprofd --help", quoted);
	}
	if (behind_dashes && !options->once.command)
		return refuse(parser, "-- wants a command behind it, and --once before it");
	if (parser->once_only && options->mode != OPTIONS_ONCE)
		return refuse(parser, "--%s is for --once", parser->once_only);
	if (parser->daemon_only && options->mode == OPTIONS_ONCE)
		return refuse(parser, "%s is for the daemon, not for --once", parser->daemon_only);
	return options->mode == OPTIONS_ONCE ? check_once(parser) : 0;
}

int options_parse(int argc, char **argv, struct diag *diag, struct options *ret)
{
	struct parser parser = { .options = ret, .diag = diag };
	int r;

	*ret = (struct options){ .mode = OPTIONS_RUN, .config_path = CONFIG_PATH };
	if (argc < 1)
		return 0;
	r = parse_all(&parser, argc, argv);
	return r == 0 ? check_arguments(&parser, argc, argv) : r;
}

struct config_source options_config_source(const struct options *options)
{
	return (struct config_source){
		.path = options->mode == OPTIONS_ONCE && !options->config_given ? NULL : options->config_path,
		.may_be_absent = !options->config_given,
		.overrides = options->overrides,
		.n_overrides = options->n_overrides,
	};
}

void options_print_help(FILE *f)
{
	fputs("tsprofd - profiles every process of this machine, all the time\n"
	      "\n"
	      "  tsprofd [--config FILE]                run in the foreground (" CONFIG_PATH ")\n"
	      "  tsprofd --check-config [FILE]          tell all errors of a configuration; 0 or 78\n"
	      "  tsprofd --print-config                 the configuration in effect, with defaults\n"
	      "  tsprofd --check-host                   what this machine allows, and what to do about the rest\n"
	      "  tsprofd --once [...]                   one window without daemon and configuration\n"
	      "  tsprofd --version | --help\n"
	      "\n"
	      "With --once, one of these (--all when there is none):\n"
	      "  --all                                  every process, a file for each service\n"
	      "  --pid N                                this process\n"
	      "  --service S                            the processes of this service\n"
	      "  -- COMMAND ARG...                      started (as who typed sudo) and profiled until it exits\n"
	      "and\n"
	      "  --kind K,K                             kinds of profile: cpu, block, mutex, wall, goroutine,\n"
	      "                                         heap, allocs, thread\n"
	      "  --duration 10s                         how long\n"
	      "  --rate 99                              samples a second and CPU\n"
	      "  --output FILE|FOLDER                   where to; several files want a folder\n"
	      "  --debug 1|2                            goroutines as text, as net/http/pprof has it\n"
	      "\n"
	      "Instead of what the configuration says:\n"
	      "  -profiling-interval 5m                 a window every\n"
	      "  -profiling-duration 30s                of this length\n"
	      "  -profiling-output FOLDER               to here\n"
	      "  -enable-continuous-profiling[=false]   at all\n"
	      "  -port 6060                             of HTTP on 127.0.0.1\n"
	      "\n"
	      "  --announce                             tell of each file as it is written\n"
	      "\n"
	      "Options take one dash or two, and are not abbreviated. See tsprofd(8), profiling.yaml(5).\n",
			f);
}
