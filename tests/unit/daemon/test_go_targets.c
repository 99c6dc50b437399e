/* SPDX-License-Identifier: Apache-2.0 */
/* On the real kernel, as root: the processes are this program, which looks like one of Go's, and what it becomes by exec. */
#include "go_targets.h"

#include <signal.h>
#include <sys/wait.h>

#include "config.h"
#include "go_report.h"
#include "go_tallier.h"
#include "go_tallies.h"
#include "own_go.h"
#include "targets.h"

static const struct config config = { .jit.perf_map = true };
static sd_event *loop;
static struct targets *targets;
static const struct go_tuner tuner;
static struct go_targets *go;

static void on_change(uint32_t pid, bool is_target, void *userdata)
{
}

static void begin(void)
{
	ck_assert_int_eq(sd_event_new(&loop), 0);
	ck_assert_int_eq(targets_new(loop, &config, on_change, NULL, &targets), 0);
	ck_assert_int_eq(go_targets_new(targets, &tuner, &go), 0);
}

static void end(void)
{
	go_targets_free(go);
	targets_free(targets);
	sd_event_unref(loop);
}

static struct go_target *add(pid_t pid)
{
	struct go_target *target = NULL;

	ck_assert_int_eq(go_targets_add(go, (uint32_t)pid, &target), 1);
	ck_assert_uint_eq(target->pid, (uint32_t)pid);
	return target;
}

START_TEST(what_goes_linker_made_is_found_to_be)
{
	struct go_target *target, *again;
	struct image *image;

	begin();
	ck_assert_ptr_null(go_targets_image(go, (uint32_t)getpid()));
	target = add(getpid());
	ck_assert(!target->is_go);
	ck_assert_int_eq(go_targets_add(go, (uint32_t)getpid(), &again), 0);
	ck_assert_ptr_eq(again, target);
	image = go_targets_image(go, (uint32_t)getpid());
	ck_assert_ptr_nonnull(image);
	ck_assert(target->is_go);
	ck_assert_uint_eq(target->id.pid, (uint32_t)getpid());
	ck_assert_ptr_eq(go_targets_of(go, image), target);
	/* It runs another program now, or another process has its number. */
	image->exe[1]++;
	ck_assert_ptr_null(go_targets_of(go, image));
	image->exe[1]--;
	image->id.start_nsec++;
	ck_assert_ptr_null(go_targets_of(go, image));
	image->id.start_nsec--;
	go_targets_remove(go, (uint32_t)getpid());
	ck_assert_ptr_null(go_targets_of(go, image));
	ck_assert_ptr_null(go_targets_image(go, (uint32_t)getpid()));
	image_free(image);
	end();
}
END_TEST

START_TEST(all_are_met_once)
{
	struct go_target *target;
	size_t cursor = 0, sum = 0;

	begin();
	for (pid_t i = 1; i <= 100; i++)
		add(1000000 + i);
	while ((target = go_targets_next(go, &cursor)))
		sum += target->pid - 1000000;
	ck_assert_uint_eq(sum, 5050);
	go_targets_remove(go, 1);
	end();
}
END_TEST

START_TEST(another_program_in_a_process_has_another_past)
{
	struct go_target *target;
	int pipes[2];
	pid_t child;

	begin();
	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	child = fork();
	if (!child) {
		char c;

		close(pipes[1]);
		_exit(read(pipes[0], &c, 1) || execl("/bin/sleep", "sleep", "60", NULL));
	}
	close(pipes[0]);
	target = add(child);
	image_free(go_targets_image(go, (uint32_t)child));
	ck_assert(target->is_go);
	go_tuner_begin(&target->tuning, 5);
	target->tuning.set_nsec = 7;
	target->past.has_refused = true;
	close(pipes[1]);
	/* Until it has become the other one. */
	while (target->is_go) {
		ck_assert_int_eq(targets_catch_up(targets), 0);
		image_free(go_targets_image(go, (uint32_t)child));
		usleep(1000);
	}
	ck_assert(!target->past.has_refused);
	ck_assert_uint_eq(target->tuning.set_nsec, 0);
	/* When its rates are to be looked at stays. */
	ck_assert_uint_gt(target->tuning.settle_nsec, 5);
	ck_assert_ptr_null(go_targets_image(go, (uint32_t)child));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	end();
}
END_TEST

