/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On the real kernel, as root. The processes that are followed are this very file, started with a role as its argument;
 * how the kernel numbers them is told by a second set of the programs of life.bpf.c.
 */
#include "targets.h"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "cleanup.h"
#include "clock.h"
#include "config.h"
#include "image.h"
#include "life.skel.h"
#include "main.h"
#include "sample.h"
#include "sideband.h"
#include "vec.h"

/* ---- the roles ---- */

static void copy_file(const char *from, const char *to)
{
	char buffer[65536];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	ssize_t n;

	/* One that mkstemp(3) made cannot be executed. */
	fchmod(out, 0755);
	while ((n = read(in, buffer, sizeof(buffer))) > 0)
		if (write(out, buffer, n) != n)
			break;
	close(in);
	close(out);
}

/* Says a byte, then waits for one or for the end of whoever holds the other end. */
static void ready_and_wait(void)
{
	char c = 'r';

	if (write(STDOUT_FILENO, &c, 1) != 1 || read(STDIN_FILENO, &c, 1) < 0)
		_exit(1);
}

static void run_short(char *path)
{
	pid_t pid;
	char *const argv[] = { path, (char *)"brief", NULL };

	if (posix_spawn(&pid, path, NULL, NULL, argv, environ) == 0)
		waitpid(pid, NULL, 0);
}

__attribute__((constructor)) static void play_role(int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG, argc > 1 ? SIGKILL : 0);
	if (argc < 2) {
		if (geteuid() != 0) {
			puts("1..0 # SKIP needs root: BPF programs and perf events");
			exit(0);
		}
		return;
	}
	if (!strcmp(argv[1], "brief")) {
		usleep(2000);
	} else if (!strcmp(argv[1], "wait")) {
		ready_and_wait();
	} else if (!strcmp(argv[1], "fork")) {
		pid_t pid = fork();

		if (pid == 0) {
			ready_and_wait();
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	} else if (!strcmp(argv[1], "map")) {
		int fd = open(argv[2], O_RDONLY);

		ready_and_wait();
		if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED)
			_exit(1);
		ready_and_wait();
	} else if (!strcmp(argv[1], "jit")) {
		if (mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			_exit(1);
		ready_and_wait();
	} else if (!strcmp(argv[1], "storm")) {
		/* Two events each: more than the ring of 1 MiB has room for. */
		for (int i = 0; i < 10000; i++) {
			pid_t pid = vfork();

			if (pid == 0)
				_exit(0);
			waitpid(pid, NULL, 0);
		}
	} else if (!strcmp(argv[1], "namespace")) {
		/* A place that only this mount namespace has. */
		if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0)
			_exit(1);
		copy_file("/proc/self/exe", "/mnt/inner");
		ready_and_wait();
		run_short((char *)"/mnt/inner");
		ready_and_wait();
	}
	_exit(0);
}

/* ---- what the tests share ---- */

struct child {
	pid_t pid;
	int to, from;                        /* its input and output */
};

struct told {
	uint32_t pid;
	bool is_target;
};

static sd_event *loop;
static struct targets *targets;
static struct life_bpf *life;
static struct ring_buffer *ring;
static VEC(struct life_event) lives;
static VEC(struct told) told;
static char self[4096];

static const struct config_env_label env_labels[] = {
	{ .variable = "TEST_TARGETS_VERSION", .label = "version" },
	{ .variable = "TEST_TARGETS_NONE", .label = "none" },
	{ .variable = "TEST_TARGETS_REGION", .label = "region" },
	{ .variable = "TEST_TARGETS_REGION", .label = "service" },
};
static const struct config_target targets_by_exe[] = {
	{ .service = "chosen", .match = { .exe = "*-chosen" }, .env_labels = env_labels, .n_env_labels = 4 },
	{ .match = { .cmdline = "* secret-word *" } },
};
static struct config config = { .jit = { .perf_map = true }, .targets = targets_by_exe, .n_targets = 2 };

