/* SPDX-License-Identifier: Apache-2.0 */
#include "../main.h"
#include "go_layout.h"

START_TEST(versions_are_read_as_programs_tell_them)
{
	static const struct { const char *text; uint16_t minor; } right[] = {
		{ "go1.18", 18 }, { "go1.26.8", 26 }, { "go1.27rc1", 27 }, { "go1.26.8 X:boringcrypto", 26 }, { "go1.20.14", 20 },
		{ "devel go1.28-1234abcd Mon Jan 1 00:00:00 2026 +0000", 28 }, { "go1.31.0", 31 }, { "go1.17.3", 17 },
		{ "go1.22.12 (Red Hat 1.22.12-1.el9)", 22 }, { "go1.24-20250101-RC00 cl/1234", 24 },
	};
	static const char *const wrong[] = { "", "go", "go1.", "go2.1", "1.26.8", "cargo1.26", "go1.x", "devel +1234abcd Mon" };
	struct go_version version;

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		ck_assert_msg(go_version_parse(right[i].text, &version), "%s", right[i].text);
		ck_assert_uint_eq(version.major, 1);
		ck_assert_msg(version.minor == right[i].minor, "%s: %u", right[i].text, version.minor);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_msg(!go_version_parse(wrong[i], &version), "%s", wrong[i]);
}
END_TEST

START_TEST(each_version_from_118_on_has_a_row_and_only_later_ones_are_guesses)
{
	bool is_guess;

	ck_assert_ptr_null(go_layout_of((struct go_version){ 1, 17 }, &is_guess));
	ck_assert_ptr_null(go_layout_of((struct go_version){ 2, 20 }, &is_guess));
	for (uint16_t minor = 18; minor <= 27; minor++) {
		ck_assert_ptr_nonnull(go_layout_of((struct go_version){ 1, minor }, &is_guess));
		ck_assert(!is_guess);
	}
	ck_assert_ptr_eq(go_layout_of((struct go_version){ 1, 31 }, &is_guess), go_layout_of((struct go_version){ 1, 27 }, &(bool){ false }));
	ck_assert(is_guess);
}
END_TEST

/* As DWARF of programs of these versions says. */
START_TEST(rows_have_what_the_versions_have)
{
	static const struct { uint16_t minor, status, id, parent_id, labels, thread, channel, elem, ticks, sequence; bool map, semaphores; } rows[] = {
		{ 18, 144, 152, GO_LAYOUT_NONE, 360, 72, 80, 24, 16, 189, true, false },
		{ 20, 144, 152, GO_LAYOUT_NONE, 360, 72, 80, 24, 8, 189, true, false },
		{ 21, 144, 152, 272, 344, 72, 80, 24, 8, 188, true, false },
		{ 22, 144, 152, 272, 344, 72, 80, 24, 24, 191, true, false },
		{ 23, 152, 160, 280, 352, 72, 80, 24, 24, 199, true, false },
		{ 24, 152, 160, 280, 352, 72, 80, 24, 24, 199, false, false },
		{ 25, 144, 152, 272, 344, 64, 80, 24, 24, 191, false, false },
		{ 26, 144, 152, 280, 352, 64, 96, 32, 24, 191, false, true },
		{ 27, 144, 152, 280, 352, 64, 96, 32, 24, 191, false, true },
	};
	bool is_guess;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct go_layout *layout = go_layout_of((struct go_version){ 1, rows[i].minor }, &is_guess);

		ck_assert_uint_eq(layout->g.status, rows[i].status);
		ck_assert_uint_eq(layout->g.id, rows[i].id);
		ck_assert_uint_eq(layout->g.parent_id, rows[i].parent_id);
		ck_assert_uint_eq(layout->g.labels, rows[i].labels);
		ck_assert_uint_eq(layout->m.thread, rows[i].thread);
		ck_assert_uint_eq(layout->sudog.channel, rows[i].channel);
		ck_assert_uint_eq(layout->sudog.elem, rows[i].elem);
		ck_assert_uint_eq(layout->ticks_value, rows[i].ticks);
		ck_assert_uint_eq(layout->g.sequence, rows[i].sequence);
		ck_assert_int_eq(layout->labels_are_map, rows[i].map);
		ck_assert_int_eq(layout->sudog.has_semaphores, rows[i].semaphores);
	}
}
END_TEST

UNIT_TESTS("go_layout", versions_are_read_as_programs_tell_them, each_version_from_118_on_has_a_row_and_only_later_ones_are_guesses,
	rows_have_what_the_versions_have)
