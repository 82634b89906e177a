/* SPDX-License-Identifier: Apache-2.0 */
/* The one interface to a device: buffers, a queue, events, operations.
 *
 * A device computes tensors and knows no models.  Above this header nobody
 * holds a pointer into device memory: data goes in and out by copies that are
 * enqueued, and only kernel_buf_mpi() hands out an address, for MPI alone.
 *
 * Everything on a queue is ENQUEUE-ONLY: a call returns before its work is
 * done, works on what the calls before it left, and host memory given to a
 * copy must stay valid and untouched until an event recorded behind it has
 * been reached.  One thread uses a device; a queue executes in order.
 *
 * Groups.  A *group* is a list of cells that do not depend on each other:
 * rows of one segment at one layer each.  kernel_begin() names the cells,
 * every operation until kernel_end() acts on all of them, and no operation
 * lets one cell see another.  Operands are *views*: item `i` of a view starts
 * `offset + i * stride` elements into a buffer, and a selector says which of
 * the cell's numbers is `i`.  So a group over neighbouring layers is a strided
 * batch, and one operation of a group is one launch.
 *
 * Bits.  For one device and one build, what an operation writes for a cell is
 * a function of that cell's operands, its row count and the model's widths
 * alone: never of the other cells, of the number of threads or of the order
 * of the group.  Equality of schedules, placements and ranks rests on it.
 */
#ifndef KERNELS_KERNEL_H
#define KERNELS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* ------------------------------------------------------------- device --- */

typedef struct kernel_device kernel_device;
typedef struct kernel_buf kernel_buf;
typedef struct kernel_queue kernel_queue;
typedef struct kernel_event kernel_event;

typedef enum kernel_type {
    KERNEL_F32 = 0,
    KERNEL_BF16,
    KERNEL_F16,
    KERNEL_I32
} kernel_type;

/* Bytes of one element. */
size_t kernel_type_size(kernel_type type);

typedef struct kernel_config {
    const char *device;  /* "auto", "cpu", "cpu-async" (tests), "cuda" */
    uint32_t n_thread;   /* 0: the cores this process may use, all of them */
    uint32_t local_rank; /* which of the host's ranks this is */
    uint32_t n_local;    /* ranks on this host; 0 counts as 1 */
} kernel_config;

typedef struct kernel_info {
    char device[16];      /* "cpu", "cpu-async", "cuda" */
    char name[96];        /* "AVX-512, OpenBLAS SkylakeX, 2 threads" */
    kernel_type compute;  /* type of weights and activations */
    uint32_t n_thread;    /* threads that compute; 0 on a GPU */
    uint32_t n_core;      /* distinct cores that they are pinned to */
    uint64_t memory_free; /* bytes, when the device was opened */
} kernel_info;

/* Opens a device.  `n_thread` above the cores allowed is kept and shown as
 * n_core < n_thread (the caller warns).  ST_ARG: unknown name.  ST_DEVICE: no
 * such device here, with the reason in one sentence. */
status kernel_open(kernel_device **out, const kernel_config *cfg) MUST_USE;
void kernel_close(kernel_device *dev);
void kernel_info_get(const kernel_device *dev, kernel_info *out);

/* ------------------------------------------------------------ buffers --- */

typedef enum kernel_use {
    /* Keeps its contents until freed. */
    KERNEL_KEEP = 0,
    /* Holds values inside one group only (begin to end); the device may lay
     * items over each other.  Only views with KERNEL_BY_CELL may use it, and
     * copies may not. */
    KERNEL_SCRATCH
} kernel_use;

/* `bytes` of zeroed memory, aligned for any operation.  For KERNEL_SCRATCH
 * `bytes` is that of one item, and `n_item` the largest group; otherwise the
 * buffer has bytes * n_item bytes.  ST_NOMEM says how much was asked. */
status kernel_buf_new(kernel_buf **out, kernel_device *dev, kernel_use use,
                      size_t bytes, size_t n_item) MUST_USE;
void kernel_buf_free(kernel_buf *buf);
size_t kernel_buf_bytes(const kernel_buf *buf);

/* The address of byte `offset` if MPI may read and write it in place, else
 * NULL: then the caller stages through host memory with copies.  The caller
 * keeps MPI and the queue apart with events. */
void *kernel_buf_mpi(kernel_buf *buf, size_t offset);

/* ------------------------------------------------------------- queues --- */

/* Called on the thread that enqueues or waits, between pieces of CPU work, at
 * least about every millisecond where the device computes on that thread.  It
 * must not touch the device. */
typedef void kernel_hook(void *ctx);

status kernel_queue_new(kernel_queue **out, kernel_device *dev) MUST_USE;
void kernel_queue_free(kernel_queue *q); /* waits for what was enqueued */
void kernel_queue_hook(kernel_queue *q, kernel_hook *hook, void *ctx);

/* Copies; offsets and sizes in bytes.  Only outside a group. */
status kernel_copy_in(kernel_queue *q, kernel_buf *dst, size_t dst_offset,
                      const void *src, size_t bytes) MUST_USE;
