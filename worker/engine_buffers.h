/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of an engine: what survives a group, on the device and beside it.
 *
 * Internal to the engine.  Items are numbered
 *   slot   stream * n_slot + local segment mod n_slot    x, ids, next
 *   kv     stream * n_layer + layer                      kv
 *   state  the same; one a stream where segments are chained
 *   seen   the stream
 * so everything of a stream lies together.  Of logits there is one tile in
 * all: outputs of any length pass through it in pieces. */
#ifndef WORKER_ENGINE_BUFFERS_H
#define WORKER_ENGINE_BUFFERS_H

#include "kernels/kernel.h"
#include "model/model.h"

/* Rows of logits that are computed and handed out at a time.  Part of the
 * shape of the head's product, so the same everywhere. */
enum { ENGINE_BUFFERS_TILE = 64 };

typedef struct engine_buffers_shape {
    uint32_t n_stream, n_slot, n_layer;
    uint32_t max_token; /* S */
    uint32_t max_row;   /* rows of S tokens */
    uint32_t d_model, d_kv, n_vocab;
    uint32_t kv_row;   /* rows of a frozen run; 0: there is no cache for it */
    uint32_t n_state;  /* states of a stream */
    size_t state_room; /* bytes of the longest state */
    kernel_type compute;
    bool embed, head; /* this rank has these ends of the model */
} engine_buffers_shape;

typedef struct engine_buffers {
    engine_buffers_shape shape;
    model_buffers model;  /* x, state, kv */
    kernel_view ids;      /* I32 [max_token] by slot; embed */
    kernel_view next;     /* I32 [1] by slot; head */
    kernel_view logprobs; /* F32 [1 + TOP] by slot; head */
    kernel_view top_ids;  /* I32 [TOP] by slot; head */
    kernel_view logits;   /* F32 [tile_row, n_vocab]; head */
    kernel_view seen;     /* I32 [max_seen], by kv; head */
    uint32_t max_seen;    /* ids of a stream that a penalty counts */
    size_t tile_row;      /* TILE, or a row for every stream if more */
    int32_t *host_ids;    /* [n_slot in all, max_token], being copied in */
    int32_t *host_seen;   /* [n_stream, max_seen], being copied in */
    int32_t *host_next;   /* [n_slot in all], copied out */
    float *host_logprobs; /* as these, copied out */
    int32_t *host_top_ids;
    float *host_logits; /* [tile_row, n_vocab], copied out */
    size_t bytes;       /* of device memory */
} engine_buffers;

/* `b` zeroed; `dev` NULL: b->bytes is counted, and no device has anything of
 * it.  On failure engine_buffers_fini() takes what is there. */
status engine_buffers_init(engine_buffers *b, kernel_device *dev,
                           const engine_buffers_shape *shape) MUST_USE;
void engine_buffers_fini(engine_buffers *b);

/* Bytes to the start of an item of a view, and of `n` rows of x. */
size_t engine_buffers_offset(const kernel_view *view, size_t item);
size_t engine_buffers_x_bytes(const engine_buffers *b, uint32_t n_row);

#endif
