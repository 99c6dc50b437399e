/* SPDX-License-Identifier: Apache-2.0 */
#include "machinery.h"

#include <stddef.h>
#include <string.h>

#include "cleanup.h"

static bool has_prefix(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

static bool is_one_of(const char *text, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(text, names[i]))
			return true;
	return false;
}

static bool begins_like_one_of(const char *text, const char *const *prefixes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (has_prefix(text, prefixes[i]))
			return true;
	return false;
}

bool machinery_is_file(const char *path)
{
	static const char *const names[] = {
		"libc", "libpthread", "librt", "libstdc++", "libc++", "libgcc_s", "ld-linux-x86-64", "ld-musl-x86_64", "libjvm",
	};
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		/* libc.so.6, libc-2.31.so, libc.musl-x86_64.so.1 */
		if (has_prefix(base, names[i]) && (base[strlen(names[i])] == '.' || base[strlen(names[i])] == '-'))
			return true;
	return false;
}

/* Without the type that templates of C++ return, and without what Rust writes before a trait's function. */
static const char *skip_type(const char *name)
{
	size_t n = strcspn(name, "(<");

	while (n && name[n - 1] != ' ')
		n--;
	name += n;
	return *name == '<' ? name + 1 : name;
}

bool machinery_is_function(const char *name)
{
	/* C++ and Rust, then Go: the runtime, and what its library waits in. */
	static const char *const prefixes[] = {
		"std::", "core::", "alloc::", "__gnu_cxx::", "runtime.", "runtime/", "internal/", "syscall.",
	};
	/* How threads of Go begin where there is cgo (src/runtime/cgo/gcc_amd64.S, gcc_linux_amd64.c, asm_amd64.s). */
	static const char *const names[] = { "crosscall1", "crosscall_amd64", "threadentry" };

	return begins_like_one_of(skip_type(name), prefixes, ARRAY_SIZE(prefixes)) || is_one_of(name, names, ARRAY_SIZE(names));
}

/* The path of the package ends at the first dot behind its last slash; a type, or what a generic function is made of, may have slashes, too. */
static size_t go_package_length(const char *name)
{
	size_t n = strcspn(name, "([{"), slash = n;

	while (slash && name[slash - 1] != '/')
		slash--;
	return slash + strcspn(name + slash, ".");
}

bool machinery_is_go_library(const char *name)
{
	/* The folders of src/ in Go 1.18 to 1.27. */
	static const char *const folders[] = {
		"archive", "bufio", "bytes", "cmp", "compress", "container", "context", "crypto", "database", "debug", "embed", "encoding", "errors", "expvar",
		"flag", "fmt", "go", "hash", "html", "image", "index", "internal", "io", "iter", "log", "maps", "math", "mime", "net", "os", "path", "plugin",
		"reflect", "regexp", "runtime", "slices", "sort", "strconv", "strings", "structs", "sync", "syscall", "testing", "text", "time", "unicode",
		"unique", "unsafe", "uuid", "vendor", "weak",
	};
	size_t package = go_package_length(name), first = MIN(strcspn(name, "/"), package);

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (strlen(folders[i]) == first && !strncmp(name, folders[i], first))
			return name[package] == '.';
	return false;
}

bool machinery_is_runtime(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return has_prefix(slash ? slash + 1 : path, "libjvm.so") || (name && has_prefix(name, "runtime."));
}

bool machinery_accepts(const char *name)
{
	static const char *const names[] = { "accept", "accept4", "__libc_accept", "__libc_accept4", "internal/poll.(*FD).Accept" };

	return is_one_of(name, names, ARRAY_SIZE(names));
}

bool machinery_contends(const char *name)
{
	/* HotSpot src/hotspot/share/runtime/objectMonitor.cpp; CPython Python/ceval_gil.h; glibc nptl/pthread_rwlock_common.c */
	static const char *const prefixes[] = { "ObjectMonitor::enter", "ObjectMonitor::EnterI", "ObjectSynchronizer::enter" };

	return begins_like_one_of(name, prefixes, ARRAY_SIZE(prefixes)) || !strcmp(name, "take_gil") || strstr(name, "rwlock");
}

bool machinery_interprets(const char *name)
{
	/* CPython since 3.6 and before, Ruby since 2.7 and before, PHP, Perl */
	static const char *const names[] = {
		"_PyEval_EvalFrameDefault", "PyEval_EvalFrameEx", "rb_vm_exec", "vm_exec_core", "execute_ex", "Perl_runops_standard",
	};

	return is_one_of(name, names, ARRAY_SIZE(names));
}
