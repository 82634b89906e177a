/* SPDX-License-Identifier: Apache-2.0 */
/* A recorded group: cells, operations, and how threads run them.
 *
 * Of n cells on T threads the first n - n % T run as *chains*: a thread takes a
 * whole cell and runs all operations on it, without waiting for anybody.  The
 * cells left over run operation by operation, each cut into items over all
 * threads.  Items are cut by shape alone, so both ways give the same bits. */
#ifndef KERNELS_CPU_GROUP_H
#define KERNELS_CPU_GROUP_H

#include <stdatomic.h>

#include "kernels/cpu/cpu.h"

typedef struct cpu_record {
    device_op op;
    const cpu_step *step;
} cpu_record;

/* Progress of one operation on the cells left over. */
typedef struct cpu_counter {
    _Alignas(CPU_MEMORY_ALIGN) atomic_uint next; /* item to take */
    atomic_uint done;                            /* items finished */
} cpu_counter;

/* Reused from group to group: arrays only grow. */
typedef struct cpu_group {
    kernel_cell *cells;
    uint32_t n_cell, cap_cell;
    cpu_record *records;
    uint32_t n_record, cap_record;
    cpu_memory counters; /* cpu_counter[cap_counter], then one for chains */
    uint32_t cap_counter;
    kernel_sample_args *samples; /* one a cell */
    uint32_t cap_sample;
    cpu_memory work; /* CPU_WORK_BYTES for each thread */
} cpu_group;

status cpu_group_init(cpu_group *g, const cpu_device *dev) MUST_USE;
/* Has its working memory in pages before the first group; between groups. */
void cpu_group_touch(cpu_group *g, cpu_device *dev);
void cpu_group_fini(cpu_group *g);

/* Forgets the last group and notes the cells. */
status cpu_group_begin(cpu_group *g, const kernel_cell *cells,
                       uint32_t n_cell) MUST_USE;
status cpu_group_add(cpu_group *g, const device_op *op) MUST_USE;
/* Makes room for what cpu_group_run() needs; the last step that can fail. */
status cpu_group_ready(cpu_group *g) MUST_USE;
/* Runs the group on the device's threads, calling `hook` (may be NULL) on this
 * one between items and while it waits. */
void cpu_group_run(cpu_group *g, cpu_device *dev, kernel_hook *hook,
                   void *hook_ctx);

#endif
