/* SPDX-License-Identifier: Apache-2.0 */
/* The two clocks. */
#include "base/clock.h"

#include <time.h>

uint64_t
clock_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

double
clock_seconds(void)
{
    return (double)clock_ns() * 1e-9;
}

double
clock_thread_seconds(void)
{
    struct timespec t = {0};

    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int64_t
clock_wall_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
clock_sleep_us(uint32_t us)
{
    struct timespec ts = {us / 1000000u, (long)(us % 1000000u) * 1000};

    (void)nanosleep(&ts, NULL);
}
