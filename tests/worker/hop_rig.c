/* SPDX-License-Identifier: Apache-2.0 */
/* A late device, and MPI by hand. */
#include "tests/worker/hop_rig.h"

#include <string.h>

#include "base/mem.h"

typedef struct late_event {
    kernel_event base;
    uint32_t at; /* reached when so many copies are made */
} late_event;

static hop_rig *
rig_of(kernel_device *dev)
{
    return (hop_rig *)dev; /* its first member */
}

/* -------------------------------------------------------------- device --- */

static status
host_new(void **out, kernel_device *dev, size_t bytes)
{
    if (rig_of(dev)->host_fails != ST_OK)
        return status_fail(rig_of(dev)->host_fails, "asked for");
    return mem_new(out, bytes, 1);
}

static void
host_free(kernel_device *dev, void *host)
{
    (void)dev;
    mem_free(host);
}

static status
put_copy(kernel_queue *q, const device_copy *copy)
{
    hop_rig *r = rig_of(q->dev);
    if (r->copy_fails != ST_OK)
        return status_fail(r->copy_fails, "asked for");
    assert_true(r->n_put < HOP_RIG_MOST);
    r->copy[r->n_put++] = *copy;
    return ST_OK;
}

void
hop_rig_copy(hop_rig *r, uint32_t n)
{
    for (; n > 0 && r->n_done < r->n_put; n--) {
        const device_copy *c = &r->copy[r->n_done++];
        if (c->dst != NULL)
            memcpy(((hop_rig_buf *)c->dst)->bytes, c->host_src, c->bytes);
        else
            memcpy(c->host_dst, ((const hop_rig_buf *)c->src)->bytes, c->bytes);
    }
}

static status
event_new(kernel_event **out, kernel_device *dev)
{
    late_event *ev = NULL;
    status st = mem_new(&ev, 1, sizeof *ev);
    if (st != ST_OK)
        return st;
    ev->base.dev = dev;
    *out = &ev->base;
    return ST_OK;
}

static void
event_free(kernel_event *ev)
{
    mem_free(ev);
}

static status
event_record(kernel_event *ev, kernel_queue *q)
{
    ((late_event *)ev)->at = rig_of(q->dev)->n_put;
    return ST_OK;
}

static status
event_query(kernel_event *ev, bool *reached)
{
    const hop_rig *r = rig_of(ev->dev);
    if (r->query_fails != ST_OK)
        return status_fail(r->query_fails, "asked for");
    *reached = r->n_done >= ((late_event *)ev)->at;
    return ST_OK;
}

static status
event_wait(kernel_event *ev)
{
    hop_rig *r = rig_of(ev->dev);
    while (r->n_done < ((late_event *)ev)->at)
        hop_rig_copy(r, 1);
    return ST_OK;
}

static const device_table late_table = {.host_new = host_new,
                                        .host_free = host_free,
                                        .copy = put_copy,
                                        .event_new = event_new,
                                        .event_free = event_free,
                                        .event_record = event_record,
                                        .event_query = event_query,
                                        .event_wait = event_wait};

void
hop_rig_write(hop_rig *r, uint32_t place, const uint8_t *bytes)
{
    EXPECT_OK(kernel_copy_in(&r->queue, &r->place[place].base, 0, bytes,
                             HOP_RIG_BYTES));
}

void
hop_rig_fill(hop_rig *r, uint32_t place, uint8_t value)
{
    memset(r->place[place].bytes, value, HOP_RIG_BYTES);
}

static bool
all_are(const uint8_t *bytes, uint8_t value)
{
    for (size_t i = 0; i < HOP_RIG_BYTES; i++) {
        if (bytes[i] != value)
            return false;
    }
    return true;
}

bool
hop_rig_holds(const hop_rig *r, uint32_t place, uint8_t value)
{
    return all_are(r->place[place].bytes, value);
}

/* ----------------------------------------------------------------- MPI --- */

static void
begin(comm_request *req, hop_rig_message *m)
{
    *req = (comm_request){.n_piece = 1, .piece = {m}};
}

status
comm_isend(comm *c, comm_request *req, uint32_t peer, int tag, const void *data,
           size_t len, bool sync)
{
    assert_int_equal(peer, 1);
    assert_true(c->n_sent < HOP_RIG_MOST && sync == (tag != TAG_HOP));
    hop_rig_message *m = &c->sent[c->n_sent++];
    /* Read only, as MPI does. */
    *m = (hop_rig_message){.tag = tag, .len = len};
    memcpy(&m->data, &data, sizeof data);
    begin(req, m);
    return ST_OK;
}

