/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of a block, row by row. */
#include <math.h>

#include "base/mem.h"
#include "tests/kernels/exact.h"
#include "tests/kernels/rig.h"

/* ------------------------------------------------------- rows of a block ---
 */

typedef void row_fn(exact *e, uint32_t place, size_t row,
                    const exact_copy in[3], double *want);

/* What a part leaves in `out` of width n, from views before it. */
typedef struct row_step {
    const char *what;
    layer_part part;
    const char *fast; /* the launch that a GPU should choose */
    row_fn *fn;
    const kernel_view *in[3];
    const kernel_view *out;
    size_t n;
} row_step;

static void
check_rows(exact *e, const row_step *s)
{
    exact_copy in[3] = {{0}}, out;
    double *want = NULL;

    e->what = s->what;
    e->n = s->n;
    for (size_t i = 0; i < 3 && s->in[i] != NULL; i++)
        in[i] = exact_take(e, s->in[i]);
    exact_run_part(e, s->part, s->fast);
    out = exact_take(e, s->out);
    EXPECT_OK(mem_new(&want, s->n, sizeof *want));
    for (uint32_t place = 0; place < e->c->n_cell; place++) {
        for (size_t i = 0; i < EXACT_N_ROW; i++) {
            size_t row = exact_sampled(e, place, i);
            s->fn(e, place, row, in, want);
            exact_judge(e, exact_row(e, &out, place, row), want, s->n,
                        s->out->type);
        }
    }
    mem_free(want);
    mem_free(out.x);
    for (size_t i = 0; i < 3; i++)
        mem_free(in[i].x);
}

/* x, w */
static void
norm_row(exact *e, uint32_t place, size_t row, const exact_copy in[3],
         double *want)
{
    const float *x = exact_row(e, &in[0], place, row);
    const float *w = exact_row(e, &in[1], place, 0);
    size_t d = e->l.s.d;
    double scale = 1 / sqrt(exact_dot(x, x, d) / (double)d + 1e-5);

    for (size_t i = 0; i < d; i++)
        want[i] = (double)w[i] * (double)x[i] * scale;
}

/* norm, w */
static void
product_row(exact *e, uint32_t place, size_t row, const exact_copy in[3],
            double *want)
{
    const size_t place_n_k[3] = {place, e->n, e->l.s.d};

    exact_product(e, want, exact_row(e, &in[0], place, row), &in[1], place_n_k);
}

/* Heads of queries and keys of x[n], turned as those of row `row` are. */
static void
turn(const exact *e, const float *freq, size_t row, double *x)
{
    const layer_shape *s = &e->l.s;
    size_t half = s->d_head / 2;

    for (size_t h = 0; h < s->n_head + s->n_kv; h++, x += s->d_head) {
        for (size_t i = 0; i < half; i++) {
            double angle = (double)((float)row * freq[i]);
            double a = x[i], b = x[i + half];
            x[i] = cos(angle) * a - sin(angle) * b;
            x[i + half] = cos(angle) * b + sin(angle) * a;
        }
    }
}

/* norm, w, frequencies */
static void
turned_row(exact *e, uint32_t place, size_t row, const exact_copy in[3],
           double *want)
{
    product_row(e, place, row, in, want);
    turn(e, exact_row(e, &in[2], place, 0), row, want);
}

/* Keys and values that a row sees. */
typedef struct seen {
    const float **k, **v; /* of key head 0 */
    size_t n;
} seen;

/* As kernel.h says of rows, their own cell, and the window. */
static void
look(const exact *e, seen *out, uint32_t place, size_t row,
     const exact_copy in[3])
{
    const layer_shape *s = &e->l.s;
    const kernel_cell *c = &e->cells[place];
    size_t dh = s->n_head * s->d_head, dkv = s->n_kv * s->d_head;
    bool is_mem = row >= c->n_row - c->n_mem;
    size_t first = is_mem ? 0 : row - s->n_sink; /* of the window */

    EXPECT_OK(mem_new(&out->k, row + 1 + c->n_window, sizeof *out->k));
    EXPECT_OK(mem_new(&out->v, row + 1 + c->n_window, sizeof *out->v));
    out->n = 0;
    for (size_t i = 0; i <= row; i++) {
        out->k[out->n] = exact_row(e, &in[0], place, i) + dh;
        out->v[out->n++] = exact_row(e, &in[0], place, i) + dh + dkv;
    }
    if (row < s->n_sink)
        return;
    for (size_t i = first; i < c->n_window; i++) {
        out->k[out->n] = exact_row(e, &in[1], place, i);
        out->v[out->n++] = exact_row(e, &in[2], place, i);
    }
}

