/* SPDX-License-Identifier: Apache-2.0 */
#include "objects.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "../main.h"
#include "mounts.h"
#include "stacks.h"

/* As the kernel has them: 254:1 and 254:2. */
static const struct sample_object_key on_root = { .object = 77, .device = 254 << 20 | 1 };
static const struct sample_object_key on_data = { .object = 78, .device = 254 << 20 | 2 };
static const struct sample_object_key elsewhere = { .object = 79, .device = 0 << 20 | 45 };

static struct mounts mounts;

static void begin(void)
{
	static const char text[] = "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n"
				   "41 22 254:2 /data /var/lib/data rw - xfs /dev/vda2 rw\n";

	ck_assert_int_eq(mounts_parse(text, strlen(text), &mounts), 0);
}

/* Components as they are kept: leaf first, each with its end. */
static struct sample_object file(const char *components, size_t size, uint32_t flags)
{
	struct sample_object object = { .kind = SAMPLE_OBJECT_FILE, .flags = flags, .path_size = (uint16_t)size };

	memcpy(object.path, components, size);
	return object;
}

#define FILE_OF(components, flags) file(components, sizeof(components), flags)

/* "" when there is none. */
static const char *name_of(const struct sample_object_key *key, struct sample_object object)
{
	static char name[4096];

	if (!objects_name(&mounts, key, &object, name, sizeof(name)))
		name[0] = '\0';
	return name;
}

START_TEST(a_file_is_called_as_an_administrator_would)
{
	begin();
	ck_assert_str_eq(name_of(&on_root, FILE_OF("x\0lib\0usr", 0)), "/usr/lib/x");
	ck_assert_str_eq(name_of(&on_root, FILE_OF("x\0tmp", SAMPLE_PATH_DELETED)), "/tmp/x (deleted)");
	ck_assert_str_eq(name_of(&on_root, FILE_OF("/", SAMPLE_PATH_ROOT)), "/");
	ck_assert_str_eq(name_of(&on_data, FILE_OF("x\0data", 0)), "/var/lib/data/x");
	mounts_deinit(&mounts);
}
END_TEST

START_TEST(what_is_not_mounted_here_is_told_by_its_device)
{
	begin();
	ck_assert_str_eq(name_of(&on_data, FILE_OF("x\0other", 0)), "[254:2]/other/x");
	ck_assert_str_eq(name_of(&elsewhere, FILE_OF("x\0lib", SAMPLE_PATH_DELETED)), "[0:45]/lib/x (deleted)");
	ck_assert_str_eq(name_of(&elsewhere, FILE_OF("/", SAMPLE_PATH_ROOT)), "[0:45]/");
	mounts_deinit(&mounts);
}
END_TEST

START_TEST(what_has_no_path_is_told_as_far_as_it_is_known)
{
	const struct sample_object nothing = { .kind = SAMPLE_OBJECT_FILE }, none = { 0 };

	begin();
	ck_assert_str_eq(name_of(&on_root, nothing), "[254:1]:77");
	ck_assert_str_eq(name_of(&on_root, none), "");
	ck_assert_str_eq(name_of(&on_root, FILE_OF("x\0deep", SAMPLE_PATH_CUT)), ".../deep/x");
	ck_assert_str_eq(name_of(&elsewhere, FILE_OF("memfd:x", SAMPLE_PATH_ROOT | SAMPLE_PATH_DELETED)), "memfd:x");
	ck_assert_str_eq(name_of(&on_root, (struct sample_object){ .kind = SAMPLE_OBJECT_BLOCK_DEVICE, .device = 0xfffU << 20 | 3 }), "[4095:3]");
	mounts_deinit(&mounts);
}
END_TEST

START_TEST(what_the_kernel_should_not_have_written_is_no_path)
{
	struct sample_object object = FILE_OF("x\0lib", 0);

	begin();
	object.path_size = 3; /* amid a component */
	ck_assert_str_eq(name_of(&on_root, object), "[254:1]:77");
	memset(object.path, 'a', sizeof(object.path));
	object.path_size = UINT16_MAX;
	ck_assert_str_eq(name_of(&on_root, object), "[254:1]:77");
	/* As many components as there can be, and one as long as can be. */
	memset(object.path, 0, sizeof(object.path));
	ck_assert_uint_eq(strlen(name_of(&elsewhere, object)), strlen("[0:45]") + SAMPLE_PATH_MAX);
	memset(object.path, 'a', sizeof(object.path) - 1);
	object.flags = SAMPLE_PATH_CUT;
	ck_assert_uint_eq(strlen(name_of(&elsewhere, object)), strlen(".../") + SAMPLE_PATH_MAX - 1);
	mounts_deinit(&mounts);
}
END_TEST

