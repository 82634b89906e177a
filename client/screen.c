/* SPDX-License-Identifier: Apache-2.0 */
/* Formats numbers. */
#include "client/screen.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *
screen_count(char out[SCREEN_NUMBER], uint64_t n)
{
    char digits[SCREEN_NUMBER];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
    char *to = out;

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
    return out;
}

const char *
screen_bytes(char out[SCREEN_NUMBER], uint64_t n)
{
    static const char *const unit[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = (double)n / 1024;
    size_t i = 0;

    if (n < 1024) {
        snprintf(out, SCREEN_NUMBER, "%" PRIu64 " B", n);
        return out;
    }
    for (; value >= 1024 && i < 3; i++)
        value /= 1024;
    snprintf(out, SCREEN_NUMBER, "%.1f %s", value, unit[i]);
    return out;
}

const char *
screen_duration(char out[SCREEN_NUMBER], double seconds)
{
    uint64_t s = (uint64_t)(seconds > 0 && seconds < 1e15 ? seconds : 0);

    if (s < 60)
        snprintf(out, SCREEN_NUMBER, "%.1f s", seconds > 0 ? seconds : 0);
    else if (s < 3600)
        snprintf(out, SCREEN_NUMBER, "%u:%02u", (unsigned)(s / 60),
                 (unsigned)(s % 60));
    else
        snprintf(out, SCREEN_NUMBER, "%" PRIu64 ":%02u:%02u", s / 3600,
                 (unsigned)(s / 60 % 60), (unsigned)(s % 60));
    return out;
}

const char *
screen_moment(char out[SCREEN_NUMBER], int64_t wall_ms)
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm broken;

    if (!localtime_r(&t, &broken) ||
        strftime(out, SCREEN_NUMBER, "%Y-%m-%d %H:%M", &broken) == 0)
        snprintf(out, SCREEN_NUMBER, "-");
    return out;
}
