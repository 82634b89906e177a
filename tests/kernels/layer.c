/* SPDX-License-Identifier: Apache-2.0 */
/* One layer as a list of kernel calls. */
#include "tests/kernels/layer.h"

#include <math.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/bf16.h"
#include "base/mem.h"

void
layer_must(status st)
{
    if (st == ST_OK)
        return;
    (void)fprintf(stderr, "%s: %s\n", status_name(st), status_text());
    exit(1);
}

/* n_item matrices of random numbers around 0. */
static kernel_view
kept(const layer *l, kernel_by by, kernel_type type, const size_t shape[2],
     float spread)
{
    size_t bytes = shape[0] * shape[1] * kernel_type_size(type);
    size_t n = shape[0] * shape[1] * l->n_item;
    const kernel_random law = {.key = n, .spread = spread};
    kernel_view v = {
        .type = type, .by = by, .stride = shape[0] * shape[1], .ld = shape[1]};

    layer_must(kernel_buf_new(&v.buf, l->dev, KERNEL_KEEP, bytes, l->n_item));
    layer_must(kernel_fill(l->q, v.buf, 0, type, n, &law));
    layer_must(kernel_sync(l->q));
    return v;
}

/* Buffers that stay from `keep` on. */
static kernel_view
scratch(const layer *l, layer_keep keep, kernel_type type,
        const size_t shape[2])
{
    size_t rows = shape[0], cols = shape[1];
    kernel_view v = {.type = type, .by = KERNEL_BY_CELL, .ld = cols};

    v.stride = rows * cols;
    layer_must(kernel_buf_new(&v.buf, l->dev,
                              l->keep >= keep ? KERNEL_KEEP : KERNEL_SCRATCH,
                              rows * cols * kernel_type_size(type), l->n_item));
    return v;
}

static void
make_rooms(layer *l, kernel_type t)
{
    const layer_shape *s = &l->s;
    const layer_keep some = LAYER_KEEP_RESULTS, all = LAYER_KEEP_ALL;
    const kernel_type f32 = KERNEL_F32;
    size_t n = s->n_row, m = s->n_mem, dh = s->n_head * s->d_head;
    size_t qkv = dh + 2 * s->n_kv * s->d_head;

    l->norm = scratch(l, some, t, (size_t[2]){n, s->d});
    l->qkv = scratch(l, some, t, (size_t[2]){n, qkv});
    l->attn = scratch(l, some, t, (size_t[2]){n, dh});
    l->hidden = scratch(l, all, t, (size_t[2]){n, 2 * s->ffn});
    l->act = scratch(l, some, t, (size_t[2]){n, s->ffn});
    l->f = scratch(l, all, f32, (size_t[2]){n, LAYER_D_KEY});
    l->mq = scratch(l, all, f32, (size_t[2]){n, LAYER_D_MEM});
    l->mk = scratch(l, all, f32, (size_t[2]){m, LAYER_D_KEY});
    l->mv = scratch(l, all, f32, (size_t[2]){m, s->d});
    l->mb = scratch(l, all, f32, (size_t[2]){m, 1});
}

static void
make_windows(layer *l, kernel_type t)
{
    const size_t shape[2] = {l->s.n_window, l->s.n_kv * l->s.d_head};

    if (l->s.n_window == 0)
        return;
    l->k_window = kept(l, KERNEL_BY_STATE, t, shape, 1.0F);
    l->v_window = kept(l, KERNEL_BY_STATE, t, shape, 1.0F);
}

void
layer_init(layer *l, kernel_device *dev, kernel_queue *q,
           const layer_shape *shape, uint32_t n_item, layer_keep keep)
{
    const layer_shape *s = shape;
    size_t dh = s->n_head * s->d_head;
    size_t qkv = dh + 2 * s->n_kv * s->d_head;

    kernel_random law = {0};
    kernel_info info;

    kernel_info_get(dev, &info);
    const kernel_type t = info.compute;
    *l = (layer){
        .dev = dev, .q = q, .s = *shape, .n_item = n_item, .keep = keep};
    l->x = kept(l, KERNEL_BY_SLOT, t, (size_t[2]){s->n_row, s->d}, 1.0F);
    l->A = kept(l, KERNEL_BY_STATE, s->narrow ? KERNEL_BF16 : KERNEL_F32,
                (size_t[2]){LAYER_D_KEY, s->d}, 0.001F);
    l->z =
        kept(l, KERNEL_BY_STATE, KERNEL_F32, (size_t[2]){1, LAYER_D_KEY}, 0.0F);
    law.mean = 0.5F;
    layer_must(
        kernel_fill(q, l->z.buf, 0, KERNEL_F32, n_item * LAYER_D_KEY, &law));
    make_rooms(l, t);
    make_windows(l, t);
    l->w_norm = kept(l, KERNEL_BY_LAYER, t, (size_t[2]){1, s->d}, 1.0F);
    l->w_qkv = kept(l, KERNEL_BY_LAYER, t, (size_t[2]){qkv, s->d}, 0.02F);
    l->w_out = kept(l, KERNEL_BY_LAYER, t, (size_t[2]){s->d, dh}, 0.01F);
    l->w_up = kept(l, KERNEL_BY_LAYER, t, (size_t[2]){2 * s->ffn, s->d}, 0.05F);
    l->w_down = kept(l, KERNEL_BY_LAYER, t, (size_t[2]){s->d, s->ffn}, 0.01F);
    l->w_mq =
        kept(l, KERNEL_BY_LAYER, t, (size_t[2]){LAYER_D_MEM, s->d}, 0.05F);
    l->w_mv = kept(l, KERNEL_BY_LAYER, t, (size_t[2]){s->d, s->d}, 0.001F);
    l->w_mb = kept(l, KERNEL_BY_LAYER, t, (size_t[2]){1, s->d}, 0.01F);
    l->freq = kept(l, KERNEL_BY_LAYER, KERNEL_F32,
                   (size_t[2]){1, s->d_head / 2}, 1.0F);
    l->freq.stride = 0; /* one for all */
}

