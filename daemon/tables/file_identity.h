/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which file a descriptor is, in the words of the kernel side (struct unwind_file). stat(2) has other numbers on overlayfs
 * and btrfs, and numbers that its author chose on FUSE; so the kernel is asked with the code that made the want: the
 * descriptor is mapped, and a program says which file that mapping is of. Nothing of the file is read.
 *
 * Without it a program could have libc executed, and put a file of its own in that place before the daemon looks: its
 * table would be that of everybody's libc. The same happens by chance to who closes and opens plugins.
 */
#include "unwind_table.h"

struct file_identity;

int file_identity_new(struct file_identity **ret);
struct file_identity *file_identity_free(struct file_identity *identity);

/* 0; FILE_IDENTITY_E_UNKNOWN when it cannot be mapped or the kernel does not tell; -errno. */
int file_identity_of(struct file_identity *identity, int fd, struct unwind_file *ret);
enum { FILE_IDENTITY_E_UNKNOWN = 1 };
