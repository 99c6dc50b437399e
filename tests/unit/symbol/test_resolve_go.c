/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Go's function table against the judge of it: a Go program that asks its own runtime about each 61st byte of its text.
 * Built with every Go at hand (of the PATH, /usr/lib/go-*; with TSPROF_TEST_ALL_GO=1 those of the module cache, too),
 * plain, stripped, position independent, with C inside, and with its section headers cut off. Skipped without Go.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../main.h"
#include "cleanup.h"
#include "elf_image.h"
#include "fs.h"
#include "gopclntab.h"
#include "resolve_go.h"

/* Compiles with every Go since 1.18. */
static const char program[] =
	"package main\n"
	"import (\n\t\"bufio\"\n\t\"encoding/json\"\n\t\"fmt\"\n\t\"os\"\n\t\"runtime\"\n\t\"sort\"\n\t\"strings\"\n\t_ \"unsafe\"\n)\n"
	"//go:linkname expand runtime/pprof.runtime_expandFinalInlineFrame\n"
	"func expand(stack []uintptr) []uintptr\n"
	/* Its words 22 and 23, text and etext, are the same in all versions. */
	"//go:linkname firstmoduledata runtime.firstmoduledata\n"
	"var firstmoduledata [64]uintptr\n"
	"type pair[K comparable, V any] struct {\n\tk K\n\tv V\n}\n"
	"//go:noinline\n"
	"func (p *pair[K, V]) set(k K, v V) { p.k, p.v = k, v }\n"
	"//go:noinline\n"
	"func largest[T int | string](v []T) (m T) {\n\tfor _, x := range v {\n\t\tif x > m {\n\t\t\tm = x\n\t\t}\n\t}\n\treturn\n}\n"
	/* Of the function: single instructions have that of what was inlined around them. */
	"func file(f *runtime.Frame) string {\n"
	"	if f.Func == nil || strings.HasSuffix(f.Function, \".init\") {\n\t\treturn f.File\n\t}\n"
	"	frames := runtime.CallersFrames(expand([]uintptr{f.Func.Entry() + 1}))\n"
	"	for {\n"
	"		first, more := frames.Next()\n"
	"		if first.Func != nil {\n\t\t\treturn first.File\n\t\t}\n"
	"		if !more {\n\t\t\treturn f.File\n\t\t}\n"
	"	}\n"
	"}\n"
	"func main() {\n"
	"	p := pair[string, int]{}\n"
	"	p.set(strings.Repeat(\"x\", 2), largest([]int{1, len(os.Args)}))\n"
	"	sort.Slice([]string{p.k}, func(i, j int) bool { return i < j })\n"
	"	json.NewDecoder(strings.NewReader(\"{}\")).Decode(&p)\n"
	"	w := bufio.NewWriter(os.Stdout)\n"
	"	defer w.Flush()\n"
	"	text, etext := firstmoduledata[22], firstmoduledata[23]\n"
	"	var start uintptr\n"
	"	fmt.Sscanf(os.Args[1], \"%x\", &start)\n"
	"	fmt.Fprintf(w, \"!%x\\n\", foreign()-text+start)\n"
	"	for pc := text; pc < etext; pc += 61 {\n"
	/* CallersFrames() takes return addresses: the last byte of a function cannot be asked about. */
	"		if f := runtime.FuncForPC(pc + 1); f == nil || f.Entry() == pc+1 || f.Name() == \"\" {\n"
	"			continue\n"
	"		}\n"
	"		fmt.Fprintf(w, \"%x\\n\", pc-text+start)\n"
	"		frames := runtime.CallersFrames(expand([]uintptr{pc + 1}))\n"
	"		for {\n"
	"			f, more := frames.Next()\n"
	"			fmt.Fprintf(w, \"\\t%s\\t%s\\t%d%s\\n\", f.Function, file(&f), f.Line, details(&f))\n"
	"			if !more {\n\t\t\t\tbreak\n\t\t\t}\n"
	"		}\n"
	"	}\n"
	"}\n";

