/* SPDX-License-Identifier: Apache-2.0 */
/* A build without BLAS. */
#include "base/status.h"
#include "kernels/cpu/blas.h"

bool
blas_present(void)
{
    return false;
}

void
blas_open(void)
{
}

const char *
blas_name(void)
{
    return "no BLAS";
}

void
blas_run(const product *p)
{
    (void)p;
    ASSERT(!"reached");
}
