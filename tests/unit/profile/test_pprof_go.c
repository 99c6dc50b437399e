/* SPDX-License-Identifier: Apache-2.0 */
/* What we write, read by the reference: `go tool pprof` opens it and has nothing to complain about. Skipped without Go. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/wait.h>

#include "diag.h"
#include "fs.h"
#include "main.h"
#include "make_profile.h"
#include "pprof_decode.h"
#include "pprof_encode.h"
#include "profile_merge.h"

DEFINE_CLEANUP(struct diag, diag_free);

static char directory[] = "/tmp/test_pprof_go.XXXXXX";

__attribute__((format(printf, 2, 3))) static int run(char **ret_output, const char *format, ...)
{
	_cleanup_free_ char *command = NULL, *with_errors = NULL;
	size_t size;
	va_list arguments;
	FILE *f;
	int status;

	va_start(arguments, format);
	ck_assert_int_gt(vasprintf(&command, format, arguments), 0);
	va_end(arguments);
	ck_assert_int_gt(asprintf(&with_errors, "cd %s && (%s) 2>&1", directory, command), 0);
	f = popen(with_errors, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fs_read_fd(fileno(f), 64 << 20, ret_output, &size), 0);
	status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void put(const char *name, const struct profile *p, int level)
{
	_cleanup_free_ char *path = NULL, *bytes = NULL;
	size_t n;
	FILE *f;

	ck_assert_int_eq(pprof_encode(p, level, &bytes, &n), 0);
	ck_assert_int_gt(asprintf(&path, "%s/%s", directory, name), 0);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

/* Runs pprof; its output, free of any complaint. */
static char *pprof(const char *arguments)
{
	char *output;
	int status = run(&output, "PPROF_TMPDIR=. go tool pprof %s", arguments);
	static const char *const complaints[] = { "arning", "rror", "ailed", "annot", "no such file", "malformed" };

	if (status != 0)
		ck_abort_msg("go tool pprof %s: exit %d: %s", arguments, status, output);
	for (size_t i = 0; i < ARRAY_SIZE(complaints); i++)
		if (strstr(output, complaints[i]))
			ck_abort_msg("go tool pprof %s: %s", arguments, output);
	return output;
}

static void assert_shows(const char *arguments, const char *part)
{
	_cleanup_free_ char *output = pprof(arguments);

	if (!strstr(output, part))
		ck_abort_msg("go tool pprof %s does not show \"%s\" but:\n%s", arguments, part, output);
}

static void setup(void)
{
	_cleanup_free_ char *path = NULL;
	FILE *f;

	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_gt(asprintf(&path, "%s/source.c", directory), 0);
	f = fopen(path, "w");
	fputs("leaf() {\n\tspin(); /* the hot line */\n}\nhelper() { leaf(); }\nmain() {\n\thelper();\n}\n", f);
	fclose(f);
	_cleanup_(profile_free_p) struct profile *p = small_profile(path, 3), *q = small_profile(path, 7);
	put("three.pprof", p, PPROF_LEVEL_DEFAULT);
	put("seven.pprof", q, PPROF_LEVEL_DEFAULT);
	put("bare.pprof", p, PPROF_LEVEL_NONE);
}

static void teardown(void)
{
	free(({ char *output; run(&output, "rm -rf %s", directory); output; }));
}

START_TEST(raw_shows_every_part_of_the_file)
{
	setup();
	assert_shows("-raw three.pprof", "PeriodType: cpu nanoseconds");
	assert_shows("-raw three.pprof", "Period: 10000000");
	assert_shows("-raw three.pprof", "samples/count cpu/nanoseconds");
	assert_shows("-raw three.pprof", "host: example");
	assert_shows("-raw three.pprof", "0x400000/0x500000/0x0 /nowhere/program 0123456789abcdef0123456789abcdef01234567 "
			"[FN][FL][LN][IN]");
	assert_shows("-raw three.pprof", "service:[shop]");
	assert_shows("-raw three.pprof", "s=1");
	assert_shows("-raw bare.pprof", "s=3");
	teardown();
}
END_TEST

