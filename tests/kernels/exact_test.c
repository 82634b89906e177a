/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of a layer against sums in double over the same rounded
 * inputs, neighbours as one where a device runs them so: at most one bf16 ulp
 * of a row's largest value on a GPU at the shapes of real models, 3e-5 of it in
 * fp32, where turns by large angles are that coarse.  Some rows of every cell,
 * all of their columns; and which launches it was.
 *
 * usage: test_kernels_exact [small], the small shapes alone where a tool makes
 * each slow */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/kernels/layer.h"
#include "tests/kernels/rig.h"

enum { MAX_CELL = 16, N_ROW = 5, COL_STEP = 61 };

typedef struct exact_case {
    layer_shape shape;
    uint32_t n_cell;
    uint32_t n_row[MAX_CELL]; /* of the cells; 0: as the last that has some */
    uint32_t fresh;           /* cells that are, the last ones */
} exact_case;

static exact_case small = {
    {"small", 256, 4, 1, 64, 704, 160, 16, 0, 0}, 3, {160, 129, 40}, 1};
static exact_case small_window = {
    {"small, window", 256, 4, 1, 64, 704, 161, 16, 1, 144},
    3,
    {161, 90, 161},
    1};

/* Full groups, ramps, one cell, a last segment that is not full. */
static exact_case large[] = {
    {{"1b", 2048, 32, 8, 64, 8192, 1152, 128, 0, 0}, 2, {1152}, 1},
    {{"1b, sink, alone", 2048, 32, 8, 64, 8192, 1153, 128, 0, 0}, 1, {1153}, 0},
    {{"1b, window and sink", 2048, 32, 8, 64, 8192, 1153, 128, 1, 1024},
     2,
     {1153, 461},
     0},
    {{"heads of 128", 2048, 16, 4, 128, 4096, 1153, 16, 0, 0},
     3,
     {1040, 1153, 300},
     0},
    {{"heads of 128, window", 2048, 16, 4, 128, 4096, 1040, 16, 0, 1024},
     3,
     {1040, 1040, 517},
     1},
    {{"256, a group of 16", 256, 4, 1, 64, 704, 1040, 16, 0, 0},
     16,
     {1040, 530},
     1},
    {{"256, 16 with a window", 256, 4, 1, 64, 704, 1041, 16, 1, 1024},
     16,
     {1041},
     1},
    {{"256, 128 memory tokens", 256, 4, 1, 64, 704, 1152, 128, 0, 0},
     2,
     {1152, 129},
     0},
};

/* A view's numbers on the host. */
typedef struct copy {
    const kernel_view *view;
    float *x;
} copy;

typedef struct exact {
    layer l;
    const exact_case *c;
    kernel_cell cells[MAX_CELL];
    double worst; /* in units */
    const char *what;
    size_t n; /* width of what is checked */
} exact;

static copy
take(const exact *e, const kernel_view *view)
{
    size_t n;

    return (copy){view, layer_take(&e->l, view, &n)};
}

/* Row `row` of what cell `place` has in it. */
static const float *
row_of(const exact *e, const copy *c, uint32_t place, size_t row)
{
    const kernel_cell *cell = &e->cells[place];
    size_t item = c->view->by == KERNEL_BY_LAYER   ? cell->layer
                  : c->view->by == KERNEL_BY_SLOT  ? cell->slot
                  : c->view->by == KERNEL_BY_STATE ? cell->state
                                                   : place;
    return c->x + c->view->offset + item * c->view->stride + row * c->view->ld;
}

/* Runs a part; `fast`: what its launches are on a device that says so. */
static void
run(exact *e, layer_part part, const char *fast)
{
    const char *ran[4] = {"", "", "", ""};
    uint32_t n;

    EXPECT_OK(kernel_begin(e->l.q, e->cells, e->c->n_cell));
    layer_enqueue(&e->l, part);
    EXPECT_OK(kernel_end(e->l.q));
    n = kernel_ran(e->l.q, ran, 4);
    EXPECT_OK(kernel_sync(e->l.q));
    if (n > 0 && strcmp(ran[0], fast) != 0)
        fail_msg("%s, %s: \"%s\" ran instead of \"%s\"", e->c->shape.name,
                 e->what, ran[0], fast);
}

