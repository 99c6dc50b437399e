/* SPDX-License-Identifier: Apache-2.0 */
#include "goroutine_leak_news.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "goroutine_leak_text.h"
#include "log.h"
#include "map.h"
#include "press.h"

/* Looks in a row without it until it is over. */
static const unsigned int max_missed = 3;
/* Places remembered; more of them are told when one of these is over. */
static const size_t max_told = 1024;

struct told {
	uint64_t id;
	uint32_t pid;
	char *service, *what;
	unsigned int n_missed;
};

struct goroutine_leak_news {
	VEC(struct told) told;
};

struct goroutine_leak_news *goroutine_leak_news_new(void)
{
	return calloc(1, sizeof(struct goroutine_leak_news));
}

static void told_deinit(struct told *told)
{
	free(told->service);
	free(told->what);
}

struct goroutine_leak_news *goroutine_leak_news_free(struct goroutine_leak_news *news)
{
	if (!news)
		return NULL;
	for (size_t i = 0; i < news->told.n; i++)
		told_deinit(&news->told.at[i]);
	vec_deinit(&news->told);
	free(news);
	return NULL;
}

static struct told *find_told(struct goroutine_leak_news *news, uint64_t id)
{
	for (size_t i = 0; i < news->told.n; i++)
		if (news->told.at[i].id == id)
			return &news->told.at[i];
	return NULL;
}

static bool was_looked_at(const struct press_result *result, uint32_t pid)
{
	for (size_t i = 0; i < result->leak_pids.n; i++)
		if (result->leak_pids.at[i] == pid)
			return true;
	return false;
}

static void tell(struct goroutine_leak_news *news, const struct goroutine_leak_text *leak)
{
	_cleanup_free_ char *line = goroutine_leak_text_line(leak);
	struct told told = { .id = leak->id, .pid = leak->process.pid };

	if (!line || news->told.n >= max_told)
		return;
	told.service = strdup(leak->service);
	told.what = goroutine_leak_text_what(leak);
	/* It is told at the next look, then. */
	if (!told.service || !told.what || vec_push(&news->told, told) < 0) {
		told_deinit(&told);
		return;
	}
	log_event(LOG_WARNING, "goroutine-leak", leak->service, NULL, "goroutine leak in %s (process %u): %s.", leak->service, leak->process.pid, line);
}

/* Tells that these are over, `how`, and forgets them. */
static void end_some(struct goroutine_leak_news *news, bool (*is_over)(const struct told *told, const void *userdata), const void *userdata, const char *how)
{
	size_t n = 0;

	for (size_t i = 0; i < news->told.n; i++) {
		struct told *told = &news->told.at[i];

		if (!is_over(told, userdata)) {
			news->told.at[n++] = *told;
			continue;
		}
		log_event(LOG_NOTICE, "goroutine-leak-over", told->service, NULL, "The goroutine leak in %s (process %u) is over, %s: %s.", told->service,
				told->pid, how, told->what);
		told_deinit(told);
	}
	news->told.n = n;
}

static bool is_missed(const struct told *told, const void *userdata)
{
	return told->n_missed >= max_missed;
}

static bool is_of_others(const struct told *told, const void *pids)
{
	return !map_get(pids, &told->pid);
}

void goroutine_leak_news_add(struct goroutine_leak_news *news, const struct press_result *result)
{
	/* Of one that could not be read nothing new is known. */
	for (size_t i = 0; i < news->told.n; i++)
		news->told.at[i].n_missed += was_looked_at(result, news->told.at[i].pid);
	for (size_t i = 0; i < result->leaks.n; i++) {
		struct told *told = find_told(news, result->leaks.at[i].id);

		if (told)
			told->n_missed = 0;
		else
			tell(news, &result->leaks.at[i]);
	}
	end_some(news, is_missed, NULL, "they grow no more");
}

void goroutine_leak_news_keep(struct goroutine_leak_news *news, const struct map *pids)
{
	end_some(news, is_of_others, pids, "their process has ended or is no target any more");
}
