/* SPDX-License-Identifier: Apache-2.0 */
#include "identities.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "config.h"
#include "map.h"
#include "process.h"

enum {
	SHORT_CONTAINER = 12,                /* how `docker ps` and its kin show container ids */
	MAX_USERS = 1024,                    /* names remembered; a machine has fewer users that run programs */
};

struct identities {
	int proc;
	const struct config *config;
	bool wants_command_line, wants_user; /* some target asks for them */
	struct map users;                    /* uid -> char *, NULL when it has no name */
};

/* What targets are compared with; NULL: not known. */
struct subject {
	const char *unit, *exe, *comm, *command_line, *cgroup, *container, *user;
	char uid[16], pid[16];
};

DEFINE_CLEANUP(struct identity, identity_unref);

struct identity *identity_ref(struct identity *identity)
{
	if (identity)
		identity->n_references++;
	return identity;
}

struct identity *identity_unref(struct identity *identity)
{
	if (!identity || --identity->n_references)
		return NULL;
	cgroup_deinit(&identity->cgroup);
	free(identity->exe);
	free(identity->service);
	labels_deinit(&identity->labels);
	free(identity);
	return NULL;
}

static struct identity *identity_new(void)
{
	struct identity *identity = calloc(1, sizeof(*identity));

	if (identity)
		identity->n_references = 1;
	return identity;
}

int identities_new(int proc, const struct config *config, struct identities **ret)
{
	struct identities *identities = calloc(1, sizeof(*identities));

	if (!identities)
		return -ENOMEM;
	identities->proc = proc;
	map_init(&identities->users, sizeof(uid_t), sizeof(char *));
	identities_set_config(identities, config);
	*ret = identities;
	return 0;
}

static void forget_users(struct identities *identities)
{
	const void *uid;
	void *name;

	for (size_t cursor = 0; map_next(&identities->users, &cursor, &uid, &name);)
		free(*(char **)name);
	map_clear(&identities->users);
}

struct identities *identities_free(struct identities *identities)
{
	if (!identities)
		return NULL;
	forget_users(identities);
	map_deinit(&identities->users);
	free(identities);
	return NULL;
}

void identities_set_config(struct identities *identities, const struct config *config)
{
	identities->config = config;
	identities->wants_command_line = identities->wants_user = false;
	for (size_t i = 0; i < config->n_targets; i++) {
		identities->wants_command_line |= config->targets[i].match.cmdline != NULL;
		identities->wants_user |= config->targets[i].match.user != NULL;
	}
	/* Users may have come or changed as well. */
	forget_users(identities);
}

/* NULL when the user has no name. Asked once: the answer may come from a directory server far away. */
static const char *user_name(struct identities *identities, uid_t uid)
{
	struct passwd entry, *found = NULL;
	char buffer[1024];
	void *value;

	value = map_get(&identities->users, &uid);
	if (value)
		return *(char **)value;
	if (identities->users.n >= MAX_USERS)
		forget_users(identities);
	getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found);
	if (map_put(&identities->users, &uid, &value) < 0)
		return NULL;
	if (found)
		*(char **)value = strdup(found->pw_name);
	return *(char **)value;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool matches(const char *pattern, const char *value)
{
	return !pattern || (value && fnmatch(pattern, value, 0) == 0);
}

static bool matches_either(const char *pattern, const char *a, const char *b)
{
	return !pattern || (a && fnmatch(pattern, a, 0) == 0) || (b && fnmatch(pattern, b, 0) == 0);
}

static bool matches_exe(const char *pattern, const char *exe)
{
	return !pattern || (exe && fnmatch(pattern, strchr(pattern, '/') ? exe : base_name(exe), 0) == 0);
}

static bool matches_container(const char *pattern, const char *container)
{
	char brief[SHORT_CONTAINER + 1];

	if (!pattern || !container)
		return !pattern;
	snprintf(brief, sizeof(brief), "%s", container);
	return matches_either(pattern, container, brief);
}

static const struct config_target *find_target(const struct config *config, const struct subject *subject)
{
	for (size_t i = 0; i < config->n_targets; i++) {
		const struct config_match *match = &config->targets[i].match;

		if (matches(match->unit, subject->unit) && matches_exe(match->exe, subject->exe) &&
		    matches(match->comm, subject->comm) && matches(match->cmdline, subject->command_line) &&
		    matches(match->cgroup, subject->cgroup) && matches_container(match->container, subject->container) &&
		    matches_either(match->user, subject->user, *subject->uid ? subject->uid : NULL) &&
		    matches(match->pid, subject->pid))
			return &config->targets[i];
	}
	return NULL;
}

static bool is_named(const char *name)
{
	return name && *name;
}

