/* SPDX-License-Identifier: Apache-2.0 */
/* The model in double: a layer at a time, in it a segment at a time. */
#include "worker/bench_reference.h"

#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "base/mem.h"
#include "sched/segment.h"

typedef struct reference {
    const bench_reference_args *args;
    const model_config *cfg;
    uint64_t n_seg;
    size_t max_row;
    double *x;                                    /* [n_seg, max_row, d] */
    double *norm, *heads, *mixed, *hidden, *proj; /* of one segment */
    double *feature, *value, *p;                  /* p: [n_thread, max_row] */
    double *A, *z;                                /* of the layer at hand */
    double *logits;
    float *w[WEIGHTS_N_KIND]; /* of the layer at hand */
    void *raw;                /* of one kind */
    uint32_t n_row, n_token;  /* of the segment at hand */
    double *at;               /* its rows of x */
} reference;

/* ------------------------------------------------------------- weights --- */

static void
widen(float *out, const void *raw, kernel_type type, size_t n)
{
    const uint16_t *half = raw;
    const int8_t *small = raw;

    if (type == KERNEL_F32)
        memcpy(out, raw, n * sizeof *out);
    for (size_t i = 0; type == KERNEL_BF16 && i < n; i++)
        out[i] = bf16_to_float(half[i]);
    for (size_t i = 0; type == KERNEL_I8 && i < n; i++)
        out[i] = (float)small[i];
}

static status
read_back(const reference *r, void *to, const kernel_view *v, size_t item,
          size_t n)
{
    size_t size = kernel_type_size(v->type);
    status st = ST_OK;

    TRY(kernel_copy_out(r->args->q, to, v->buf,
                        (v->offset + item * v->stride) * size, n * size));
    TRY(kernel_sync(r->args->q));
fail:
    return st;
}

/* Numbers with a scale for every row: both are floats exactly, their product
 * is rounded as the device's is not, by less than it is compared by. */
static status
scale_rows(const reference *r, weights_kind kind, size_t item, size_t rows,
           size_t cols)
{
    const kernel_view v = weights_scale(r->args->w, kind);
    float *scale = NULL;
    status st = ST_OK;

    if (v.buf == NULL)
        return ST_OK;
    TRY(mem_new(&scale, rows, sizeof *scale));
    TRY(read_back(r, scale, &v, item, rows));
    for (size_t i = 0; i < rows * cols; i++)
        r->w[kind][i] *= scale[i / cols];
fail:
    mem_free(scale);
    return st;
}

static status
load(reference *r, weights_kind kind, uint32_t layer)
{
    const kernel_view v = weights_view(r->args->w, kind);
    size_t rows = 0, cols = 0, item = v.by == KERNEL_BY_LAYER ? layer : 0;
    status st = ST_OK;

    weights_shape(r->cfg, kind, &rows, &cols);
    if (v.type == KERNEL_F16)
        TRY(status_fail(ST_UNSUPPORTED, "no check of weights in f16"));
    if (r->w[kind] == NULL)
        TRY(mem_new(&r->w[kind], rows * cols, sizeof *r->w[kind]));
    TRY(mem_new(&r->raw, rows * cols, kernel_type_size(v.type)));
    TRY(read_back(r, r->raw, &v, item, rows * cols));
    widen(r->w[kind], r->raw, v.type, rows * cols);
    TRY(scale_rows(r, kind, item, rows, cols));
fail:
    mem_free(r->raw);
    r->raw = NULL;
    return st;
}

static void
unload(reference *r, weights_kind kind)
{
    mem_free(r->w[kind]);
    r->w[kind] = NULL;
}

/* --------------------------------------------------------------- parts --- */

/* out[n_x, rows of the kind] = x w^T. */
static status
project(const reference *r, double *out, const double *x, size_t n_x,
        weights_kind kind)
{
    bench_reference_product p = {
        .out = out, .x = x, .w = r->w[kind], .n_x = n_x};

    weights_shape(r->cfg, kind, &p.n, &p.k);
    return bench_reference_multiply(&p, r->args->n_thread);
}

static void
rmsnorm(const reference *r, double *out, const double *x, size_t n_x,
        weights_kind kind)
{
    size_t d = r->cfg->d_model;

    for (size_t row = 0; row < n_x; row++, x += d, out += d) {
        double sum = 0;
        for (size_t i = 0; i < d; i++)
            sum += x[i] * x[i];
        double scale = 1 / sqrt(sum / (double)d + (double)r->cfg->norm_eps);
        for (size_t i = 0; i < d; i++)
            out[i] = (double)r->w[kind][i] * x[i] * scale;
    }
}

