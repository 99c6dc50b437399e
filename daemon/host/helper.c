/* SPDX-License-Identifier: Apache-2.0 */
#include "helper.h"

#include <signal.h>
#include <stdint.h>
#include <unistd.h>

static void close_all_but(const int *kept, size_t n)
{
	for (int first = 0;;) {
		int next = INT32_MAX;

		for (size_t i = 0; i < n; i++)
			if (kept[i] >= first && kept[i] < next)
				next = kept[i];
		if (next > first)
			close_range((unsigned int)first, next == INT32_MAX ? ~0U : (unsigned int)next - 1, 0);
		if (next == INT32_MAX)
			return;
		first = next + 1;
	}
}

void helper_begin(const int *kept, size_t n, unsigned int most_sec)
{
	sigset_t alarm_set;

	close_all_but(kept, n);
	sigemptyset(&alarm_set);
	sigaddset(&alarm_set, SIGALRM);
	signal(SIGALRM, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &alarm_set, NULL);
	alarm(most_sec);
}
