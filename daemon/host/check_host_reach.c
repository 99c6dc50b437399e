/* SPDX-License-Identifier: Apache-2.0 */
/* What we can reach: other processes, their files, names, and the folder of the profiles. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "check_host_probe.h"
#include "cleanup.h"
#include "fs.h"

void check_host_try_kernel_names(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "kernel-names", "name functions of the kernel", false);
	_cleanup_fclose_ FILE *f = fopen("/proc/kallsyms", "re");
	char line[256], *p = line;

	if (!f || !fgets(line, sizeof(line), f)) {
		check_host_why(ability, "/proc/kallsyms: %s", f ? "empty" : strerror(errno));
		check_host_lacks(ability, CHECK_HOST_DEGRADED, 0,
				"no ProtectKernelTunables=, no ProcSubset=pid; in a container, no masked /proc/kallsyms");
		return;
	}
	/* The first symbol of x86-64 may honestly be 0 (per-CPU): look until one is not. */
	do {
		p = line + strspn(line, "0");
		if (*p != ' ') {
			check_host_why(ability, "/proc/kallsyms shows addresses");
			return;
		}
	} while (fgets(line, sizeof(line), f));
	if (!check_host_is_effective(CAP_SYSLOG)) {
		check_host_why(ability, "/proc/kallsyms shows no addresses; CAP_SYSLOG is missing");
		check_host_lacks(ability, CHECK_HOST_DEGRADED, 0,
				"run as root (sudo), as tsprofd.service, or add CAP_SYSLOG");
		return;
	}
	if (!check_host_in_initial_user_namespace()) {
		check_host_why(ability, "/proc/kallsyms shows no addresses in this user namespace");
		check_host_lacks(ability, CHECK_HOST_DEGRADED, 0, "run outside of it");
		return;
	}
	check_host_why(ability, "/proc/kallsyms shows no addresses; kernel.kptr_restrict is %ld",
			check_host_setting("/proc/sys/kernel/kptr_restrict", -1));
	check_host_lacks(ability, CHECK_HOST_DEGRADED, 0,
			"sysctl kernel.kptr_restrict=1; no ProtectKernelTunables=, no ProtectKernelLogs= in the unit");
}

/* Another process than ours, better one of another user. 0 when there is none. */
static pid_t find_other_process(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	pid_t other = 0;

	while (dir && (entry = readdir(dir))) {
		pid_t pid = atoi(entry->d_name);
		char path[64], link[8];
		struct stat status;

		if (pid <= 0 || pid == getpid() || pid == getppid() || fstatat(dirfd(dir), entry->d_name, &status, 0) < 0)
			continue;
		/* Threads of the kernel have no executable, and that is no refusal. */
		snprintf(path, sizeof(path), "/proc/%d/exe", pid);
		if (readlink(path, link, sizeof(link)) < 0 && errno == ENOENT)
			continue;
		other = pid;
		if (status.st_uid != geteuid())
			break;
	}
	if (dir)
		closedir(dir);
	return other;
}

