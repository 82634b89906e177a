/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers on the host, and how far they may be off. */
#include "tests/kernels/exact.h"

#include <math.h>
#include <string.h>

#include "tests/kernels/rig.h"

exact_copy
exact_take(const exact *e, const kernel_view *view)
{
    size_t n;

    return (exact_copy){view, layer_take(&e->l, view, &n)};
}

const float *
exact_row(const exact *e, const exact_copy *c, uint32_t place, size_t row)
{
    const kernel_cell *cell = &e->cells[place];
    size_t item = c->view->by == KERNEL_BY_LAYER   ? cell->layer
                  : c->view->by == KERNEL_BY_SLOT  ? cell->slot
                  : c->view->by == KERNEL_BY_STATE ? cell->state
                                                   : place;
    return c->x + c->view->offset + item * c->view->stride + row * c->view->ld;
}

void
exact_run_part(exact *e, layer_part part, const char *fast)
{
    const char *ran[4] = {"", "", "", ""};
    kernel_info info;
    uint32_t n;

    kernel_info_get(e->l.dev, &info);
    if (info.any_shape)
        fast = "any shape";
    EXPECT_OK(kernel_begin(e->l.q, e->cells, e->c->n_cell));
    layer_enqueue(&e->l, part);
    EXPECT_OK(kernel_end(e->l.q));
    n = kernel_ran(e->l.q, ran, 4);
    EXPECT_OK(kernel_sync(e->l.q));
    if (n > 0 && strcmp(ran[0], fast) != 0)
        fail_msg("%s, %s: \"%s\" ran instead of \"%s\"", e->c->shape.name,
                 e->what, ran[0], fast);
    /* What is behind these products is rounded with them, on any GPU. */
    if (n > 1 && (part == LAYER_RUN_QKV || part == LAYER_RUN_MLP))
        fail_msg("%s, %s: not done at once", e->c->shape.name, e->what);
}

void
exact_judge(exact *e, const float *out, const double *want, size_t n,
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

double
exact_dot(const float *a, const float *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

void
exact_product(const exact *e, double *want, const float *x, const exact_copy *w,
              const size_t place_n_k[3])
{
    for (size_t j = 0; j < place_n_k[1]; j++)
        want[j] = exact_dot(x, exact_row(e, w, (uint32_t)place_n_k[0], j),
                            place_n_k[2]);
}

size_t
exact_sampled(const exact *e, uint32_t place, size_t i)
{
    size_t n = e->cells[place].n_row, m = e->cells[place].n_mem;
    const size_t rows[EXACT_N_ROW] = {0, 1, n / 2, n - m, n - 1};

    return rows[i];
}
