/* SPDX-License-Identifier: Apache-2.0 */
/* The plot of a sweep: efficiency over ranks, the latter in powers of two. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "worker/plan_print.h"

enum {
    WIDTH = 720,
    HEIGHT = 400,
    LEFT = 60,
    RIGHT = 690,
    TOP = 40,
    DOWN = 350
};

typedef struct canvas {
    FILE *file;
    double log_max; /* log2 of the most ranks */
} canvas;

static double
x_of(const canvas *c, uint32_t n_rank)
{
    double at = c->log_max > 0 ? log2(n_rank) / c->log_max : 0;
    return LEFT + at * (RIGHT - LEFT);
}

static double
y_of(double efficiency)
{
    return DOWN - efficiency * (DOWN - TOP);
}

static void
draw_frame(const canvas *c, const plan_row *row, size_t n_row)
{
    fprintf(c->file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
            "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
            "<text x=\"%d\" y=\"22\">efficiency (useful FLOP/s of all ranks' "
            "rate) over ranks</text>\n",
            WIDTH, HEIGHT, LEFT);
    for (int i = 0; i <= 5; i++)
        fprintf(c->file,
                "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/>\n"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%d %%</text>\n",
                LEFT, y_of(0.2 * i), RIGHT, LEFT - 8, y_of(0.2 * i) + 4,
                20 * i);
    for (size_t i = 0; i < n_row; i++)
        fprintf(c->file,
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%u</text>\n",
                x_of(c, row[i].n_rank), DOWN + 20, row[i].n_rank);
}

static void
draw_line(const canvas *c, const plan_row *row, size_t n_row, place_kind kind)
{
    const char *color = kind == PLACE_LAYERS ? "#b3442d" : "#2d62b3";
    int x = kind == PLACE_LAYERS ? LEFT : LEFT + 120;

    for (size_t i = 0; i < n_row; i++) {
        const plan_row *r = &row[i];
        if (!r->ok[kind])
            continue;
        double at = x_of(c, r->n_rank);
        double up = y_of(r->plan[kind].result.efficiency);
        if (i > 0 && row[i - 1].ok[kind])
            fprintf(c->file,
                    "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"%s\" "
                    "stroke-width=\"2\"/>\n",
                    x_of(c, row[i - 1].n_rank),
                    y_of(row[i - 1].plan[kind].result.efficiency), at, up,
                    color);
        fprintf(c->file,
                "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", at,
                up, color);
    }
    fprintf(c->file, "<text x=\"%d\" y=\"%d\" fill=\"%s\">%s</text>\n", x,
            HEIGHT - 10, color, place_name(kind));
}

status
plan_print_svg(const char *path, const plan_row *row, size_t n_row)
{
    canvas c = {.file = fopen(path, "w"),
                .log_max = log2(row[n_row - 1].n_rank)};

    if (c.file == NULL)
        return status_fail(ST_IO, "%s: %s", path, strerror(errno));
    draw_frame(&c, row, n_row);
    draw_line(&c, row, n_row, PLACE_LAYERS);
    draw_line(&c, row, n_row, PLACE_SEGMENTS);
    fprintf(c.file, "</svg>\n");
    bool bad = ferror(c.file) != 0;
    if (fclose(c.file) != 0 || bad)
        return status_fail(ST_IO, "%s: %s", path, strerror(errno));
    return ST_OK;
}
