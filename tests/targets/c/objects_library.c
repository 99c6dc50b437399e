/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library with locks: one that it exports and that a program gets a copy of, in its own .bss, because it uses it (a copy
 * relocation); one that it exports and nobody uses by name; one that it keeps for itself.
 */
#include <pthread.h>

extern pthread_mutex_t objects_copied_lock, objects_exported_lock;
pthread_mutex_t *objects_exported(void), *objects_hidden(void);

pthread_mutex_t objects_copied_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_mutex_t objects_exported_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t hidden_lock = PTHREAD_MUTEX_INITIALIZER;

pthread_mutex_t *objects_exported(void)
{
	return &objects_exported_lock;
}

pthread_mutex_t *objects_hidden(void)
{
	return &hidden_lock;
}
