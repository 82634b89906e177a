/* SPDX-License-Identifier: Apache-2.0 */
/* The BLAS, if this build has one: the only place that knows it. */
#ifndef KERNELS_CPU_BLAS_H
#define KERNELS_CPU_BLAS_H

#include <stdbool.h>

#include "kernels/cpu/product.h"

bool blas_present(void);

/* Once for each device, before the first product: one thread a call. */
void blas_open(void);

/* "OpenBLAS SkylakeX"; "no BLAS". */
const char *blas_name(void);

/* Only where a BLAS is present. */
void blas_run(const product *p);

#endif
