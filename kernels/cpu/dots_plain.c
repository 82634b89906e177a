/* SPDX-License-Identifier: Apache-2.0 */
/* Dot products for every CPU. */
#include "kernels/cpu/dots_body.h"

DOTS_BODY(f32, KERNEL_F32)
DOTS_BODY(bf16, KERNEL_BF16)
DOTS_BODY(f16, KERNEL_F16)
DOTS_BODY(i8, KERNEL_I8)

const dots_set dots_plain[KERNEL_I8 + 1] = DOTS_TABLE;
