/* SPDX-License-Identifier: Apache-2.0 */
#include "deadlock_news.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "deadlock_text.h"
#include "log.h"
#include "press.h"

/* Lines of one circle; the profile has them all. */
static const size_t max_lines = 8;

struct told {
	uint64_t id;
	char *service;
	uint32_t pid;
};

struct deadlock_news {
	VEC(struct told) told;               /* no more than a window can have: DEADLOCKS_MAX_CIRCLES */
};

struct deadlock_news *deadlock_news_new(void)
{
	return calloc(1, sizeof(struct deadlock_news));
}

struct deadlock_news *deadlock_news_free(struct deadlock_news *news)
{
	if (!news)
		return NULL;
	for (size_t i = 0; i < news->told.n; i++)
		free(news->told.at[i].service);
	vec_deinit(&news->told);
	free(news);
	return NULL;
}

static bool is_told(const struct deadlock_news *news, uint64_t id)
{
	for (size_t i = 0; i < news->told.n; i++)
		if (news->told.at[i].id == id)
			return true;
	return false;
}

static bool is_there(const struct press_result *result, uint64_t id)
{
	for (size_t i = 0; i < result->deadlocks.n; i++)
		if (result->deadlocks.at[i].id == id)
			return true;
	return false;
}

static void forget_gone(struct deadlock_news *news, const struct press_result *result)
{
	size_t n = 0;

	for (size_t i = 0; i < news->told.n; i++) {
		struct told *told = &news->told.at[i];

		if (is_there(result, told->id)) {
			news->told.at[n++] = *told;
			continue;
		}
		log_event(LOG_NOTICE, "deadlock-gone", told->service, NULL, "The deadlock in %s (process %u) is gone.", told->service, told->pid);
		free(told->service);
	}
	news->told.n = n;
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

static void remember(struct deadlock_news *news, const struct deadlock_text *text)
{
	struct told told = { .id = text->id, .service = strdup(text->service), .pid = text->process.pid };

	/* It is told again, then. */
	if (!told.service || vec_push(&news->told, told) < 0)
		free(told.service);
}

void deadlock_news_add(struct deadlock_news *news, const struct press_result *result)
{
	if (!result->has_looked_for_deadlocks)
		return;
	/* What was not looked at may still be there. */
	if (!result->deadlocks_left_out)
		forget_gone(news, result);
	for (size_t i = 0; i < result->deadlocks.n; i++) {
		const struct deadlock_text *text = &result->deadlocks.at[i];

		if (is_told(news, text->id))
			continue;
		tell(text);
		remember(news, text);
	}
}
