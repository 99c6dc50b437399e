/* SPDX-License-Identifier: Apache-2.0 */
/* What lazy_plugin.c calls. */
#include "thousand.h"

#define DEFINE(n)                        \
	unsigned lazily_bound_##n(void); \
	unsigned lazily_bound_##n(void)  \
	{                                \
		return 1;                \
	}
THOUSAND(DEFINE)
