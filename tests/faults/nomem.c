/* SPDX-License-Identifier: Apache-2.0 */
/* malloc and its relatives in front of the C library's, which can fail. */
#include "tests/faults/nomem.h"

#include <errno.h>
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

#ifdef __SANITIZE_ADDRESS__

bool
nomem_can(nomem_kind kind)
{
    return kind == NOMEM_OURS;
}

#else

bool
nomem_can(nomem_kind kind)
{
    (void)kind;
    return true;
}

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);

static bool
fails(void)
{
    if (atomic_load_explicit(&left, memory_order_relaxed) <= 0 ||
        atomic_fetch_sub(&left, 1) != 1)
        return false;
    atomic_store(&has_failed, true);
    errno = ENOMEM;
    return true;
}

void *
malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *old, size_t size)
{
    return fails() ? NULL : __libc_realloc(old, size);
}

#endif
