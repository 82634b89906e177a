/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned allocation with large pages. */
#include "kernels/cpu/memory.h"

#include <stdint.h>
#include <sys/mman.h>

#include "base/mem.h"

/* From so many bytes on a buffer begins and ends at large pages of its own: at
 * a cell's sizes the misses of small ones cost a tenth of the time. */
enum { SMALL_PAGE = 4096, LARGE_PAGE = 2 << 20, LARGE_FROM = 512 << 10 };

static char *
align_up(void *ptr, size_t align)
{
    return (char *)(((uintptr_t)ptr + align - 1) / align * align);
}

status
cpu_memory_init(cpu_memory *m, size_t n, size_t bytes)
{
    void *raw = NULL;
    size_t align = CPU_MEMORY_ALIGN;
    size_t size, padded;
    status st;

    TRY(size_mul(&size, n, bytes));
    if (size >= LARGE_FROM) {
        align = LARGE_PAGE;
        TRY(size_add(&size, size, align - 1));
        size = size / align * align;
    }
    TRY(size_add(&padded, size, align - 1));
    TRY(mem_new(&raw, padded, 1));
    m->raw = raw;
    m->data = align_up(raw, align);
    /* Only advice: without large pages it is slower and right. */
    if (align == LARGE_PAGE)
        (void)madvise(m->data, size, MADV_HUGEPAGE);
    return ST_OK;
fail:
    return st;
}

typedef struct touching {
    char *data;
    size_t n, bytes, most; /* of a part, so many of its bytes */
    size_t n_thread;
} touching;

static void
touch_parts(void *ctx, uint32_t thread)
{
    const touching *t = ctx;

    for (size_t i = thread; i < t->n; i += t->n_thread) {
        volatile char *part = t->data + i * t->bytes;

        for (size_t at = 0; at < t->most; at += SMALL_PAGE)
            part[at] = 0;
    }
}

void
cpu_memory_touch(const cpu_memory *m, size_t n, size_t bytes, parallel *p)
{
    touching t = {.data = m->data,
                  .n = n,
                  .bytes = bytes,
                  .most = bytes,
                  .n_thread = parallel_threads(p)};

    if (n > 0 && t.most > CPU_MEMORY_TOUCH / n)
        t.most = CPU_MEMORY_TOUCH / n;
    parallel_run(p, touch_parts, &t);
}

void
cpu_memory_fini(cpu_memory *m)
{
    mem_free(m->raw);
    m->raw = NULL;
    m->data = NULL;
}