void check_host_try_other_processes(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "processes", "read processes of all users", true);
	static const char *const files[] = { "maps", "exe", "root/." };
	pid_t pid = find_other_process();

	if (pid == 0) {
		check_host_why(ability, "no other process to try it with");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_close_ int fd = -1;
		_cleanup_free_ char *data = NULL;
		char path[64];
		size_t size;
		int r = 0;

		snprintf(path, sizeof(path), "/proc/%d/%s", pid, files[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			r = -errno;
		else if (i == 0)
			r = fs_read_fd(fd, 16 << 20, &data, &size);
		/* It may have ended just now. */
		if (r == 0 || r == -ENOENT || r == -ESRCH)
			continue;
		if (!check_host_blame_capability(ability, -r, path, CAP_SYS_PTRACE, "CAP_SYS_PTRACE"))
			check_host_blame_unknown(ability, -r, path);
		return;
	}
	check_host_why(ability, "maps, exe and root of process %d", pid);
}

void check_host_try_other_files(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "files", "read files that are not for all", true);
	_cleanup_close_ int fd = memfd_create("tsprof-check", MFD_CLOEXEC), again = -1;
	char path[64];

	if (fd < 0 || fchmod(fd, 0) < 0) {
		check_host_blame_unknown(ability, errno, "memfd_create()");
		return;
	}
	/* A file of nobody's to read, opened by its name. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC);
	if (again >= 0) {
		check_host_why(ability, "whatever their mode");
		return;
	}
	if (!check_host_blame_capability(ability, errno, "open()", CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"))
		check_host_blame_unknown(ability, errno, "open()");
}

void check_host_try_map_files(struct check_host_probe *probe)
{
	struct check_host_ability *ability = check_host_add(probe, "map-files", "name replaced binaries", false);
	DIR *dir = opendir("/proc/self/map_files");
	struct dirent *entry;
	int error = 0;

	if (!dir) {
		error = errno;
	} else {
		_cleanup_close_ int fd = -1;

		do {
			errno = ENOENT;
			entry = readdir(dir);
		} while (entry && entry->d_name[0] == '.');
		fd = entry ? openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC) : -1;
		if (fd < 0)
			error = errno;
		closedir(dir);
	}
	if (error == 0) {
		check_host_why(ability, "/proc/PID/map_files opens");
		return;
	}
	if (!check_host_blame_capability(ability, error, "/proc/self/map_files", CAP_CHECKPOINT_RESTORE,
			"CAP_CHECKPOINT_RESTORE"))
		check_host_blame_unknown(ability, error, "/proc/self/map_files");
	ability->state = CHECK_HOST_DEGRADED;
}

void check_host_try_pid_namespace(struct check_host_probe *probe)
{
	/* PROC_PID_INIT_INO, include/linux/proc_ns.h (since 6.16 in the uapi, as PID_NS_INIT_INO) */
	static const ino_t initial = 0xEFFFFFFC;
	struct check_host_ability *ability = check_host_add(probe, "pid-namespace", "see all processes", false);
	struct stat status;

	if (stat("/proc/self/ns/pid", &status) < 0) {
		check_host_why(ability, "/proc/self/ns/pid: %s", strerror(errno));
		check_host_lacks(ability, CHECK_HOST_DEGRADED, 0, "mount /proc");
		return;
	}
	if (status.st_ino == initial) {
		check_host_why(ability, "the initial one");
		return;
	}
	check_host_why(ability, "one of its own: processes outside of it are counted, not named");
	check_host_lacks(ability, CHECK_HOST_DEGRADED, 0,
			"to profile the whole machine, run outside of the container or with --pid=host");
}

/* The folder itself or, when it is yet to be made, the nearest one that is there. */
static void nearest_folder(const char *path, char *ret, size_t size)
{
	struct stat status;
	char *slash;

	snprintf(ret, size, "%s", path);
	while (stat(ret, &status) < 0 && errno == ENOENT) {
		slash = strrchr(ret, '/');
		if (!slash) {
			snprintf(ret, size, ".");
			return;
		}
		if (slash == ret) {
			ret[1] = 0;
			return;
		}
		*slash = 0;
	}
}

/* Writes into a folder and leaves nothing behind. 0 or -errno. */
static int try_to_write(const char *folder)
{
	_cleanup_close_ int fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	char name[PATH_MAX + 32];

	if (fd >= 0)
		return 0;
	/* Some file systems have no unnamed files. */
	if (errno != EOPNOTSUPP && errno != EISDIR)
		return -errno;
	snprintf(name, sizeof(name), "%s/.tmp-check-%d", folder, getpid());
	if (mkdir(name, 0700) < 0)
		return -errno;
	rmdir(name);
	return 0;
}

void check_host_try_output(struct check_host_probe *probe)
{
	struct check_host_ability *ability;
	char folder[PATH_MAX];
	const char *name = probe->output_directory;
	int r;

	if (!name)
		return;
	ability = check_host_add(probe, "output", "write profiles", true);
	nearest_folder(name, folder, sizeof(folder));
	r = try_to_write(folder);
	if (r == 0) {
		check_host_why(ability, "%s%s", name, strcmp(name, folder) == 0 ? "" : ", which will be made");
		return;
	}
	check_host_why(ability, "%s: %s", folder, strerror(-r));
	if (r == -EROFS)
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_OSERR, "choose another output.directory; in a unit with "
				"ProtectSystem=strict name it in ReadWritePaths=");
	else if (r == -ENOTDIR)
		check_host_lacks(ability, CHECK_HOST_MISSING, EX_OSERR, "choose another output.directory: this is a file");
	else
		check_host_lacks(ability, CHECK_HOST_MISSING, r == -EACCES || r == -EPERM ? EX_NOPERM : EX_OSERR,
				"make the folder writable for the user of tsprofd, or choose another output.directory");
}
