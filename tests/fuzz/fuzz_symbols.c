/* SPDX-License-Identifier: Apache-2.0 */
/* A symbol's name, demangled and made text; then the same bytes as kallsyms. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cleanup.h"
#include "demangle.h"
#include "fs.h"
#include "names.h"
#include "symbolizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one_name(const char *name)
{
	char demangled[DEMANGLE_MAX];
	size_t n = demangle(name, demangled);
	struct names *names = names_new();

	if (n >= DEMANGLE_MAX || (n && strlen(demangled) > n))
		abort();
	if (names)
		names_add_frame(names, &(struct frame){ .name = n ? demangled : name, .system_name = name });
	names_free(names);
}

static void kallsyms(const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
	const uint64_t addresses[] = { 0, 1, 0xffffffff81000000, 0xffffffff81000123, 0xffffffffc0a00000, UINT64_MAX };
	struct symbolizer *s = NULL;
	struct names *names;

	if (fd < 0 || fs_write_all(fd, data, size) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
	    symbolizer_open(SYMBOLIZER_KERNEL, fd, &s) != 0)
		return;
	if (symbolizer_resolve(s, addresses, ARRAY_SIZE(addresses), &names) == 0)
		names_free(names);
	symbolizer_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *name = size ? strndup((const char *)data, size) : NULL;

	if (!name)
		return 0;
	one_name(name);
	free(name);
	kallsyms(data, size);
	return 0;
}
