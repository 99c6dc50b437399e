/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Tells the journal of goroutines that nobody will wake any more: of each group of them once, when it is first seen, and once when that is
 * over: one of them has moved, or another search for who could wake them found somebody, or the process has ended.
 */
struct goroutine_deadlock_news;
struct map;
struct press_result;

/* NULL: out of memory. */
struct goroutine_deadlock_news *goroutine_deadlock_news_new(void);
struct goroutine_deadlock_news *goroutine_deadlock_news_free(struct goroutine_deadlock_news *news);

/*
 * What a snapshot of goroutines has found; other results say nothing of them and change nothing. `targets`: pids (uint32_t); of one that ended
 * while its snapshot was on its way nothing is told. NULL: of all.
 */
void goroutine_deadlock_news_add(struct goroutine_deadlock_news *news, const struct press_result *result, const struct map *targets);
/* Of processes that are not in this set of pids (uint32_t) there will be no more looks: what was told of them is over. */
void goroutine_deadlock_news_keep(struct goroutine_deadlock_news *news, const struct map *pids);
