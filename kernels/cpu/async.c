/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of "cpu-async": a thread carries out groups and copies some time
 * after they were enqueued.
 *
 * For tests: what would go wrong on a GPU goes wrong here.  Work starts late,
 * no buffer has an address for MPI, and between groups scratch is spoilt. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/group.h"

enum {
    LATE_US = 100,   /* before each piece of work */
    HOOK_NS = 200000 /* between two calls of the hook while waiting */
};

typedef struct command {
    struct command *next;
    bool is_copy;
    device_copy copy;
    cpu_group group;
} command;

typedef struct async_queue {
    kernel_queue base;
    command *open; /* the group being recorded, or NULL */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t put, done;
    command *first, *last; /* waiting */
    command *spare;        /* to be used again */
    uint64_t n_put, n_done;
    bool stop;
} async_queue;

typedef struct async_event {
    kernel_event base;
    async_queue *q; /* of the last record, or NULL */
    uint64_t at;    /* reached when so many commands are done */
} async_event;

static status
open_late(kernel_device **out, const kernel_config *cfg)
{
    return cpu_open(out, &cpu_async_table, cfg);
}

static void *
buf_host(kernel_buf *buf, size_t offset)
{
    (void)buf;
    (void)offset;
    return NULL;
}

static void *
buf_device(kernel_buf *buf, size_t offset)
{
    return ((cpu_buf *)buf)->memory.data + offset;
}

/* ---------------------------------------------------------- the thread --- */

/* Bytes of all ones are NaNs. */
static void
spoil_scratch(const cpu_device *dev)
{
    size_t n_share = 2 * (size_t)parallel_threads(dev->threads) - 1;

    for (const cpu_buf *buf = dev->scratch; buf != NULL; buf = buf->next)
        memset(buf->memory.data, 0xff, n_share * buf->step);
}

static void
carry_out(async_queue *q, command *c)
{
    cpu_device *dev = (cpu_device *)q->base.dev;

    clock_sleep_us(LATE_US);
    if (c->is_copy) {
        cpu_copy_run(&c->copy);
        return;
    }
    (void)pthread_mutex_lock(&dev->lock);
    spoil_scratch(dev);
    cpu_group_run(&c->group, dev, NULL, NULL);
    spoil_scratch(dev);
    (void)pthread_mutex_unlock(&dev->lock);
}

static void *
thread_main(void *ctx)
{
    async_queue *q = ctx;

    (void)pthread_mutex_lock(&q->lock);
    for (;;) {
        command *c = q->first;

        if (c == NULL && q->stop)
            break;
        if (c == NULL) {
            (void)pthread_cond_wait(&q->put, &q->lock);
            continue;
        }
        q->first = c->next;
        (void)pthread_mutex_unlock(&q->lock);
        carry_out(q, c);
        (void)pthread_mutex_lock(&q->lock);
        c->next = q->spare;
        q->spare = c;
        q->n_done++;
        (void)pthread_cond_broadcast(&q->done);
    }
    (void)pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* ----------------------------------------------------------- commands --- */

static void
command_free(command *c)
{
    while (c != NULL) {
        command *next = c->next;

        cpu_group_fini(&c->group);
        mem_free(c);
        c = next;
    }
}

/* A command that was done before, or a new one. */
static status
command_take(command **out, async_queue *q)
{
    command *c;
    status st;

    (void)pthread_mutex_lock(&q->lock);
    c = q->spare;
    if (c != NULL)
        q->spare = c->next;
    (void)pthread_mutex_unlock(&q->lock);
    if (c == NULL) {
        TRY(mem_new(&c, 1, sizeof(*c)));
        TRY(cpu_group_init(&c->group, (const cpu_device *)q->base.dev));
    }
    c->next = NULL;
    *out = c;
    return ST_OK;
fail:
    mem_free(c);
    return st;
}

static void
command_put(async_queue *q, command *c)
{
    (void)pthread_mutex_lock(&q->lock);
    if (q->first == NULL)
        q->first = c;
    else
        q->last->next = c;
    q->last = c;
    q->n_put++;
    (void)pthread_cond_signal(&q->put);
    (void)pthread_mutex_unlock(&q->lock);
}

static void
command_drop(async_queue *q, command *c)
{
    (void)pthread_mutex_lock(&q->lock);
    c->next = q->spare;
    q->spare = c;
    (void)pthread_mutex_unlock(&q->lock);
}

static status
copy_late(kernel_queue *base, const device_copy *copy)
{
    async_queue *q = (async_queue *)base;
    command *c = NULL;
    status st = command_take(&c, q);

    if (st != ST_OK)
        return st;
    c->is_copy = true;
    c->copy = *copy;
    command_put(q, c);
    return ST_OK;
}

static status
begin(kernel_queue *base, const kernel_cell *cells, uint32_t n_cell)
{
    async_queue *q = (async_queue *)base;
    command *c = NULL;
    status st = command_take(&c, q);

    if (st != ST_OK)
        return st;
    st = cpu_group_begin(&c->group, cells, n_cell);
    if (st != ST_OK) {
        command_drop(q, c);
        return st;
    }
    c->is_copy = false;
    q->open = c;
    base->cells = c->group.cells;
    return ST_OK;
}

static status
add(kernel_queue *base, const device_op *op)
{
    return cpu_group_add(&((async_queue *)base)->open->group, op);
}

static status
end(kernel_queue *base)
{
    async_queue *q = (async_queue *)base;
    command *c = q->open;
    status st = cpu_group_ready(&c->group);

    q->open = NULL;
    if (st == ST_OK)
        command_put(q, c);
    else
        command_drop(q, c);
    return st;
}

/* ------------------------------------------------------ queue, waiting --- */

static void
wait_until(async_queue *q, uint64_t at)
{
    struct timespec until;

    (void)pthread_mutex_lock(&q->lock);
    while (q->n_done < at) {
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += HOOK_NS;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&q->done, &q->lock, &until);
        (void)pthread_mutex_unlock(&q->lock);
        if (q->base.hook != NULL)
            q->base.hook(q->base.hook_ctx);
        (void)pthread_mutex_lock(&q->lock);
    }
    (void)pthread_mutex_unlock(&q->lock);
}

