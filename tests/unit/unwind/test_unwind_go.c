/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of Go programs against the processor: a thread of a Go program goes on instruction by instruction, and at each
 * of them its stack is walked. Every walk must end where the runtime's own stacks end, and between two instructions the
 * callers must stay what they were, but for one more after a call and one less after a return.
 *
 * Built with every Go at hand (of the PATH, /usr/lib/go-*; with TSPROF_TEST_ALL_GO=1 those of the module cache, too), with
 * and without C inside. Skipped without Go, or where ptrace is not allowed.
 */
#include <elf.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../main.h"
#include "cleanup.h"
#include "elf_image.h"
#include "gopclntab.h"
#include "made_go.h"
#include "unwind_go.h"
#include "vec.h"

/* Compiles with every Go since 1.18. What it does in rounds crosses most of what the runtime has in assembly. */
static const char program[] =
	"package main\n"
	"import (\n\t\"fmt\"\n\t\"os\"\n\t\"runtime\"\n\t\"sort\"\n\t\"strings\"\n\t\"syscall\"\n\t\"time\"\n)\n"
	"var sink int\n"
	/* Stays on the thread that is looked at. */
	"func init() { runtime.LockOSThread() }\n"
	/* Grows its stack: morestack, newstack, copystack. */
	"//go:noinline\n"
	"func deep(n int) int {\n\tvar a [40]int\n\ta[n&31] = n\n\tif n > 0 {\n\t\ta[n&31] += deep(n - 1)\n\t}\n\treturn a[n&31]\n}\n"
	/* duffzero, duffcopy. */
	"type large struct{ a [20]int }\n"
	"//go:noinline\n"
	"func pass(l large) large {\n\tvar m large\n\tm.a[l.a[1]&15] = 1\n\tif m.a[3] == 2 {\n\t\treturn m\n\t}\n\treturn l\n}\n"
	"//go:noinline\n"
	"func recovers(f func()) (r interface{}) {\n\tdefer func() { r = recover() }()\n\tf()\n\treturn nil\n}\n"
	"type shape interface{ area() int }\n"
	"type square struct{ side int }\n"
	"func (s square) area() int { return s.side * s.side }\n"
	"func round(in, out chan int, n int) {\n"
	"	var l large\n"
	"	sink += pass(l).a[3] + foreign(n)\n"
	"	done := make(chan int)\n"
	"	go func() { done <- deep(n % 100) }()\n"
	"	sink += <-done\n"
	"	in <- n\n"
	"	sink += <-out\n"
	"	var s []string\n"
	"	for i := 0; i < 10; i++ {\n\t\ts = append(s, fmt.Sprint(\"x\", i^n, time.Now().Nanosecond()))\n\t}\n"
	"	sort.Strings(s)\n"
	"	m := map[string]shape{}\n"
	"	for _, x := range s {\n\t\tm[strings.ToUpper(x)] = square{len(x)}\n\t}\n"
	"	for _, x := range m {\n\t\tsink += x.area()\n\t}\n"
	"	recovers(func() { panic(n) })\n"
	"	recovers(func() { sink += len(s[n+100]) })\n"
	"	recovers(func() { var p *large; sink += p.a[n&7] })\n"
	"	sink += deep(n % 150)\n"
	"	runtime.Gosched()\n"
	"	if n%3 == 0 {\n\t\ttime.Sleep(time.Microsecond)\n\t}\n"
	"	if n%8 == 1 {\n\t\truntime.GC()\n\t}\n"
	"	os.Stat(\"/\")\n"
	"}\n"
	"func main() {\n"
	"	in, out := make(chan int), make(chan int)\n"
	"	go func() {\n\t\tfor x := range in {\n\t\t\tout <- x + 1\n\t\t}\n\t}()\n"
	"	syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(syscall.Getpid()), uintptr(syscall.Gettid()), uintptr(syscall.SIGUSR2))\n"
	"	for n := 0; ; n++ {\n\t\tround(in, out, n)\n\t}\n"
	"}\n";

static const char with_c[] =
	"package main\n"
	"// #cgo CFLAGS: -O1 -fno-omit-frame-pointer\n"
	"// extern int goTwice(int);\n"
	"// int through_c(int);\n"
	"import \"C\"\n"
	"func foreign(n int) int { return int(C.through_c(C.int(n & 1023))) }\n"
	"//export goTwice\n"
	"func goTwice(n C.int) C.int {\n\tx := make([]int, int(n)+1)\n\treturn C.int(2*len(x) + deep(int(n+59)%60) - deep(int(n+59)%60))\n}\n";