static const char details_new[] =
	"//go:build go1.21\n\n"
	"package main\n"
	"import (\n\t\"fmt\"\n\t\"runtime\"\n\t_ \"unsafe\"\n)\n"
	"//go:linkname startLine runtime/pprof.runtime_FrameStartLine\n"
	"func startLine(f *runtime.Frame) int\n"
	"//go:linkname symbolName runtime/pprof.runtime_FrameSymbolName\n"
	"func symbolName(f *runtime.Frame) string\n"
	"func details(f *runtime.Frame) string { return fmt.Sprintf(\"\\t%d\\t%s\", startLine(f), symbolName(f)) }\n";

static const char details_old[] =
	"//go:build !go1.21\n\n"
	"package main\n"
	"import \"runtime\"\n"
	"func details(f *runtime.Frame) string { return \"\" }\n";

static const char with_c[] =
	"package main\n"
	"// int three_in_c(void);\n"
	"// int three_in_c(void) { return 3; }\n"
	"import \"C\"\n"
	"import \"unsafe\"\n"
	"func foreign() uintptr { return uintptr(unsafe.Pointer(C.three_in_c)) }\n";

static const char without_c[] =
	"//go:build !cgo\n\n"
	"package main\n"
	"func foreign() uintptr { return 0 }\n";

static const struct variant {
	const char *name, *mode, *linker;
	bool cgo, cut_sections;
} variants[] = {
	{ "plain", "exe", "", false, false },
	{ "stripped", "exe", "-s -w", false, false },
	{ "pie", "pie", "", false, false },
	{ "pie-stripped", "pie", "-s -w", false, false },
	{ "cgo", "exe", "-linkmode=external", true, false },
	{ "cgo-pie-stripped", "pie", "-s -w -linkmode=external", true, false },
	{ "no-sections", "exe", "-s -w", false, true },
	{ "cgo-pie-no-sections", "pie", "-s -w -linkmode=external", true, true },
};

#define MAX_BINARIES 128
static struct binary_under_test {
	char path[600], truth[640], version[64];
	const struct variant *variant;
} binaries[MAX_BINARIES];
static size_t n_binaries, n_failed_builds;
static char folder[] = "/tmp/tsprof-test-go-XXXXXX";

static void write_file(const char *name, const char *text)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "we");
	if (!f || fputs(text, f) < 0 || fclose(f))
		exit(EXIT_FAILURE);
}

/* The first line that a command prints; false when it fails. */
static bool output_of(const char *command, char *ret, size_t size)
{
	FILE *f = popen(command, "re");
	bool ok = f && fgets(ret, (int)size, f);

	if (ok)
		ret[strcspn(ret, "\n")] = '\0';
	return f && pclose(f) == 0 && ok;
}

/* Both headers that lead to sections become 0: what sstrip and some packers leave. */
static void cut_sections(const char *path)
{
	static const uint8_t none[8];
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, none, 8, 0x28) != 8 || pwrite(fd, none, 4, 0x3c) != 4)
		exit(EXIT_FAILURE);
	close(fd);
}

static bool build(const char *go, const char *version, const struct variant *v)
{
	struct binary_under_test *b = &binaries[n_binaries];
	/* Linker option since 1.23, which refuses the names that we borrow from runtime/pprof. */
	const char *check = strcmp(version, "go1.23") < 0 ? "" : "-checklinkname=0";
	char command[2048];

	if (n_binaries == MAX_BINARIES)
		return true;
	snprintf(b->version, sizeof(b->version), "%s", version);
	snprintf(b->path, sizeof(b->path), "%s/%s.%s", folder, version, v->name);
	snprintf(b->truth, sizeof(b->truth), "%s/%s.%s.truth", folder, version, v->name);
	b->variant = v;
	snprintf(command, sizeof(command),
		"cd %s && CGO_ENABLED=%d GOTOOLCHAIN=local GOFLAGS=-mod=mod nice '%s' build -buildmode=%s -ldflags='%s %s' -o '%s' . > build.log 2>&1 || { cat build.log >&2; false; }",
		folder, v->cgo, go, v->mode, check, v->linker, b->path);
	if (system(command)) {
		fprintf(stderr, "# %s %s: go build failed\n", version, v->name);
		return false;
	}
	if (v->cut_sections)
		cut_sections(b->path);
	n_binaries++;
	return true;
}

