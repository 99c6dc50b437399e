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
#include "privileges.h"

struct command {
	pid_t pid;
	int begin_fd;                        /* a byte written here lets the child go on; -1 once it was */
};

/* As env(1) and shells have it: 127 not found, 126 found and not to be run. */
static _Noreturn void child(int begin_fd, char *const *argv)
{
	sigset_t none;
	char go;
	int r;

	/* End of file: the parent gave up. */
	if (read(begin_fd, &go, 1) != 1)
		_exit(EXIT_FAILURE);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	r = privileges_become_owner();
	if (r < 0) {
		fprintf(stderr, "tsprofd: cannot become who typed sudo: %s\n", strerror(-r));
		_exit(126);
	}
	execvp(argv[0], argv);
	r = errno;
	fprintf(stderr, "tsprofd: cannot run %s: %s\n", argv[0], strerror(r));
	_exit(r == ENOENT ? 127 : 126);
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
	command->begin_fd = fds[1];
	*ret = command;
	return 0;
}

struct command *command_free(struct command *command)
{
	if (!command)
		return NULL;
	close_fd(command->begin_fd);
	free(command);
	return NULL;
}

pid_t command_pid(const struct command *command)
{
	return command->pid;
}

int command_begin(struct command *command)
{
	int fd = take_fd(&command->begin_fd);
	int r = send(fd, "", 1, MSG_NOSIGNAL) < 0 ? -errno : 0;

	close(fd);
	return r;
}

int command_exit_code(int code, int status)
{
	return code == CLD_EXITED ? status : 128 + status;
}
