/* SPDX-License-Identifier: Apache-2.0 */
/* What a fuzz target is: one function, called with bytes by libFuzzer or by
 * replay.c.  It must return 0, leave nothing behind, and fail by CHECK(). */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* A property of the code under test that does not hold. */
#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            (void)fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__,       \
                          __LINE__, #cond);                                    \
            abort();                                                           \
        }                                                                      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