static int on_life(void *userdata, void *data, size_t size)
{
	return vec_push(&lives, *(struct life_event *)data);
}

static void on_change(uint32_t pid, bool is_target, void *userdata)
{
	ck_assert_int_eq(vec_push(&told, ((struct told){ pid, is_target })), 0);
}

static void begin(void)
{
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	ck_assert_int_gt(n, 0);
	life = life_bpf__open_and_load();
	ck_assert_ptr_nonnull(life);
	ring = ring_buffer__new(bpf_map__fd(life->maps.events), on_life, NULL, NULL);
	ck_assert_ptr_nonnull(ring);
	ck_assert_int_eq(life_bpf__attach(life), 0);
	ck_assert_int_eq(sd_event_new(&loop), 0);
	ck_assert_int_eq(targets_new(loop, &config, on_change, NULL, &targets), 0);
}

static void end(void)
{
	targets = targets_free(targets);
	loop = sd_event_unref(loop);
	ring_buffer__free(ring);
	life_bpf__destroy(life);
	vec_deinit(&lives);
	vec_deinit(&told);
}

static void run_for(uint64_t msec)
{
	uint64_t until = clock_monotonic_nsec() + msec * NSEC_PER_MSEC;

	for (uint64_t now; (now = clock_monotonic_nsec()) < until;)
		ck_assert_int_ge(sd_event_run(loop, (until - now) / NSEC_PER_USEC), 0);
}

