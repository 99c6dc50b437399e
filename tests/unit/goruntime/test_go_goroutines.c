/* SPDX-License-Identifier: Apache-2.0 */
/* On memory made here, in the layout of each version. What real programs have is in tests/system/test_goroutines_versions.py. */
#include <stdio.h>

#include "../main.h"
#include "go_goroutines.h"
#include "go_text.h"
#include "made_process.h"

static const char *version_of(unsigned int minor)
{
	static char text[16];

	snprintf(text, sizeof(text), "go1.%u.1", minor);
	return text;
}

static struct made_process *open_made(const char *version)
{
	struct made_process *made = made_process_new(version);

	ck_assert_int_eq(made_process_open(made, NULL), 0);
	return made;
}

static const struct go_goroutine *by_id(const struct go_goroutines *goroutines, uint64_t id)
{
	for (size_t i = 0; i < goroutines->all.n; i++)
		if (goroutines->all.at[i].id == id)
			return &goroutines->all.at[i];
	ck_abort_msg("no goroutine %llu", (unsigned long long)id);
}

static const struct go_wait *wait_of(const struct go_goroutines *goroutines, uint64_t id, size_t i)
{
	const struct go_goroutine *g = by_id(goroutines, id);

	ck_assert_uint_lt(i, g->n_waits);
	return &goroutines->waits.all.at[g->first_wait + i];
}

START_TEST(all_are_read_in_each_version)
{
	for (unsigned int minor = 18; minor <= 27; minor++) {
		struct made_process *made = open_made(version_of(minor));
		struct go_goroutines all = { 0 };
		const struct go_goroutine *g;

		ck_assert_int_eq(go_goroutines_read(made->process, &(struct go_goroutines_options){ 0 }, &all), 0);
		ck_assert_uint_eq(all.n_seen, MADE_N_GOROUTINES);
		ck_assert_uint_eq(all.all.n, MADE_N_GOROUTINES - 1);
		ck_assert_uint_eq(all.n_dead, 1);
		ck_assert_uint_eq(all.n_retried + all.n_restless + all.n_unread + all.n_broken, 0);
		g = by_id(&all, 1);
		ck_assert_str_eq(go_text_state(&all, g), "chan receive");
		ck_assert_uint_eq(g->verdict, GO_STACK_COMPLETE);
		ck_assert_uint_eq(g->n_frames, 3);
		ck_assert_uint_eq(all.frames.at[g->first_frame], made_function(MADE_WAITS) + 8);
		ck_assert_uint_eq(all.frames.at[g->first_frame + 1], made_function(MADE_RUNTIME_MAIN) + 8);
		ck_assert(!g->is_system);
		ck_assert(by_id(&all, 2)->is_system);
		/* Equal stacks are there once. */
		ck_assert_uint_eq(by_id(&all, 4)->first_frame, by_id(&all, 5)->first_frame);
		ck_assert_uint_eq(by_id(&all, 6)->verdict, GO_GOROUTINE_RUNNING);
		ck_assert_uint_eq(by_id(&all, 6)->thread, 4711);
		ck_assert_str_eq(go_text_state(&all, by_id(&all, 8)), "runnable");
		go_goroutines_deinit(&all);
		made_process_free(made);
	}
}
END_TEST

/* As runtime/traceback.go goroutineheader() has it: "[syscall, 3 minutes]". */
START_TEST(since_when_they_wait_is_told_of_those_in_the_kernel_too)
{
	for (unsigned int minor = 18; minor <= 27; minor++) {
		struct made_process *made = open_made(version_of(minor));
		const struct go_layout *layout = made->layout;
		struct go_goroutines all = { 0 };
		uint64_t sp = MADE_MEMORY + MADE_STACKS_AT + 7 * MADE_STACK_SIZE + 0x100;

		for (int i = 0; i < MADE_N_GOROUTINES; i++)
			made_put(made, made_g(i) + layout->g.wait_since, 1000 + (uint64_t)i);
		made_put_u8(made, made_g(7) + layout->g.status, GO_SYSCALL);
		made_put(made, made_g(7) + layout->g.syscall_sp, sp);
		made_put(made, made_g(7) + layout->g.syscall_pc, made_function(MADE_WAITS) + 8);
		ck_assert_int_eq(go_goroutines_read(made->process, &(struct go_goroutines_options){ 0 }, &all), 0);
		ck_assert_uint_eq(by_id(&all, 1)->wait_since_nsec, 1000);
		ck_assert_uint_eq(by_id(&all, 8)->status, GO_SYSCALL);
		ck_assert_uint_eq(by_id(&all, 8)->verdict, GO_STACK_COMPLETE);
		ck_assert_uint_eq(by_id(&all, 8)->wait_since_nsec, 1007);
		/* What runs waits for nothing, whatever is still noted there. */
		ck_assert_uint_eq(by_id(&all, 6)->wait_since_nsec, 0);
		go_goroutines_deinit(&all);
		made_process_free(made);
	}
}
END_TEST

