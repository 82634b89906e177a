/* SPDX-License-Identifier: Apache-2.0 */
/* Hops between two ranks: what comes while a group runs, streams that do not
 * wait for each other, hops of one stream that do.
 *
 *   hop_mpi DEVICE    one whose memory MPI cannot use has its hops staged
 *
 * Rank 0 sends, rank 1 receives; both agree at the end. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/hop.h"

/* Long enough for pieces, and for the way by a rendezvous. */
enum { N_STREAM = 3, N_PLACE = 4, BYTES = 3 << 20, LIMIT_S = 60 };
/* More hops than stages, each way. */
enum { N_STAGE = 2 };

typedef struct rig {
    comm *c;
    kernel_device *dev;
    kernel_queue *q;
    kernel_buf *buf[N_PLACE];
    uint8_t *bytes; /* of a place */
    hop *h;
    uint32_t n_sent;
    /* of rank 1 */
    hop_verdict verdict[N_STREAM]; /* of hops that have a payload */
    uint32_t n_asked[N_STREAM], n_given;
} rig;

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond))                                                           \
            return status_fail(ST_STATE, "line %d: %s", __LINE__, #cond);      \
    } while (0)

static void
on_sent(void *ctx, const hop_header *head, uint64_t local_seg)
{
    rig *r = ctx;
    (void)head;
    (void)local_seg;
    r->n_sent++;
}

/* Places are given in turn. */
static status
give_place(void *ctx, const hop_header *head, engine_place *to,
           hop_verdict *verdict)
{
    rig *r = ctx;
    r->n_asked[head->stream]++;
    *verdict = head->kind == HOP_FIN ? HOP_TAKE : r->verdict[head->stream];
    if (*verdict == HOP_TAKE && head->len > 0)
        *to = (engine_place){.buf = r->buf[r->n_given++], .len = BYTES};
    return ST_OK;
}

static status
rig_open(rig *r, comm *c, const char *device)
{
    kernel_config kc = {.device = device, .n_thread = 1};
    hop_config hc = {.from = comm_rank(c) == 1 ? 0 : -1,
                     .to = comm_rank(c) == 0 ? 1 : -1,
                     .n_stream = N_STREAM,
                     .n_queue = 8,
                     .max_payload = BYTES,
                     .n_stage = N_STAGE,
                     .sent = on_sent,
                     .place = give_place,
                     .ctx = r};
    status st = ST_OK;
    r->c = c;
    TRY(kernel_open(&r->dev, &kc));
    for (uint32_t i = 0; i < N_PLACE; i++)
        TRY(kernel_buf_new(&r->buf[i], r->dev, KERNEL_KEEP, BYTES, 1));
    TRY(mem_new(&r->bytes, BYTES, 1));
    TRY(kernel_queue_new(&r->q, r->dev));
    if (kernel_buf_host(r->buf[0], 0) == NULL)
        hc.queue = r->q;
    TRY(hop_new(&r->h, c, &hc));
fail:
    return st;
}

static void
rig_close(rig *r)
{
    hop_free(r->h);
    kernel_queue_free(r->q);
    for (uint32_t i = 0; i < N_PLACE && r->buf[i] != NULL; i++)
        kernel_buf_free(r->buf[i]);
    mem_free(r->bytes);
    kernel_close(r->dev);
}

/* ------------------------------------------------------------- the sender */

/* What place `at` holds is sent on. */
static status
queue(rig *r, uint32_t stream, uint32_t at)
{
    hop_header head = {.kind = HOP_X, .stream = stream, .len = BYTES};
    engine_place from = {.buf = r->buf[at], .len = BYTES};
    status st = ST_OK;
    memset(r->bytes, (int)at + 1, BYTES);
    TRY(kernel_copy_in(r->q, r->buf[at], 0, r->bytes, BYTES));
    TRY(kernel_sync(r->q));
    hop_send(r->h, &head, &from, 0);
fail:
    return st;
}

static status
send_all(rig *r)
{
    const hop_header fin = {.kind = HOP_FIN, .stream = 0};
    bool busy = false;
    status st = ST_OK;

    TRY(queue(r, 0, 0));
    TRY(queue(r, 1, 1));
    hop_send(r->h, &fin, NULL, 0);
    TRY(queue(r, 2, 2));
    TRY(queue(r, 1, 3));
    while (r->n_sent < 5)
        TRY(hop_push(r->h, &busy));
fail:
    return st;
}

/* ----------------------------------------------------------- the receiver */

static bool
is_staged(const rig *r)
{
    return kernel_buf_host(r->buf[0], 0) == NULL;
}

