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
} layer_shape;

typedef struct layer {
    kernel_device *dev;
    kernel_queue *q;
    layer_shape s;
    uint32_t n_item;  /* slots, layers and states; cells of a group */
    bool keep;        /* what operations leave can be copied out */
    kernel_view x;    /* by slot */
    kernel_view A, z; /* by state */
    /* scratch; buffers that stay with `keep` */
    kernel_view norm, qkv, attn, hidden, act, f, mq, mk, mv, mb;
    kernel_view w_norm, w_qkv, w_out, w_up, w_down, w_mq, w_mv, w_mb, freq;
} layer;

/* A failure ends the process with its sentence. */
void layer_must(status st);

/* Needs no layer_fini() where the process ends. */
void layer_init(layer *l, kernel_device *dev, kernel_queue *q,
                const layer_shape *shape, uint32_t n_item, bool keep);
void layer_fini(layer *l);

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