status
comm_irecv(comm *c, comm_request *req, uint32_t peer, int tag, void *data,
           size_t len)
{
    assert_int_equal(peer, 1);
    assert_true(c->n_posted < HOP_RIG_MOST);
    hop_rig_message *m = &c->posted[c->n_posted++];
    *m = (hop_rig_message){.tag = tag, .data = data, .len = len};
    begin(req, m);
    return ST_OK;
}

status
comm_test(comm *c, comm_request *req, bool *done)
{
    const hop_rig_message *m = req->piece[0];
    (void)c;
    *done = req->n_piece == 0 || m->done;
    if (*done)
        req->n_piece = 0;
    return ST_OK;
}

void
comm_turn(comm *c)
{
    (void)c;
}

void
comm_cancel(comm *c, comm_request *req)
{
    (void)c;
    req->n_piece = 0;
}

void
hop_rig_take(hop_rig *r, uint32_t i, uint8_t value)
{
    hop_rig_message *m = &r->mpi.sent[i];
    assert_true(i < r->mpi.n_sent && !m->done && m->tag >= TAG_HOP_DATA);
    assert_int_equal(m->len, HOP_RIG_BYTES);
    assert_true(all_are(m->data, value));
    assert_true(r->mpi.sent[i - 1].tag == TAG_HOP);
    r->mpi.sent[i - 1].done = true;
    m->done = true;
}

static hop_rig_message *
find_posted(hop_rig *r, int tag)
{
    for (uint32_t i = 0; i < r->mpi.n_posted; i++) {
        hop_rig_message *m = &r->mpi.posted[i];
        if (m->tag == tag && !m->done)
            return m;
    }
    return NULL;
}

void
hop_rig_head(hop_rig *r, uint32_t stream)
{
    hop_header head = {.kind = HOP_X, .stream = stream, .len = HOP_RIG_BYTES};
    hop_rig_message *m = find_posted(r, TAG_HOP);
    assert_true(m != NULL && m->len == sizeof head);
    memcpy(m->data, &head, sizeof head);
    m->done = true;
}

const uint8_t *
hop_rig_data(hop_rig *r, uint32_t stream, uint8_t value)
{
    hop_rig_message *m = find_posted(r, TAG_HOP_DATA + (int)stream);
    if (m == NULL)
        return NULL;
    assert_int_equal(m->len, HOP_RIG_BYTES);
    memset(m->data, value, m->len);
    m->done = true;
    return m->data;
}

uint32_t
hop_rig_posted(const hop_rig *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->mpi.n_posted; i++)
        n += r->mpi.posted[i].tag >= TAG_HOP_DATA;
    return n;
}

/* ---------------------------------------------------------------- hops --- */

static void
on_sent(void *ctx, const hop_header *head, uint64_t local_seg)
{
    hop_rig *r = ctx;
    (void)head;
    (void)local_seg;
    r->n_back++;
}

static status
give_place(void *ctx, const hop_header *head, engine_place *to,
           hop_verdict *verdict)
{
    hop_rig *r = ctx;
    *verdict = r->verdict[head->stream];
    if (*verdict == HOP_TAKE)
        *to = (engine_place){.buf = &r->place[r->n_given++].base,
                             .len = HOP_RIG_BYTES};
    return ST_OK;
}

status
hop_rig_open(hop_rig *r, uint32_t n_stage)
{
    hop_config cfg = {.from = 1,
                      .to = 1,
                      .n_stream = HOP_RIG_STREAM,
                      .n_queue = HOP_RIG_QUEUE,
                      .max_payload = HOP_RIG_BYTES,
                      .queue = &r->queue,
                      .n_stage = n_stage,
                      .sent = on_sent,
                      .place = give_place,
                      .ctx = r};

    r->dev.table = &late_table;
    r->queue.dev = &r->dev;
    for (uint32_t i = 0; i < HOP_RIG_PLACE; i++)
        r->place[i].base =
            (kernel_buf){.dev = &r->dev, .bytes = HOP_RIG_BYTES, .n_item = 1};
    return hop_new(&r->h, &r->mpi, &cfg);
}

void
hop_rig_close(hop_rig *r)
{
    hop_free(r->h);
    r->h = NULL;
    /* Nothing reads or writes what was freed. */
    for (uint32_t i = r->n_done; i < r->n_put; i++)
        assert_true(r->copy[i].host_src == NULL && r->copy[i].host_dst == NULL);
}

void
hop_rig_send(hop_rig *r, uint32_t stream, uint32_t place)
{
    hop_header head = {.kind = HOP_X, .stream = stream, .len = HOP_RIG_BYTES};
    engine_place from = {.buf = &r->place[place].base, .len = HOP_RIG_BYTES};
    hop_send(r->h, &head, &from, 0);
}
