/* SPDX-License-Identifier: Apache-2.0 */
/* Tries, a fixed time apart. */
#include "daemon/again.h"

#include "base/clock.h"

enum {
    AGAIN_MS = 100,
    MAX_AGAIN = 100 /* times in a row */
};

bool
again_after(again *a, status st)
{
    if (st != ST_NOMEM || a->n == MAX_AGAIN) {
        *a = (again){0};
        return false;
    }
    a->n++;
    a->due_ns = clock_ns() + UINT64_C(1000000) * AGAIN_MS;
    return true;
}

bool
again_waits(const again *a)
{
    return a->due_ns != 0;
}

bool
again_is_due(again *a)
{
    if (a->due_ns == 0 || clock_ns() < a->due_ns)
        return false;
    a->due_ns = 0;
    return true;
}
