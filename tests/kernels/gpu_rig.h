/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of a GPU's launches share: the GPU with its fast launches or
 * with kernels for any shape alone, what is left in a buffer, and how far two
 * results are apart. */
#ifndef TESTS_KERNELS_GPU_RIG_H
#define TESTS_KERNELS_GPU_RIG_H

#include "kernels/kernel_ops.h"
#include "tests/expect.h"

/* Whether there is no GPU to test on; says why.  main() then returns 77. */
bool gpu_rig_skips(void);

/* In bf16; `plain`: by kernels for any shape, which the other tests here hold
 * against sums in double. */
void gpu_rig_open(kernel_device **dev, kernel_queue **q, bool plain);
void gpu_rig_close(kernel_device *dev, kernel_queue *q);

/* n numbers of a view's buffer from number `first` on, which must not be
 * scratch, as floats on the host; mem_free().  Floats of bf16 are equal where
 * the bits were.  Waits for what was enqueued. */
float *gpu_rig_take(kernel_queue *q, const kernel_view *v, size_t first,
                    size_t n);

/* |a - b| beside |b - before|; before NULL: beside |b|. */
double gpu_rig_difference(const float *a, const float *b, const float *before,
                          size_t n);

#endif