static const char c_code[] = "extern int goTwice(int);\nint through_c(int n) { return goTwice(n) + 1; }\n";

static const char without_c[] =
	"//go:build !cgo\n\n"
	"package main\n"
	"func foreign(n int) int { return n }\n";

#define MAX_BINARIES 64
static struct binary {
	char path[600], version[64];
	bool cgo;
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

static bool build(const char *go, const char *version, bool cgo, bool pie)
{
	struct binary *b = &binaries[n_binaries];
	char command[2048];

	if (n_binaries == MAX_BINARIES)
		return true;
	b->cgo = cgo;
	snprintf(b->version, sizeof(b->version), "%s", version);
	snprintf(b->path, sizeof(b->path), "%s/%s%s%s", folder, version, cgo ? ".cgo" : "", pie ? ".pie" : "");
	snprintf(command, sizeof(command),
		"cd %s && CGO_ENABLED=%d GOTOOLCHAIN=local GOFLAGS=-mod=mod nice '%s' build -buildmode=%s -o '%s' . > build.log 2>&1 || { cat build.log >&2; false; }",
		folder, cgo, go, pie ? "pie" : "exe", b->path);
	if (system(command)) {
		fprintf(stderr, "# %s: go build failed\n", version);
		return false;
	}
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
	if (!build(go, version, false, false)) {
		n_failed_builds += required;
		return;
	}
	if (!build(go, version, true, false))
		n_failed_builds++;
	if (required && !build(go, version, true, true))
		n_failed_builds++;
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
	write_file("go.mod", "module walked\n\ngo 1.18\n");
	write_file("main.go", program);
	write_file("with_c.go", with_c);
	write_file("c_code.c", c_code);
	write_file("without_c.go", without_c);
	build_all("go", true);
	build_glob("/usr/lib/go-*/bin/go");
	if (getenv("TSPROF_TEST_ALL_GO") && output_of("go env GOMODCACHE", cache, sizeof(cache))) {
		snprintf(pattern, sizeof(pattern), "%s/golang.org/toolchain@*/bin/go", cache);
		build_glob(pattern);
	}
}

static void remove_everything(void)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	if (system(command))
		fprintf(stderr, "# %s is left behind\n", folder);
}

/* --- rows ------------------------------------------------------------------------------------------------------- */

struct go_row {
	uint64_t start, end;
	struct unwind_rule rule;
};

struct rows {
	VEC(struct go_row) v;
	bool overlap;
};

static void add_row(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	struct rows *rows = userdata;

	if (start >= end || (rows->v.n && rows->v.at[rows->v.n - 1].end > start))
		rows->overlap = true;
	if (vec_push(&rows->v, ((struct go_row){ start, end, *rule })))
		ck_abort();
}