void
layer_fini(layer *l)
{
    kernel_buf *const bufs[] = {
        l->x.buf,    l->A.buf,      l->z.buf,        l->norm.buf,
        l->qkv.buf,  l->attn.buf,   l->hidden.buf,   l->act.buf,
        l->f.buf,    l->mq.buf,     l->mk.buf,       l->mv.buf,
        l->mb.buf,   l->w_norm.buf, l->w_qkv.buf,    l->w_out.buf,
        l->w_up.buf, l->w_down.buf, l->w_mq.buf,     l->w_mv.buf,
        l->w_mb.buf, l->freq.buf,   l->k_window.buf, l->v_window.buf};

    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++)
        kernel_buf_free(bufs[i]);
}

float *
layer_take(const layer *l, const kernel_view *view, size_t *n)
{
    size_t bytes = kernel_buf_bytes(view->buf);
    float *x = NULL;

    *n = bytes / kernel_type_size(view->type);
    layer_must(mem_new(&x, *n, sizeof *x));
    layer_must(kernel_copy_out(l->q, x, view->buf, 0, bytes));
    layer_must(kernel_sync(l->q));
    if (view->type == KERNEL_BF16)
        bf16_to_floats(x, *n);
    return x;
}

/* out = x w^T for nk[0] outputs of nk[1] inputs; oxw: out, x, w. */
static void
linear(const layer *l, const kernel_view *const oxw[3], const size_t nk[2],
       kernel_rows rows, bool accumulate)
{
    const kernel_linear_args a = {.out = *oxw[0],
                                  .x = *oxw[1],
                                  .w = *oxw[2],
                                  .n = nk[0],
                                  .k = nk[1],
                                  .rows = rows,
                                  .accumulate = accumulate};

    layer_must(kernel_linear(l->q, &a));
}

/* Heads of the queries, or of the keys. */
static void
turn(const layer *l, size_t column, size_t n_head)
{
    kernel_rope_args a = {.x = l->qkv,
                          .freq = l->freq,
                          .n_head = n_head,
                          .d_head = l->s.d_head,
                          .d_rot = l->s.d_head,
                          .scale = 1};

    a.x.offset += column;
    layer_must(kernel_rope(l->q, &a));
}

static void
attention(const layer *l)
{
    const layer_shape *s = &l->s;
    kernel_attention_args a = {.out = l->attn,
                               .q = l->qkv,
                               .k = l->qkv,
                               .v = l->qkv,
                               .n_head = s->n_head,
                               .n_kv = s->n_kv,
                               .d_head = s->d_head,
                               .window_k = l->k_window,
                               .window_v = l->v_window,
                               .n_sink = (uint32_t)s->n_sink,
                               .scale = 1.0F / sqrtf((float)s->d_head)};

    a.k.offset += s->n_head * s->d_head;
    a.v.offset += (s->n_head + s->n_kv) * s->d_head;
    layer_must(kernel_attention(l->q, &a));
    if (s->n_window > 0)
        layer_must(kernel_kv_keep(l->q, l->k_window, l->v_window, a.k, a.v,
                                  s->n_kv * s->d_head));
}

static void
mem_kvb(const layer *l)
{
    const layer_shape *s = &l->s;
    const kernel_rows mem = KERNEL_ROWS_MEM;

    linear(l, (const kernel_view *[3]){&l->mq, &l->x, &l->w_mq},
           (size_t[2]){LAYER_D_MEM, s->d}, mem, false);
    layer_must(kernel_dpfp(l->q, &(kernel_dpfp_args){.out = l->mk,
                                                     .x = l->mq,
                                                     .d_mem = LAYER_D_MEM,
                                                     .n_head = 1,
                                                     .l2_norm = false,
                                                     .rows = mem}));
    linear(l, (const kernel_view *[3]){&l->mv, &l->x, &l->w_mv},
           (size_t[2]){s->d, s->d}, mem, false);
    linear(l, (const kernel_view *[3]){&l->mb, &l->x, &l->w_mb},
           (size_t[2]){1, s->d}, mem, false);
}

