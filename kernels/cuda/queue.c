/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of a GPU: a stream, copies through pinned memory, events.
 *
 * A copy between the device and ordinary host memory would wait for the stream.
 * So what is small goes through a pinned ring: in at once, out when somebody
 * learns that it has arrived.  What is pinned already (pinned.c) needs no ring,
 * whatever its size. */
#include <string.h>

#include "base/mem.h"
#include "kernels/cuda/host.h"

enum {
    RING_BYTES = 8 << 20,
    LARGEST = RING_BYTES / 4, /* what goes through the ring */
    N_PIECE = 1024            /* copies in the ring */
};

/* A copy in the ring. */
typedef struct piece {
    void *host_dst;        /* where it goes when it has arrived, or NULL */
    size_t at, bytes, end; /* `end`: in the ring's endless count of bytes */
    uint64_t number;       /* of the copy */
} piece;

typedef struct cuda_queue {
    kernel_queue base;
    cudaStream_t stream;
    cuda_group group;
    char *ring;
    size_t head, tail;  /* bytes put and taken, endless */
    piece *pieces;      /* [N_PIECE] */
    uint64_t put, done; /* pieces, endless */
    cudaEvent_t passed; /* behind all there is, for making room */
} cuda_queue;

typedef struct cuda_event {
    kernel_event base;
    cudaEvent_t event;
    cuda_queue *q; /* of the last record, or NULL */
    uint64_t put;  /* pieces before it */
} cuda_event;

/* -------------------------------------------------------------- queues --- */

static void
close_queue(cuda_queue *q)
{
    if (q->stream != NULL)
        (void)cudaStreamSynchronize(q->stream);
    cuda_group_fini(&q->group);
    if (q->passed != NULL)
        (void)cudaEventDestroy(q->passed);
    if (q->stream != NULL)
        (void)cudaStreamDestroy(q->stream);
    (void)cudaFreeHost(q->ring);
    mem_free(q->pieces);
    mem_free(q);
}

status
cuda_queue_new(kernel_queue **out, kernel_device *dev)
{
    cuda_queue *q = NULL;
    void *ring = NULL;
    status st;

    TRY(mem_new(&q, 1, sizeof(*q)));
    q->base.dev = dev;
    TRY(mem_new(&q->pieces, N_PIECE, sizeof(*q->pieces)));
    TRY(cuda_enter(dev));
    TRY(cuda_status(
        cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking),
        "no stream"));
    TRY(cuda_status(
        cudaEventCreateWithFlags(&q->passed, cudaEventDisableTiming),
        "no event"));
    TRY(cuda_status(cudaMallocHost(&ring, RING_BYTES), "no pinned memory"));
    q->ring = ring;
    TRY(cuda_group_init(&q->group, (cuda_device *)dev, q->stream));
    *out = &q->base;
    return ST_OK;
fail:
    if (q != NULL)
        close_queue(q);
    return st;
}

/* ---------------------------------------------------------------- ring --- */

/* Everything before piece `number` has arrived. */
static void
settle(cuda_queue *q, uint64_t number)
{
    for (; q->done < number; q->done++) {
        piece *p = &q->pieces[q->done % N_PIECE];

        if (p->host_dst != NULL)
            memcpy(p->host_dst, q->ring + p->at, p->bytes);
        q->tail = p->end;
    }
}

static status
wait_for_all(cuda_queue *q)
{
    status st = ST_OK;

    TRY(cuda_program_flush(&q->group.program));
    TRY(cuda_status(cudaStreamSynchronize(q->stream), "the GPU failed"));
    settle(q, q->put);
fail:
    return st;
}

/* Room for a copy of `bytes`; waits for the stream when there is none. */
static status
ring_take(cuda_queue *q, piece **out, size_t bytes)
{
    enum { ALIGN = 256 };
    size_t need = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    size_t at = q->head % RING_BYTES;
    size_t skip = at + need > RING_BYTES ? RING_BYTES - at : 0;
    piece *p;

    if (q->head + skip + need - q->tail > RING_BYTES ||
        q->put - q->done == N_PIECE) {
        status st = wait_for_all(q);

        if (st != ST_OK)
            return st;
    }
    q->head += skip;
    p = &q->pieces[q->put % N_PIECE];
    *p = (piece){.at = q->head % RING_BYTES, .bytes = bytes};
    q->head += need;
    p->end = q->head;
    q->put++;
    *out = p;
    return ST_OK;
}

