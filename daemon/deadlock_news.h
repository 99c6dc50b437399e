/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Tells the journal of deadlocks: each once, when it is first seen, and once when it is seen no more. It does not end by itself:
 * each window would tell it again.
 */
struct deadlock_news;
struct press_result;

/* NULL: out of memory. */
struct deadlock_news *deadlock_news_new(void);
struct deadlock_news *deadlock_news_free(struct deadlock_news *news);

/* What a window of waits has found; other results say nothing of deadlocks and change nothing. */
void deadlock_news_add(struct deadlock_news *news, const struct press_result *result);