/* out[n] against want[n], n apart `step`: in units of the type. */
static void
judge(exact *e, const float *out, const double *want, size_t n,
      kernel_type type)
{
    double most = 0, error = 0;
    int exponent = 0;

    for (size_t i = 0; i < n; i++) {
        assert_true(isfinite(out[i]));
        most = fmax(most, fabs(want[i]));
        error = fmax(error, fabs((double)out[i] - want[i]));
    }
    (void)frexp(most, &exponent);
    double unit = type == KERNEL_BF16 ? ldexp(1, exponent - 8) : 3e-5 * most;
    if (error / unit > e->worst)
        e->worst = error / unit;
    if (!(error <= unit))
        fail_msg("%s, %s: error %g, largest %g, allowed %g", e->c->shape.name,
                 e->what, error, most, unit);
}

static double
dot(const float *a, const float *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* want[n] = x w^T of a cell. */
static void
product(const exact *e, double *want, const float *x, const copy *w,
        const size_t place_n_k[3])
{
    for (size_t j = 0; j < place_n_k[1]; j++)
        want[j] = dot(x, row_of(e, w, (uint32_t)place_n_k[0], j), place_n_k[2]);
}

static size_t
sampled(const exact *e, uint32_t place, size_t i)
{
    size_t n = e->cells[place].n_row, m = e->cells[place].n_mem;
    const size_t rows[N_ROW] = {0, 1, n / 2, n - m, n - 1};

    return rows[i];
}

/* ------------------------------------------------------- rows of a block ---
 */

typedef void row_fn(exact *e, uint32_t place, size_t row, const copy in[3],
                    double *want);

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
    copy in[3] = {{0}}, out;
    double *want = NULL;

    e->what = s->what;
    e->n = s->n;
    for (size_t i = 0; i < 3 && s->in[i] != NULL; i++)
        in[i] = take(e, s->in[i]);
    run(e, s->part, s->fast);
    out = take(e, s->out);
    EXPECT_OK(mem_new(&want, s->n, sizeof *want));
    for (uint32_t place = 0; place < e->c->n_cell; place++) {
        for (size_t i = 0; i < N_ROW; i++) {
            size_t row = sampled(e, place, i);
            s->fn(e, place, row, in, want);
            judge(e, row_of(e, &out, place, row), want, s->n, s->out->type);
        }
    }
    mem_free(want);
    mem_free(out.x);
    for (size_t i = 0; i < 3; i++)
        mem_free(in[i].x);
}

/* x, w */
static void
norm_row(exact *e, uint32_t place, size_t row, const copy in[3], double *want)
{
    const float *x = row_of(e, &in[0], place, row);
    const float *w = row_of(e, &in[1], place, 0);
    size_t d = e->l.s.d;
    double scale = 1 / sqrt(dot(x, x, d) / (double)d + 1e-5);

    for (size_t i = 0; i < d; i++)
        want[i] = (double)w[i] * (double)x[i] * scale;
}

