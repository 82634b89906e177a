/* SPDX-License-Identifier: Apache-2.0 */
/* Hidden states and memory states on their way between neighbours. */
#include "worker/hop.h"

#include "base/mem.h"

enum { N_STAGE = 4 };

/* One hop on its way out. */
typedef struct parcel {
    hop_header head;
    engine_place from;
    uint64_t local_seg;
    comm_request head_req, data_req;
    int stage; /* host copy in use, -1: none */
} parcel;

typedef enum step {
    STEP_HEAD = 0, /* a header is awaited */
    STEP_WAITING,  /* it is here, its payload has no place yet */
    STEP_DATA,     /* the payload is on its way */
    STEP_ARRIVED
} step;

struct hop {
    comm *c;
    engine *e;
    hop_config cfg;

    /* Out: a ring; the first n_started of its n parcels are with MPI. */
    parcel *parcel;
    uint32_t first, n, n_started;
    uint8_t *stage[N_STAGE];
    bool stage_used[N_STAGE];

    /* In: one hop at a time. */
    step step;
    hop_header head;
    engine_place to;
    comm_request head_req, data_req;
    uint8_t *landing; /* for what is staged or thrown away */
};

static status
new_stages(hop *h)
{
    status st = ST_OK;
    for (uint32_t i = 0; i < N_STAGE; i++)
        TRY(mem_new(&h->stage[i], h->cfg.max_payload, 1));
fail:
    return st;
}

static status
await_head(hop *h)
{
    h->step = STEP_HEAD;
    return comm_irecv(h->c, &h->head_req, (uint32_t)h->cfg.from, TAG_HOP,
                      &h->head, sizeof h->head);
}

status
hop_new(hop **out, comm *c, engine *e, const hop_config *cfg)
{
    hop *h = NULL;
    status st = ST_OK;

    TRY(mem_new(&h, 1, sizeof *h));
    h->c = c;
    h->e = e;
    h->cfg = *cfg;
    if (cfg->to >= 0) {
        TRY(mem_new(&h->parcel, cfg->n_queue, sizeof *h->parcel));
        if (cfg->staged)
            TRY(new_stages(h));
    }
    if (cfg->from >= 0) {
        TRY(mem_new(&h->landing, cfg->max_payload, 1));
        TRY(await_head(h));
    }
    *out = h;
    return ST_OK;
fail:
    hop_free(h);
    return st;
}

void
hop_free(hop *h)
{
    if (h == NULL)
        return;
    comm_cancel(h->c, &h->data_req);
    comm_cancel(h->c, &h->head_req);
    mem_free(h->landing);
    for (uint32_t i = 0; i < N_STAGE; i++)
        mem_free(h->stage[i]);
    mem_free(h->parcel);
    mem_free(h);
}

/* ---------------------------------------------------------------- out --- */

static parcel *
parcel_at(hop *h, uint32_t i)
{
    return &h->parcel[(h->first + i) % h->cfg.n_queue];
}

void
hop_send(hop *h, const hop_header *head, const engine_place *from,
         uint64_t local_seg)
{
    ASSERT(h->n < h->cfg.n_queue && head->len <= h->cfg.max_payload);
    parcel *p = parcel_at(h, h->n++);
    *p = (parcel){.head = *head, .local_seg = local_seg, .stage = -1};
    if (from != NULL)
        p->from = *from;
}

static int
free_stage(const hop *h)
{
    for (int i = 0; i < N_STAGE; i++) {
        if (!h->stage_used[i])
            return i;
    }
    return -1;
}

/* Where MPI finds the payload of `p`; *data NULL: no stage is free. */
static status
payload(hop *h, parcel *p, const void **data)
{
    status st = ST_OK;
    *data = NULL;
    if (!h->cfg.staged) {
        *data = kernel_buf_mpi(p->from.buf, p->from.offset);
        return ST_OK;
    }
    int i = free_stage(h);
    if (i < 0)
        return ST_OK;
    TRY(engine_read(h->e, &p->from, h->stage[i]));
    h->stage_used[i] = true;
    p->stage = i;
    h->cfg.sent(h->cfg.ctx, &p->head, p->local_seg);
    *data = h->stage[i];
fail:
    return st;
}