static struct child start(const char *path, const char *role, const char *argument)
{
	char *const argv[] = { (char *)path, (char *)role, (char *)argument, NULL };
	struct child child;
	posix_spawn_file_actions_t actions;
	int in[2], out[2];

	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	ck_assert_int_eq(posix_spawn(&child.pid, path, &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	close(out[1]);
	child.to = in[1];
	child.from = out[0];
	return child;
}

static void wait_ready(const struct child *child)
{
	char c;

	ck_assert_int_eq(read(child->from, &c, 1), 1);
}

static void go_on(const struct child *child)
{
	ck_assert_int_eq(write(child->to, "g", 1), 1);
}

static void finish(struct child *child)
{
	close(child->to);
	close(child->from);
	ck_assert_int_eq(waitpid(child->pid, NULL, 0), child->pid);
}

/* The n-th event of a kind of a process, as a sampler would name the process from then on; false: there is none. */
static bool find_id(uint32_t pid, enum life_kind kind, size_t n, struct process_id *ret)
{
	ring_buffer__consume(ring);
	for (size_t i = 0; i < lives.n; i++) {
		const struct life_event *event = &lives.at[i];

		if (event->process.pid != pid || event->kind != kind || n-- > 0)
			continue;
		*ret = (struct process_id){
			.pid = pid,
			.exec_id = event->process.exec_id,
			.start_nsec = event->process.start_nsec / NSEC_PER_TICK * NSEC_PER_TICK,
		};
		return true;
	}
	return false;
}

static struct process_id id_of(uint32_t pid, enum life_kind kind, size_t n)
{
	struct process_id id = { 0 };

	ck_assert(find_id(pid, kind, n, &id));
	return id;
}

static struct image *image_of(const struct process_id *id)
{
	struct image *image = NULL;

	targets_seen(targets, id);
	ck_assert_int_eq(targets_catch_up(targets), 0);
	ck_assert_int_eq(targets_image(targets, id, &image), 0);
	return image;
}

static const struct image_mapping *mapping_named(const struct image *image, const char *part)
{
	for (size_t i = 0; i < image->mappings.n; i++)
		if (image->mappings.at[i].binary && strstr(image->mappings.at[i].binary->path, part))
			return &image->mappings.at[i];
	return NULL;
}

static bool has_kind(const struct image *image, enum image_mapping_kind kind)
{
	for (size_t i = 0; i < image->mappings.n; i++)
		if (image->mappings.at[i].kind == kind)
			return true;
	return false;
}

static bool was_told(uint32_t pid, bool is_target)
{
	for (size_t i = 0; i < told.n; i++)
		if (told.at[i].pid == pid && told.at[i].is_target == is_target)
			return true;
	return false;
}

/* What a child of ours is called: by our unit or container if we run in one, else by its program. */
static void assert_service(const struct image *image, const char *program)
{
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct cgroup cgroup;
	char container[13] = "";

	ck_assert_int_eq(cgroup_read(proc, getpid(), &cgroup), 0);
	if (cgroup.container)
		snprintf(container, sizeof(container), "%s", cgroup.container);
	ck_assert_str_eq(image->service, cgroup.service ? cgroup.service : cgroup.container ? container : program);
	ck_assert_ptr_nonnull(image->exe);
	ck_assert_str_eq(strrchr(image->exe, '/') + 1, program);
	if (cgroup.unit)
		ck_assert_str_eq(image->unit, cgroup.unit);
	cgroup_deinit(&cgroup);
	close(proc);
}

static void on_wake(void *userdata)
{
}

/* Since Linux 5.12 the kernel gives build ids of 20 bytes, for files that have one; before, inodes. */
static void assert_build_id(const struct binary *binary)
{
	struct sideband *sideband;
	size_t size;

	ck_assert_int_eq(sideband_new(loop, on_wake, NULL, &sideband), 0);
	size = sideband_has_build_ids(sideband) ? 20 : 0;
	sideband_free(sideband);
	ck_assert_uint_eq(binary->build_id.size, size);
}

static void assert_sorted(const struct image *image)
{
	for (size_t i = 0; i < image->mappings.n; i++) {
		ck_assert_uint_lt(image->mappings.at[i].start, image->mappings.at[i].end);
		if (i > 0)
			ck_assert_uint_le(image->mappings.at[i - 1].end, image->mappings.at[i].start);
	}
}

/* ---- the tests ---- */

START_TEST(a_process_that_lived_two_milliseconds_has_its_mappings)
{
	struct child child;
	struct process_id id;
	struct image *image;
	const struct image_mapping *program, *libc;
	struct stat ours, theirs;
	char path[] = "/tmp/test-targets-brief-XXXXXX";

	close(mkstemp(path));
	copy_file("/proc/self/exe", path);
	begin();
	run_for(1500);
	child = start(path, "brief", NULL);
	finish(&child);
	id = id_of(child.pid, LIFE_EXEC, 0);
	image = image_of(&id);
	assert_sorted(image);
	program = mapping_named(image, path);
	libc = mapping_named(image, "libc");
	ck_assert_ptr_nonnull(program);
	ck_assert_ptr_nonnull(libc);
	ck_assert_ptr_nonnull(mapping_named(image, "ld-linux"));
	ck_assert(has_kind(image, IMAGE_MAPPING_VDSO));
	assert_build_id(program->binary);
	ck_assert_int_ge(libc->binary->fd, 0);
	ck_assert_int_ge(program->binary->fd, 0);
	ck_assert_int_eq(stat(path, &ours), 0);
	ck_assert_int_eq(fstat(program->binary->fd, &theirs), 0);
	ck_assert_uint_eq(ours.st_ino, theirs.st_ino);
	assert_service(image, strrchr(path, '/') + 1);
	ck_assert_str_eq(image->exe, path);
	ck_assert_ptr_eq(image_find(image, libc->start), libc);
	image_free(image);
	end();
	unlink(path);
}
END_TEST

START_TEST(a_file_found_by_scan_and_by_build_id_is_one_binary)
{
	struct child before, after;
	struct process_id id;
	struct image *image;
	uint64_t serial;

	/* Read from /proc, where no build id is. */
	life = life_bpf__open_and_load();
	ring = ring_buffer__new(bpf_map__fd(life->maps.events), on_life, NULL, NULL);
	ck_assert_int_eq(life_bpf__attach(life), 0);
	before = start("/bin/sleep", "100", NULL);
	usleep(50000);
	id = id_of(before.pid, LIFE_EXEC, 0);
	ring_buffer__free(ring);
	life_bpf__destroy(life);
	begin();
	image = image_of(&id);
	ck_assert_ptr_nonnull(mapping_named(image, "/sleep"));
	serial = mapping_named(image, "/sleep")->binary->serial;
	image_free(image);
	/* Told by the kernel, with its build id; living, so that it is certain. */
	after = start("/bin/sleep", "100", NULL);
	run_for(300);
	id = id_of(after.pid, LIFE_EXEC, 0);
	image = image_of(&id);
	ck_assert_ptr_nonnull(mapping_named(image, "/sleep"));
	ck_assert_uint_eq(mapping_named(image, "/sleep")->binary->serial, serial);
	assert_build_id(mapping_named(image, "/sleep")->binary);
	ck_assert(!mapping_named(image, "/sleep")->binary->unverified);
	ck_assert_int_ge(mapping_named(image, "/sleep")->binary->fd, 0);
	image_free(image);
	kill(before.pid, SIGKILL);
	kill(after.pid, SIGKILL);
	finish(&before);
	finish(&after);
	end();
}
END_TEST

START_TEST(an_exec_begins_another_image_and_keeps_the_one_before)
{
	struct child child;
	struct process_id before, after;
	struct image *image;

	begin();
	run_for(1500);
	child = start("/bin/sh", "-c", "read x; exec sleep 0.01");
	run_for(200);
	before = id_of(child.pid, LIFE_EXEC, 0);
	image = image_of(&before);
	ck_assert_ptr_nonnull(mapping_named(image, "/dash"));
	image_free(image);
	ck_assert_int_eq(write(child.to, "\n", 1), 1);
	finish(&child);
	after = id_of(child.pid, LIFE_EXEC, 1);
	ck_assert_uint_eq(after.exec_id, before.exec_id + 1);
	ck_assert_uint_eq(after.start_nsec, before.start_nsec);
	image = image_of(&after);
	ck_assert_ptr_nonnull(mapping_named(image, "/sleep"));
	ck_assert_ptr_null(mapping_named(image, "/dash"));
	assert_service(image, "sleep");
	image_free(image);
	image = image_of(&before);
	ck_assert_ptr_nonnull(mapping_named(image, "/dash"));
	ck_assert_ptr_null(mapping_named(image, "/sleep"));
	assert_service(image, "dash");
	image_free(image);
	/* The window is written. */
	targets_release(targets, clock_monotonic_nsec());
	ck_assert_int_eq(targets_image(targets, &before, &image), TARGETS_E_UNKNOWN);
	end();
}
END_TEST

START_TEST(a_fork_has_the_image_of_its_parent)
{
	struct child child;
	struct process_id id = { 0 };
	struct image *image;
	uint32_t pid = 0;

	begin();
	run_for(1500);
	child = start(self, "fork", NULL);
	wait_ready(&child);
	ring_buffer__consume(ring);
	for (size_t i = 0; i < lives.n; i++)
		if (lives.at[i].kind == LIFE_FORK && lives.at[i].parent_pid == (uint32_t)child.pid)
			pid = lives.at[i].process.pid;
	ck_assert_uint_ne(pid, 0);
	finish(&child);
	/* Both are gone, so nothing of this is from /proc. */
	id = id_of(pid, LIFE_FORK, 0);
	image = image_of(&id);
	ck_assert_ptr_nonnull(mapping_named(image, self));
	ck_assert_ptr_nonnull(mapping_named(image, "libc"));
	assert_service(image, strrchr(self, '/') + 1);
	image_free(image);
	end();
}
END_TEST

START_TEST(a_file_that_is_mapped_later_appears)
{
	char path[] = "/tmp/test-targets-later-XXXXXX";
	struct child child;
	struct process_id id;
	struct image *image;

	close(mkstemp(path));
	copy_file("/proc/self/exe", path);
	begin();
	run_for(1500);
	child = start(self, "map", path);
	wait_ready(&child);
	id = id_of(child.pid, LIFE_EXEC, 0);
	image = image_of(&id);
	ck_assert_ptr_null(mapping_named(image, path));
	image_free(image);
	go_on(&child);
	wait_ready(&child);
	image = image_of(&id);
	ck_assert_ptr_nonnull(mapping_named(image, path));
	ck_assert_int_ge(mapping_named(image, path)->binary->fd, 0);
	image_free(image);
	finish(&child);
	end();
	unlink(path);
}
END_TEST

START_TEST(a_program_that_was_deleted_is_still_opened)
{
	char path[] = "/tmp/test-targets-deleted-XXXXXX";
	struct child child;
	struct process_id id;
	struct image *image;
	struct stat before, after;

	close(mkstemp(path));
	copy_file("/proc/self/exe", path);
	ck_assert_int_eq(stat(path, &before), 0);
	begin();
	child = start(path, "wait", NULL);
	wait_ready(&child);
	unlink(path);
	id = id_of(child.pid, LIFE_EXEC, 0);
	image = image_of(&id);
	ck_assert_ptr_nonnull(mapping_named(image, path));
	ck_assert_int_eq(fstat(mapping_named(image, path)->binary->fd, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_str_eq(mapping_named(image, path)->binary->path, path);
	assert_service(image, strrchr(path, '/') + 1);
	/* The descriptor is good for as long as the image. */
	finish(&child);
	end();
	ck_assert_int_eq(fstat(mapping_named(image, path)->binary->fd, &after), 0);
	image_free(image);
}
END_TEST

START_TEST(a_process_from_before_us_is_read_when_a_sample_names_it)
{
	struct child child;
	struct process_id id;
	struct image *image;
	char name[] = "/tmp/test-targets-before-XXXXXX";

	close(mkstemp(name));
	copy_file("/proc/self/exe", name);
	/* Started without us: only our own tap knows its number. */
	life = life_bpf__open_and_load();
	ring = ring_buffer__new(bpf_map__fd(life->maps.events), on_life, NULL, NULL);
	ck_assert_int_eq(life_bpf__attach(life), 0);
	child = start(name, "wait", NULL);
	wait_ready(&child);
	id = id_of(child.pid, LIFE_EXEC, 0);
	ring_buffer__free(ring);
	life_bpf__destroy(life);
	unlink(name);
	begin();
	image = image_of(&id);
	ck_assert_ptr_nonnull(mapping_named(image, name));
	ck_assert_int_ge(mapping_named(image, name)->binary->fd, 0);
	ck_assert(has_kind(image, IMAGE_MAPPING_VDSO));
	image_free(image);
	/* Another program in this process is none that we know. */
	id.exec_id += 7;
	id.start_nsec += NSEC_PER_TICK;
	ck_assert_int_eq(targets_image(targets, &id, &image), TARGETS_E_UNKNOWN);
	finish(&child);
	end();
}
END_TEST

static void set_last_pid(pid_t pid)
{
	FILE *f = fopen("/proc/sys/kernel/ns_last_pid", "w");

	ck_assert_ptr_nonnull(f);
	fprintf(f, "%d", pid);
	fclose(f);
}

START_TEST(two_processes_of_one_pid_are_told_apart)
{
	struct child first, second = { 0 };
	struct process_id a, b;
	struct image *image;

	begin();
	run_for(1500);
	first = start("/bin/sleep", "0.01", NULL);
	finish(&first);
	usleep(50000);
	for (int i = 0; i < 20 && second.pid != first.pid; i++) {
		set_last_pid(first.pid - 1);
		second = start("/bin/true", NULL, NULL);
		finish(&second);
	}
	ck_assert_int_eq(first.pid, second.pid);
	a = id_of(first.pid, LIFE_EXEC, 0);
	b = id_of(first.pid, LIFE_EXEC, 1);
	ck_assert_uint_ne(a.start_nsec, b.start_nsec);
	image = image_of(&b);
	assert_service(image, "true");
	ck_assert_ptr_nonnull(mapping_named(image, "/true"));
	image_free(image);
	image = image_of(&a);
	assert_service(image, "sleep");
	ck_assert_ptr_null(mapping_named(image, "/true"));
	image_free(image);
	end();
}
END_TEST

START_TEST(churn_loses_nothing_and_costs_nothing_for_long)
{
	enum { MAX = 600 };
	struct targets_stats before, after;
	uint64_t begin_nsec;
	size_t n = 0, n_asked = 0, n_named = 0;
	pid_t pids[MAX];

	begin();
	run_for(2000);
	before = targets_stats(targets);
	begin_nsec = clock_monotonic_nsec();
	/* 300 a second for two seconds, or what the machine can do; the loop runs in between. */
	for (; n < MAX && clock_monotonic_nsec() < begin_nsec + 2 * NSEC_PER_SEC; n++) {
		struct child child = start("/bin/true", NULL, NULL);

		finish(&child);
		pids[n] = child.pid;
		while (clock_monotonic_nsec() < begin_nsec + (n + 1) * NSEC_PER_SEC / 300)
			ck_assert_int_ge(sd_event_run(loop, 1000), 0);
		if (n % 10 == 0) {
			struct process_id id = id_of(child.pid, LIFE_EXEC, 0);
			struct image *image = image_of(&id);

			n_asked++;
			n_named += mapping_named(image, "/true") && mapping_named(image, "/true")->binary->fd >= 0 &&
				   mapping_named(image, "libc") != NULL;
			image_free(image);
		}
	}
	ck_assert_int_eq(targets_catch_up(targets), 0);
	after = targets_stats(targets);
	ck_assert_uint_ge(after.execs, before.execs + n);
	ck_assert_uint_ge(after.exits, before.exits + n);
	ck_assert_uint_ge(after.mappings, before.mappings + n * 3);
	ck_assert_uint_eq(after.lost_life, 0);
	ck_assert_uint_eq(after.lost_mappings, 0);
	ck_assert_uint_eq(n_named, n_asked);
	ck_assert_uint_ge(after.n_processes, before.n_processes + n);
	/* Those in no sample are forgotten after some seconds, the others when their window is written. */
	run_for(6000);
	targets_release(targets, clock_monotonic_nsec());
	for (size_t i = 0; i < n; i++) {
		struct process_id id = id_of(pids[i], LIFE_EXEC, 0);
		struct image *image = NULL;

		ck_assert_int_eq(targets_image(targets, &id, &image), TARGETS_E_UNKNOWN);
	}
	end();
}
END_TEST

START_TEST(a_perf_map_is_opened_only_when_it_is_a_file_of_its_process)
{
	struct child child;
	struct process_id id;
	struct image *image;
	char path[64];
	uint64_t refused = 0;

	begin();
	child = start(self, "jit", NULL);
	wait_ready(&child);
	id = id_of(child.pid, LIFE_EXEC, 0);
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", child.pid);
	unlink(path);

	image = image_of(&id);
	ck_assert(has_kind(image, IMAGE_MAPPING_ANONYMOUS));
	ck_assert_int_eq(image->perf_map_fd, -1);
	ck_assert_uint_eq(targets_stats(targets).perf_maps_refused, 0);
	image_free(image);

	for (int how = 0; how < 4; how++) {
		int fd;

		if (how == 0)
			ck_assert_int_eq(mkfifo(path, 0644), 0);
		else if (how == 1)
			ck_assert_int_eq(symlink("/etc/passwd", path), 0);
		else
			ck_assert_int_ge(fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644), 0);
		if (how == 2)
			ck_assert_int_eq(chown(path, 12345, 12345), 0);
		if (how == 3)
			ck_assert_int_eq(truncate(path, (64 << 20) + 1), 0);
		image = image_of(&id);
		ck_assert_int_eq(image->perf_map_fd, -1);
		/* Looked at again, not counted again. */
		ck_assert_uint_eq(targets_stats(targets).perf_maps_refused, ++refused);
		image_free(image);
		unlink(path);
	}
	/* The map outlives its process. */
	close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644));
	finish(&child);
	image = image_of(&id);
	ck_assert_int_ge(image->perf_map_fd, 0);
	image_free(image);
	unlink(path);
	end();
}
END_TEST

START_TEST(a_perf_map_that_its_process_removed_is_still_given_away)
{
	struct child child;
	struct process_id id;
	struct image *image;
	struct stat written, given;
	char path[64];

	begin();
	child = start(self, "jit", NULL);
	wait_ready(&child);
	id = id_of(child.pid, LIFE_EXEC, 0);
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", child.pid);
	unlink(path);
	/* Sampled before it wrote its map, and never again in this window. */
	targets_seen(targets, &id);
	run_for(300);
	close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644));
	ck_assert_int_eq(stat(path, &written), 0);
	run_for(1000);
	unlink(path);
	finish(&child);
	ck_assert_int_eq(targets_catch_up(targets), 0);
	/* Another one that has come to this name since is none of its. */
	close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644));
	ck_assert_int_eq(targets_image(targets, &id, &image), 0);
	ck_assert_int_ge(image->perf_map_fd, 0);
	ck_assert_int_eq(fstat(image->perf_map_fd, &given), 0);
	ck_assert_uint_eq(given.st_ino, written.st_ino);
	ck_assert_uint_eq(targets_stats(targets).perf_maps_refused, 0);
	image_free(image);
	unlink(path);
	end();
}
END_TEST

