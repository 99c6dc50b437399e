/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* tsprofd --version: what this is, what it was built with, and what the kernel can do for it. */
#include <stdio.h>

void version_print(FILE *f);
