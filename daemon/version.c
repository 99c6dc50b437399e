/* SPDX-License-Identifier: Apache-2.0 */
#include "version.h"

#include <bpf/libbpf.h>
#include <elfutils/version.h>
#include <libdeflate.h>
#include <stdint.h>
#include <sys/utsname.h>
#include <systemd/sd-daemon.h>
#include <yaml.h>
#include <zlib.h>

#include "check_host.h"

static const char *state_name(enum check_host_state state)
{
	return state == CHECK_HOST_OK ? "yes" : state == CHECK_HOST_DEGRADED ? "partly" : "no";
}

void version_print(FILE *f)
{
	struct check_host host;
	struct utsname kernel;

	uname(&kernel);
	fprintf(f, "tsprofd %s\n", TSPROFD_VERSION);
	fprintf(f, "profile kinds: cpu\n");
	fprintf(f, "libraries: libbpf %s, elfutils %d.%d, libyaml %s, libdeflate %s, zlib %s\n", libbpf_version_string(),
			_ELFUTILS_VERSION / 1000, _ELFUTILS_VERSION % 1000, yaml_get_version_string(),
			LIBDEFLATE_VERSION_STRING, zlibVersion());
	fprintf(f, "kernel: %s %s\n", kernel.release, kernel.machine);
	check_host(NULL, &host);
	for (size_t i = 0; i < host.n; i++)
		fprintf(f, "  %s: %s\n", host.abilities[i].name, state_name(host.abilities[i].state));
}
