/* SPDX-License-Identifier: Apache-2.0 */
#include "machinery.h"

#include <check.h>

#include "cleanup.h"
#include "main.h"

START_TEST(libraries_through_which_programs_wait_are_known_by_their_files)
{
	static const char *const theirs[] = {
		"/lib/x86_64-linux-gnu/libc.so.6", "/lib/libc-2.31.so", "/lib/libpthread-2.31.so", "/usr/lib/libstdc++.so.6.0.30", "libc++.so.1",
		"/lib/ld-musl-x86_64.so.1", "/usr/lib/jvm/java-17/lib/server/libjvm.so",
	};
	static const char *const others[] = { "", "/usr/bin/server", "/opt/libcurl.so.4", "/opt/libcrypto.so", "/srv/libc/server", "libc" };

	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
		ck_assert_msg(machinery_is_file(theirs[i]), "%s", theirs[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		ck_assert_msg(!machinery_is_file(others[i]), "%s", others[i]);
}
END_TEST

START_TEST(functions_of_a_language_are_known_by_their_names)
{
	static const char *const theirs[] = {
		"std::condition_variable::wait(std::unique_lock<std::mutex>&)", "void std::__invoke_impl<void, work::run()>(std::__invoke_other)",
		"std::thread::park", "<std::sys::sync::mutex::futex::Mutex as core::ops::Drop>::drop", "core::ops::function::FnOnce::call_once",
		"runtime.futexsleep", "internal/runtime/syscall/linux.Syscall6", "syscall.read", "threadentry",
	};
	static const char *const others[] = {
		"", "main", "work::alpha(std::vector<int>&)", "<app::Worker as std::io::Read>::read", "(anonymous namespace)::wait_mutex()",
		"std_wait", "main.inMutex", "internal", "net/http.(*conn).serve", "void work::run<std::string>(std::string)",
	};

	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
		ck_assert_msg(machinery_is_function(theirs[i]), "%s", theirs[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		ck_assert_msg(!machinery_is_function(others[i]), "%s", others[i]);
	ck_assert(machinery_is_runtime("/usr/bin/server", "runtime.mstart"));
	ck_assert(machinery_is_runtime("/usr/lib/jvm/lib/server/libjvm.so", NULL));
	ck_assert(!machinery_is_runtime("/usr/bin/server", "std::thread::park"));
	ck_assert(!machinery_is_runtime("/usr/bin/server", NULL));
}
END_TEST

START_TEST(functions_of_the_library_of_go_are_known_by_their_packages)
{
	static const char *const theirs[] = {
		"net/http.(*conn).serve", "time.Sleep", "runtime.gopark", "internal/poll.(*FD).Accept", "sync.(*Mutex).Lock", "os/signal.loop",
		"slices.SortFunc[go.shape.[]main.row/x]", "vendor/golang.org/x/net/http2/hpack.(*Decoder).Write", "net/http.init.func1",
	};
	static const char *const others[] = {
		"", "main.main", "main.(*server).accept", "go.uber.org/zap.New", "golang.org/x/sync/errgroup.(*Group).Go.func1",
		"github.com/x/net/http.Serve", "time", "times.Sleep", "targets/internal/truth.Run", "main.f[net/http.Handler]", "example.com/os.Open",
	};

	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
		ck_assert_msg(machinery_is_go_library(theirs[i]), "%s", theirs[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		ck_assert_msg(!machinery_is_go_library(others[i]), "%s", others[i]);
}
END_TEST

START_TEST(locks_that_look_like_something_else_are_known_by_their_names)
{
	ck_assert(machinery_contends("ObjectMonitor::enter(JavaThread*)"));
	ck_assert(machinery_contends("take_gil"));
	ck_assert(machinery_contends("__pthread_rwlock_rdlock_full64"));
	ck_assert(!machinery_contends("ObjectMonitor::wait(long, bool, JavaThread*)"));
	ck_assert(!machinery_contends("___pthread_cond_wait"));
	ck_assert(machinery_accepts("accept4"));
	ck_assert(!machinery_accepts("accept_all"));
	ck_assert(machinery_accepts("internal/poll.(*FD).Accept"));
	ck_assert(machinery_interprets("_PyEval_EvalFrameDefault"));
	ck_assert(!machinery_interprets("PyEval_RestoreThread"));
}
END_TEST

UNIT_TESTS("machinery", libraries_through_which_programs_wait_are_known_by_their_files,
		functions_of_a_language_are_known_by_their_names, functions_of_the_library_of_go_are_known_by_their_packages, locks_that_look_like_something_else_are_known_by_their_names)