static const struct unwind_rule *find_row(const struct rows *rows, uint64_t offset)
{
	size_t low = 0, high = rows->v.n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (rows->v.at[middle].end <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < rows->v.n && rows->v.at[low].start <= offset ? &rows->v.at[low].rule : NULL;
}

/* --- a walk ----------------------------------------------------------------------------------------------------- */

struct page {
	uint64_t address;
	uint8_t bytes[4096];
};

struct walker {
	pid_t pid;
	struct elf_image *image;
	struct gopclntab *tab;
	struct rows rows;
	uint64_t bias;                       /* of a position independent program */
	bool cgo;
	/*
	 * asyncPreempt, sigpanic: a handler lets code call them that did not mean to. The return address is that of an
	 * instruction not yet begun, so that the byte before it may be of another row: then walks in the kernel, which cannot
	 * know, go astray. They are short, and seldom at such an instruction.
	 */
	struct gopclntab_function injected[2];
	struct gopclntab_function handlers[2]; /* sigtramp, cgoSigtramp */
	struct page pages[16];
	size_t n_pages;
};

/* Callers, from the innermost on; the code that runs is not among them. */
struct chain {
	uint64_t pc;
	uint64_t callers[1024];
	size_t n;
	bool through_c;
	enum { COMPLETE, BROKEN, ELSEWHERE } end; /* ELSEWHERE: this code is not Go's */
};

static bool read_word(struct walker *w, uint64_t address, uint64_t *ret)
{
	uint64_t start = address & ~UINT64_C(4095);
	struct page *page = NULL;

	if (address & 7)
		return false;
	for (size_t i = 0; i < w->n_pages; i++)
		if (w->pages[i].address == start)
			page = &w->pages[i];
	if (!page) {
		struct iovec remote = { (void *)(uintptr_t)start, 4096 }, local;

		page = &w->pages[w->n_pages % ARRAY_SIZE(w->pages)];
		page->address = 0;
		local = (struct iovec){ page->bytes, 4096 };
		if (process_vm_readv(w->pid, &local, 1, &remote, 1, 0) != 4096)
			return false;
		page->address = start;
		w->n_pages = MIN(w->n_pages + 1, ARRAY_SIZE(w->pages) - 1);
	}
	memcpy(ret, page->bytes + (address - start), 8);
	return true;
}

static const struct unwind_rule *rule_at(const struct walker *w, uint64_t pc)
{
	uint64_t offset;

	return elf_image_offset_of_address(w->image, pc - w->bias, &offset) ? find_row(&w->rows, offset) : NULL;
}

static bool is_in(const struct walker *w, const struct gopclntab_function functions[2], uint64_t pc)
{
	return (pc - w->bias >= functions[0].start && pc - w->bias < functions[0].end) ||
		(pc - w->bias >= functions[1].start && pc - w->bias < functions[1].end);
}

static void find_functions(struct walker *w)
{
	struct gopclntab_function f;
	size_t n = 0, n_handlers = 0;

	for (size_t i = 0; i < gopclntab_n_functions(w->tab); i++) {
		if (gopclntab_function(w->tab, i, &f) || !f.name)
			continue;
		if (n_handlers < ARRAY_SIZE(w->handlers) &&
		    (!strcmp(f.name, "runtime.sigtramp") || !strcmp(f.name, "runtime.cgoSigtramp")))
			w->handlers[n_handlers++] = f;
		if (n < ARRAY_SIZE(w->injected) && (!strcmp(f.name, "runtime.asyncPreempt") || !strcmp(f.name, "runtime.sigpanic")))
			w->injected[n++] = f;
	}
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(n_handlers, 2);
}

static void walk(struct walker *w, const struct user_regs_struct *regs, struct chain *chain)
{
	/* What C code that was compiled with frame pointers does once it called. */
	static const struct unwind_rule frame_pointer = { .cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_BP, .bp = -2, .offset = 16 };
	/* What may be outside of the program: the C library's return from a handler. */
	static const struct unwind_rule outside = { .cfa = UNWIND_CFA_SIGNAL };
	bool from_handler = false;
	uint64_t pc = regs->rip, sp = regs->rsp, bp = regs->rbp, cfa, offset, asked = regs->rip;

	w->n_pages = 0;
	chain->pc = pc;
	chain->n = 0;
	chain->through_c = false;
	for (;;) {
		const struct unwind_rule *rule = rule_at(w, asked);

		/* Where it runs, or where a signal came, as in the vdso. */
		if (!rule && asked == pc) {
			chain->end = ELSEWHERE;
			return;
		}
		chain->end = BROKEN;
		if (!rule && w->cgo)
			rule = elf_image_offset_of_address(w->image, asked - w->bias, &offset) ? &frame_pointer : from_handler ? &outside : NULL;
		if (!rule)
			return;
		chain->through_c |= rule == &frame_pointer;
		if (rule->cfa == UNWIND_CFA_END) {
			chain->end = COMPLETE;
			return;
		}
		if (chain->n == ARRAY_SIZE(chain->callers))
			return;
		if (rule->cfa == UNWIND_CFA_SIGNAL) {
			/* struct ucontext: five words, then r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip. */
			if (!read_word(w, sp + 40 + 16 * 8, &pc) || !read_word(w, sp + 40 + 10 * 8, &bp) ||
			    !read_word(w, sp + 40 + 15 * 8, &sp))
				return;
			chain->callers[chain->n++] = asked = pc;
			from_handler = false;
			continue;
		}
		cfa = (rule->reg == UNWIND_REGISTER_BP ? bp : sp) + (rule->cfa == UNWIND_CFA_REGISTER ? rule->offset : rule->inner);
		if (rule->cfa == UNWIND_CFA_DEREFERENCE) {
			if (!read_word(w, cfa, &cfa))
				return;
			cfa += rule->addend;
		} else if (rule->cfa != UNWIND_CFA_REGISTER)
			return;
		if (!read_word(w, cfa - 8, &pc) || (rule->bp < 0 && !read_word(w, cfa + rule->bp * 8, &bp)))
			return;
		sp = cfa;
		chain->callers[chain->n++] = pc;
		from_handler = is_in(w, w->handlers, asked);
		asked = is_in(w, w->injected, asked) ? pc : pc - 1;
	}
}

static const char *name_at(const struct walker *w, uint64_t pc)
{
	static struct gopclntab_frame frames[32];
	size_t n;

	return gopclntab_lookup(w->tab, pc - w->bias, frames, ARRAY_SIZE(frames), &n) ? "?" : frames[n - 1].name;
}

/* Whether these callers may follow those, an instruction later. */
static bool follows(const struct chain *before, const struct chain *after)
{
	if (after->n == before->n)
		return !memcmp(after->callers, before->callers, after->n * sizeof(*after->callers));
	if (after->n == before->n + 1)
		return after->callers[0] - before->pc - 2 < 7 &&
			!memcmp(after->callers + 1, before->callers, before->n * sizeof(*after->callers));
	return after->n + 1 == before->n && after->pc == before->callers[0] &&
		!memcmp(after->callers, before->callers + 1, after->n * sizeof(*after->callers));
}

/* Where another stack is gone on with, and nothing leads back: the callers may change. */
static bool switches(const struct walker *w, uint64_t pc, bool is_old)
{
	static const char *const always[] = { "runtime.mcall", "runtime.gogo", "gogo", "runtime.morestack", "runtime.sigreturn",
		"runtime.sigreturn__sigaction" };
	const char *name = name_at(w, pc);

	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		if (!strcmp(name, always[i]))
			return true;
	/* A caller is skipped while it is on the other stack. */
	return is_old && !strcmp(name, "runtime.systemstack");
}

/* Handlers that make the interrupted code call something (asyncPreempt, sigpanic) write its rsp, and its pc only then. */
static bool writes_context(const struct walker *w, uint64_t pc)
{
	static const char *const names[] = { "runtime.doSigPreempt", "runtime.(*sigctxt).pushCall", "runtime.(*sigctxt).preparePanic",
		"runtime.(*sigctxt).set_rsp", "runtime.(*sigctxt).set_rip", "runtime.sighandler" };
	const char *name = name_at(w, pc);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

/* --- a run ------------------------------------------------------------------------------------------------------ */

struct tally {
	size_t n_steps, n_walked, n_elsewhere, n_broken, n_surprises, n_switches, n_signals, n_callers, n_through_c;
};

static void show(const struct walker *w, const char *what, const struct chain *chain)
{
	fprintf(stderr, "# %s: %" PRIx64 " %s, %zu callers, end %d:", what, chain->pc - w->bias, name_at(w, chain->pc), chain->n, chain->end);
	for (size_t i = 0; i < MIN(chain->n, (size_t)12); i++)
		fprintf(stderr, " %" PRIx64 " %s", chain->callers[i] - w->bias, name_at(w, chain->callers[i] - 1));
	fprintf(stderr, "\n");
}

static uint64_t find_bias(pid_t pid, const struct elf_image *image)
{
	char path[64], line[512];
	unsigned long start, offset;
	FILE *f;

	if (elf_image_type(image) == ET_EXEC)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	/* The heap may lie in front of it. */
	do
		ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
	while (!strstr(line, folder) || sscanf(line, "%lx-%*x %*s %lx", &start, &offset) != 2 || offset);
	fclose(f);
	return start;
}

static void step_through(struct walker *w, bool is_old, size_t n_steps, struct tally *tally)
{
	static struct chain chains[2];
	struct chain *before = &chains[0], *after = &chains[1], *other;
	struct user_regs_struct regs;
	int status, signal = 0, held = 0, given = 0;

	before->end = ELSEWHERE;
	for (; tally->n_steps < n_steps; tally->n_steps++) {
		if (ptrace(PTRACE_GETREGS, w->pid, NULL, &regs))
			ck_abort_msg("the program is gone");
		walk(w, &regs, after);
		if (after->end == ELSEWHERE)
			tally->n_elsewhere++;
		else {
			tally->n_walked++;
			tally->n_callers += after->n;
			tally->n_through_c += after->through_c;
		}
		if (after->end == BROKEN && writes_context(w, after->pc))
			tally->n_switches++;
		else if (after->end == BROKEN && tally->n_broken++ < 10)
			show(w, "broken", after);
		if (after->end == COMPLETE && before->end == COMPLETE && !given && !follows(before, after)) {
			if (switches(w, before->pc, is_old) || switches(w, after->pc, is_old) ||
			    writes_context(w, before->pc))
				tally->n_switches++;
			else if (tally->n_surprises++ < 10) {
				show(w, "before", before);
				show(w, "after", after);
			}
		}
		other = before;
		before = after;
		after = other;
		given = signal;
		if (!given && tally->n_steps % 4096 == 0) {
			given = held;
			held = 0;
		}
		tally->n_signals += given != 0;
		if (ptrace(PTRACE_SINGLESTEP, w->pid, NULL, (void *)(intptr_t)given))
			ck_abort();
		if (waitpid(w->pid, &status, __WALL) != w->pid || !WIFSTOPPED(status))
			ck_abort_msg("the program ended: %#x", status);
		signal = WSTOPSIG(status);
		/* The runtime finds its thread slow and would ask it to yield all the time. */
		if (signal == SIGURG)
			held = signal;
		if (signal == SIGURG || signal == SIGTRAP || signal == SIGSTOP)
			signal = 0;
	}
}

static void run(const struct binary *b, size_t n_steps)
{
	struct walker *w = calloc(1, sizeof(*w));
	bool is_old = strcmp(b->version, "go1.21") < 0;
	struct tally tally = {0};
	int fd = open(b->path, O_RDONLY | O_CLOEXEC), status;

	ck_assert_int_eq(elf_image_open(fd, &w->image), 0);
	close(fd);
	ck_assert_int_eq(gopclntab_open(w->image, &w->tab), 0);
	ck_assert_int_eq(unwind_go_rows(w->image, add_row, &w->rows), 0);
	ck_assert(!w->rows.overlap);
	find_functions(w);
	w->cgo = b->cgo;
	w->pid = fork();
	if (!w->pid) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		execl(b->path, b->path, NULL);
		_exit(78);
	}
	ck_assert_int_eq(waitpid(w->pid, &status, 0), w->pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		fprintf(stderr, "# not run: ptrace is not allowed\n");
	else {
		/* Until it says that it is there. */
		while (WIFSTOPPED(status) && WSTOPSIG(status) != SIGUSR2) {
			int signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);

			ck_assert_int_eq(ptrace(PTRACE_CONT, w->pid, NULL, (void *)(intptr_t)signal), 0);
			ck_assert_int_eq(waitpid(w->pid, &status, 0), w->pid);
		}
		ck_assert(WIFSTOPPED(status));
		w->bias = find_bias(w->pid, w->image);
		step_through(w, is_old, n_steps, &tally);
		kill(w->pid, SIGKILL);
		waitpid(w->pid, &status, 0);
		fprintf(stderr, "# %s%s: %zu rows, %zu steps, %zu walked of %.1f callers, %zu broken, %zu surprises, %zu switches, %zu signals, %zu through C\n",
			b->version, b->cgo ? " cgo" : "", w->rows.v.n, tally.n_steps, tally.n_walked,
			(double)tally.n_callers / (double)tally.n_walked, tally.n_broken, tally.n_surprises, tally.n_switches, tally.n_signals,
			tally.n_through_c);
		ck_assert_uint_gt(tally.n_walked, n_steps / 2);
		ck_assert(!b->cgo || tally.n_through_c);
		ck_assert_uint_eq(tally.n_broken, 0);
		ck_assert_uint_eq(tally.n_surprises, 0);
	}
	vec_deinit(&w->rows.v);
	gopclntab_free(w->tab);
	elf_image_free(w->image);
	free(w);
}

START_TEST(every_go_that_is_here_can_build)
{
	ck_assert_uint_eq(n_failed_builds, 0);
}
END_TEST

START_TEST(each_instruction_of_a_running_program_can_be_walked_from)
{
	const char *steps = getenv("TSPROF_TEST_STEPS");

	for (size_t i = 0; i < n_binaries; i++)
		run(&binaries[i], steps ? strtoul(steps, NULL, 10) : 40000);
}
END_TEST

static void ignore_row(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	(*(size_t *)userdata)++;
}

START_TEST(a_program_of_c_has_no_rows)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct elf_image *image;
	size_t n = 0;

	ck_assert_int_eq(elf_image_open(fd, &image), 0);
	close(fd);
	ck_assert_int_eq(unwind_go_rows(image, ignore_row, &n), UNWIND_GO_E_NONE);
	ck_assert_uint_eq(n, 0);
	elf_image_free(image);
}
END_TEST