/* One head: q[d] over n keys; p[n] is room. */
static void
mix(const layer_shape *s, const seen *at, const float *q, size_t head,
    double *p, double *want)
{
    size_t d = s->d_head, column = head / (s->n_head / s->n_kv) * d;
    double most = -INFINITY, sum = 0;

    for (size_t j = 0; j < at->n; j++) {
        p[j] = exact_dot(q, at->k[j] + column, d) / sqrt((double)d);
        most = fmax(most, p[j]);
    }
    for (size_t i = 0; i < d; i++)
        want[i] = 0;
    for (size_t j = 0; j < at->n; j++) {
        double share = exp(p[j] - most);
        sum += share;
        for (size_t i = 0; i < d; i++)
            want[i] += share * (double)at->v[j][column + i];
    }
    for (size_t i = 0; i < d; i++)
        want[i] /= sum;
}

/* qkv, window */
static void
attention_row(exact *e, uint32_t place, size_t row, const exact_copy in[3],
              double *want)
{
    const layer_shape *s = &e->l.s;
    const float *q = exact_row(e, &in[0], place, row);
    double *p = NULL;
    seen at = {0};

    look(e, &at, place, row, in);
    EXPECT_OK(mem_new(&p, at.n, sizeof *p));
    for (size_t h = 0; h < s->n_head; h++)
        mix(s, &at, q + h * s->d_head, h, p, want + h * s->d_head);
    mem_free(p);
    mem_free(at.k);
    mem_free(at.v);
}

/* attention or act, w, x */
static void
add_row(exact *e, uint32_t place, size_t row, const exact_copy in[3],
        double *want)
{
    const layer_shape *s = &e->l.s;
    bool is_out = in[0].view == &e->l.attn;
    const float *x = exact_row(e, &in[2], place, row);
    const size_t place_n_k[3] = {place, s->d,
                                 is_out ? s->n_head * s->d_head : s->ffn};

    exact_product(e, want, exact_row(e, &in[0], place, row), &in[1], place_n_k);
    for (size_t i = 0; i < s->d; i++)
        want[i] += (double)x[i];
}

/* norm, w of gates and values */
static void
swiglu_row(exact *e, uint32_t place, size_t row, const exact_copy in[3],
           double *want)
{
    const float *x = exact_row(e, &in[0], place, row);
    size_t d = e->l.s.d;

    for (size_t j = 0; j < e->n; j++) {
        double gate = exact_dot(x, exact_row(e, &in[1], place, j), d);
        double up = exact_dot(x, exact_row(e, &in[1], place, e->n + j), d);
        want[j] = gate / (1 + exp(-gate)) * up;
    }
}

void
exact_block(exact *e)
{
    layer *l = &e->l;
    const layer_shape *s = &l->s;
    size_t dh = s->n_head * s->d_head;
    const kernel_view *k = s->n_window > 0 ? &l->k_window : NULL;
    const row_step steps[] = {{"norm",
                               LAYER_NORM1,
                               "any shape",
                               norm_row,
                               {&l->x, &l->w_norm},
                               &l->norm,
                               s->d},
                              {"q, k, v",
                               LAYER_RUN_QKV,
                               "product+rope",
                               turned_row,
                               {&l->norm, &l->w_qkv, &l->freq},
                               &l->qkv,
                               dh + 2 * s->n_kv * s->d_head},
                              {"attention",
                               LAYER_ATTENTION,
                               "flash attention",
                               attention_row,
                               {&l->qkv, k, &l->v_window},
                               &l->attn,
                               dh},
                              {"out",
                               LAYER_OUT,
                               "product",
                               add_row,
                               {&l->attn, &l->w_out, &l->x},
                               &l->x,
                               s->d},
                              {"norm",
                               LAYER_NORM2,
                               "any shape",
                               norm_row,
                               {&l->x, &l->w_norm},
                               &l->norm,
                               s->d},
                              {"SwiGLU",
                               LAYER_RUN_MLP,
                               "product+swiglu",
                               swiglu_row,
                               {&l->norm, &l->w_up},
                               &l->act,
                               s->ffn},
                              {"down",
                               LAYER_DOWN,
                               "product",
                               add_row,
                               {&l->act, &l->w_down, &l->x},
                               &l->x,
                               s->d}};

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        check_rows(e, &steps[i]);
}
