/* SPDX-License-Identifier: Apache-2.0 */
/* A thousand calls, each through a stub of its own: see lazy.c. */
#include "thousand.h"

#define DECLARE(n) unsigned lazily_bound_##n(void);
THOUSAND(DECLARE)

unsigned call_all(void);
unsigned call_all(void)
{
	unsigned n = 0;

#define CALL(n_) n += lazily_bound_##n_();
	THOUSAND(CALL)
	return n;
}
