/* SPDX-License-Identifier: Apache-2.0 */
/* What an input may take, whoever gives it to the target: a second of the CPU,
 * whatever else runs, and, where a sanitizer counts it, 64 MiB of memory more
 * than there was before.  The linker puts it before the target (--wrap). */
#include "tests/fuzz/fuzz.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COUNTED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(COUNTED)
/* As in LLVM's sanitizer/allocator_interface.h; gcc has the functions, too, and
 * brings no header for them. */
int __sanitizer_install_malloc_and_free_hooks(
    void (*on_malloc)(const volatile void *, size_t),
    void (*on_free)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *p);

static long long live, peak; /* bytes, since the input began */

static void
on_malloc(const volatile void *p, size_t size)
{
    (void)p;
    live += (long long)size;
    if (live > peak)
        peak = live;
}

static void
on_free(const volatile void *p)
{
    if (p)
        live -= (long long)__sanitizer_get_allocated_size(p);
}

static void
count_from_here(void)
{
    static int hooked;

    if (!hooked)
        CHECK(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free));
    hooked = 1;
    live = peak = 0;
}

static long long
most(void)
{
    return peak;
}
#else
static void
count_from_here(void)
{
}

static long long
most(void)
{
    return 0;
}
#endif

enum { MAX_MS = 1000, MAX_BYTES = 64 << 20 };

int __real_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
__wrap_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    long long start = fuzz_cpu_ms();
    int result;

    count_from_here();
    result = __real_LLVMFuzzerTestOneInput(data, size);
    CHECK(fuzz_cpu_ms() - start < MAX_MS);
    CHECK(most() <= MAX_BYTES);
    return result;
}
