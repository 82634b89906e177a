/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU backend: its two device tables, and what its files share.
 *
 * An operation on one cell is cut into *items*, by the cell's shape alone, and
 * an item always does the same arithmetic.  group.c decides which thread runs
 * which item when; the files named after operations say how many items there
 * are and what one does. */
#ifndef KERNELS_CPU_CPU_H
#define KERNELS_CPU_CPU_H

#include <pthread.h>

#include "kernels/cpu/memory.h"
#include "kernels/cpu/parallel.h"
#include "kernels/device.h"

extern const device_table cpu_table;       /* "cpu" */
extern const device_table cpu_async_table; /* "cpu-async" */

/* The slots that both tables share (device.c). */
status cpu_open(kernel_device **out, const device_table *table,
                const kernel_config *cfg) MUST_USE;
void cpu_close(kernel_device *dev);
status cpu_measure(kernel_device *dev, size_t m, size_t n, size_t k,
                   uint32_t n_run, kernel_rate *out) MUST_USE;
status cpu_measure_read(kernel_device *dev, size_t bytes,
                        double *rate) MUST_USE;
void cpu_info(const kernel_device *dev, kernel_info *out);
status cpu_buf_new(kernel_buf **out, kernel_device *dev, kernel_use use,
                   size_t bytes, size_t n_item) MUST_USE;
void cpu_buf_free(kernel_buf *buf);

typedef struct cpu_buf cpu_buf;

typedef struct cpu_device {
    kernel_device base;
    parallel *threads;
    uint32_t n_share; /* ranks of this host */
    /* Held while a group runs and while the list below changes: queues that
     * compute in the background share scratch. */
    pthread_mutex_t lock;
    cpu_buf *scratch; /* list of the device's KERNEL_SCRATCH buffers */
} cpu_device;

/* Scratch has an item for each thread and for each cell that threads share,
 * not one for each cell of a group: values live while one thread, or all of
 * them, work on a cell, and so stay in cache. */
struct cpu_buf {
    kernel_buf base;
    cpu_memory memory;
    size_t step; /* bytes between scratch items */
    cpu_buf *next;
};

/* Bytes of working memory that a thread has for the item it runs. */
enum { CPU_WORK_BYTES = 512 << 10 };

/* What fits into it: the angles of a head; twice the numbers that the DPFP map
 * is of, and some.  And into its panels: a bit for each token. */
enum {
    CPU_MAX_HEAD = CPU_WORK_BYTES / 4,
    CPU_MAX_FEATURE = CPU_MAX_HEAD / 2 - 2,
    CPU_MAX_VOCAB = 1 << 20
};

/* One item of an operation on one cell. */
typedef struct cpu_item {
    const device_op *op;
    const kernel_cell *cell;
    uint32_t place;    /* of the cell in the group */
    uint32_t scratch;  /* which item of scratch buffers is the cell's */
    uint32_t index;    /* which item of the operation */
    float *work;       /* CPU_WORK_BYTES, aligned, holds nothing */
    float *panels;     /* for product_run() */
    kernel_hook *hook; /* NULL but on the calling thread */
    void *hook_ctx;
} cpu_item;

/* For long items: between pieces of about a millisecond at most. */
static inline void
cpu_progress(const cpu_item *item)
{
    if (item->hook != NULL)
        item->hook(item->hook_ctx);
}

typedef struct cpu_step {
    /* Items of the operation on a cell; a function of shapes alone. */
    uint32_t (*count)(const device_op *op, const kernel_cell *cell);
    void (*run)(const cpu_item *item);
} cpu_step;

/* One step an operation; the memory's have two, where items of the second need
 * or spoil what all items of the first leave or read. */
extern const cpu_step cpu_embed, cpu_linear, cpu_rmsnorm, cpu_layernorm,
    cpu_rope, cpu_kv_append, cpu_kv_keep, cpu_attention, cpu_swiglu, cpu_gelu,
    cpu_dpfp, cpu_assoc_divide, cpu_assoc_read, cpu_assoc_write,
    cpu_assoc_write_z, cpu_sample;

/* A run of rows or columns. */
typedef struct cpu_range {
    size_t first, n;
} cpu_range;

/* Part `index` of `n` things in `n_part` nearly equal parts whose borders are
 * multiples of `unit`. */
static inline cpu_range
cpu_part(size_t n, size_t n_part, size_t index, size_t unit)
{
    size_t n_unit = (n + unit - 1) / unit;
    size_t first = n_unit * index / n_part * unit;
    size_t end = n_unit * (index + 1) / n_part * unit;

    end = end < n ? end : n;
    return (cpu_range){first, end > first ? end - first : 0};
}

static inline uint32_t
cpu_ceil_div(size_t a, size_t b)
{
    return (uint32_t)((a + b - 1) / b);
}

/* Tiles of a product of m rows, n columns and depth k: a function of the shape
 * alone. */
typedef struct cpu_tiles {
    uint32_t n_row, n_col;
} cpu_tiles;
cpu_tiles cpu_tiles_of(size_t m, size_t n, size_t k); /* linear.c */
enum { CPU_TILE_UNIT = 16 }; /* columns of tiles begin at multiples */

/* Rows that an operation takes, and its first row of a view. */
static inline size_t
cpu_rows(const kernel_cell *cell, kernel_rows rows)
{
    if (rows == KERNEL_ROWS_MEM)
        return cell->n_mem;
    return cell->n_row - (rows == KERNEL_ROWS_LATE ? cell->n_skip : 0);
}
float *cpu_at(const kernel_view *v, const cpu_item *item, kernel_rows rows);
float *cpu_item_at(const kernel_view *v, const cpu_item *item); /* its row 0 */
/* Its row 0, of numbers in bf16. */
uint16_t *cpu_narrow_at(const kernel_view *v, const cpu_item *item);
/* A row of weights of any type. */
const void *cpu_row_at(const kernel_view *v, const cpu_item *item, size_t row);
int32_t *cpu_ids_at(const kernel_view *v, const cpu_item *item);

/* Carries out a copy, now. */
void cpu_copy_run(const device_copy *copy);

/* For operations on single rows: blocks of CPU_ROW_BLOCK rows. */
enum { CPU_ROW_BLOCK = 32 };
uint32_t cpu_row_blocks(size_t n_row);
cpu_range cpu_row_block(size_t n_row, uint32_t index);

#endif
