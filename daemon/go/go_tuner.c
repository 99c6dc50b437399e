/* SPDX-License-Identifier: Apache-2.0 */
#include "go_tuner.h"

#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "go_report.h"
#include "location.h"

/* go_switch leaves a process alone for its first second. */
static const uint64_t settle_nsec = NSEC_PER_SEC + 100 * NSEC_PER_MSEC;

bool go_tuner_wants(const struct go_tuner *tuner)
{
	const struct go_switch_wish none = { 0 };
	struct go_switch_wish wish;

	if (!tuner->sw || !tuner->config)
		return false;
	wish = go_switch_wish_of(tuner->config, 0);
	return memcmp(&wish, &none, sizeof(wish)) != 0;
}

bool go_tuner_has_work(const struct go_tuner *tuner)
{
	return go_tuner_wants(tuner) || (tuner->sw && go_switch_stats(tuner->sw).n_now);
}

void go_tuner_begin(struct go_tuning *tuning, uint64_t now_nsec)
{
	tuning->settle_nsec = now_nsec + settle_nsec;
}

void go_tuner_renew(struct go_tuning *tuning, uint64_t now_nsec)
{
	if (!tuning->settle_nsec)
		tuning->settle_nsec = now_nsec;
}

bool go_tuner_take(struct go_tuning *tuning, uint64_t now_nsec)
{
	if (!tuning->settle_nsec || tuning->settle_nsec > now_nsec)
		return false;
	tuning->settle_nsec = 0;
	return true;
}

static bool has_rates(const struct go_report *report)
{
	for (int i = 0; i < GO_N_RATES; i++)
		if (report->rates.of[i].address)
			return true;
	return false;
}

void go_tuner_set(const struct go_tuner *tuner, struct go_tuning *tuning, const struct process_id *process, const struct go_report *report)
{
	struct go_switch_wish wish;

	if (!tuner->sw || !tuner->config || tuner->is_over || !has_rates(report) || tuning->settle_nsec > clock_monotonic_nsec())
		return;
	/* Two rounds may be under way: what was read before we wrote tells nothing of what is there now. */
	if (report->taken_nsec <= tuning->set_nsec)
		return;
	wish = go_switch_wish_of(tuner->config, report->cycles_per_second);
	go_switch_set(tuner->sw, process, &report->rates, &wish);
	tuning->set_nsec = clock_monotonic_nsec();
}

void go_tuner_release(const struct go_tuner *tuner, const struct process_id *process)
{
	if (tuner->sw && process->pid)
		go_switch_release(tuner->sw, process);
}

uint64_t go_tuner_memory_since(const struct go_tuner *tuner, const struct process_id *process, const struct go_report *report)
{
	uint64_t since_nsec;

	/* What is read of a moment before we wrote is without any samples. */
	if (!tuner->sw || !go_switch_is_ours(tuner->sw, process, GO_RATE_MEMORY, &since_nsec) || since_nsec > report->taken_nsec)
		return 0;
	return clock_wall_nsec() - (clock_monotonic_nsec() - since_nsec);
}

struct go_switch_stats go_tuner_stats(const struct go_tuner *tuner)
{
	return tuner->sw ? go_switch_stats(tuner->sw) : (struct go_switch_stats){ 0 };
}
