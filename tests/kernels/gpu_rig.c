/* SPDX-License-Identifier: Apache-2.0 */
/* A GPU for tests of its launches. */
#include "tests/kernels/gpu_rig.h"

#include <math.h>
#include <stdio.h>

#include "base/bf16.h"
#include "base/mem.h"

bool
gpu_rig_skips(void)
{
    const kernel_config cfg = {.device = "cuda"};
    kernel_device *dev = NULL;

    if (kernel_open(&dev, &cfg) != ST_OK) {
        printf("skipped: %s\n", status_text());
        return true;
    }
    kernel_close(dev);
    return false;
}

void
gpu_rig_open(kernel_device **dev, kernel_queue **q, bool plain)
{
    const kernel_config cfg = {.device = "cuda", .plain = plain};

    EXPECT_OK(kernel_open(dev, &cfg));
    EXPECT_OK(kernel_queue_new(q, *dev));
}

void
gpu_rig_close(kernel_device *dev, kernel_queue *q)
{
    kernel_queue_free(q);
    kernel_close(dev);
}

float *
gpu_rig_take(kernel_queue *q, const kernel_view *v, size_t first, size_t n)
{
    size_t size = kernel_type_size(v->type);
    float *x = NULL;

    assert_true(v->type == KERNEL_F32 || v->type == KERNEL_BF16);
    EXPECT_OK(mem_new(&x, n, sizeof *x));
    EXPECT_OK(kernel_copy_out(q, x, v->buf, first * size, n * size));
    EXPECT_OK(kernel_sync(q));
    if (v->type == KERNEL_BF16)
        bf16_to_floats(x, n);
    return x;
}

double
gpu_rig_difference(const float *a, const float *b, const float *before,
                   size_t n)
{
    double error = 0.0, all = 0.0;

    for (size_t i = 0; i < n; i++) {
        double e = (double)a[i] - (double)b[i];
        double c = (double)b[i] - (before != NULL ? (double)before[i] : 0.0);

        error += e * e;
        all += c * c;
    }
    return error == 0.0 ? 0.0 : sqrt(error / all);
}
