/* SPDX-License-Identifier: Apache-2.0 */
/* Which operations of a group run as one launch.
 *
 * What an operation leaves in scratch for the next one need not be written
 * when nobody else reads it: gates and values before SwiGLU, features before
 * the memory's products, heads before their rotation. */
#include <string.h>

#include "kernels/cuda/plan_step.h"

/* --------------------------------------------------------------- rooms --- */

void
cuda_plan_fini(cuda_plan *p)
{
    cuda_buf *const rooms[] = {&p->split_A, &p->split_f, &p->split_k,
                               &p->across_k, &p->across_v};

    (void)cudaFree(p->turns);
    (void)cudaFree(p->den);
    (void)cudaFree(p->shares);
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        (void)cudaFree(rooms[i]->data);
}

static uint32_t
round_up(uint32_t n, uint32_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* A room of [n_row, n_col] bf16 for every cell; true where it moved. */
static bool
room_grow(cuda_buf *room, const cuda_launch *at, size_t n_row, size_t n_col,
          status *st)
{
    size_t each = (n_row * n_col * sizeof(uint16_t) + 1023) / 1024 * 1024;
    size_t n = at->n_cell > room->base.n_item ? at->n_cell : room->base.n_item;
    void *data = NULL;

    if (*st != ST_OK || (each <= room->step && n <= room->base.n_item))
        return false;
    each = each > room->step ? each : room->step;
    *st = cuda_status(cudaStreamSynchronize(at->stream), "the GPU failed");
    if (*st == ST_OK)
        *st = cuda_status(cudaMalloc(&data, each * n), "no room for a memory");
    if (*st != ST_OK)
        return false;
    (void)cudaFree(room->data);
    room->data = data;
    room->step = each;
    room->base.use = KERNEL_SCRATCH;
    room->base.bytes = each;
    room->base.n_item = n;
    return true;
}

static kernel_view
room_view(cuda_buf *room, size_t n_col)
{
    return (kernel_view){.buf = &room->base, .type = KERNEL_BF16, .ld = n_col};
}

/* A table of turns for all positions of the group. */
static bool
turns_grow(cuda_plan *p, const cuda_launch *at, const kernel_rope_args *a,
           status *st)
{
    enum { MOST = 1 << 18, FIRST = 4096 };
    const kernel_rope_args *b = &p->turns_of;
    bool same = b->freq.buf == a->freq.buf &&
                b->freq.offset == a->freq.offset && b->d_rot == a->d_rot &&
                b->scale == a->scale;
    uint32_t need = at->max_pos, n = FIRST;
    size_t bytes;
    void *table = NULL;

    if (*st != ST_OK || need > MOST || (same && need <= p->n_position))
        return false;
    while (n < need)
        n *= 2;
    bytes = n * a->d_rot * sizeof(float);
    *st = cuda_status(cudaStreamSynchronize(at->stream), "the GPU failed");
    if (*st == ST_OK)
        *st = cuda_status(cudaMalloc(&table, bytes), "no room for positions");
    if (*st == ST_OK)
        *st =
            cuda_status(cuda_rope_table(at->stream, table, a, n), "positions");
    if (*st != ST_OK) {
        (void)cudaFree(table);
        return false;
    }
    (void)cudaFree(p->turns);
    p->turns = table;
    p->n_position = n;
    p->turns_of = *a;
    return true;
}

static bool
den_grow(cuda_plan *p, const cuda_launch *at, status *st)
{
    size_t need = (size_t)at->n_cell * at->max_mem * 4 * sizeof(float);
    void *den = NULL;

    if (*st != ST_OK || need <= p->den_bytes)
        return false;
    *st = cuda_status(cudaStreamSynchronize(at->stream), "the GPU failed");
    if (*st == ST_OK)
        *st = cuda_status(cudaMalloc(&den, need), "no room for a memory");
    if (*st != ST_OK)
        return false;
    (void)cudaFree(p->den);
    p->den = den;
    p->den_bytes = need;
    return true;
}

static bool
is_fast(const cuda_plan *p)
{
    return p->dev->arch == 90 && !p->dev->plain && p->dev->encode != NULL &&
           p->dev->compute == KERNEL_BF16;
}

static bool
memory_fits(const kernel_assoc *m)
{
    return m->n_head == 1 && !m->gating && m->d_key % 24 == 0 &&
           m->A.ld % 2 == 0;
}

bool
cuda_plan_ready(cuda_plan *p, const cuda_launch *at, const device_op *ops,
                uint32_t n_op, status *st)
{
    bool moved = false;

    p->split_of = (kernel_view){0};
    for (uint32_t i = 0; is_fast(p) && i < n_op; i++) {
        const device_op *op = &ops[i];

        if (op->kind == DEVICE_ROPE)
            moved |= turns_grow(p, at, &op->u.rope, st);
        if (op->kind == DEVICE_ASSOC_READ && memory_fits(&op->u.read.mem)) {
            const kernel_assoc *m = &op->u.read.mem;

            moved |= room_grow(&p->split_A, at, m->d_model, 2 * m->d_key, st);
            moved |= room_grow(&p->split_f, at, at->max_row, 2 * m->d_key, st);
        }
        if (op->kind == DEVICE_ASSOC_WRITE && memory_fits(&op->u.write.mem)) {
            const kernel_assoc *m = &op->u.write.mem;
            uint32_t pad = round_up(at->max_mem, 64);

            moved |= room_grow(&p->split_A, at, m->d_model, 2 * m->d_key, st);
            moved |= room_grow(&p->split_k, at, pad, 2 * m->d_key, st);
            moved |= room_grow(&p->across_k, at, m->d_key, 2 * pad, st);
            moved |= room_grow(&p->across_v, at, m->d_model, 2 * pad, st);
            moved |= den_grow(p, at, st);
        }
    }
    return cuda_plan_thin_ready(p, at, ops, n_op, st) || moved;
}

/* ------------------------------------------------------------ products --- */

bool
cuda_plan_same_view(const kernel_view *a, const kernel_view *b)
{
    return a->buf == b->buf && a->type == b->type && a->by == b->by &&
           a->offset == b->offset && a->ld == b->ld;
}

/* What a product and its maps take of an operation. */
typedef struct product_views {
    const kernel_view *x, *w;
    size_t x_row, x_col; /* of each item of x that are read */
    size_t w_row, w_col;
    bool x_exact;
} product_views;

static bool
make_maps(const cuda_step *s, cuda_product *p, const product_views *v)
{
    cuda_encode *encode = s->plan->dev->encode;
    const cuda_view_rows x = {v->x, v->x_row, v->x_col, v->x_exact};
    const cuda_view_rows w = {v->w, v->w_row, v->w_col, true};
    uint32_t cols = cuda_product_cols(p->n, p->finish);

    p->x_by = v->x->by;
    p->w_by = v->w->by;
    p->x_one = v->x->by == KERNEL_BY_CELL && v->x->stride == 0 &&
               v->x->buf->use != KERNEL_SCRATCH;
    p->w_one = v->w->by == KERNEL_BY_CELL && v->w->stride == 0 &&
               v->w->buf->use != KERNEL_SCRATCH;
    return cuda_map_view(&p->x, encode, &x,
                         cuda_product_rows(p->n, p->finish)) &&
           cuda_map_view(&p->w, encode, &w,
                         p->finish == CUDA_SWIGLU ? cols / 2 : cols);
}

static size_t
rows_needed(const cuda_step *s, const kernel_view *v, kernel_rows rows)
{
    if (v->by == KERNEL_BY_SLOT)
        return s->at->max_end;
    return rows == KERNEL_ROWS_MEM ? s->at->max_mem : s->at->max_row;
}

/* The product of an operation on its own; false: it needs another kernel. */
static bool
product_of(const cuda_step *s, const kernel_linear_args *a, cuda_finish finish,
           cuda_product *out)
{
    size_t n_w = finish == CUDA_SWIGLU ? a->n / 2 : a->n;
    const product_views v = {.x = &a->x,
                             .w = &a->w,
                             .x_row = rows_needed(s, &a->x, a->rows),
                             .x_col = a->k,
                             .w_row = a->n,
                             .w_col = a->k};
    cuda_product p = {.out = a->out,
                      .bias = a->bias,
                      .rows = a->rows,
                      .n = (uint32_t)n_w,
                      .n_run = 1,
                      .finish = finish};
    bool wide = a->out.type == KERNEL_F32;

    if (a->n < 16 || a->scale.buf != NULL || a->x.type != KERNEL_BF16 ||
        a->w.type != KERNEL_BF16 || (!wide && a->out.type != KERNEL_BF16))
        return false;
    if (wide && (a->out.ld % 2 != 0 || a->out.offset % 2 != 0 ||
                 a->out.stride % 2 != 0))
        return false;
    if (a->bias.buf != NULL && a->bias.type != KERNEL_BF16)
        return false;
    p.run[0].n_step = (uint32_t)(a->k + 63) / 64;
    if (!make_maps(s, &p, &v))
        return false;
    *out = p;
    return true;
}

static bool
enqueue(cuda_step *s, const cuda_product *p)
{
    s->st = cuda_status(cuda_product_run(s->at, p), "a product");
    return s->st == ST_OK;
}

/* ---------------------------------------------------------- scratch use --- */

/* Whether an operation behind the first `n` reads the scratch at `v` before
 * another one writes there. */
static bool
is_read_by(const device_op *op, const kernel_view *v)
{
    const kernel_view *in[6] = {NULL};

    switch (op->kind) {
    case DEVICE_LINEAR:
        in[0] = &op->u.linear.x;
        break;
    case DEVICE_RMSNORM:
    case DEVICE_LAYERNORM:
        in[0] = &op->u.norm.x;
        break;
    case DEVICE_ROPE:
        in[0] = &op->u.rope.x;
        break;
    case DEVICE_KV_APPEND:
    case DEVICE_KV_KEEP:
        in[0] = &op->u.kv.k;
        in[1] = &op->u.kv.v;
        break;
    case DEVICE_ATTENTION:
        in[0] = &op->u.attention.q;
        in[1] = &op->u.attention.k;
        in[2] = &op->u.attention.v;
        break;
    case DEVICE_SWIGLU:
        in[0] = &op->u.swiglu.gate_up;
        break;
    case DEVICE_GELU:
        in[0] = &op->u.gelu.x;
        break;
    case DEVICE_DPFP:
        in[0] = &op->u.dpfp.x;
        break;
    case DEVICE_ASSOC_READ:
        in[0] = &op->u.read.f;
        break;
    case DEVICE_ASSOC_WRITE:
        in[0] = &op->u.write.k;
        in[1] = &op->u.write.v;
        in[2] = &op->u.write.b;
        break;
    case DEVICE_SAMPLE:
        in[0] = &op->u.sample.logits;
        break;
    case DEVICE_EMBED:
    case DEVICE_N_OP:
        break;
    }
    for (int i = 0; i < 3; i++)
        if (in[i] != NULL && in[i]->buf == v->buf &&
            in[i]->offset * kernel_type_size(in[i]->type) ==
                v->offset * kernel_type_size(v->type))
            return true;
    return false;
}

static bool
is_written_by(const device_op *op, const kernel_view *v)
{
    const kernel_view *out = op->kind == DEVICE_LINEAR    ? &op->u.linear.out
                             : op->kind == DEVICE_RMSNORM ? &op->u.norm.out
                             : op->kind == DEVICE_DPFP    ? &op->u.dpfp.out
                             : op->kind == DEVICE_SWIGLU  ? &op->u.swiglu.out
                                                          : NULL;

    return out != NULL && out->buf == v->buf &&
           out->offset * kernel_type_size(out->type) ==
               v->offset * kernel_type_size(v->type);
}

bool
cuda_plan_is_dead(const cuda_step *s, uint32_t n, const kernel_view *v)
{
    if (v->buf->use != KERNEL_SCRATCH)
        return false;
    for (uint32_t i = n; i < s->n_op; i++) {
        if (is_read_by(&s->ops[i], v))
            return false;
        if (is_written_by(&s->ops[i], v))
            return true;
    }
    return true;
}

/* -------------------------------------------------------------- fusing --- */

bool
cuda_plan_is_kind(const cuda_step *s, uint32_t i, device_op_kind kind)
{
    return i < s->n_op && s->ops[i].kind == kind;
}

static uint32_t
swiglu(cuda_step *s)
{
    const kernel_linear_args *a = &s->ops[0].u.linear;
    cuda_product p;

    if (!cuda_plan_is_kind(s, 1, DEVICE_SWIGLU) || a->accumulate ||
        a->bias.buf != NULL ||
        !cuda_plan_same_view(&a->out, &s->ops[1].u.swiglu.gate_up) ||
        2 * s->ops[1].u.swiglu.d != a->n || !cuda_plan_is_dead(s, 2, &a->out) ||
        s->ops[1].u.swiglu.out.type != KERNEL_BF16 ||
        !product_of(s, a, CUDA_SWIGLU, &p))
        return 0;
    p.out = s->ops[1].u.swiglu.out;
    return enqueue(s, &p) ? 2 : 0;
}

/* Heads of whole 64 or 128 numbers from the columns' first on; the second
 * rotation goes on where the first one ends. */
static uint32_t
rope(cuda_step *s)
{
    const kernel_linear_args *a = &s->ops[0].u.linear;
    const kernel_rope_args *of = &s->plan->turns_of;
    uint32_t n = 1, n_rot = 0;
    cuda_product p;

    for (; cuda_plan_is_kind(s, n, DEVICE_ROPE) && n <= 2; n++) {
        const kernel_rope_args *r = &s->ops[n].u.rope;
        kernel_view x = r->x;

        if (x.offset != a->out.offset + n_rot)
            break;
        x.offset = a->out.offset;
        if (!cuda_plan_same_view(&a->out, &x) || r->d_rot != r->d_head ||
            (r->d_head != 64 && r->d_head != 128) || s->plan->turns == NULL ||
            r->freq.buf != of->freq.buf || r->freq.offset != of->freq.offset ||
            r->d_rot != of->d_rot || r->scale != of->scale)
            break;
        n_rot += (uint32_t)(r->n_head * r->d_head);
    }
    if (n == 1 || a->accumulate || a->rows != KERNEL_ROWS_ALL ||
        a->out.type != KERNEL_BF16 || a->n <= 128 ||
        s->plan->n_position < s->at->max_pos ||
        !product_of(s, a, CUDA_ROPE, &p))
        return 0;
    p.turns = s->plan->turns;
    p.half = (uint32_t)of->d_rot / 2;
    p.n_rot = n_rot;
    return enqueue(s, &p) ? n : 0;
}

static void
set_runs(cuda_product *p, const uint32_t x_w_col[CUDA_MAX_RUN][2],
         uint32_t n_col)
{
    p->n_run = CUDA_MAX_RUN;
    for (int i = 0; i < CUDA_MAX_RUN; i++) {
        p->run[i].x_col = x_w_col[i][0];
        p->run[i].w_col = x_w_col[i][1];
        p->run[i].n_step = (n_col + 63) / 64;
    }
}

/* high high + low high + high low, of columns [high | low]. */
static void
set_split(cuda_product *p, uint32_t n_col)
{
    const uint32_t at[CUDA_MAX_RUN][2] = {{0, 0}, {n_col, 0}, {0, n_col}};

    set_runs(p, at, n_col);
}

/* A in two numbers of bf16; a write finds it as the read left it. */
static status
split_A(cuda_step *s, const kernel_assoc *m, const kernel_view *out)
{
    if (cuda_plan_same_view(&s->plan->split_of, &m->A))
        return ST_OK;
    s->plan->split_of = m->A;
    return cuda_status(cuda_split_run(s->at, m, out), "a memory");
}

/* The memory's query, its features, and x += q A. */
static uint32_t
read_memory(cuda_step *s)
{
    cuda_plan *plan = s->plan;
    const kernel_linear_args *a = &s->ops[0].u.linear;
    const kernel_dpfp_args *d = &s->ops[1].u.dpfp;
    const kernel_assoc *m = &s->ops[2].u.read.mem;
    const kernel_view *x = &s->ops[2].u.read.x;
    cuda_product query, q_A;

    if (!cuda_plan_is_kind(s, 1, DEVICE_DPFP) ||
        !cuda_plan_is_kind(s, 2, DEVICE_ASSOC_READ) ||
        !cuda_plan_same_view(&a->out, &d->x) ||
        !cuda_plan_same_view(&d->out, &s->ops[2].u.read.f) || !memory_fits(m) ||
        m->d_key % 64 != 0 || d->n_head != 1 || d->d_mem * 6 != m->d_key ||
        x->type != KERNEL_BF16 || !cuda_plan_is_dead(s, 3, &d->out) ||
        !cuda_plan_is_dead(s, 3, &a->out) ||
        !product_of(s, a, CUDA_STORE, &query))
        return 0;
    const kernel_view f = room_view(&plan->split_f, 2 * m->d_key);
    const kernel_view A = room_view(&plan->split_A, 2 * m->d_key);
    const cuda_features features = {.proj = a->out,
                                    .z = m->z,
                                    .d_mem = (uint32_t)d->d_mem,
                                    .l2_norm = d->l2_norm,
                                    .out = f};
    const product_views v = {.x = &f,
                             .w = &A,
                             .x_row = s->at->max_row,
                             .x_col = 2 * m->d_key,
                             .w_row = m->d_model,
                             .w_col = 2 * m->d_key};
    q_A = (cuda_product){
        .out = *x, .n = (uint32_t)m->d_model, .finish = CUDA_ADD, .read = true};
    set_split(&q_A, (uint32_t)m->d_key);
    if (!make_maps(s, &q_A, &v) || !enqueue(s, &query))
        return 0;
    s->st = cuda_status(cuda_features_run(s->at, &features), "features");
    if (s->st == ST_OK)
        s->st = split_A(s, m, &A);
    return s->st == ST_OK && enqueue(s, &q_A) ? 3 : 0;
}

/* Keys, values and gates of the memory rows, and what they change. */
static bool
write_fits(const cuda_step *s)
{
    const device_op *o = s->ops;

    return cuda_plan_is_kind(s, 1, DEVICE_DPFP) &&
           cuda_plan_is_kind(s, 2, DEVICE_LINEAR) &&
           cuda_plan_is_kind(s, 3, DEVICE_LINEAR) &&
           cuda_plan_is_kind(s, 4, DEVICE_ASSOC_WRITE) &&
           o[0].u.linear.rows == KERNEL_ROWS_MEM &&
           cuda_plan_same_view(&o[0].u.linear.out, &o[1].u.dpfp.x) &&
           cuda_plan_same_view(&o[1].u.dpfp.out, &o[4].u.write.k) &&
           cuda_plan_same_view(&o[2].u.linear.out, &o[4].u.write.v) &&
           cuda_plan_same_view(&o[3].u.linear.out, &o[4].u.write.b) &&
           memory_fits(&o[4].u.write.mem) && o[4].u.write.mem.d_key % 64 == 0 &&
           o[1].u.dpfp.n_head == 1 && s->at->max_mem > 0 &&
           o[1].u.dpfp.d_mem * 6 == o[4].u.write.mem.d_key &&
           o[4].u.write.mem.d_model >= 16 &&
           cuda_plan_is_dead(s, 5, &o[1].u.dpfp.out) &&
           cuda_plan_is_dead(s, 5, &o[2].u.linear.out);
}

static bool
delta_of(const cuda_step *s, const kernel_view *k, const kernel_view *A,
         uint32_t pad, cuda_product *out)
{
    const kernel_assoc *m = &s->ops[4].u.write.mem;
    const product_views v = {.x = k,
                             .w = A,
                             .x_row = pad,
                             .x_col = 2 * m->d_key,
                             .w_row = m->d_model,
                             .w_col = 2 * m->d_key};

    *out = (cuda_product){.out = room_view(&s->plan->across_v, 2 * (size_t)pad),
                          .m = pad,
                          .n = (uint32_t)m->d_model,
                          .finish = CUDA_DELTA,
                          .write = true,
                          .value = s->ops[4].u.write.v,
                          .gate = s->ops[4].u.write.b,
                          .den = s->plan->den,
                          .m_pad = pad};
    set_split(out, (uint32_t)m->d_key);
    return make_maps(s, out, &v);
}

static bool
update_of(const cuda_step *s, uint32_t pad, cuda_product *out)
{
    const kernel_assoc *m = &s->ops[4].u.write.mem;
    const kernel_view k = room_view(&s->plan->across_k, 2 * (size_t)pad);
    const kernel_view u = room_view(&s->plan->across_v, 2 * (size_t)pad);
    const product_views v = {.x = &k,
                             .w = &u,
                             .x_row = m->d_key,
                             .x_col = 2 * (size_t)pad,
                             .w_row = m->d_model,
                             .w_col = 2 * (size_t)pad};

    *out = (cuda_product){.out = m->A,
                          .m = (uint32_t)m->d_key,
                          .n = (uint32_t)m->d_model,
                          .finish = CUDA_ADD,
                          .write = true};
    set_split(out, pad);
    return make_maps(s, out, &v);
}

static uint32_t
write_memory(cuda_step *s)
{
    cuda_plan *plan = s->plan;
    const device_op *o = s->ops;
    const kernel_assoc *m = &o[4].u.write.mem;
    uint32_t pad = round_up(s->at->max_mem, 64);
    cuda_product key, value, gate, delta, update;

    if (!write_fits(s) || !product_of(s, &o[0].u.linear, CUDA_STORE, &key) ||
        !product_of(s, &o[2].u.linear, CUDA_STORE, &value))
        return 0;
    const kernel_view k = room_view(&plan->split_k, 2 * m->d_key);
    const kernel_view A = room_view(&plan->split_A, 2 * m->d_key);
    const cuda_features f = {.proj = o[0].u.linear.out,
                             .z = m->z,
                             .d_mem = (uint32_t)o[1].u.dpfp.d_mem,
                             .l2_norm = o[1].u.dpfp.l2_norm,
                             .correction = m->correction,
                             .is_write = true,
                             .out = k,
                             .across =
                                 room_view(&plan->across_k, 2 * (size_t)pad),
                             .den = plan->den,
                             .m_pad = pad};
    if (!delta_of(s, &k, &A, pad, &delta) || !update_of(s, pad, &update))
        return 0;
    if (!enqueue(s, &key) || !enqueue(s, &value))
        return 0;
    s->st = product_of(s, &o[3].u.linear, CUDA_STORE, &gate)
                ? cuda_status(cuda_product_run(s->at, &gate), "gates")
                : cuda_status(cuda_linear(s->at, &o[3].u.linear), "gates");
    if (s->st == ST_OK)
        s->st = cuda_status(cuda_features_run(s->at, &f), "features");
    if (s->st == ST_OK)
        s->st = split_A(s, m, &A);
    if (s->st != ST_OK || !enqueue(s, &delta) || !enqueue(s, &update))
        return 0;
    plan->split_of = (kernel_view){0};
    if (m->z.buf != NULL)
        s->st = cuda_status(cuda_update_z(s->at, &f), "a memory");
    return s->st == ST_OK ? 5 : 0;
}

static uint32_t
alone(cuda_step *s)
{
    const kernel_linear_args *a = &s->ops[0].u.linear;
    cuda_product p;

    if (!product_of(s, a, a->accumulate ? CUDA_ADD : CUDA_STORE, &p))
        return 0;
    return enqueue(s, &p) ? 1 : 0;
}

static uint32_t
attention(cuda_step *s)
{
    const kernel_attention_args *a = &s->ops[0].u.attention;
    cuda_encode *encode = s->plan->dev->encode;
    bool window = a->window_k.buf != NULL;
    size_t d_q = a->n_head * a->d_head, d_kv = a->n_kv * a->d_head;
    const cuda_view_rows rows[5] = {
        {&a->q, s->at->max_row, d_q, false},
        {&a->k, s->at->max_key, d_kv, false},
        {&a->v, s->at->max_key, d_kv, false},
        {&a->window_k, s->at->max_window, d_kv, false},
        {&a->window_v, s->at->max_window, d_kv, false}};
    CUtensorMap maps[5];

    memset(maps, 0, sizeof maps);
    if ((a->d_head != 64 && a->d_head != 128) ||
        s->at->max_row < CUDA_FLASH_ROWS || a->out.type != KERNEL_BF16 ||
        a->q.by != KERNEL_BY_CELL || a->out.ld % 2 != 0 ||
        a->out.offset % 2 != 0 || a->out.stride % 2 != 0 ||
        (window && a->window_k.by != KERNEL_BY_STATE))
        return 0;
    for (int i = 0; i < (window ? 5 : 3); i++)
        if (!cuda_map_view(&maps[i], encode, &rows[i], 128))
            return 0;
    s->st = cuda_status(cuda_flash_run(s->at, a, maps), "attention");
    if (s->st == ST_OK && s->at->min_row < CUDA_FLASH_ROWS)
        s->st =
            cuda_status(cuda_attention(s->at, a, CUDA_FLASH_ROWS), "attention");
    return s->st == ST_OK ? 1 : 0;
}

status
cuda_plan_run(cuda_plan *plan, const cuda_launch *at, const device_op *ops,
              uint32_t n_op, uint32_t i, uint32_t *n_done)
{
    static const struct {
        uint32_t (*run)(cuda_step *);
        const char *name;
    } ways[] = {{swiglu, "product+swiglu"},
                {rope, "product+rope"},
                {read_memory, "memory read"},
                {write_memory, "memory write"},
                {alone, "product"}};
    cuda_step s = {plan, at, ops + i, n_op - i, ST_OK};

    *n_done = 0;
    if (at->max_row == 1 && cuda_plan_thin_fits(plan))
        *n_done = cuda_plan_thin_run(&s);
    plan->chained = *n_done > 0;
    plan->ran = "single rows";
    if (s.st != ST_OK || *n_done > 0 || !is_fast(plan))
        return s.st;
    if (ops[i].kind == DEVICE_ATTENTION) {
        *n_done = attention(&s);
        plan->ran = "flash attention";
    }
    for (size_t w = 0; ops[i].kind == DEVICE_LINEAR && s.st == ST_OK &&
                       *n_done == 0 && w < sizeof ways / sizeof *ways;
         w++) {
        *n_done = ways[w].run(&s);
        plan->ran = ways[w].name;
    }
    return s.st;
}
