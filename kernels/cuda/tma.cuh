/* SPDX-License-Identifier: Apache-2.0 */
/* Hopper's instructions as functions: barriers in shared memory, and copies of
 * tensors (PTX ISA 8.0, sections 9.7.8 and 9.7.12). */
#ifndef KERNELS_CUDA_TMA_CUH
#define KERNELS_CUDA_TMA_CUH

#include <cuda.h>

#include "kernels/cuda/view.cuh"

/* ------------------------------------------------------------ barriers --- */

__device__ inline uint32_t
shared_address(const void *p)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

__device__ inline void
barrier_init(uint64_t *bar, uint32_t count)
{
    asm volatile(
        "mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(bar)),
        "r"(count));
}

__device__ inline void
barrier_expect(uint64_t *bar, uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                     shared_address(bar)),
                 "r"(bytes)
                 : "memory");
}

__device__ inline void
barrier_arrive(uint64_t *bar)
{
    asm volatile(
        "mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(bar))
        : "memory");
}

/* On the barrier of another block of the cluster. */
__device__ inline void
barrier_arrive_at(uint64_t *bar, uint32_t block)
{
    asm volatile("{\n"
                 ".reg .b32 remote;\n"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
                 "}" ::"r"(shared_address(bar)),
                 "r"(block)
                 : "memory");
}

__device__ inline void
barrier_wait(uint64_t *bar, uint32_t parity)
{
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again%=:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@done bra over%=;\n"
                 "bra again%=;\n"
                 "over%=:\n"
                 "}" ::"r"(shared_address(bar)),
                 "r"(parity)
                 : "memory");
}

/* Among the threads of one warp group. */
__device__ inline void
group_sync(uint32_t id)
{
    asm volatile("bar.sync %0, 128;" ::"r"(id) : "memory");
}

__device__ inline void
cluster_sync()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\n"
                 "barrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}

__device__ inline uint32_t
cluster_rank()
{
    uint32_t rank;

    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

/* -------------------------------------------------------------- copies --- */

/* The box of a map at (col, row, item) into shared memory. */
__device__ inline void
tensor_load(void *to, const CUtensorMap *map, uint64_t *bar, uint32_t col,
            uint32_t row, uint32_t item)
{
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile."
        "mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(
            shared_address(to)),
        "l"(map), "r"(shared_address(bar)), "r"(col), "r"(row), "r"(item)
        : "memory");
}

/* The same into the blocks of `mask`, at the same place of each. */
__device__ inline void
tensor_load_all(void *to, const CUtensorMap *map, uint64_t *bar, uint32_t col,
                uint32_t row, uint32_t item, uint16_t mask)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile."
                 "mbarrier::complete_tx::bytes.multicast::cluster [%0], "
                 "[%1, {%3, %4, %5}], [%2], %6;" ::"r"(shared_address(to)),
                 "l"(map), "r"(shared_address(bar)), "r"(col), "r"(row),
                 "r"(item), "h"(mask)
                 : "memory");
}

__device__ inline void
tensor_prefetch_map(const CUtensorMap *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

#endif