/* First and last of the parts of a run. */
static const int runs[LAYER_N_ALL][2] = {
    [LAYER_WHOLE] = {0, LAYER_N_PART - 1},
    [LAYER_RUN_READ] = {LAYER_MEM_Q, LAYER_READ},
    [LAYER_RUN_QKV] = {LAYER_QKV, LAYER_ROPE},
    [LAYER_RUN_MLP] = {LAYER_GATE_UP, LAYER_SWIGLU},
    [LAYER_RUN_WRITE] = {LAYER_MEM_KVB, LAYER_WRITE},
};

void
layer_enqueue(const layer *l, layer_part part)
{
    const layer_shape *s = &l->s;
    const kernel_assoc mem = {.A = l->A,
                              .z = l->z,
                              .d_key = LAYER_D_KEY,
                              .d_model = s->d,
                              .n_head = 1,
                              .correction = true};
    const kernel_rows all = KERNEL_ROWS_ALL;
    size_t dh = s->n_head * s->d_head, dkv = s->n_kv * s->d_head;

    switch (part) {
    case LAYER_MEM_Q:
        linear(l, (const kernel_view *[3]){&l->mq, &l->x, &l->w_mq},
               (size_t[2]){LAYER_D_MEM, s->d}, all, false);
        break;
    case LAYER_DPFP:
        layer_must(kernel_dpfp(l->q, &(kernel_dpfp_args){.out = l->f,
                                                         .x = l->mq,
                                                         .d_mem = LAYER_D_MEM,
                                                         .n_head = 1,
                                                         .l2_norm = false,
                                                         .rows = all}));
        break;
    case LAYER_READ:
        layer_must(kernel_assoc_read(l->q, l->x, l->f, &mem));
        break;
    case LAYER_NORM1:
    case LAYER_NORM2:
        layer_must(kernel_rmsnorm(l->q, &(kernel_norm_args){.out = l->norm,
                                                            .x = l->x,
                                                            .w = l->w_norm,
                                                            .d = s->d,
                                                            .n_head = 1,
                                                            .eps = 1e-5F}));
        break;
    case LAYER_QKV:
        linear(l, (const kernel_view *[3]){&l->qkv, &l->norm, &l->w_qkv},
               (size_t[2]){dh + 2 * dkv, s->d}, all, false);
        break;
    case LAYER_ROPE:
        turn(l, 0, s->n_head);
        turn(l, dh, s->n_kv);
        break;
    case LAYER_ATTENTION:
        attention(l);
        break;
    case LAYER_OUT:
        linear(l, (const kernel_view *[3]){&l->x, &l->attn, &l->w_out},
               (size_t[2]){s->d, dh}, all, true);
        break;
    case LAYER_GATE_UP:
        linear(l, (const kernel_view *[3]){&l->hidden, &l->norm, &l->w_up},
               (size_t[2]){2 * s->ffn, s->d}, all, false);
        break;
    case LAYER_SWIGLU:
        layer_must(kernel_swiglu(l->q, l->act, l->hidden, s->ffn));
        break;
    case LAYER_DOWN:
        linear(l, (const kernel_view *[3]){&l->x, &l->act, &l->w_down},
               (size_t[2]){s->d, s->ffn}, all, true);
        break;
    case LAYER_MEM_KVB:
        mem_kvb(l);
        break;
    case LAYER_WRITE:
        layer_must(kernel_assoc_write(l->q, &mem, l->mk, l->mv, l->mb));
        break;
    case LAYER_WHOLE:
    case LAYER_RUN_READ:
    case LAYER_RUN_QKV:
    case LAYER_RUN_MLP:
    case LAYER_RUN_WRITE:
        for (int i = runs[part][0]; i <= runs[part][1]; i++)
            layer_enqueue(l, (layer_part)i);
        break;
    case LAYER_N_ALL:
        break;
    }
}

double
layer_flops(const layer *l, layer_part part)
{
    const layer_shape *s = &l->s;
    double r = (double)s->n_row, d = (double)s->d, ffn = (double)s->ffn;
    double mem = (double)s->n_mem;
    double dh = (double)(s->n_head * s->d_head);
    double dkv = (double)(s->n_kv * s->d_head);
    const double flops[LAYER_N_PART] = {
        [LAYER_MEM_Q] = 2 * r * LAYER_D_MEM * d,
        [LAYER_READ] = 2 * r * LAYER_D_KEY * d,
        [LAYER_QKV] = 2 * r * (dh + 2 * dkv) * d,
        [LAYER_ATTENTION] = 2 * r * (r + 1) * dh,
        [LAYER_OUT] = 2 * r * dh * d,
        [LAYER_GATE_UP] = 4 * r * ffn * d,
        [LAYER_DOWN] = 2 * r * ffn * d,
        [LAYER_MEM_KVB] = 2 * mem * d * (LAYER_D_MEM + d + 1),
        [LAYER_WRITE] = 4 * mem * LAYER_D_KEY * d};
    double sum = 0.0;

    if (part < LAYER_WHOLE)
        return flops[part];
    for (int i = runs[part][0]; i <= runs[part][1]; i++)
        sum += flops[i];
    return sum;
}
