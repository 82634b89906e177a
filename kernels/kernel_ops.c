/* SPDX-License-Identifier: Apache-2.0 */
/* Operations: what they touch is checked, then they are the device's. */
#include "kernels/kernel_ops.h"

#include "kernels/device.h"

/* The rows of an operand that an operation touches. */
typedef enum touch {
    TOUCH_ROWS,   /* the rows taken from the cell (all) */
    TOUCH_MEM,    /* the last n_mem rows */
    TOUCH_IDS,    /* a number for every token */
    TOUCH_PREFIX, /* n_prefix rows */
    TOUCH_CARRY,  /* max(n_prefix, n_mem) rows of a cell that is not fresh */
    TOUCH_KEPT,   /* a row for every token, from row 0 */
    TOUCH_PAST,   /* rows 0 .. n_past + n_row - 1 */
    TOUCH_WINDOW, /* n_window rows */
    TOUCH_FIXED   /* as many as the model says, whatever the cell */
} touch;

static size_t
item_of(const kernel_view *v, const kernel_cell *cell, uint32_t place)
{
    switch (v->by) {
    case KERNEL_BY_LAYER:
        return cell->layer;
    case KERNEL_BY_SLOT:
        return cell->slot;
    case KERNEL_BY_STATE:
        return cell->state;
    case KERNEL_BY_KV:
        return cell->kv;
    case KERNEL_BY_CELL:
        break;
    }
    return place;
}

static size_t
larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* One past the last row touched, counted from the item's first. */
static size_t
rows_of(const kernel_view *v, const kernel_cell *cell, touch what,
        size_t n_fixed)
{
    size_t row0 = v->by == KERNEL_BY_SLOT ? cell->row0 : 0;
    size_t n_token = cell->n_row - cell->n_mem - cell->n_prefix;

    switch (what) {
    case TOUCH_ROWS:
        return row0 + cell->n_row;
    case TOUCH_MEM:
        return v->by == KERNEL_BY_SLOT ? row0 + cell->n_row : cell->n_mem;
    case TOUCH_IDS:
        return row0 + n_token;
    case TOUCH_PREFIX:
        return cell->n_prefix;
    case TOUCH_CARRY:
        return cell->fresh != 0 ? 0 : larger(cell->n_prefix, cell->n_mem);
    case TOUCH_KEPT:
        return n_token;
    case TOUCH_PAST:
        return (size_t)cell->n_past + cell->n_row;
    case TOUCH_WINDOW:
        return cell->n_window;
    case TOUCH_FIXED:
        break;
    }
    return n_fixed;
}

/* Every cell's part of the view, rows of `width` elements, lies in the buffer:
 * a wrong view above stops here and not as a stray write. */
static void
check_view(const kernel_queue *q, const kernel_view *v, touch what,
           size_t n_fixed, size_t width)
{
    bool scratch;
    size_t room;

    ASSERT(v->buf != NULL && v->buf->dev == q->dev);
    scratch = v->buf->use == KERNEL_SCRATCH;
    ASSERT(!scratch ||
           (v->by == KERNEL_BY_CELL && q->n_cell <= v->buf->n_item));
    room = v->buf->bytes / kernel_type_size(v->type);
    for (uint32_t i = 0; i < q->n_cell; i++) {
        size_t n_row = rows_of(v, &q->cells[i], what, n_fixed);
        size_t item = scratch ? 0 : item_of(v, &q->cells[i], i);

        ASSERT(n_row <= 1 || v->ld >= width);
        ASSERT(n_row == 0 ||
               v->offset + item * v->stride + (n_row - 1) * v->ld + width <=
                   room);
    }
}

static touch
touch_of(kernel_rows rows)
{
    return rows == KERNEL_ROWS_MEM ? TOUCH_MEM : TOUCH_ROWS;
}

/* --------------------------------------------------------- operations --- */

static status
enqueue(kernel_queue *q, const device_op *op)
{
    return q->dev->table->op(q, op);
}

status
kernel_embed(kernel_queue *q, const kernel_embed_args *a)
{
    device_op op = {.kind = DEVICE_EMBED, .u.embed = *a};
    kernel_view *ids = &op.u.embed.ids;

    check_view(q, &a->x, TOUCH_ROWS, 0, a->d);
    check_view(q, &a->table, TOUCH_FIXED, 1, a->d);
    ASSERT(ids->type == KERNEL_I32 && ids->by == KERNEL_BY_SLOT);
    ids->ld = 1;
    check_view(q, ids, TOUCH_IDS, 0, 1);
    if (a->prefix.buf != NULL)
        check_view(q, &a->prefix, TOUCH_PREFIX, 0, a->d);
    if (a->memory.buf != NULL)
        check_view(q, &a->memory, TOUCH_MEM, 0, a->d);
    if (a->carried.buf != NULL)
        check_view(q, &a->carried, TOUCH_CARRY, 0, a->d);
    if (a->position.buf != NULL)
        check_view(q, &a->position, TOUCH_FIXED, 1, a->d);
    return enqueue(q, &op);
}

