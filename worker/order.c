/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the lead on their way to the ranks. */
#include "worker/order.h"

#include <string.h>

#include "base/mem.h"

/* ------------------------------------------------------- the lead's end */

typedef struct letter {
    command cmd;
    comm_request head_req, data_req;
} letter;

/* A ring of letters a rank; ids have a ring of their own beside it. */
typedef struct outbox {
    letter *letter;
    int32_t *ids;
    uint32_t first, n;
    uint64_t n_segment; /* ever sent */
} outbox;

struct order_out {
    comm *c;
    order_out_config cfg;
    outbox *box; /* [n_rank], 0 unused */
};

status
order_out_new(order_out **out, comm *c, const order_out_config *cfg)
{
    order_out *o = NULL;
    status st = ST_OK;
    size_t n_id = 0;

    TRY(mem_new(&o, 1, sizeof *o));
    o->c = c;
    o->cfg = *cfg;
    TRY(size_mul(&n_id, cfg->n_segment, cfg->max_token));
    TRY(mem_new(&o->box, cfg->n_rank, sizeof *o->box));
    for (uint32_t rank = 1; rank < cfg->n_rank; rank++) {
        outbox *b = &o->box[rank];
        TRY(mem_new(&b->letter, cfg->n_queue, sizeof *b->letter));
        TRY(mem_new(&b->ids, n_id, sizeof *b->ids));
    }
    *out = o;
    return ST_OK;
fail:
    order_out_free(o);
    return st;
}

void
order_out_free(order_out *o)
{
    if (o == NULL)
        return;
    for (uint32_t rank = 1; o->box != NULL && rank < o->cfg.n_rank; rank++) {
        mem_free(o->box[rank].ids);
        mem_free(o->box[rank].letter);
    }
    mem_free(o->box);
    mem_free(o);
}

/* Forgets what has been sent, in order. */
static status
clear(order_out *o, outbox *b)
{
    status st = ST_OK;
    while (b->n > 0) {
        letter *l = &b->letter[b->first];
        bool done = false;
        TRY(comm_test(o->c, &l->head_req, &done));
        if (done)
            TRY(comm_test(o->c, &l->data_req, &done));
        if (!done)
            break;
        b->first = (b->first + 1) % o->cfg.n_queue;
        b->n--;
    }
fail:
    return st;
}

status
order_send(order_out *o, uint32_t rank, const command *cmd, const void *data)
{
    status st = ST_OK;
    outbox *b = &o->box[rank];

    TRY(clear(o, b));
    ASSERT(b->n < o->cfg.n_queue);
    letter *l = &b->letter[(b->first + b->n) % o->cfg.n_queue];
    *l = (letter){.cmd = *cmd};
    if (cmd->kind == COMMAND_SEGMENT) {
        size_t slot = b->n_segment % o->cfg.n_segment;
        int32_t *ids = b->ids + slot * o->cfg.max_token;
        memcpy(ids, data, (size_t)cmd->len);
        data = ids;
        b->n_segment++;
    }
    b->n++;
    TRY(comm_isend(o->c, &l->head_req, rank, TAG_COMMAND, &l->cmd,
                   sizeof l->cmd, false));
    if (cmd->len > 0)
        TRY(comm_isend(o->c, &l->data_req, rank, TAG_COMMAND_DATA, data,
                       (size_t)cmd->len, false));
fail:
    return st;
}

status
order_push(order_out *o, uint32_t *n_left)
{
    status st = ST_OK;
    uint32_t n = 0;
    for (uint32_t rank = 1; rank < o->cfg.n_rank; rank++) {
        TRY(clear(o, &o->box[rank]));
        n += o->box[rank].n;
    }
    *n_left = n;
fail:
    return st;
}

/* --------------------------------------------------------- a rank's end */

typedef enum step { STEP_HEAD = 0, STEP_DATA, STEP_HERE } step;

struct order_in {
    comm *c;
    step step;
    command cmd;
    comm_request req;
    uint8_t *data;
    size_t max_data;
};

status
order_in_new(order_in **out, comm *c, size_t max_data)
{
    order_in *in = NULL;
    status st = ST_OK;

    TRY(mem_new(&in, 1, sizeof *in));
    in->c = c;
    in->max_data = max_data;
    TRY(mem_new(&in->data, max_data, 1));
    TRY(order_next(in));
    *out = in;
    return ST_OK;
fail:
    order_in_free(in);
    return st;
}

void
order_in_free(order_in *in)
{
    if (in == NULL)
        return;
    comm_cancel(in->c, &in->req);
    mem_free(in->data);
    mem_free(in);
}

status
order_poll(order_in *in, const command **cmd, const void **data)
{
    status st = ST_OK;
    bool done = true;

    *cmd = NULL;
    if (in->step == STEP_HEAD) {
        TRY(comm_test(in->c, &in->req, &done));
        if (!done)
            return ST_OK;
        if (in->cmd.len > in->max_data)
            return status_fail(ST_WIRE, "a command with %llu bytes",
                               (unsigned long long)in->cmd.len);
        in->step = STEP_HERE;
        if (in->cmd.len > 0) {
            TRY(comm_irecv(in->c, &in->req, 0, TAG_COMMAND_DATA, in->data,
                           (size_t)in->cmd.len));
            in->step = STEP_DATA;
        }
    }
    if (in->step == STEP_DATA) {
        TRY(comm_test(in->c, &in->req, &done));
        if (!done)
            return ST_OK;
        in->step = STEP_HERE;
    }
    *cmd = &in->cmd;
    *data = in->data;
fail:
    return st;
}

status
order_next(order_in *in)
{
    in->step = STEP_HEAD;
    return comm_irecv(in->c, &in->req, 0, TAG_COMMAND, &in->cmd,
                      sizeof in->cmd);
}