/* norm, w */
static void
product_row(exact *e, uint32_t place, size_t row, const copy in[3],
            double *want)
{
    const size_t place_n_k[3] = {place, e->n, e->l.s.d};

    product(e, want, row_of(e, &in[0], place, row), &in[1], place_n_k);
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
turned_row(exact *e, uint32_t place, size_t row, const copy in[3], double *want)
{
    product_row(e, place, row, in, want);
    turn(e, row_of(e, &in[2], place, 0), row, want);
}

/* Keys and values that a row sees. */
typedef struct seen {
    const float **k, **v; /* of key head 0 */
    size_t n;
} seen;

/* As kernel.h says of rows, their own cell, and the window. */
static void
look(const exact *e, seen *out, uint32_t place, size_t row, const copy in[3])
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
        out->k[out->n] = row_of(e, &in[0], place, i) + dh;
        out->v[out->n++] = row_of(e, &in[0], place, i) + dh + dkv;
    }
    if (row < s->n_sink)
        return;
    for (size_t i = first; i < c->n_window; i++) {
        out->k[out->n] = row_of(e, &in[1], place, i);
        out->v[out->n++] = row_of(e, &in[2], place, i);
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
        p[j] = dot(q, at->k[j] + column, d) / sqrt((double)d);
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
attention_row(exact *e, uint32_t place, size_t row, const copy in[3],
              double *want)
{
    const layer_shape *s = &e->l.s;
    const float *q = row_of(e, &in[0], place, row);
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
add_row(exact *e, uint32_t place, size_t row, const copy in[3], double *want)
{
    const layer_shape *s = &e->l.s;
    bool is_out = in[0].view == &e->l.attn;
    const float *x = row_of(e, &in[2], place, row);
    const size_t place_n_k[3] = {place, s->d,
                                 is_out ? s->n_head * s->d_head : s->ffn};

    product(e, want, row_of(e, &in[0], place, row), &in[1], place_n_k);
    for (size_t i = 0; i < s->d; i++)
        want[i] += (double)x[i];
}

/* norm, w of gates and values */
static void
swiglu_row(exact *e, uint32_t place, size_t row, const copy in[3], double *want)
{
    const float *x = row_of(e, &in[0], place, row);
    size_t d = e->l.s.d;

    for (size_t j = 0; j < e->n; j++) {
        double gate = dot(x, row_of(e, &in[1], place, j), d);
        double up = dot(x, row_of(e, &in[1], place, e->n + j), d);
        want[j] = gate / (1 + exp(-gate)) * up;
    }
}

static void
check_block(exact *e)
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

/* ---------------------------------------------------------- the memory --- */

/* f[d_key] of a row of x. */
static void
features(const exact *e, const copy *w, uint32_t place, const float *x,
         double *f)
{
    enum { N = 2 * LAYER_D_MEM };
    double u[N];

    for (size_t i = 0; i < LAYER_D_MEM; i++) {
        double p = dot(x, row_of(e, w, place, i), e->l.s.d);
        u[i] = fmax(p, 0);
        u[i + LAYER_D_MEM] = fmax(-p, 0);
    }
    for (size_t j = 1; j <= 3; j++) {
        for (size_t i = 0; i < N; i++)
            f[(j - 1) * N + i] = u[i] * u[(i + N - j) % N];
    }
}

static double
denominator(const double *f, const float *z)
{
    double sum = 1e-5;

    for (size_t i = 0; i < LAYER_D_KEY; i++)
        sum += f[i] * (double)z[i];
    return sum;
}

static double
through(const exact *e, const copy *A, uint32_t place, const double *f,
        size_t col)
{
    double sum = 0;

    for (size_t i = 0; i < LAYER_D_KEY; i++)
        sum += f[i] * (double)row_of(e, A, place, i)[col];
    return sum;
}

static void
check_read(exact *e)
{
    layer *l = &e->l;
    copy x = take(e, &l->x), w = take(e, &l->w_mq), A = take(e, &l->A);
    copy z = take(e, &l->z), out;
    double f[LAYER_D_KEY], *want = NULL;

    e->what = "read";
    run(e, LAYER_RUN_READ, "memory read");
    out = take(e, &l->x);
    EXPECT_OK(mem_new(&want, l->s.d, sizeof *want));
    for (uint32_t place = 0; place < e->c->n_cell; place++) {
        for (size_t i = 0; i < N_ROW; i++) {
            size_t row = sampled(e, place, i);
            const float *before = row_of(e, &x, place, row);
            const float *after = row_of(e, &out, place, row);
            if (e->cells[place].fresh) {
                assert_memory_equal(after, before, l->s.d * sizeof *after);
                continue;
            }
            features(e, &w, place, before, f);
            double den = denominator(f, row_of(e, &z, place, 0));
            for (size_t col = 0; col < l->s.d; col++)
                want[col] =
                    (double)before[col] + through(e, &A, place, f, col) / den;
            judge(e, after, want, l->s.d, l->x.type);
        }
    }
    copy *const all[] = {&x, &w, &A, &z, &out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]->x);
    mem_free(want);
}

/* What goes into a write, and what was there before. */
typedef struct writing {
    copy x, A, z, w_k, w_v, w_b;
    double (*k)[LAYER_D_KEY];
    double *den, *gate, *g; /* of the memory rows */
} writing;

static void
prepare_rows(const exact *e, writing *w, uint32_t place)
{
    const kernel_cell *cell = &e->cells[place];

    for (size_t m = 0; m < cell->n_mem; m++) {
        const float *x = row_of(e, &w->x, place, cell->n_row - cell->n_mem + m);
        double own = 1e-5;
        features(e, &w->w_k, place, x, w->k[m]);
        for (size_t i = 0; i < LAYER_D_KEY; i++)
            own += w->k[m][i] * w->k[m][i];
        w->den[m] = denominator(w->k[m], row_of(e, &w->z, place, 0));
        w->g[m] = cell->fresh ? 1 : fmin(fmax(1 - w->den[m] / own, 0), 1);
        w->gate[m] =
            1 / (1 + exp(-dot(x, row_of(e, &w->w_b, place, 0), e->l.s.d)));
    }
}

/* Column `col` of what A should be. */
static void
column(const exact *e, const writing *w, uint32_t place, size_t col,
       double *want)
{
    const kernel_cell *cell = &e->cells[place];

    for (size_t i = 0; i < LAYER_D_KEY; i++)
        want[i] = (double)row_of(e, &w->A, place, i)[col];
    for (size_t m = 0; m < cell->n_mem; m++) {
        const float *x = row_of(e, &w->x, place, cell->n_row - cell->n_mem + m);
        double v = dot(x, row_of(e, &w->w_v, place, col), e->l.s.d);
        if (!cell->fresh)
            v -= through(e, &w->A, place, w->k[m], col) / w->den[m];
        for (size_t i = 0; i < LAYER_D_KEY; i++)
            want[i] += w->gate[m] * v * w->k[m][i];
    }
}

/* Numbers of fp32 through products of split bf16: 1e-4 of the largest. */
static void
judge_state(exact *e, const char *what, const float *out, const double *want)
{
    double most = 0, error = 0;

    for (size_t i = 0; i < LAYER_D_KEY; i++) {
        most = fmax(most, fabs(want[i]));
        error = fmax(error, fabs((double)out[i] - want[i]));
    }
    if (!(error <= 1e-4 * most))
        fail_msg("%s, %s: error %g, largest %g", e->c->shape.name, what, error,
                 most);
}

static void
check_cell_written(exact *e, const writing *w, uint32_t place, const copy *A,
                   const copy *z)
{
    double want[LAYER_D_KEY];
    float out[LAYER_D_KEY];

    for (size_t col = 0; col < e->l.s.d; col += COL_STEP) {
        column(e, w, place, col, want);
        for (size_t i = 0; i < LAYER_D_KEY; i++)
            out[i] = row_of(e, A, place, i)[col];
        judge_state(e, "A", out, want);
    }
    for (size_t i = 0; i < LAYER_D_KEY; i++) {
        want[i] = (double)row_of(e, &w->z, place, 0)[i];
        for (size_t m = 0; m < e->cells[place].n_mem; m++)
            want[i] += w->g[m] * w->k[m][i];
    }
    judge_state(e, "z", row_of(e, z, place, 0), want);
}

static void
check_write(exact *e)
{
    layer *l = &e->l;
    size_t n = l->s.n_mem;
    writing w = {.x = take(e, &l->x),
                 .A = take(e, &l->A),
                 .z = take(e, &l->z),
                 .w_k = take(e, &l->w_mq),
                 .w_v = take(e, &l->w_mv),
                 .w_b = take(e, &l->w_mb)};
    copy A, z;

    e->what = "write";
    EXPECT_OK(mem_new(&w.k, n, sizeof *w.k));
    EXPECT_OK(mem_new(&w.den, n, sizeof *w.den));
    EXPECT_OK(mem_new(&w.gate, n, sizeof *w.gate));
    EXPECT_OK(mem_new(&w.g, n, sizeof *w.g));
    run(e, LAYER_RUN_WRITE, "memory write");
    A = take(e, &l->A);
    z = take(e, &l->z);
    for (uint32_t place = 0; place < e->c->n_cell; place++) {
        prepare_rows(e, &w, place);
        check_cell_written(e, &w, place, &A, &z);
    }
    float *const all[] = {w.x.x,   w.A.x,   w.z.x, w.w_k.x,
                          w.w_v.x, w.w_b.x, A.x,   z.x};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]);
    mem_free(w.k);
    mem_free(w.den);
    mem_free(w.gate);
    mem_free(w.g);
}