/* All heads of queries and keys of one row. */
static void
turn_row(void *ctx, size_t row)
{
    const reference *r = ctx;
    const model_config *c = r->cfg;
    size_t half = c->rope.d_rot / 2;
    double *x =
        r->heads + row * (c->n_head + 2 * (size_t)c->n_kv_head) * c->d_head;
    double scale = (double)config_rope_scale(c);

    for (size_t h = 0; h < c->n_head + c->n_kv_head; h++, x += c->d_head) {
        for (size_t i = 0; i < half; i++) {
            double angle = (double)row * (double)r->w[WEIGHTS_ROPE][i];
            double cosine = scale * cos(angle), sine = scale * sin(angle);
            double a = x[i], b = x[i + half];
            x[i] = cosine * a - sine * b;
            x[i + half] = cosine * b + sine * a;
        }
    }
}

/* One query head of one row, over the keys of the rows up to it. */
static void
attend_head(const reference *r, size_t row, size_t head, double *p)
{
    const model_config *c = r->cfg;
    size_t e = c->d_head, ld = (c->n_head + 2 * (size_t)c->n_kv_head) * e;
    const double *q = r->heads + row * ld + head * e;
    const double *k =
        r->heads + c->n_head * e + head / (c->n_head / c->n_kv_head) * e;
    const double *v = k + c->n_kv_head * e;
    double *out = r->mixed + (row * c->n_head + head) * e;
    double most = -INFINITY, sum = 0;

    for (size_t j = 0; j <= row; j++) {
        double s = 0;
        for (size_t i = 0; i < e; i++)
            s += q[i] * k[j * ld + i];
        p[j] = s / sqrt((double)e);
        most = fmax(most, p[j]);
    }
    memset(out, 0, e * sizeof *out);
    for (size_t j = 0; j <= row; j++) {
        double share = exp(p[j] - most);
        sum += share;
        for (size_t i = 0; i < e; i++)
            out[i] += share * v[j * ld + i];
    }
    for (size_t i = 0; i < e; i++)
        out[i] /= sum;
}

/* Every n_thread-th row: later ones have more keys. */
static void
attend_part(void *ctx, size_t part)
{
    const reference *r = ctx;
    double *p = r->p + part * r->max_row;

    for (size_t row = part; row < r->n_row; row += r->args->n_thread) {
        for (size_t head = 0; head < r->cfg->n_head; head++)
            attend_head(r, row, head, p);
    }
}

