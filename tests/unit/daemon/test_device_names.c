/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../main.h"
#include "device_names.h"
#include "fs.h"

static char folder[] = "/tmp/tsprofd-device-names-XXXXXX";
static int root;

static void put(const char *path, const char *text)
{
	int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fs_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static void put_folder(const char *path)
{
	char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", folder, path);
	ck_assert_int_eq(fs_make_directories(whole, 0755), 0);
}

static void make_machine(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	root = open(folder, O_RDONLY | O_DIRECTORY);
	put_folder("sys/dev/block");
	put_folder("sys/devices/pci0/block/sda/sda1");
	put_folder("sys/devices/virtual/block/dm-0");
	put_folder("proc/self");
	put("sys/devices/pci0/block/sda/sda1/partition", "1\n");
	ck_assert_int_eq(symlinkat("../../devices/pci0/block/sda", root, "sys/dev/block/8:0"), 0);
	ck_assert_int_eq(symlinkat("../../devices/pci0/block/sda/sda1", root, "sys/dev/block/8:1"), 0);
	ck_assert_int_eq(symlinkat("../../devices/virtual/block/dm-0", root, "sys/dev/block/252:0"), 0);
	put("proc/self/mountinfo", "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
				   "50 27 0:44 /sub /data rw,relatime shared:1 - btrfs /dev/sdb rw,subvol=/sub\n"
				   "51 27 0:45 / /merged rw - overlay overlay rw,lowerdir=/a\n"
				   "52 27 0:46 / /net rw - nfs4 server:/export rw\n"
				   "53 27 0:47 / /none rw - ramfs none rw\n"
				   "this is no line of it\n"
				   "54 27 0:48 / /cut rw - \n");
}

static void remove_machine(void)
{
	char command[128];

	close(root);
	snprintf(command, sizeof(command), "rm -r '%s'", folder);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(a_device_is_called_as_diskstats_calls_its_disk)
{
	struct device_names names;

	make_machine();
	device_names_init(&names, root);
	ck_assert_str_eq(device_names_get(&names, 8 << 20), "sda");
	ck_assert_str_eq(device_names_get(&names, 8 << 20 | 1), "sda");
	ck_assert_str_eq(device_names_get(&names, 252 << 20), "dm-0");
	/* And again. */
	ck_assert_str_eq(device_names_get(&names, 8 << 20 | 1), "sda");
	ck_assert_uint_eq(names.known.n, 3);
	device_names_deinit(&names);
	remove_machine();
}
END_TEST

START_TEST(a_file_system_without_a_device_is_called_by_what_it_was_mounted_from)
{
	struct device_names names;

	make_machine();
	device_names_init(&names, root);
	ck_assert_str_eq(device_names_get(&names, 44), "sdb");
	ck_assert_str_eq(device_names_get(&names, 45), "overlay");
	ck_assert_str_eq(device_names_get(&names, 46), "server:/export");
	ck_assert_str_eq(device_names_get(&names, 47), "ramfs");
	device_names_deinit(&names);
	remove_machine();
}
END_TEST

START_TEST(what_is_not_known_is_a_number_and_nothing_is_unknown)
{
	struct device_names names;

	make_machine();
	device_names_init(&names, root);
	ck_assert_str_eq(device_names_get(&names, 48), "0:48");
	ck_assert_str_eq(device_names_get(&names, 9 << 20 | 77), "9:77");
	ck_assert_str_eq(device_names_get(&names, 0), "unknown");
	for (uint32_t i = 0; i < 1000; i++)
		device_names_get(&names, 10 << 20 | i);
	ck_assert_uint_eq(names.known.n, 256);
	ck_assert_str_eq(device_names_get(&names, 11 << 20), "other");
	device_names_deinit(&names);
	remove_machine();
}
END_TEST

UNIT_TESTS("device_names", a_device_is_called_as_diskstats_calls_its_disk,
	a_file_system_without_a_device_is_called_by_what_it_was_mounted_from, what_is_not_known_is_a_number_and_nothing_is_unknown)
