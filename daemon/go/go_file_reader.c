/* SPDX-License-Identifier: Apache-2.0 */
#include "go_file_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "elf_image.h"
#include "go_binary.h"
#include "sandbox.h"
#include "spawn_self.h"

enum { FILE_FD = 3, PIPE_FD = 4, MOST_SEC = 10, MAX_DESCRIPTORS = 16 };

/* kubelet's function table has 100,000 functions, and is read in place. */
#define MAX_MEMORY (UINT64_C(256) << 20)
#define MAX_ADDRESS_SPACE (MAX_MEMORY + ELF_IMAGE_MAX_SIZE)

/* What the helper writes; it fits into the pipe. */
struct answer {
	uint32_t outcome;                    /* enum go_file_reader_outcome */
	uint32_t zero;
	struct go_thread process;
};

struct go_file_reader {
	go_file_reader_fn done;
	void *userdata;
	pid_t helper;                        /* 0: none any more */
	int helper_fd;                       /* its pidfd */
	int pipe;
	sd_event_source *exit_source;
};

DEFINE_CLEANUP(struct elf_image, elf_image_free);
DEFINE_CLEANUP(struct go_binary, go_binary_free);

/* ---- the helper ---- */

static enum go_file_reader_outcome look(struct go_thread *ret)
{
	_cleanup_(elf_image_free_p) struct elf_image *image = NULL;
	_cleanup_(go_binary_free_p) struct go_binary *binary = NULL;
	const struct go_layout *layout;
	bool is_guess;
	int r;

	if (elf_image_open(FILE_FD, &image))
		return GO_FILE_READER_NO_GO;
	r = go_binary_open(image, &(struct go_binary_options){ 0 }, &binary);
	if (r < 0)
		return GO_FILE_READER_FAILED;
	if (r)
		return r == GO_BINARY_E_VERSION ? GO_FILE_READER_VERSION : GO_FILE_READER_NO_GO;
	layout = go_layout_of(go_binary_version(binary), &is_guess);
	if (!layout)
		return GO_FILE_READER_VERSION;
	if (!go_binary_thread_g(binary, &ret->g))
		return GO_FILE_READER_NO_G;
	ret->g_m = layout->g.m;
	ret->g_id = layout->g.id;
	ret->g_labels = layout->g.labels;
	ret->m_current_g = layout->m.current_g;
	/* runtime/pprof/label.go: labelMap is a map before 1.24. */
	ret->labels = go_binary_version(binary).minor < 24 ? GO_THREAD_LABELS_MAP : GO_THREAD_LABELS_LIST;
	return GO_FILE_READER_KNOWN;
}

int go_file_reader_main(void)
{
	const struct sandbox_options options = {
		.keep_fd = PIPE_FD,
		.max_memory = MAX_MEMORY,
		.max_address_space = MAX_ADDRESS_SPACE,
		.max_descriptors = MAX_DESCRIPTORS,
	};
	struct answer answer = { 0 };
	struct sandbox sandbox;

	/* Started through /proc/self/exe: its name would be "exe". */
	prctl(PR_SET_NAME, "tsprofd-go-file");
	alarm(MOST_SEC);
	if (sandbox_enter(&options, &sandbox) < 0)
		return EXIT_FAILURE;
	answer.outcome = look(&answer.process);
	return write(PIPE_FD, &answer, sizeof(answer)) == (ssize_t)sizeof(answer) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- the daemon's side ---- */

static int on_exit_of_helper(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct go_file_reader *reader = userdata;
	enum go_file_reader_outcome outcome = GO_FILE_READER_FAILED;
	struct answer answer;

	sd_event_source_set_enabled(reader->exit_source, SD_EVENT_OFF);
	if (read(reader->pipe, &answer, sizeof(answer)) == (ssize_t)sizeof(answer) && answer.outcome < GO_FILE_READER_FAILED)
		outcome = (enum go_file_reader_outcome)answer.outcome;
	waitpid(reader->helper, NULL, WNOHANG);
	reader->helper = 0;
	reader->done(outcome, &answer.process, reader->userdata);
	return 0;
}

static int start(struct go_file_reader *reader, int fd)
{
	_cleanup_close_ int writer = -1;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	reader->pipe = fds[0];
	writer = fds[1];
	r = spawn_self(&(struct spawn_self){ .name = GO_FILE_READER_NAME, .fds = (int[]){ fd, writer }, .n_fds = 2 }, &reader->helper);
	if (r < 0)
		return r;
	reader->helper_fd = (int)syscall(SYS_pidfd_open, reader->helper, 0);
	return reader->helper_fd < 0 ? -errno : 0;
}

DEFINE_CLEANUP(struct go_file_reader, go_file_reader_free);

int go_file_reader_new(sd_event *loop, int fd, go_file_reader_fn done, void *userdata, struct go_file_reader **ret)
{
	_cleanup_(go_file_reader_free_p) struct go_file_reader *reader = calloc(1, sizeof(*reader));
	int r;

	if (!reader)
		return -ENOMEM;
	reader->done = done;
	reader->userdata = userdata;
	reader->helper_fd = reader->pipe = -1;
	r = start(reader, fd);
	if (r >= 0)
		r = sd_event_add_io(loop, &reader->exit_source, reader->helper_fd, EPOLLIN, on_exit_of_helper, reader);
	if (r < 0)
		return r;
	*ret = TAKE(reader);
	return 0;
}

struct go_file_reader *go_file_reader_free(struct go_file_reader *reader)
{
	if (!reader)
		return NULL;
	sd_event_source_disable_unref(reader->exit_source);
	if (reader->helper) {
		/* One that hangs in the kernel, which even a signal does not end, is a zombie later, until our own end. */
		if (reader->helper_fd >= 0)
			syscall(SYS_pidfd_send_signal, reader->helper_fd, SIGKILL, NULL, 0);
		waitpid(reader->helper, NULL, WNOHANG);
	}
	close_fd(reader->helper_fd);
	close_fd(reader->pipe);
	free(reader);
	return NULL;
}
