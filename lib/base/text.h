/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Text from strangers (names of symbols, threads, services), made fit to show: profiles hold UTF-8 (proto3 strings), and
 * no terminal must be steered by a name.
 */
#include <stddef.h>

/*
 * The length of the character that the text begins with; 0 when there is none to show: a control character (C0, DEL, C1),
 * not UTF-8 by RFC 3629, or cut off by the end. left: bytes that may be read.
 */
size_t text_character(const char *text, size_t left);

/* Copies at most `size - 1` bytes of whole characters, '?' for each byte of what is none to show, and terminates. */
void text_clean(const char *text, char *ret, size_t size);
