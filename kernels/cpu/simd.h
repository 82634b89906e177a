/* SPDX-License-Identifier: Apache-2.0 */
/* SIMD_CLONES: a function compiled for several instruction sets, of which the
 * loader takes the best that this CPU has.  A level and not a model: the loader
 * takes "arch=haswell" for a CPU of that name alone, and no other maker's.
 *
 * Off where sanitizers are on (they run before the loader's choice) and on
 * other machines than x86-64. */
#ifndef KERNELS_CPU_SIMD_H
#define KERNELS_CPU_SIMD_H

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) &&          \
    !defined(__clang__) && __GNUC__ >= 12 && !defined(LONGWAVE_SANITIZED)
#define SIMD_CLONES                                                            \
    __attribute__((target_clones("default", "arch=x86-64-v3", "avx512f")))
#else
#define SIMD_CLONES
#endif

#define SIMD_INLINE static inline __attribute__((always_inline))

#endif
