/* SPDX-License-Identifier: Apache-2.0 */
/* Products of warp groups (PTX ISA 8.0, section 9.7.15), only for sm_90a. */
#ifndef KERNELS_CUDA_WGMMA_CUH
#define KERNELS_CUDA_WGMMA_CUH

#include "kernels/cuda/tma.cuh"

/* Matrices of 128-byte rows, swizzled by the copy; 8 rows are 1024 bytes. */
__device__ inline uint64_t
matrix_at(const void *p)
{
    uint64_t at = shared_address(p);

    return (at & 0x3FFFF) >> 4 | uint64_t{1} << 16 | uint64_t{64} << 32 |
           uint64_t{1} << 62;
}

/* One whose columns run along k, panels of 64 columns `panel` bytes apart. */
__device__ inline uint64_t
matrix_across(const void *p, uint32_t panel)
{
    uint64_t at = shared_address(p);

    return (at & 0x3FFFF) >> 4 | static_cast<uint64_t>(panel >> 4) << 16 |
           uint64_t{64} << 32 | uint64_t{1} << 62;
}

__device__ inline void
product_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ inline void
product_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int N>
__device__ inline void
product_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

/* Sums of 64 rows and N columns, N / 2 a thread: number 4 j + i is in row
 * 16 warp + lane / 4 + 8 (i / 2), column 8 j + 2 (lane % 4) + i % 2. */
template <int N> struct Sums {
    float at[N / 2];
};

/* Operands of instructions: d[i] .. of a thread's sums, and their names. */
#define SUMS_4(i)                                                              \
    "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3])
#define SUMS_16(i)  SUMS_4(i), SUMS_4((i) + 4), SUMS_4((i) + 8), SUMS_4((i) + 12)
#define SUMS_32(i)  SUMS_16(i), SUMS_16((i) + 16)
#define SUMS_64(i)  SUMS_32(i), SUMS_32((i) + 32)
#define SUMS_128(i) SUMS_64(i), SUMS_64((i) + 64)
#define SUMS_32_NAMES                                                          \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "   \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "   \
    "%30, %31"
#define SUMS_64_NAMES                                                          \
    SUMS_32_NAMES ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, "  \
                  "%43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, "    \
                  "%54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SUMS_128_NAMES                                                         \
    SUMS_64_NAMES                                                              \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, "      \
    "%77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, "        \
    "%90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, "     \
    "%103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, "       \
    "%114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, "       \
    "%125, %126, %127"

/* d = (add ? d : 0) + a b^T over 16 numbers of k; a and b in shared memory. */
__device__ inline void
product_step(Sums<64> &sums, uint64_t a, uint64_t b, bool add)
{
    float *d = sums.at;

    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "setp.ne.b32 p, %34, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" SUMS_32_NAMES
        "}, %32, %33, p, 1, 1, 0, 0;\n"
        "}"
        : SUMS_32(0)
        : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

__device__ inline void
product_step(Sums<128> &sums, uint64_t a, uint64_t b, bool add)
{
    float *d = sums.at;

    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "setp.ne.b32 p, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" SUMS_64_NAMES
        "}, %64, %65, p, 1, 1, 0, 0;\n"
        "}"
        : SUMS_64(0)
        : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

__device__ inline void
product_step(Sums<256> &sums, uint64_t a, uint64_t b, bool add)
{
    float *d = sums.at;

    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "setp.ne.b32 p, %130, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" SUMS_128_NAMES
        "}, %128, %129, p, 1, 1, 0, 0;\n"
        "}"
        : SUMS_128(0)
        : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

/* a in registers, as a thread holds sums rounded in pairs; b across. */
__device__ inline void
product_step_across(Sums<64> &sums, const uint32_t (&a)[4], uint64_t b,
                    bool add)
{
    float *d = sums.at;

    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "setp.ne.b32 p, %37, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" SUMS_32_NAMES
        "}, {%32, %33, %34, %35}, %36, p, 1, 1, 1;\n"
        "}"
        : SUMS_32(0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),
          "r"(static_cast<int>(add)));
}

__device__ inline void
product_step_across(Sums<128> &sums, const uint32_t (&a)[4], uint64_t b,
                    bool add)
{
    float *d = sums.at;

    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "setp.ne.b32 p, %69, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" SUMS_64_NAMES
        "}, {%64, %65, %66, %67}, %68, p, 1, 1, 1;\n"
        "}"
        : SUMS_64(0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),
          "r"(static_cast<int>(add)));
}

#endif
