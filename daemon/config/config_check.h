/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Combinations of values that are fine one by one and nonsense together. */

struct config_binder;

/* Looks at the bound config, tells of errors where the values were written, and settles what depends on other values. */
void config_check(struct config_binder *binder);