static char *
at(const kernel_buf *buf, size_t offset)
{
    return ((const cuda_buf *)buf)->data + offset;
}

/* Whether a copy of these bytes of the host goes through the ring. */
static bool
in_ring(const cuda_queue *q, const void *host, size_t bytes)
{
    return bytes <= LARGEST && !cuda_pinned_holds(q->base.dev, host, bytes);
}

static status
copy_in(cuda_queue *q, const device_copy *c)
{
    const void *from = c->host_src;
    piece *p = NULL;
    status st = ST_OK;

    if (in_ring(q, c->host_src, c->bytes)) {
        st = ring_take(q, &p, c->bytes);
        if (st != ST_OK)
            return st;
        from = memcpy(q->ring + p->at, c->host_src, c->bytes);
    }
    return cuda_status(cudaMemcpyAsync(at(c->dst, c->dst_offset), from,
                                       c->bytes, cudaMemcpyHostToDevice,
                                       q->stream),
                       "copying to the GPU");
}

/* A copy of one number of 32 bits, from the device. */
static bool
is_number(const device_copy *c)
{
    return c->bytes == sizeof(int32_t) && c->src_offset % c->bytes == 0 &&
           c->dst_offset % c->bytes == 0;
}
static const int32_t *
number(const device_copy *c)
{
    return (const void *)at(c->src, c->src_offset);
}

static status
copy_out(cuda_queue *q, const device_copy *c)
{
    void *to = c->host_dst;
    piece *p = NULL;
    status st = ST_OK;

    if (in_ring(q, c->host_dst, c->bytes)) {
        st = ring_take(q, &p, c->bytes);
        if (st != ST_OK)
            return st;
        to = q->ring + p->at;
        p->host_dst = c->host_dst;
        if (is_number(c) &&
            cuda_program_picks(&q->group.program, to, number(c)))
            return ST_OK;
    }
    st = cuda_program_flush(&q->group.program);
    if (st != ST_OK)
        return st;
    return cuda_status(cudaMemcpyAsync(to, at(c->src, c->src_offset), c->bytes,
                                       cudaMemcpyDeviceToHost, q->stream),
                       "copying from the GPU");
}

static status
copy_on(cuda_queue *q, const device_copy *c)
{
    cuda_program *program = &q->group.program;
    void *to = at(c->dst, c->dst_offset);
    status st;

    if (is_number(c) && cuda_program_picks(program, to, number(c)))
        return ST_OK;
    st = cuda_program_flush(program);
    if (st != ST_OK ||
        (is_number(c) && cuda_program_holds(program, to, number(c))))
        return st;
    return cuda_status(cudaMemcpyAsync(to, at(c->src, c->src_offset), c->bytes,
                                       cudaMemcpyDeviceToDevice, q->stream),
                       "copying on the GPU");
}

status
cuda_queue_copy(kernel_queue *base, const device_copy *c)
{
    cuda_queue *q = (cuda_queue *)base;
    status st = cuda_enter(base->dev);

    if (st != ST_OK)
        return st;
    if (c->src != NULL)
        return c->dst == NULL ? copy_out(q, c) : copy_on(q, c);
    st = cuda_program_flush(&q->group.program);
    if (st != ST_OK)
        return st;
    if (c->is_random)
        return cuda_status(
            cuda_random(q->stream, at(c->dst, c->dst_offset), c->type,
                        c->bytes / kernel_type_size(c->type), &c->random),
            "filling");
    if (c->host_src != NULL)
        return copy_in(q, c);
    return cuda_status(
        cudaMemsetAsync(at(c->dst, c->dst_offset), 0, c->bytes, q->stream),
        "zeroing");
}

/* -------------------------------------------------------------- groups --- */

status
cuda_queue_begin(kernel_queue *base, const kernel_cell *cells, uint32_t n_cell)
{
    cuda_queue *q = (cuda_queue *)base;
    status st = cuda_enter(base->dev);

    if (st == ST_OK)
        st = cuda_group_begin(&q->group, cells, n_cell);
    base->cells = q->group.cells;
    return st;
}