status
kernel_linear(kernel_queue *q, const kernel_linear_args *a)
{
    const device_op op = {.kind = DEVICE_LINEAR, .u.linear = *a};

    ASSERT(a->n > 0 && a->k > 0);
    ASSERT((a->w.type == KERNEL_I8) == (a->scale.buf != NULL));
    check_view(q, &a->x, touch_of(a->rows), 0, a->k);
    check_view(q, &a->out, touch_of(a->rows), 0, a->n);
    check_view(q, &a->w, TOUCH_FIXED, a->n, a->k);
    if (a->bias.buf != NULL)
        check_view(q, &a->bias, TOUCH_FIXED, 1, a->n);
    if (a->scale.buf != NULL)
        check_view(q, &a->scale, TOUCH_FIXED, 1, a->n);
    return enqueue(q, &op);
}

static status
normalise(kernel_queue *q, device_op_kind kind, const kernel_norm_args *a)
{
    const device_op op = {.kind = kind, .u.norm = *a};

    ASSERT(a->d > 0 && a->n_head > 0);
    check_view(q, &a->out, touch_of(a->rows), 0, a->n_head * a->d);
    check_view(q, &a->x, touch_of(a->rows), 0, a->n_head * a->d);
    check_view(q, &a->w, TOUCH_FIXED, 1, a->d);
    if (a->bias.buf != NULL)
        check_view(q, &a->bias, TOUCH_FIXED, 1, a->d);
    return enqueue(q, &op);
}

status
kernel_rmsnorm(kernel_queue *q, const kernel_norm_args *a)
{
    ASSERT(a->bias.buf == NULL);
    return normalise(q, DEVICE_RMSNORM, a);
}

status
kernel_layernorm(kernel_queue *q, const kernel_norm_args *a)
{
    return normalise(q, DEVICE_LAYERNORM, a);
}

status
kernel_rope(kernel_queue *q, const kernel_rope_args *a)
{
    const device_op op = {.kind = DEVICE_ROPE, .u.rope = *a};

    ASSERT(a->d_rot % 2 == 0 && a->d_rot <= a->d_head);
    check_view(q, &a->x, TOUCH_ROWS, 0, a->n_head * a->d_head);
    check_view(q, &a->freq, TOUCH_FIXED, 1, a->d_rot / 2);
    return enqueue(q, &op);
}

/* Keys and values from a cell's rows to rows that `to` says. */
static status
keep(kernel_queue *q, const device_op *op, touch to)
{
    size_t d = op->u.kv.d_kv;

    check_view(q, &op->u.kv.k_to, to, 0, d);
    check_view(q, &op->u.kv.v_to, to, 0, d);
    check_view(q, &op->u.kv.k, TOUCH_ROWS, 0, d);
    check_view(q, &op->u.kv.v, TOUCH_ROWS, 0, d);
    return enqueue(q, op);
}

status
kernel_kv_append(kernel_queue *q, kernel_view k_cache, kernel_view v_cache,
                 kernel_view k, kernel_view v, size_t d_kv)
{
    const device_op op = {.kind = DEVICE_KV_APPEND,
                          .u.kv = {k_cache, v_cache, k, v, d_kv}};

    return keep(q, &op, TOUCH_PAST);
}

status
kernel_kv_keep(kernel_queue *q, kernel_view k_window, kernel_view v_window,
               kernel_view k, kernel_view v, size_t d_kv)
{
    const device_op op = {.kind = DEVICE_KV_KEEP,
                          .u.kv = {k_window, v_window, k, v, d_kv}};

    return keep(q, &op, TOUCH_KEPT);
}

status
kernel_attention(kernel_queue *q, const kernel_attention_args *a)
{
    const device_op op = {.kind = DEVICE_ATTENTION, .u.attention = *a};
    touch keys = a->k.by == KERNEL_BY_CELL ? TOUCH_ROWS : TOUCH_PAST;
    size_t d_kv = a->n_kv * a->d_head;

    ASSERT(a->n_kv > 0 && a->n_head % a->n_kv == 0 && a->k.by == a->v.by);
    ASSERT(a->k.by == KERNEL_BY_CELL || a->k.by == KERNEL_BY_KV ||
           a->k.by == KERNEL_BY_STATE);
    check_view(q, &a->out, TOUCH_ROWS, 0, a->n_head * a->d_head);
    check_view(q, &a->q, TOUCH_ROWS, 0, a->n_head * a->d_head);
    check_view(q, &a->k, keys, 0, d_kv);
    check_view(q, &a->v, keys, 0, d_kv);
    if (a->window_k.buf != NULL) {
        check_view(q, &a->window_k, TOUCH_WINDOW, 0, d_kv);
        check_view(q, &a->window_v, TOUCH_WINDOW, 0, d_kv);
    }
    return enqueue(q, &op);
}