START_TEST(targets_of_the_configuration_are_told_and_named)
{
	char path[64];
	struct child child, other;
	struct process_id id;
	struct image *image;
	static const struct config_target none[1];
	struct config without = config;

	snprintf(path, sizeof(path), "/tmp/test-targets-%d-chosen", getpid());
	copy_file("/proc/self/exe", path);
	begin();
	run_for(1000);
	ck_assert_int_eq(setenv("TEST_TARGETS_VERSION", "7.1", 1), 0);
	ck_assert_int_eq(setenv("TEST_TARGETS_REGION", "north\nwest", 1), 0);
	child = start(path, "wait", NULL);
	other = start(self, "wait", "has secret-word in it");
	wait_ready(&child);
	wait_ready(&other);
	run_for(500);
	ck_assert(was_told(child.pid, true));
	ck_assert(was_told(other.pid, true));
	ck_assert(!was_told(getpid(), true));
	id = id_of(child.pid, LIFE_EXEC, 0);
	image = image_of(&id);
	ck_assert(image->in_depth);
	ck_assert_str_eq(image->service, "chosen");
	ck_assert_uint_eq(image->labels.pairs.n, 2);
	ck_assert_str_eq(labels_get(&image->labels, "version"), "7.1");
	ck_assert_str_eq(labels_get(&image->labels, "region"), "north?west");
	image_free(image);
	id = id_of(other.pid, LIFE_EXEC, 0);
	image = image_of(&id);
	ck_assert(image->in_depth);
	assert_service(image, strrchr(self, '/') + 1);
	/* The same variables, but nobody asked for them. */
	ck_assert_uint_eq(image->labels.pairs.n, 0);
	image_free(image);

	finish(&other);
	run_for(300);
	ck_assert(was_told(other.pid, false));
	ck_assert(!was_told(child.pid, false));

	without.targets = none;
	without.n_targets = 0;
	ck_assert_int_eq(targets_set_config(targets, &without), 0);
	run_for(4000);
	ck_assert(was_told(child.pid, false));
	id = id_of(child.pid, LIFE_EXEC, 0);
	image = image_of(&id);
	ck_assert(!image->in_depth);
	assert_service(image, strrchr(path, '/') + 1);
	image_free(image);
	finish(&child);
	end();
	unlink(path);
}
END_TEST

