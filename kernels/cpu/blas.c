/* SPDX-License-Identifier: Apache-2.0 */
/* OpenBLAS. */
#include "kernels/cpu/blas.h"

#include <cblas.h>
#include <stdio.h>

bool
blas_present(void)
{
    return true;
}

void
blas_open(void)
{
    openblas_set_num_threads(1);
}

const char *
blas_name(void)
{
    static _Thread_local char name[64];

    (void)snprintf(name, sizeof(name), "OpenBLAS %s", openblas_get_corename());
    return name;
}

void
blas_run(const product *p)
{
    cblas_sgemm(CblasRowMajor, p->a_t ? CblasTrans : CblasNoTrans,
                p->b_t ? CblasTrans : CblasNoTrans, (blasint)p->m,
                (blasint)p->n, (blasint)p->k, p->alpha, p->a, (blasint)p->lda,
                p->b, (blasint)p->ldb, p->accumulate ? 1.0F : 0.0F, p->c,
                (blasint)p->ldc);
}