status
kernel_swiglu(kernel_queue *q, kernel_view out, kernel_view gate_up, size_t d)
{
    const device_op op = {.kind = DEVICE_SWIGLU, .u.swiglu = {out, gate_up, d}};

    check_view(q, &out, TOUCH_ROWS, 0, d);
    check_view(q, &gate_up, TOUCH_ROWS, 0, 2 * d);
    return enqueue(q, &op);
}

status
kernel_gelu(kernel_queue *q, kernel_view out, kernel_view x, size_t d,
            bool by_tanh)
{
    const device_op op = {.kind = DEVICE_GELU, .u.gelu = {out, x, d, by_tanh}};

    check_view(q, &out, TOUCH_ROWS, 0, d);
    check_view(q, &x, TOUCH_ROWS, 0, d);
    return enqueue(q, &op);
}

status
kernel_dpfp(kernel_queue *q, const kernel_dpfp_args *a)
{
    const device_op op = {.kind = DEVICE_DPFP, .u.dpfp = *a};

    ASSERT(a->n_head > 0 && a->d_mem % a->n_head == 0);
    check_view(q, &a->out, touch_of(a->rows), 0, 6 * a->d_mem);
    check_view(q, &a->x, touch_of(a->rows), 0, a->d_mem);
    return enqueue(q, &op);
}

static void
check_assoc(const kernel_queue *q, const kernel_assoc *mem)
{
    ASSERT(mem->n_head > 0 && mem->d_key % mem->n_head == 0 &&
           mem->d_model % mem->n_head == 0);
    ASSERT(mem->A.type == KERNEL_F32 || mem->A.type == KERNEL_BF16);
    check_view(q, &mem->A, TOUCH_FIXED, mem->d_key, mem->d_model / mem->n_head);
    if (mem->z.buf == NULL)
        return;
    ASSERT(mem->z.type == KERNEL_F32);
    check_view(q, &mem->z, TOUCH_FIXED, 1, mem->d_key);
}

status
kernel_assoc_read(kernel_queue *q, kernel_view x, kernel_view f,
                  const kernel_assoc *mem)
{
    const device_op op = {.kind = DEVICE_ASSOC_READ, .u.read = {*mem, x, f}};

    check_assoc(q, mem);
    check_view(q, &x, TOUCH_ROWS, 0, mem->d_model);
    check_view(q, &f, TOUCH_ROWS, 0, mem->d_key);
    return enqueue(q, &op);
}

status
kernel_assoc_write(kernel_queue *q, const kernel_assoc *mem, kernel_view k,
                   kernel_view v, kernel_view b)
{
    const device_op op = {.kind = DEVICE_ASSOC_WRITE,
                          .u.write = {*mem, k, v, b}};

    check_assoc(q, mem);
    check_view(q, &k, TOUCH_MEM, 0, mem->d_key);
    check_view(q, &v, TOUCH_MEM, 0, mem->d_model);
    check_view(q, &b, TOUCH_MEM, 0, mem->gating ? mem->d_model : mem->n_head);
    return enqueue(q, &op);
}

/* Most of what any cell reads and reports. */
static kernel_sample_args
sample_room(const kernel_queue *q, const kernel_sample_op *op)
{
    kernel_sample_args most = {0};

    for (uint32_t i = 0; i < q->n_cell; i++) {
        const kernel_sample_args *a = &op->args[i];

        most.n_seen = a->n_seen > most.n_seen ? a->n_seen : most.n_seen;
        most.n_top = a->n_top > most.n_top ? a->n_top : most.n_top;
    }
    return most;
}

status
kernel_sample(kernel_queue *q, const kernel_sample_op *a)
{
    const device_op op = {.kind = DEVICE_SAMPLE, .u.sample = *a};
    const kernel_sample_args room = sample_room(q, a);

    ASSERT(a->ids.type == KERNEL_I32 && a->ids.by == KERNEL_BY_SLOT);
    ASSERT(a->logits.type == KERNEL_F32);
    check_view(q, &a->ids, TOUCH_FIXED, 1, 1);
    check_view(q, &a->logits, TOUCH_ROWS, 0, a->n_vocab);
    if (a->seen.buf != NULL) {
        ASSERT(a->seen.type == KERNEL_I32 && a->seen.by != KERNEL_BY_CELL);
        ASSERT(room.n_seen <= KERNEL_SAMPLE_SEEN);
        check_view(q, &a->seen, TOUCH_FIXED, 1, room.n_seen);
    }
    if (a->logprobs.buf != NULL) {
        ASSERT(a->logprobs.type == KERNEL_F32);
        ASSERT(room.n_top <= KERNEL_SAMPLE_TOP && room.n_top <= a->n_vocab);
        check_view(q, &a->logprobs, TOUCH_FIXED, 1, 1 + room.n_top);
        if (room.n_top > 0)
            check_view(q, &a->top_ids, TOUCH_FIXED, 1, room.n_top);
    }
    return enqueue(q, &op);
}
