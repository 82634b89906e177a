/* SPDX-License-Identifier: Apache-2.0 */
/* What a model knows of earlier segments: one of the three tables of functions.
 *
 * A memory declares what it keeps: how many bytes a layer, whether they grow
 * with the tokens, whether layers keep apart.  Whoever allocates, schedules,
 * moves or stores states believes the declaration and asks nothing else.  A
 * memory is one file that ends with its table; memory.c lists them.
 *
 * The state of a layer is one run of bytes.  Of a fresh document it is zero;
 * afterwards it has the bytes that memory_state_bytes() tells for what was
 * read. */
#ifndef MODEL_MEMORY_H
#define MODEL_MEMORY_H

#include "model/model.h"

struct phase;

enum { MEMORY_MAX_TENSOR = 3, MEMORY_ALIGN = 64 };

/* What was read before a segment. */
typedef struct memory_past {
    uint64_t n_token; /* in all */
    uint32_t n_last;  /* of these in the last segment */
} memory_past;

/* Tokens that pass the layers together: a segment that is written, or rows of
 * a frozen run. */
typedef struct memory_span {
    memory_past past;
    uint32_t n_token;
    uint32_t n_run; /* frozen: tokens of the run before these */
    bool frozen;
} memory_span;

/* A part of a state, as files name it. */
typedef struct memory_tensor {
    const char *name; /* of a layer's; chained: of the document's */
    kernel_type type;
    uint32_t n_dim;
    size_t dim[3];
    size_t offset; /* bytes into the state */
} memory_tensor;

/* Where a layer's attention finds keys and values beside the cell's own. */
typedef struct memory_keys {
    kernel_view k_cache, v_cache;   /* all rows so far; buf NULL: none */
    kernel_view k_window, v_window; /* the segment before; buf NULL: none */
    uint32_t n_sink;
    bool open_mem;
} memory_keys;

typedef struct memory {
    const char *name;
    /* Segment j enters the first layer when j - 1 has left the last one, and
     * the state is one for the document: layer 0 has all of it.  Otherwise
     * layers keep apart, and all that a cell needs of the segment before is
     * the state that it left at the same layer. */
    bool chained;
    /* The state has something of every token; the rows of a frozen run lie
     * behind it, in the same bytes. */
    bool grows;
    /* The tensors of a layer's state in order, a layer of the model; returns
     * their number. */
    uint32_t (*tensors)(const model_config *cfg, kernel_type compute,
                        uint32_t layer, const memory_past *past,
                        memory_tensor out[MEMORY_MAX_TENSOR]);
    /* Fills in what a cell of these tokens is at a layer of the model: rows,
     * positions, n_past, n_window, fresh, bare. */
    void (*place)(const model_config *cfg, uint32_t layer,
                  const memory_span *span, kernel_cell *out);
    /* Rows that are no tokens. */
    void (*embed)(const struct phase *p, kernel_embed_args *a);
    /* NULL: a cell attends to its own rows. */
    void (*keys)(const struct phase *p, memory_keys *out);
    /* Takes what read() and write() take; the larger of the two is wanted, so
     * each is measured on its own.  NULL where the function is. */
    void (*measure_read)(struct phase *p);
    void (*measure_write)(struct phase *p);
    /* x += what the state holds for x, for every cell that is not fresh. */
    status (*read)(struct phase *p, kernel_queue *q);
    /* The state takes in the memory rows of x.  Chained: cells at the last
     * layer alone, in a group of their own.  Enqueue-only, both. */
    status (*write)(struct phase *p, kernel_queue *q);
} memory;

extern const memory memory_assoc;  /* ARMT */
extern const memory memory_tokens; /* RMT */
extern const memory memory_cache;  /* plain decoders */

const memory *memory_of(const model_config *cfg);

size_t memory_tensor_bytes(const memory_tensor *t);

/* Bytes of the state of a layer of the model, and of all of them. */
size_t memory_state_bytes(const model_config *cfg, kernel_type compute,
                          uint32_t layer, const memory_past *past);
size_t memory_states_bytes(const model_config *cfg, kernel_type compute,
                           const memory_past *past);
/* The most that a layer's state takes for `n_token` tokens in all, frozen ones
 * too.  Operations that pass bare layers over still see a place for them. */
size_t memory_state_room(const model_config *cfg, kernel_type compute,
                         uint64_t n_token);

/* Rows of these tokens, and the most of any segment or prompt. */
uint32_t memory_rows(const model_config *cfg, const memory_span *span);
uint32_t memory_max_rows(const model_config *cfg);

/* What was read once these tokens are; a frozen run is not read. */
memory_past memory_after(const memory_span *span);

/* ST_LIMIT: learned positions end before these tokens do. */
status memory_check(const model_config *cfg, const memory_span *span) MUST_USE;

/* Rows [k | v] of `n_kv` numbers each from byte `offset` of a state on. */
void memory_kv_views(const struct phase *p, size_t offset, kernel_view *k,
                     kernel_view *v);

#endif