/* Gives the next parcels to MPI. */
static status
start(hop *h, bool *busy)
{
    status st = ST_OK;
    uint32_t to = (uint32_t)h->cfg.to;
    while (h->n_started < h->n) {
        parcel *p = parcel_at(h, h->n_started);
        const void *data = NULL;
        if (p->head.len > 0) {
            TRY(payload(h, p, &data));
            if (data == NULL)
                break;
        }
        TRY(comm_isend(h->c, &p->head_req, to, TAG_HOP, &p->head,
                       sizeof p->head, false));
        if (p->head.len > 0)
            TRY(comm_isend(h->c, &p->data_req, to, TAG_HOP_DATA, data,
                           (size_t)p->head.len, true));
        h->n_started++;
        *busy = true;
    }
fail:
    return st;
}

static status
finish(hop *h, bool *busy)
{
    status st = ST_OK;
    while (h->n_started > 0) {
        parcel *p = parcel_at(h, 0);
        bool done = false;
        TRY(comm_test(h->c, &p->head_req, &done));
        if (done)
            TRY(comm_test(h->c, &p->data_req, &done));
        if (!done)
            break;
        if (p->stage < 0)
            h->cfg.sent(h->cfg.ctx, &p->head, p->local_seg);
        else
            h->stage_used[p->stage] = false;
        h->first = (h->first + 1) % h->cfg.n_queue;
        h->n--;
        h->n_started--;
        *busy = true;
    }
fail:
    return st;
}

status
hop_push(hop *h, bool *busy)
{
    status st = ST_OK;
    if (h->n == 0)
        return ST_OK;
    TRY(finish(h, busy));
    TRY(start(h, busy));
fail:
    return st;
}

/* ----------------------------------------------------------------- in --- */

status
hop_poll(hop *h, hop_state *state, bool *busy)
{
    status st = ST_OK;
    bool done = false;

    *state = HOP_NONE;
    if (h->cfg.from < 0)
        return ST_OK;
    if (h->step == STEP_HEAD) {
        TRY(comm_test(h->c, &h->head_req, &done));
        if (done) {
            h->step = STEP_WAITING;
            *busy = true;
        }
    } else if (h->step == STEP_DATA) {
        TRY(comm_test(h->c, &h->data_req, &done));
        if (done) {
            if (h->cfg.staged && h->to.buf != NULL)
                TRY(engine_write(h->e, &h->to, h->landing));
            h->step = STEP_ARRIVED;
            *busy = true;
        }
    }
    if (h->step == STEP_WAITING)
        *state = HOP_WAITING;
    else if (h->step == STEP_ARRIVED)
        *state = HOP_ARRIVED;
fail:
    return st;
}

const hop_header *
hop_head(const hop *h)
{
    return &h->head;
}

status
hop_take(hop *h, const engine_place *to)
{
    status st = ST_OK;
    size_t len = (size_t)h->head.len;
    void *data = h->landing;

    h->to = to != NULL ? *to : (engine_place){0};
    if (len == 0) {
        h->step = STEP_ARRIVED;
        return ST_OK;
    }
    if (len > h->cfg.max_payload || (to != NULL && to->len != len))
        return status_fail(ST_WIRE, "a hop of %zu bytes has no such place",
                           len);
    if (to != NULL && !h->cfg.staged)
        data = kernel_buf_mpi(to->buf, to->offset);
    TRY(comm_irecv(h->c, &h->data_req, (uint32_t)h->cfg.from, TAG_HOP_DATA,
                   data, len));
    h->step = STEP_DATA;
fail:
    return st;
}

void *
hop_data(const hop *h)
{
    if (h->head.len == 0)
        return NULL;
    if (h->to.buf == NULL || h->cfg.staged)
        return h->landing;
    return kernel_buf_mpi(h->to.buf, h->to.offset);
}

status
hop_next(hop *h)
{
    ASSERT(h->step == STEP_ARRIVED);
    return await_head(h);
}

void
hop_touch(hop *h)
{
    /* Any test drives all of MPI.  A request that it finds done is idle from
     * then on, and so counts as done when it is asked again; a failure shows
     * again too. */
    bool done = false;
    comm_request *req = h->step == STEP_DATA ? &h->data_req : &h->head_req;
    if (h->n_started > 0 &&
        comm_test(h->c, &parcel_at(h, 0)->data_req, &done) != ST_OK)
        return;
    if (comm_test(h->c, req, &done) != ST_OK)
        return;
}