static struct sample_object socket_of(uint16_t family, const uint8_t *peer, size_t size, uint16_t port)
{
	struct sample_object object = { .kind = SAMPLE_OBJECT_SOCKET, .family = family, .peer_port = port, .own_port = 80 };

	memcpy(object.peer, peer, size);
	return object;
}

START_TEST(a_socket_is_called_by_its_peer)
{
	static const uint8_t v4[4] = { 10, 1, 2, 3 }, none[16] = { 0 };
	static const uint8_t v6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 }, mapped[16] = { [10] = 0xff, 0xff, 192, 0, 2, 7 };
	struct sample_object local = { .kind = SAMPLE_OBJECT_SOCKET, .family = AF_UNIX };

	begin();
	ck_assert_str_eq(name_of(&elsewhere, socket_of(AF_INET, v4, 4, 5432)), "10.1.2.3:5432");
	ck_assert_str_eq(name_of(&elsewhere, socket_of(AF_INET6, v6, 16, 443)), "[2001:db8::1]:443");
	ck_assert_str_eq(name_of(&elsewhere, socket_of(AF_INET6, mapped, 16, 443)), "192.0.2.7:443");
	ck_assert_str_eq(name_of(&elsewhere, socket_of(AF_INET, none, 4, 0)), "");
	ck_assert_str_eq(name_of(&elsewhere, socket_of(AF_NETLINK, none, 4, 1)), "");
	ck_assert_str_eq(name_of(&elsewhere, local), "unix");
	memcpy(local.path, "/run/x", sizeof("/run/x"));
	local.path_size = sizeof("/run/x");
	ck_assert_str_eq(name_of(&elsewhere, local), "unix:/run/x");
	/* Without an end. */
	memset(local.path, 'a', sizeof(local.path));
	ck_assert_str_eq(name_of(&elsewhere, local), "unix");
	mounts_deinit(&mounts);
}
END_TEST

static void add_object(struct stacks *stacks, uint64_t object, uint32_t device, const char *name)
{
	const struct stacks_object o = { .object = object, .device = device, .kind = SAMPLE_OBJECT_FILE, .name = strdup(name) };

	ck_assert_int_ge(vec_push(&stacks->objects, o), 0);
}

static const char *about(const struct stacks *stacks, enum sample_reason reason, uint64_t object, uint32_t device)
{
	const struct sample_wait wait = { .object = object, .device = device, .reason = (uint16_t)reason };
	const struct stacks_object *found = stacks_object(stacks, &wait);

	return found ? found->name : "";
}

START_TEST(a_wait_finds_what_it_was_about)
{
	struct stacks *stacks = stacks_new();

	ck_assert_str_eq(about(stacks, SAMPLE_DISK, 5, 1), "");
	add_object(stacks, 9, 1, "c");
	add_object(stacks, 5, 2, "b");
	add_object(stacks, 5, 1, "a");
	stacks_sort_objects(stacks);
	ck_assert_str_eq(about(stacks, SAMPLE_DISK, 5, 1), "a");
	ck_assert_str_eq(about(stacks, SAMPLE_FAULT, 5, 2), "b");
	ck_assert_str_eq(about(stacks, SAMPLE_NETWORK, 9, 1), "c");
	ck_assert_str_eq(about(stacks, SAMPLE_DISK, 9, 2), "");
	/* The same number means something else: a thread, an address. */
	ck_assert_str_eq(about(stacks, SAMPLE_LOCK, 5, 1), "");
	ck_assert_str_eq(about(stacks, SAMPLE_RUNQUEUE, 5, 1), "");
	stacks_free(stacks);
}
END_TEST

UNIT_TESTS("objects", a_file_is_called_as_an_administrator_would, what_is_not_mounted_here_is_told_by_its_device,
	what_has_no_path_is_told_as_far_as_it_is_known, what_the_kernel_should_not_have_written_is_no_path, a_socket_is_called_by_its_peer,
	a_wait_finds_what_it_was_about)
