/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads at the edges of their waits: that are moved between CPUs, end, exec or fork while they wait, live for a moment, or wait
 * a million times. Each knows from its own clocks how long it did not run. `waits_life WHAT [ARGUMENT...]` prints lines with
 * "what", "pid" and "threads":[{"pid","tid","name","wall_ns","cpu_ns","called_ns"}]: from its first to its last instruction here.
 */
#include "truth.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 4096, MAX_MARKS = 1 << 16 };

struct life {
	char name[16];
	int pid, tid;
	uint64_t start_nsec, start_cpu_nsec; /* start_nsec 0: it did not begin yet */
	uint64_t wall_nsec, cpu_nsec, called_nsec; /* called: what the calls that may wait took, where that is measured */
	void (*run)(struct life *);
	pthread_t thread;
};

static struct life lives[MAX_THREADS];
static size_t n_lives;
static volatile int ended;
static char what_buffer[64];

static void pause_usec(uint64_t usec)
{
	struct timespec left = {.tv_sec = (time_t)(usec / 1000000), .tv_nsec = (long)(usec % 1000000) * 1000};

	while (nanosleep(&left, &left) < 0)
		;
}

static void burn_usec(uint64_t usec)
{
	uint64_t end_nsec = truth_thread_nsec() + usec * 1000;

	while (truth_thread_nsec() < end_nsec)
		;
}

static uint64_t number(const char *text)
{
	return strtoull(text, NULL, 10);
}

/* --- Lives --- */

static void life_begin(struct life *life)
{
	life->pid = getpid();
	life->tid = (int)syscall(SYS_gettid);
	life->start_cpu_nsec = truth_thread_nsec();
	__atomic_store_n(&life->start_nsec, truth_monotonic_nsec(), __ATOMIC_RELEASE);
}

static void life_end(struct life *life)
{
	life->wall_nsec = truth_monotonic_nsec() - life->start_nsec;
	life->cpu_nsec = truth_thread_nsec() - life->start_cpu_nsec;
}

static void *live(void *argument)
{
	struct life *life = argument;

	life_begin(life);
	pthread_setname_np(pthread_self(), life->name);
	life->run(life);
	life_end(life);
	return NULL;
}

static struct life *new_life(const char *name, void (*run)(struct life *))
{
	struct life *life = &lives[n_lives];

	if (n_lives == MAX_THREADS)
		exit(70);
	n_lives++;
	snprintf(life->name, sizeof(life->name), "%s", name);
	life->run = run;
	return life;
}

static struct life *start(const char *name, void (*run)(struct life *))
{
	struct life *life = new_life(name, run);
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 64 << 10);
	if (pthread_create(&life->thread, &attributes, live, life))
		exit(71);
	pthread_attr_destroy(&attributes);
	return life;
}

static void join_all(void)
{
	for (size_t i = 0; i < n_lives; i++)
		if (lives[i].thread)
			pthread_join(lives[i].thread, NULL);
}

static void print_lives(void)
{
	printf("{\"what\":\"%s\",\"pid\":%d,\"threads\":[", what_buffer, (int)getpid());
	for (size_t i = 0; i < n_lives; i++)
		printf("%s{\"pid\":%d,\"tid\":%d,\"name\":\"%s\",\"wall_ns\":%" PRIu64 ",\"cpu_ns\":%" PRIu64 ",\"called_ns\":%" PRIu64 "}", i ? "," : "", lives[i].pid,
				lives[i].tid, lives[i].name, lives[i].wall_nsec, lives[i].cpu_nsec, lives[i].called_nsec);
	printf("]");
}

/* What waits for good until now: it never has CPU time to speak of. */
static void end_waiting(void)
{
	for (size_t i = 0; i < n_lives; i++) {
		if (lives[i].wall_nsec)
			continue;
		while (!__atomic_load_n(&lives[i].start_nsec, __ATOMIC_ACQUIRE))
			pause_usec(100);
		lives[i].wall_nsec = truth_monotonic_nsec() - lives[i].start_nsec;
	}
}

/* --- Ways to live --- */

