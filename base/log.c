/* SPDX-License-Identifier: Apache-2.0 */
/* Lines for people on stderr, one write each. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"

/* Set once by main() before threads exist, read-only afterwards. */
static char program_name[32] = "longwave";
static log_level max_level = LOG_LEVEL_INFO;

void
log_init(const char *program, log_level level)
{
    (void)snprintf(program_name, sizeof(program_name), "%s", program);
    max_level = level;
}

bool
log_enabled(log_level level)
{
    return level <= max_level;
}

/* Names and sentences come from outside too: no terminal codes, nothing that
 * turns a line around, and no bytes that are no UTF-8. */
static void
defuse(char *text, size_t len)
{
    for (size_t i = 0, n; i < len; i += n)
        if (utf8_next(text + i, len - i, &n) != UTF8_GOOD ||
            utf8_is_control(utf8_value(text + i, n)))
            memset(text + i, '?', n);
}

static void
line(log_level level, const char *label, const char *fmt, va_list ap)
{
    char text[1024];
    int n;
    int more;
    size_t len;

    if (!log_enabled(level))
        return;
    n = snprintf(text, sizeof(text), "%s: %s", program_name, label);
    if (n < 0)
        return;
    more = vsnprintf(text + n, sizeof(text) - (size_t)n - 1, fmt, ap);
    if (more < 0)
        return;
    len = strlen(text);
    defuse(text, len);
    text[len++] = '\n';
    if (write(STDERR_FILENO, text, len) < 0)
        return; /* nowhere left to say it */
}

void
log_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    line(LOG_LEVEL_ERROR, "error: ", fmt, ap);
    va_end(ap);
}

void
log_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    line(LOG_LEVEL_WARN, "warning: ", fmt, ap);
    va_end(ap);
}

void
log_info(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    line(LOG_LEVEL_INFO, "", fmt, ap);
    va_end(ap);
}

void
log_debug(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    line(LOG_LEVEL_DEBUG, "debug: ", fmt, ap);
    va_end(ap);
}
