// SPDX-License-Identifier: Apache-2.0
// Work and deep stacks spread over files: alpha is in the executable, beta in a library that it is linked with, gamma in
// one that is mapped 300 ms after start (<program>-plugin.so, beside it); DEPTH frames, in turns layers_descend,
// layers_library_descend and layers_plugin_descend, which all have frames of another shape. `layers [SECONDS [DEPTH]]`
#include "layers.hpp"
#include "work.hpp"

#include <cstdlib>
#include <dlfcn.h>
#include <iostream>
#include <string>
#include <unistd.h>

namespace {

unsigned n_left;

struct Guard {
	~Guard() { n_left++; }
};

template <typename Function> Function find(void *plugin, const char *name)
{
	void *found = dlsym(plugin, name);

	if (!found) {
		std::cerr << dlerror() << "\n";
		std::exit(66);
	}
	return reinterpret_cast<Function>(found);
}

void *open_plugin()
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path);
	void *plugin = dlopen((std::string(path, n < 0 ? 0 : static_cast<std::size_t>(n)) + "-plugin.so").c_str(), RTLD_NOW);

	if (!plugin) {
		std::cerr << dlerror() << "\n";
		std::exit(66);
	}
	return plugin;
}

} // namespace

extern "C" {

[[gnu::noinline]] void layers_alpha(std::uint64_t n_rounds)
{
	work::alpha(n_rounds);
	__asm__ volatile("");
}

[[gnu::noinline]] unsigned layers_descend(const Plan &plan, unsigned depth)
{
	Guard guard;

	return go_on(plan, depth) + 1;
}
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	int depth = argc > 2 ? std::atoi(argv[2]) : 64;
	share shares[] = {
		{"alpha", 50, layers_alpha, 0},
		{"beta", 30, layers_library_beta, 0},
		{"gamma", 20, nullptr, 0},
	};
	Plan plan = {{layers_descend, layers_library_descend, nullptr}, shares, seconds};

	if (depth < 1 || depth > 20000)
		return 64;
	usleep(300 * 1000);
	void *plugin = open_plugin();
	plan.layers[2] = find<Plan::Descend>(plugin, "layers_plugin_descend");
	shares[2].burn = find<void (*)(std::uint64_t)>(plugin, "layers_plugin_gamma");
	if (layers_descend(plan, static_cast<unsigned>(depth)) != static_cast<unsigned>(depth))
		return 70;
	truth_print(shares, 3);
}