static int feed[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void sleep_often(struct life *life)
{
	(void)life;
	while (!ended)
		pause_usec(3000);
}

static void read_often(struct life *life)
{
	char byte;

	(void)life;
	while (!ended && read(feed[0], &byte, 1) == 1)
		;
}

static void burn_often(struct life *life)
{
	(void)life;
	while (!ended) {
		burn_usec(2000);
		pause_usec(1000);
	}
}

static void burn_always(struct life *life)
{
	(void)life;
	while (!ended)
		burn_usec(1000);
}

static void sleep_for_good(struct life *life)
{
	(void)life;
	for (;;)
		pause_usec(1000000000);
}

static void sleep_long(struct life *life)
{
	(void)life;
	while (!ended)
		pause_usec(2500000);
}

static void read_for_good(struct life *life)
{
	char byte;

	(void)life;
	while (read(feed[0], &byte, 1) == 1)
		;
}

static void lock_for_good(struct life *life)
{
	(void)life;
	pthread_mutex_lock(&mutex);
}

static void live_shortly(struct life *life)
{
	(void)life;
	for (int i = 0; i < 4; i++) {
		burn_usec(10000);
		pause_usec(40000);
	}
}

/* --- What there is --- */

static void move(int tid, size_t turn)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(turn % (size_t)sysconf(_SC_NPROCESSORS_ONLN), &one);
	sched_setaffinity(tid, sizeof(one), &one);
}

/* migrate SECONDS: moved each millisecond, waiting or not. */
static void migrate(char **arguments)
{
	uint64_t end_nsec = truth_monotonic_nsec() + number(arguments[0]) * 1000000000;

	if (pipe(feed) < 0)
		exit(71);
	start("sleeps", sleep_often);
	start("reads", read_often);
	start("burns", burn_often);
	start("always", burn_always);
	for (size_t turn = 0; truth_monotonic_nsec() < end_nsec && !truth_stopped(); turn++) {
		for (size_t i = 0; i < n_lives; i++)
			if (__atomic_load_n(&lives[i].start_nsec, __ATOMIC_ACQUIRE))
				move(lives[i].tid, turn + i);
		if (turn % 4 == 0 && write(feed[1], "x", 1) < 0)
			exit(71);
		pause_usec(1000);
	}
	ended = 1;
	if (write(feed[1], "x", 1) < 0)
		exit(71);
	join_all();
}

/* wait SECONDS: sleeps of 2.5 s, reads that do not end, and a mutex that nobody lets go, then exit_group() amid all that. */
static void wait_then_exit(char **arguments)
{
	if (pipe(feed) < 0)
		exit(71);
	pthread_mutex_lock(&mutex);
	start("sleeps", sleep_for_good);
	start("naps", sleep_long);
	start("reads", read_for_good);
	start("locks", lock_for_good);
	pause_usec(number(arguments[0]) * 1000000);
	end_waiting();
}

/* cancel SECONDS: the same, and each is cancelled while it waits. */
static void cancel(char **arguments)
{
	wait_then_exit(arguments);
	for (size_t i = 0; i < n_lives; i++)
		if (lives[i].run != lock_for_good) {
			pthread_cancel(lives[i].thread);
			pthread_join(lives[i].thread, NULL);
		}
}

static void exec_after(struct life *life)
{
	const char *seconds = what_buffer + sizeof("exec ") - 1;

	(void)life;
	pause_usec(number(seconds) * 1000000);
	end_waiting();
	print_lives();
	printf("}\n");
	fflush(stdout);
	execl("/proc/self/exe", "waits_life", "execd", seconds, (char *)NULL);
	exit(72);
}

/* exec SECONDS: another thread than the first one does it, while all wait; then one thread sleeps for as long again. */
static void exec_meanwhile(char **arguments)
{
	struct life *main_life = new_life("main", NULL);

	snprintf(what_buffer, sizeof(what_buffer), "exec %s", arguments[0]);
	if (pipe(feed) < 0)
		exit(71);
	life_begin(main_life);
	start("sleeps", sleep_for_good);
	start("reads", read_for_good);
	start("execs", exec_after);
	for (;;)
		pause_usec(1000000000);
}

static void execd(char **arguments)
{
	struct life *life = new_life("main", NULL);

	life_begin(life);
	pause_usec(number(arguments[0]) * 1000000);
	life_end(life);
}

