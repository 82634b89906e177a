/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation of an engine's buffers, and the views that name their items. */
#include "worker/engine_buffers.h"

#include "base/mem.h"
#include "model/memory.h"

/* A buffer of n_item items of `len` elements, and the view of it. */
static status
make(engine_buffers *b, kernel_view *out, kernel_device *dev,
     const kernel_view *like, size_t len, size_t n_item)
{
    kernel_view view = *like;
    size_t bytes = 0;
    status st = ST_OK;

    view.stride = len;
    if (dev == NULL) {
        TRY(size_mul(&bytes, len * kernel_type_size(view.type), n_item));
        b->bytes += bytes;
        return ST_OK;
    }
    TRY(kernel_buf_new(&view.buf, dev, KERNEL_KEEP,
                       len * kernel_type_size(view.type), n_item));
    b->bytes += kernel_buf_bytes(view.buf);
    *out = view;
fail:
    return st;
}

static status
make_model(engine_buffers *b, kernel_device *dev)
{
    const engine_buffers_shape *s = &b->shape;
    size_t n_slot = (size_t)s->n_stream * s->n_slot;
    /* States start at cache lines, whatever d_model is. */
    size_t state =
        (s->state_room + MEMORY_ALIGN - 1) / MEMORY_ALIGN * MEMORY_ALIGN;
    kernel_view x = {.type = s->compute, .by = KERNEL_BY_SLOT};
    kernel_view mem = {.type = KERNEL_F32, .by = KERNEL_BY_STATE};
    kernel_view kv = {.type = s->compute, .by = KERNEL_BY_KV};
    status st = ST_OK;

    x.ld = s->d_model;
    kv.ld = 2 * (size_t)s->d_kv;
    TRY(make(b, &b->model.x, dev, &x, (size_t)s->max_row * s->d_model, n_slot));
    TRY(make(b, &b->model.state, dev, &mem, state / sizeof(float),
             (size_t)s->n_stream * s->n_state));
    if (s->kv_row > 0)
        TRY(make(b, &b->model.kv, dev, &kv, s->kv_row * kv.ld,
                 (size_t)s->n_stream * s->n_layer));
fail:
    return st;
}

static status
make_ids(engine_buffers *b, kernel_device *dev)
{
    const engine_buffers_shape *s = &b->shape;
    size_t n_slot = (size_t)s->n_stream * s->n_slot, n_id = 0;
    kernel_view ids = {.type = KERNEL_I32, .by = KERNEL_BY_SLOT, .ld = 1};
    status st = ST_OK;

    TRY(size_mul(&n_id, n_slot, s->max_token));
    TRY(mem_new(&b->host_ids, n_id, sizeof *b->host_ids));
    TRY(make(b, &b->ids, dev, &ids, s->max_token, n_slot));
fail:
    return st;
}

/* What is reported of drawn tokens. */
static status
make_report(engine_buffers *b, kernel_device *dev, size_t n_slot)
{
    enum { TOP = KERNEL_SAMPLE_TOP };
    kernel_view logprobs = {
        .type = KERNEL_F32, .by = KERNEL_BY_SLOT, .ld = 1 + TOP};
    kernel_view top_ids = {.type = KERNEL_I32, .by = KERNEL_BY_SLOT, .ld = TOP};
    status st = ST_OK;

    TRY(mem_new(&b->host_logprobs, n_slot * (1 + TOP),
                sizeof *b->host_logprobs));
    TRY(mem_new(&b->host_top_ids, n_slot * TOP, sizeof *b->host_top_ids));
    TRY(make(b, &b->logprobs, dev, &logprobs, 1 + TOP, n_slot));
    TRY(make(b, &b->top_ids, dev, &top_ids, TOP, n_slot));
fail:
    return st;
}

/* What repetition penalties count. */
static status
make_seen(engine_buffers *b, kernel_device *dev)
{
    const engine_buffers_shape *s = &b->shape;
    kernel_view seen = {.type = KERNEL_I32, .by = KERNEL_BY_KV};
    size_t n_id = 0;
    status st = ST_OK;

    b->max_seen =
        s->n_vocab < KERNEL_SAMPLE_SEEN ? s->n_vocab : KERNEL_SAMPLE_SEEN;
    seen.ld = b->max_seen;
    TRY(size_mul(&n_id, s->n_stream, b->max_seen));
    TRY(mem_new(&b->host_seen, n_id, sizeof *b->host_seen));
    TRY(make(b, &b->seen, dev, &seen, b->max_seen, s->n_stream));
fail:
    return st;
}

static status
make_head(engine_buffers *b, kernel_device *dev)
{
    const engine_buffers_shape *s = &b->shape;
    size_t n_slot = (size_t)s->n_stream * s->n_slot, n_logit = 0;
    kernel_view next = {.type = KERNEL_I32, .by = KERNEL_BY_SLOT, .ld = 1};
    kernel_view row = {.type = KERNEL_F32, .by = KERNEL_BY_CELL};
    status st = ST_OK;

    b->tile_row =
        s->n_stream > ENGINE_BUFFERS_TILE ? s->n_stream : ENGINE_BUFFERS_TILE;
    row.ld = s->n_vocab;
    TRY(size_mul(&n_logit, b->tile_row, s->n_vocab));
    TRY(mem_new(&b->host_logits, n_logit, sizeof *b->host_logits));
    TRY(mem_new(&b->host_next, n_slot, sizeof *b->host_next));
    TRY(make(b, &b->next, dev, &next, 1, n_slot));
    TRY(make_report(b, dev, n_slot));
    TRY(make_seen(b, dev));
    /* Either a row for each of many cells, or many rows of one cell. */
    TRY(make(b, &b->logits, dev, &row, s->n_vocab, b->tile_row));
fail:
    return st;
}

status
engine_buffers_init(engine_buffers *b, kernel_device *dev,
                    const engine_buffers_shape *shape)
{
    status st = ST_OK;
    b->shape = *shape;
    TRY(make_model(b, dev));
    if (shape->embed)
        TRY(make_ids(b, dev));
    if (shape->head)
        TRY(make_head(b, dev));
fail:
    return st;
}

void
engine_buffers_fini(engine_buffers *b)
{
    kernel_buf_free(b->logits.buf);
    kernel_buf_free(b->seen.buf);
    kernel_buf_free(b->next.buf);
    kernel_buf_free(b->logprobs.buf);
    kernel_buf_free(b->top_ids.buf);
    kernel_buf_free(b->ids.buf);
    kernel_buf_free(b->model.kv.buf);
    kernel_buf_free(b->model.state.buf);
    kernel_buf_free(b->model.x.buf);
    mem_free(b->host_logits);
    mem_free(b->host_seen);
    mem_free(b->host_next);
    mem_free(b->host_logprobs);
    mem_free(b->host_top_ids);
    mem_free(b->host_ids);
    *b = (engine_buffers){0};
}

size_t
engine_buffers_offset(const kernel_view *view, size_t item)
{
    return (view->offset + item * view->stride) * kernel_type_size(view->type);
}

size_t
engine_buffers_x_bytes(const engine_buffers *b, uint32_t n_row)
{
    return (size_t)n_row * b->shape.d_model *
           kernel_type_size(b->shape.compute);
}
