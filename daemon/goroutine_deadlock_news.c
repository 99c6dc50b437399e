/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_deadlock_news.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "goroutine_deadlock_text.h"
#include "log.h"
#include "map.h"
#include "press.h"

/* Lines of one; the profile has more. */
static const size_t max_lines = 8;
/* Remembered; more of them are told when one of these is over. */
static const size_t max_told = 1024;

struct told {
	uint64_t id;
	uint32_t pid;
	char *service;
	bool is_there;                       /* still */
};

struct goroutine_deadlock_news {
	VEC(struct told) told;
};

struct goroutine_deadlock_news *goroutine_deadlock_news_new(void)
{
	return calloc(1, sizeof(struct goroutine_deadlock_news));
}

struct goroutine_deadlock_news *goroutine_deadlock_news_free(struct goroutine_deadlock_news *news)
{
	if (!news)
		return NULL;
	for (size_t i = 0; i < news->told.n; i++)
		free(news->told.at[i].service);
	vec_deinit(&news->told);
	free(news);
	return NULL;
}

static struct told *find_told(struct goroutine_deadlock_news *news, uint64_t id)
{
	for (size_t i = 0; i < news->told.n; i++)
		if (news->told.at[i].id == id)
			return &news->told.at[i];
	return NULL;
}

static bool was_looked_at(const struct press_result *result, uint32_t pid)
{
	for (size_t i = 0; i < result->goroutine_deadlock_pids.n; i++)
		if (result->goroutine_deadlock_pids.at[i] == pid)
			return true;
	return false;
}

static void tell(struct goroutine_deadlock_news *news, const struct goroutine_deadlock_text *text)
{
	struct told told = { .id = text->id, .pid = text->process.pid, .is_there = true };

	if (news->told.n >= max_told)
		return;
	told.service = strdup(text->service);
	/* It is told at the next look, then. */
	if (!told.service || vec_push(&news->told, told) < 0) {
		free(told.service);
		return;
	}
	log_event(LOG_WARNING, "goroutine-deadlock", text->service, NULL, "goroutine deadlock in %s (process %u): %s.", text->service,
			text->process.pid, text->head);
	for (size_t i = 0; i < MIN(text->members.n, max_lines); i++)
		log_event(LOG_WARNING, "goroutine-deadlock", text->service, NULL, "%s", text->members.at[i]);
	if (text->n_members > max_lines)
		log_event(LOG_WARNING, "goroutine-deadlock", text->service, NULL, "%llu more goroutines: see the comments of the profile of kind goroutine.",
				(unsigned long long)(text->n_members - max_lines));
}

static void end_gone(struct goroutine_deadlock_news *news, const char *why)
{
	size_t n = 0;

	for (size_t i = 0; i < news->told.n; i++) {
		struct told *told = &news->told.at[i];

		if (told->is_there) {
			news->told.at[n++] = *told;
			continue;
		}
		log_event(LOG_NOTICE, "goroutine-deadlock-gone", told->service, NULL, "The goroutine deadlock in %s (process %u) is gone: %s.", told->service,
				told->pid, why);
		free(told->service);
	}
	news->told.n = n;
}

void goroutine_deadlock_news_add(struct goroutine_deadlock_news *news, const struct press_result *result)
{
	/* Of one that could not be read nothing new is known. */
	for (size_t i = 0; i < news->told.n; i++)
		news->told.at[i].is_there = !was_looked_at(result, news->told.at[i].pid);
	for (size_t i = 0; i < result->goroutine_deadlocks.n; i++) {
		struct told *told = find_told(news, result->goroutine_deadlocks.at[i].id);

		if (told)
			told->is_there = true;
		else
			tell(news, &result->goroutine_deadlocks.at[i]);
	}
	end_gone(news, "a goroutine has moved, or can be woken after all");
}

void goroutine_deadlock_news_keep(struct goroutine_deadlock_news *news, const struct map *pids)
{
	for (size_t i = 0; i < news->told.n; i++)
		news->told.at[i].is_there = map_get(pids, &news->told.at[i].pid) != NULL;
	end_gone(news, "the process has ended or is no target any more");
}