START_TEST(what_they_wait_for_is_told)
{
	for (unsigned int minor = 18; minor <= 27; minor++) {
		struct made_process *made = open_made(version_of(minor));
		struct go_goroutines all = { 0 };

		ck_assert_int_eq(go_goroutines_read(made->process, &(struct go_goroutines_options){ 0 }, &all), 0);
		ck_assert_uint_eq(by_id(&all, 1)->n_waits, 1);
		ck_assert_uint_eq(by_id(&all, 1)->channel, made_channel(0));
		ck_assert_uint_eq(wait_of(&all, 1, 0)->kind, GO_WAIT_RECEIVE);
		ck_assert_uint_eq(by_id(&all, 2)->n_waits, 0);
		ck_assert_uint_eq(by_id(&all, 3)->n_waits, 2);
		ck_assert_uint_eq(by_id(&all, 3)->channel, 0);
		ck_assert_uint_eq(wait_of(&all, 3, 0)->kind, GO_WAIT_SEND);
		ck_assert_uint_eq(wait_of(&all, 3, 0)->address, made_channel(1));
		ck_assert_uint_eq(wait_of(&all, 3, 1)->kind, GO_WAIT_RECEIVE);
		ck_assert_uint_eq(wait_of(&all, 3, 1)->address, made_channel(2));
		for (uint64_t id = 4; id < 6; id++) {
			ck_assert_uint_eq(by_id(&all, id)->n_waits, 1);
			ck_assert_uint_eq(by_id(&all, id)->channel, 0);
			ck_assert_uint_eq(wait_of(&all, id, 0)->kind, GO_WAIT_SEMAPHORE);
			ck_assert_uint_eq(wait_of(&all, id, 0)->address, MADE_MEMORY + 0x3f00);
		}
		go_goroutines_deinit(&all);
		made_process_free(made);
	}
}
END_TEST

START_TEST(labels_are_read_and_sorted)
{
	for (unsigned int minor = 18; minor <= 27; minor++) {
		struct made_process *made = open_made(version_of(minor));
		struct go_goroutines all = { 0 };
		const struct go_label *labels;

		ck_assert_int_eq(go_goroutines_read(made->process, &(struct go_goroutines_options){ 0 }, &all), 0);
		ck_assert_uint_eq(by_id(&all, 1)->n_labels, 0);
		ck_assert_uint_eq(by_id(&all, 3)->n_labels, 2);
		labels = &all.labels.all.at[by_id(&all, 3)->first_label];
		ck_assert_str_eq(all.labels.text.at + labels[0].key, "request");
		ck_assert_str_eq(all.labels.text.at + labels[0].value, "slow");
		ck_assert_str_eq(all.labels.text.at + labels[1].key, "tenant");
		ck_assert_str_eq(all.labels.text.at + labels[1].value, "seven");
		ck_assert_uint_eq(all.n_unknown_labels, 0);
		go_goroutines_deinit(&all);
		made_process_free(made);
	}
}
END_TEST

START_TEST(labels_that_are_none_cost_only_themselves)
{
	for (unsigned int minor = 23; minor <= 24; minor++) {
		struct made_process *made = open_made(version_of(minor));
		struct go_goroutines all = { 0 };

		/* More than there are. */
		made_put(made, minor == 23 ? MADE_MEMORY + MADE_LABELS_AT + 0x40 : MADE_MEMORY + MADE_LABELS_AT + 8, 1000);
		ck_assert_int_eq(go_goroutines_read(made->process, &(struct go_goroutines_options){ 0 }, &all), 0);
		ck_assert_uint_eq(by_id(&all, 3)->n_labels, 0);
		ck_assert_uint_eq(all.n_unknown_labels, 1);
		go_goroutines_deinit(&all);
		made_process_free(made);
	}
}
END_TEST

/* A process that goes on while it is read: `change` is called before a read of the g of goroutine 1 that is not the first. */
struct moving {
	struct made_process *made;
	unsigned int n_seen, n_changes;
};

