/* SPDX-License-Identifier: Apache-2.0 */
/* Which operations of a group of single rows run as one launch. */
#include "kernels/cuda/plan_step.h"
#include "kernels/cuda/thin.h"
#include "kernels/cuda/thin_shared.h"

bool
cuda_plan_thin_fits(const cuda_plan *p)
{
    return p->dev->arch >= 80 && !p->dev->plain &&
           p->dev->compute == KERNEL_BF16;
}

/* ------------------------------------------------------------ products --- */

/* Whether every row of a view begins at a multiple of 16 bytes. */
static bool
is_wide(const kernel_view *v)
{
    size_t unit = 16 / kernel_type_size(v->type);

    return v->offset % unit == 0 && v->stride % unit == 0 && v->ld % unit == 0;
}

static bool
product_of(const kernel_linear_args *a, const kernel_norm_args *norm,
           cuda_thin_product *out)
{
    const kernel_view *x = norm != NULL ? &norm->x : &a->x;

    if (a->rows == KERNEL_ROWS_MEM || a->scale.buf != NULL || a->n == 0 ||
        a->k == 0 || a->k % 64 != 0 || x->type != KERNEL_BF16 ||
        a->w.type != KERNEL_BF16 || !is_wide(x) || !is_wide(&a->w) ||
        (a->out.type != KERNEL_BF16 && a->out.type != KERNEL_F32) ||
        (a->out.type == KERNEL_F32 && a->accumulate) ||
        (a->bias.buf != NULL && a->bias.type != KERNEL_BF16))
        return false;
    *out = (cuda_thin_product){.out = a->out,
                               .x = *x,
                               .w = a->w,
                               .bias = a->bias,
                               .n = (uint32_t)a->n,
                               .k = (uint32_t)a->k,
                               .finish = a->accumulate ? CUDA_ADD : CUDA_STORE};
    if (norm != NULL) {
        out->norm = norm->w;
        out->eps = norm->eps;
    }
    return true;
}

static bool
run_product(cuda_step *s, cuda_thin_product *p)
{
    if (s->program != NULL)
        return cuda_program_product(s->program, p);
    p->chained = s->plan->chained;
    s->st = cuda_status(cuda_thin_product_run(s->at, p), "a product");
    return s->st == ST_OK;
}

/* A norm whose rows one product alone reads, and has room for. */
static bool
norm_fits(const cuda_step *s, const kernel_norm_args *norm)
{
    enum { WIDEST = 4096 }; /* that was tried on a device */
    const kernel_linear_args *a = &s->ops[1].u.linear;

    return cuda_plan_is_kind(s, 1, DEVICE_LINEAR) && norm->n_head == 1 &&
           norm->rows != KERNEL_ROWS_MEM && norm->d <= WIDEST &&
           cuda_thin_norm_fits(norm->d, s->plan->dev->max_shared) &&
           norm->d == a->k && norm->out.type == KERNEL_BF16 &&
           norm->w.type == KERNEL_BF16 && is_wide(&norm->w) &&
           cuda_plan_same_view(&a->x, &norm->out);
}

/* A norm, the product behind it, and SwiGLU behind that. */
static uint32_t
norm_product(cuda_step *s)
{
    const kernel_norm_args *norm = &s->ops[0].u.norm;
    const kernel_linear_args *a = &s->ops[1].u.linear;
    cuda_thin_product p;

    if (!norm_fits(s, norm) || !product_of(a, norm, &p) ||
        !cuda_plan_is_dead(s, 2, &norm->out))
        return 0;
    if (cuda_plan_is_kind(s, 2, DEVICE_SWIGLU) && !a->accumulate &&
        a->bias.buf == NULL && 2 * s->ops[2].u.swiglu.d == a->n &&
        s->ops[2].u.swiglu.out.type == KERNEL_BF16 &&
        cuda_plan_same_view(&a->out, &s->ops[2].u.swiglu.gate_up) &&
        cuda_plan_is_dead(s, 3, &a->out)) {
        p.out = s->ops[2].u.swiglu.out;
        p.n /= 2;
        p.finish = CUDA_SWIGLU;
        return run_product(s, &p) ? 3 : 0;
    }
    return run_product(s, &p) ? 2 : 0;
}

static uint32_t
product(cuda_step *s)
{
    cuda_thin_product p;

    return product_of(&s->ops[0].u.linear, NULL, &p) && run_product(s, &p) ? 1
                                                                           : 0;
}

/* -------------------------------------------------------------- memory --- */

static uint32_t
read_memory(cuda_step *s)
{
    const kernel_dpfp_args *d = &s->ops[0].u.dpfp;
    const kernel_assoc *m = &s->ops[1].u.read.mem;
    const kernel_view *x = &s->ops[1].u.read.x;

    if (!cuda_plan_is_kind(s, 1, DEVICE_ASSOC_READ) ||
        !cuda_plan_same_view(&d->out, &s->ops[1].u.read.f) || d->n_head != 1 ||
        d->d_mem * 6 != m->d_key || d->rows != KERNEL_ROWS_ALL ||
        x->type != KERNEL_BF16 || m->A.type != KERNEL_F32 ||
        !cuda_thin_read_fits(m) || !cuda_plan_is_dead(s, 2, &d->out))
        return 0;
    if (s->program != NULL)
        return cuda_program_read(s->program, x, m, d) ? 2 : 0;
    s->st = cuda_status(cuda_thin_read(s->at, s->plan->chained, x, m, d),
                        "a memory");
    return s->st == ST_OK ? 2 : 0;
}

/* ----------------------------------------------------------- attention --- */

