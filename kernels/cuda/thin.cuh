/* SPDX-License-Identifier: Apache-2.0 */
/* What launches for single rows share: how they begin while the one before
 * them still runs. */
#ifndef KERNELS_CUDA_THIN_CUH
#define KERNELS_CUDA_THIN_CUH

#include "kernels/cuda/thin.h"
#include "kernels/cuda/thin_shared.h"
#include "kernels/cuda/view.cuh"

struct alignas(16) Eight {
    bf16 at[8];
};

/* Arithmetic of launches for single rows and of phases that have their bits. */
__device__ inline float
thin_squares(const Eight &x, float sum)
{
#pragma unroll
    for (int i = 0; i < 8; i++)
        sum = fmaf(to_float(x.at[i]), to_float(x.at[i]), sum);
    return sum;
}

__device__ inline Eight
thin_scaled(const Eight &x, const Eight &scale, float factor)
{
    Eight y;

#pragma unroll
    for (int i = 0; i < 8; i++)
        y.at[i] = from_float<bf16>(to_float(scale.at[i]) *
                                   (to_float(x.at[i]) * factor));
    return y;
}

__device__ inline float
thin_swiglu(float gate, float value)
{
    return __fdividef(gate, 1.0F + __expf(-gate)) * value;
}

/* What the launches before this one wrote is there from here on. */
__device__ inline void
thin_wait()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* Of a launch; `chained` as thin.h says. */
struct ThinGrid {
    bool chained;
    dim3 blocks;
    uint32_t threads;
    size_t shared;
};

template <class... P, class... A>
static inline cudaError_t
thin_launch(const cuda_launch *at, const ThinGrid &g, void (*kernel)(P...),
            A... args)
{
    cudaLaunchAttribute early;
    cudaLaunchConfig_t cfg = {};

    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cfg.gridDim = g.blocks;
    cfg.blockDim = dim3(g.threads);
    cfg.dynamicSmemBytes = g.shared;
    cfg.stream = at->stream;
    cfg.attrs = &early;
    cfg.numAttrs = g.chained && at->arch >= 90 ? 1 : 0;
    return cudaLaunchKernelEx(&cfg, kernel, args...);
}

#endif