static status
sync_late(kernel_queue *base)
{
    async_queue *q = (async_queue *)base;

    wait_until(q, q->n_put);
    return ST_OK;
}

static void
queue_free(kernel_queue *base)
{
    async_queue *q = (async_queue *)base;

    (void)pthread_mutex_lock(&q->lock);
    q->stop = true;
    (void)pthread_cond_signal(&q->put);
    (void)pthread_mutex_unlock(&q->lock);
    (void)pthread_join(q->thread, NULL);
    command_free(q->spare);
    command_free(q->open);
    (void)pthread_cond_destroy(&q->put);
    (void)pthread_cond_destroy(&q->done);
    (void)pthread_mutex_destroy(&q->lock);
    mem_free(q);
}

static status
queue_new(kernel_queue **out, kernel_device *dev)
{
    async_queue *q = NULL;
    status st = mem_new(&q, 1, sizeof(*q));

    if (st != ST_OK)
        return st;
    q->base.dev = dev;
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_cond_init(&q->put, NULL);
    (void)pthread_cond_init(&q->done, NULL);
    if (pthread_create(&q->thread, NULL, thread_main, q) != 0) {
        mem_free(q);
        return status_fail(ST_DEVICE, "cannot start the device's thread");
    }
    *out = &q->base;
    return ST_OK;
}

/* ------------------------------------------------------------- events --- */

static status
event_new(kernel_event **out, kernel_device *dev)
{
    async_event *ev = NULL;
    status st = mem_new(&ev, 1, sizeof(*ev));

    if (st == ST_OK) {
        ev->base.dev = dev;
        *out = &ev->base;
    }
    return st;
}

static void
event_free(kernel_event *ev)
{
    mem_free(ev);
}

static status
event_record(kernel_event *base, kernel_queue *q)
{
    async_event *ev = (async_event *)base;

    ev->q = (async_queue *)q;
    ev->at = ev->q->n_put; /* only this thread puts */
    return ST_OK;
}

static status
event_query(kernel_event *base, bool *reached)
{
    async_event *ev = (async_event *)base;

    *reached = true;
    if (ev->q != NULL) {
        (void)pthread_mutex_lock(&ev->q->lock);
        *reached = ev->q->n_done >= ev->at;
        (void)pthread_mutex_unlock(&ev->q->lock);
    }
    return ST_OK;
}

static status
event_wait(kernel_event *base)
{
    async_event *ev = (async_event *)base;

    if (ev->q != NULL)
        wait_until(ev->q, ev->at);
    return ST_OK;
}

const device_table cpu_async_table = {
    .open = open_late,
    .close = cpu_close,
    .info = cpu_info,
    .measure = cpu_measure,
    .measure_read = cpu_measure_read,
    .buf_new = cpu_buf_new,
    .buf_free = cpu_buf_free,
    .buf_host = buf_host,
    .buf_device = buf_device,
    .queue_new = queue_new,
    .queue_free = queue_free,
    .copy = copy_late,
    .begin = begin,
    .op = add,
    .end = end,
    .sync = sync_late,
    .event_new = event_new,
    .event_free = event_free,
    .event_record = event_record,
    .event_query = event_query,
    .event_wait = event_wait,
};
