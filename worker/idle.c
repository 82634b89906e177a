/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting in growing steps. */
#include "worker/idle.h"

#include <sched.h>

#include "base/clock.h"

enum { YIELD_NS = 100000, FIRST_US = 50, NEAR_US = 200, FAR_US = 1500 };

void
idle_reset(idle *i)
{
    *i = (idle){0};
}

uint32_t
idle_next(idle *i, bool near, uint64_t now)
{
    uint32_t most = near ? NEAR_US : FAR_US;
    if (i->since_ns == 0)
        i->since_ns = now;
    if (near && now - i->since_ns < YIELD_NS)
        return 0;
    i->us = i->us == 0 ? FIRST_US : i->us + i->us / 4;
    if (i->us > most)
        i->us = most;
    return i->us;
}

void
idle_wait(idle *i, bool near)
{
    uint32_t us = idle_next(i, near, clock_ns());
    if (us == 0)
        sched_yield();
    else
        clock_sleep_us(us);
}
