/* SPDX-License-Identifier: Apache-2.0 */
#include "pprof_inflate.h"

#include <errno.h>
#include <limits.h>
#include <zlib.h>

#include "cleanup.h"
#include "diag.h"
#include "pprof_decode.h"
#include "vec.h"

static const int gzip_only = 15 + 16; /* inflateInit2(): largest window, gzip header wanted */
static const size_t chunk_bytes = 64 * 1024;

struct inflation {
	z_stream z;
	const uint8_t *data;
	size_t size;
	VEC(uint8_t) out;
};

bool pprof_is_gzip(const void *data, size_t size)
{
	const uint8_t *bytes = data;

	return size >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

static size_t consumed(const struct inflation *s)
{
	return s->z.next_in - s->data;
}

static int check_limits(const struct inflation *s, const char *file, const struct pprof_limits *limits, struct diag *diag)
{
	if (s->out.n > limits->inflated_bytes) {
		diag_error(diag, file, 0, 0, "inflates to more than the limit of %zu MiB; a profile is expected to be smaller",
				limits->inflated_bytes >> 20);
		return PPROF_E_LIMIT;
	}
	if (s->out.n > limits->ratio_from_bytes && s->out.n / limits->inflated_ratio > consumed(s)) {
		diag_error(diag, file, 0, 0, "inflates to more than %zu times its size (limit on the ratio); "
				"no profile does, this looks like a zip bomb", limits->inflated_ratio);
		return PPROF_E_LIMIT;
	}
	return 0;
}

static int broken(const struct inflation *s, const char *file, struct diag *diag)
{
	diag_error(diag, file, 0, 0, "broken gzip data at byte %zu: %s", consumed(s),
			s->z.msg ? s->z.msg : "it ends too early");
	return PPROF_E_INVALID;
}

/* Another member may follow the one that just ended. */
static int next_member(struct inflation *s, const char *file, struct diag *diag, bool *ret_more)
{
	size_t left = s->size - consumed(s);

	*ret_more = left > 0;
	if (left == 0)
		return 0;
	if (!pprof_is_gzip(s->z.next_in, left)) {
		diag_error(diag, file, 0, 0, "%zu bytes follow the gzip data at byte %zu; expected is the end or another member",
				left, consumed(s));
		return PPROF_E_INVALID;
	}
	if (inflateReset(&s->z) != Z_OK)
		return -EIO; /* cannot happen: the state is a good one */
	return 0;
}

static int inflate_all(struct inflation *s, const char *file, const struct pprof_limits *limits, struct diag *diag)
{
	bool more;
	int r, z;

	s->z.next_in = (Bytef *)(uintptr_t)s->data;
	for (;;) {
		/* zlib counts in unsigned int. */
		size_t left = MIN(s->size - consumed(s), (size_t)UINT_MAX);
		size_t room;

		r = vec_reserve(&s->out, s->out.n + chunk_bytes);
		if (r < 0)
			return r;
		/* Not all the room there is: limits are looked at between chunks. */
		room = MIN(s->out.n_allocated - s->out.n, (size_t)1 << 20);
		s->z.next_out = s->out.at + s->out.n;
		s->z.avail_out = room;
		s->z.avail_in = left;
		z = inflate(&s->z, Z_NO_FLUSH);
		s->out.n += room - s->z.avail_out;
		if (z == Z_MEM_ERROR)
			return -ENOMEM;
		r = check_limits(s, file, limits, diag);
		if (r != 0)
			return r;
		if (z == Z_STREAM_END) {
			r = next_member(s, file, diag, &more);
			if (r != 0 || !more)
				return r;
			continue;
		}
		if (z != Z_OK)
			return broken(s, file, diag);
	}
}

int pprof_inflate(const void *data, size_t size, const char *file, const struct pprof_limits *limits, struct diag *diag,
		uint8_t **ret, size_t *ret_size)
{
	struct inflation s = { .data = data, .size = size };
	int r;

	if (inflateInit2(&s.z, gzip_only) != Z_OK)
		return -ENOMEM;
	r = inflate_all(&s, file, limits, diag);
	inflateEnd(&s.z);
	if (r != 0) {
		vec_deinit(&s.out);
		return r;
	}
	*ret = s.out.at;
	*ret_size = s.out.n;
	return 0;
}
