/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_leak_news.h"

#include <stdlib.h>

#include "cleanup.h"
#include "goroutine_leak_text.h"
#include "log.h"
#include "map.h"
#include "press.h"
#include "told.h"

/* Looks in a row without it until it is over. */
static const unsigned int max_missed = 3;

struct goroutine_leak_news {
	struct told told;
};

struct goroutine_leak_news *goroutine_leak_news_new(void)
{
	return calloc(1, sizeof(struct goroutine_leak_news));
}

struct goroutine_leak_news *goroutine_leak_news_free(struct goroutine_leak_news *news)
{
	if (!news)
		return NULL;
	told_deinit(&news->told);
	free(news);
	return NULL;
}

static void tell(struct goroutine_leak_news *news, const struct goroutine_leak_text *leak)
{
	_cleanup_free_ char *line = goroutine_leak_text_line(leak), *what = goroutine_leak_text_what(leak);

	/* It is told at the next look, then. */
	if (!line || !what || !told_see(&news->told, leak->id, leak->process.pid, leak->service, what))
		return;
	log_event(LOG_WARNING, "goroutine-leak", leak->service, NULL, "goroutine leak in %s (process %u): %s.", leak->service, leak->process.pid, line);
}

static void tell_over(const struct told_item *item, const char *why)
{
	log_event(LOG_NOTICE, "goroutine-leak-over", item->service, NULL, "The goroutine leak in %s (process %u) is over, %s: %s.", item->service,
			item->pid, why, item->what);
}

void goroutine_leak_news_add(struct goroutine_leak_news *news, const struct press_result *result, const struct map *targets)
{
	/* Of one that could not be read nothing new is known. */
	told_miss(&news->told, &(struct told_pids){ result->leak_pids.at, result->leak_pids.n });
	for (size_t i = 0; i < result->leaks.n; i++)
		if (!targets || map_get(targets, &result->leaks.at[i].process.pid))
			tell(news, &result->leaks.at[i]);
	told_end(&news->told, max_missed, tell_over, "they grow no more");
}

void goroutine_leak_news_keep(struct goroutine_leak_news *news, const struct map *pids)
{
	told_keep(&news->told, pids, tell_over, "their process has ended or is no target any more");
}
