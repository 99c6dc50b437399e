// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* All that crosses the boundary, as clang lays it out for BPF: read by test_layout.c. */
#include "sample.h"

struct sample_key sample_key = {};
struct sample_value sample_value = {};
struct sample_stack sample_stack = {};
struct life_event life_event = {};
