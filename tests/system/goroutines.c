/* SPDX-License-Identifier: Apache-2.0 */
/*
 * goroutines [-s] [-f] PID...: what lib/goruntime reads of each process, as net/http/pprof's goroutine?debug=2 would print it; on standard error
 * a line of what it took. With -s the symbols of the program are not used, as if it were stripped. With -f facts instead: lines of "variable
 * NAME ADDRESS", "cycles PER_SECOND", and "goroutine ID STATE [system] [KIND:ADDRESS...] [in:FUNCTION...] [KEY=VALUE...]".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "elf_image.h"
#include "go_buckets.h"
#include "go_goroutines.h"
#include "go_process.h"
#include "go_text.h"
#include "gopclntab.h"

#define MAX_BYTES (UINT64_C(8) << 30)

/* How far the kernel moved the program: from where its file's first byte should be to where it is. */
static uint64_t bias_of(const struct elf_image *image, const char *pid)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[4096], exe[4096] = "";
	uint64_t address;

	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	if (!elf_image_address_of_offset(image, 0, &address) || readlink(path, exe, sizeof(exe) - 1) < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long start, offset;

		if (sscanf(line, "%lx-%*x %*s %lx", &start, &offset) == 2 && !offset && strstr(line, exe))
			return start - address;
	}
	return 0;
}

/* The one that the code lies in, whatever is inlined there. */
static const char *function_of(const struct go_process *process, uint64_t frame)
{
	const struct gopclntab *functions;
	struct gopclntab_function function;
	uint64_t address;
	int32_t depth;

	functions = go_process_functions_at(process, frame & ~GO_STACK_EXACT, &address);
	return functions && !gopclntab_depth(functions, address, &function, &depth) && function.name ? function.name : "?";
}

static void print_facts(struct go_process *process, const struct go_goroutines *goroutines)
{
	static const char *const kinds[GO_WAIT_N_KINDS] = { "unknown", "receive", "send", "semaphore", "condition" };
	uint64_t address;

	for (int i = 0; i < GO_N_VARIABLES; i++)
		printf("variable %s %#llx\n", go_variable_name((enum go_variable)i),
			(unsigned long long)(go_process_variable(process, (enum go_variable)i, &address) ? address : 0));
	printf("cycles %.0f\n", go_buckets_cycles_per_second(process));
	for (size_t i = 0; i < goroutines->all.n; i++) {
		const struct go_goroutine *g = &goroutines->all.at[i];

		printf("goroutine %llu [%s]%s", (unsigned long long)g->id, go_text_state(goroutines, g), g->is_system ? " system" : "");
		for (size_t j = g->first_wait; j < g->first_wait + g->n_waits; j++)
			printf(" %s:%#llx", kinds[goroutines->waits.all.at[j].kind], (unsigned long long)goroutines->waits.all.at[j].address);
		for (size_t j = g->first_frame; j < g->first_frame + g->n_frames; j++)
			printf(" in:%s", function_of(process, goroutines->frames.at[j]));
		for (size_t j = g->first_label; j < g->first_label + g->n_labels; j++)
			printf(" %s=%s", goroutines->labels.text.at + goroutines->labels.all.at[j].key,
				goroutines->labels.text.at + goroutines->labels.all.at[j].value);
		putchar('\n');
	}
}

static int print_goroutines(const struct elf_image *image, const struct go_binary *program, const char *pid, bool facts)
{
	struct go_goroutines goroutines = { 0 };
	struct go_process *process;
	struct go_memory memory;
	const char *why = "";
	_cleanup_close_ int fd = -1;
	char path[64];
	uint64_t start = clock_monotonic_nsec(), end;
	int r;

	snprintf(path, sizeof(path), "/proc/%s/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	memory = go_memory_of_file(&fd, MAX_BYTES);
	r = go_process_new(&(struct go_process_options){ .program = program, .memory = &memory, .bias = bias_of(image, pid), .why = &why },
			&process);
	if (!r) {
		r = go_goroutines_read(process, &(struct go_goroutines_options){ .why = &why }, &goroutines);
		end = clock_monotonic_nsec();
		if (!r) {
			if (facts)
				print_facts(process, &goroutines);
			else
				go_text_write(process, &goroutines, end, stdout);
			fprintf(stderr, "%s: %zu goroutines in %.1f ms, %llu KiB read: seen %llu, dead %llu, retried %llu, restless %llu, unread %llu, "
				"broken %llu\n", go_binary_version_text(program), goroutines.all.n, (double)(end - start) / 1e6,
				(unsigned long long)((MAX_BYTES - memory.left_bytes) >> 10), (unsigned long long)goroutines.n_seen,
				(unsigned long long)goroutines.n_dead, (unsigned long long)goroutines.n_retried,
				(unsigned long long)goroutines.n_restless, (unsigned long long)goroutines.n_unread,
				(unsigned long long)goroutines.n_broken);
		}
		go_goroutines_deinit(&goroutines);
		go_process_free(process);
	}
	if (r)
		fprintf(stderr, "go: runtime layout of %s not understood: %s (%d)\n", go_binary_version_text(program), why, r);
	return r;
}

int main(int argc, char **argv)
{
	struct go_binary_options options = { 0 };
	bool facts = false;
	int failed = 0, option;

	while ((option = getopt(argc, argv, "sf")) != -1) {
		options.without_symbols |= option == 's';
		facts |= option == 'f';
	}
	for (int i = optind; i < argc; i++) {
		_cleanup_close_ int fd = -1;
		struct elf_image *image;
		struct go_binary *program = NULL;
		char path[64];

		snprintf(path, sizeof(path), "/proc/%s/exe", argv[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || elf_image_open(fd, &image))
			return EXIT_FAILURE;
		failed |= go_binary_open(image, &options, &program) || print_goroutines(image, program, argv[i], facts);
		go_binary_free(program);
		elf_image_free(image);
	}
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
