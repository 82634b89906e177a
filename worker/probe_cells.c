/* SPDX-License-Identifier: Apache-2.0 */
/* What cells take on this rank: groups of one cell and of several. */
#include <string.h>

#include "base/crc.h"
#include "model/memory.h"
#include "worker/probe.h"
#include "worker/probe_rig.h"

enum {
    SHORT = 64, /* tokens of the first look */
    WIDE = 256  /* at most, of the rows whose attention is timed */
};

/* Seconds of all of it, and of groups of the longest segments that are run
 * more than once. */
static const double SECONDS = 0.55, BUDGET = 0.3;
/* Groups are run again for so long: a machine that does other things, too, is
 * not equally fast from one moment to the next. */
static const double ENOUGH = 0.1, GLANCE = 0.03;

static config_cell
cell_of(const probe_rig *p, uint32_t n_token)
{
    const engine_segment s = {.n_token = n_token};
    return (config_cell){.n_row = engine_rows(p->e, &s),
                         .n_mem = p->cfg->n_mem};
}

static double
flops_of(const probe_rig *p, uint32_t n_token)
{
    const config_cell c = cell_of(p, n_token);
    return config_cell_flops(p->cfg, &c);
}

/* FLOPs that grow with the square of the rows: attention's. */
static double
square_of(const probe_rig *p, uint32_t n_token)
{
    double r = cell_of(p, n_token).n_row;
    return 2.0 * p->cfg->n_head * p->cfg->d_head * r * (r + 1);
}

/* Seconds of a multiply-add's FLOP in attention: what some rows take more
 * behind the keys of nearly a full segment than behind none.  0: nothing can be
 * told.
 */
static status
time_attention(probe_rig *p, uint32_t n_token, double *seconds)
{
    uint32_t n_row = n_token < WIDE ? n_token : WIDE;
    uint32_t n_past = p->cfg->segment_size - n_row;
    engine_segment near = {.n_token = n_row, .frozen = 1}, far = near;
    probe_rig_times a = {0}, b = {0};
    status st = ST_OK;

    *seconds = 0;
    if (memory_of(p->cfg)->grows)
        return ST_OK;
    far.pos = n_past;
    TRY(probe_rig_time(p, 1, &near, GLANCE, &a));
    TRY(probe_rig_time(p, 1, &far, GLANCE, &b));
    double flops =
        4.0 * p->cfg->n_head * p->cfg->d_head * n_row * (double)n_past;
    if (b.group > a.group)
        *seconds = (b.group - a.group) / flops;
fail:
    return st;
}

/* Seconds of a full cell from `t`, those of one of n_token tokens: products
 * and attention have a rate each. */
static status
stretch(probe_rig *p, uint32_t n_token, double t, double *seconds)
{
    uint32_t full = p->cfg->segment_size;
    double square = square_of(p, full), rest = flops_of(p, full) - square;
    double s = square_of(p, n_token), r = flops_of(p, n_token) - s;
    double each = 0;
    status st = ST_OK;

    TRY(time_attention(p, n_token, &each));
    if (each <= 0 || s * each >= t) /* odd: one rate for both */
        each = t / (s + r);
    *seconds = (t - s * each) / r * rest + each * square;
fail:
    return st;
}

/* The longest segment whose groups can all be run in time, a power of two of
 * tokens below the full one; `t` is the seconds of a short one. */
static uint32_t
affordable(const probe_rig *p, double t)
{
    double n_cell = p->n_cell > 1 ? 1.0 + p->n_cell : 1;
    double n_run = 2 * n_cell * p->n_layer;
    double rate = flops_of(p, SHORT) / t;
    double left = probe_rig_left(p), most = left < BUDGET ? left : BUDGET;
    uint32_t n = p->cfg->segment_size;

    if (n_run * flops_of(p, n) / rate <= most)
        return n;
    for (n = SHORT; 2 * n < p->cfg->segment_size; n *= 2)
        if (n_run * flops_of(p, 2 * n) / rate > most)
            break;
    return n;
}

