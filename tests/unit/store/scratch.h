/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A directory for one test, and small things to do in it. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "pprof_encode.h"
#include "profile.h"
#include "store.h"

static const uint64_t noon = UINT64_C(1795521600) * NSEC_PER_SEC; /* 2026-11-24 12:00:00 UTC */

/* Goes into a fresh directory; paths of the test are relative to it. */
static inline void scratch_enter(void)
{
	char directory[] = "/tmp/test_store.XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chdir(directory), 0);
}

static inline int scratch_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline void scratch_leave(void)
{
	_cleanup_free_ char *directory = getcwd(NULL, 0);

	ck_assert_ptr_nonnull(directory);
	ck_assert_int_eq(strncmp(directory, "/tmp/test_store.", 16), 0);
	ck_assert_int_eq(chdir("/"), 0);
	nftw(directory, scratch_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static size_t scratch_count;

static inline int scratch_count_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	scratch_count += type == FTW_F || type == FTW_SL || type == FTW_SLN;
	return 0;
}

/* Files below path. */
static inline size_t scratch_files(const char *path)
{
	scratch_count = 0;
	nftw(path, scratch_count_one, 16, FTW_PHYS);
	return scratch_count;
}

static inline bool scratch_exists(const char *path)
{
	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline void scratch_write(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "w");

	ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
	ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
	ck_assert_int_eq(fclose(f), 0);
}

static inline struct store *scratch_store(void)
{
	struct store *store = NULL;

	ck_assert_int_eq(store_new("out", &STORE_OPTIONS_DEFAULT, &store), 0);
	return store;
}

/* The bytes of a real profile, whose size is n. */
static inline char *scratch_profile(size_t n)
{
	_cleanup_(profile_free_p) struct profile *p = profile_new();
	char *bytes, *grown;
	size_t size;

	ck_assert_int_eq(profile_set_kind(p, PROFILE_CPU, 1), 0);
	ck_assert_int_eq(pprof_encode(p, PPROF_LEVEL_DEFAULT, &bytes, &size), 0);
	ck_assert_uint_le(size, n);
	grown = realloc(bytes, n);
	memset(grown + size, 0, n - size);
	return grown;
}
