/* SPDX-License-Identifier: Apache-2.0 */
/* Pinned memory of the host, and which memory that is: few pieces, so that a
 * list does. */
#include "kernels/cuda/host.h"

#include <string.h>

#include "base/mem.h"

enum { MIB = 1 << 20 };

struct cuda_pinned {
    cuda_pinned *next;
    char *data;
    size_t bytes;
};

status
cuda_pinned_new(void **out, kernel_device *base, size_t bytes)
{
    cuda_device *dev = (cuda_device *)base;
    cuda_pinned *p = NULL;
    void *data = NULL;
    status st;

    TRY(mem_new(&p, 1, sizeof(*p)));
    TRY(cuda_enter(base));
    if (cudaMallocHost(&data, bytes + (bytes == 0)) != cudaSuccess) {
        (void)cudaGetLastError();
        TRY(status_fail(ST_NOMEM, "no pinned memory: %zu MiB asked",
                        bytes / MIB));
    }
    memset(data, 0, bytes);
    *p = (cuda_pinned){.next = dev->pinned, .data = data, .bytes = bytes};
    dev->pinned = p;
    *out = data;
    return ST_OK;
fail:
    mem_free(p);
    return st;
}

void
cuda_pinned_free(kernel_device *base, void *host)
{
    cuda_device *dev = (cuda_device *)base;
    cuda_pinned **at = &dev->pinned;

    while ((*at)->data != host)
        at = &(*at)->next;
    cuda_pinned *p = *at;
    *at = p->next;
    (void)cudaFreeHost(host);
    mem_free(p);
}

bool
cuda_pinned_holds(const kernel_device *base, const void *at, size_t bytes)
{
    uintptr_t first = (uintptr_t)at;

    for (const cuda_pinned *p = ((const cuda_device *)base)->pinned; p != NULL;
         p = p->next)
        if (first >= (uintptr_t)p->data && bytes <= p->bytes &&
            first - (uintptr_t)p->data <= p->bytes - bytes)
            return true;
    return false;
}