/* Seconds of a full cell, going by those of one of n_token tokens. */
static double
guess(const probe_rig *p, uint32_t n_token, double t)
{
    return t * flops_of(p, p->cfg->segment_size) / flops_of(p, n_token);
}

/* A full cell that is done in time is timed, be it one alone: what is told from
 * shorter ones is a quarter off at times. */
static bool
is_soon(const probe_rig *p, double seconds)
{
    return seconds <= probe_rig_left(p);
}

/* Seconds of a full cell, from `t` of one of n_token tokens. */
static status
time_full(probe_rig *p, uint32_t n_token, double t, double *seconds)
{
    if (n_token == p->cfg->segment_size) {
        *seconds = t;
        return ST_OK;
    }
    if (is_soon(p, guess(p, n_token, t)))
        return probe_rig_time_once(p, seconds);
    return stretch(p, n_token, t, seconds);
}

/* The tokens of the segments that are timed, after a look at short ones, and
 * the times of one of them: full ones, the longest that there is time for, or
 * no longer ones where one full cell can be timed yet and groups have no more
 * cells. */
static status
time_cell(probe_rig *p, uint32_t *n_token, probe_rig_times *t)
{
    uint32_t full = p->cfg->segment_size;
    engine_segment one = {.n_token = full < SHORT ? full : SHORT};
    status st = ST_OK;

    TRY(probe_rig_time(p, 1, &one, full > SHORT ? GLANCE : ENOUGH, t));
    *n_token = one.n_token;
    if (full <= SHORT)
        return ST_OK;
    one.n_token = affordable(p, t->group);
    if (one.n_token == *n_token || (one.n_token < full && p->n_cell == 1 &&
                                    is_soon(p, guess(p, *n_token, t->group))))
        return ST_OK;
    TRY(probe_rig_time(p, 1, &one, ENOUGH, t));
    *n_token = one.n_token;
fail:
    return st;
}

/* What a FLOP of a model's last layer takes, beside one of another, in segments
 * of n_token; 0: not known. */
static double
last_times(const probe_rig *p, uint32_t n_token, const probe_rig_times *t)
{
    const config_cell full = cell_of(p, n_token);
    config_cell last = full;

    last.n_skip = full.n_row - full.n_mem;
    return t->last / t->group * config_cell_flops(p->cfg, &full) /
           config_cell_flops(p->cfg, &last);
}

static status
measure(probe_rig *p, cost_rank *out)
{
    uint32_t full = p->cfg->segment_size;
    engine_segment one = {0};
    probe_rig_times t = {0}, many = {0};
    cost_rank r = *out;
    double full_t = 0;
    status st = ST_OK;

    TRY(time_cell(p, &one.n_token, &t));
    if (p->n_cell > 1)
        TRY(probe_rig_time(p, p->n_cell, &one, ENOUGH, &many));
    TRY(time_full(p, one.n_token, t.group, &full_t));
    const double rows = cell_of(p, full).n_row, flops = flops_of(p, full);
    const double n = p->n_cell;
    r.flops = flops / full_t;
    if (p->n_cell > 1)
        cost_fit(&r, (double[]){rows, n * rows}, (double[]){flops, n * flops},
                 (double[]){full_t, full_t * many.group / t.group});
    r.last_times = last_times(p, one.n_token, &t);
    *out = r;
fail:
    return st;
}

status
probe_cells(cost_rank *out, kernel_device *dev, const model_config *cfg,
            bool own_core)
{
    cost_rank r = {.memory = out->memory};
    probe_rig p = {0};
    kernel_info info;
    status st = ST_OK;

    kernel_info_get(dev, &info);
    r.n_cell = info.n_thread;
    r.all_rows = info.n_thread == 0;
    r.kind = crc_add(0, info.name, strnlen(info.name, sizeof info.name)) | 1;
    TRY(probe_rig_open(&p, dev, cfg, own_core, SECONDS));
    TRY(measure(&p, &r));
    *out = r;
fail:
    probe_rig_close(&p);
    return st;
}