static int read_moving(void *userdata, uint64_t address, void *to, size_t size)
{
	struct moving *moving = userdata;
	uint64_t g = made_g(0);

	if (address <= g && address + size >= g + 64 && moving->n_seen++ && moving->n_changes) {
		/* It waits for another channel at the same place, called from elsewhere: a mixture would have the old stack and the new channel. */
		moving->n_changes--;
		made_put_u8(moving->made, g + moving->made->layout->g.sequence, (uint8_t)moving->n_seen);
		made_put(moving->made, MADE_MEMORY + MADE_STACKS_AT + 0x100 + 32, made_function(MADE_RUNTIME_MAIN) + 8 + moving->n_seen % 8);
		made_put(moving->made, made_sudog(0) + moving->made->layout->sudog.channel, made_channel(3 + (int)moving->n_seen % 4));
	}
	return made_read(moving->made, address, to, size);
}

START_TEST(one_that_moves_is_read_again_and_never_told_as_a_mixture)
{
	for (unsigned int n_changes = 1; n_changes < 100; n_changes *= 3) {
		struct made_process *made = open_made("go1.26.8");
		struct moving moving = { .made = made, .n_changes = n_changes };
		struct go_goroutines all = { 0 };
		const struct go_goroutine *g;

		made->memory.read = read_moving;
		made->memory.userdata = &moving;
		ck_assert_int_eq(go_goroutines_read(made->process, &(struct go_goroutines_options){ 0 }, &all), 0);
		g = by_id(&all, 1);
		ck_assert_uint_eq(all.n_retried, 1);
		if (n_changes < 10) { /* two in a try, of which there are eight */
			/* What it came to rest at. */
			ck_assert_uint_eq(g->verdict, GO_STACK_COMPLETE);
			ck_assert_uint_eq(all.frames.at[g->first_frame + 1], *(uint64_t *)(void *)(made->bytes + MADE_STACKS_AT + 0x100 + 32));
			ck_assert_uint_eq(g->channel, *(uint64_t *)(void *)(made->bytes + MADE_SUDOGS_AT + made->layout->sudog.channel));
		} else {
			ck_assert_uint_eq(all.n_restless, 1);
			ck_assert_uint_eq(g->verdict, GO_GOROUTINE_RUNNING);
			ck_assert_uint_eq(g->n_waits, 0);
		}
		go_goroutines_deinit(&all);
		made_process_free(made);
	}
}
END_TEST

struct damage {
	uint64_t address, value;
	const char *why;
};

static void assert_refused(const char *version, const struct damage *damage)
{
	struct made_process *made = open_made(version);
	struct go_goroutines all = { 0 };
	const char *why = "";

	made_put(made, damage->address, damage->value);
	ck_assert_int_eq(go_goroutines_read(made->process, &(struct go_goroutines_options){ .why = &why }, &all), GO_GOROUTINES_E_UNKNOWN);
	ck_assert_str_eq(why, damage->why);
	ck_assert_ptr_null(all.all.at);
	made_process_free(made);
}

/* The self-check, one thing after the other, for a version that we know and one that we do not. */
START_TEST(what_are_no_goroutines_is_refused_by_name)
{
	static const char *const versions[] = { "go1.18.10", "go1.26.8", "go1.31.0" };

	for (size_t i = 0; i < 3; i++) {
		struct made_process *made = made_process_new(versions[i]);
		const struct go_layout *layout = made->layout;
		const struct damage damages[] = {
			{ made_variable(GO_ALLGS) + 8, UINT64_C(1) << 50, "runtime.allgs is no slice" },
			{ made_variable(GO_ALLGS), 16, "runtime.allgs never stands still" },
			{ made_g(0) + layout->g.id, 77, "there is no goroutine 1" },
			{ made_g(0) + layout->g.start_pc, made_function(MADE_MAIN), "there is no goroutine 1" },
			{ made_g(3) + layout->g.id, 3, "two goroutines have the same number" },
			{ made_g(3) + layout->g.sched_pc, 0x1234, "the stacks of goroutines do not end where they should" },
			{ made_g(3) + layout->g.status, 99, "what runtime.allgs points at are no goroutines" },
			{ MADE_MEMORY + MADE_ALLGS_AT + 8 * 4, 0xdead0000, "what runtime.allgs points at are no goroutines" },
			{ MADE_MEMORY + MADE_M_AT + layout->m.current_g, made_g(2), "threads know nothing of the goroutines that they run" },
			{ MADE_MEMORY + MADE_M_AT + layout->m.thread, UINT64_MAX, "threads know nothing of the goroutines that they run" },
			{ made_variable(GO_WAIT_REASONS) + 8, UINT64_MAX, "runtime.waitReasonStrings are no texts" },
		};

		for (size_t j = 0; j < sizeof(damages) / sizeof(damages[0]); j++)
			assert_refused(versions[i], &damages[j]);
		made_process_free(made);
	}
}
END_TEST