/* --- code made here: by instruction --------------------------------------------------------------------------------- */

/* Rows from this offset of the code on. */
struct expected {
	uint32_t at;
	struct unwind_rule rule;
};

#define BY_SP(depth, saved_bp, saved_bx) \
	{ .cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_SP, .bp = saved_bp, .bx = saved_bx, .offset = (depth) + 8 }
#define BY_BP(off, saved_bp) \
	{ .cfa = UNWIND_CFA_REGISTER, .reg = UNWIND_REGISTER_BP, .bp = saved_bp, .bx = UNWIND_SAVED_NOWHERE, .offset = off }
#define NO UNWIND_SAVED_NOWHERE
#define CODE(...) .code = (const uint8_t[]){ __VA_ARGS__ }, .size = sizeof((const uint8_t[]){ __VA_ARGS__ })
#define DEPTHS(...) .depths = (const struct made_go_depth[]){ __VA_ARGS__ }, \
	.n_depths = ARRAY_SIZE(((const struct made_go_depth[]){ __VA_ARGS__ }))

static const uint8_t start_code[16];
static const struct made_go_function start_function = { .name = "_rt0_amd64_linux", .code = start_code, .size = 16, DEPTHS({ 16, 0 }) };

/* The rows of one function, behind one that ends walks. */
static void assert_rows(struct made_go_function function, const struct expected *expected, size_t n)
{
	const struct made_go_function functions[] = { start_function, function };
	struct made_go file = made_go(functions, 2, 0);
	struct elf_image *image;
	struct rows rows = {0};

	ck_assert_int_eq(elf_image_open_memory(file.b.at, file.b.n, &image), 0);
	ck_assert_int_eq(unwind_go_rows(image, add_row, &rows), 0);
	ck_assert(!rows.overlap);
	for (size_t i = 0; i < MIN(n, rows.v.n - 1); i++) {
		const struct go_row *row = &rows.v.at[i + 1];

		ck_assert_msg(row->start == MADE_GO_OFFSET + 16 + expected[i].at, "%s: row %zu is at %#" PRIx64 ", not %#x", function.name, i,
			row->start - MADE_GO_OFFSET - 16, expected[i].at);
		ck_assert_msg(!memcmp(&row->rule, &expected[i].rule, sizeof(row->rule)), "%s: row %zu: cfa %d reg %d offset %d bp %d bx %d",
			function.name, i, row->rule.cfa, row->rule.reg, row->rule.offset, row->rule.bp, row->rule.bx);
	}
	ck_assert_uint_eq(rows.v.n, n + 1);
	ck_assert_uint_eq(rows.v.at[0].rule.cfa, UNWIND_CFA_END);
	ck_assert_uint_eq(rows.v.at[n].end, MADE_GO_OFFSET + 16 + function.size);
	vec_deinit(&rows.v);
	elf_image_free(image);
	vec_deinit(&file.b);
}

