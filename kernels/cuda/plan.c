/* SPDX-License-Identifier: Apache-2.0 */
/* Which operations of a group run as one launch.
 *
 * What an operation leaves in scratch for the next one need not be written
 * when nobody else reads it: gates and values before SwiGLU, features before
 * the memory's products, heads before their rotation. */
#include <string.h>

#include "kernels/cuda/plan_step.h"

/* ------------------------------------------------------------ products --- */

bool
cuda_plan_is_fast(const cuda_plan *p)
{
    return cuda_device_is_fast(p->dev);
}

bool
cuda_plan_same_view(const kernel_view *a, const kernel_view *b)
{
    return a->buf == b->buf && a->type == b->type && a->by == b->by &&
           a->offset == b->offset && a->ld == b->ld;
}

bool
cuda_plan_maps(const cuda_step *s, cuda_product *p, const cuda_plan_views *v)
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

bool
cuda_plan_product(const cuda_step *s, const kernel_linear_args *a,
                  cuda_finish finish, cuda_product *out)
{
    size_t n_w = finish == CUDA_SWIGLU ? a->n / 2 : a->n;
    const cuda_plan_views v = {.x = &a->x,
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
    if (!cuda_plan_maps(s, &p, &v))
        return false;
    *out = p;
    return true;
}

bool
cuda_plan_enqueue(cuda_step *s, const cuda_product *p)
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

/* A product of gates and values that SwiGLU alone reads. */
static bool
has_swiglu(const cuda_step *s)
{
    const kernel_linear_args *a = &s->ops[0].u.linear;

    return cuda_plan_is_kind(s, 1, DEVICE_SWIGLU) && !a->accumulate &&
           a->bias.buf == NULL &&
           cuda_plan_same_view(&a->out, &s->ops[1].u.swiglu.gate_up) &&
           2 * s->ops[1].u.swiglu.d == a->n &&
           cuda_plan_is_dead(s, 2, &a->out) &&
           s->ops[1].u.swiglu.out.type == KERNEL_BF16;
}

static uint32_t
swiglu(cuda_step *s)
{
    cuda_product p;

    if (!has_swiglu(s) ||
        !cuda_plan_product(s, &s->ops[0].u.linear, CUDA_SWIGLU, &p))
        return 0;
    p.out = s->ops[1].u.swiglu.out;
    return cuda_plan_enqueue(s, &p) ? 2 : 0;
}

/* How many rotations are behind a product, and of how many of its columns:
 * whole heads from the first on; the second rotation goes on where the first
 * one ends. */
static uint32_t
count_turns(const cuda_step *s, uint32_t *n_rot)
{
    const kernel_linear_args *a = &s->ops[0].u.linear;
    const kernel_rope_args *of = &s->plan->turns_of;
    uint32_t n = 1;

    *n_rot = 0;
    for (; cuda_plan_is_kind(s, n, DEVICE_ROPE) && n <= 2; n++) {
        const kernel_rope_args *r = &s->ops[n].u.rope;
        kernel_view x = r->x;

        if (x.offset != a->out.offset + *n_rot)
            break;
        x.offset = a->out.offset;
        if (!cuda_plan_same_view(&a->out, &x) || r->d_rot != r->d_head ||
            s->plan->turns == NULL || r->freq.buf != of->freq.buf ||
            r->freq.offset != of->freq.offset || r->d_rot != of->d_rot ||
            r->scale != of->scale || *n_rot + r->n_head * r->d_head > a->n)
            break;
        *n_rot += (uint32_t)(r->n_head * r->d_head);
    }
    if (a->accumulate || a->rows != KERNEL_ROWS_ALL ||
        a->out.type != KERNEL_BF16 || s->plan->n_position < s->at->max_pos)
        return 0;
    return n - 1;
}

static uint32_t
rope(cuda_step *s)
{
    const kernel_linear_args *a = &s->ops[0].u.linear;
    const size_t d_head = s->plan->turns_of.d_rot;
    uint32_t n_rot, n = count_turns(s, &n_rot);
    cuda_product p;

    if (n == 0 || (d_head != 64 && d_head != 128) || a->n <= 128 ||
        !cuda_plan_product(s, a, CUDA_ROPE, &p))
        return 0;
    p.turns = s->plan->turns;
    p.half = (uint32_t)d_head / 2;
    p.n_rot = n_rot;
    return cuda_plan_enqueue(s, &p) ? 1 + n : 0;
}

static uint32_t
alone(cuda_step *s)
{
    const kernel_linear_args *a = &s->ops[0].u.linear;
    cuda_product p;

    if (!cuda_plan_product(s, a, a->accumulate ? CUDA_ADD : CUDA_STORE, &p))
        return 0;
    return cuda_plan_enqueue(s, &p) ? 1 : 0;
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

/* Launches that are Hopper's. */
static uint32_t
fast(cuda_step *s)
{
    static const struct {
        uint32_t (*run)(cuda_step *);
        const char *name;
    } ways[] = {{swiglu, "product+swiglu"},
                {rope, "product+rope"},
                {cuda_plan_read_memory, "memory read"},
                {cuda_plan_write_memory, "memory write"},
                {alone, "product"}};
    uint32_t n = 0;

    if (s->ops[0].kind == DEVICE_ATTENTION) {
        n = attention(s);
        s->plan->ran = "flash attention";
    }
    for (size_t w = 0; s->ops[0].kind == DEVICE_LINEAR && s->st == ST_OK &&
                       n == 0 && w < sizeof ways / sizeof *ways;
         w++) {
        n = ways[w].run(s);
        s->plan->ran = ways[w].name;
    }
    return n;
}

/* A product for any shape, and what is rounded with it. */
static uint32_t
pairs(cuda_step *s)
{
    const kernel_linear_args *a = &s->ops[0].u.linear;
    uint32_t n_rot, n = 0;

    if (s->ops[0].kind != DEVICE_LINEAR || a->x.type != KERNEL_BF16 ||
        a->w.type != KERNEL_BF16 || a->scale.buf != NULL ||
        (a->bias.buf != NULL && a->bias.type != KERNEL_BF16) ||
        a->rows == KERNEL_ROWS_MEM)
        return 0;
    s->plan->ran = "any shape";
    if (has_swiglu(s)) {
        n = 1;
        s->st = cuda_status(
            cuda_pairs_swiglu(s->at, a, &s->ops[1].u.swiglu.out), "a product");
    } else if ((n = count_turns(s, &n_rot)) > 0) {
        s->st = cuda_status(cuda_pairs_rope(s->at, a, s->plan->turns,
                                            s->plan->turns_of.d_rot / 2, n_rot),
                            "a product");
    }
    return n > 0 && s->st == ST_OK ? 1 + n : 0;
}

status
cuda_plan_run(cuda_plan *plan, const cuda_launch *at, const device_op *ops,
              uint32_t n_op, uint32_t i, uint32_t *n_done)
{
    cuda_step s = {plan, at, ops + i, n_op - i, ST_OK, NULL};

    *n_done = 0;
    if (at->max_row == 1 && cuda_plan_thin_fits(plan))
        *n_done = cuda_plan_thin_run(&s);
    plan->chained = *n_done > 0;
    plan->ran = "single rows";
    if (s.st == ST_OK && *n_done == 0 && cuda_plan_is_fast(plan))
        *n_done = fast(&s);
    if (s.st == ST_OK && *n_done == 0)
        *n_done = pairs(&s);
    return s.st;
}
