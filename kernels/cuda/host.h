/* SPDX-License-Identifier: Apache-2.0 */
/* Host side of the CUDA backend: what its C files share. */
#ifndef KERNELS_CUDA_HOST_H
#define KERNELS_CUDA_HOST_H

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/fast.h"
#include "kernels/cuda/program.h"

typedef struct cuda_blas cuda_blas;
typedef struct cuda_pinned cuda_pinned;

typedef struct cuda_device {
    kernel_device base;
    int ordinal;
    uint32_t n_share; /* ranks on it */
    kernel_type compute;
    bool plain; /* only kernels for any shape */
    uint32_t arch, n_sm;
    size_t max_shared;   /* bytes that a block may ask for */
    cuda_encode *encode; /* makes tensor maps; NULL: too old a driver */
    cuda_blas *blas;
    cuda_pinned *pinned; /* list of what cuda_pinned_new() has made */
    char name[72];
} cuda_device;

/* Whether it has launches made for it; else kernels for any shape run. */
bool cuda_device_is_fast(const cuda_device *dev);

/* ----------------------------------------------------------- pinned.c --- */

status cuda_pinned_new(void **out, kernel_device *dev, size_t bytes) MUST_USE;
void cuda_pinned_free(kernel_device *dev, void *host);
/* Whether these bytes of the host are such memory. */
bool cuda_pinned_holds(const kernel_device *dev, const void *at, size_t bytes);

/* ------------------------------------------------------------- blas.c --- */

/* cuBLASLt, its workspace, and the algorithms chosen so far: one for each
 * shape of a single product, whatever the number of products in a launch. */
status cuda_blas_open(cuda_blas **out) MUST_USE;
void cuda_blas_close(cuda_blas *blas);
status cuda_blas_measure(cuda_blas *blas, kernel_type type, const size_t mnk[3],
                         uint32_t n_run, double *flops) MUST_USE;

/* n_batch products out = x w^T (+ out) of m rows, evenly spaced operands;
 * strides and leading dimensions in elements. */
typedef struct cuda_blas_product {
    const void *x, *w;
    void *out;
    kernel_type type, out_type; /* of x and w; of out */
    size_t m, n, k, ld_x, ld_w, ld_out;
    int64_t step_x, step_w, step_out;
    uint32_t n_batch;
    bool accumulate;
} cuda_blas_product;
status cuda_blas_run(cuda_blas *blas, cudaStream_t stream,
                     const cuda_blas_product *p) MUST_USE;

/* ------------------------------------------------------------ group.c --- */

enum { CUDA_GROUP_OPS = 32, CUDA_GROUP_GRAPHS = 64 };

/* kernel_ran() of a group: of its tall cells, then of its single rows. */
typedef struct cuda_ran {
    const char *name[2 * CUDA_GROUP_OPS];
    uint32_t n;
} cuda_ran;

/* A group that was seen before, ready to be replayed. */
typedef struct cuda_graph {
    cudaGraphExec_t exec; /* NULL: seen once */
    uint64_t used;        /* when last */
    uint32_t n_op, n_cell, n_thin, min_row, max_row, max_mem, max_end;
    bool is_far; /* some rows are behind the table of turns */
    device_op ops[CUDA_GROUP_OPS];
    cuda_ran ran;
} cuda_graph;

/* A group being recorded, and what its launches need. */
typedef struct cuda_group {
    cuda_device *dev;
    cudaStream_t stream;
    kernel_cell *cells;  /* the host's, room for twice as many; pinned, in a
                            ring of turns */
    char *pinned, *meta; /* [N_TURN][meta_bytes] on the host, and one copy on
                            the device */
    size_t meta_bytes, sample_offset;
    uint32_t turn;
    cudaEvent_t copied[4]; /* behind the upload of each turn */
    uint32_t n_cell;
    uint32_t n_thin; /* cells of one row among others; 0: all are of a kind */
    device_op ops[CUDA_GROUP_OPS];
    uint32_t n_op;
    bool has_samples;
    float *room; /* of operations */
    size_t room_bytes;
    cuda_graph *graphs; /* [CUDA_GROUP_GRAPHS] */
    uint64_t clock;
    cuda_plan plan;       /* tables and rooms of the fused launches */
    cuda_program program; /* of groups of one row, not launched yet */
    cuda_ran ran;         /* of the last group */
} cuda_group;

status cuda_group_init(cuda_group *g, cuda_device *dev,
                       cudaStream_t stream) MUST_USE;
void cuda_group_fini(cuda_group *g);
status cuda_group_begin(cuda_group *g, const kernel_cell *cells,
                        uint32_t n_cell) MUST_USE;
status cuda_group_add(cuda_group *g, const device_op *op) MUST_USE;
status cuda_group_end(cuda_group *g) MUST_USE;

/* ------------------------------------------------------------- plan.c --- */

/* Rooms and tables for the operations of a group; true where an address
 * changed, so that captured groups are no longer good. */
bool cuda_plan_ready(cuda_plan *plan, const cuda_launch *at,
                     const device_op *ops, uint32_t n_op, status *st);
void cuda_plan_fini(cuda_plan *plan);
/* Enqueues operation `i` and those behind it that one launch or a few can do
 * with it; *n_done = 0: the operation needs a kernel for any shape. */
status cuda_plan_run(cuda_plan *plan, const cuda_launch *at,
                     const device_op *ops, uint32_t n_op, uint32_t i,
                     uint32_t *n_done) MUST_USE;

/* ------------------------------------------------------------ queue.c --- */

status cuda_queue_new(kernel_queue **out, kernel_device *dev) MUST_USE;
void cuda_queue_free(kernel_queue *q);
status cuda_queue_copy(kernel_queue *q, const device_copy *copy) MUST_USE;
status cuda_queue_begin(kernel_queue *q, const kernel_cell *cells,
                        uint32_t n_cell) MUST_USE;
status cuda_queue_op(kernel_queue *q, const device_op *op) MUST_USE;
status cuda_queue_end(kernel_queue *q) MUST_USE;
uint32_t cuda_queue_ran(const kernel_queue *q, const char *names[],
                        uint32_t max);
status cuda_queue_sync(kernel_queue *q) MUST_USE;
status cuda_queue_event_new(kernel_event **out, kernel_device *dev) MUST_USE;
void cuda_queue_event_free(kernel_event *ev);
status cuda_queue_event_record(kernel_event *ev, kernel_queue *q) MUST_USE;
status cuda_queue_event_query(kernel_event *ev, bool *reached) MUST_USE;
status cuda_queue_event_wait(kernel_event *ev) MUST_USE;

#endif
