/* SPDX-License-Identifier: Apache-2.0 */
/* Zeroed memory for tensors: aligned to cache lines, in large pages where the
 * system has them. */
#ifndef KERNELS_CPU_MEMORY_H
#define KERNELS_CPU_MEMORY_H

#include <stddef.h>

#include "base/status.h"
#include "kernels/cpu/parallel.h"

enum { CPU_MEMORY_ALIGN = 64, CPU_MEMORY_TOUCH = 64 << 20 };

typedef struct cpu_memory {
    char *data; /* aligned */
    void *raw;  /* what is freed */
} cpu_memory;

/* n * bytes zeroed bytes. */
status cpu_memory_init(cpu_memory *m, size_t n, size_t bytes) MUST_USE;
void cpu_memory_fini(cpu_memory *m);
/* Has the system give pages for `n` parts of `bytes` each now, those of part i
 * on thread i modulo the team's size, which works on them: the first group
 * would wait for every one of them.  At most for CPU_MEMORY_TOUCH bytes, evenly
 * of all parts; nobody may use the memory meanwhile. */
void cpu_memory_touch(const cpu_memory *m, size_t n, size_t bytes, parallel *p);

#endif
