/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of kernel_fill(): the same bits as on a CPU (kernels/random.h). */
#include "kernels/cuda/view.cuh"
#include "kernels/random.h"

namespace
{

template <class T>
__global__ void
random_kernel(T *out, size_t n, kernel_random law)
{
    size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;

    for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x;
         i < n; i += step) {
        uint64_t bits = random_mix(law.key + law.first + i);
        float spread =
            __fmul_rn(static_cast<float>(random_sum(bits)), RANDOM_UNIT);

        out[i] =
            from_float<T>(__fadd_rn(law.mean, __fmul_rn(law.spread, spread)));
    }
}

} // namespace

cudaError_t
cuda_random(cudaStream_t stream, void *out, kernel_type type, size_t n,
            const kernel_random *law)
{
    return with_type(type, [&](auto t) {
        using T = decltype(t);
        random_kernel<<<1024, 256, 0, stream>>>(static_cast<T *>(out), n, *law);
    });
}
