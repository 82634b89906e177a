/* SPDX-License-Identifier: Apache-2.0 */
/* Hidden states and memory states on their way to the successor. */
#include "worker/hop.h"

#include "base/mem.h"
#include "worker/hop_impl.h"

static status
out_init(hop *h)
{
    status st = ST_OK;
    if (h->cfg.to < 0)
        return ST_OK;
    TRY(mem_new(&h->parcel, h->cfg.n_queue, sizeof *h->parcel));
    for (uint32_t i = 0; h->cfg.staged && i < HOP_N_STAGE; i++)
        TRY(mem_new(&h->out[i], h->cfg.max_payload, 1));
fail:
    return st;
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
    TRY(out_init(h));
    TRY(hop_in_init(h));
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
    hop_in_fini(h);
    for (uint32_t i = 0; i < HOP_N_STAGE; i++)
        mem_free(h->out[i]);
    mem_free(h->parcel);
    mem_free(h);
}

void *
hop_address(const hop *h, const engine_place *at)
{
    return h->cfg.direct ? kernel_buf_device(at->buf, at->offset)
                         : kernel_buf_host(at->buf, at->offset);
}

/* ---------------------------------------------------------------- out --- */

static hop_parcel *
parcel_at(hop *h, uint32_t i)
{
    return &h->parcel[(h->first + i) % h->cfg.n_queue];
}

void
hop_send(hop *h, const hop_header *head, const engine_place *from,
         uint64_t local_seg)
{
    ASSERT(h->n < h->cfg.n_queue && head->len <= h->cfg.max_payload);
    hop_parcel *p = parcel_at(h, h->n++);
    *p = (hop_parcel){.head = *head, .local_seg = local_seg, .stage = -1};
    if (from != NULL)
        p->from = *from;
}

static int
free_stage(const hop *h)
{
    for (int i = 0; i < HOP_N_STAGE; i++) {
        if (!h->out_used[i])
            return i;
    }
    return -1;
}

/* Where MPI finds the payload of `p`; *data NULL: no stage is free. */
static status
payload(hop *h, hop_parcel *p, const void **data)
{
    status st = ST_OK;
    *data = NULL;
    if (!h->cfg.staged) {
        *data = hop_address(h, &p->from);
        return ST_OK;
    }
    int i = free_stage(h);
    if (i < 0)
        return ST_OK;
    TRY(engine_read(h->e, &p->from, h->out[i]));
    h->out_used[i] = true;
    p->stage = i;
    h->cfg.sent(h->cfg.ctx, &p->head, p->local_seg);
    *data = h->out[i];
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
        hop_parcel *p = parcel_at(h, h->n_started);
        const void *data = NULL;
        if (p->head.len > 0) {
            TRY(payload(h, p, &data));
            if (data == NULL)
                break;
        }
        TRY(comm_isend(h->c, &p->head_req, to, TAG_HOP, &p->head,
                       sizeof p->head, false));
        if (p->head.len > 0)
            TRY(comm_isend(h->c, &p->data_req, to,
                           TAG_HOP_DATA + (int)p->head.stream, data,
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
        hop_parcel *p = parcel_at(h, 0);
        bool done = false;
        TRY(comm_test(h->c, &p->head_req, &done));
        if (done)
            TRY(comm_test(h->c, &p->data_req, &done));
        if (!done)
            break;
        if (p->stage < 0)
            h->cfg.sent(h->cfg.ctx, &p->head, p->local_seg);
        else
            h->out_used[p->stage] = false;
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