/* fork COUNT MSEC: children, four at a time, that sleep for so long in ten parts. */
static void fork_children(char **arguments)
{
	size_t n = number(arguments[0]), n_live = 0;
	uint64_t msec = number(arguments[1]);
	int ends[2];

	if (pipe(ends) < 0)
		exit(71);
	for (size_t i = 0; i < n; i++) {
		pid_t pid;

		if (++n_live > 4) {
			wait(NULL);
			n_live--;
		}
		pid = fork();
		if (!pid) {
			struct life life = {.name = "child"};

			life_begin(&life);
			for (int part = 0; part < 10; part++)
				pause_usec(msec * 100);
			life_end(&life);
			if (write(ends[1], &life, sizeof(life)) != sizeof(life))
				_exit(71);
			_exit(0);
		}
		new_life("child", NULL);
	}
	while (n_live--)
		wait(NULL);
	for (size_t i = 0; i < n; i++)
		if (read(ends[0], &lives[i], sizeof(lives[i])) != sizeof(lives[i]))
			exit(71);
}

/* born COUNT: threads of 200 ms, four at a time. */
static void born(char **arguments)
{
	size_t n = number(arguments[0]);

	for (size_t i = 0; i < n; i++) {
		start("short", live_shortly);
		if (i >= 3)
			pthread_join(lives[i - 3].thread, NULL), lives[i - 3].thread = 0;
	}
	join_all();
}

/* many COUNT SECONDS: most sleep, some burn now and then, two always. */
static void many(char **arguments)
{
	size_t n = number(arguments[0]);
	uint64_t end_nsec = truth_monotonic_nsec() + number(arguments[1]) * 1000000000;

	for (size_t i = 0; i < n; i++) {
		if (i < 2)
			start("always", burn_always);
		else
			start(i % 50 == 0 ? "burns" : i % 2 ? "naps" : "sleeps", i % 50 == 0 ? burn_often : i % 2 ? sleep_long : sleep_often);
	}
	while (truth_monotonic_nsec() < end_nsec && !truth_stopped())
		pause_usec(100000);
	ended = 1;
	join_all();
}

/* --- Waits of a microsecond --- */

static int balls[2][2];              /* each player reads his own */
static uint32_t turn_word;
static uint64_t n_rounds;
static char way;

static void make_balls(void)
{
	for (int i = 0; i < 2; i++) {
		if (way == 'p' && pipe(balls[i]) < 0)
			exit(71);
		if (way == 'e')
			balls[i][0] = balls[i][1] = eventfd(0, 0);
	}
}

