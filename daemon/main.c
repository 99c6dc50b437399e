/* SPDX-License-Identifier: Apache-2.0 */
/* tsprofd: command line, configuration, run, exit code. */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "check_host.h"
#include "cleanup.h"
#include "config.h"
#include "descriptors.h"
#include "diag.h"
#include "go_file_reader.h"
#include "go_reader.h"
#include "log.h"
#include "manager.h"
#include "once.h"
#include "options.h"
#include "privileges.h"
#include "symbolizer_process.h"
#include "version.h"

static int load_config(const struct options *options, struct config **ret)
{
	const struct config_source source = options_config_source(options);
	struct diag *diag = diag_new();
	int r;

	r = diag ? config_load(&source, diag, ret) : -ENOMEM;
	if (diag)
		diag_print(diag, stderr);
	diag_free(diag);
	return r == 0 ? EX_OK : r < 0 ? EX_OSERR : EX_CONFIG;
}

static int print_host(const struct config *config)
{
	struct check_host host;

	check_host(config->output.directory, &host);
	check_host_print(&host, stdout);
	return check_host_exit_code(&host);
}

/* What libbpf has to say when a program does not load is told by check_host_explain() in words of ours. */
static int print_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return 0;
}

static int drop_privileges(const struct options *options)
{
	const struct privileges_options wanted = { .will_start_command = options->once.command != NULL };
	char missing[512];
	int r = privileges_init(&wanted);

	if (r < 0) {
		log_print(LOG_ERR, "Cannot drop capabilities: %s.", strerror(-r));
		return EX_OSERR;
	}
	if (r > 0) {
		privileges_missing(missing, sizeof(missing));
		log_print(r == PRIVILEGES_E_MISSING ? LOG_ERR : LOG_WARNING, "%s", missing);
	}
	return r == PRIVILEGES_E_MISSING ? EX_NOPERM : EX_OK;
}

static int run_daemon(const struct options *options, struct config **config)
{
	struct manager *manager = NULL;
	int code;

	code = manager_new(options, *config, &manager);
	if (code)
		return code;
	*config = NULL; /* the manager has it */
	privileges_after_start();
	code = manager_run(manager);
	manager_free(manager);
	return code;
}

static int run(const struct options *options)
{
	_cleanup_(config_free_p) struct config *config = NULL;
	int code;

	code = load_config(options, &config);
	if (code || options->mode == OPTIONS_CHECK_CONFIG)
		return code;
	if (options->mode == OPTIONS_PRINT_CONFIG)
		return config_print(config, stdout) < 0 ? EX_IOERR : EX_OK;
	if (options->mode == OPTIONS_CHECK_HOST)
		return print_host(config);
	libbpf_set_print(print_nothing);
	descriptors_raise_limit();
	code = drop_privileges(options);
	if (code)
		return code;
	return options->mode == OPTIONS_ONCE ? once_run(options, config) : run_daemon(options, &config);
}

int main(int argc, char **argv)
{
	struct options options;
	struct diag *diag;
	int r;

	if (argc > 0 && !strcmp(argv[0], SYMBOLIZER_PROCESS_NAME))
		return symbolizer_process_main();
	if (argc > 0 && !strcmp(argv[0], GO_READER_NAME))
		return go_reader_main();
	if (argc > 0 && !strcmp(argv[0], GO_FILE_READER_NAME))
		return go_file_reader_main();
	descriptors_fill_standard();
	diag = diag_new();
	if (!diag)
		return EX_OSERR;
	r = options_parse(argc, argv, diag, &options);
	diag_print(diag, stderr);
	diag_free(diag);
	if (r)
		return r < 0 ? EX_OSERR : EX_USAGE;
	if (options.mode == OPTIONS_HELP) {
		options_print_help(stdout);
		return EX_OK;
	}
	if (options.mode == OPTIONS_VERSION) {
		version_print(stdout);
		return EX_OK;
	}
	return run(&options);
}
