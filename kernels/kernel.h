/* SPDX-License-Identifier: Apache-2.0 */
/* The one interface to a device: buffers, a queue, events, groups of cells;
 * kernel_ops.h has the operations of a group.
 *
 * A device computes tensors and knows no models.  Above this header nobody
 * holds a pointer into device memory: data goes in and out by copies that are
 * enqueued, and only kernel_buf_host() hands out an address, for MPI and for
 * reading files.
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
    KERNEL_I32,
    KERNEL_I8 /* weights with a scale for every row */
} kernel_type;

/* Bytes of one element. */
size_t kernel_type_size(kernel_type type);

typedef struct kernel_config {
    const char *device;  /* "auto", "cpu", "cpu-async" (tests), "cuda" */
    uint32_t n_thread;   /* 0: the cores this process may use, all of them */
    uint32_t local_rank; /* which of the host's ranks this is */
    uint32_t n_local;    /* ranks on this host; 0 counts as 1 */
    const char *compute; /* type of weights and activations: "f32", "bf16" (a
                            GPU only), NULL or "auto" for the device's own */
    bool plain;          /* tests: only the kernels that take any shape */
} kernel_config;

typedef struct kernel_info {
    char device[16];      /* "cpu", "cpu-async", "cuda" */
    char name[96];        /* "AVX-512, OpenBLAS SkylakeX, 2 threads" */
    kernel_type compute;  /* type of weights and activations */
    uint32_t n_thread;    /* threads that compute; 0 on a GPU */
    uint32_t n_core;      /* distinct cores that they are pinned to */
    uint64_t memory_free; /* bytes, now */
    uint32_t n_share;     /* ranks of this host on this device, 1 or more */
    /* Numbers of a head that kernel_attention() and kernel_rope() take, those
     * that kernel_dpfp() does, tokens for kernel_sample(); 0: any number. */
    uint32_t max_head, max_feature, max_vocab;
    /* A GPU that has no launches made for it, in this type: kernels for any
     * shape run, right and slow. */
    bool any_shape;
} kernel_info;

/* "auto" is the GPU where there is one, else the CPU.
 * Opens a device.  `n_thread` above the cores allowed is kept and shown as
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

/* The address of byte `offset` if the host may read and write it in place, as
 * MPI and read(2) do, else NULL: then the caller stages through host memory
 * with copies.  The caller keeps the host and the queue apart with events. */
void *kernel_buf_host(kernel_buf *buf, size_t offset);
/* The same in the device's own memory, which nobody dereferences: for an MPI
 * that reads and writes there.  NULL: that is the host's, or cannot be named.
 */
void *kernel_buf_device(kernel_buf *buf, size_t offset);

/* `bytes` of zeroed host memory that the device reads and writes by itself
 * (pinned, for a GPU): a copy between it and a buffer is made with no other in
 * between, and enqueueing it never waits.  Freed by nobody while such a copy is
 * under way.  ST_NOMEM says how much was asked. */
status kernel_host_new(void **out, kernel_device *dev, size_t bytes) MUST_USE;
void kernel_host_free(kernel_device *dev, void *host); /* NULL is fine */

/* ------------------------------------------------------------- queues --- */

/* Called on the thread that enqueues or waits, between pieces of CPU work, at
 * least about every millisecond where the device computes on that thread.  Of
 * the device it may only ask events (kernel_event_query()). */
typedef void kernel_hook(void *ctx);

status kernel_queue_new(kernel_queue **out, kernel_device *dev) MUST_USE;
void kernel_queue_free(kernel_queue *q); /* waits for what was enqueued */
void kernel_queue_hook(kernel_queue *q, kernel_hook *hook, void *ctx);
kernel_device *kernel_queue_device(const kernel_queue *q);

/* Copies; offsets and sizes in bytes.  Only outside a group.  Where the host's
 * side is not of kernel_host_new(), a long one may wait for the queue. */
status kernel_copy_in(kernel_queue *q, kernel_buf *dst, size_t dst_offset,
                      const void *src, size_t bytes) MUST_USE;
status kernel_copy_out(kernel_queue *q, void *dst, const kernel_buf *src,
                       size_t src_offset, size_t bytes) MUST_USE;
