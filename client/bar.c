/* SPDX-License-Identifier: Apache-2.0 */
/* Draws progress. */
#include "client/bar.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/terminal.h"
#include "client/screen.h"

enum {
    DEFAULT_WIDTH = 80,
    LINE = 256,
    MIN_CELLS = 8,
    MAX_CELLS = 40,
    REDRAW_MS = 100,
    PLAIN_MS = 1000
};

void
bar_init(bar *b, FILE *out, const char *title)
{
    int fd = fileno(out);

    *b = (bar){.out = out,
               .title = title,
               .terminal = fd >= 0 && isatty(fd),
               .start_ns = clock_ns(),
               .seconds_left = -1};
}

static int
width_of(const bar *b)
{
    struct winsize size;

    if (b->width > 0)
        return b->width;
    if (ioctl(fileno(b->out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return DEFAULT_WIDTH;
}

/* "512/1,954 segments  81,234 tokens/s  0:42 left", as far as it is known. */
static void
describe(const bar *b, char *out, size_t size)
{
    char done[SCREEN_NUMBER], total[SCREEN_NUMBER], rate[SCREEN_NUMBER],
        left[SCREEN_NUMBER];
    int n;

    if (b->state == CLIENT_RECEIVING && b->done == 0) {
        snprintf(out, size, "%d %% sent", (int)(100 * b->sent));
        return;
    }
    if (b->state == CLIENT_QUEUED && b->done == 0) {
        snprintf(out, size, "queued");
        return;
    }
    screen_count(done, b->done);
    screen_count(total, b->total);
    n = snprintf(out, size, "%s%s%s segments", done, b->total ? "/" : "",
                 b->total ? total : "");
    if (b->tokens_per_second > 0)
        n += snprintf(out + n, size - (size_t)n, "  %s tokens/s",
                      screen_count(rate, (uint64_t)b->tokens_per_second));
    if (b->seconds_left >= 0)
        snprintf(out + n, size - (size_t)n, "  %s left",
                 screen_duration(left, b->seconds_left));
}

/* Parts are cells of one column each; what is filled is never rounded up. */
static void
draw_cells(const bar *b, int cells)
{
    int filled = (int)((double)cells * (double)b->done / (double)b->total);

    if (filled > cells)
        filled = cells;
    fputs("  [", b->out);
    for (int i = 0; i < cells; i++)
        fputc(i < filled ? '#' : '.', b->out);
    fputc(']', b->out);
}

static void
draw_terminal(bar *b)
{
    terminal safe = {.is = true};
    char text[LINE];
    int room;

    describe(b, text, sizeof(text));
    /* The last column stays free: some terminals wrap when it is filled.  A
     * title is counted by bytes, which is never too few. */
    room = width_of(b) - 1 - (int)strlen(text) - (int)strlen(b->title) - 6;
    fputs("\r\033[K", b->out);
    if (room >= 0)
        terminal_write(&safe, b->out, b->title, strlen(b->title));
    if (room >= MIN_CELLS && b->total > 0)
        draw_cells(b, room < MAX_CELLS ? room : MAX_CELLS);
    fprintf(b->out, "%s%.*s", room >= 0 ? "  " : "", width_of(b) - 1, text);
    b->drawn = true;
}

static void
draw(bar *b, bool last)
{
    uint64_t now = clock_ns();
    uint64_t pause = (uint64_t)(b->terminal ? REDRAW_MS : PLAIN_MS) * 1000000;
    uint64_t since = b->drawn_ns || b->terminal ? b->drawn_ns : b->start_ns;
    char text[LINE];

    if (!last && now - since < pause)
        return;
    b->drawn_ns = now;
    if (b->terminal) {
        draw_terminal(b);
    } else {
        describe(b, text, sizeof(text));
        fprintf(b->out, "%s: %s\n", b->title, text);
    }
    fflush(b->out);
}

void
bar_sent(bar *b, uint64_t bytes, uint64_t total)
{
    b->sent = total ? (double)bytes / (double)total : 1;
    draw(b, false);
}

void
bar_progress(bar *b, const client_message *m)
{
    b->state = m->u.progress.state;
    b->done = m->u.progress.segments_done;
    b->total = m->u.progress.segments_total;
    b->tokens_per_second = m->u.progress.tokens_per_second;
    b->seconds_left = m->u.progress.seconds_left;
    draw(b, false);
}

void
bar_clear(bar *b)
{
    if (!b->drawn)
        return;
    fputs("\r\033[K", b->out);
    fflush(b->out);
    b->drawn = false;
}

void
bar_finish(bar *b)
{
    if (b->drawn_ns == 0 || b->done + b->total == 0) {
        bar_clear(b);
        return;
    }
    b->state = CLIENT_STATE_DONE;
    b->done = b->total > b->done ? b->total : b->done;
    b->seconds_left = -1;
    draw(b, true);
    if (b->terminal)
        fputc('\n', b->out);
    fflush(b->out);
    b->drawn = false;
}
