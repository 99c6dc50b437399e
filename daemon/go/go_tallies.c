/* SPDX-License-Identifier: Apache-2.0 */
#include "go_tallies.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "go_tallier.h"
#include "go_targets.h"
#include "image.h"
#include "log.h"

enum {
	ALL_PPM = 10000,                     /* of a CPU, that snapshots all through a window may take */
};

struct go_tallies {
	sd_event *loop;                      /* NULL: it has ended */
	struct go_targets *targets;
	enum go_tallies_of of;
	struct go_tallier *at[GO_TALLIES_MAX]; /* in the order in which they began */
	size_t n;
};

/* Its place; `n`: none. */
static size_t find(const struct go_tallies *tallies, const struct go_target *target)
{
	size_t i;

	for (i = 0; i < tallies->n; i++) {
		const struct image *image = go_tallier_image(tallies->at[i]);

		if (image->id.pid == target->pid && image->id.start_nsec == target->id.start_nsec)
			break;
	}
	return i;
}

static bool is_wanted(const struct go_tallies *tallies, const struct go_past *past)
{
	if (!past->has_rates)
		return false;
	return tallies->of == GO_TALLIES_ALL || (tallies->of == GO_TALLIES_UNRECORDED && !past->records_block);
}

uint32_t go_tallies_ppm(size_t n_processes)
{
	return (uint32_t)(ALL_PPM / MIN(MAX(n_processes, (size_t)1), (size_t)GO_TALLIES_MAX));
}

static size_t count_go(const struct go_targets *targets)
{
	const struct go_target *target;
	size_t cursor = 0, n = 0;

	while ((target = go_targets_next(targets, &cursor)))
		n += target->is_go;
	return n;
}

static struct go_tallier *take_at(struct go_tallies *tallies, size_t i)
{
	struct go_tallier *tallier = tallies->at[i];

	tallies->n--;
	memmove(&tallies->at[i], &tallies->at[i + 1], (tallies->n - i) * sizeof(tallies->at[0]));
	return tallier;
}

void go_tallies_update(struct go_tallies *tallies, uint32_t pid)
{
	const struct go_target *target = go_targets_get(tallies->targets, pid);
	size_t i = target ? find(tallies, target) : tallies->n;
	bool is_tallied = i < tallies->n;
	struct image *image;
	int r;

	if (is_tallied && !is_wanted(tallies, &target->past))
		go_tallier_free(take_at(tallies, i));
	if (!target || is_tallied || !tallies->loop || !is_wanted(tallies, &target->past) || tallies->n >= GO_TALLIES_MAX)
		return;
	image = go_targets_image(tallies->targets, pid);
	if (!image)
		return;
	r = go_tallier_new_take(tallies->loop, image, go_tallies_ppm(count_go(tallies->targets)), &tallies->at[tallies->n]);
	if (r >= 0)
		tallies->n++;
	else if (r != -ESRCH)
		log_print(LOG_WARNING, "Goroutines of process %u are not looked at in this window: %s.", pid, strerror(-r));
}

struct go_tallier *go_tallies_take(struct go_tallies *tallies)
{
	return tallies->n ? take_at(tallies, 0) : NULL;
}

void go_tallies_begin(struct go_tallies *tallies, enum go_tallies_of of)
{
	while (tallies->n)
		go_tallier_free(tallies->at[--tallies->n]);
	tallies->of = of;
}

void go_tallies_leave_loop(struct go_tallies *tallies)
{
	tallies->loop = NULL;
}

int go_tallies_new(sd_event *loop, struct go_targets *targets, struct go_tallies **ret)
{
	struct go_tallies *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->loop = loop;
	made->targets = targets;
	*ret = made;
	return 0;
}

struct go_tallies *go_tallies_free(struct go_tallies *tallies)
{
	if (!tallies)
		return NULL;
	go_tallies_begin(tallies, GO_TALLIES_NONE);
	free(tallies);
	return NULL;
}
