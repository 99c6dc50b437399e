/* SPDX-License-Identifier: Apache-2.0 */
/* A perf map or jitdump, which any runtime of any user writes. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "cleanup.h"
#include "fs.h"
#include "symbolizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
	const uint64_t offsets[] = { 0, 1, 0x1000, 0x1008, 0x1010, 0x7f0000001000, UINT64_MAX - 1, UINT64_MAX };
	struct symbolizer *s = NULL;
	struct names *names;

	if (fd < 0 || fs_write_all(fd, data, size) < 0 || symbolizer_open(SYMBOLIZER_PERF_MAP, fd, &s) != 0)
		return 0;
	/* Each asked offset has its answer, and no name is without text. */
	if (symbolizer_resolve(s, offsets, ARRAY_SIZE(offsets), &names) == 0) {
		if (names->locations.n != ARRAY_SIZE(offsets))
			abort();
		for (size_t i = 0; i < names->frames.n; i++)
			if (!names->frames.at[i].name)
				abort();
		names_free(names);
	}
	symbolizer_free(s);
	return 0;
}
