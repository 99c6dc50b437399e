/* SPDX-License-Identifier: Apache-2.0 */
#include "go_running.h"

#include "clock.h"
#include "go_goroutines.h"
#include "go_thread.h"
#include "location.h"
#include "sample.h"

/* The map may hold a thread that ended, of a process that had this number before. */
static bool is_of(const struct go_running *sample, const struct process_id *process, const struct go_goroutine *goroutine, uint64_t taken_nsec)
{
	return sample->start_nsec / NSEC_PER_TICK == process->start_nsec / NSEC_PER_TICK && sample->exec_id == process->exec_id &&
	       sample->goroutine == goroutine->id && sample->time_nsec + GO_RUNNING_AGE_MSEC * NSEC_PER_MSEC >= taken_nsec &&
	       sample->n > 0 && sample->n <= GO_RUNNING_FRAMES;
}

int go_running_fill(struct go_goroutines *goroutines, const struct process_id *process, uint64_t taken_nsec, go_running_fn find, void *userdata)
{
	for (size_t i = 0; i < goroutines->all.n; i++) {
		struct go_goroutine *goroutine = &goroutines->all.at[i];
		struct go_running sample;
		size_t first = goroutines->frames.n;
		int r;

		if (goroutine->verdict != GO_GOROUTINE_RUNNING || goroutine->n_frames || !goroutine->thread ||
				!find(process->pid, goroutine->thread, &sample, userdata) || !is_of(&sample, process, goroutine, taken_nsec))
			continue;
		r = vec_append(&goroutines->frames, sample.frames, sample.n);
		if (r < 0)
			return r;
		/* The leaf is the instruction itself. */
		goroutines->frames.at[first] |= GO_STACK_EXACT;
		goroutine->first_frame = first;
		goroutine->n_frames = sample.n;
		if (sample.is_cut)
			goroutine->verdict = GO_STACK_CUT;
	}
	return 0;
}
