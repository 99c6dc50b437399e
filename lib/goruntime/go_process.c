/* SPDX-License-Identifier: Apache-2.0 */
#include "go_process.h"

#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "vec.h"

/* Words of runtime.moduledata (runtime/symtab.go): the same in 1.18 to 1.27. */
enum {
	MODULE_HEADER = 0,
	MODULE_TABLE = 13,                   /* pclntable: pointer and length; the last part of the table */
	MODULE_N_ENTRIES = 17,
	MODULE_TEXT = 22, MODULE_END_TEXT = 23,
	MODULE_WORDS = 24,
};

struct module {
	struct gopclntab *functions;
	void *bytes;                         /* of a table read from memory; NULL: it is the program's */
	uint64_t start, end;                 /* of its code, in memory */
	uint64_t bias;                       /* of its table's addresses */
};

struct go_process {
	struct go_process_options options;
	const struct go_layout *layout;
	VEC(struct module) modules;
};

DEFINE_CLEANUP(struct go_process, go_process_free);

static int unknown(const struct go_process_options *options, const char *why)
{
	if (options->why)
		*options->why = why;
	return GO_PROCESS_E_UNKNOWN;
}

static int push_module(struct go_process *process, const struct module *module)
{
	return vec_push(&process->modules, *module);
}

/* The program itself: what memory says of it has to be what its file says. */
static int add_program(struct go_process *process, const uint64_t *words)
{
	const struct go_process_options *options = &process->options;
	const struct gopclntab *functions = go_binary_functions(options->program);
	struct module module = { .bias = options->bias };
	uint64_t start, end;

	gopclntab_range(functions, &start, &end);
	module.start = start + options->bias;
	module.end = end + options->bias;
	if (!words[MODULE_HEADER])
		return GO_PROCESS_E_EARLY;
	if (words[MODULE_N_ENTRIES] != gopclntab_n_functions(functions) + 1 || words[MODULE_TEXT] > module.start ||
	    words[MODULE_END_TEXT] < module.end)
		return unknown(options, "its module data is not that of its file");
	return push_module(process, &module);
}

/* A plugin. Its table is as long as its header's distance to the end of the last part. */
static int add_plugin(struct go_process *process, const uint64_t *words)
{
	uint64_t header = words[MODULE_HEADER], end = words[MODULE_TABLE] + words[MODULE_TABLE + 1], start, stop;
	struct gopclntab_source source = { .text = words[MODULE_TEXT], .funcdata.failed = true };
	struct module module = { 0 };
	int r;

	if (words[MODULE_TABLE + 1] > GOPCLNTAB_MAX_SIZE || end < header || end - header > GOPCLNTAB_MAX_SIZE)
		return 0;
	module.bytes = malloc(end - header + 1);
	if (!module.bytes)
		return -ENOMEM;
	r = go_memory_read(process->options.memory, header, module.bytes, end - header);
	source.table = reader_of(module.bytes, end - header);
	if (r >= 0)
		r = gopclntab_new(&source, &module.functions);
	if (!r) {
		gopclntab_range(module.functions, &start, &stop);
		module.start = start;
		module.end = stop;
		r = push_module(process, &module);
	}
	if (r) {
		/* A plugin that we do not understand, or that is being loaded: its frames stay unknown. */
		gopclntab_free(module.functions);
		free(module.bytes);
	}
	return r == -ENOMEM ? r : 0;
}

static int find_modules(struct go_process *process)
{
	uint64_t address, words[MODULE_WORDS];
	int r;

	if (!go_process_variable(process, GO_FIRST_MODULE, &address))
		return unknown(&process->options, "runtime.firstmoduledata was not found");
	for (size_t i = 0; address && i < GO_PROCESS_MAX_MODULES; i++) {
		r = go_memory_read(process->options.memory, address, words, sizeof(words));
		if (r < 0 && r != -E2BIG && i)
			return unknown(&process->options, "the list of its modules leads nowhere");
		if (r >= 0)
			r = i ? add_plugin(process, words) : add_program(process, words);
		if (r)
			return r;
		r = go_memory_u64(process->options.memory, address + process->layout->module.next, &address);
		if (r < 0)
			return r;
	}
	return 0;
}

int go_process_new(const struct go_process_options *options, struct go_process **ret)
{
	_cleanup_(go_process_free_p) struct go_process *process = calloc(1, sizeof(*process));
	bool is_guess;
	int r;

	if (!process)
		return -ENOMEM;
	process->options = *options;
	process->layout = go_layout_of(go_binary_version(options->program), &is_guess);
	if (!process->layout)
		return unknown(options, "its version is not known");
	r = find_modules(process);
	if (r)
		return r;
	*ret = TAKE(process);
	return 0;
}

struct go_process *go_process_free(struct go_process *process)
{
	if (!process)
		return NULL;
	for (size_t i = 0; i < process->modules.n; i++) {
		gopclntab_free(process->modules.at[i].functions);
		free(process->modules.at[i].bytes);
	}
	vec_deinit(&process->modules);
	free(process);
	return NULL;
}

struct go_version go_process_version(const struct go_process *process)
{
	return go_binary_version(process->options.program);
}

const struct go_layout *go_process_layout(const struct go_process *process)
{
	return process->layout;
}

const struct go_binary *go_process_program(const struct go_process *process)
{
	return process->options.program;
}

struct go_memory *go_process_memory(const struct go_process *process)
{
	return process->options.memory;
}

bool go_process_variable(const struct go_process *process, enum go_variable which, uint64_t *ret_address)
{
	if (!go_binary_variable(process->options.program, which, ret_address))
		return false;
	*ret_address += process->options.bias;
	return true;
}

void go_process_data(const struct go_process *process, uint64_t *ret_start, uint64_t *ret_end)
{
	go_binary_data(process->options.program, ret_start, ret_end);
	*ret_start += process->options.bias;
	*ret_end += process->options.bias;
}

const struct gopclntab *go_process_functions_at(const struct go_process *process, uint64_t address, uint64_t *ret_address)
{
	for (size_t i = 0; i < process->modules.n; i++) {
		const struct module *module = &process->modules.at[i];

		if (address < module->start || address >= module->end)
			continue;
		*ret_address = address - module->bias;
		return module->functions ? module->functions : go_binary_functions(process->options.program);
	}
	return NULL;
}
