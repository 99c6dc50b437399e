/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Whose code a frame is: the application's, or that of the system and its language, through which the application waits.
 * Told by the file's name where libraries are shared, by the function's where they are linked in (Rust, Go). Of a stripped
 * static program all is the application's.
 */
#include <stdbool.h>

/* By the path of its file: libc, libstdc++, the JVM, ... */
bool machinery_is_file(const char *path);

/* By its name, as a profile has it (demangled): a function of the language's own library or runtime. */
bool machinery_is_function(const char *name);
/* By its name: of Go's standard library, runtime included. A module whose name is that of a folder there is taken for it. */
bool machinery_is_go_library(const char *name);
/* Of a runtime that has threads of its own, by file and name: Go's, the JVM. The name may be NULL. */
bool machinery_is_runtime(const char *path, const char *name);
/* accept() and accept4(), and what Go accepts connections by. */
bool machinery_accepts(const char *name);
/* It waits for a lock, whatever system call it does that by: monitors of Java, the lock of Python's interpreter, reader-writer locks. */
bool machinery_contends(const char *name);
/* The loop of an interpreter: functions of the program it runs have no frames of their own. */
bool machinery_interprets(const char *name);
