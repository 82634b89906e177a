/* SPDX-License-Identifier: Apache-2.0 */
/* The launches of an associative memory's read and write. */
#include "kernels/cuda/plan_step.h"

bool
cuda_plan_memory_fits(const kernel_assoc *m)
{
    return m->n_head == 1 && !m->gating && m->d_key % 24 == 0 &&
           m->A.ld % 2 == 0;
}

uint32_t
cuda_plan_pad(const cuda_launch *at)
{
    return (at->max_mem + 63) / 64 * 64;
}

static kernel_view
room_view(cuda_buf *room, size_t n_col)
{
    return (kernel_view){.buf = &room->base, .type = KERNEL_BF16, .ld = n_col};
}

/* high high + low high + high low, of columns [high | low]; the first two where
 * w has no low part. */
static void
set_split(cuda_product *p, uint32_t n_col, bool w_is_split)
{
    const uint32_t at[CUDA_MAX_RUN][2] = {{0, 0}, {n_col, 0}, {0, n_col}};

    p->n_run = w_is_split ? 3 : 2;
    for (uint32_t i = 0; i < p->n_run; i++) {
        p->run[i].x_col = at[i][0];
        p->run[i].w_col = at[i][1];
        p->run[i].n_step = (n_col + 63) / 64;
    }
}

/* A as products take it. */
static bool
is_split(const kernel_assoc *m)
{
    return m->A.type == KERNEL_F32;
}

static size_t
split_cols(const kernel_assoc *m)
{
    return is_split(m) ? 2 * m->d_key : m->d_key;
}

/* A across, in two numbers of bf16; a write finds it as the read left it. */
static status
split_A(cuda_step *s, const kernel_assoc *m, const kernel_view *out)
{
    if (cuda_plan_same_view(&s->plan->split_of, &m->A))
        return ST_OK;
    s->plan->split_of = m->A;
    return cuda_status(cuda_split_run(s->at, m, out), "a memory");
}

uint32_t
cuda_plan_read_memory(cuda_step *s)
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
        !cuda_plan_same_view(&d->out, &s->ops[2].u.read.f) ||
        !cuda_plan_memory_fits(m) || m->d_key % 64 != 0 || d->n_head != 1 ||
        d->d_mem * 6 != m->d_key || x->type != KERNEL_BF16 ||
        !cuda_plan_is_dead(s, 3, &d->out) ||
        !cuda_plan_is_dead(s, 3, &a->out) ||
        !cuda_plan_product(s, a, CUDA_STORE, &query))
        return 0;
    const kernel_view f = room_view(&plan->split_f, 2 * m->d_key);
    const kernel_view A = room_view(&plan->split_A, split_cols(m));
    const cuda_features features = {.proj = a->out,
                                    .z = m->z,
                                    .d_mem = (uint32_t)d->d_mem,
                                    .l2_norm = d->l2_norm,
                                    .out = f};
    const cuda_plan_views v = {.x = &f,
                               .w = &A,
                               .x_row = s->at->max_row,
                               .x_col = 2 * m->d_key,
                               .w_row = m->d_model,
                               .w_col = split_cols(m)};
    q_A = (cuda_product){
        .out = *x, .n = (uint32_t)m->d_model, .finish = CUDA_ADD, .read = true};
    set_split(&q_A, (uint32_t)m->d_key, is_split(m));
    if (!cuda_plan_maps(s, &q_A, &v) || !cuda_plan_enqueue(s, &query))
        return 0;
    s->st = cuda_status(cuda_features_run(s->at, &features), "features");
    if (s->st == ST_OK)
        s->st = split_A(s, m, &A);
    return s->st == ST_OK && cuda_plan_enqueue(s, &q_A) ? 3 : 0;
}

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
           cuda_plan_memory_fits(&o[4].u.write.mem) &&
           o[4].u.write.mem.d_key % 64 == 0 && o[1].u.dpfp.n_head == 1 &&
           s->at->max_mem > 0 &&
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
    const cuda_plan_views v = {.x = k,
                               .w = A,
                               .x_row = pad,
                               .x_col = 2 * m->d_key,
                               .w_row = m->d_model,
                               .w_col = split_cols(m)};

    *out = (cuda_product){.out = room_view(&s->plan->across_v, 2 * (size_t)pad),
                          .m = pad,
                          .n = (uint32_t)m->d_model,
                          .finish = CUDA_DELTA,
                          .write = true,
                          .value = s->ops[4].u.write.v,
                          .gate = s->ops[4].u.write.b,
                          .den = s->plan->den,
                          .m_pad = pad};
    set_split(out, (uint32_t)m->d_key, is_split(m));
    return cuda_plan_maps(s, out, &v);
}

static bool
update_of(const cuda_step *s, uint32_t pad, cuda_product *out)
{
    const kernel_assoc *m = &s->ops[4].u.write.mem;
    const kernel_view k = room_view(&s->plan->across_k, 2 * (size_t)pad);
    const kernel_view u = room_view(&s->plan->across_v, 2 * (size_t)pad);
    const cuda_plan_views v = {.x = &k,
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
    set_split(out, pad, true);
    return cuda_plan_maps(s, out, &v);
}

uint32_t
cuda_plan_write_memory(cuda_step *s)
{
    cuda_plan *plan = s->plan;
    const device_op *o = s->ops;
    const kernel_assoc *m = &o[4].u.write.mem;
    uint32_t pad = cuda_plan_pad(s->at);
    cuda_product key, value, gate, delta, update;

    if (!write_fits(s) ||
        !cuda_plan_product(s, &o[0].u.linear, CUDA_STORE, &key) ||
        !cuda_plan_product(s, &o[2].u.linear, CUDA_STORE, &value))
        return 0;
    const kernel_view k = room_view(&plan->split_k, 2 * m->d_key);
    const kernel_view A = room_view(&plan->split_A, split_cols(m));
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
    if (!cuda_plan_enqueue(s, &key) || !cuda_plan_enqueue(s, &value))
        return 0;
    s->st = cuda_plan_product(s, &o[3].u.linear, CUDA_STORE, &gate)
                ? cuda_status(cuda_product_run(s->at, &gate), "gates")
                : cuda_status(cuda_linear(s->at, &o[3].u.linear), "gates");
    if (s->st == ST_OK)
        s->st = cuda_status(cuda_features_run(s->at, &f), "features");
    if (s->st == ST_OK)
        s->st = split_A(s, m, &A);
    if (s->st != ST_OK || !cuda_plan_enqueue(s, &delta) ||
        !cuda_plan_enqueue(s, &update))
        return 0;
    plan->split_of = (kernel_view){0};
    if (m->z.buf != NULL)
        s->st = cuda_status(cuda_update_z(s->at, &f), "a memory");
    return s->st == ST_OK ? 5 : 0;
}
