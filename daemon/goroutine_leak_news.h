/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Tells the journal of goroutines that leak: of each place in the code once, when it is first seen, and once when that is over: it was not seen
 * in some looks, one after the other, for a leak near the bound of what is told comes and goes; or its process has ended.
 */
struct goroutine_leak_news;
struct map;
struct press_result;

/* NULL: out of memory. */
struct goroutine_leak_news *goroutine_leak_news_new(void);
struct goroutine_leak_news *goroutine_leak_news_free(struct goroutine_leak_news *news);

/*
 * What a snapshot of goroutines has found; other results say nothing of leaks and change nothing. `targets`: pids (uint32_t); of one that ended
 * while its snapshot was on its way nothing is told. NULL: of all.
 */
void goroutine_leak_news_add(struct goroutine_leak_news *news, const struct press_result *result, const struct map *targets);
/* Of processes that are not in this set of pids (uint32_t) there will be no more looks: what was told of them is over. */
void goroutine_leak_news_keep(struct goroutine_leak_news *news, const struct map *pids);