static char *name_service(const struct identity *identity, const struct config_target *target, const char *comm)
{
	if (target && is_named(target->service))
		return strdup(target->service);
	if (is_named(identity->cgroup.service))
		return strdup(identity->cgroup.service);
	if (is_named(identity->cgroup.container))
		return strndup(identity->cgroup.container, SHORT_CONTAINER);
	if (identity->exe && is_named(base_name(identity->exe)))
		return strdup(base_name(identity->exe));
	return strdup(is_named(comm) ? comm : "unknown");
}

static int read_labels(struct identities *identities, const struct config_target *target, uint32_t thread,
		struct labels *labels)
{
	for (size_t i = 0; i < target->n_env_labels; i++) {
		_cleanup_free_ char *value = NULL;
		int r = process_read_variable(identities->proc, thread, target->env_labels[i].variable, &value);

		if (r == -ENOMEM || (value && labels_add(labels, target->env_labels[i].label, value) < 0))
			return -ENOMEM;
	}
	return 0;
}

/* With cgroup, exe and uid known: the rest. `thread`: as for identities_read(); 0: it is gone. */
static int finish(struct identities *identities, struct identity *identity, uint32_t pid, const char *comm,
		const char *command_line, uint32_t thread)
{
	struct subject subject = {
		.unit = identity->cgroup.unit,
		.exe = identity->exe,
		.comm = comm,
		.command_line = command_line,
		.cgroup = identity->cgroup.path,
		.container = identity->cgroup.container,
	};
	const struct config_target *target;

	snprintf(subject.pid, sizeof(subject.pid), "%" PRIu32, pid);
	if (identity->has_uid) {
		snprintf(subject.uid, sizeof(subject.uid), "%" PRIu32, identity->uid);
		subject.user = identities->wants_user ? user_name(identities, identity->uid) : NULL;
	}
	target = find_target(identities->config, &subject);
	identity->in_depth = target != NULL;
	if (target && thread && read_labels(identities, target, thread, &identity->labels) < 0)
		return -ENOMEM;
	identity->service = name_service(identity, target, comm);
	return identity->service ? 0 : -ENOMEM;
}

int identities_read(struct identities *identities, uint32_t pid, uint32_t thread, const char *comm, struct identity **ret)
{
	_cleanup_(identity_unref_p) struct identity *identity = identity_new();
	_cleanup_free_ char *command_line = NULL;
	struct process_status status;
	int r;

	if (!identity)
		return -ENOMEM;
	r = cgroup_read(identities->proc, pid, &identity->cgroup);
	if (r)
		return r;
	/* What can't be read for want of a right, or because it is going, is left unknown. */
	r = process_read_exe(identities->proc, thread, &identity->exe);
	if (r == -ENOMEM)
		return r;
	if (process_read_status(identities->proc, pid, &status) == 0) {
		identity->uid = status.effective_uid;
		identity->has_uid = true;
		identity->namespace_pid = status.namespace_pid;
	}
	if (identities->wants_command_line)
		process_read_command_line(identities->proc, thread, &command_line);
	r = finish(identities, identity, pid, comm, command_line, thread);
	if (r < 0)
		return r;
	*ret = TAKE(identity);
	return 0;
}

static int copy_string(const char *from, char **ret)
{
	*ret = from ? strdup(from) : NULL;
	return from && !*ret ? -ENOMEM : 0;
}

int identities_infer(struct identities *identities, uint32_t pid, const char *comm, const struct identity *origin,
		const char *exe, struct identity **ret)
{
	_cleanup_(identity_unref_p) struct identity *identity = identity_new();

	if (!identity || copy_string(exe, &identity->exe) < 0)
		return -ENOMEM;
	if (origin) {
		if (copy_string(origin->cgroup.path, &identity->cgroup.path) < 0 ||
		    copy_string(origin->cgroup.unit, &identity->cgroup.unit) < 0 ||
		    copy_string(origin->cgroup.service, &identity->cgroup.service) < 0 ||
		    copy_string(origin->cgroup.container, &identity->cgroup.container) < 0)
			return -ENOMEM;
		identity->uid = origin->uid;
		identity->has_uid = origin->has_uid;
	}
	if (finish(identities, identity, pid, comm, NULL, 0) < 0)
		return -ENOMEM;
	*ret = TAKE(identity);
	return 0;
}

int identities_kernel(struct identity **ret)
{
	struct identity *identity = identity_new();

	if (!identity)
		return -ENOMEM;
	identity->service = strdup("kernel");
	if (!identity->service) {
		identity_unref(identity);
		return -ENOMEM;
	}
	*ret = identity;
	return 0;
}
