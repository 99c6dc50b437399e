/* SPDX-License-Identifier: Apache-2.0 */
#include "java_attach.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "main.h"

/* What a process does that looks like a JVM: HotSpot's side of the protocol, and ways to get it wrong. */
enum manner {
	GOOD,
	REFUSES,                             /* as JDK 11 does */
	SILENT,                              /* takes the request and says nothing */
	DEAF,                                /* catches the signal and does nothing */
	WRITES_NOTHING,
	CATCHES_NOTHING,
};

static char socket_path[64], trigger_path[64], map_path[64];
static pid_t jvm;
static int jvm_fd;
static volatile sig_atomic_t n_signals;

static void on_quit(int signal)
{
	n_signals = n_signals + 1;
}

static void name_files(pid_t pid)
{
	snprintf(socket_path, sizeof(socket_path), "/tmp/.java_pid%d", pid);
	snprintf(trigger_path, sizeof(trigger_path), "/tmp/.attach_pid%d", pid);
	snprintf(map_path, sizeof(map_path), "/tmp/perf-%d.map", pid);
}

static bool is_there(const char *path)
{
	struct stat stat;

	return lstat(path, &stat) == 0;
}

static int listen_on(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 5) < 0)
		_exit(3);
	return fd;
}

static void answer(int fd, enum manner manner)
{
	static const char expected[] = "1\0jcmd\0Compiler.perfmap\0\0";
	char request[64] = { 0 };
	int file;

	if (recv(fd, request, sizeof(expected), MSG_WAITALL) != (ssize_t)sizeof(expected) ||
	    memcmp(request, expected, sizeof(expected)))
		_exit(4);
	if (manner == SILENT)
		pause();
	if (manner == GOOD) {
		file = open(map_path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
		dprintf(file, "1000 10 Interpreter\n");
		close(file);
	}
	dprintf(fd, manner == REFUSES ? "-1\njava.lang.IllegalArgumentException: Unknown diagnostic command\n" : "0\n");
	close(fd);
}

static _Noreturn void be_jvm(enum manner manner, int ready)
{
	struct sigaction action = { .sa_handler = on_quit };
	sigset_t quit;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Another user, where there is a way to become one. */
	if (geteuid() == 0 && (setresgid(65534, 65534, 65534) < 0 || setresuid(65533, 65533, 65533) < 0))
		_exit(2);
	name_files(getpid());
	sigemptyset(&quit);
	sigaddset(&quit, SIGQUIT);
	sigprocmask(SIG_BLOCK, &quit, NULL);
	if (manner != CATCHES_NOTHING)
		sigaction(SIGQUIT, &action, NULL);
	else
		sigprocmask(SIG_UNBLOCK, &quit, NULL);
	if (write(ready, "", 1) != 1)
		_exit(2);
	if (manner == CATCHES_NOTHING || manner == DEAF)
		for (;;)
			pause();
	sigemptyset(&quit);
	while (!n_signals)
		sigsuspend(&quit);
	if (!is_there(trigger_path))
		_exit(5);
	fd = listen_on(socket_path);
	for (;;)
		answer(accept(fd, NULL, NULL), manner);
}

static void start(enum manner manner)
{
	int ready[2];
	char byte;

	ck_assert_int_eq(pipe(ready), 0);
	jvm = fork();
	if (jvm == 0) {
		/* One that had our number before, and was killed. */
		name_files(getpid());
		unlink(socket_path);
		be_jvm(manner, ready[1]);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	name_files(jvm);
	jvm_fd = (int)syscall(SYS_pidfd_open, jvm, 0);
	ck_assert_int_ge(jvm_fd, 0);
}

/* It was not harmed. */
static void stop(void)
{
	ck_assert_int_eq(waitpid(jvm, NULL, WNOHANG), 0);
	ck_assert(!is_there(trigger_path));
	kill(jvm, SIGKILL);
	waitpid(jvm, NULL, 0);
	close(jvm_fd);
	unlink(socket_path);
	unlink(map_path);
}

static struct java_attach_result found;
static int n_found;
static struct java_attach *under_way;

static void on_done(const struct java_attach_result *result, void *userdata)
{
	/* Before anything else: what is told outlives it. */
	under_way = java_attach_free(under_way);
	found = *result;
	n_found++;
	if (userdata)
		sd_event_exit(userdata, 0);
}

static void begin(sd_event *loop, bool may_signal, void *userdata)
{
	const struct java_attach_query query = {
		.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC),
		.pid = (uint32_t)jvm,
		.pid_fd = jvm_fd,
		.may_signal = may_signal,
	};

	n_found = 0;
	ck_assert_int_eq(java_attach_new(loop, &query, on_done, userdata, &under_way), 0);
	ck_assert_int_eq(n_found, 0);
	close(query.proc);
}

static enum java_attach_outcome ask(bool may_signal)
{
	sd_event *loop;

	ck_assert_int_ge(sd_event_new(&loop), 0);
	begin(loop, may_signal, loop);
	ck_assert_int_ge(sd_event_loop(loop), 0);
	ck_assert_int_eq(n_found, 1);
	sd_event_unref(loop);
	return found.outcome;
}

START_TEST(the_first_line_of_an_answer_is_its_number)
{
	int32_t code = 7;

	ck_assert_int_eq(java_attach_parse_answer("0\n", 2, &code), 0);
	ck_assert_int_eq(code, 0);
	ck_assert_int_eq(java_attach_parse_answer("-1\njava.lang", 12, &code), 0);
	ck_assert_int_eq(code, -1);
	ck_assert_int_eq(java_attach_parse_answer("2147483647\n", 11, &code), 0);
	ck_assert_int_eq(code, INT32_MAX);
}
END_TEST

START_TEST(an_answer_without_a_number_is_none)
{
	static const char *const wrong[] = { "", "\n", "-\n", "0", "-", " 0\n", "+0\n", "0 \n", "0x0\n", "2147483648\n", "99999999999999999999\n",
		"OK\n0\n" };
	int32_t code = 7;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		ck_assert_int_eq(java_attach_parse_answer(wrong[i], strlen(wrong[i]), &code), -EBADMSG);
	ck_assert_int_eq(java_attach_parse_answer("0\n", 1, &code), -EBADMSG);
	ck_assert_int_eq(code, 7);
}
END_TEST

START_TEST(a_jvm_is_signalled_once_and_asked_again_and_again)
{
	start(GOOD);
	ck_assert_int_eq(ask(true), JAVA_ATTACH_WRITTEN);
	ck_assert(found.was_signalled);
	ck_assert(is_there(map_path));
	ck_assert_uint_gt(found.answer_nsec, 0);
	ck_assert_int_eq(ask(true), JAVA_ATTACH_WRITTEN);
	ck_assert(!found.was_signalled);
	ck_assert_int_eq(ask(false), JAVA_ATTACH_WRITTEN);
	stop();
}
END_TEST

START_TEST(who_has_no_loop_can_wait)
{
	sd_event *loop;

	start(GOOD);
	ck_assert_int_ge(sd_event_new(&loop), 0);
	begin(loop, true, NULL);
	java_attach_wait(under_way);
	ck_assert_int_eq(n_found, 1);
	ck_assert_int_eq(found.outcome, JAVA_ATTACH_WRITTEN);
	sd_event_exit(loop, 0);
	ck_assert_int_ge(sd_event_loop(loop), 0);
	begin(loop, true, NULL);
	java_attach_wait(under_way);
	ck_assert_int_eq(n_found, 1);
	ck_assert_int_eq(found.outcome, JAVA_ATTACH_WRITTEN);
	sd_event_unref(loop);
	stop();
}
END_TEST

START_TEST(who_does_not_catch_the_signal_never_gets_it)
{
	start(CATCHES_NOTHING);
	ck_assert_int_eq(ask(true), JAVA_ATTACH_NOT_CATCHING);
	ck_assert(!found.was_signalled);
	usleep(50000);
	stop();
}
END_TEST

START_TEST(without_leave_to_signal_only_who_listens_is_asked)
{
	start(GOOD);
	ck_assert_int_eq(ask(false), JAVA_ATTACH_NO_SOCKET);
	ck_assert(!found.was_signalled);
	stop();
}
END_TEST

START_TEST(one_that_opens_no_socket_is_not_waited_for_long)
{
	start(DEAF);
	ck_assert_int_eq(ask(true), JAVA_ATTACH_NO_SOCKET);
	ck_assert(found.was_signalled);
	stop();
}
END_TEST

START_TEST(one_that_does_not_answer_is_not_waited_for_long)
{
	start(SILENT);
	ck_assert_int_eq(ask(true), JAVA_ATTACH_NO_ANSWER);
	stop();
}
END_TEST

START_TEST(an_error_and_a_map_that_is_not_there_are_told)
{
	char why[512];

	start(REFUSES);
	ck_assert_int_eq(ask(true), JAVA_ATTACH_REFUSED);
	ck_assert_int_eq(found.code, -1);
	java_attach_explain(&found, why, sizeof(why));
	ck_assert_ptr_nonnull(strstr(why, "JDK 17"));
	stop();
	start(WRITES_NOTHING);
	ck_assert_int_eq(ask(true), JAVA_ATTACH_NO_MAP);
	stop();
}
END_TEST

START_TEST(what_others_planted_is_not_used)
{
	int fd;

	/* A socket of another process. */
	start(GOOD);
	fd = listen_on(socket_path);
	if (geteuid() == 0)
		ck_assert_int_eq(chown(socket_path, 65533, 65534), 0);
	ck_assert_int_eq(ask(true), JAVA_ATTACH_FOREIGN_FILE);
	close(fd);
	unlink(socket_path);
	/* A map that leads elsewhere. */
	ck_assert_int_eq(symlink("/tmp/elsewhere", map_path), 0);
	ck_assert_int_eq(ask(true), JAVA_ATTACH_FOREIGN_FILE);
	ck_assert(!found.was_signalled);
	stop();
	if (geteuid() != 0)
		return;
	/* A socket, a map, of another user. */
	start(GOOD);
	fd = listen_on(socket_path);
	ck_assert_int_eq(ask(true), JAVA_ATTACH_FOREIGN_FILE);
	close(fd);
	unlink(socket_path);
	close(open(map_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
	ck_assert_int_eq(ask(true), JAVA_ATTACH_FOREIGN_FILE);
	ck_assert(!found.was_signalled);
	stop();
}
END_TEST

START_TEST(one_that_has_ended_is_told)
{
	start(GOOD);
	kill(jvm, SIGKILL);
	waitpid(jvm, NULL, 0);
	ck_assert_int_eq(ask(true), JAVA_ATTACH_GONE);
	close(jvm_fd);
}
END_TEST

START_TEST(each_failure_has_words)
{
	char why[512];

	for (int i = JAVA_ATTACH_GONE; i < JAVA_ATTACH_N_OUTCOMES; i++) {
		const struct java_attach_result result = { .outcome = (enum java_attach_outcome)i, .error = EPERM, .uid = 4711 };

		why[0] = '\0';
		java_attach_explain(&result, why, sizeof(why));
		ck_assert_int_gt(strlen(why), 10);
		if (i == JAVA_ATTACH_NO_USER)
			ck_assert_ptr_nonnull(strstr(why, "CAP_SETUID"));
	}
}
END_TEST

UNIT_TESTS("java_attach", the_first_line_of_an_answer_is_its_number, an_answer_without_a_number_is_none,
	a_jvm_is_signalled_once_and_asked_again_and_again, who_has_no_loop_can_wait, who_does_not_catch_the_signal_never_gets_it,
	without_leave_to_signal_only_who_listens_is_asked, one_that_opens_no_socket_is_not_waited_for_long,
	one_that_does_not_answer_is_not_waited_for_long, an_error_and_a_map_that_is_not_there_are_told,
	what_others_planted_is_not_used, one_that_has_ended_is_told, each_failure_has_words)
