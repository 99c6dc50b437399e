/* SPDX-License-Identifier: Apache-2.0 */
#include "file_identity.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "identify.skel.h"

struct file_identity {
	struct identify_bpf *bpf;
};

DEFINE_CLEANUP(struct file_identity, file_identity_free);

int file_identity_new(struct file_identity **ret)
{
	_cleanup_(file_identity_free_p) struct file_identity *identity = calloc(1, sizeof(*identity));

	if (!identity)
		return -ENOMEM;
	identity->bpf = identify_bpf__open_and_load();
	if (!identity->bpf)
		return -errno;
	*ret = TAKE(identity);
	return 0;
}

struct file_identity *file_identity_free(struct file_identity *identity)
{
	if (!identity)
		return NULL;
	identify_bpf__destroy(identity->bpf);
	free(identity);
	return NULL;
}

int file_identity_of(struct file_identity *identity, int fd, struct unwind_file *ret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	/* Never touched: a file that shrinks does no harm. */
	void *mapped = mmap(NULL, page, PROT_READ, MAP_PRIVATE, fd, 0);
	__u64 address = (__u64)(uintptr_t)mapped;
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &address, .ctx_size_in = sizeof(address));
	int r;

	if (mapped == MAP_FAILED)
		return FILE_IDENTITY_E_UNKNOWN;
	r = bpf_prog_test_run_opts(bpf_program__fd(identity->bpf->progs.identify), &options);
	munmap(mapped, page);
	if (r < 0)
		return r;
	if (!identity->bpf->bss->is_found)
		return FILE_IDENTITY_E_UNKNOWN;
	*ret = identity->bpf->bss->found;
	return 0;
}