START_TEST(all_the_views_of_people_open_it)
{
	setup();
	assert_shows("-top three.pprof", "Duration: 10s, Total samples = 40ms (  0.4%)");
	assert_shows("-top three.pprof", "30ms 75.00% 75.00%       30ms 75.00%  leaf (inline)");
	assert_shows("-top -cum three.pprof", "10ms 25.00% 25.00%       40ms   100%  main");
	assert_shows("-traces three.pprof", "service:  shop");
	assert_shows("-list=leaf three.pprof", "the hot line");
	assert_shows("-peek=helper three.pprof", "leaf");
	assert_shows("-tags three.pprof", "shop");
	assert_shows("-sample_index=samples -top three.pprof", "Type: samples");
	assert_shows("-dot three.pprof", "leaf");
	teardown();
}
END_TEST

START_TEST(files_of_one_kind_can_be_compared_and_merged)
{
	setup();
	assert_shows("-top -base=three.pprof seven.pprof", "40ms");
	assert_shows("-top -diff_base=three.pprof seven.pprof", "leaf");
	assert_shows("-top three.pprof seven.pprof bare.pprof", "Total samples = 160ms");
	assert_shows("-proto -output=merged.pb.gz three.pprof seven.pprof", "");
	teardown();
}
END_TEST

START_TEST(what_go_writes_is_read_and_says_the_same)
{
	_cleanup_(diag_free_p) struct diag *diag = diag_new();
	_cleanup_(profile_free_p) struct profile *theirs = NULL, *ours = NULL, *three = NULL, *seven = NULL;
	_cleanup_free_ char *path = NULL, *source = NULL, *bytes = NULL, *text = NULL, *other = NULL;
	size_t n;

	setup();
	free(pprof("-proto -output=merged.pb.gz three.pprof seven.pprof"));
	ck_assert_int_gt(asprintf(&path, "%s/merged.pb.gz", directory), 0);
	ck_assert_int_gt(asprintf(&source, "%s/source.c", directory), 0);
	ck_assert_int_eq(fs_read(AT_FDCWD, path, 1 << 20, &bytes, &n), 0);
	ck_assert_int_eq(pprof_decode(bytes, n, path, NULL, diag, &theirs), 0);
	three = small_profile(source, 3);
	seven = small_profile(source, 7);
	ck_assert_int_eq(profile_merge((const struct profile *[]){ three, seven }, (const char *[]){ "three", "seven" }, 2, diag,
			&ours), 0);
	text = profile_text(theirs);
	other = profile_text(ours);
	ck_assert_str_eq(text, other);
	ck_assert_int_eq(theirs->duration_nsec, ours->duration_nsec);
	ck_assert_int_eq(theirs->time_nsec, ours->time_nsec);
	ck_assert_int_eq(theirs->period, ours->period);
	ck_assert_uint_eq(theirs->comments.n, ours->comments.n);
	teardown();
}
END_TEST

START_TEST(made_up_profiles_of_every_kind_open_too)
{
	uint64_t state = random_seed();

	setup();
	for (int kind = 0; kind < PROFILE_N_KINDS; kind++) {
		_cleanup_(profile_free_p) struct profile *p = random_profile(&state, kind);

		/* pprof wants addresses of locations inside their mapping, and an absolute URL. */
		for (size_t i = 0; i < p->mappings.n; i++) {
			p->mappings.at[i].start = i << 40;
			p->mappings.at[i].limit = (i + 1) << 40;
			p->mappings.at[i].has_functions = p->mappings.at[i].has_filenames = true;
			p->mappings.at[i].has_line_numbers = true;
		}
		for (size_t i = 0; i < p->locations.n; i++)
			if (p->locations.at[i].mapping)
				p->locations.at[i].address = ((uint64_t)(p->locations.at[i].mapping - 1) << 40) + i;
		p->drop_frames = p->keep_frames = 0;
		put("random.pprof", p, 1);
		free(pprof("-raw random.pprof"));
		free(pprof("-traces -symbolize=none random.pprof"));
	}
	teardown();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { raw_shows_every_part_of_the_file, all_the_views_of_people_open_it,
		files_of_one_kind_can_be_compared_and_merged, what_go_writes_is_read_and_says_the_same,
		made_up_profiles_of_every_kind_open_too };

	if (system("go tool pprof -help >/dev/null 2>&1") != 0) {
		puts("1..0 # SKIP there is no go tool pprof");
		return 0;
	}
	return unit_main("pprof_go", tests, ARRAY_SIZE(tests));
}
