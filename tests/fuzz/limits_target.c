/* SPDX-License-Identifier: Apache-2.0 */
/* What limits.c is tried on: "slow" takes more than its second of the CPU,
 * "big" more than its memory, everything else somewhat less of both. */
#include <stdbool.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const bool slow = size == 4 && memcmp(data, "slow", 4) == 0;
    const bool big = size == 3 && memcmp(data, "big", 3) == 0;
    const long long start = fuzz_cpu_ms();
    volatile uint8_t *taken = malloc((size_t)(big ? 65 : 60) << 20);

    CHECK(taken);
    taken[0] = 1;
    while (fuzz_cpu_ms() - start < (slow ? 1100 : 100))
        taken[0]++;
    free((void *)(uintptr_t)taken);
    return 0;
}