static void
add(double *x, const double *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

static status
attention(reference *r)
{
    size_t n = r->n_row, d = r->cfg->d_model;
    uint32_t n_thread = r->args->n_thread;
    status st = ST_OK;

    rmsnorm(r, r->norm, r->at, n, WEIGHTS_NORM1);
    TRY(project(r, r->heads, r->norm, n, WEIGHTS_QKV));
    TRY(bench_reference_each(turn_row, r, n, n_thread));
    TRY(bench_reference_each(attend_part, r, n_thread, n_thread));
    TRY(project(r, r->norm, r->mixed, n, WEIGHTS_OUT));
    add(r->at, r->norm, n * d);
fail:
    return st;
}

static status
mlp(reference *r)
{
    size_t n = r->n_row, d = r->cfg->d_model, f = r->cfg->d_ffn;
    status st = ST_OK;

    rmsnorm(r, r->norm, r->at, n, WEIGHTS_NORM2);
    TRY(project(r, r->hidden, r->norm, n, WEIGHTS_GATE_UP));
    for (size_t row = 0; row < n; row++) {
        const double *gate = r->hidden + row * 2 * f;
        double *out = r->hidden + row * f; /* never ahead of what is read */
        for (size_t i = 0; i < f; i++)
            out[i] = gate[i] / (1 + exp(-gate[i])) * gate[f + i];
    }
    TRY(project(r, r->norm, r->hidden, n, WEIGHTS_DOWN));
    add(r->at, r->norm, n * d);
fail:
    return st;
}

/* -------------------------------------------------------------- memory --- */

/* f[6 d_mem] of x[d_mem]. */
static void
features(const reference *r, double *f, const double *x)
{
    size_t w = r->cfg->d_mem, n = 2 * w;

    for (size_t j = 1; j <= 3; j++) {
        for (size_t i = 0; i < n; i++) {
            size_t k = (i + n - j) % n;
            double a = i < w ? fmax(x[i], 0) : fmax(-x[i - w], 0);
            double b = k < w ? fmax(x[k], 0) : fmax(-x[k - w], 0);
            f[(j - 1) * n + i] = a * b;
        }
    }
}

/* z . f + 1e-5 */
static double
denominator(const reference *r, const double *f)
{
    double sum = 1e-5;

    for (size_t i = 0; i < config_d_key(r->cfg); i++)
        sum += r->z[i] * f[i];
    return sum;
}

/* out[d] += scale f A */
static void
through(const reference *r, double *out, const double *f, double scale)
{
    size_t d = r->cfg->d_model;

    for (size_t key = 0; key < config_d_key(r->cfg); key++) {
        for (size_t i = 0; i < d; i++)
            out[i] += scale * f[key] * r->A[key * d + i];
    }
}

static void
read_row(void *ctx, size_t row)
{
    const reference *r = ctx;
    double *f = r->feature + row * config_d_key(r->cfg);

    features(r, f, r->proj + row * r->cfg->d_mem);
    through(r, r->at + row * r->cfg->d_model, f, 1 / denominator(r, f));
}

static status
read_memory(reference *r)
{
    status st = ST_OK;

    TRY(project(r, r->proj, r->at, r->n_row, WEIGHTS_MEM_Q));
    TRY(bench_reference_each(read_row, r, r->n_row, r->args->n_thread));
fail:
    return st;
}

/* What row m adds: value[m] = sigmoid(b) (v - p), its features k scaled by
 * nothing; g goes to z. */
static double
prepare(const reference *r, size_t m, bool fresh)
{
    size_t key = config_d_key(r->cfg), d = r->cfg->d_model;
    const double *x = r->at + (r->n_token + m) * d;
    double *k = r->feature + m * key, *v = r->value + m * d;
    double own = 1e-5, b = (double)r->w[WEIGHTS_MEM_B_BIAS][0], den, g;

    features(r, k, r->proj + m * r->cfg->d_mem);
    den = denominator(r, k);
    for (size_t i = 0; i < key; i++)
        own += k[i] * k[i];
    for (size_t i = 0; i < d; i++)
        b += x[i] * (double)r->w[WEIGHTS_MEM_B][i];
    g = fresh ? 1 : fmin(fmax(1 - den / own, 0), 1);
    if (!fresh)
        through(r, v, k, -1 / den);
    for (size_t i = 0; i < d; i++)
        v[i] /= 1 + exp(-b);
    return g;
}

static status
write_memory(reference *r, bool fresh)
{
    size_t n = r->cfg->n_mem, key = config_d_key(r->cfg);
    size_t d = r->cfg->d_model;
    const double *x = r->at + r->n_token * d;
    double *g = r->norm;
    status st = ST_OK;

    TRY(project(r, r->proj, x, n, WEIGHTS_MEM_K));
    TRY(project(r, r->value, x, n, WEIGHTS_MEM_V));
    for (size_t m = 0; m < n; m++)
        g[m] = prepare(r, m, fresh); /* all of the old A and z */
    for (size_t m = 0; m < n; m++) {
        const double *k = r->feature + m * key, *v = r->value + m * d;
        for (size_t i = 0; i < key; i++) {
            r->z[i] += g[m] * k[i];
            for (size_t col = 0; col < d; col++)
                r->A[i * d + col] += k[i] * v[col];
        }
    }
fail:
    return st;
}

/* --------------------------------------------------------------- model --- */

static void
choose(reference *r, uint64_t seg)
{
    r->n_token = segment_tokens(seg, r->args->n_id, r->cfg->segment_size);
    r->n_row = r->n_token + r->cfg->n_mem;
    r->at = r->x + seg * r->max_row * r->cfg->d_model;
}

static status
embed(reference *r)
{
    size_t d = r->cfg->d_model;
    status st = ST_OK;

    TRY(load(r, WEIGHTS_EMBED, 0));
    TRY(load(r, WEIGHTS_MEMORY, 0));
    for (uint64_t seg = 0; seg < r->n_seg; seg++) {
        const int32_t *ids =
            r->args->ids + segment_start(seg, r->cfg->segment_size);
        choose(r, seg);
        for (size_t i = 0; i < r->n_row * d; i++) {
            size_t row = i / d, col = i % d;
            r->at[i] = (double)(row < r->n_token
                                    ? r->w[WEIGHTS_EMBED][ids[row] * d + col]
                                    : r->w[WEIGHTS_MEMORY]
                                          [(row - r->n_token) * d + col]);
        }
    }
    unload(r, WEIGHTS_EMBED);
    unload(r, WEIGHTS_MEMORY);
fail:
    return st;
}

static status
cell(reference *r, uint64_t seg, uint32_t layer)
{
    const bench_reference_sink *to = &r->args->sink;
    status st = ST_OK;

    choose(r, seg);
    if (seg > 0)
        TRY(read_memory(r));
    to->rows(to->ctx, seg, layer, 0, r->n_row, r->at);
    TRY(attention(r));
    TRY(mlp(r));
    to->rows(to->ctx, seg, layer, 1, r->n_row, r->at);
    TRY(write_memory(r, seg == 0));
fail:
    return st;
}

static status
all_layers(reference *r)
{
    size_t key = config_d_key(r->cfg), d = r->cfg->d_model;
    status st = ST_OK;

    TRY(load(r, WEIGHTS_ROPE, 0));
    for (uint32_t layer = 0; layer < r->cfg->n_layer; layer++) {
        for (weights_kind kind = 0; kind < WEIGHTS_N_LAYER_KIND; kind++)
            if (weights_has(r->cfg, kind))
                TRY(load(r, kind, layer));
        memset(r->A, 0, key * d * sizeof *r->A);
        memset(r->z, 0, key * sizeof *r->z);
        for (uint64_t seg = 0; seg < r->n_seg; seg++)
            TRY(cell(r, seg, layer));
        r->args->sink.state(r->args->sink.ctx, layer, r->A, r->z);
    }
fail:
    return st;
}

static status
heads(reference *r)
{
    const bench_reference_args *a = r->args;
    size_t d = r->cfg->d_model, n_vocab = r->cfg->n_vocab;
    status st = ST_OK;

    TRY(load(r, WEIGHTS_NORM_F, 0));
    TRY(load(r, WEIGHTS_HEAD, 0));
    for (uint64_t seg = 0; seg < r->n_seg; seg++) {
        uint32_t n = 0;
        choose(r, seg);
        for (uint32_t i = 0; i < a->n_row && a->row[i] < r->n_token; i++)
            rmsnorm(r, r->norm + n++ * d, r->at + a->row[i] * d, 1,
                    WEIGHTS_NORM_F);
        TRY(project(r, r->logits, r->norm, n, WEIGHTS_HEAD));
        for (uint32_t i = 0; i < n; i++)
            a->sink.logits(a->sink.ctx, seg, a->row[i],
                           r->logits + i * n_vocab);
    }
fail:
    return st;
}

static status
init(reference *r)
{
    const model_config *c = r->cfg;
    size_t n = r->max_row, d = c->d_model, key = config_d_key(c);
    size_t wide = d > c->n_mem ? d : c->n_mem;
    const struct {
        double **room;
        size_t n, each;
    } rooms[] = {
        {&r->x, r->n_seg * n, d},
        {&r->norm, n > r->args->n_row ? n : r->args->n_row, wide},
        {&r->heads, n, (c->n_head + 2 * (size_t)c->n_kv_head) * c->d_head},
        {&r->mixed, n, (size_t)c->n_head * c->d_head},
        {&r->hidden, n, 2 * (size_t)c->d_ffn},
        {&r->proj, n, c->d_mem},
        {&r->feature, n, key},
        {&r->value, c->n_mem, d},
        {&r->p, r->args->n_thread, n},
        {&r->A, key, d},
        {&r->z, 1, key},
        {&r->logits, r->args->n_row, c->n_vocab}};
    status st = ST_OK;

    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        size_t bytes = 0;
        TRY(size_mul(&bytes, rooms[i].each, sizeof(double)));
        TRY(mem_new(rooms[i].room, rooms[i].n, bytes));
    }
fail:
    return st;
}