/* Rotations of q and k, the cache, and attention there. */
static bool
attention_fits(const device_op *o, uint32_t n_op)
{
    const kernel_attention_args *a = &o[3].u.attention;
    size_t group;

    if (n_op < 4 || o[0].kind != DEVICE_ROPE || o[1].kind != DEVICE_ROPE ||
        o[2].kind != DEVICE_KV_APPEND || o[3].kind != DEVICE_ATTENTION)
        return false;
    group = a->n_head / a->n_kv;
    return (a->d_head == 64 || a->d_head == 128) &&
           (group == 1 || group == 2 || group == 4) &&
           a->window_k.buf == NULL && a->k.by != KERNEL_BY_CELL &&
           a->q.type == KERNEL_BF16 && a->k.type == KERNEL_BF16 &&
           a->out.type == KERNEL_BF16 && is_wide(&a->k) && is_wide(&a->v) &&
           o[0].u.rope.d_rot == a->d_head && o[0].u.rope.d_head == a->d_head &&
           o[1].u.rope.d_rot == a->d_head && o[1].u.rope.d_head == a->d_head &&
           o[0].u.rope.n_head == a->n_head && o[1].u.rope.n_head == a->n_kv &&
           o[0].u.rope.scale == o[1].u.rope.scale &&
           cuda_plan_same_view(&o[0].u.rope.freq, &o[1].u.rope.freq) &&
           cuda_plan_same_view(&o[0].u.rope.x, &a->q) &&
           cuda_plan_same_view(&o[1].u.rope.x, &o[2].u.kv.k) &&
           cuda_plan_same_view(&o[2].u.kv.k_to, &a->k) &&
           cuda_plan_same_view(&o[2].u.kv.v_to, &a->v);
}

/* q and k stay as they were before the rotation. */
static uint32_t
attention(cuda_step *s)
{
    const device_op *o = s->ops;
    const kernel_rope_args *of = &s->plan->turns_of;
    cuda_thin_attention t;

    if (!attention_fits(o, s->n_op) || s->plan->turns == NULL ||
        s->plan->n_position < s->at->max_pos ||
        o[0].u.rope.freq.buf != of->freq.buf ||
        o[0].u.rope.freq.offset != of->freq.offset ||
        o[0].u.rope.d_rot != of->d_rot || o[0].u.rope.scale != of->scale ||
        !cuda_plan_is_dead(s, 4, &o[0].u.rope.x) ||
        !cuda_plan_is_dead(s, 4, &o[1].u.rope.x))
        return 0;
    t = (cuda_thin_attention){.args = &o[3].u.attention,
                              .k_new = o[2].u.kv.k,
                              .v_new = o[2].u.kv.v,
                              .turns = s->plan->turns,
                              .room = s->plan->shares};
    if (s->program != NULL)
        return cuda_program_attend(s->program, &t) ? 4 : 0;
    s->st =
        cuda_status(cuda_thin_attend(s->at, s->plan->chained, &t), "attention");
    return s->st == ST_OK ? 4 : 0;
}

/* ---------------------------------------------------------------- both --- */

bool
cuda_plan_thin_ready(cuda_plan *p, const cuda_launch *at, const device_op *ops,
                     uint32_t n_op, status *st)
{
    size_t need = 0;
    void *room = NULL;

    for (uint32_t i = 0; cuda_plan_thin_fits(p) && at->min_row == 1 && i < n_op;
         i++)
        if (attention_fits(ops + i, n_op - i))
            need = cuda_thin_room(at->n_cell, &ops[i + 3].u.attention);
    if (*st != ST_OK || need <= p->shares_bytes)
        return false;
    *st = cuda_status(cudaStreamSynchronize(at->stream), "the GPU failed");
    if (*st == ST_OK)
        *st = cuda_status(cudaMalloc(&room, need), "no room for answers");
    if (*st == ST_OK)
        *st = cuda_status(cudaMemset(room, 0, need), "no room for answers");
    if (*st == ST_OK)
        *st = cuda_status(cudaDeviceSynchronize(), "the GPU failed");
    if (*st != ST_OK) {
        (void)cudaFree(room);
        return false;
    }
    (void)cudaFree(p->shares);
    p->shares = room;
    p->shares_bytes = need;
    return true;
}

uint32_t
cuda_plan_thin_run(cuda_step *s)
{
    static uint32_t (*const ways[DEVICE_N_OP])(cuda_step *) = {
        [DEVICE_RMSNORM] = norm_product,
        [DEVICE_LINEAR] = product,
        [DEVICE_DPFP] = read_memory,
        [DEVICE_ROPE] = attention,
    };
    device_op_kind kind = s->ops[0].kind;

    return ways[kind] != NULL ? ways[kind](s) : 0;
}

/* The likeliest token, where nothing else is asked of it. */
static bool
is_plain(const kernel_sample_op *op, const kernel_sample_args *a)
{
    return a->temperature <= 0.0F &&
           (op->seen.buf == NULL || a->penalty <= 0.0F || a->penalty == 1.0F);
}

uint32_t
cuda_plan_thin_add(cuda_step *s, const kernel_sample_args *sample)
{
    const device_op *op = &s->ops[0];

    if (op->kind == DEVICE_EMBED)
        return cuda_program_embed(s->program, &op->u.embed) ? 1 : 0;
    if (op->kind == DEVICE_SAMPLE)
        return is_plain(&op->u.sample, sample) &&
                       cuda_program_pick(s->program, &op->u.sample)
                   ? 1
                   : 0;
    return cuda_plan_thin_run(s);
}
