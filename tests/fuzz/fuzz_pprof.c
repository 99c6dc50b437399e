/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign profiles: what is accepted can be merged, shown and written, and is then read again as the same. */
#include <stdint.h>
#include <stdlib.h>

#include "cleanup.h"
#include "diag.h"
#include "pprof_decode.h"
#include "pprof_encode.h"
#include "profile.h"
#include "profile_merge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

DEFINE_CLEANUP(struct diag, diag_free);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(diag_free_p) struct diag *diag = diag_new();
	_cleanup_(profile_free_p) struct profile *profile = NULL, *again = NULL, *twice = NULL;
	_cleanup_free_ char *bytes = NULL;
	size_t n;
	int r;

	if (pprof_decode(data, size, "input", &pprof_limits_daemon, diag, &profile) != 0)
		return 0;
	if (pprof_encode(profile, PPROF_LEVEL_NONE, &bytes, &n) < 0)
		abort();
	/* It may be larger than it was, but it must be valid. */
	if (pprof_decode(bytes, n, "again", NULL, diag, &again) != 0 || again->samples.n != profile->samples.n)
		abort();
	r = profile_merge((const struct profile *[]){ profile, again }, (const char *[]){ "a", "b" }, 2, diag, &twice);
	if (r == 0 && twice->samples.n != profile->samples.n)
		abort();
	return 0;
}
