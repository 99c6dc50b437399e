/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "descriptors.h"
#include "privileges.h"

struct command {
	pid_t pid;
	int fd;                              /* a byte written here lets the child go on; -1 once it was */
};

/* Tells the parent, which takes end of file for success: the descriptor closes at exec. */
static _Noreturn void give_up(int fd, unsigned char code)
{
	/* No parent, nobody to tell. */
	send(fd, &code, 1, MSG_NOSIGNAL);
	_exit(code);
}

/* As env(1) and shells have it: 127 not found, 126 found and not to be run. */
static _Noreturn void child(int fd, char *const *argv)
{
	sigset_t none;
	char go;
	int r;

	/* End of file: the parent gave up. */
	if (read(fd, &go, 1) != 1)
		_exit(EXIT_FAILURE);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	descriptors_restore_limit();
	r = privileges_become_owner();
	if (r < 0) {
		fprintf(stderr, "tsprofd: cannot become who typed sudo: %s\n", strerror(-r));
		give_up(fd, COMMAND_EXIT_NOT_RUN);
	}
	execvp(argv[0], argv);
	r = errno;
	fprintf(stderr, "tsprofd: cannot run %s: %s\n", argv[0], strerror(r));
	give_up(fd, r == ENOENT ? COMMAND_EXIT_NOT_FOUND : COMMAND_EXIT_NOT_RUN);
}

int command_new(char *const *argv, struct command **ret)
{
	struct command *command = calloc(1, sizeof(*command));
	int fds[2];

	if (!command)
		return -ENOMEM;
	/* A socket, so that telling a child that was killed gives an error and no signal. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		free(command);
		return -errno;
	}
	command->pid = fork();
	if (command->pid < 0) {
		int r = -errno;

		close(fds[0]);
		close(fds[1]);
		free(command);
		return r;
	}
	if (command->pid == 0) {
		close(fds[1]);
		child(fds[0], argv);
	}
	close(fds[0]);
	command->fd = fds[1];
	*ret = command;
	return 0;
}

struct command *command_free(struct command *command)
{
	if (!command)
		return NULL;
	close_fd(command->fd);
	free(command);
	return NULL;
}

pid_t command_pid(const struct command *command)
{
	return command->pid;
}

int command_begin(struct command *command)
{
	_cleanup_close_ int fd = take_fd(&command->fd);
	unsigned char code;
	ssize_t n;

	/* It may have been killed before it began: its status tells, as of any command that is killed. */
	if (send(fd, "", 1, MSG_NOSIGNAL) < 0)
		return errno == EPIPE ? 0 : -errno;
	do
		n = read(fd, &code, 1);
	while (n < 0 && errno == EINTR);
	return n == 1 ? code : 0;
}

int command_exit_code(int code, int status)
{
	return code == CLD_EXITED ? status : 128 + status;
}
