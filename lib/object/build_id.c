/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <string.h>

#include "build_id.h"

static uint32_t align_up(uint32_t n, size_t align)
{
	return (n + (uint32_t)align - 1) & ~((uint32_t)align - 1);
}

bool build_id_from_notes(struct reader notes, size_t align, struct build_id *ret)
{
	/* Only .note.gnu.property and its segment use 8; an id next to it in one segment is padded like it. */
	if (align != 8)
		align = 4;
	while (reader_left(&notes) >= sizeof(Elf64_Nhdr)) {
		uint32_t name_size = reader_u32(&notes), data_size = reader_u32(&notes), type = reader_u32(&notes);
		const char *name;
		const uint8_t *data;

		if (name_size > notes.size || data_size > notes.size)
			return false;
		name = reader_bytes(&notes, name_size);
		reader_skip(&notes, align_up(name_size, align) - name_size);
		data = reader_bytes(&notes, data_size);
		if (!reader_ok(&notes))
			return false;
		if (type == NT_GNU_BUILD_ID && name_size == sizeof(ELF_NOTE_GNU) && !memcmp(name, ELF_NOTE_GNU, name_size) &&
		    data_size > 0 && data_size <= sizeof(ret->bytes)) {
			*ret = (struct build_id){ .size = (uint8_t)data_size };
			memcpy(ret->bytes, data, data_size);
			return true;
		}
		/* The last note need not be padded. */
		reader_skip(&notes, align_up(data_size, align) - data_size);
	}
	return false;
}

bool build_id_equal(const struct build_id *a, const struct build_id *b)
{
	return a->size > 0 && a->size <= sizeof(a->bytes) && a->size == b->size && !memcmp(a->bytes, b->bytes, a->size);
}

char *build_id_to_hex(const struct build_id *id, char ret[static BUILD_ID_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	size_t n = id->size <= sizeof(id->bytes) ? id->size : 0;

	for (size_t i = 0; i < n; i++) {
		ret[2 * i] = digits[id->bytes[i] >> 4];
		ret[2 * i + 1] = digits[id->bytes[i] & 15];
	}
	ret[2 * n] = '\0';
	return ret;
}
