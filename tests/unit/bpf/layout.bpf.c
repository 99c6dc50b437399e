// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* All that crosses the boundary, as clang lays it out for BPF: read by test_layout.c. */
#include "block_io_value.h"
#include "go_thread.h"
#include "sample.h"

struct sample_key sample_key = {};
struct sample_value sample_value = {};
struct sample_stack sample_stack = {};
struct sample_go_labels sample_go_labels = {};
struct go_thread go_thread = {};
struct go_running go_running = {};
struct sample_object_key sample_object_key = {};
struct sample_object sample_object = {};
struct life_event life_event = {};
struct block_io_key block_io_key = {};
struct block_io_value block_io_value = {};
