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
    /* What is staged has given its place back, so it comes on top. */
    h->n_parcel = (h->cfg.queue != NULL ? 2 : 1) * h->cfg.n_queue;
    TRY(mem_new(&h->parcel, h->n_parcel, sizeof *h->parcel));
    if (h->cfg.queue != NULL)
        TRY(hop_stages_init(&h->out, h->cfg.queue, h->cfg.n_stage,
                            h->cfg.max_payload));
fail:
    return st;
}

status
hop_new(hop **out, comm *c, const hop_config *cfg)
{
    hop *h = NULL;
    status st = ST_OK;

    ASSERT(cfg->queue == NULL || cfg->n_stage > 0);
    TRY(mem_new(&h, 1, sizeof *h));
    h->c = c;
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
    hop_stages_fini(&h->out);
    mem_free(h->parcel);
    mem_free(h);
}

status
hop_failed(const hop *h)
{
    return h->failed == ST_OK ? ST_OK
                              : status_fail(h->failed, "%s", h->failure);
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
    return &h->parcel[(h->first + i) % h->n_parcel];
}

void
hop_send(hop *h, const hop_header *head, const engine_place *from,
         uint64_t local_seg)
{
    ASSERT(h->n < h->n_parcel && head->len <= h->cfg.max_payload);
    hop_parcel *p = parcel_at(h, h->n++);
    *p = (hop_parcel){.head = *head, .local_seg = local_seg, .stage = -1};
    if (from != NULL)
        p->from = *from;
}

/* Has the device copy payloads to stages, as far as there are some.  Their
 * places are free at once (hop.h). */
static status
stage(hop *h, bool *busy)
{
    status st = ST_OK;
    for (; h->n_staged < h->n; h->n_staged++) {
        hop_parcel *p = parcel_at(h, h->n_staged);
        /* Behind one that nobody takes yet others go on, but not for ever. */
        if (h->n_staged == h->cfg.n_queue)
            break;
        if (h->cfg.queue != NULL && p->head.len > 0) {
            TRY(hop_stages_find(&h->out, &p->stage));
            if (p->stage < 0)
                break;
            hop_stages_take(&h->out, p->stage);
            TRY(hop_stages_fill(&h->out, p->stage, &p->from));
            p->sent = true;
            h->cfg.sent(h->cfg.ctx, &p->head, p->local_seg);
        }
        *busy = true;
    }
fail:
    return st;
}

/* Where MPI finds the payload of `p`; *data NULL: it is not there yet. */
static status
payload(hop *h, const hop_parcel *p, const void **data)
{
    status st = ST_OK;
    bool filled = false;
    *data = NULL;
    if (p->stage < 0) {
        *data = hop_address(h, &p->from);
        return ST_OK;
    }
    TRY(hop_stages_filled(&h->out, p->stage, &filled));
    if (filled)
        *data = hop_stages_data(&h->out, p->stage);
fail:
    return st;
}

status
hop_start(hop *h, bool *busy)
{
    status st = ST_OK;
    uint32_t to = (uint32_t)h->cfg.to;
    while (h->n_started < h->n_staged) {
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

/* A stage is free as soon as MPI is through with it, also behind a hop of
 * another stream that nobody takes yet. */
static status
empty(hop *h, bool *busy)
{
    status st = ST_OK;
    for (uint32_t i = 0; i < h->n_started; i++) {
        hop_parcel *p = parcel_at(h, i);
        bool done = false;
        if (p->stage < 0)
            continue;
        TRY(comm_test(h->c, &p->data_req, &done));
        if (!done)
            continue;
        hop_stages_give(&h->out, p->stage);
        p->stage = -1;
        *busy = true;
    }
fail:
    return st;
}

static status
finish(hop *h, bool *busy)
{
    status st = ST_OK;
    TRY(empty(h, busy));
    while (h->n_started > 0) {
        hop_parcel *p = parcel_at(h, 0);
        bool done = false;
        TRY(comm_test(h->c, &p->head_req, &done));
        if (done)
            TRY(comm_test(h->c, &p->data_req, &done));
        if (!done)
            break;
        if (p->stage >= 0)
            hop_stages_give(&h->out, p->stage);
        if (!p->sent)
            h->cfg.sent(h->cfg.ctx, &p->head, p->local_seg);
        h->first = (h->first + 1) % h->n_parcel;
        h->n--;
        h->n_staged--;
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
    TRY(hop_failed(h));
    if (h->n == 0)
        return ST_OK;
    TRY(finish(h, busy));
    TRY(stage(h, busy));
    TRY(hop_start(h, busy));
fail:
    return st;
}
