/* SPDX-License-Identifier: Apache-2.0 */
/* Whole characters, or nothing. */
#include "base/terminal.h"

#include <string.h>
#include <unistd.h>

#include "base/utf8.h"

void
terminal_init(terminal *t, FILE *out)
{
    int fd = fileno(out);

    *t = (terminal){.is = fd >= 0 && isatty(fd)};
}

static void
put_held(const terminal *t, FILE *out)
{
    size_t n;

    if (utf8_next(t->held, t->need, &n) == UTF8_GOOD &&
        !utf8_is_control(utf8_value(t->held, n)))
        fwrite(t->held, 1, n, out);
}

/* A terminal that is not in UTF-8 mode takes single bytes for C1, too. */
static void
put(terminal *t, FILE *out, unsigned char c)
{
    if (c >= 0x80 && c < 0xC0) {
        if (t->n == 0)
            return;
        t->held[t->n++] = (char)c;
        if (t->n < t->need)
            return;
        put_held(t, out);
        t->n = 0;
        return;
    }
    t->n = 0; /* what was begun is none */
    if (c >= 0xC0) {
        t->need = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
        t->held[t->n++] = (char)c;
    } else if (c == '\n' || c == '\t' || !utf8_is_control(c)) {
        fputc(c, out);
    }
}

void
terminal_write(terminal *t, FILE *out, const char *text, size_t len)
{
    if (!t->is) {
        fwrite(text, 1, len, out);
        return;
    }
    for (size_t i = 0; i < len; i++)
        put(t, out, (unsigned char)text[i]);
}

void
terminal_text(FILE *out, const char *text)
{
    terminal t;

    terminal_init(&t, out);
    terminal_write(&t, out, text, strlen(text));
}
