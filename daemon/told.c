/* SPDX-License-Identifier: Apache-2.0 */
#include "told.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "map.h"

static void item_deinit(struct told_item *item)
{
	free(item->service);
	free(item->what);
}

void told_deinit(struct told *told)
{
	for (size_t i = 0; i < told->items.n; i++)
		item_deinit(&told->items.at[i]);
	vec_deinit(&told->items);
}

static bool is_among(const struct told_pids *pids, uint32_t pid)
{
	for (size_t i = 0; i < pids->n; i++)
		if (pids->at[i] == pid)
			return true;
	return false;
}

void told_miss(struct told *told, const struct told_pids *looked_at)
{
	for (size_t i = 0; i < told->items.n; i++)
		told->items.at[i].n_missed += !looked_at || is_among(looked_at, told->items.at[i].pid);
}

static bool remember(struct told *told, struct told_item *item, const char *service, const char *what)
{
	if (told->items.n >= TOLD_MAX)
		return false;
	item->service = strdup(service);
	item->what = what ? strdup(what) : NULL;
	if (item->service && (item->what || !what) && vec_push(&told->items, *item) >= 0)
		return true;
	item_deinit(item);
	return false;
}

bool told_see(struct told *told, uint64_t id, uint32_t pid, const char *service, const char *what)
{
	struct told_item item = { .id = id, .pid = pid };

	for (size_t i = 0; i < told->items.n; i++)
		if (told->items.at[i].id == id) {
			told->items.at[i].n_missed = 0;
			return false;
		}
	return remember(told, &item, service, what);
}

void told_end(struct told *told, unsigned int n_missed, told_over_fn over, const char *why)
{
	size_t n = 0;

	for (size_t i = 0; i < told->items.n; i++) {
		struct told_item *item = &told->items.at[i];

		if (item->n_missed < n_missed) {
			told->items.at[n++] = *item;
			continue;
		}
		over(item, why);
		item_deinit(item);
	}
	told->items.n = n;
}

void told_keep(struct told *told, const struct map *pids, told_over_fn over, const char *why)
{
	for (size_t i = 0; i < told->items.n; i++)
		if (!map_get(pids, &told->items.at[i].pid))
			told->items.at[i].n_missed = UINT_MAX;
	told_end(told, UINT_MAX, over, why);
}