static status
await(rig *r, const hop_header **head)
{
    bool busy = false;
    status st = ST_OK;
    do
        TRY(hop_poll(r->h, head, &busy));
    while (*head == NULL);
fail:
    return st;
}

/* The next hop is one of `stream`, sent from place `sent`, and lies in `at`. */
static status
expect(rig *r, uint32_t stream, uint32_t sent, uint32_t at)
{
    const hop_header *head = NULL;
    status st = ST_OK;
    TRY(await(r, &head));
    CHECK(head->stream == stream && head->kind == HOP_X);
    const uint8_t *data = hop_data(r->h);
    CHECK(is_staged(r) || data == kernel_buf_host(r->buf[at], 0));
    for (size_t i = 0; i < BYTES; i++)
        CHECK(data[i] == sent + 1);
    TRY(hop_next(r->h));
    TRY(kernel_copy_out(r->q, r->bytes, r->buf[at], 0, BYTES));
    TRY(kernel_sync(r->q));
    for (size_t i = 0; i < BYTES; i++)
        CHECK(r->bytes[i] == sent + 1);
fail:
    return st;
}

static status
receive_in_place(rig *r)
{
    uint64_t end = clock_ns() + (uint64_t)LIMIT_S / 2 * 1000000000;
    const uint8_t *last = kernel_buf_host(r->buf[1], BYTES - 1);

    hop_group(r->h, true);
    while (((volatile const uint8_t *)last)[0] != 4 && clock_ns() < end)
        hop_touch(r->h);
    hop_group(r->h, false);
    CHECK(*last == 4);
    CHECK(r->n_given == 2);
    return ST_OK;
}

/* The two stages go to the first hop that has a place and to the one that is
 * dropped: the other has to wait. */
static status
receive_staged(rig *r)
{
    uint64_t end = clock_ns() + (uint64_t)LIMIT_S / 2 * 1000000000;

    hop_group(r->h, true);
    while ((r->n_given == 0 || r->n_asked[2] == 0) && clock_ns() < end)
        hop_touch(r->h);
    for (int i = 0; i < 1000; i++)
        hop_touch(r->h);
    hop_group(r->h, false);
    CHECK(r->n_given == 1 && r->n_asked[2] == 1);
    return ST_OK;
}

/* Stream 0 has no place yet: neither its first hop nor its end may come, all
 * others do. */
static status
receive_others(rig *r)
{
    const hop_header *head = NULL;
    hop_times times;
    bool busy = false;
    status st = ST_OK;

    r->verdict[1] = HOP_TAKE;
    r->verdict[2] = HOP_DROP;
    /* Behind a group all three come in without a poll, or as many as there are
     * stages. */
    TRY(is_staged(r) ? receive_staged(r) : receive_in_place(r));
    hop_times_get(r->h, &times);
    CHECK(times.total > 0 && times.hidden <= times.total);
    TRY(expect(r, 1, 1, 0));
    TRY(await(r, &head));
    CHECK(head->stream == 2 && hop_data(r->h) == NULL);
    TRY(hop_next(r->h));
    TRY(expect(r, 1, 3, 1));
    TRY(hop_poll(r->h, &head, &busy));
    CHECK(head == NULL && r->n_asked[0] > 1);
fail:
    return st;
}

static status
receive_all(rig *r)
{
    const hop_header *head = NULL;
    bool busy = false;
    status st = ST_OK;

    TRY(receive_others(r));
    r->verdict[0] = HOP_TAKE;
    TRY(expect(r, 0, 0, 2));
    TRY(await(r, &head));
    CHECK(head->stream == 0 && head->kind == HOP_FIN);
    CHECK(hop_data(r->h) == NULL);
    TRY(hop_next(r->h));
    TRY(hop_poll(r->h, &head, &busy));
    CHECK(head == NULL);
fail:
    return st;
}

int
main(int argc, char **argv)
{
    comm *c = NULL;
    const char *device = argc > 1 ? argv[1] : "cpu";
    rig r = {0};
    status st = ST_OK;

    TRY(comm_open(&c, &argc, &argv));
    alarm(LIMIT_S);
    st = rig_open(&r, c, device);
    if (st == ST_OK)
        st = comm_rank(c) == 0 ? send_all(&r) : receive_all(&r);
    if (st != ST_OK) {
        fprintf(stderr, "rank %u: %s: %s\n", comm_rank(c), status_name(st),
                status_text());
        comm_abort(c, 1);
    }
    st = comm_agree(c, st);
    rig_close(&r);
fail:
    comm_close(c);
    return st == ST_OK ? 0 : 1;
}