START_TEST(an_unknown_version_that_is_as_the_newest_is_read)
{
	struct made_process *made = open_made("go1.31.0");
	struct go_goroutines all = { 0 };

	ck_assert_int_eq(go_goroutines_read(made->process, &(struct go_goroutines_options){ 0 }, &all), 0);
	ck_assert_uint_eq(all.all.n, MADE_N_GOROUTINES - 1);
	go_goroutines_deinit(&all);
	made_process_free(made);
}
END_TEST

START_TEST(a_process_that_is_not_its_file_is_refused)
{
	struct made_process *made = made_process_new("go1.31.0");
	const char *why = "";

	made_put(made, made_variable(GO_FIRST_MODULE) + 17 * 8, 5);
	ck_assert_int_eq(made_process_open(made, &why), GO_PROCESS_E_UNKNOWN);
	ck_assert_str_eq(why, "its module data is not that of its file");
	made_module(made);
	made_put(made, made_variable(GO_FIRST_MODULE) + made->layout->module.next, 0xdeadbeef);
	ck_assert_int_eq(made_process_open(made, &why), GO_PROCESS_E_UNKNOWN);
	ck_assert_str_eq(why, "the list of its modules leads nowhere");
	made_put(made, made_variable(GO_FIRST_MODULE), 0);
	ck_assert_int_eq(made_process_open(made, &why), GO_PROCESS_E_EARLY);
	made_process_free(made);
}
END_TEST

/* Circles and lengths that cannot be: what is bounded is how often the process is read. */
START_TEST(hostile_lists_end_soon)
{
	static const char *const versions[] = { "go1.18.10", "go1.23.12", "go1.24.11", "go1.26.8" };

	for (size_t i = 0; i < 4; i++) {
		struct made_process *made = open_made(versions[i]);
		const struct go_layout *layout = made->layout;
		struct go_goroutines all = { 0 };
		uint64_t labels = MADE_MEMORY + MADE_LABELS_AT;

		/* A select that waits for itself, a tree of semaphores and a list of waiters that come back, a module that is its own plugin. */
		made_put(made, made_sudog(2) + layout->sudog.wait_link, made_sudog(1));
		made_put(made, made_sudog(4) + layout->sudog.wait_link, made_sudog(3));
		made_put(made, made_sudog(3) + 8, made_sudog(3));
		made_put(made, made_sudog(3) + 16, made_sudog(3));
		made_put(made, made_variable(GO_FIRST_MODULE) + layout->module.next, made_variable(GO_FIRST_MODULE));
		/* A chain of buckets, a label of a length that cannot be. */
		made_put(made, labels + 0x200 + 264, labels + 0x200);
		made_put(made, labels + 0x200 + 8, UINT64_MAX);
		ck_assert_int_eq(go_goroutines_read(made->process, &(struct go_goroutines_options){ 0 }, &all), 0);
		ck_assert_uint_eq(by_id(&all, 3)->n_waits, GO_WAITS_MAX);
		ck_assert_uint_eq(all.waits.n_cut, 1);
		ck_assert_uint_eq(by_id(&all, 4)->n_waits, 1);
		ck_assert_uint_lt(made->n_reads, 20000);
		go_goroutines_deinit(&all);
		made_process_free(made);
	}
}
END_TEST

START_TEST(what_may_not_be_read_ends_it)
{
	for (uint64_t left = 0; left < 40000; left += 997) {
		struct made_process *made = open_made(left % 2 ? "go1.22.12" : "go1.27.1");
		struct go_goroutines all = { 0 };
		int r;

		made->memory.left_bytes = left;
		r = go_goroutines_read(made->process, &(struct go_goroutines_options){ 0 }, &all);
		ck_assert_msg(r == -E2BIG || r == 0, "%d", r);
		if (!r)
			ck_assert_uint_eq(all.all.n, MADE_N_GOROUTINES - 1);
		go_goroutines_deinit(&all);
		made_process_free(made);
	}
}
END_TEST

UNIT_TESTS("go_goroutines", all_are_read_in_each_version, since_when_they_wait_is_told_of_those_in_the_kernel_too,
	what_they_wait_for_is_told, labels_are_read_and_sorted,
	labels_that_are_none_cost_only_themselves, one_that_moves_is_read_again_and_never_told_as_a_mixture,
	what_are_no_goroutines_is_refused_by_name, an_unknown_version_that_is_as_the_newest_is_read,
	a_process_that_is_not_its_file_is_refused, hostile_lists_end_soon, what_may_not_be_read_ends_it)
