/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What unwind_depth finds in code that is described, against that description, .eh_frame: each byte of code where both
 * speak. So it is known how far the rows of code without description can be trusted.
 *
 *	compare_depth [--tell N] FILE...
 *	compare_depth --test PPM PERCENT FILE...
 *
 * Prints a line for each file and one for all: bytes of code that are described; of these in percent: spoken of; of these
 * those whose CFA is told from another register (rsp instead of rbp), which can't be compared; without a rule (UNKNOWN);
 * silent. `differ` is in parts per million of what is spoken of. Differences are in the CFA, or in where rbp or rbx are; N of
 * each sort are told with their addresses. With --test each file is a test (TAP): PERCENT must be spoken of at least, PPM
 * may differ at most.
 *
 * Two descriptions of the same are no difference: a register that is not overwritten yet, or not any more, may be taken as
 * it is or from where it was saved.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "elf_image.h"
#include "unwind_cfi.h"
#include "unwind_code.h"
#include "unwind_depth.h"
#include "unwind_rows.h"
#include "vec.h"

struct range {
	uint64_t start, end;                 /* file offsets */
	struct unwind_rule rule;
};

struct ranges {
	VEC(struct range) v;
	const struct elf_image *image;
};

enum sort { AGREE, DIFFER_CFA, DIFFER_BP, DIFFER_BX, OTHER_BASE, NO_RULE, SILENT, N_SORTS };
static const char *const sort_names[N_SORTS] = { "agree", "CFA", "rbp", "rbx", "base", "unknown", "silent" };

struct counts {
	uint64_t bytes[N_SORTS];
	double seconds;
};

static unsigned n_told_at_most;

static int add(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	struct ranges *ranges = userdata;

	return vec_push(&ranges->v, ((struct range){ start, end, *rule }));
}

static int add_address(void *userdata, uint64_t start, uint64_t end, const struct unwind_rule *rule)
{
	struct ranges *ranges = userdata;
	uint64_t offset;

	if (!elf_image_offset_of_address(ranges->image, start, &offset))
		return 0;
	return add(userdata, offset, offset + (end - start), rule);
}

static int compare_ranges(const void *pa, const void *pb)
{
	const struct range *a = pa, *b = pb;

	return (a->start > b->start) - (a->start < b->start);
}

static void sort(struct ranges *ranges)
{
	if (ranges->v.n)
		qsort(ranges->v.at, ranges->v.n, sizeof(*ranges->v.at), compare_ranges);
}

/* Executable segments without the stubs that unwind_code knows. */
static void find_gaps(const struct elf_image *image, const struct ranges *stubs, struct ranges *gaps)
{
	size_t n;
	const struct elf_segment *segments = elf_image_segments(image, &n);

	for (size_t i = 0; i < n; i++) {
		uint64_t at = segments[i].offset, end = at + segments[i].file_size;

		if (segments[i].type != 1 || !(segments[i].flags & 1))
			continue;
		for (size_t k = 0; k < stubs->v.n && at < end; k++) {
			if (stubs->v.at[k].start < at || stubs->v.at[k].start >= end)
				continue;
			if (stubs->v.at[k].start > at)
				add(gaps, at, stubs->v.at[k].start, &(struct unwind_rule){ 0 });
			at = stubs->v.at[k].end;
		}
		if (at < end)
			add(gaps, at, end, &(struct unwind_rule){ 0 });
	}
	sort(gaps);
}

/* Where a register is saved below rsp, the function has taken it back already. By other registers, that can't be seen. */
static bool is_stale(const struct unwind_rule *rule, int8_t place)
{
	if (rule->cfa != UNWIND_CFA_REGISTER || rule->reg != UNWIND_REGISTER_SP)
		return true;
	return place > 0 || -8 * place > rule->offset;
}

static bool agrees(int8_t our_place, const struct unwind_rule *theirs, int8_t their_place)
{
	if (our_place == their_place || our_place == UNWIND_SAVED_NOWHERE)
		return true;
	if (our_place == UNWIND_SAVED_SAME)
		return is_stale(theirs, their_place);
	return their_place == UNWIND_SAVED_SAME;
}

static enum sort compare_rules(const struct unwind_rule *ours, const struct unwind_rule *theirs)
{
	if (ours->cfa == UNWIND_CFA_UNKNOWN)
		return NO_RULE;
	/* The same place from elsewhere, or not: that can't be told from the rules. */
	if (ours->cfa != theirs->cfa || ours->reg != theirs->reg)
		return OTHER_BASE;
	if (ours->offset != theirs->offset)
		return DIFFER_CFA;
	if (!agrees(ours->bp, theirs, theirs->bp))
		return DIFFER_BP;
	return agrees(ours->bx, theirs, theirs->bx) ? AGREE : DIFFER_BX;
}

static void tell(const struct elf_image *image, enum sort s, uint64_t start, uint64_t end, const struct unwind_rule *o, const struct unwind_rule *t)
{
	uint64_t address = 0;

	elf_image_address_of_offset(image, start, &address);
	printf("# %s 0x%" PRIx64 " %" PRIu64 " bytes", sort_names[s], address, end - start);
	if (o)
		printf("; ours: cfa %u reg %u offset %d bp %d bx %d", o->cfa, o->reg, o->offset, o->bp, o->bx);
	printf("; theirs: cfa %u reg %u offset %d bp %d bx %d\n", t->cfa, t->reg, t->offset, t->bp, t->bx);
}

