/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "resolve_kernel.h"
#include "symbolizer.h"

/* Symbols have no size here. No function is as long as this, so beyond it we are in a gap between modules. */
#define MAX_FUNCTION_SIZE (UINT64_C(1) << 20)
/* KSYM_NAME_LEN is 512 since Linux 6.1; the line has address, type and module as well. */
#define MAX_LINE 1024U

struct kernel_symbol {
	uint64_t address;
	uint32_t name;                       /* offsets of .texts */
	uint32_t module;                     /* 0: none */
};

struct kernel {
	VEC(struct kernel_symbol) symbols;
	VEC(char) texts;                     /* terminated; of a name the character before it is its type */
	uint32_t last_module;
};

static int add_text(struct kernel *kernel, const char *text, size_t length, uint32_t *ret)
{
	int r;

	if (kernel->texts.n + length + 2 > UINT32_MAX)
		return -E2BIG;
	r = vec_reserve(&kernel->texts, kernel->texts.n + length + 1);
	if (r < 0)
		return r;
	*ret = (uint32_t)kernel->texts.n;
	memcpy(kernel->texts.at + kernel->texts.n, text, length);
	kernel->texts.at[kernel->texts.n + length] = '\0';
	kernel->texts.n += length + 1;
	return 0;
}

/* The modules come one after the other, so that comparing with the last is enough to keep each once. */
static int add_module(struct kernel *kernel, const char *text, size_t length, uint32_t *ret)
{
	const char *last = kernel->last_module ? kernel->texts.at + kernel->last_module : "";
	int r;

	if (strlen(last) != length || memcmp(last, text, length)) {
		r = add_text(kernel, text, length, &kernel->last_module);
		if (r < 0)
			return r;
	}
	*ret = kernel->last_module;
	return 0;
}

/* "ffffffffc0a1b2c0 t ext4_readdir\t[ext4]"; other lines are left out. The line is terminated. */
static int add_line(struct kernel *kernel, const char *line)
{
	struct kernel_symbol symbol = { 0 };
	const char *name, *module;
	char *end;
	size_t length;
	uint32_t at;
	int r;

	symbol.address = strtoull(line, &end, 16);
	if (end == line || end[0] != ' ' || !end[1] || !strchr("tTwW", end[1]) || end[2] != ' ' || !symbol.address)
		return 0;
	/* The type, then the name, in one piece. */
	name = end + 3;
	length = strcspn(name, " \t");
	if (!length || kernel->symbols.n >= SYMBOLIZER_MAX_SYMBOLS)
		return 0;
	module = name + length + strspn(name + length, " \t");
	if (*module == '[') {
		r = add_module(kernel, module, strcspn(module, " \t"), &symbol.module);
		if (r < 0)
			return r;
	}
	r = add_text(kernel, end + 1, 1, &at);
	if (r < 0)
		return r;
	kernel->texts.n--; /* no terminator between type and name */
	r = add_text(kernel, name, length, &symbol.name);
	if (r < 0)
		return r;
	return vec_push(&kernel->symbols, symbol);
}

/* All whole lines of the buffer; returns how many bytes they had, or -errno. */
static ssize_t add_lines(struct kernel *kernel, char *buffer, size_t n)
{
	size_t done = 0;

	for (char *newline; (newline = memchr(buffer + done, '\n', n - done)); done = (size_t)(newline - buffer) + 1) {
		int r;

		*newline = '\0';
		r = add_line(kernel, buffer + done);
		if (r < 0)
			return r;
	}
	return (ssize_t)done;
}

static int read_all(struct kernel *kernel, int fd)
{
	char buffer[65536];
	size_t n = 0;
	uint64_t total = 0;

	while (total < SYMBOLIZER_MAX_KALLSYMS) {
		ssize_t got = read(fd, buffer + n, sizeof(buffer) - n), done;

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		total += (uint64_t)got;
		n += (size_t)got;
		done = add_lines(kernel, buffer, n);
		if (done < 0)
			return (int)done;
		n -= (size_t)done;
		memmove(buffer, buffer + done, n);
		if (n > MAX_LINE)
			return 0; /* not kallsyms */
	}
	return 0;
}

/* Exported before local, fewer leading underscores, shorter, alphabetical: the same in every run. */
static int compare_names(const char *a, const char *b)
{
	bool local_a = a[-1] >= 'a', local_b = b[-1] >= 'a';
	size_t ua = strspn(a, "_"), ub = strspn(b, "_"), la = strlen(a), lb = strlen(b);

	if (local_a != local_b)
		return local_a ? 1 : -1;
	if (ua != ub)
		return ua < ub ? -1 : 1;
	if (la != lb)
		return la < lb ? -1 : 1;
	return strcmp(a, b);
}

static int compare(const void *pa, const void *pb, void *texts)
{
	const struct kernel_symbol *a = pa, *b = pb;

	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	return compare_names((const char *)texts + a->name, (const char *)texts + b->name);
}

static void arrange(struct kernel *kernel)
{
	struct kernel_symbol *all = kernel->symbols.at;
	size_t n = 0;

	if (!kernel->symbols.n)
		return;
	qsort_r(all, kernel->symbols.n, sizeof(*all), compare, kernel->texts.at);
	for (size_t i = 0; i < kernel->symbols.n; i++)
		if (!n || all[n - 1].address != all[i].address)
			all[n++] = all[i];
	kernel->symbols.n = n;
}

/* Where kernel text ends; what follows up to the first module is not of it. */
static bool is_end(const char *name)
{
	return !strcmp(name, "_etext") || !strcmp(name, "_einittext") || !strcmp(name, "__end_rodata");
}

static int resolve(void *state, uint64_t address, struct names *names)
{
	const struct kernel *kernel = state;
	size_t low = 0, high = kernel->symbols.n;
	const struct kernel_symbol *s;
	const char *name;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (kernel->symbols.at[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return RESOLVE_E_UNKNOWN;
	s = &kernel->symbols.at[low - 1];
	name = kernel->texts.at + s->name;
	if (address - s->address >= MAX_FUNCTION_SIZE || is_end(name))
		return RESOLVE_E_UNKNOWN;
	return names_add_frame(names, &(struct frame){ .name = name, .file = s->module ? kernel->texts.at + s->module : NULL });
}

static void free_state(void *state)
{
	struct kernel *kernel = state;

	if (!kernel)
		return;
	vec_deinit(&kernel->symbols);
	vec_deinit(&kernel->texts);
	free(kernel);
}

static const struct resolver_ops ops = {
	.name = "kernel",
	.tells = RESOLVE_TELLS_FUNCTIONS,
	.resolve = resolve,
	.free = free_state,
};

int resolve_kernel_open(int fd, struct resolver *ret)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	uint32_t zero;
	int r;

	if (!kernel)
		return -ENOMEM;
	/* So that no text has offset 0. */
	r = add_text(kernel, "", 0, &zero);
	if (r >= 0)
		r = read_all(kernel, fd);
	if (r >= 0 && !kernel->symbols.n)
		r = RESOLVE_E_NONE;
	if (r) {
		free_state(kernel);
		return r;
	}
	arrange(kernel);
	*ret = (struct resolver){ .ops = &ops, .state = kernel };
	return 0;
}
