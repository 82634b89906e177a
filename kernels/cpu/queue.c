/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of "cpu": copies happen at once, groups when they end, events are
 * always reached. */
#include "base/mem.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/group.h"

typedef struct cpu_queue {
    kernel_queue base;
    cpu_group group;
} cpu_queue;

static status
open_now(kernel_device **out, const kernel_config *cfg)
{
    return cpu_open(out, &cpu_table, cfg);
}

static void *
buf_host(kernel_buf *buf, size_t offset)
{
    return ((cpu_buf *)buf)->memory.data + offset;
}

static void
queue_free(kernel_queue *base)
{
    cpu_queue *q = (cpu_queue *)base;

    cpu_group_fini(&q->group);
    mem_free(q);
}

static status
queue_new(kernel_queue **out, kernel_device *dev)
{
    cpu_queue *q = NULL;
    status st;

    TRY(mem_new(&q, 1, sizeof(*q)));
    q->base.dev = dev;
    TRY(cpu_group_init(&q->group, (const cpu_device *)dev));
    cpu_group_touch(&q->group, (cpu_device *)dev);
    *out = &q->base;
    return ST_OK;
fail:
    mem_free(q);
    return st;
}

static status
copy_now(kernel_queue *base, const device_copy *copy)
{
    (void)base;
    cpu_copy_run(copy);
    return ST_OK;
}

static status
begin(kernel_queue *base, const kernel_cell *cells, uint32_t n_cell)
{
    cpu_queue *q = (cpu_queue *)base;
    status st = cpu_group_begin(&q->group, cells, n_cell);

    base->cells = q->group.cells;
    return st;
}

static status
add(kernel_queue *base, const device_op *op)
{
    return cpu_group_add(&((cpu_queue *)base)->group, op);
}

static status
end(kernel_queue *base)
{
    cpu_queue *q = (cpu_queue *)base;
    cpu_device *dev = (cpu_device *)base->dev;
    status st = cpu_group_ready(&q->group);

    if (st != ST_OK)
        return st;
    (void)pthread_mutex_lock(&dev->lock);
    cpu_group_run(&q->group, dev, base->hook, base->hook_ctx);
    (void)pthread_mutex_unlock(&dev->lock);
    return ST_OK;
}

static status
sync_now(kernel_queue *base)
{
    (void)base;
    return ST_OK;
}

static status
event_new(kernel_event **out, kernel_device *dev)
{
    kernel_event *ev = NULL;
    status st = mem_new(&ev, 1, sizeof(*ev));

    if (st == ST_OK) {
        ev->dev = dev;
        *out = ev;
    }
    return st;
}

static void
event_free(kernel_event *ev)
{
    mem_free(ev);
}

static status
event_record(kernel_event *ev, kernel_queue *q)
{
    (void)ev;
    (void)q;
    return ST_OK;
}

static status
event_query(kernel_event *ev, bool *reached)
{
    (void)ev;
    *reached = true;
    return ST_OK;
}

static status
event_wait(kernel_event *ev)
{
    (void)ev;
    return ST_OK;
}

const device_table cpu_table = {
    .open = open_now,
    .close = cpu_close,
    .info = cpu_info,
    .measure = cpu_measure,
    .measure_read = cpu_measure_read,
    .buf_new = cpu_buf_new,
    .buf_free = cpu_buf_free,
    .buf_host = buf_host,
    .queue_new = queue_new,
    .queue_free = queue_free,
    .copy = copy_now,
    .begin = begin,
    .op = add,
    .end = end,
    .sync = sync_now,
    .event_new = event_new,
    .event_free = event_free,
    .event_record = event_record,
    .event_query = event_query,
    .event_wait = event_wait,
};
