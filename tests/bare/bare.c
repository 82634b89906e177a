/* SPDX-License-Identifier: Apache-2.0 */
/* Runs tests one after the other; a failed check jumps back here. */
#include "tests/bare/cmocka.h"

jmp_buf bare_out;

int
bare_run(const struct CMUnitTest *tests, size_t n)
{
    volatile int n_bad = 0;

    for (volatile size_t i = 0; i < n; i++) {
        void *state = tests[i].initial;

        if (setjmp(bare_out) == 0) {
            tests[i].run(&state);
            printf("ok      %s\n", tests[i].name);
        } else {
            printf("FAILED  %s\n", tests[i].name);
            n_bad++;
        }
        (void)fflush(stdout);
    }
    return n_bad;
}
