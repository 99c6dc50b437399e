/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "programs.h"

static int kallsyms(const char *content, struct symbolizer **ret)
{
	int r;

	scratch_begin();
	write_file("kallsyms", content);
	{
		_cleanup_close_ int fd = open_file("kallsyms");

		r = symbolizer_open(SYMBOLIZER_KERNEL, fd, ret);
	}
	scratch_end();
	return r;
}

static const char *const table =
	"0000000000000000 A fixed_percpu_data\n"
	"ffffffff81000000 T _text\n"
	"ffffffff81000000 T startup_64\n"
	"ffffffff81000100 t local_one\n"
	"ffffffff81000200 t __pfx_two\n"
	"ffffffff81000210 W two\n"
	"ffffffff81000210 t __two\n"
	"ffffffff81000300 T _etext\n"
	"ffffffff82000000 D jiffies\n"
	"ffffffffc0a00000 t ext4_readdir\t[ext4]\n"
	"ffffffffc0a00100 t ext4_sync\t[ext4]\n"
	"ffffffffc0b00000 t bpf_prog_0123456789abcdef_cpu\t[bpf]\n";

static char *answer(struct symbolizer *s, uint64_t address)
{
	struct names *names;
	char *found = NULL;

	ck_assert_int_eq(symbolizer_resolve(s, &address, 1, &names), 0);
	ck_assert_uint_eq(names->locations.at[0].address, address);
	if (names->locations.at[0].n_frames)
		ck_assert_int_gt(asprintf(&found, "%s %s", text(names, frame_at(names, 0, 0)->name), text(names, frame_at(names, 0, 0)->file)), 0);
	names_free(names);
	return found ? found : strdup("?");
}

static void expect(struct symbolizer *s, uint64_t address, const char *wanted)
{
	_cleanup_free_ char *found = answer(s, address);

	ck_assert_str_eq(found, wanted);
}

START_TEST(addresses_have_the_symbol_before_them)
{
	struct symbolizer *s;

	ck_assert_int_eq(kallsyms(table, &s), 0);
	expect(s, 0xffffffff81000000, "startup_64 ");
	expect(s, 0xffffffff810001ff, "local_one ");
	expect(s, 0xffffffff81000218, "two ");
	expect(s, 0xffffffffc0a00010, "ext4_readdir [ext4]");
	expect(s, 0xffffffffc0a00110, "ext4_sync [ext4]");
	expect(s, 0xffffffffc0b00001, "bpf_prog_0123456789abcdef_cpu [bpf]");
	symbolizer_free(s);
}
END_TEST

START_TEST(gaps_and_data_have_no_name)
{
	struct symbolizer *s;

	ck_assert_int_eq(kallsyms(table, &s), 0);
	expect(s, 0xffffffff80ffffff, "?");
	expect(s, 0xffffffff81000310, "?");
	expect(s, 0xffffffff82000000, "?");
	expect(s, 0xffffffffc0c00000, "?");
	symbolizer_free(s);
}
END_TEST

START_TEST(hidden_addresses_are_said_to_be_hidden)
{
	struct symbolizer *s;

	ck_assert_int_eq(kallsyms("0000000000000000 T _text\n0000000000000000 t a\n", &s), SYMBOLIZER_E_HIDDEN);
	ck_assert_int_eq(kallsyms("", &s), SYMBOLIZER_E_HIDDEN);
}
END_TEST

START_TEST(lines_that_make_no_sense_are_left_out)
{
	_cleanup_free_ char *line = malloc(300000);
	struct symbolizer *s;

	memset(line, 'x', 300000 - 1);
	line[300000 - 1] = '\0';
	ck_assert_int_eq(kallsyms(line, &s), SYMBOLIZER_E_HIDDEN);
	ck_assert_int_eq(kallsyms("zz\n\nffffffff81000000\nffffffff81000000 T\nffffffff81000000 T \nffffffff81000000 T good\nffffffff81000100 T cut", &s), 0);
	expect(s, 0xffffffff81000000, "good ");
	expect(s, 0xffffffff81000100, "good ");
	symbolizer_free(s);
}
END_TEST

START_TEST(the_running_kernel_is_named)
{
	_cleanup_close_ int fd = open("/proc/kallsyms", O_RDONLY | O_CLOEXEC);
	_cleanup_fclose_ FILE *f = fopen("/proc/kallsyms", "r");
	_cleanup_free_ char *line = NULL;
	struct symbolizer *s;
	size_t size = 0, n = 0;
	int r;

	ck_assert_int_ge(fd, 0);
	r = symbolizer_open(SYMBOLIZER_KERNEL, fd, &s);
	if (r == SYMBOLIZER_E_HIDDEN)
		return; /* not root */
	ck_assert_int_eq(r, 0);
	while (getline(&line, &size, f) > 0 && n < 20) {
		char type, name[512];
		uint64_t address;

		if (sscanf(line, "%" SCNx64 " %c %511s", &address, &type, name) != 3 || type != 'T' || strcmp(name, "schedule"))
			continue;
		{
			_cleanup_free_ char *found = answer(s, address + 1);

			ck_assert_str_eq(found, "schedule ");
			n++;
		}
	}
	ck_assert_uint_gt(n, 0);
	symbolizer_free(s);
}
END_TEST

UNIT_TESTS("resolve_kernel", addresses_have_the_symbol_before_them, gaps_and_data_have_no_name, hidden_addresses_are_said_to_be_hidden,
	   lines_that_make_no_sense_are_left_out, the_running_kernel_is_named)
