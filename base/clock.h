/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks: one that only moves forward, one that people read, and one of the
 * calling thread. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds of CLOCK_MONOTONIC: for durations and deadlines. */
uint64_t clock_ns(void);

/* Seconds since some fixed moment, as a double: for rates. */
double clock_seconds(void);

/* Seconds of CPU time that the calling thread has had. */
double clock_thread_seconds(void);

/* Milliseconds since 1970 (CLOCK_REALTIME): for people and records only,
 * never for deadlines. */
int64_t clock_wall_ms(void);

/* Sleeps about `us` microseconds; a signal may end it early. */
void clock_sleep_us(uint32_t us);

#endif
