/* SPDX-License-Identifier: Apache-2.0 */
/* What a fuzz target is: one function, called with bytes by libFuzzer or by
 * replay.c.  It must return 0, leave nothing behind, and fail by CHECK(). */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A property of the code under test that does not hold. */
#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            (void)fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__,       \
                          __LINE__, #cond);                                    \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* What this thread has computed so far. */
static inline long long
fuzz_cpu_ms(void)
{
    struct timespec t;

    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
