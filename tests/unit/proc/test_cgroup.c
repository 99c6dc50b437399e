/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup.h"

#include <string.h>

#include "main.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct expectation {
	const char *text;
	const char *path, *unit, *service, *container;
} table[] = {
	/* Unified. */
	{ "0::/system.slice/nginx.service\n", "/system.slice/nginx.service", "nginx.service", "nginx", NULL },
	{ "0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n",
	  "/system.slice/system-postgresql.slice/postgresql@15-main.service", "postgresql@15-main.service", "postgresql", NULL },
	{ "0::/system.slice/a\\x2db.service\n", "/system.slice/a\\x2db.service", "a-b.service", "a-b", NULL },
	{ "0::/system.slice/ssh.service/inner\n", "/system.slice/ssh.service/inner", "ssh.service", "ssh", NULL },
	{ "0::/init.scope\n", "/init.scope", "init.scope", NULL, NULL },
	{ "0::/\n", "/", NULL, NULL, NULL },
	{ "", "/", NULL, NULL, NULL },
	/* Who logged in is no service; what he runs as a service is one. */
	{ "0::/user.slice/user-1000.slice/session-3.scope\n", "/user.slice/user-1000.slice/session-3.scope",
	  "session-3.scope", NULL, NULL },
	{ "0::/user.slice/user-1000.slice/user@1000.service/init.scope\n",
	  "/user.slice/user-1000.slice/user@1000.service/init.scope", "init.scope", NULL, NULL },
	{ "0::/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service\n",
	  "/user.slice/user-1000.slice/user@1000.service/app.slice/sync.service", "sync.service", "sync", NULL },
	{ "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-1234.scope\n",
	  "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-1234.scope",
	  "app-gnome-firefox-1234.scope", NULL, NULL },
	{ "0::/system.slice/run-u17.service\n", "/system.slice/run-u17.service", "run-u17.service", NULL, NULL },
	{ "0::/system.slice/run-updates.service\n", "/system.slice/run-updates.service", "run-updates.service",
	  "run-updates", NULL },
	/* The many of v1, alone and beside v2. */
	{ "12:pids:/system.slice/cron.service\n11:cpuset:/\n1:name=systemd:/system.slice/cron.service\n",
	  "/system.slice/cron.service", "cron.service", "cron", NULL },
	{ "12:pids:/\n1:name=systemd:/system.slice/cron.service\n0::/system.slice/cron.service\n",
	  "/system.slice/cron.service", "cron.service", "cron", NULL },
	{ "2:cpu,cpuacct:/\n1:name=systemd:/\n0::/system.slice/x.service\n", "/system.slice/x.service", "x.service", "x", NULL },
	{ "9:name=systemd:/\n4:memory:/process_api/88\n0::/\n", "/process_api/88", NULL, NULL, NULL },
	/* Containers. */
	{ "0::/system.slice/docker-" HEX ".scope\n", "/system.slice/docker-" HEX ".scope", "docker-" HEX ".scope", NULL, HEX },
	{ "12:memory:/docker/" HEX "\n1:name=systemd:/docker/" HEX "\n0::/\n", "/docker/" HEX, NULL, NULL, HEX },
	{ "0::/system.slice/docker.service/" HEX "\n", "/system.slice/docker.service/" HEX, "docker.service", NULL, HEX },
	{ "0::/machine.slice/libpod-" HEX ".scope/container\n", "/machine.slice/libpod-" HEX ".scope/container",
	  "libpod-" HEX ".scope", NULL, HEX },
	{ "0::/machine.slice/libpod-conmon-" HEX ".scope\n", "/machine.slice/libpod-conmon-" HEX ".scope",
	  "libpod-conmon-" HEX ".scope", "libpod-conmon-" HEX, NULL },
	{ "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podab_cd.slice/cri-containerd-" HEX ".scope\n",
	  "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podab_cd.slice/cri-containerd-" HEX ".scope",
	  "cri-containerd-" HEX ".scope", NULL, HEX },
	{ "0::/kubepods/besteffort/pod12345678-1234-1234-1234-123456789abc/" HEX "\n",
	  "/kubepods/besteffort/pod12345678-1234-1234-1234-123456789abc/" HEX, NULL, NULL, HEX },
	{ "0::/lxc/web\n", "/lxc/web", NULL, NULL, "web" },
	{ "0::/lxc.payload.web/system.slice/apache2.service\n", "/lxc.payload.web/system.slice/apache2.service",
	  "apache2.service", "apache2", "web" },
	/* A system inside a container: its unit names the service, the container stays known. */
	{ "0::/system.slice/docker-" HEX ".scope/system.slice/app.service\n",
	  "/system.slice/docker-" HEX ".scope/system.slice/app.service", "app.service", "app", HEX },
	/* From a cgroup namespace elsewhere, and a group that is gone. */
	{ "0::/../../other.service\n", "/../../other.service", "other.service", "other", NULL },
	{ "0::/system.slice/gone.service (deleted)\n", "/system.slice/gone.service", "gone.service", "gone", NULL },
	/* No sense. */
	{ "nonsense", "/", NULL, NULL, NULL },
	{ "0::", "/", NULL, NULL, NULL },
	{ ":::::\n0:/\n", "/", NULL, NULL, NULL },
	{ "0::/.service\n", "/.service", NULL, NULL, NULL },
	{ "0::/@.service\n", "/@.service", "@.service", "@", NULL },
};

static void assert_string(const char *text, const char *is, const char *wanted)
{
	if (!wanted)
		ck_assert_msg(!is, "%s: %s instead of nothing", text, is);
	else
		ck_assert_msg(is && !strcmp(is, wanted), "%s: %s instead of %s", text, is ? is : "nothing", wanted);
}

START_TEST(each_layout_of_groups_names_unit_service_and_container)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct cgroup cgroup;

		ck_assert_int_eq(cgroup_parse(table[i].text, strlen(table[i].text), &cgroup), 0);
		assert_string(table[i].text, cgroup.path, table[i].path);
		assert_string(table[i].text, cgroup.unit, table[i].unit);
		assert_string(table[i].text, cgroup.service, table[i].service);
		assert_string(table[i].text, cgroup.container, table[i].container);
		cgroup_deinit(&cgroup);
	}
}
END_TEST

START_TEST(an_escape_of_nothing_is_left_as_it_stands)
{
	static const char *const pairs[][2] = {
		{ "a\\x2db", "a-b" }, { "\\x2f", "/" }, { "\\x00", "\\x00" }, { "\\x2", "\\x2" }, { "\\", "\\" }, { "", "" },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		char *name = cgroup_unescape(pairs[i][0], strlen(pairs[i][0]));

		ck_assert_str_eq(name, pairs[i][1]);
		free(name);
	}
}
END_TEST

UNIT_TESTS("cgroup", each_layout_of_groups_names_unit_service_and_container, an_escape_of_nothing_is_left_as_it_stands)
