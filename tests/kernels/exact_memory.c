/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the memory, and writing to it. */
#include <math.h>

#include "base/mem.h"
#include "tests/kernels/exact.h"
#include "tests/kernels/rig.h"

enum { COL_STEP = 61 };

/* ---------------------------------------------------------- the memory --- */

/* f[d_key] of a row of x. */
static void
features(const exact *e, const exact_copy *w, uint32_t place, const float *x,
         double *f)
{
    enum { N = 2 * LAYER_D_MEM };
    double u[N];

    for (size_t i = 0; i < LAYER_D_MEM; i++) {
        double p = exact_dot(x, exact_row(e, w, place, i), e->l.s.d);
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
through(const exact *e, const exact_copy *A, uint32_t place, const double *f,
        size_t col)
{
    double sum = 0;

    for (size_t i = 0; i < LAYER_D_KEY; i++)
        sum += f[i] * (double)exact_row(e, A, place, i)[col];
    return sum;
}

void
exact_read(exact *e)
{
    layer *l = &e->l;
    exact_copy x = exact_take(e, &l->x), w = exact_take(e, &l->w_mq),
               A = exact_take(e, &l->A);
    exact_copy z = exact_take(e, &l->z), out;
    double f[LAYER_D_KEY], *want = NULL;

    e->what = "read";
    exact_run_part(e, LAYER_RUN_READ, "memory read");
    out = exact_take(e, &l->x);
    EXPECT_OK(mem_new(&want, l->s.d, sizeof *want));
    for (uint32_t place = 0; place < e->c->n_cell; place++) {
        for (size_t i = 0; i < EXACT_N_ROW; i++) {
            size_t row = exact_sampled(e, place, i);
            const float *before = exact_row(e, &x, place, row);
            const float *after = exact_row(e, &out, place, row);
            if (e->cells[place].fresh) {
                assert_memory_equal(after, before, l->s.d * sizeof *after);
                continue;
            }
            features(e, &w, place, before, f);
            double den = denominator(f, exact_row(e, &z, place, 0));
            for (size_t col = 0; col < l->s.d; col++)
                want[col] =
                    (double)before[col] + through(e, &A, place, f, col) / den;
            exact_judge(e, after, want, l->s.d, l->x.type);
        }
    }
    exact_copy *const all[] = {&x, &w, &A, &z, &out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mem_free(all[i]->x);
    mem_free(want);
}

/* What goes into a write, and what was there before. */
typedef struct writing {
    exact_copy x, A, z, w_k, w_v, w_b;
    double (*k)[LAYER_D_KEY];
    double *den, *gate, *g; /* of the memory rows */
} writing;

static void
prepare_rows(const exact *e, writing *w, uint32_t place)
{
    const kernel_cell *cell = &e->cells[place];

    for (size_t m = 0; m < cell->n_mem; m++) {
        const float *x =
            exact_row(e, &w->x, place, cell->n_row - cell->n_mem + m);
        double own = 1e-5;
        features(e, &w->w_k, place, x, w->k[m]);
        for (size_t i = 0; i < LAYER_D_KEY; i++)
            own += w->k[m][i] * w->k[m][i];
        w->den[m] = denominator(w->k[m], exact_row(e, &w->z, place, 0));
        w->g[m] = cell->fresh ? 1 : fmin(fmax(1 - w->den[m] / own, 0), 1);
        w->gate[m] =
            1 /
            (1 + exp(-exact_dot(x, exact_row(e, &w->w_b, place, 0), e->l.s.d)));
    }
}

/* Column `col` of what A should be. */
static void
column(const exact *e, const writing *w, uint32_t place, size_t col,
       double *want)
{
    const kernel_cell *cell = &e->cells[place];

    for (size_t i = 0; i < LAYER_D_KEY; i++)
        want[i] = (double)exact_row(e, &w->A, place, i)[col];
    for (size_t m = 0; m < cell->n_mem; m++) {
        const float *x =
            exact_row(e, &w->x, place, cell->n_row - cell->n_mem + m);
        double v = exact_dot(x, exact_row(e, &w->w_v, place, col), e->l.s.d);
        if (!cell->fresh)
            v -= through(e, &w->A, place, w->k[m], col) / w->den[m];
        for (size_t i = 0; i < LAYER_D_KEY; i++)
            want[i] += w->gate[m] * v * w->k[m][i];
    }
}

/* Numbers of fp32 through products of split bf16: 1e-4 of the largest, and one
 * rounding of each where it is kept in bf16. */
static void
judge_state(exact *e, const char *what, const float *out, const double *want,
            kernel_type type)
{
    double half_ulp = type == KERNEL_BF16 ? 0x1p-8 : 0, most = 0, error = 0;

    for (size_t i = 0; i < LAYER_D_KEY; i++) {
        most = fmax(most, fabs(want[i]));
        error = fmax(error,
                     fabs((double)out[i] - want[i]) - half_ulp * fabs(want[i]));
    }
    if (!(error <= 1e-4 * most))
        fail_msg("%s, %s: error %g, largest %g", e->c->shape.name, what, error,
                 most);
}

static void
check_cell_written(exact *e, const writing *w, uint32_t place,
                   const exact_copy *A, const exact_copy *z)
{
    double want[LAYER_D_KEY];
    float out[LAYER_D_KEY];

    for (size_t col = 0; col < e->l.s.d; col += COL_STEP) {
        column(e, w, place, col, want);
        for (size_t i = 0; i < LAYER_D_KEY; i++)
            out[i] = exact_row(e, A, place, i)[col];
        judge_state(e, "A", out, want, e->l.A.type);
    }
    for (size_t i = 0; i < LAYER_D_KEY; i++) {
        want[i] = (double)exact_row(e, &w->z, place, 0)[i];
        for (size_t m = 0; m < e->cells[place].n_mem; m++)
            want[i] += w->g[m] * w->k[m][i];
    }
    judge_state(e, "z", exact_row(e, z, place, 0), want, KERNEL_F32);
}

void
exact_write(exact *e)
{
    layer *l = &e->l;
    size_t n = l->s.n_mem;
    writing w = {.x = exact_take(e, &l->x),
                 .A = exact_take(e, &l->A),
                 .z = exact_take(e, &l->z),
                 .w_k = exact_take(e, &l->w_mq),
                 .w_v = exact_take(e, &l->w_mv),
                 .w_b = exact_take(e, &l->w_mb)};
    exact_copy A, z;

    e->what = "write";
    EXPECT_OK(mem_new(&w.k, n, sizeof *w.k));
    EXPECT_OK(mem_new(&w.den, n, sizeof *w.den));
    EXPECT_OK(mem_new(&w.gate, n, sizeof *w.gate));
    EXPECT_OK(mem_new(&w.g, n, sizeof *w.g));
    exact_run_part(e, LAYER_RUN_WRITE, "memory write");
    A = exact_take(e, &l->A);
    z = exact_take(e, &l->z);
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