static void compare(const struct elf_image *image, const struct ranges *ours, const struct ranges *theirs, struct counts *counts)
{
	unsigned n_told[N_SORTS] = { 0 };
	size_t k = 0;
	uint64_t behind = 0;

	for (size_t i = 0; i < theirs->v.n; i++) {
		const struct range *t = &theirs->v.at[i];
		uint64_t at = MAX(t->start, behind);

		behind = MAX(behind, t->end);
		/* What they have no rule for, or what ends there, can't be compared. */
		if (t->rule.cfa != UNWIND_CFA_REGISTER && t->rule.cfa != UNWIND_CFA_DEREFERENCE)
			continue;
		while (at < t->end) {
			const struct range *o;
			enum sort s;
			uint64_t end = t->end;

			while (k < ours->v.n && ours->v.at[k].end <= at)
				k++;
			o = k < ours->v.n && ours->v.at[k].start <= at ? &ours->v.at[k] : NULL;
			if (o)
				end = MIN(end, o->end);
			else if (k < ours->v.n)
				end = MIN(end, ours->v.at[k].start);
			s = o ? compare_rules(&o->rule, &t->rule) : SILENT;
			counts->bytes[s] += end - at;
			if (s != AGREE && n_told[s]++ < n_told_at_most)
				tell(image, s, at, end, o ? &o->rule : NULL, &t->rule);
			at = end;
		}
	}
}

/* What may be, with --test. */
struct bounds {
	bool are_set;
	uint64_t ppm, percent;
	unsigned n_files, n_failed;
};

static void print(const char *name, const struct counts *c, struct bounds *bounds)
{
	uint64_t differ = c->bytes[DIFFER_CFA] + c->bytes[DIFFER_BP] + c->bytes[DIFFER_BX], spoken = c->bytes[AGREE] + differ;
	uint64_t all = spoken + c->bytes[OTHER_BASE] + c->bytes[NO_RULE] + c->bytes[SILENT], ppm = spoken ? differ * 1000000 / spoken : 0;
	double percent = all ? 100.0 / (double)all : 0;

	if (bounds->are_set) {
		bool is_met = ppm <= bounds->ppm && (spoken + c->bytes[OTHER_BASE]) * 100 >= all * bounds->percent;

		bounds->n_failed += !is_met;
		printf("%sok %u - ", is_met ? "" : "not ", ++bounds->n_files);
	}
	printf("%s: %" PRIu64 " bytes, %.2f%% spoken of, %.3f%% by another base, %.3f%% unknown, %.3f%% silent; %" PRIu64 " ppm differ: CFA %" PRIu64 ", rbp %" PRIu64
		", rbx %" PRIu64 " bytes; %.3f s\n", name, all, percent * (double)(spoken + c->bytes[OTHER_BASE]), percent * (double)c->bytes[OTHER_BASE],
		percent * (double)c->bytes[NO_RULE], percent * (double)c->bytes[SILENT], ppm, c->bytes[DIFFER_CFA], c->bytes[DIFFER_BP], c->bytes[DIFFER_BX], c->seconds);
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool one_file(const char *path, struct counts *all, struct bounds *bounds)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct elf_image *image = NULL;
	struct ranges theirs = { 0 }, ours = { 0 }, stubs = { 0 }, holes = { 0 };
	VEC(struct unwind_depth_gap) gaps = { 0 };
	struct unwind_rows_stats stats = { 0 };
	struct counts counts = { 0 };
	struct unwind_cfi cfi;
	bool done = false;

	if (fd < 0 || elf_image_open(fd, &image) || !unwind_cfi_find_eh_frame(image, &cfi))
		goto out;
	theirs.image = image;
	if (unwind_cfi_read(&cfi, add_address, &theirs, &stats) || unwind_code_plt(image, add, &stubs))
		goto out;
	sort(&theirs);
	sort(&stubs);
	find_gaps(image, &stubs, &holes);
	for (size_t i = 0; i < holes.v.n; i++)
		if (vec_push(&gaps, ((struct unwind_depth_gap){ (uint32_t)holes.v.at[i].start, (uint32_t)holes.v.at[i].end })) < 0)
			goto out;
	counts.seconds = -cpu_seconds();
	if (unwind_depth_rows(image, NULL, gaps.at, gaps.n, add, &ours))
		goto out;
	counts.seconds += cpu_seconds();
	compare(image, &ours, &theirs, &counts);
	print(path, &counts, bounds);
	for (size_t i = 0; i < N_SORTS; i++)
		all->bytes[i] += counts.bytes[i];
	all->seconds += counts.seconds;
	done = true;
out:
	vec_deinit(&theirs.v);
	vec_deinit(&ours.v);
	vec_deinit(&stubs.v);
	vec_deinit(&holes.v);
	vec_deinit(&gaps);
	elf_image_free(image);
	return done;
}

int main(int argc, char **argv)
{
	struct bounds bounds = { 0 };
	struct counts all = { 0 };
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++)
		if (!strcmp(argv[i], "--tell") && i + 1 < argc) {
			n_told_at_most = (unsigned)atoi(argv[++i]);
		} else if (!strcmp(argv[i], "--test") && i + 2 < argc) {
			bounds.are_set = true;
			bounds.ppm = strtoull(argv[++i], NULL, 10);
			bounds.percent = strtoull(argv[++i], NULL, 10);
			printf("1..%d\n", argc - i - 1);
		}
	for (; i < argc; i++) {
		if (one_file(argv[i], &all, &bounds))
			continue;
		if (bounds.are_set)
			printf("ok %u - %s # SKIP it is not on this machine, or not described\n", ++bounds.n_files, argv[i]);
		else
			printf("%s: nothing to compare\n", argv[i]);
	}
	if (!bounds.are_set)
		print("all", &all, &bounds);
	return bounds.n_failed > 0;
}
