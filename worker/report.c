/* SPDX-License-Identifier: Apache-2.0 */
/* Reports of all ranks, taken by the lead in the order of the streams. */
#include "worker/report.h"

#include <string.h>

#include "base/mem.h"
#include "worker/idle.h"

enum { N_HEAD = 64, N_DATA = 2 };

/* ---------------------------------------------------------- a rank's end */

typedef struct head_slot {
    report head;
    comm_request req;
} head_slot;

typedef struct data_slot {
    uint8_t *data;
    comm_request req;
} data_slot;

struct report_out {
    comm *c;
    size_t max_data;
    head_slot head[N_HEAD];
    data_slot data[N_DATA];
    uint32_t next_head, next_data;
};

status
report_out_new(report_out **out, comm *c, size_t max_data)
{
    report_out *o = NULL;
    status st = ST_OK;

    TRY(mem_new(&o, 1, sizeof *o));
    o->c = c;
    o->max_data = max_data;
    for (uint32_t i = 0; i < N_DATA; i++)
        TRY(mem_new(&o->data[i].data, max_data, 1));
    *out = o;
    return ST_OK;
fail:
    report_out_free(o);
    return st;
}

void
report_out_free(report_out *o)
{
    if (o == NULL)
        return;
    for (uint32_t i = 0; i < N_DATA; i++)
        mem_free(o->data[i].data);
    mem_free(o);
}

/* Waits until a slot's last message has been sent. */
static status
settle(report_out *o, comm_request *req)
{
    status st = ST_OK;
    idle wait = {0};
    bool done = false;
    for (;;) {
        TRY(comm_test(o->c, req, &done));
        if (done)
            return ST_OK;
        idle_wait(&wait, true);
    }
fail:
    return st;
}

status
report_send(report_out *o, const report *r, const void *data)
{
    status st = ST_OK;
    head_slot *head = &o->head[o->next_head];
    data_slot *slot = &o->data[o->next_data];

    ASSERT(r->len <= o->max_data);
    TRY(settle(o, &head->req));
    head->head = *r;
    if (r->len > 0) {
        TRY(settle(o, &slot->req));
        memcpy(slot->data, data, (size_t)r->len);
        o->next_data = (o->next_data + 1) % N_DATA;
    }
    o->next_head = (o->next_head + 1) % N_HEAD;
    TRY(comm_isend(o->c, &head->req, 0, TAG_REPORT, &head->head,
                   sizeof head->head, false));
    if (r->len > 0)
        TRY(comm_isend(o->c, &slot->req, 0, TAG_REPORT_DATA, slot->data,
                       (size_t)r->len, true));
fail:
    return st;
}

/* -------------------------------------------------------- the lead's end */

typedef enum step { STEP_HEAD = 0, STEP_WAITING, STEP_DATA } step;

typedef struct source {
    step step;
    report head;
    comm_request req;
    uint8_t *data;
} source;

struct report_in {
    comm *c;
    report_in_config cfg;
    source *source; /* [n_rank], 0 unused */
};

static status
await_head(report_in *in, uint32_t rank)
{
    source *s = &in->source[rank];
    s->step = STEP_HEAD;
    return comm_irecv(in->c, &s->req, rank, TAG_REPORT, &s->head,
                      sizeof s->head);
}

status
report_in_new(report_in **out, comm *c, const report_in_config *cfg)
{
    report_in *in = NULL;
    status st = ST_OK;

    TRY(mem_new(&in, 1, sizeof *in));
    in->c = c;
    in->cfg = *cfg;
    TRY(mem_new(&in->source, cfg->n_rank, sizeof *in->source));
    for (uint32_t rank = 1; rank < cfg->n_rank; rank++) {
        TRY(mem_new(&in->source[rank].data, cfg->max_data, 1));
        TRY(await_head(in, rank));
    }
    *out = in;
    return ST_OK;
fail:
    report_in_free(in);
    return st;
}

void
report_in_free(report_in *in)
{
    if (in == NULL)
        return;
    for (uint32_t rank = 1; in->source != NULL && rank < in->cfg.n_rank;
         rank++) {
        comm_cancel(in->c, &in->source[rank].req);
        mem_free(in->source[rank].data);
    }
    mem_free(in->source);
    mem_free(in);
}

/* One step with one rank; *busy: something came; *more: another step may be
 * possible at once. */
static status
advance(report_in *in, uint32_t rank, bool *busy, bool *more)
{
    status st = ST_OK;
    source *s = &in->source[rank];
    bool done = true;

    *more = false;
    if (s->step != STEP_WAITING)
        TRY(comm_test(in->c, &s->req, &done));
    if (!done)
        return ST_OK;
    if (s->step == STEP_HEAD)
        s->step = STEP_WAITING;
    if (s->step == STEP_WAITING) {
        if (!in->cfg.turn(in->cfg.ctx, &s->head))
            return ST_OK;
        if (s->head.len > in->cfg.max_data)
            return status_fail(ST_WIRE, "rank %u reports %llu bytes at once",
                               rank, (unsigned long long)s->head.len);
        s->step = STEP_DATA;
        if (s->head.len > 0) {
            TRY(comm_irecv(in->c, &s->req, rank, TAG_REPORT_DATA, s->data,
                           (size_t)s->head.len));
            *busy = *more = true;
            return ST_OK;
        }
    }
    *more = s->head.len == 0;
    *busy = true;
    TRY(in->cfg.take(in->cfg.ctx, &s->head, s->data));
    TRY(await_head(in, rank));
fail:
    return st;
}

status
report_in_poll(report_in *in, bool *busy)
{
    status st = ST_OK;
    for (uint32_t rank = 1; rank < in->cfg.n_rank; rank++) {
        bool more = true;
        while (more) {
            TRY(advance(in, rank, busy, &more));
        }
    }
fail:
    return st;
}
