/* SPDX-License-Identifier: Apache-2.0 */
#include "binary.h"

#include <stdlib.h>

#include "cleanup.h"

struct binary *binary_ref(struct binary *binary)
{
	__atomic_add_fetch(&binary->n_references, 1, __ATOMIC_RELAXED);
	return binary;
}

struct binary *binary_unref(struct binary *binary)
{
	/* What others did with it happens before it is freed. */
	if (!binary || __atomic_sub_fetch(&binary->n_references, 1, __ATOMIC_ACQ_REL) > 0)
		return NULL;
	close_fd(binary->fd);
	free(binary->path);
	free(binary);
	return NULL;
}