status kernel_copy_out(kernel_queue *q, void *dst, const kernel_buf *src,
                       size_t src_offset, size_t bytes) MUST_USE;
status kernel_copy(kernel_queue *q, kernel_buf *dst, size_t dst_offset,
                   const kernel_buf *src, size_t src_offset,
                   size_t bytes) MUST_USE;
status kernel_zero(kernel_queue *q, kernel_buf *dst, size_t offset,
                   size_t bytes) MUST_USE;

/* An event is reached when everything enqueued before its last record is
 * done.  A new event counts as reached. */
status kernel_event_new(kernel_event **out, kernel_device *dev) MUST_USE;
void kernel_event_free(kernel_event *ev);
status kernel_event_record(kernel_event *ev, kernel_queue *q) MUST_USE;
/* Never blocks.  A failure of the device shows here and in the waits. */
status kernel_event_query(kernel_event *ev, bool *reached) MUST_USE;
status kernel_event_wait(kernel_event *ev) MUST_USE; /* blocks; runs the hook */
status kernel_sync(kernel_queue *q) MUST_USE;        /* blocks; runs the hook */

/* -------------------------------------------------------------- cells --- */

/* One cell of a group.  Rows lie in item `slot` of the buffers that survive
 * the group: rows row0 .. row0 + n_row - 1.  The last n_mem of them are the
 * memory tokens that a write reads (0: nothing is written). */
typedef struct kernel_cell {
    uint32_t layer; /* index into stacked weights */
    uint32_t slot;  /* index into hidden states, token ids */
    uint32_t state; /* index into memory states */
    uint32_t kv;    /* index into key/value caches */
    uint32_t row0;
    uint32_t n_row;
    uint32_t n_mem;
    uint32_t pos;   /* position of row row0; rows before it in the kv cache */
    uint32_t fresh; /* 1: the state was never written; nothing is read */
} kernel_cell;

typedef enum kernel_by {
    KERNEL_BY_CELL = 0, /* place in the group; row 0 of the item is row0 */
    KERNEL_BY_LAYER,
    KERNEL_BY_SLOT, /* rows row0 .. are used */
    KERNEL_BY_STATE,
    KERNEL_BY_KV
} kernel_by;

/* A tensor for every cell.  A matrix has rows of `ld` elements. */
typedef struct kernel_view {
    kernel_buf *buf;
    kernel_type type;
    kernel_by by;
    size_t offset; /* elements to item 0 */
    size_t stride; /* elements between items */
    size_t ld;     /* elements between rows */
} kernel_view;

/* Rows of a cell that an operation takes. */
typedef enum kernel_rows {
    KERNEL_ROWS_ALL = 0, /* n_row rows */
    KERNEL_ROWS_MEM      /* the last n_mem rows; BY_CELL operands of such an
                            operation hold them from their row 0 */
} kernel_rows;

/* Opens a group of n_cell >= 1 cells (copied).  No cell may share a slot,
 * state or kv item with another. */
status kernel_begin(kernel_queue *q, const kernel_cell *cells,
                    uint32_t n_cell) MUST_USE;
/* Submits the group.  A device may run it now, on this thread. */
status kernel_end(kernel_queue *q) MUST_USE;

/* --------------------------------------------------------- operations --- */
/* Only between kernel_begin() and kernel_end().  r = rows taken from the
 * cell, every sum in fp32 (or wider).  In every operation the value of a row
 * depends on that row's operands alone and not on r, except where rows are
 * cut into blocks for a product: the blocks depend on r, so r is part of the
 * shape (see "Bits" above).  `out` may alias an input only where it says so. */

/* x[r, d] = table[id, d] for rows below r - n_mem, where id = ids[row0 + row];
 * x = memory[j, d] for memory row j.  ids I32 by slot; table[n_vocab, d] and
 * memory[n_mem, d] are plain matrices (item 0).  Ids were checked before. */
status kernel_embed(kernel_queue *q, kernel_view x, kernel_view ids,
                    kernel_view table, kernel_view memory, size_t d) MUST_USE;

/* out[r, n] = x[r, k] w[n, k]^T (+ bias[n]) (+ out[r, n] if accumulate).
 * `bias.buf` NULL: none. */
typedef struct kernel_linear_args {
    kernel_view out, x, w, bias;
    size_t n, k;
    kernel_rows rows; /* of x; MEM rows of `out` by cell start at row 0 */
    bool accumulate;
} kernel_linear_args;
status kernel_linear(kernel_queue *q, const kernel_linear_args *a) MUST_USE;

/* out[r, d] = w[d] * x / sqrt(mean(x^2) + eps); statistics in fp32, the
 * weight multiplied after the division.  out may be x.  (Zhang and Sennrich
 * 2019, arXiv:1910.07467.) */
status kernel_rmsnorm(kernel_queue *q, kernel_view out, kernel_view x,
                      kernel_view w, size_t d, float eps) MUST_USE;

/* In place on x[r, n_head * d_head] (ld may be larger): half-split rotation of
 * each head by angle p * freq[i], i < d_head / 2, where p is the row's
 * position (pos + row).  freq F32 [d_head/2], item 0. */
