/* SPDX-License-Identifier: Apache-2.0 */
/* What a process writes about itself into /proc, makes the kernel write into perf's rings, and answers as a JVM. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cgroup.h"
#include "java_attach.h"
#include "mappings.h"
#include "mounts.h"
#include "process.h"
#include "sideband.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_mapping(const struct mapping *mapping, void *userdata)
{
	if (mapping->start >= mapping->end || strlen(mapping->path) > *(size_t *)userdata)
		abort();
	return 0;
}

static void read_mounts(const char *text, size_t size)
{
	struct mounts mounts;
	char path[64];

	if (mounts_parse(text, size, &mounts) < 0)
		return;
	for (size_t i = 0; i < mounts.all.n; i++) {
		const struct mount *mount = &mounts.all.at[i];

		if (strlen(mount->root) > size || strlen(mount->point) > size || mount->root[0] != '/' || mount->point[0] != '/')
			abort();
		if ((mount->type && strlen(mount->type) > size) || (mount->source && strlen(mount->source) > size))
			abort();
		if (mounts_path(&mounts, mount->device, "/a/b", path, sizeof(path)) && path[0] != '/')
			abort();
	}
	mounts_deinit(&mounts);
}

static void read_sideband(const uint8_t *data, size_t size)
{
	struct sideband_record record;

	if (sideband_parse(data, size, &record) < 0)
		return;
	if ((record.kind == SIDEBAND_MAPPING || record.kind == SIDEBAND_COMM) && (!record.name || strlen(record.name) >= size))
		abort();
	if (record.kind == SIDEBAND_MAPPING && record.start >= record.end)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct process_stat stat;
	struct process_status status;
	struct cgroup cgroup;
	int32_t code;
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	/* An exact copy, so that a read past the end is seen. */
	memcpy(text, data, size);
	read_sideband((uint8_t *)text, size);
	process_parse_stat(text, size, &stat);
	process_parse_status(text, size, &status);
	process_catches(text, size, SIGQUIT);
	java_attach_parse_answer(text, size, &code);
	if (cgroup_parse(text, size, &cgroup) == 0) {
		if (!cgroup.path || (cgroup.service && !cgroup.unit))
			abort();
		cgroup_deinit(&cgroup);
	}
	read_mounts(text, size);
	mappings_parse(text, size, on_mapping, &size);
	free(text);
	return 0;
}
