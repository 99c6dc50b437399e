/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_deadlock_news.h"

#include <stdlib.h>

#include "cleanup.h"
#include "goroutine_deadlock_text.h"
#include "log.h"
#include "map.h"
#include "press.h"
#include "told.h"

/* Lines of one; the profile has more. */
static const size_t max_lines = 8;

struct goroutine_deadlock_news {
	struct told told;
};

struct goroutine_deadlock_news *goroutine_deadlock_news_new(void)
{
	return calloc(1, sizeof(struct goroutine_deadlock_news));
}

struct goroutine_deadlock_news *goroutine_deadlock_news_free(struct goroutine_deadlock_news *news)
{
	if (!news)
		return NULL;
	told_deinit(&news->told);
	free(news);
	return NULL;
}

static void tell(const struct goroutine_deadlock_text *text)
{
	log_event(LOG_WARNING, "goroutine-deadlock", text->service, NULL, "goroutine deadlock in %s (process %u): %s.", text->service,
			text->process.pid, text->head);
	for (size_t i = 0; i < MIN(text->members.n, max_lines); i++)
		log_event(LOG_WARNING, "goroutine-deadlock", text->service, NULL, "%s", text->members.at[i]);
	if (text->n_members > max_lines)
		log_event(LOG_WARNING, "goroutine-deadlock", text->service, NULL, "%llu more goroutines: see the comments of the profile of kind goroutine.",
				(unsigned long long)(text->n_members - max_lines));
}

static void tell_gone(const struct told_item *item, const char *why)
{
	log_event(LOG_NOTICE, "goroutine-deadlock-gone", item->service, NULL, "The goroutine deadlock in %s (process %u) is gone: %s.", item->service,
			item->pid, why);
}

void goroutine_deadlock_news_add(struct goroutine_deadlock_news *news, const struct press_result *result, const struct map *targets)
{
	/* Of one that could not be read nothing new is known. */
	told_miss(&news->told, &(struct told_pids){ result->goroutine_deadlock_pids.at, result->goroutine_deadlock_pids.n });
	for (size_t i = 0; i < result->goroutine_deadlocks.n; i++) {
		const struct goroutine_deadlock_text *text = &result->goroutine_deadlocks.at[i];

		if ((!targets || map_get(targets, &text->process.pid)) &&
				told_see(&news->told, text->id, text->process.pid, text->service, NULL))
			tell(text);
	}
	told_end(&news->told, 1, tell_gone, "a goroutine has moved, or can be woken after all");
}

void goroutine_deadlock_news_keep(struct goroutine_deadlock_news *news, const struct map *pids)
{
	told_keep(&news->told, pids, tell_gone, "the process has ended or is no target any more");
}
