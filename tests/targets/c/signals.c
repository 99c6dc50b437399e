/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work inside signal handlers: alpha runs in interrupted() and is interrupted at any instruction; on_alarm() does beta
 * on the same stack, on_profile() does gamma on an alternate stack, and now and then it interrupts on_alarm().
 * alpha : beta : gamma = 50 : 30 : 20. Every stack goes on to main(), through one signal frame or two. `signals [SECONDS]`
 */
#include "truth.h"
#include "work.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { ALPHA, BETA, GAMMA, N_SHARES };

static struct share shares[] = {
	{"alpha", 50, alpha, 0},
	{"beta", 30, beta, 0},
	{"gamma", 20, gamma, 0},
};

/* What handlers took: taken off what they interrupted. */
static volatile uint64_t handlers_nsec;
static uint64_t random_state;
static timer_t timer;

/* Works a slice, and knows its own time from that of what interrupted it. */
__attribute__((noinline)) static void work_slice(int which)
{
	uint64_t start_nsec = truth_thread_nsec(), others_nsec = handlers_nsec;

	shares[which].burn(100000 + truth_random(&random_state) % 400000);
	shares[which].cpu_nsec += truth_thread_nsec() - start_nsec - (handlers_nsec - others_nsec);
}

__attribute__((noinline)) static void handle(int which)
{
	uint64_t start_nsec = truth_thread_nsec(), others_nsec = handlers_nsec;

	work_slice(which);
	handlers_nsec = others_nsec + truth_thread_nsec() - start_nsec;
}

static int is_behind(int which)
{
	return shares[which].cpu_nsec * shares[ALPHA].percent < shares[ALPHA].cpu_nsec * shares[which].percent;
}

__attribute__((noinline)) static void on_profile(int number)
{
	(void)number;
	handle(GAMMA);
	__asm__ volatile("");
}

__attribute__((noinline)) static void on_alarm(int number)
{
	(void)number;
	/* One in four is interrupted itself. */
	if (is_behind(GAMMA) && !(truth_random(&random_state) & 3))
		raise(SIGPROF);
	handle(BETA);
	__asm__ volatile("");
}

/* One alarm within the slice that follows, at a random moment. */
static void arm(void)
{
	struct itimerspec when = {.it_value.tv_nsec = 20000 + (long)(truth_random(&random_state) % 200000)};

	timer_settime(timer, 0, &when, NULL);
}

static int pick_signal(void)
{
	if (is_behind(BETA))
		return SIGALRM;
	return is_behind(GAMMA) ? SIGPROF : 0;
}

__attribute__((noinline)) static void interrupted(void)
{
	work_slice(ALPHA);
	__asm__ volatile("");
}

static void set_timer_signal(int number)
{
	static int now;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};

	if (number == now)
		return;
	if (now)
		timer_delete(timer);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
		exit(71);
	now = number;
}

static void install(int number, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags | SA_RESTART};

	if (sigaction(number, &action, NULL) < 0)
		exit(71);
}

static void use_alternate_stack(void)
{
	stack_t stack = {.ss_size = 256 << 10};

	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL) < 0)
		exit(71);
}

int main(int argc, char **argv)
{
	double seconds = truth_begin(argc, argv, 5);
	uint64_t end_nsec = truth_monotonic_nsec() + (uint64_t)(seconds * 1e9);

	random_state = truth_seed();
	use_alternate_stack();
	install(SIGALRM, on_alarm, 0);
	install(SIGPROF, on_profile, SA_ONSTACK);
	while (!truth_stopped() && truth_monotonic_nsec() < end_nsec) {
		int number = pick_signal();

		if (number) {
			set_timer_signal(number);
			arm();
		}
		interrupted();
	}
	truth_print(shares, N_SHARES);
	return 0;
}