/* --------------------------------------------------------------- cases --- */

/* A cell of a segment, or of the last one, with a full window before it. */
static kernel_cell
cell_of(const exact_case *c, uint32_t i, uint32_t n_row)
{
    bool fresh = i >= c->n_cell - c->fresh;

    return (kernel_cell){.layer = i,
                         .slot = c->n_cell - 1 - i,
                         .state = c->n_cell - 1 - i,
                         .n_row = n_row,
                         .n_prefix = (uint32_t)c->shape.n_sink,
                         .n_mem = (uint32_t)c->shape.n_mem,
                         .n_window = fresh ? 0 : (uint32_t)c->shape.n_window,
                         .fresh = fresh};
}

static void
check_case(const exact_case *c, const char *device)
{
    exact e = {.c = c};
    kernel_device *dev = NULL;
    kernel_queue *q = NULL;

    EXPECT_OK(kernel_open(&dev, &(kernel_config){.device = device}));
    EXPECT_OK(kernel_queue_new(&q, dev));
    layer_init(&e.l, dev, q, &c->shape, c->n_cell, LAYER_KEEP_RESULTS);
    for (uint32_t i = 0, n_row = 0; i < c->n_cell; i++) {
        n_row = c->n_row[i] > 0 ? c->n_row[i] : n_row;
        e.cells[i] = cell_of(c, i, n_row);
    }
    check_read(&e);
    check_block(&e);
    check_write(&e);
    printf("  %s, %s: largest error %.2f units\n", device, c->shape.name,
           e.worst);
    layer_fini(&e.l);
    kernel_queue_free(q);
    kernel_close(dev);
}

