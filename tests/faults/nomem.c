/* SPDX-License-Identifier: Apache-2.0 */
/* malloc and its relatives in front of the C library's, which can fail. */
#include "tests/faults/nomem.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"

static atomic_long left; /* allocations until one fails; 0: none does */
static unsigned ours;
static atomic_bool has_failed;

void
nomem_after(nomem_kind kind, unsigned n)
{
    char list[64] = "";

    if (kind == NOMEM_OURS && n > 0)
        (void)snprintf(list, sizeof(list), "mem.new:%u:nomem", n);
    if (fault_set(list) != ST_OK)
        abort();
    ours = kind == NOMEM_OURS ? n : 0;
    atomic_store(&has_failed, false);
    atomic_store(&left, kind == NOMEM_ANY ? (long)n : 0);
}

bool
nomem_has_failed(void)
{
    return ours > 0 ? fault_passed(FAULT_MEM_NEW) >= ours
                    : atomic_load(&has_failed);
}

/* A sanitizer's allocator is in a library, under these names too. */
#ifdef __SANITIZE_ADDRESS__
#define BEHIND(call) __interceptor_##call

static _Thread_local bool is_spared;

/* A sanitizer asks this of each thread that begins, and can bear no failure. */
int
pthread_getattr_np(pthread_t thread, pthread_attr_t *out)
{
    int (*next)(pthread_t thread, pthread_attr_t * out);
    int e;

    is_spared = true;
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_getattr_np");
    e = next(thread, out);
    is_spared = false;
    return e;
}
#else
static const bool is_spared = false;
#define BEHIND(call) __libc_##call
#endif

void *BEHIND(malloc)(size_t size);
void *BEHIND(calloc)(size_t n, size_t size);
void *BEHIND(realloc)(void *old, size_t size);

static bool
fails(void)
{
    if (is_spared || atomic_load_explicit(&left, memory_order_relaxed) <= 0 ||
        atomic_fetch_sub(&left, 1) != 1)
        return false;
    atomic_store(&has_failed, true);
    errno = ENOMEM;
    return true;
}

void *
malloc(size_t size)
{
    return fails() ? NULL : BEHIND(malloc)(size);
}

void *
calloc(size_t n, size_t size)
{
    return fails() ? NULL : BEHIND(calloc)(n, size);
}

void *
realloc(void *old, size_t size)
{
    return fails() ? NULL : BEHIND(realloc)(old, size);
}
