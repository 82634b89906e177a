/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned allocation with large pages. */
#include "kernels/cpu/memory.h"

#include <stdint.h>
#include <sys/mman.h>

#include "base/mem.h"

enum { LARGE_PAGE = 2 << 20 };

static char *
align_up(void *ptr, size_t align)
{
    return (char *)(((uintptr_t)ptr + align - 1) / align * align);
}

status
cpu_memory_init(cpu_memory *m, size_t n, size_t bytes)
{
    void *raw = NULL;
    size_t size, padded;
    status st;

    TRY(size_mul(&size, n, bytes));
    TRY(size_add(&padded, size, CPU_MEMORY_ALIGN - 1));
    TRY(mem_new(&raw, padded, 1));
    m->raw = raw;
    m->data = align_up(raw, CPU_MEMORY_ALIGN);
    if (size >= 2 * (size_t)LARGE_PAGE) {
        char *first = align_up(raw, LARGE_PAGE);
        size_t room = (size_t)(m->data + size - first);

        /* Only advice: without large pages it is slower and right. */
        (void)madvise(first, room / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
    }
    return ST_OK;
fail:
    return st;
}

void
cpu_memory_fini(cpu_memory *m)
{
    mem_free(m->raw);
    m->raw = NULL;
    m->data = NULL;
}
