/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for a JIT compiler: writes the machine code of two loops into anonymous memory, names them in
 * /tmp/perf-PID.map, spends its time in jit_hot and jit_warm, 70:30, and removes the map at the end.
 * `jit [SECONDS [keep-map]]`
 */
#include "truth.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the machine code is that of x86-64"
#endif

/* void loop(uint64_t n_rounds /rdi/), with a frame pointer as a JIT compiler that cares for profilers emits it. */
static const unsigned char loop_code[] = {
	0x55,                               /*     push  %rbp            */
	0x48, 0x89, 0xe5,                   /*     mov   %rsp, %rbp      */
	0x48, 0x89, 0xf8,                   /*     mov   %rdi, %rax      */
	0x48, 0x85, 0xff,                   /*     test  %rdi, %rdi      */
	0x74, 0x0a,                         /*     je    2f              */
	0x48, 0x6b, 0xc0, 0x65,             /* 1:  imul  $101, %rax, %rax*/
	0x90,                               /*     nop                   */
	0x48, 0xff, 0xcf,                   /*     dec   %rdi            */
	0x75, 0xf6,                         /*     jne   1b              */
	0x5d,                               /* 2:  pop   %rbp            */
	0xc3,                               /*     ret                   */
};

#define FUNCTION_SPACING 256 /* bytes */

static char map_path[64];

/* Returns 0 or -errno. */
static int write_map(const unsigned char *code, const char *const *names, int n_names)
{
	FILE *map;
	int fd;

	snprintf(map_path, sizeof map_path, "/tmp/perf-%d.map", (int)getpid());
	unlink(map_path); /* of an earlier process of this number */
	fd = open(map_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	map = fdopen(fd, "w");
	for (int i = 0; i < n_names; i++)
		fprintf(map, "%" PRIxPTR " %zx %s\n", (uintptr_t)(code + i * FUNCTION_SPACING), sizeof loop_code, names[i]);
	return fclose(map) ? -errno : 0;
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"jit_hot", "jit_warm"};
	double seconds = truth_begin(argc, argv, 5);
	struct share shares[] = {
		{names[0], 70, NULL, 0},
		{names[1], 30, NULL, 0},
	};
	unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	if (code == MAP_FAILED)
		return 71;
	for (int i = 0; i < 2; i++) {
		memcpy(code + i * FUNCTION_SPACING, loop_code, sizeof loop_code);
		*(void **)&shares[i].burn = code + i * FUNCTION_SPACING;
	}
	r = write_map(code, names, 2);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", map_path, strerror(-r));
		return 73;
	}
	truth_spend(shares, 2, seconds);
	truth_print(shares, 2);
	if (argc < 3 || strcmp(argv[2], "keep-map") != 0)
		unlink(map_path);
	return 0;
}