status kernel_rope(kernel_queue *q, kernel_view x, kernel_view freq,
                   size_t n_head, size_t d_head) MUST_USE;

/* Copies the key and value rows of the cell behind the `pos` rows that its
 * cache has: k_cache[pos + row, :] = k[row, :], likewise v. */
status kernel_kv_append(kernel_queue *q, kernel_view k_cache,
                        kernel_view v_cache, kernel_view k, kernel_view v,
                        size_t d_kv) MUST_USE;

/* Causal attention with grouped heads: query head h uses key/value head
 * h / (n_head / n_kv); out = softmax(q k^T / sqrt(d_head)) v over the allowed
 * keys, softmax in fp32.  Row i sees keys 0 .. n_past + i, where n_past = 0
 * when k and v are BY_CELL (the cell's own rows), and n_past = pos when they
 * are BY_KV (a cache that kernel_kv_append() has filled).
 * q, out[r, n_head * d_head]; k, v[.., n_kv * d_head]. */
typedef struct kernel_attention_args {
    kernel_view out, q, k, v;
    size_t n_head, n_kv, d_head;
} kernel_attention_args;
status kernel_attention(kernel_queue *q,
                        const kernel_attention_args *a) MUST_USE;

/* out[r, d] = silu(gate_up[r, 0 .. d-1]) * gate_up[r, d .. 2d-1], where
 * silu(a) = a / (1 + exp(-a)).  (Shazeer 2020, arXiv:2002.05202.) */
status kernel_swiglu(kernel_queue *q, kernel_view out, kernel_view gate_up,
                     size_t d) MUST_USE;

/* DPFP feature map of order 3 (Schlag et al. 2021, arXiv:2102.11174):
 *   u = concat(relu(x), relu(-x))                       length 2 d_mem
 *   out[(j-1) * 2 d_mem + i] = u[i] * u[(i - j) mod 2 d_mem],  j = 1 .. 3
 * and with l2_norm out /= max(|out|_2, 1e-12).
 * x[r, d_mem], out[r, 6 d_mem], both F32. */
status kernel_dpfp(kernel_queue *q, kernel_view out, kernel_view x,
                   size_t d_mem, bool l2_norm, kernel_rows rows) MUST_USE;

/* Associative read (Rodkin et al. 2024, arXiv:2407.04841):
 *   x[r, d] += (f[r, d_key] A[d_key, d]) / (z . f + 1e-5)
 * Nothing for fresh cells.  f F32 by cell (may be overwritten: a backend may
 * divide it before the product), A and z F32 by state. */
typedef struct kernel_assoc {
    kernel_view A; /* [d_key, d_model] */
    kernel_view z; /* [d_key] */
    size_t d_key, d_model;
    bool correction; /* g of the write as below; false: g = 1 */
    bool l2_norm;    /* features are normalised: N(k) without the 1e-5 */
} kernel_assoc;
status kernel_assoc_read(kernel_queue *q, kernel_view x, kernel_view f,
                         const kernel_assoc *mem) MUST_USE;

/* Associative write by the delta rule, from n_mem rows (0: no-op):
 *   den_m = z . k_m + 1e-5
 *   p_m   = (k_m A) / den_m                  fresh: 0
 *   g_m   = clip(1 - den_m / N(k_m), 0, 1)   fresh, or no correction: 1
 *   A += sum_m sigmoid(b_m) outer(k_m, v_m - p_m);   z += sum_m g_m k_m
 * N(k) = |k|^2 + 1e-5, or |k|^2 with l2_norm (0 gives g = 0).  All rows read
 * the old A and z.  k[n_mem, d_key], v[n_mem, d_model], b[n_mem, 1] F32 by
 * cell from row 0; v and k may be overwritten. */
status kernel_assoc_write(kernel_queue *q, const kernel_assoc *mem,
                          kernel_view k, kernel_view v, kernel_view b) MUST_USE;

/* How the next token is drawn from a row of logits. */
typedef struct kernel_sample_args {
    float temperature; /* 0: the largest logit, lowest id on ties */
    float top_p;       /* (0, 1]: smallest set with this probability */
    uint32_t top_k;    /* 0: all */
    float uniform;     /* in [0, 1): the random number of this draw */
} kernel_sample_args;

/* ids[slot item, 0] (I32) = the token drawn from the last row of each cell's
 * logits[r, n_vocab] F32 by cell.  args: one for each cell, copied. */
status kernel_sample(kernel_queue *q, kernel_view ids, kernel_view logits,
                     size_t n_vocab, const kernel_sample_args *args) MUST_USE;

/* ------------------------------------------------------------ measure --- */

/* Multiply-add rate of the device at out[m, n] = x[m, k] w[n, k]^T: the best of
 * `n_run` hot runs of all threads at once, each on its own operands, in FLOP
 * per second (2 m n k a product).  On a CPU by its BLAS where there is one: a
 * yardstick from outside.  Blocks. */
status kernel_measure_linear(kernel_device *dev, size_t m, size_t n, size_t k,
                             uint32_t n_run, double *flops) MUST_USE;

#endif
