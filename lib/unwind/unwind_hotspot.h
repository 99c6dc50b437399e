/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Where a running HotSpot keeps the code it makes: read from its memory by the tables that it exports for debuggers,
 * gHotSpotVMStructs and gHotSpotVMTypes, which name each field with its offset or its address (OpenJDK
 * src/hotspot/share/runtime/vmStructs.{hpp,cpp}). So no version is known here but by the names of its fields.
 *
 * The exported symbols are looked up in memory, too, by the hash table that the dynamic linker uses: some dozen words of
 * libjvm.so as it is mapped. It is read like all else here: by pieces of fixed size, each at an address that may be
 * anything, without a pointer into what was read and without a number from it that is believed; the number of reads is
 * bounded. A process that lies finds its own stacks broken.
 *
 * Sources: JDK 17 and 25 (vmStructs.cpp, memory/heap.hpp, memory/virtualspace.hpp, code/codeCache.hpp, code/codeBlob.hpp,
 * utilities/growableArray.hpp, code/stubs.hpp), JDK 8 for CodeCache::_heap; the generic ABI's "Hash Table", and for DT_GNU_HASH
 * binutils bfd/elflink.c.
 */
#include <stddef.h>
#include <stdint.h>

#include "hotspot.h"

/* Reads so many bytes of the process's memory, at most a page and within one. 0 or -errno. */
typedef int (*unwind_hotspot_read_fn)(void *userdata, uint64_t address, void *to, size_t size);

/*
 * `base` is where the first byte of the file libjvm.so is mapped. 0 with what the walk wants; UNWIND_HOTSPOT_E_UNKNOWN: no
 * HotSpot, or one of a shape that is not known; UNWIND_HOTSPOT_E_EARLY: it has not made all that yet; -errno of `read`. Uses 70 KiB of
 * stack and makes no call but `read`.
 */
int unwind_hotspot_read(uint64_t base, unwind_hotspot_read_fn read, void *userdata, struct hotspot *ret);
enum { UNWIND_HOTSPOT_E_UNKNOWN = 1, UNWIND_HOTSPOT_E_EARLY = 2 };

/* Whether the walk may be given it: counts, offsets and sizes are in bounds. */
int unwind_hotspot_check(const struct hotspot *hotspot);