static void
test_cpu(void **state)
{
    check_case(*state, "cpu");
}

static bool
has_gpu(void)
{
    kernel_device *dev = NULL;

    if (kernel_open(&dev, &(kernel_config){.device = "cuda"}) != ST_OK)
        return false;
    kernel_close(dev);
    return true;
}

static void
test_gpu(void **state)
{
    if (has_gpu())
        check_case(*state, "cuda");
    else
        printf("  not run: %s\n", status_text());
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest first[] = {
        cmocka_unit_test_prestate(test_cpu, &small),
        cmocka_unit_test_prestate(test_cpu, &small_window),
        cmocka_unit_test_prestate(test_gpu, &small),
        cmocka_unit_test_prestate(test_gpu, &small_window),
    };
    const struct CMUnitTest others[] = {
        cmocka_unit_test_prestate(test_gpu, &large[0]),
        cmocka_unit_test_prestate(test_gpu, &large[1]),
        cmocka_unit_test_prestate(test_gpu, &large[2]),
        cmocka_unit_test_prestate(test_gpu, &large[3]),
        cmocka_unit_test_prestate(test_gpu, &large[4]),
        cmocka_unit_test_prestate(test_gpu, &large[5]),
        cmocka_unit_test_prestate(test_gpu, &large[6]),
        cmocka_unit_test_prestate(test_gpu, &large[7]),
    };
    int n_bad = cmocka_run_group_tests(first, NULL, NULL);

    if (argc == 2 && strcmp(argv[1], "small") == 0)
        return n_bad;
    return n_bad + cmocka_run_group_tests(others, NULL, NULL);
}