/* How many are looked at in a window of this sort, of one process whose runtime has this rate. Has them looked at no more. */
static size_t count_tallies(struct go_tallies *tallies, enum go_tallies_of of)
{
	struct go_tallier *tallier;
	size_t n = 0;

	go_tallies_begin(tallies, of);
	/* Twice is once. */
	for (size_t i = 0; i < 2; i++)
		go_tallies_update(tallies, (uint32_t)getpid());
	while ((tallier = go_tallies_take(tallies))) {
		ck_assert_uint_eq(go_tallier_image(tallier)->id.pid, (uint32_t)getpid());
		go_tallier_free(tallier);
		n++;
	}
	return n;
}

START_TEST(who_records_waits_is_looked_at_once)
{
	struct go_tallies *tallies;
	struct go_target *target;

	begin();
	ck_assert_int_eq(go_tallies_new(loop, go, &tallies), 0);
	ck_assert_uint_eq(count_tallies(tallies, GO_TALLIES_ALL), 0);
	target = add(getpid());
	image_free(go_targets_image(go, (uint32_t)getpid()));
	/* Not known yet. */
	ck_assert_uint_eq(count_tallies(tallies, GO_TALLIES_ALL), 0);
	target->past.has_rates = true;
	ck_assert_uint_eq(count_tallies(tallies, GO_TALLIES_NONE), 0);
	ck_assert_uint_eq(count_tallies(tallies, GO_TALLIES_UNRECORDED), 1);
	ck_assert_uint_eq(count_tallies(tallies, GO_TALLIES_ALL), 1);
	target->past.records_block = true;
	ck_assert_uint_eq(count_tallies(tallies, GO_TALLIES_UNRECORDED), 0);
	ck_assert_uint_eq(count_tallies(tallies, GO_TALLIES_ALL), 1);
	/* It begins to while the window goes on. */
	target->past.records_block = false;
	go_tallies_begin(tallies, GO_TALLIES_UNRECORDED);
	go_tallies_update(tallies, (uint32_t)getpid());
	target->past.records_block = true;
	go_tallies_update(tallies, (uint32_t)getpid());
	ck_assert_ptr_null(go_tallies_take(tallies));
	/* The loop has ended. */
	go_tallies_leave_loop(tallies);
	ck_assert_uint_eq(count_tallies(tallies, GO_TALLIES_ALL), 0);
	go_tallies_free(tallies);
	end();
}
END_TEST

START_TEST(so_many_are_looked_at_at_most_and_share_one_percent)
{
	pid_t children[GO_TALLIES_MAX + 2];
	struct go_tallies *tallies;
	struct go_tallier *tallier;
	size_t n = 0;

	ck_assert_uint_eq(go_tallies_ppm(0), 10000);
	ck_assert_uint_eq(go_tallies_ppm(1), 10000);
	ck_assert_uint_eq(go_tallies_ppm(4), 2500);
	ck_assert_uint_eq(go_tallies_ppm(1000), 10000 / GO_TALLIES_MAX);
	begin();
	ck_assert_int_eq(go_tallies_new(loop, go, &tallies), 0);
	go_tallies_begin(tallies, GO_TALLIES_ALL);
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		children[i] = fork();
		if (!children[i])
			_exit(pause());
		add(children[i]);
		image_free(go_targets_image(go, (uint32_t)children[i]));
		go_targets_get(go, (uint32_t)children[i])->past.has_rates = true;
		go_tallies_update(tallies, (uint32_t)children[i]);
	}
	/* In the order in which they began. */
	while ((tallier = go_tallies_take(tallies))) {
		ck_assert_uint_eq(go_tallier_image(tallier)->id.pid, (uint32_t)children[n++]);
		go_tallier_free(tallier);
	}
	ck_assert_uint_eq(n, GO_TALLIES_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	go_tallies_free(tallies);
	end();
}
END_TEST

OWN_GO_TESTS("go_targets", what_goes_linker_made_is_found_to_be, all_are_met_once, another_program_in_a_process_has_another_past,
	who_records_waits_is_looked_at_once, so_many_are_looked_at_at_most_and_share_one_percent)
