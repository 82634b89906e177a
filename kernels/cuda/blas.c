/* SPDX-License-Identifier: Apache-2.0 */
/* cuBLASLt: products of evenly spaced operands, and the yardstick.
 *
 * For a shape the library names its best algorithm for one product, and that
 * one also computes many of them, so that bits do not depend on how many. */
#include <cublasLt.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kernels/cuda/host.h"

enum { WORKSPACE = 32 << 20, MAX_KNOWN = 64 };

typedef struct known {
    cuda_blas_product shape; /* pointers NULL, steps 0, n_batch 1 */
    cublasLtMatmulAlgo_t algo;
} known;

struct cuda_blas {
    cublasLtHandle_t handle;
    void *workspace;
    known known[MAX_KNOWN];
    uint32_t n_known;
};

typedef struct plan {
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t x, w, out;
} plan;

static status
blas_status(cublasStatus_t code, const char *what)
{
    if (code == CUBLAS_STATUS_SUCCESS)
        return ST_OK;
    return status_fail(ST_DEVICE, "%s: cuBLAS says %d", what, (int)code);
}

status
cuda_blas_open(cuda_blas **out)
{
    cuda_blas *blas = NULL;
    status st;

    TRY(mem_new(&blas, 1, sizeof(*blas)));
    TRY(blas_status(cublasLtCreate(&blas->handle), "no cuBLAS"));
    *out = blas;
    return ST_OK;
fail:
    cuda_blas_close(blas);
    return st;
}

void
cuda_blas_close(cuda_blas *blas)
{
    if (blas == NULL)
        return;
    if (blas->handle != NULL)
        (void)cublasLtDestroy(blas->handle);
    (void)cudaFree(blas->workspace);
    mem_free(blas);
}

/* ---------------------------------------------------------------- plans --- */

static void
plan_fini(plan *p)
{
    if (p->out != NULL)
        (void)cublasLtMatrixLayoutDestroy(p->out);
    if (p->w != NULL)
        (void)cublasLtMatrixLayoutDestroy(p->w);
    if (p->x != NULL)
        (void)cublasLtMatrixLayoutDestroy(p->x);
    if (p->op != NULL)
        (void)cublasLtMatmulDescDestroy(p->op);
    *p = (plan){0};
}

/* A matrix of n_row rows, which the library sees as its transpose. */
static status
layout(cublasLtMatrixLayout_t *out, kernel_type type,
       const size_t row_col_ld[3], uint32_t n_batch, int64_t step)
{
    int32_t n = (int32_t)n_batch;
    status st;

    TRY(blas_status(cublasLtMatrixLayoutCreate(
                        out, type == KERNEL_BF16 ? CUDA_R_16BF : CUDA_R_32F,
                        row_col_ld[1], row_col_ld[0], (int64_t)row_col_ld[2]),
                    "layout"));
    TRY(blas_status(cublasLtMatrixLayoutSetAttribute(
                        *out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &n, sizeof n),
                    "layout"));
    TRY(blas_status(cublasLtMatrixLayoutSetAttribute(
                        *out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                        &step, sizeof step),
                    "layout"));
fail:
    return st;
}

/* out^T = w x^T, which is what rows behind each other mean to the library. */
static status
plan_init(plan *p, const cuda_blas_product *s)
{
    cublasOperation_t across = CUBLAS_OP_T;
    cublasComputeType_t sums = s->type == KERNEL_BF16
                                   ? CUBLAS_COMPUTE_32F
                                   : CUBLAS_COMPUTE_32F_PEDANTIC;
    status st;

    *p = (plan){0};
    TRY(blas_status(cublasLtMatmulDescCreate(&p->op, sums, CUDA_R_32F),
                    "product"));
    TRY(blas_status(cublasLtMatmulDescSetAttribute(p->op,
                                                   CUBLASLT_MATMUL_DESC_TRANSA,
                                                   &across, sizeof across),
                    "product"));
    TRY(layout(&p->w, s->type, (size_t[3]){s->n, s->k, s->ld_w}, s->n_batch,
               s->step_w));
    TRY(layout(&p->x, s->type, (size_t[3]){s->m, s->k, s->ld_x}, s->n_batch,
               s->step_x));
    TRY(layout(&p->out, s->out_type, (size_t[3]){s->m, s->n, s->ld_out},
               s->n_batch, s->step_out));
    return ST_OK;
fail:
    plan_fini(p);
    return st;
}

static cuda_blas_product
shape_of(const cuda_blas_product *p)
{
    cuda_blas_product s = *p;

    s.x = s.w = NULL;
    s.out = NULL;
    s.step_x = s.step_w = s.step_out = 0;
    s.n_batch = 1;
    return s;
}

static bool
same_shape(const cuda_blas_product *a, const cuda_blas_product *b)
{
    return a->type == b->type && a->out_type == b->out_type && a->m == b->m &&
           a->n == b->n && a->k == b->k && a->ld_x == b->ld_x &&
           a->ld_w == b->ld_w && a->ld_out == b->ld_out &&
           a->accumulate == b->accumulate;
}