START_TEST(the_file_of_a_dead_process_is_found_in_its_mount_namespace)
{
	struct child child;
	struct process_id id = { 0 };
	struct image *image;
	const struct image_mapping *mapping;

	begin();
	run_for(1000);
	child = start(self, "namespace", NULL);
	wait_ready(&child);
	run_for(400);
	go_on(&child);
	wait_ready(&child);
	ring_buffer__consume(ring);
	for (size_t i = 0; i < lives.n; i++)
		if (lives.at[i].kind == LIFE_FORK && lives.at[i].parent_pid == (uint32_t)child.pid)
			id = id_of(lives.at[i].process.pid, LIFE_EXEC, 0);
	ck_assert_uint_ne(id.pid, 0);
	ck_assert_int_ne(access("/mnt/inner", F_OK), 0);
	image = image_of(&id);
	mapping = mapping_named(image, "/mnt/inner");
	ck_assert_ptr_nonnull(mapping);
	ck_assert_int_ge(mapping->binary->fd, 0);
	/* By its path alone: whoever reads it compares the build id first. Without one, it is the inode that was mapped. */
	assert_build_id(mapping->binary);
	ck_assert_int_eq(mapping->binary->unverified, mapping->binary->build_id.size > 0);
	image_free(image);
	finish(&child);
	end();
}
END_TEST

