/* SPDX-License-Identifier: Apache-2.0 */
/* How a phase's result gets to the blocks that need it without a barrier: by
 * words that hold a part of it and the number of the phase.  Who needs a word
 * reads it until it has that number.
 *
 * A box is used again BOXES phases later.  Nobody reads it any more then: the
 * host (cuda_phase_link()) lets a phase go without a barrier only if it needs
 * the result of the phase right before it, all of it with the rest of its
 * blocks, so that what a phase writes is complete only after all before it is;
 * if the row that it adds to is at most three phases old; and if one of the
 * four phases before it was every block's.  So when box i is written again, by
 * phase i + BOXES, every block has done phase i + BOXES - 5 and all before it,
 * and of these alone some read box i. */
#ifndef KERNELS_CUDA_PHASE_BOX_CUH
#define KERNELS_CUDA_PHASE_BOX_CUH

#include "kernels/cuda/phase.cuh"

namespace phase
{

using Word = unsigned long long;

/* Two numbers of bf16, or one float, and above them the phase. */
__device__ inline Word
word_of(uint32_t bits, uint32_t number)
{
    return static_cast<Word>(number) << 32 | bits;
}

__device__ inline void
put_word(Word *box, uint32_t i, uint32_t bits, uint32_t number)
{
    asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(box + i),
                 "l"(word_of(bits, number))
                 : "memory");
}

/* The thread's number of a row, beside that of the thread next to it; all lanes
 * of the warp. */
__device__ inline void
put_half(const Box &box, uint32_t col, bool there, bf16 x)
{
    uint32_t mine = __bfloat16_as_ushort(x);
    uint32_t other = __shfl_down_sync(0xffffffffU, mine, 1);

    if (box.at != nullptr && there && col % 2 == 0)
        put_word(box.at, col / 2, other << 16 | mine, box.number);
}

enum { BOX_WAITS = 1 << 24 };

__device__ inline Word
look_word(const Box &box, uint32_t i)
{
    Word w;

    asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];"
                 : "=l"(w)
                 : "l"(box.at + i)
                 : "memory");
    return w;
}

__device__ inline uint32_t
take_word(const Box &box, uint32_t i)
{
    Word w;
    uint32_t n = 0;

    do {
        w = look_word(box, i);
        if (++n == BOX_WAITS)
            __trap();
    } while (static_cast<uint32_t>(w >> 32) != box.number);
    return static_cast<uint32_t>(w);
}

/* Number i of a row. */
__device__ inline float
take_half(const Box &box, const bf16 *x, uint32_t i)
{
    if (box.at == nullptr)
        return to_float(fresh(x + i));
    uint32_t pair = take_word(box, i / 2);

    return __uint_as_float(i % 2 == 0 ? pair << 16 : pair & 0xffff0000U);
}

/* Pairs i and i + far of a row. */
__device__ inline uint2
take_pairs(const Box &box, const bf16 *x, uint32_t i, uint32_t far)
{
    const uint32_t *from = reinterpret_cast<const uint32_t *>(x) + i;
    Word w[2];
    uint32_t n = 0;

    if (box.at == nullptr)
        return make_uint2(fresh(from), fresh(from + far));
    do {
        w[0] = look_word(box, i);
        w[1] = look_word(box, i + far);
        if (++n == BOX_WAITS)
            __trap();
    } while (static_cast<uint32_t>(w[0] >> 32) != box.number ||
             static_cast<uint32_t>(w[1] >> 32) != box.number);
    return make_uint2(static_cast<uint32_t>(w[0]), static_cast<uint32_t>(w[1]));
}

/* Numbers 8 i .. 8 i + 7 of a row. */
__device__ inline uint4
take_eight(const Box &box, const bf16 *x, uint32_t i)
{
    Word w[4];
    uint32_t n = 0;
    bool all;

    if (box.at == nullptr)
        return fresh(reinterpret_cast<const uint4 *>(x) + i);
    do {
        asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];"
                     : "=l"(w[0]), "=l"(w[1])
                     : "l"(box.at + 4 * i)
                     : "memory");
        asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];"
                     : "=l"(w[2]), "=l"(w[3])
                     : "l"(box.at + 4 * i + 2)
                     : "memory");
        all = true;
#pragma unroll
        for (int e = 0; e < 4; e++)
            all = all && static_cast<uint32_t>(w[e] >> 32) == box.number;
        if (++n == BOX_WAITS)
            __trap();
    } while (!all);
    return make_uint4(static_cast<uint32_t>(w[0]), static_cast<uint32_t>(w[1]),
                      static_cast<uint32_t>(w[2]), static_cast<uint32_t>(w[3]));
}

} // namespace phase

#endif
