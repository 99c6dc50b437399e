/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "fs.h"
#include "process.h"

/* A path may be PATH_MAX long in each of the hierarchies of v1, of which there are at most 16 or so. */
enum { MAX_TEXT = 64 << 10 };

struct part {
	const char *at;
	size_t length;
};

void cgroup_deinit(struct cgroup *cgroup)
{
	free(cgroup->path);
	free(cgroup->unit);
	free(cgroup->service);
	free(cgroup->container);
	*cgroup = (struct cgroup){ 0 };
}

static bool ends_with(struct part part, const char *suffix)
{
	size_t length = strlen(suffix);

	return part.length > length && !memcmp(part.at + part.length - length, suffix, length);
}

static bool starts_with(struct part part, const char *prefix)
{
	size_t length = strlen(prefix);

	return part.length >= length && !memcmp(part.at, prefix, length);
}

static struct part without(struct part part, const char *prefix, const char *suffix)
{
	size_t n = strlen(prefix);

	return (struct part){ part.at + n, part.length - n - strlen(suffix) };
}

static bool is_hex(struct part part)
{
	for (size_t i = 0; i < part.length; i++)
		if (!isdigit((unsigned char)part.at[i]) && (part.at[i] < 'a' || part.at[i] > 'f'))
			return false;
	return part.length > 0;
}

char *cgroup_unescape(const char *text, size_t length)
{
	char *name = malloc(length + 1), *to = name;

	if (!name)
		return NULL;
	for (size_t i = 0; i < length; to++) {
		unsigned int byte;

		/* \x00 would cut the name short: left as it stands. */
		if (length - i >= 4 && text[i] == '\\' && text[i + 1] == 'x' && isxdigit((unsigned char)text[i + 2]) &&
		    isxdigit((unsigned char)text[i + 3]) && sscanf(text + i + 2, "%2x", &byte) == 1 && byte) {
			*to = (char)byte;
			i += 4;
		} else {
			*to = text[i++];
		}
	}
	*to = '\0';
	return name;
}

/* The component that ends before `end`, going from the innermost to the root: false when there is none left. */
static bool part_before(const char *path, size_t *end, struct part *ret)
{
	while (*end > 0 && path[*end - 1] == '/')
		(*end)--;
	if (!*end)
		return false;
	ret->length = *end;
	while (*end > 0 && path[*end - 1] != '/')
		(*end)--;
	ret->at = path + *end;
	ret->length -= *end;
	return true;
}

/*
 * The container whose control group this component is, if it is one. Engines differ:
 *	docker-<64 hex>.scope, cri-containerd-<64 hex>.scope, crio-<64 hex>.scope, libpod-<64 hex>.scope  (systemd driver)
 *	/docker/<64 hex>, /kubepods/burstable/pod<uid>/<64 hex>, /libpod_parent/libpod-<64 hex>           (cgroupfs driver)
 *	/lxc/<name>, /lxc.payload.<name>, machine-<name>.scope                                           (whole systems)
 * libpod-conmon-<64 hex>.scope and crio-conmon-... hold the container's monitor, which is not inside it.
 */
static struct part container_of(struct part part)
{
	static const char *const prefixes[] = { "docker-", "cri-containerd-", "containerd-", "crio-", "libpod-" };
	static const struct part none;

	if (ends_with(part, ".scope"))
		part = without(part, "", ".scope");
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (starts_with(part, prefixes[i])) {
			part = without(part, prefixes[i], "");
			break;
		}
	if (part.length == 64 && is_hex(part))
		return part;
	if (starts_with(part, "lxc.payload."))
		return without(part, "lxc.payload.", "");
	return none;
}

/* Engines with the cgroupfs driver: the name alone does not say so, but the group around it does. */
static bool is_container_parent(const char *path, size_t end)
{
	struct part parent;

	return part_before(path, &end, &parent) &&
	       ((parent.length == 3 && !memcmp(parent.at, "lxc", 3)) || starts_with(parent, "garden"));
}

/*
 * Which units name a program. Not what tells only who logged in (session-3.scope, user@1000.service), not what
 * systemd-run numbered (run-u7.service, run-r<hex>.scope), not the scopes of a desktop, which have a pid in their
 * name (app-gnome-firefox-1234.scope), and not an engine's scope, which is the container.
 */