#define ASSERT_ROWS(function, ...) \
	assert_rows(function, (const struct expected[]){ __VA_ARGS__ }, ARRAY_SIZE(((const struct expected[]){ __VA_ARGS__ })))

START_TEST(a_frame_is_known_from_its_first_push)
{
	/* nop; push rbp; mov rbp, rsp; sub rsp, 16; nop; add rsp, 16; pop rbp; ret; nop of padding */
	ASSERT_ROWS(((struct made_go_function){ .name = "main.f",
		CODE(0x90, 0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 16, 0x90, 0x48, 0x83, 0xc4, 16, 0x5d, 0xc3, 0x90),
		DEPTHS({ 2, 0 }, { 7, 8 }, { 5, 24 }, { 1, 8 }, { 1, 0 }) }),
		{ 0, BY_SP(0, 0, NO) }, { 2, BY_SP(8, -2, NO) }, { 9, BY_SP(24, -2, NO) }, { 14, BY_SP(8, -2, NO) }, { 15, BY_SP(0, 0, NO) });
}
END_TEST

START_TEST(a_frame_of_older_versions_is_known_from_its_first_store)
{
	/* sub rsp, 24; mov [rsp + 16], rbp; lea rbp, [rsp + 16]; mov rbp, [rsp + 16]; add rsp, 24; ret */
	ASSERT_ROWS(((struct made_go_function){ .name = "main.f",
		CODE(0x48, 0x83, 0xec, 24, 0x48, 0x89, 0x6c, 0x24, 16, 0x48, 0x8d, 0x6c, 0x24, 16, 0x48, 0x8b, 0x6c, 0x24, 16, 0x48,
			0x83, 0xc4, 24, 0xc3),
		DEPTHS({ 4, 0 }, { 19, 24 }, { 1, 0 }) }),
		{ 0, BY_SP(0, 0, NO) }, { 4, BY_SP(24, 0, NO) }, { 9, BY_SP(24, -2, NO) }, { 23, BY_SP(0, 0, NO) });
	/* sub rsp, 8; mov [rsp], rbp; lea rbp, [rsp]; and 0x108 with offsets of four bytes. */
	ASSERT_ROWS(((struct made_go_function){ .name = "main.f",
		CODE(0x48, 0x83, 0xec, 8, 0x48, 0x89, 0x2c, 0x24, 0x48, 0x8d, 0x2c, 0x24, 0x90), DEPTHS({ 4, 0 }, { 9, 8 }) }),
		{ 0, BY_SP(0, 0, NO) }, { 4, BY_SP(8, 0, NO) }, { 8, BY_SP(8, -2, NO) });
	ASSERT_ROWS(((struct made_go_function){ .name = "main.f",
		CODE(0x48, 0x81, 0xec, 8, 1, 0, 0, 0x48, 0x89, 0xac, 0x24, 0, 1, 0, 0, 0x90), DEPTHS({ 7, 0 }, { 9, 0x108 }) }),
		{ 0, BY_SP(0, 0, NO) }, { 7, BY_SP(0x108, 0, NO) }, { 15, BY_SP(0x108, -2, NO) });
}
END_TEST

