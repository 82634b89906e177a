/* SPDX-License-Identifier: Apache-2.0 */
/* Progress of one job: a bar that redraws itself on a terminal, otherwise a
 * plain line at most once a second, and none for a job that takes less. */
#ifndef CLIENT_BAR_H
#define CLIENT_BAR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/client_message.h"

typedef struct bar {
    FILE *out;
    bool terminal;
    const char *title; /* borrowed, printable */
    int width;         /* columns; 0: ask the terminal each time */
    bool drawn;        /* a line stands there, without its newline */
    uint64_t start_ns;
    uint64_t drawn_ns; /* when something was printed last; 0: never */
    double sent;       /* part of the input that is uploaded, 0 .. 1 */
    client_state state;
    uint64_t done, total; /* segments; total 0: not known */
    double tokens_per_second, seconds_left;
} bar;

void bar_init(bar *b, FILE *out, const char *title);
void bar_sent(bar *b, uint64_t bytes, uint64_t total);
void bar_progress(bar *b, const client_message *progress);
/* Takes the bar away, so that something else can be printed. */
void bar_clear(bar *b);
/* Draws the last state, all done, and ends the line; nothing where no segment
 * was ever told of. */
void bar_finish(bar *b);

#endif
