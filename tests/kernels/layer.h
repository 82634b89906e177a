/* SPDX-License-Identifier: Apache-2.0 */
/* All operations of one layer with an associative memory, on seeded numbers:
 * what the model does with kernel.h, small enough for tests and timing. */
#ifndef TESTS_KERNELS_LAYER_H
#define TESTS_KERNELS_LAYER_H

#include "kernels/kernel_ops.h"

enum { LAYER_D_MEM = 64, LAYER_D_KEY = 6 * LAYER_D_MEM };

typedef struct layer_shape {
    const char *name;
    size_t d, n_head, n_kv, d_head, ffn;
    size_t n_row; /* of the largest cell */
    size_t n_mem;
    size_t n_sink;   /* with a window */
    size_t n_window; /* rows of the largest window; 0: there is none */
    bool narrow;     /* A in bf16 */
} layer_shape;

/* What can be copied out beside x, A and z: where a result need not be
 * written, a device may go without it. */
typedef enum layer_keep {
    LAYER_KEEP_STATES = 0, /* nothing, as in a model */
    LAYER_KEEP_RESULTS,    /* norms, heads, attention, activations: what is
                              left where neighbours run as one */
    LAYER_KEEP_ALL
} layer_keep;

typedef struct layer {
    kernel_device *dev;
    kernel_queue *q;
    layer_shape s;
    uint32_t n_item; /* slots, layers and states; cells of a group */
    layer_keep keep;
    kernel_view x;                  /* by slot */
    kernel_view A, z;               /* by state */
    kernel_view k_window, v_window; /* by state; buf NULL: none */
    /* scratch; buffers that stay as `keep` says */
    kernel_view norm, qkv, attn, hidden, act, f, mq, mk, mv, mb;
    kernel_view w_norm, w_qkv, w_out, w_up, w_down, w_mq, w_mv, w_mb, freq;
} layer;

/* A failure ends the process with its sentence. */
void layer_must(status st);

/* Needs no layer_fini() where the process ends. */
void layer_init(layer *l, kernel_device *dev, kernel_queue *q,
                const layer_shape *shape, uint32_t n_item, layer_keep keep);
void layer_fini(layer *l);

/* The n numbers of a view's buffer, which must not be scratch, as floats on the
 * host; mem_free().  Waits for what was enqueued. */
float *layer_take(const layer *l, const kernel_view *view, size_t *n);

/* Enqueues one part of the layer, or all of it, in an open group. */
typedef enum layer_part {
    LAYER_MEM_Q = 0,
    LAYER_DPFP,
    LAYER_READ,
    LAYER_NORM1,
    LAYER_QKV,
    LAYER_ROPE,
    LAYER_ATTENTION,
    LAYER_OUT,
    LAYER_NORM2,
    LAYER_GATE_UP,
    LAYER_SWIGLU,
    LAYER_DOWN,
    LAYER_MEM_KVB,
    LAYER_WRITE,
    LAYER_WHOLE, /* all of the above */
    /* runs of parts that a device may do at once */
    LAYER_RUN_READ,
    LAYER_RUN_QKV,
    LAYER_RUN_MLP,
    LAYER_RUN_WRITE,
    LAYER_N_ALL
} layer_part;
enum { LAYER_N_PART = LAYER_WHOLE };
void layer_enqueue(const layer *l, layer_part part);

/* Useful FLOPs of a part on one cell of n_row rows; the causal half of
 * attention, and products only. */
double layer_flops(const layer *l, layer_part part);

#endif
