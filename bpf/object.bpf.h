/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * What a file or a socket is called that is waited for: looked up at the first wait about it in a window, one lookup in a
 * map at the others. The daemon could not do that at a window's end: what was opened for a moment is closed by then.
 *
 * Names are read without a lock while somebody may rename the file: each read is bounded, and what it finds is a name that
 * was there a moment ago or, at worst, a torn one.
 */
#include "kernel.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "sample.h"

enum {
	OBJECT_MAX = 2048,               /* 600 KiB. What is forgotten is looked up again when it is waited for again */
	OBJECT_MAX_COMPONENTS = 32,
	/* include/linux/socket.h, include/net/tcp_states.h */
	OBJECT_AF_UNIX = 1,
	OBJECT_AF_INET = 2,
	OBJECT_AF_INET6 = 10,
	OBJECT_TCP_LISTEN = 10,
};

/* Written by the daemon at a window's end: files are renamed, and numbers of inodes are used again. */
volatile __u32 objects_window = 0;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, OBJECT_MAX);
	__type(key, struct sample_object_key);
	__type(value, struct sample_object);
} objects SEC(".maps");

struct object_scratch {
	struct sample_object object;
	char room[SAMPLE_PATH_MAX];      /* so that a component of any length can be written to any place of a path */
};

/* The second one is the iterators': a switch interrupts them. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct object_scratch);
} object_scratch SEC(".maps");

static __always_inline void object_path(struct object_scratch *scratch, struct dentry *dentry)
{
	__u32 at = 0;

	scratch->object.flags |= SAMPLE_PATH_CUT;
	for (__u32 i = 0; i < OBJECT_MAX_COMPONENTS; i++) {
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
		long n;

		if (i && parent == dentry) {
			scratch->object.flags &= ~SAMPLE_PATH_CUT;
			return;
		}
		if (at > SAMPLE_PATH_MAX - 1)
			return;
		n = bpf_probe_read_kernel_str(scratch->object.path + at, SAMPLE_PATH_MAX, BPF_CORE_READ(dentry, d_name.name));
		if (n <= 0 || n > SAMPLE_PATH_MAX || at + n > SAMPLE_PATH_MAX)
			return;
		at += n;
		scratch->object.path_size = at;
		if (parent == dentry) {
			scratch->object.flags &= ~SAMPLE_PATH_CUT;
			scratch->object.flags |= SAMPLE_PATH_ROOT;
			return;
		}
		dentry = parent;
	}
}

/* Of the other end, if that has one: struct sockaddr_un begins with its family. */
static __always_inline void object_unix_peer(struct object_scratch *scratch, struct sock *sk)
{
	struct unix_sock *own, *peer;
	struct unix_address *address;
	int size;

	if (!bpf_core_type_exists(struct unix_sock) || !bpf_core_type_exists(struct unix_address))
		return;
	own = (struct unix_sock *)sk;
	peer = (struct unix_sock *)BPF_CORE_READ(own, peer);
	address = peer ? BPF_CORE_READ(peer, addr) : NULL;
	size = address ? BPF_CORE_READ(address, len) - 2 : 0;
	if (size < 2 || size > 108 || bpf_probe_read_kernel(scratch->object.path, size, &address->name[0].sun_path) < 0)
		return;
	if (!scratch->object.path[0]) {
		scratch->object.flags |= SAMPLE_PATH_ABSTRACT;
		scratch->object.path[0] = '@';
	}
	scratch->object.path[size] = '\0';
	scratch->object.path_size = size + 1;
}

static __always_inline void object_socket(struct object_scratch *scratch, struct sock *sk)
{
	struct sample_object *object = &scratch->object;

	object->kind = SAMPLE_OBJECT_SOCKET;
	object->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (object->family == OBJECT_AF_UNIX) {
		object_unix_peer(scratch, sk);
		return;
	}
	if (object->family != OBJECT_AF_INET && object->family != OBJECT_AF_INET6)
		return;
	object->own_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (BPF_CORE_READ(sk, __sk_common.skc_state) == OBJECT_TCP_LISTEN)
		return;
	object->peer_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (object->family == OBJECT_AF_INET6 && bpf_core_field_exists(sk->__sk_common.skc_v6_daddr))
		bpf_core_read(object->peer, sizeof(object->peer), &sk->__sk_common.skc_v6_daddr);
	else
		bpf_core_read(object->peer, 4, &sk->__sk_common.skc_daddr);
}

/* The first of the names of an inode; NULL: it has none. */
static __always_inline struct dentry *object_first_name(struct inode *inode)
{
	char *first = (char *)BPF_CORE_READ(inode, i_dentry.first);

	if (!first)
		return NULL;
	if (bpf_core_field_exists(struct dentry___before, d_u.d_alias))
		return (struct dentry *)(first - bpf_core_field_offset(struct dentry___before, d_u.d_alias));
	return (struct dentry *)(first - bpf_core_field_offset(struct dentry, d_alias));
}

