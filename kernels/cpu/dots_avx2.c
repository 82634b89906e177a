/* SPDX-License-Identifier: Apache-2.0 */
/* Dot products with AVX2, FMA and F16C: CMake compiles this file for them. */
#include "kernels/cpu/dots.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "kernels/cpu/dots_body.h"

DOTS_BODY(f32, KERNEL_F32)
DOTS_BODY(bf16, KERNEL_BF16)
DOTS_BODY(f16, KERNEL_F16)
DOTS_BODY(i8, KERNEL_I8)

const dots_set dots_avx2[KERNEL_I8 + 1] = DOTS_TABLE;
#else
const dots_set dots_avx2[KERNEL_I8 + 1] = {{0}};
#endif
