/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps terminals safe, and formats numbers. */
#include "client/screen.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void
screen_init(screen *s, FILE *out)
{
    int fd = fileno(out);

    *s = (screen){.terminal = fd >= 0 && isatty(fd)};
}

/* Follows UTF-8 as far as it takes to know control characters: those below
 * 0x20, DEL, and U+0080 to U+009F, which are C2 80 to C2 9F, or a stray byte
 * for a terminal that is not in UTF-8 mode. */
static void
put(screen *s, FILE *out, unsigned char c)
{
    if (c >= 0x80 && c < 0xC0) {
        if (s->pending == 0)
            return;
        s->pending--;
        if (s->lead == 0xC2 && c < 0xA0)
            return;
        if (s->lead == 0xC2)
            fputc(s->lead, out);
        fputc(c, out);
        return;
    }
    s->lead = c;
    s->pending = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : c >= 0xC0 ? 1 : 0;
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
        return;
    if (c != 0xC2) /* C2 waits for what follows */
        fputc(c, out);
}

void
screen_write(screen *s, FILE *out, const char *text, size_t len)
{
    if (!s->terminal) {
        fwrite(text, 1, len, out);
        return;
    }
    for (size_t i = 0; i < len; i++)
        put(s, out, (unsigned char)text[i]);
}

void
screen_text(FILE *out, const char *text)
{
    screen s;

    screen_init(&s, out);
    screen_write(&s, out, text, strlen(text));
}

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