/* A Go beside that of the PATH may be half installed: it counts if it can build anything. */
static void build_all(const char *go, bool required)
{
	char command[1200], version[64];

	snprintf(command, sizeof(command), "GOTOOLCHAIN=local '%s' env GOVERSION 2>/dev/null", go);
	if (!output_of(command, version, sizeof(version)))
		return;
	for (size_t i = 0; i < n_binaries; i++)
		if (!strcmp(binaries[i].version, version))
			return;
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
		if (!build(go, version, &variants[i])) {
			if (i == 0 && !required)
				return;
			n_failed_builds++;
		}
}

static void build_glob(const char *pattern)
{
	glob_t found;

	if (glob(pattern, 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++)
			build_all(found.gl_pathv[i], false);
	globfree(&found);
}

static void build_everything(void)
{
	char pattern[600], cache[512];

	if (!mkdtemp(folder))
		exit(EXIT_FAILURE);
	write_file("go.mod", "module truth\n\ngo 1.18\n");
	write_file("main.go", program);
	write_file("details_new.go", details_new);
	write_file("details_old.go", details_old);
	write_file("with_c.go", with_c);
	write_file("without_c.go", without_c);
	write_file("empty.s", "");           /* allows functions without a body */
	build_all("go", true);
	build_glob("/usr/lib/go-*/bin/go");
	if (getenv("TSPROF_TEST_ALL_GO") && output_of("go env GOMODCACHE", cache, sizeof(cache))) {
		snprintf(pattern, sizeof(pattern), "%s/golang.org/toolchain@*/bin/go", cache);
		build_glob(pattern);
	}
}

/* --- comparing -------------------------------------------------------------------------------------------------- */

struct tally {
	size_t n, n_frames, n_inlined, n_wrappers, n_hidden, n_differ;
};

/* By cmd/internal/objabi/funcid.go and the compiler's word for code without a source. */
static bool may_be_wrapper(const char *name, const char *file)
{
	static const char *const names[] = {
		"runtime.deferreturn", "runtime.deferCallSave", "runtime.runOpenDeferFrame",
		"reflect.callReflect", "reflect.callMethod",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	/* Assembly says TEXT name, WRAPPER: runtime.call32 and its like. */
	return !strcmp(file, "<autogenerated>") || strstr(name, "deferwrap") || strstr(name, "gowrap") ||
		(strlen(file) > 2 && !strcmp(file + strlen(file) - 2, ".s"));
}

/* Our answer in the words of the program. */
static void answer(const struct resolver *resolver, uint64_t address, bool detailed, char *ret, size_t size, size_t *ret_n,
		bool *ret_hidden)
{
	struct names *names = names_new();
	size_t n = 0;

	ret[0] = '\0';
	*ret_n = 0;
	*ret_hidden = false;
	if (resolver->ops->resolve(resolver->state, address, names) == 0) {
		for (size_t i = 0; i < names->frames.n; i++) {
			const struct names_frame *f = &names->frames.at[i];
			const char *name = strtab_get(names->strings, f->name, NULL), *file = strtab_get(names->strings, f->file, NULL);
			char printed[RESOLVE_MAX_STRING];

			n += snprintf(ret + n, size - n, "\t%s\t%s\t%u", gopclntab_print_name(name, printed, sizeof(printed)),
				*file ? file : "?", f->line);
			ck_assert_uint_eq(f->name, f->system_name);
			/* Before 1.20 those around `go` and `defer` are called func1, func2. */
			ck_assert_msg(!detailed || !(names->place_flags & NAMES_HIDDEN) || may_be_wrapper(name, file), "%s in %s is hidden", name, file);
			if (i + 1 == names->frames.n)
				ck_assert_int_eq(!!(names->place_flags & NAMES_SHOWS_CALLER), !strcmp(name, "runtime.gopanic") ||
						!strcmp(name, "runtime.sigpanic") || !strcmp(name, "runtime.panicwrap"));
			if (detailed)
				n += snprintf(ret + n, size - n, "\t%u\t%s", f->start_line, name);
			n += snprintf(ret + n, size - n, "\n");
		}
		*ret_n = names->frames.n;
		*ret_hidden = names->place_flags & NAMES_HIDDEN;
	}
	names_free(names);
}

/* Before 1.21 expandFinalInlineFrame() kept the wrapper around an inlined method, which tracebacks leave out: one more line. */
static bool is_wrapped(const char *want, const char *got)
{
	size_t n = strlen(got);
	const char *rest = want + n;

	return n && !strncmp(want, got, n) && *rest && strchr(rest, '\n') == rest + strlen(rest) - 1;
}

static void compare(const struct binary_under_test *b, const struct resolver *resolver, struct tally *tally)
{
	static char line[65536], want[1 << 20], got[1 << 20];
	bool detailed = strcmp(b->version, "go1.21") >= 0, more = true;
	uint64_t address = 0;
	FILE *f = fopen(b->truth, "re");
	size_t n = 0;

	ck_assert_ptr_nonnull(f);
	while (more) {
		more = fgets(line, sizeof(line), f) != NULL;
		if (more && line[0] == '\t') {
			ck_assert_uint_lt(n + strlen(line), sizeof(want));
			n += snprintf(want + n, sizeof(want) - n, "%s", line);
			continue;
		}
		if (address) {
			size_t n_frames;
			bool hidden;

			answer(resolver, address, detailed, got, sizeof(got), &n_frames, &hidden);
			tally->n++;
			tally->n_hidden += hidden;
			tally->n_frames += n_frames;
			tally->n_inlined += n_frames > 1;
			if (strcmp(got, want) && !detailed && is_wrapped(want, got))
				tally->n_wrappers++;
			else if (strcmp(got, want) && tally->n_differ++ < 3)
				fprintf(stderr, "# %s at %" PRIx64 "\n# want\n%s# got\n%s", b->path, address, want, got);
		}
		if (more && line[0] == '!') {
			/* Code in C is none of ours. */
			uint64_t foreign = strtoull(line + 1, NULL, 16);
			size_t n_frames;
			bool hidden;

			if (b->variant->cgo) {
				answer(resolver, foreign, detailed, got, sizeof(got), &n_frames, &hidden);
				ck_assert_msg(n_frames == 0, "%s: C code at %" PRIx64 " is called %s", b->path, foreign, got);
			}
			address = 0;
		} else if (more)
			address = strtoull(line, NULL, 16);
		n = 0;
		want[0] = '\0';
	}
	fclose(f);
}

static void check_binary(const struct binary_under_test *b)
{
	_cleanup_close_ int fd = open(b->path, O_RDONLY | O_CLOEXEC);
	struct resolver resolver;
	struct tally tally = {0};
	struct elf_image *image;
	struct gopclntab *tab;
	uint64_t start, end;
	char command[1400];

	ck_assert_int_eq(elf_image_open(fd, &image), 0);
	ck_assert_msg(gopclntab_open(image, &tab) == 0, "%s: no table", b->path);
	ck_assert_msg(gopclntab_has_inline(tab), "%s: no inline trees", b->path);
	gopclntab_range(tab, &start, &end);
	gopclntab_free(tab);
	snprintf(command, sizeof(command), "'%s' %" PRIx64 " > '%s'", b->path, start, b->truth);
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(resolve_go_open(image, &resolver), 0);
	compare(b, &resolver, &tally);
	fprintf(stderr, "# %s %s: %zu addresses, %zu frames, %zu with inlined ones, %zu in old wrappers, %zu hidden, %zu differ\n",
		b->version, b->variant->name, tally.n, tally.n_frames, tally.n_inlined, tally.n_wrappers, tally.n_hidden,
		tally.n_differ);
	ck_assert_uint_gt(tally.n, 5000);
	ck_assert_uint_gt(tally.n_inlined, tally.n / 20);
	ck_assert_uint_gt(tally.n_hidden, tally.n / 100);
	ck_assert_uint_lt(tally.n_hidden, tally.n / 2);
	ck_assert_uint_le(tally.n_differ * 1000, tally.n);
	ck_assert_uint_le(tally.n_wrappers * 100, tally.n);
	resolver.ops->free(resolver.state);
	elf_image_free(image);
}

START_TEST(names_files_lines_and_inlined_calls_are_those_of_the_runtime)
{
	for (size_t i = 0; i < n_binaries; i++)
		check_binary(&binaries[i]);
	ck_assert_uint_eq(n_failed_builds, 0);
}
END_TEST

START_TEST(a_program_that_is_not_go_has_no_table)
{
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct resolver resolver;
	struct elf_image *image;

	ck_assert_int_eq(elf_image_open(fd, &image), 0);
	ck_assert_int_eq(resolve_go_open(image, &resolver), RESOLVE_E_NONE);
	elf_image_free(image);
}
END_TEST

/* Whatever is damaged: an answer or none, but nothing worse. The sanitizers watch. */
START_TEST(a_damaged_program_does_no_harm)
{
	_cleanup_close_ int fd = open(binaries[0].path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *bytes = NULL;
	uint64_t table;
	size_t size;
	struct elf_image *whole;

	ck_assert_int_eq(elf_image_open(fd, &whole), 0);
	table = elf_image_section(whole, ".gopclntab")->offset;
	elf_image_free(whole);
	ck_assert_int_eq(fs_read_fd(fd, 64 << 20, &bytes, &size), 0);
	srand(1);
	for (int i = 0; i < 300; i++) {
		struct gopclntab_frame frames[RESOLVE_MAX_INLINE_DEPTH];
		size_t places[16];
		char before[16];
		struct elf_image *image;
		struct gopclntab *tab;
		uint64_t start, end;
		size_t n;

		for (int j = 0; j < 16; j++) {
			/* The header, the rest of the table, or anywhere. */
			places[j] = j % 3 == 0 ? table + rand() % 72 : j % 3 == 1 ? table + rand() % (size - table) : rand() % size;
			before[j] = bytes[places[j]];
			if (j <= i % 16)
				bytes[places[j]] = (char)rand();
		}
		if (elf_image_open_memory(bytes, size, &image) == 0) {
			if (gopclntab_open(image, &tab) == 0) {
				gopclntab_range(tab, &start, &end);
				for (int j = 0; j < 50; j++)
					gopclntab_lookup(tab, start + (uint64_t)rand() % (end - start), frames, RESOLVE_MAX_INLINE_DEPTH, &n);
				gopclntab_free(tab);
			}
			elf_image_free(image);
		}
		for (int j = 15; j >= 0; j--)
			bytes[places[j]] = before[j];
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		names_files_lines_and_inlined_calls_are_those_of_the_runtime, a_program_that_is_not_go_has_no_table,
		a_damaged_program_does_no_harm,
	};
	char command[64];
	int r;

	/* Before check starts its clock: the first build compiles Go's library. */
	build_everything();
	if (n_binaries)
		r = unit_main("resolve_go", tests, ARRAY_SIZE(tests));
	else {
		puts("1..0 # SKIP needs Go");
		r = EXIT_SUCCESS;
	}
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	if (!getenv("TSPROF_TEST_KEEP") && system(command))
		r = EXIT_FAILURE;
	return r;
}