static bool names_a_service(struct part unit, bool in_user_manager)
{
	static const char *const numbered[] = { "run-r", "run-u", "run-p" };

	for (size_t i = 0; i < ARRAY_SIZE(numbered); i++)
		if (starts_with(unit, numbered[i]) && unit.length > 5 && isxdigit((unsigned char)unit.at[5]))
			return false;
	if (ends_with(unit, ".service"))
		return !starts_with(unit, "user@");
	if (starts_with(unit, "session-") || starts_with(unit, "init.scope") || in_user_manager)
		return false;
	return !container_of(unit).length;
}

/* "x" of x.service, x@1.service and x.scope. */
static char *service_of(struct part unit, bool in_user_manager)
{
	const char *at;

	if (!names_a_service(unit, in_user_manager))
		return NULL;
	unit = without(unit, "", ends_with(unit, ".service") ? ".service" : ".scope");
	at = memchr(unit.at, '@', unit.length);
	if (at && at > unit.at)
		unit.length = at - unit.at;
	return cgroup_unescape(unit.at, unit.length);
}

static int take_apart(const char *path, struct cgroup *ret)
{
	struct cgroup cgroup = { .path = strdup(*path ? path : "/") };
	size_t end = strlen(path);
	struct part part;

	if (!cgroup.path)
		return -ENOMEM;
	while (part_before(path, &end, &part)) {
		struct part container = container_of(part);

		if (!container.length && is_container_parent(path, end))
			container = part;
		if (container.length && !cgroup.container) {
			cgroup.container = cgroup_unescape(container.at, container.length);
			if (!cgroup.container)
				goto out_of_memory;
		}
		if (!cgroup.unit && (ends_with(part, ".service") || ends_with(part, ".scope"))) {
			cgroup.unit = cgroup_unescape(part.at, part.length);
			if (!cgroup.unit)
				goto out_of_memory;
			/* Of docker.service/<64 hex>, the engine's unit is not the container's service. */
			if (!cgroup.container || container.length)
				cgroup.service = service_of(part, strstr(path, "/user@") != NULL);
		}
	}
	*ret = cgroup;
	return 0;
out_of_memory:
	cgroup_deinit(&cgroup);
	return -ENOMEM;
}

/* How much a line "NUMBER:CONTROLLERS:PATH" tells of who keeps the process: systemd's own hierarchy most. */
static int rank(const char *line, const char **ret_path)
{
	const char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
	size_t length;

	if (!path || path[1] != '/')
		return 0;
	*ret_path = path + 1;
	/* The root of a hierarchy says only that nobody uses it. */
	if (!path[2])
		return 1;
	length = path - controllers - 1;
	if (length == 0)
		return 4;
	if (length == strlen("name=systemd") && !memcmp(controllers + 1, "name=systemd", length))
		return 5;
	/* Without systemd, an engine puts its containers into all hierarchies; "pids" and "memory" are never shared with others. */
	if (!memcmp(controllers + 1, "pids", MIN(length, 4)) || !memcmp(controllers + 1, "memory", MIN(length, 6)))
		return 3;
	return 2;
}

int cgroup_parse(const char *text, size_t size, struct cgroup *ret)
{
	_cleanup_free_ char *copy = strndup(text, size);
	const char *best = "/";
	int best_rank = 0;
	char *save = NULL, *end;

	if (!copy)
		return -ENOMEM;
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const char *path = NULL;
		int r = rank(line, &path);

		if (r > best_rank) {
			best_rank = r;
			best = path;
		}
	}
	/* A group that was removed while the process lives: kernel/cgroup/cgroup.c proc_cgroup_show(). */
	end = (char *)best + strlen(best);
	if (end - best > 10 && !strcmp(end - 10, " (deleted)"))
		end[-10] = '\0';
	return take_apart(best, ret);
}

int cgroup_read(int proc, uint32_t pid, struct cgroup *ret)
{
	_cleanup_free_ char *text = NULL;
	char path[32];
	size_t size;
	int r;

	snprintf(path, sizeof(path), "%u/cgroup", pid);
	r = fs_read(proc, path, MAX_TEXT, &text, &size);
	if (r == -ENOENT || r == -ESRCH)
		return PROCESS_E_GONE;
	if (r < 0)
		return r;
	return cgroup_parse(text, size, ret);
}
