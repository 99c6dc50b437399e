/* SPDX-License-Identifier: Apache-2.0 */
#include "symbolizer_child.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "elf_image.h"
#include "minidebug.h"
#include "names.h"
#include "sandbox.h"
#include "symbolizer.h"
#include "symbolizer_protocol.h"
#include "unwind_image.h"
#include "unwind_rows.h"

/* What the largest programs need to be named, three times over (a browser's debug file: 160 MiB). */
#define MAX_MEMORY (UINT64_C(512) << 20)
/* Files are mapped, not read: executable, debug file and supplement of a few slots. Pages of files are not ours to fill. */
#define MAX_ADDRESS_SPACE (MAX_MEMORY + 2 * ELF_IMAGE_MAX_SIZE)
/* Files are closed once mapped; libdw duplicates some. */
#define MAX_DESCRIPTORS 64

struct child {
	int socket;
	struct symbolizer *slots[SYMBOLIZER_SLOTS];
	struct symbolizer_question question;
	struct symbolizer_record record;     /* last read or about to be sent */
};

static int send_record(void *userdata, const struct symbolizer_record *record)
{
	const struct child *child = userdata;
	struct iovec part = { .iov_base = (void *)record->bytes, .iov_len = record->size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	while (sendmsg(child->socket, &message, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int received_descriptor(struct msghdr *message)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(message);
	int fd;

	if (!control || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS ||
	    control->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -1;
	memcpy(&fd, CMSG_DATA(control), sizeof(fd));
	return fd;
}

/* 1 and a question; 0 when the owner hung up; -errno. */
static int receive(struct child *child, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { .iov_base = child->record.bytes, .iov_len = sizeof(child->record.bytes) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
	};
	ssize_t n;

	do
		n = recvmsg(child->socket, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (!n)
		return 0;
	*ret_fd = received_descriptor(&message);
	return symbolizer_protocol_get_question(child->record.bytes, n, &child->question) ? -EPROTO : 1;
}

static bool has_section(const struct elf_image *image, const char *name)
{
	const struct elf_section *section = elf_image_section(image, name);

	return section && section->size > 0 && elf_image_section_is_here(image, section);
}

static uint64_t section_size(const struct elf_image *image, const char *name)
{
	return has_section(image, name) ? elf_image_section(image, name)->size : 0;
}

/*
 * Startup files of the C library and stubs have an .eh_frame of some hundred bytes in a program that has none itself; with
 * all functions described it is a twentieth of .text. Go describes its frames in its own tables, whether a linker
 * added others or not.
 */
static bool lacks_frames(const struct elf_image *image)
{
	uint64_t described = section_size(image, ".eh_frame");

	return (described < 512 || described < section_size(image, ".text") / 100) && !has_section(image, ".debug_frame") &&
		!has_section(image, ".gopclntab") && !has_section(image, ".data.rel.ro.gopclntab");
}

static int answer_opened(struct child *child, struct symbolizer *symbolizer, int status)
{
	const struct elf_image *image = symbolizer ? symbolizer_image(symbolizer) : NULL;
	struct symbolizer_opened opened = { .status = status };

	if (symbolizer)
		symbolizer_wants(symbolizer, &opened.wants);
	if (image) {
		opened.build_id = elf_image_build_id(image);
		opened.lacks_frames = lacks_frames(image);
	}
	symbolizer_protocol_put_opened(&child->record, &opened);
	return send_record(child, &child->record);
}

static int answer_closed(struct child *child)
{
	/* What it gave back must be seen in our size. */
	malloc_trim(0);
	symbolizer_protocol_put_closed(&child->record);
	return send_record(child, &child->record);
}

static int answer_names(struct child *child, struct symbolizer *symbolizer)
{
	struct names *names = NULL;
	int status, r;

	if (!symbolizer)
		return -EPROTO;
	status = symbolizer_resolve(symbolizer, child->question.offsets, child->question.n_offsets, &names);
	r = symbolizer_protocol_put_names(status, names, send_record, child);
	names_free(names);
	return r;
}

static int make_table(struct symbolizer *symbolizer, void **ret, size_t *ret_size)
{
	const struct elf_image *image = symbolizer_image(symbolizer);
	const struct elf_image *debug = symbolizer_debug_image(symbolizer);
	struct minidebug mini = { 0 };
	struct unwind_rows rows = {0};
	int r = 0;

	if (!image)
		return -EINVAL;
	/* As for a separate debug file: worth its time only where next to nothing is known without. */
	if (!debug && lacks_frames(image))
		r = minidebug_open(image, &mini);
	if (!r)
		r = unwind_rows_build(image, debug ? debug : mini.image, &rows);
	if (!r)
		r = unwind_image_encode(&rows, ret, ret_size);
	unwind_rows_deinit(&rows);
	minidebug_close(&mini);
	return r;
}

static int answer_table(struct child *child, struct symbolizer *symbolizer)
{
	_cleanup_free_ void *bytes = NULL;
	size_t size = 0;
	int status;

	if (!symbolizer)
		return -EPROTO;
	status = make_table(symbolizer, &bytes, &size);
	return symbolizer_protocol_put_table(status, bytes, size, send_record, child);
}

static int answer(struct child *child, int fd)
{
	struct symbolizer **slot = &child->slots[child->question.slot];
	int status;

	switch (child->question.type) {
	case SYMBOLIZER_OPEN:
		*slot = symbolizer_free(*slot);
		status = symbolizer_open(child->question.kind, fd, slot);
		return answer_opened(child, *slot, status);
	case SYMBOLIZER_ADD_DEBUG_FILE:
		return *slot ? answer_opened(child, *slot, symbolizer_add_debug_file(*slot, fd)) : -EPROTO;
	case SYMBOLIZER_ADD_SUPPLEMENT:
		return *slot ? answer_opened(child, *slot, symbolizer_add_supplement(*slot, fd)) : -EPROTO;
	case SYMBOLIZER_RESOLVE:
		return answer_names(child, *slot);
	case SYMBOLIZER_TABLE:
		return answer_table(child, *slot);
	case SYMBOLIZER_CLOSE:
		*slot = symbolizer_free(*slot);
		return answer_closed(child);
	default:
		return -EPROTO;
	}
}

static int confine(struct child *child)
{
	const struct sandbox_options options = {
		.keep_fd = child->socket,
		.max_memory = MAX_MEMORY,
		.max_address_space = MAX_ADDRESS_SPACE,
		.max_descriptors = MAX_DESCRIPTORS,
	};
	struct symbolizer_hello hello = {0};
	struct sandbox sandbox;
	int r;

	/* Started through /proc/self/exe: its name would be "exe". */
	prctl(PR_SET_NAME, "tsprofd-symbol");
	r = sandbox_enter(&options, &sandbox);
	if (r < 0)
		return r;
	hello.landlock_abi = sandbox.landlock_abi;
	hello.limited = sandbox.limited;
	hello.unprivileged_user = sandbox.unprivileged_user;
	symbolizer_protocol_put_hello(&child->record, &hello);
	return send_record(child, &child->record);
}

int symbolizer_child_run(int socket)
{
	_cleanup_free_ struct child *child = calloc(1, sizeof(*child));
	int r;

	if (!child)
		return EXIT_FAILURE;
	child->socket = socket;
	r = confine(child);
	while (r >= 0) {
		_cleanup_close_ int fd = -1;

		r = receive(child, &fd);
		if (r == 0)
			break;
		if (r > 0)
			r = answer(child, fd);
	}
	for (size_t i = 0; i < SYMBOLIZER_SLOTS; i++)
		symbolizer_free(child->slots[i]);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