static __always_inline void object_file(struct object_scratch *scratch, struct inode *inode, struct dentry *dentry)
{
	struct sample_object *object = &scratch->object;

	object->kind = SAMPLE_OBJECT_FILE;
	if (!dentry)
		dentry = object_first_name(inode);
	if (!BPF_CORE_READ(inode, i_nlink))
		object->flags |= SAMPLE_PATH_DELETED;
	if (dentry) {
		object_path(scratch, dentry);
		return;
	}
	object->device = BPF_CORE_READ(inode, i_rdev);
	if (object->device)
		object->kind = SAMPLE_OBJECT_BLOCK_DEVICE;
}

/*
 * Of an inode and, where it is known, the file that was opened: addresses in the kernel. Verified by itself, which keeps
 * the programs that call it small; such a function takes numbers only (Linux 6.1).
 */
__noinline int object_remember(__u64 inode_address, __u64 file_address, __u32 is_socket, __u32 slot)
{
	struct inode *inode = (struct inode *)inode_address;
	struct file *file = (struct file *)file_address;
	struct object_scratch *scratch;
	struct sample_object_key key = {};
	const struct sample_object *known;

	key.object = BPF_CORE_READ(inode, i_ino);
	key.device = BPF_CORE_READ(inode, i_sb, s_dev);
	known = bpf_map_lookup_elem(&objects, &key);
	/* A socket may be given its peer between two waits. */
	if (known && known->window == objects_window && (known->kind != SAMPLE_OBJECT_SOCKET || known->family == OBJECT_AF_UNIX || known->peer_port))
		return 0;
	slot &= 1;
	scratch = bpf_map_lookup_elem(&object_scratch, &slot);
	if (!scratch)
		return 0;
	__builtin_memset(&scratch->object, 0, sizeof(scratch->object));
	scratch->object.window = objects_window;
	if (is_socket) {
		struct socket *socket = (struct socket *)BPF_CORE_READ(file, private_data);

		object_socket(scratch, BPF_CORE_READ(socket, sk));
	} else {
		object_file(scratch, inode, file ? BPF_CORE_READ(file, f_path.dentry) : NULL);
	}
	bpf_map_update_elem(&objects, &key, &scratch->object, BPF_ANY);
	return 0;
}

/* Whose wait: the current task's, or one that an iterator looks at. */
static __always_inline __u32 object_slot(const struct task_struct *task)
{
	return bpf_get_current_task() != (__u64)task;
}

/* --- Files that no descriptor tells of: those of page faults, mostly --- */

/* The last one that this thread looked for in the page cache. */
struct object_fault {
	__u64 inode;                     /* address in the kernel; it stays as long as the fault lasts */
	__u64 n_faults;                  /* that were over then: the same number as later: still the same one */
	__s32 number;                    /* of the system call, negative: none */
	__u32 is_fault;                  /* else it read pages in, for whatever reason */
};

static __always_inline __u64 object_n_faults(const struct task_struct *task)
{
	return task->min_flt + task->maj_flt;
}

static __always_inline void object_looks_for(struct object_fault *fault, struct task_struct *task, struct inode *inode, bool is_fault)
{
	__u64 n_faults = object_n_faults(task);
	__s32 number = (__s32)((const struct pt_regs *)bpf_task_pt_regs(task))->orig_ax;

	/* Where a file's data is, is read of the device under it: on behalf of the file. */
	if (!is_fault && fault->inode && fault->n_faults == n_faults && fault->number == number &&
	    (BPF_CORE_READ(inode, i_mode) & 0170000 /* S_IFMT */) == 0060000 /* S_IFBLK */)
		return;
	if (!is_fault && fault->is_fault && fault->n_faults == n_faults)
		return;
	fault->inode = (__u64)inode;
	fault->n_faults = n_faults;
	fault->number = number;
	fault->is_fault = is_fault;
}

/* Of a wait for a page or a disk, after reason_find(). */
static __always_inline void object_of_fault(struct object_fault *fault, struct task_struct *task, struct sample_wait *wait)
{
	struct inode *inode = (struct inode *)fault->inode;
	__s32 number;

	if (!inode || (wait->reason != SAMPLE_FAULT && wait->reason != SAMPLE_DISK) || fault->n_faults != object_n_faults(task))
		return;
	number = (__s32)((const struct pt_regs *)bpf_task_pt_regs(task))->orig_ax;
	if (number != fault->number)
		return;
	/* A system call that copies from a mapped file waits for that one, not for that behind its descriptor. */
	if (!fault->is_fault && wait->object)
		return;
	wait->object = BPF_CORE_READ(inode, i_ino);
	wait->device = BPF_CORE_READ(inode, i_sb, s_dev);
	object_remember((__u64)inode, 0, 0, object_slot(task));
	/* The inode is another one's, perhaps, when the same system call comes again. */
	if (!fault->is_fault && number >= 0)
		fault->inode = 0;
}