static status
ask(cuda_blas *blas, const cuda_blas_product *shape, cublasLtMatmulAlgo_t *out)
{
    cublasLtMatmulPreference_t wish = NULL;
    cublasLtMatmulHeuristicResult_t found;
    size_t room = WORKSPACE;
    plan one = {0};
    int n = 0;
    status st;

    TRY(plan_init(&one, shape));
    TRY(blas_status(cublasLtMatmulPreferenceCreate(&wish), "product"));
    TRY(blas_status(
        cublasLtMatmulPreferenceSetAttribute(
            wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room),
        "product"));
    TRY(blas_status(cublasLtMatmulAlgoGetHeuristic(blas->handle, one.op, one.w,
                                                   one.x, one.out, one.out,
                                                   wish, 1, &found, &n),
                    "no algorithm for a product"));
    if (n == 0)
        TRY(status_fail(ST_DEVICE, "cuBLAS has no algorithm for a product"));
    *out = found.algo;
fail:
    if (wish != NULL)
        (void)cublasLtMatmulPreferenceDestroy(wish);
    plan_fini(&one);
    return st;
}

static status
algorithm_of(cuda_blas *blas, const cuda_blas_product *p,
             cublasLtMatmulAlgo_t *out)
{
    cuda_blas_product shape = shape_of(p);
    status st;

    for (uint32_t i = 0; i < blas->n_known; i++)
        if (same_shape(&blas->known[i].shape, &shape)) {
            *out = blas->known[i].algo;
            return ST_OK;
        }
    if (blas->workspace == NULL)
        TRY(cuda_status(cudaMalloc(&blas->workspace, WORKSPACE),
                        "no room for products"));
    TRY(ask(blas, &shape, out));
    if (blas->n_known < MAX_KNOWN)
        blas->known[blas->n_known++] = (known){shape, *out};
fail:
    return st;
}

status
cuda_blas_run(cuda_blas *blas, cudaStream_t stream, const cuda_blas_product *p)
{
    const float one = 1.0F, beta = p->accumulate ? 1.0F : 0.0F;
    cublasLtMatmulAlgo_t algo;
    plan all = {0};
    status st;

    TRY(algorithm_of(blas, p, &algo));
    TRY(plan_init(&all, p));
    TRY(blas_status(cublasLtMatmul(blas->handle, all.op, &one, p->w, all.w,
                                   p->x, all.x, &beta, p->out, all.out, p->out,
                                   all.out, &algo, blas->workspace, WORKSPACE,
                                   stream),
                    "product"));
fail:
    plan_fini(&all);
    return st;
}

/* ------------------------------------------------------------- measure --- */

typedef struct yardstick {
    cuda_blas_product p;
    void *data;
    cudaStream_t stream;
    cudaEvent_t start, end;
} yardstick;

static void
yardstick_fini(yardstick *y)
{
    if (y->end != NULL)
        (void)cudaEventDestroy(y->end);
    if (y->start != NULL)
        (void)cudaEventDestroy(y->start);
    if (y->stream != NULL)
        (void)cudaStreamDestroy(y->stream);
    (void)cudaFree(y->data);
}

static status
yardstick_init(yardstick *y, kernel_type type, const size_t mnk[3])
{
    size_t size = kernel_type_size(type), m = mnk[0], n = mnk[1], k = mnk[2];
    const kernel_random law = {.key = 7, .spread = 1.0F};
    size_t n_in = (m + n) * k;
    char *data;
    status st;

    *y = (yardstick){0};
    TRY(cuda_status(cudaMalloc(&y->data, (n_in + m * n) * size),
                    "no room to measure products"));
    data = y->data;
    TRY(cuda_status(
        cudaStreamCreateWithFlags(&y->stream, cudaStreamNonBlocking),
        "no stream"));
    TRY(cuda_status(cudaEventCreate(&y->start), "no event"));
    TRY(cuda_status(cudaEventCreate(&y->end), "no event"));
    TRY(cuda_status(cuda_random(y->stream, data, type, n_in, &law), "filling"));
    y->p = (cuda_blas_product){.x = data,
                               .w = data + m * k * size,
                               .out = data + n_in * size,
                               .type = type,
                               .out_type = type,
                               .m = m,
                               .n = n,
                               .k = k,
                               .ld_x = k,
                               .ld_w = k,
                               .ld_out = n,
                               .n_batch = 1};
fail:
    return st;
}

/* Seconds that `n` products take. */
static status
time_products(cuda_blas *blas, yardstick *y, uint32_t n, double *seconds)
{
    float ms = 0.0F;
    status st;

    TRY(cuda_status(cudaEventRecord(y->start, y->stream), "measuring"));
    for (uint32_t i = 0; i < n; i++)
        TRY(cuda_blas_run(blas, y->stream, &y->p));
    TRY(cuda_status(cudaEventRecord(y->end, y->stream), "measuring"));
    TRY(cuda_status(cudaEventSynchronize(y->end), "measuring"));
    TRY(cuda_status(cudaEventElapsedTime(&ms, y->start, y->end), "measuring"));
    *seconds = (double)ms * 1e-3;
fail:
    return st;
}

/* A second of products after half a second that does not count: what a hot
 * device holds, and not its first moment.  Small products: n_run of them. */
status
cuda_blas_measure(cuda_blas *blas, kernel_type type, const size_t mnk[3],
                  uint32_t n_run, double *flops)
{
    const double each = 2.0 * (double)mnk[0] * (double)mnk[1] * (double)mnk[2];
    double all = 0.0, seconds = 0.0;
    uint32_t n_done = 0;
    yardstick y;
    status st;

    TRY(yardstick_init(&y, type, mnk));
    for (double until = clock_seconds() + 0.5; clock_seconds() < until;)
        TRY(time_products(blas, &y, n_run, &seconds));
    for (; all < 1.0; all += seconds) {
        TRY(time_products(blas, &y, n_run, &seconds));
        n_done += n_run;
    }
    *flops = each * n_done / all;
fail:
    yardstick_fini(&y);
    return st;
}