START_TEST(an_end_that_was_lost_is_found_out)
{
	char path[64];
	struct child child, storm;

	snprintf(path, sizeof(path), "/tmp/test-targets-%d-chosen", getpid());
	copy_file("/proc/self/exe", path);
	begin();
	run_for(1000);
	child = start(path, "wait", NULL);
	wait_ready(&child);
	run_for(400);
	ck_assert(was_told(child.pid, true));
	/* Nobody reads meanwhile. */
	storm = start(self, "storm", NULL);
	ck_assert_int_eq(waitpid(storm.pid, NULL, 0), storm.pid);
	finish(&child);
	ck_assert_int_eq(targets_catch_up(targets), 0);
	ck_assert_uint_gt(targets_stats(targets).lost_life, 0);
	ck_assert(!was_told(child.pid, false));
	run_for(11000);
	ck_assert(was_told(child.pid, false));
	end();
	unlink(path);
}
END_TEST

START_TEST(kernel_threads_are_one_service)
{
	struct process_id id = { .pid = 2 };
	struct image *image;

	begin();
	run_for(1500);
	/* kthreadd: as old as the system, never exec'd. */
	targets_seen(targets, &id);
	if (targets_image(targets, &id, &image) == 0) {
		ck_assert_str_eq(image->service, "kernel");
		ck_assert_uint_eq(image->mappings.n, 0);
		image_free(image);
	}
	end();
}
END_TEST

UNIT_TESTS("targets", a_process_that_lived_two_milliseconds_has_its_mappings,
	a_file_found_by_scan_and_by_build_id_is_one_binary, an_exec_begins_another_image_and_keeps_the_one_before,
	a_fork_has_the_image_of_its_parent,
	a_file_that_is_mapped_later_appears, a_program_that_was_deleted_is_still_opened,
	a_process_from_before_us_is_read_when_a_sample_names_it, two_processes_of_one_pid_are_told_apart,
	churn_loses_nothing_and_costs_nothing_for_long, a_perf_map_is_opened_only_when_it_is_a_file_of_its_process,
	a_perf_map_that_its_process_removed_is_still_given_away,
	targets_of_the_configuration_are_told_and_named, the_file_of_a_dead_process_is_found_in_its_mount_namespace,
	an_end_that_was_lost_is_found_out, kernel_threads_are_one_service)