status kernel_copy(kernel_queue *q, kernel_buf *dst, size_t dst_offset,
                   const kernel_buf *src, size_t src_offset,
                   size_t bytes) MUST_USE;
status kernel_zero(kernel_queue *q, kernel_buf *dst, size_t offset,
                   size_t bytes) MUST_USE;

/* Random numbers that are the same on every device: element i < n of `type`
 * F32 or BF16 at byte `offset` becomes mean + spread * d(key + first + i), with
 * d of mean 0, variance 1 and close to normal (kernels/random.h). */
typedef struct kernel_random {
    uint64_t key, first;
    float mean, spread;
} kernel_random;
status kernel_fill(kernel_queue *q, kernel_buf *dst, size_t offset,
                   kernel_type type, size_t n,
                   const kernel_random *law) MUST_USE;

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
 * the group: rows row0 .. row0 + n_row - 1.  They are, in this order, n_prefix
 * rows that are no tokens (a sink, or the memory that is read), the tokens,
 * and n_mem memory tokens. */
typedef struct kernel_cell {
    uint32_t layer; /* index into stacked weights */
    uint32_t slot;  /* index into hidden states, token ids */
    uint32_t state; /* index into memory states */
    uint32_t kv;    /* index into key/value caches */
    uint32_t row0;
    uint32_t n_row;
    uint32_t n_prefix;
    uint32_t n_mem;
    uint32_t n_skip; /* of the first rows nobody needs what this layer makes of
                        them; their keys and values are needed:
                        KERNEL_ROWS_LATE. At most n_row - n_mem */
    uint32_t pos;    /* position of row row0 */
    uint32_t n_past; /* rows before row row0 in the key/value cache */
    uint32_t n_window; /* rows of the segment before in the window */
    uint32_t fresh;    /* 1: the state was never written; nothing is read */
    uint32_t bare;     /* 1: this layer has no memory: kernel_assoc_read() and
                          kernel_assoc_write() pass the cell over */
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
    KERNEL_ROWS_MEM,     /* the last n_mem rows; operands of such an operation
                            that are not by slot hold them from their row 0 */
    KERNEL_ROWS_LATE     /* rows n_skip .. n_row - 1, at their own places in all
                            operands; with the bits that they have when n_skip
                            is 0.  A device may compute the others, too */
} kernel_rows;

/* Opens a group of n_cell >= 1 cells (copied).  No cell may share a slot,
 * state or kv item with another. */
status kernel_begin(kernel_queue *q, const kernel_cell *cells,
                    uint32_t n_cell) MUST_USE;
/* Submits the group.  A device may run it now, on this thread. */
status kernel_end(kernel_queue *q) MUST_USE;

/* What ran the operations of the last group that ended without a failure, in
 * order, for tests and reports: a name for every operation, or for all those
 * that were done together ("product+swiglu"); "any shape" is what there is for
 * operands that nothing better takes.  Returns how many there are and sets
 * the first `max` of them, which stay valid.  0: the device has one way only,
 * or nothing ran. */
uint32_t kernel_ran(const kernel_queue *q, const char *names[], uint32_t max);

/* ------------------------------------------------------------ measure --- */

/* Multiply-add rates of the device at out[m, n] = x[m, k] w[n, k]^T, in FLOP
 * per second (2 m n k a product). */
typedef struct kernel_rate {
    double flops; /* the higher one, of what `by` names */
    double
        library; /* of the BLAS, a yardstick from outside; 0: there is none */
    char by[80]; /* "OpenBLAS SkylakeX", "own AVX-512", "cuBLAS" */
} kernel_rate;

/* The best of `n_run` hot runs of all threads at once, each on its own
 * operands. On a CPU of its BLAS and of the engine's own products, in turn: a
 * BLAS may have been told, or not know better than, to compute as an older CPU
 * does, and what the engine can do by itself is a ceiling, too.  Blocks. */
status kernel_measure_linear(kernel_device *dev, size_t m, size_t n, size_t k,
                             uint32_t n_run, kernel_rate *out) MUST_USE;

/* Bytes a second that the device reads from its memory: the best of some runs
 * of all threads over `bytes` in all.  Blocks. */
status kernel_measure_read(kernel_device *dev, size_t bytes,
                           double *rate) MUST_USE;

#endif