static void give(unsigned to)
{
	uint64_t one = 1;

	if (way != 'f') {
		if (write(balls[to][1], &one, sizeof(one)) != sizeof(one))
			exit(71);
		return;
	}
	__atomic_store_n(&turn_word, to, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &turn_word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

static void get(unsigned me)
{
	uint64_t ball;

	if (way != 'f') {
		if (read(balls[me][0], &ball, sizeof(ball)) != sizeof(ball))
			exit(71);
		return;
	}
	while (__atomic_load_n(&turn_word, __ATOMIC_SEQ_CST) != me)
		syscall(SYS_futex, &turn_word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1 - me, NULL, NULL, 0);
}

static void play(struct life *life)
{
	unsigned me = (unsigned)(life - lives);

	for (uint64_t i = 0; i < n_rounds; i++) {
		uint64_t begin_nsec = truth_monotonic_nsec();

		if (me == 0) {
			give(1);
			get(0);
		} else {
			get(1);
			give(0);
		}
		life->called_nsec += truth_monotonic_nsec() - begin_nsec;
	}
}

/* pingpong pipe|futex|eventfd CPUS ROUNDS */
static void ping_pong(char **arguments)
{
	size_t n_cpus = number(arguments[1]);

	way = arguments[0][0];
	n_rounds = number(arguments[2]);
	make_balls();
	if (n_cpus == 1)
		move(0, 0);
	start("ping", play);
	start("pong", play);
	for (size_t i = 0; i < 2 && n_cpus > 1; i++) {
		while (!__atomic_load_n(&lives[i].start_nsec, __ATOMIC_ACQUIRE))
			pause_usec(100);
		move(lives[i].tid, i);
	}
	join_all();
}

/* --- Known shares --- */

/* What was waited in each of two functions until then, by wall time less CPU time. */
static struct mark {
	uint64_t time_nsec, waited_nsec[2];
} marks[MAX_MARKS];
static size_t n_marks;
static uint64_t waited_nsec[2], think_nsec[2];

static void spin_until(uint64_t end_nsec)
{
	while (truth_monotonic_nsec() < end_nsec)
		;
}

static void serve(struct life *life)
{
	(void)life;
	for (;;) {
		get(1);
		if (ended > 1)
			return;
		spin_until(truth_monotonic_nsec() + think_nsec[__atomic_load_n(&n_rounds, __ATOMIC_RELAXED)]);
		give(0);
	}
}

#ifndef __clang__
__attribute__((optimize("no-ipa-icf")))
#endif
__attribute__((noinline)) static void wait_in_f(void)
{
	give(1);
	get(0);
	__asm__ volatile("# f" ::: "memory"); /* not the same code: the compiler makes one function of two equal ones */
}

#ifndef __clang__
__attribute__((optimize("no-ipa-icf")))
#endif
__attribute__((noinline)) static void wait_in_g(void)
{
	give(1);
	get(0);
	__asm__ volatile("# g" ::: "memory");
}

static uint64_t real_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void ask(struct life *life)
{
	uint64_t random = truth_seed(), next_nsec = 0;

	(void)life;
	while (!ended) {
		unsigned which = truth_random(&random) % 10 >= 4;
		uint64_t wall_nsec = truth_monotonic_nsec(), cpu_nsec = truth_thread_nsec();

		__atomic_store_n(&n_rounds, which, __ATOMIC_RELAXED);
		if (which)
			wait_in_g();
		else
			wait_in_f();
		cpu_nsec = truth_thread_nsec() - cpu_nsec;
		wall_nsec = truth_monotonic_nsec() - wall_nsec;
		waited_nsec[which] += wall_nsec > cpu_nsec ? wall_nsec - cpu_nsec : 0;
		if (wall_nsec + cpu_nsec && truth_monotonic_nsec() >= next_nsec && n_marks < MAX_MARKS) {
			marks[n_marks++] = (struct mark){.time_nsec = real_nsec(), .waited_nsec = {waited_nsec[0], waited_nsec[1]}};
			next_nsec = truth_monotonic_nsec() + 10000000;
		}
	}
}

/* shares SECONDS: a client waits in f or g for a server that takes longer for the one than for the other. */
static void shares(char **arguments)
{
	way = 'p';
	make_balls();
	think_nsec[0] = 2000;
	think_nsec[1] = 5000;
	start("asks", ask);
	start("serves", serve);
	pause_usec(number(arguments[0]) * 1000000);
	ended = 1;
	pthread_join(lives[0].thread, NULL);
	ended = 2; /* whoever asked has its answer */
	give(1);
	pthread_join(lives[1].thread, NULL);
	lives[0].thread = lives[1].thread = 0;
}

static void print_marks(void)
{
	printf(",\"marks\":[");
	for (size_t i = 0; i < n_marks; i++)
		printf("%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", i ? "," : "", marks[i].time_nsec, marks[i].waited_nsec[0], marks[i].waited_nsec[1]);
	printf("]");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int n_arguments;
		void (*run)(char **arguments);
	} all[] = {
		{"migrate", 1, migrate}, {"wait", 1, wait_then_exit}, {"cancel", 1, cancel}, {"exec", 1, exec_meanwhile}, {"execd", 1, execd},
		{"fork", 2, fork_children}, {"born", 1, born}, {"many", 2, many}, {"pingpong", 3, ping_pong}, {"shares", 1, shares},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (argc < 2 || strcmp(argv[1], all[i].name) != 0 || argc != 2 + all[i].n_arguments)
			continue;
		snprintf(what_buffer, sizeof(what_buffer), "%s", argv[1]);
		all[i].run(argv + 2);
		print_lives();
		print_marks();
		printf("}\n");
		fflush(stdout);
		_exit(0); /* with whoever still waits */
	}
	fprintf(stderr, "%s: migrate|wait|cancel|exec SECONDS, fork COUNT MSEC, born COUNT, many COUNT SECONDS, "
			"pingpong pipe|futex|eventfd CPUS ROUNDS, shares SECONDS\n", argv[0]);
	return 64;
}