static void
fini(reference *r)
{
    double *const rooms[] = {r->x,      r->norm, r->heads,   r->mixed,
                             r->hidden, r->proj, r->feature, r->value,
                             r->p,      r->A,    r->z,       r->logits};

    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        mem_free(rooms[i]);
    for (weights_kind kind = 0; kind < WEIGHTS_N_KIND; kind++)
        mem_free(r->w[kind]);
}

static bool
is_known(const model_config *c)
{
    return c->block == CONFIG_BLOCK_LLAMA && c->memory == CONFIG_MEMORY_ASSOC &&
           c->n_mem_head == 1 && c->denom && c->correction && !c->gating &&
           !c->l2_norm && !c->window && c->n_sink == 0 && c->span == 0 &&
           !c->qk_norm && !c->qkv_bias && !c->out_bias && !c->mlp_bias;
}

status
bench_reference(const bench_reference_args *args)
{
    reference r = {.args = args, .cfg = weights_config_of(args->w)};
    status st = ST_OK;

    if (!is_known(r.cfg))
        return status_fail(ST_UNSUPPORTED, "no reference for such a model");
    r.n_seg = segment_count(args->n_id, r.cfg->segment_size);
    r.max_row = (size_t)r.cfg->segment_size + r.cfg->n_mem;
    TRY(init(&r));
    TRY(embed(&r));
    TRY(all_layers(&r));
    TRY(heads(&r));
fail:
    fini(&r);
    return st;
}
