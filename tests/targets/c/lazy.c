/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Half of the time is spent in the dynamic linker: bind_lazily loads a plugin, which calls a thousand functions of
 * another library through stubs that are bound by their first call, and unloads it. The other half in alpha.
 * The plugin lies beside the program: <program>-plugin.so. `lazy [SECONDS]`
 */
#include "truth.h"
#include "work.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char path[PATH_MAX];

__attribute__((noinline)) static void bind_lazily(uint64_t n_rounds)
{
	/* About 1 ms each, as many rounds of alpha take. */
	for (uint64_t i = 0; i <= n_rounds; i += 500000) {
		void *plugin = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
		unsigned (*call_all)(void);

		*(void **)&call_all = plugin ? dlsym(plugin, "call_all") : NULL;
		if (!call_all || call_all() != 1000) {
			fprintf(stderr, "%s\n", plugin ? path : dlerror());
			exit(66);
		}
		dlclose(plugin);
	}
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof "-plugin.so");
	struct share shares[] = {
		{"bind_lazily", 50, bind_lazily, 0},
		{"alpha", 50, alpha, 0},
	};

	if (n < 0)
		return 71;
	snprintf(path + n, sizeof path - (size_t)n, "-plugin.so");
	truth_spend(shares, 2, seconds);
	truth_print(shares, 2);
	return 0;
}