START_TEST(code_that_saves_no_frame_pointer_leaves_the_callers)
{
	/* sub rsp, 24; mov [rsp + 8], rbp: not where a frame has it. */
	ASSERT_ROWS(((struct made_go_function){ .name = "main.f",
		CODE(0x48, 0x83, 0xec, 24, 0x48, 0x89, 0x6c, 0x24, 8, 0x90), DEPTHS({ 4, 0 }, { 6, 24 }) }),
		{ 0, BY_SP(0, 0, NO) }, { 4, BY_SP(24, 0, NO) });
	/* push rax */
	ASSERT_ROWS(((struct made_go_function){ .name = "main.f", CODE(0x50, 0x90), DEPTHS({ 1, 0 }, { 1, 8 }) }),
		{ 0, BY_SP(0, 0, NO) }, { 1, BY_SP(8, 0, NO) });
	ASSERT_ROWS(((struct made_go_function){ .name = "main.f", CODE(0x90, 0x90), DEPTHS({ 1, 0 }, { 1, -8 }) }),
		{ 0, BY_SP(0, 0, NO) }, { 1, { .cfa = UNWIND_CFA_UNKNOWN } });
}
END_TEST

START_TEST(what_c_calls_keeps_rbx)
{
	/* sub rsp, 48; mov [rsp + 40], rbp; lea rbp, [rsp + 40]; mov [rsp], rbx; nop; add rsp, 48; ret */
	ASSERT_ROWS(((struct made_go_function){ .name = "crosscall2",
		CODE(0x48, 0x83, 0xec, 48, 0x48, 0x89, 0x6c, 0x24, 40, 0x48, 0x8d, 0x6c, 0x24, 40, 0x48, 0x89, 0x1c, 0x24, 0x90, 0x48,
			0x83, 0xc4, 48, 0xc3),
		DEPTHS({ 4, 0 }, { 19, 48 }, { 1, 0 }) }),
		{ 0, BY_SP(0, 0, 0) }, { 4, BY_SP(48, 0, 0) }, { 9, BY_SP(48, -2, 0) }, { 18, BY_SP(48, -2, -7) }, { 23, BY_SP(0, 0, 0) });
	/* push rbp; mov rbp, rsp; sub rsp, 48; mov [rsp + 40], rbp; lea rbp, [rsp + 40]; mov [rsp], rbx; nop */
	ASSERT_ROWS(((struct made_go_function){ .name = "crosscall2",
		CODE(0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 48, 0x48, 0x89, 0x6c, 0x24, 40, 0x48, 0x8d, 0x6c, 0x24, 40, 0x48, 0x89,
			0x1c, 0x24, 0x90),
		DEPTHS({ 1, 0 }, { 7, 8 }, { 15, 56 }) }),
		{ 0, BY_SP(0, 0, 0) }, { 1, BY_SP(8, -2, 0) }, { 8, BY_SP(56, -2, 0) }, { 22, BY_SP(56, -2, -8) });
}
END_TEST

