/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of a process that claims to run HotSpot: all of it, at one address; behind it there is none. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "unwind_hotspot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* That of tests/unit/unwind/made_hotspot.h, which the corpus was made with. */
static const uint64_t base = 0x7f5000000000;

struct input {
	const uint8_t *data;
	size_t size;
};

static int read_input(void *userdata, uint64_t address, void *to, size_t size)
{
	const struct input *input = userdata;

	if (size > 4096 || address % 4096 + size > 4096)
		abort();
	if (address < base || address - base > input->size || size > input->size - (address - base))
		return -EFAULT;
	memcpy(to, input->data + (address - base), size);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { .data = data, .size = size };
	struct hotspot hotspot;

	if (unwind_hotspot_read(base, read_input, &input, &hotspot) == 0 && unwind_hotspot_check(&hotspot))
		abort();
	return 0;
}
