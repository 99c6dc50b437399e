/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration of any bytes is loaded or refused with messages; one that loads prints as text that loads to the same.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "config.h"
#include "diag.h"

static char *print(const struct config *config)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert(f && config_print(config, f) == 0);
	fclose(f);
	return text;
}

/* NULL when it is refused. */
static char *load_and_print(const void *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create("config", MFD_CLOEXEC);
	_cleanup_(config_free_p) struct config *config = NULL;
	struct diag *diag = diag_new();
	char path[64];
	struct config_source source = { .path = path };
	int r;

	assert(diag && fd >= 0 && write(fd, data, size) == (ssize_t)size);
	lseek(fd, 0, SEEK_SET);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = config_load(&source, diag, &config);
	/* Refused means told why, and nothing else does. */
	assert((r == 0) == (diag_errors(diag) == 0) && (r == 0) == (config != NULL));
	for (size_t i = 0; i < diag_count(diag); i++)
		for (const char *p = diag_message(diag, i); *p; p++)
			assert((unsigned char)*p >= 0x20 && *p != 0x7f);
	diag_free(diag);
	return config ? print(config) : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *once = load_and_print(data, size), *twice = NULL;

	if (once) {
		twice = load_and_print(once, strlen(once));
		assert(twice && strcmp(once, twice) == 0);
	}
	return 0;
}