START_TEST(a_frame_is_followed_by_rbp_where_rsp_is_set_by_hand)
{
	/* push rbp; mov rbp, rsp; sub rsp, 16; mov rsp, rdx; add rsp, 16; pop rbp; ret */
	ASSERT_ROWS(((struct made_go_function){ .name = "main.f", .flags = MADE_GO_SP_WRITE,
		CODE(0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 16, 0x48, 0x89, 0xd4, 0x48, 0x83, 0xc4, 16, 0x5d, 0xc3),
		DEPTHS({ 1, 0 }, { 7, 8 }, { 7, 24 }, { 1, 8 }, { 1, 0 }) }),
		{ 0, BY_SP(0, 0, NO) }, { 1, BY_SP(8, -2, NO) }, { 4, BY_BP(16, -2) }, { 16, BY_SP(0, 0, NO) });
	/* The add of older versions comes when rbp is the caller's again. */
	ASSERT_ROWS(((struct made_go_function){ .name = "main.f", .flags = MADE_GO_SP_WRITE,
		CODE(0x48, 0x83, 0xec, 24, 0x48, 0x89, 0x6c, 0x24, 16, 0x48, 0x8d, 0x6c, 0x24, 16, 0x48, 0x8b, 0x6c, 0x24, 16, 0x48,
			0x83, 0xc4, 24, 0xc3),
		DEPTHS({ 4, 0 }, { 19, 24 }, { 1, 0 }) }),
		{ 0, BY_SP(0, 0, NO) }, { 4, BY_SP(24, 0, NO) }, { 9, BY_SP(24, -2, NO) }, { 14, BY_BP(16, -2) },
		{ 19, BY_SP(24, -2, NO) }, { 23, BY_SP(0, 0, NO) });
}
END_TEST

