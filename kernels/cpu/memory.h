/* SPDX-License-Identifier: Apache-2.0 */
/* Zeroed memory for tensors: aligned to cache lines, in large pages where the
 * system has them. */
#ifndef KERNELS_CPU_MEMORY_H
#define KERNELS_CPU_MEMORY_H

#include <stddef.h>

#include "base/status.h"

enum { CPU_MEMORY_ALIGN = 64 };

typedef struct cpu_memory {
    char *data; /* aligned */
    void *raw;  /* what is freed */
} cpu_memory;

/* n * bytes zeroed bytes. */
status cpu_memory_init(cpu_memory *m, size_t n, size_t bytes) MUST_USE;
void cpu_memory_fini(cpu_memory *m);

#endif
