/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The work comes with a plugin that is mapped only 300 ms after start, so that whoever looks at the mappings just once
 * misses it. The plugin lies beside the program: <program>-plugin.so. `dlopen [SECONDS]`
 */
#include "truth.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *open_plugin(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof "-plugin.so");
	void *plugin;

	if (n < 0)
		exit(71);
	snprintf(path + n, sizeof path - (size_t)n, "-plugin.so");
	plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!plugin) {
		fprintf(stderr, "%s\n", dlerror());
		exit(66);
	}
	return plugin;
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	struct share shares[] = {{"alpha", 50, NULL, 0}, {"beta", 30, NULL, 0}, {"gamma", 20, NULL, 0}};
	void *plugin;

	usleep(300 * 1000);
	plugin = open_plugin();
	for (int i = 0; i < 3; i++) {
		*(void **)&shares[i].burn = dlsym(plugin, shares[i].name);
		if (!shares[i].burn)
			return 66;
	}
	truth_spend(shares, 3, seconds);
	truth_print(shares, 3);
	return 0;
}