status
cuda_queue_op(kernel_queue *base, const device_op *op)
{
    return cuda_group_add(&((cuda_queue *)base)->group, op);
}

status
cuda_queue_end(kernel_queue *base)
{
    return cuda_group_end(&((cuda_queue *)base)->group);
}

uint32_t
cuda_queue_ran(const kernel_queue *base, const char *names[], uint32_t max)
{
    const cuda_ran *ran = &((const cuda_queue *)base)->group.ran;

    for (uint32_t i = 0; i < ran->n && i < max; i++)
        names[i] = ran->name[i];
    return ran->n;
}

/* ------------------------------------------------------------- waiting --- */

/* Waits for an event, calling the queue's hook meanwhile. */
static status
wait_event(cuda_queue *q, cudaEvent_t event)
{
    cudaError_t code;

    if (q->base.hook == NULL)
        return cuda_status(cudaEventSynchronize(event), "the GPU failed");
    do {
        q->base.hook(q->base.hook_ctx);
        code = cudaEventQuery(event);
    } while (code == cudaErrorNotReady);
    return cuda_status(code, "the GPU failed");
}

status
cuda_queue_sync(kernel_queue *base)
{
    cuda_queue *q = (cuda_queue *)base;
    status st = ST_OK;

    TRY(cuda_enter(base->dev));
    TRY(cuda_program_flush(&q->group.program));
    TRY(cuda_status(cudaEventRecord(q->passed, q->stream), "the GPU failed"));
    TRY(wait_event(q, q->passed));
    settle(q, q->put);
fail:
    return st;
}

void
cuda_queue_free(kernel_queue *base)
{
    cuda_queue *q = (cuda_queue *)base;

    if (cuda_enter(base->dev) == ST_OK &&
        cuda_program_flush(&q->group.program) == ST_OK)
        (void)wait_for_all(q); /* copies on their way out arrive */
    close_queue(q);
}

/* -------------------------------------------------------------- events --- */

status
cuda_queue_event_new(kernel_event **out, kernel_device *dev)
{
    cuda_event *ev = NULL;
    status st;

    TRY(mem_new(&ev, 1, sizeof(*ev)));
    ev->base.dev = dev;
    TRY(cuda_enter(dev));
    TRY(cuda_status(
        cudaEventCreateWithFlags(&ev->event, cudaEventDisableTiming),
        "no event"));
    *out = &ev->base;
    return ST_OK;
fail:
    mem_free(ev);
    return st;
}

void
cuda_queue_event_free(kernel_event *base)
{
    cuda_event *ev = (cuda_event *)base;

    (void)cudaEventDestroy(ev->event);
    mem_free(ev);
}

status
cuda_queue_event_record(kernel_event *base, kernel_queue *q)
{
    cuda_event *ev = (cuda_event *)base;
    status st = cuda_enter(base->dev);

    if (st == ST_OK)
        st = cuda_program_flush(&((cuda_queue *)q)->group.program);
    if (st != ST_OK)
        return st;
    ev->q = (cuda_queue *)q;
    ev->put = ev->q->put;
    return cuda_status(cudaEventRecord(ev->event, ev->q->stream),
                       "the GPU failed");
}

status
cuda_queue_event_query(kernel_event *base, bool *reached)
{
    cuda_event *ev = (cuda_event *)base;
    cudaError_t code = ev->q != NULL ? cudaEventQuery(ev->event) : cudaSuccess;

    if (code == cudaErrorNotReady) {
        *reached = false;
        return ST_OK;
    }
    if (code != cudaSuccess)
        return cuda_status(code, "the GPU failed");
    if (ev->q != NULL)
        settle(ev->q, ev->put);
    *reached = true;
    return ST_OK;
}

status
cuda_queue_event_wait(kernel_event *base)
{
    cuda_event *ev = (cuda_event *)base;
    status st;

    if (ev->q == NULL)
        return ST_OK;
    st = wait_event(ev->q, ev->event);
    if (st == ST_OK)
        settle(ev->q, ev->put);
    return st;
}
