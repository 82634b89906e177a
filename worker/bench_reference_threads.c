/* SPDX-License-Identifier: Apache-2.0 */
/* Products in double on several threads: for checks, so plain. */
#include <pthread.h>

#include "base/mem.h"
#include "worker/bench_reference.h"

enum { MAX_THREAD = 256, LANE = 4, COLUMN = 4 };

/* ------------------------------------------------------------- threads --- */

/* Every n_thread-th item from `first` on. */
typedef struct share {
    void (*f)(void *ctx, size_t i);
    void *ctx;
    size_t first, n, step;
    pthread_t thread;
} share;

static void *
work(void *at)
{
    const share *s = at;
    for (size_t i = s->first; i < s->n; i += s->step)
        s->f(s->ctx, i);
    return NULL;
}

status
bench_reference_each(void (*f)(void *ctx, size_t i), void *ctx, size_t n,
                     uint32_t n_thread)
{
    size_t step = n_thread < MAX_THREAD ? n_thread : MAX_THREAD, started = 1;
    share *shares = NULL;
    status st = ST_OK;

    step = step < n ? step : n;
    if (n == 0)
        return ST_OK;
    TRY(mem_new(&shares, step, sizeof *shares));
    for (size_t i = 0; i < step; i++)
        shares[i] = (share){f, ctx, i, n, step, 0};
    for (; started < step && st == ST_OK; started++) {
        share *s = &shares[started];
        if (pthread_create(&s->thread, NULL, work, s) != 0)
            st = status_fail(ST_NOMEM, "no more threads");
        started -= st != ST_OK;
    }
    (void)work(&shares[0]);
    for (size_t i = 1; i < started; i++)
        (void)pthread_join(shares[i].thread, NULL);
fail:
    mem_free(shares);
    return st;
}

/* ------------------------------------------------------------- product --- */

/* out[c] = x . w[c], in lanes that a compiler makes vectors of. */
static void
dots(double out[COLUMN], const double *x, const double *w, size_t k)
{
    double sum[COLUMN][LANE] = {{0}};
    size_t i = 0;

    for (; i + LANE <= k; i += LANE) {
        for (size_t c = 0; c < COLUMN; c++) {
            for (size_t l = 0; l < LANE; l++)
                sum[c][l] += x[i + l] * w[c * k + i + l];
        }
    }
    for (size_t c = 0; c < COLUMN; c++) {
        out[c] = sum[c][0] + sum[c][1] + sum[c][2] + sum[c][3];
        for (size_t j = i; j < k; j++)
            out[c] += x[j] * w[c * k + j];
    }
}

typedef struct product_job {
    const bench_reference_product *p;
    size_t n_part;
    double *wide; /* [n_part, COLUMN, k] */
} product_job;

/* A part of the rows of x, with all columns. */
static void
product_part(void *ctx, size_t part)
{
    const product_job *job = ctx;
    const bench_reference_product *p = job->p;
    size_t first = p->n_x * part / job->n_part;
    size_t end = p->n_x * (part + 1) / job->n_part;
    double *w = job->wide + part * COLUMN * p->k;

    for (size_t col = 0; col < p->n; col += COLUMN) {
        size_t n = p->n - col < COLUMN ? p->n - col : COLUMN;
        for (size_t i = 0; i < n * p->k; i++)
            w[i] = (double)p->w[col * p->k + i];
        for (size_t row = first; row < end; row++) {
            double out[COLUMN];
            dots(out, p->x + row * p->k, w, p->k);
            for (size_t c = 0; c < n; c++)
                p->out[row * p->n + col + c] = out[c];
        }
    }
}

status
bench_reference_multiply(const bench_reference_product *p, uint32_t n_thread)
{
    product_job job = {.p = p, .n_part = n_thread};
    status st = ST_OK;

    TRY(mem_new(&job.wide, job.n_part, COLUMN * p->k * sizeof *job.wide));
    TRY(bench_reference_each(product_part, &job, job.n_part, n_thread));
fail:
    mem_free(job.wide);
    return st;
}
