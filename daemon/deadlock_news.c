/* SPDX-License-Identifier: Apache-2.0 */
#include "deadlock_news.h"

#include <stdlib.h>

#include "cleanup.h"
#include "deadlock_text.h"
#include "log.h"
#include "press.h"
#include "told.h"

/* Lines of one circle; the profile has them all. */
static const size_t max_lines = 8;

struct deadlock_news {
	struct told told;
};

struct deadlock_news *deadlock_news_new(void)
{
	return calloc(1, sizeof(struct deadlock_news));
}

struct deadlock_news *deadlock_news_free(struct deadlock_news *news)
{
	if (!news)
		return NULL;
	told_deinit(&news->told);
	free(news);
	return NULL;
}

static void tell_gone(const struct told_item *item, const char *why)
{
	log_event(LOG_NOTICE, "deadlock-gone", item->service, NULL, "The deadlock in %s (process %u) is %s.", item->service, item->pid, why);
}

static void tell(const struct deadlock_text *text)
{
	_cleanup_free_ char *head = deadlock_text_head(text);

	log_event(LOG_WARNING, "deadlock", text->service, NULL, "%s.", head ? head : "deadlock");
	for (size_t i = 0; i < MIN(text->waits.n, max_lines); i++) {
		_cleanup_free_ char *line = deadlock_text_line(&text->waits.at[i], false);

		if (line)
			log_event(LOG_WARNING, "deadlock", text->service, NULL, "%s", line);
	}
	if (text->n_waits > max_lines)
		log_event(LOG_WARNING, "deadlock", text->service, NULL, "%zu more threads: see the comments of the profile of kind mutex.",
				text->n_waits - max_lines);
}

void deadlock_news_add(struct deadlock_news *news, const struct press_result *result)
{
	if (!result->has_looked_for_deadlocks)
		return;
	told_miss(&news->told, NULL);
	for (size_t i = 0; i < result->deadlocks.n; i++) {
		const struct deadlock_text *text = &result->deadlocks.at[i];

		if (told_see(&news->told, text->id, text->process.pid, text->service, NULL))
			tell(text);
	}
	/* What was not looked at may still be there. */
	if (!result->deadlocks_left_out)
		told_end(&news->told, 1, tell_gone, "gone");
}