START_TEST(a_walk_ends_where_the_goroutine_is_left)
{
	/* nop; mov rsp, [r14 + 0x38]; push rax; call r12 */
	ASSERT_ROWS(((struct made_go_function){ .name = "runtime.mcall", .flags = MADE_GO_SP_WRITE,
		CODE(0x90, 0x49, 0x8b, 0x66, 0x38, 0x50, 0x41, 0xff, 0xd4), DEPTHS({ 6, 0 }, { 3, 8 }) }),
		{ 0, BY_SP(0, 0, NO) }, { 5, { .cfa = UNWIND_CFA_END } });
	/* mov rsp, [rbx]; nop and more */
	ASSERT_ROWS(((struct made_go_function){ .name = "gogo", .flags = MADE_GO_SP_WRITE,
		CODE(0x48, 0x8b, 0x23, 0x90, 0x90, 0x90, 0x90, 0x90), DEPTHS({ 8, 0 }) }),
		{ 0, BY_SP(0, 0, NO) }, { 3, { .cfa = UNWIND_CFA_END } });
}
END_TEST

START_TEST(a_handler_returns_to_the_interrupted_code)
{
	const struct made_go_function functions[] = {
		start_function, { .name = "main.f", CODE(0x90, 0xcc), DEPTHS({ 1, 0 }) },
		{ .name = "runtime.sigreturn__sigaction", CODE(0x0f, 0x05), DEPTHS({ 2, 0 }) },
		/* On top of the runtime's stacks, but the kernel calls it. */
		{ .name = "runtime.sigtramp", .flags = MADE_GO_TOP, CODE(0x90, 0x90), DEPTHS({ 2, 0 }) },
		{ .name = "runtime.goexit", .flags = MADE_GO_TOP, CODE(0x90, 0x90), DEPTHS({ 2, 0 }) },
		{ .name = "in_c", CODE(0x90, 0x90) },
	};
	static const struct { uint32_t start, end; uint8_t cfa; } expected[] = {
		{ 0, 16, UNWIND_CFA_END }, { 16, 17, UNWIND_CFA_REGISTER }, { 17, 20, UNWIND_CFA_SIGNAL },
		{ 20, 22, UNWIND_CFA_REGISTER }, { 22, 24, UNWIND_CFA_END },
	};
	struct made_go file = made_go(functions, ARRAY_SIZE(functions), 0);
	struct elf_image *image;
	struct rows rows = {0};

	ck_assert_int_eq(elf_image_open_memory(file.b.at, file.b.n, &image), 0);
	ck_assert_int_eq(unwind_go_rows(image, add_row, &rows), 0);
	ck_assert_uint_eq(rows.v.n, ARRAY_SIZE(expected));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		ck_assert_uint_eq(rows.v.at[i].start, MADE_GO_OFFSET + expected[i].start);
		ck_assert_uint_eq(rows.v.at[i].end, MADE_GO_OFFSET + expected[i].end);
		ck_assert_uint_eq(rows.v.at[i].rule.cfa, expected[i].cfa);
	}
	vec_deinit(&rows.v);
	elf_image_free(image);
	vec_deinit(&file.b);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		every_go_that_is_here_can_build, each_instruction_of_a_running_program_can_be_walked_from, a_program_of_c_has_no_rows,
		a_frame_is_known_from_its_first_push, a_frame_of_older_versions_is_known_from_its_first_store,
		code_that_saves_no_frame_pointer_leaves_the_callers, what_c_calls_keeps_rbx,
		a_frame_is_followed_by_rbp_where_rsp_is_set_by_hand, a_walk_ends_where_the_goroutine_is_left,
		a_handler_returns_to_the_interrupted_code,
	};
	int r;

	build_everything();
	r = unit_main("unwind_go", tests, ARRAY_SIZE(tests));
	remove_everything();
	return r;
}
