/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_arena.h"
#include "config_bind.h"
#include "config_check.h"
#include "config_yaml.h"
#include "diag.h"
#include "fs.h"
#include "vec.h"

/* The commented example has 9 KiB. */
static const size_t max_file_bytes = 1024 * 1024;
static const size_t max_drop_ins = 256;

/* "Anything called tsiot-*", when nothing is said about targets. */
static const char default_targets[] =
	"profiling: {targets: [{match: {unit: 'tsiot-*'}}, {match: {exe: 'tsiot-*'}}, {match: {comm: 'tsiot-*'}}]}";

/* What config_free() gets is the first member. */
struct owned_config {
	struct config config;
	struct config_arena *arena;
};

struct loader {
	struct owned_config *owned;
	struct config_binder binder;
	/* All that was read, in order. The first one has the default targets. */
	VEC(const struct config_yaml_node *) trees;
};

struct config *config_free(struct config *config)
{
	struct owned_config *owned = (struct owned_config *)config;

	if (owned) {
		config_arena_free(owned->arena);
		free(owned);
	}
	return NULL;
}

static int load_text(struct loader *loader, const char *name, const char *data, size_t size)
{
	const struct config_yaml_node *root = NULL;
	size_t n_errors = diag_errors(loader->binder.diag);
	int r = config_yaml_read(loader->owned->arena, name, data, size, loader->binder.diag, &root);

	/* Duplicate keys are told of, and the tree is read on. */
	loader->binder.n_errors += diag_errors(loader->binder.diag) - n_errors;
	if (r < 0 || !root)
		return r < 0 ? r : 0;
	r = config_bind_tree(&loader->binder, root);
	return r < 0 ? r : vec_push(&loader->trees, root);
}

static int refuse_file(struct loader *loader, const char *path, const char *why)
{
	loader->binder.n_errors++;
	diag_error(loader->binder.diag, path, 0, 0, "%s", why);
	return 0;
}

/* O_NONBLOCK: a FIFO in its place must not stop us. */
static int read_regular(const char *path, char **ret_data, size_t *ret_size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (S_ISDIR(status.st_mode))
		return -EISDIR;
	/* /dev/null and /dev/stdin are fine: an empty configuration, and one from a pipe. */
	return fs_read_fd(fd, max_file_bytes, ret_data, ret_size);
}

static int load_file(struct loader *loader, const char *path, bool may_be_absent)
{
	_cleanup_free_ char *data = NULL;
	char *name = config_arena_text(loader->owned->arena, path, strlen(path));
	size_t size = 0;
	int r;

	if (!name)
		return -ENOMEM;
	r = read_regular(path, &data, &size);
	if (r == -ENOENT && may_be_absent) {
		diag_warning(loader->binder.diag, name, 0, 0, "no such file: the defaults are in effect");
		return 0;
	}
	if (r == -ENOMEM)
		return r;
	if (r == -EFBIG)
		return refuse_file(loader, name, "larger than 1 MiB");
	if (r < 0)
		return refuse_file(loader, name, strerror(-r));
	return load_text(loader, name, data, size);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Hidden files are what editors leave behind. */
static bool is_drop_in(const char *name)
{
	size_t length = strlen(name);

	return name[0] != '.' && length > 5 && strcmp(name + length - 5, ".yaml") == 0;
}

static int load_drop_ins(struct loader *loader, const char *path)
{
	_cleanup_free_ char *folder = NULL;
	VEC(char *) names = { 0 };
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	if (asprintf(&folder, "%s.d", path) < 0) {
		folder = NULL;
		return -ENOMEM;
	}
	dir = opendir(folder);
	if (!dir)
		return errno == ENOENT || errno == ENOTDIR ? 0 : refuse_file(loader, path, strerror(errno));
	while (r == 0 && (entry = readdir(dir))) {
		char *name = NULL;

		if (!is_drop_in(entry->d_name))
			continue;
		if (names.n == max_drop_ins) {
			r = refuse_file(loader, path, "more than 256 drop-ins");
			break;
		}
		if (asprintf(&name, "%s/%s", folder, entry->d_name) < 0)
			r = -ENOMEM;
		else
			r = vec_push(&names, name);
	}
	closedir(dir);
	vec_sort(&names, compare_names);
	for (size_t i = 0; i < names.n; i++) {
		if (r == 0)
			r = load_file(loader, names.at[i], false);
		free(names.at[i]);
	}
	vec_deinit(&names);
	return r;
}

/*
 * Targets inherit from what may have been written later, in this file or another: now that all is known, the list that
 * counts is bound once more. What is wrong with it was told the first time.
 */
static int bind_targets_again(struct loader *loader)
{
	const struct config_yaml_node *last = NULL;
	int r;

	for (size_t i = 0; i < loader->trees.n; i++)
		if (config_bind_has_targets(loader->trees.at[i]))
			last = loader->trees.at[i];
	loader->binder.quiet = true;
	r = config_bind_targets(&loader->binder, last);
	loader->binder.quiet = false;
	return r;
}

static int bind_overrides(struct loader *loader, const struct config_source *source)
{
	int r = 0;

	for (size_t i = 0; i < source->n_overrides && r == 0; i++)
		r = config_bind_override(&loader->binder, &source->overrides[i]);
	return r;
}

static int load(struct loader *loader, const struct config_source *source)
{
	int r = config_bind_defaults(&loader->binder);

	if (r == 0)
		r = load_text(loader, "default targets", default_targets, sizeof(default_targets) - 1);
	if (r == 0 && source->path)
		r = load_file(loader, source->path, source->may_be_absent);
	if (r == 0 && source->path)
		r = load_drop_ins(loader, source->path);
	if (r == 0)
		r = bind_overrides(loader, source);
	if (r == 0)
		r = bind_targets_again(loader);
	if (r == 0)
		config_check(&loader->binder);
	return r;
}

int config_load(const struct config_source *source, struct diag *diag, struct config **ret)
{
	_cleanup_(config_arena_free_p) struct config_arena *arena = NULL;
	struct loader loader = { 0 };
	int r;

	arena = config_arena_new();
	loader.owned = calloc(1, sizeof(*loader.owned));
	if (!arena || !loader.owned) {
		free(loader.owned);
		return -ENOMEM;
	}
	loader.owned->arena = TAKE(arena);
	config_binder_init(&loader.binder, loader.owned->arena, diag, &loader.owned->config);
	r = load(&loader, source);
	if (r == 0 && loader.binder.n_errors)
		r = CONFIG_E_INVALID;
	config_binder_deinit(&loader.binder);
	vec_deinit(&loader.trees);
	if (r == 0)
		*ret = &loader.owned->config;
	else
		config_free(&loader.owned->config);
	return r;
}
