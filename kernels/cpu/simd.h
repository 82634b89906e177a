/* SPDX-License-Identifier: Apache-2.0 */
/* SIMD_CLONES: a function compiled for several instruction sets, of which the
 * loader takes the best that this CPU has.
 *
 * Off where sanitizers are on (they run before the loader's choice) and on
 * other machines than x86-64. */
#ifndef KERNELS_CPU_SIMD_H
#define KERNELS_CPU_SIMD_H

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) &&          \
    !defined(__clang__) && !defined(LONGWAVE_SANITIZED)
#define SIMD_CLONES                                                            \
    __attribute__((target_clones("default", "arch=haswell", "avx512f")))
#else
#define SIMD_CLONES
#endif

#define SIMD_INLINE static inline __attribute__((always_inline))

#endif
