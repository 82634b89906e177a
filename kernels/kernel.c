/* SPDX-License-Identifier: Apache-2.0 */
/* Devices by name, buffers, queues, groups: the way into the device's table. */
#include "kernels/kernel.h"

#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/cpu.h"
#ifdef LONGWAVE_CUDA
#include "kernels/cuda/cuda.h"
#endif
#include "kernels/device.h"

size_t
kernel_type_size(kernel_type type)
{
    if (type == KERNEL_I8)
        return 1;
    return type == KERNEL_BF16 || type == KERNEL_F16 ? 2 : 4;
}

/* ------------------------------------------------------------- device --- */

#ifdef LONGWAVE_CUDA
static status
open_cuda(kernel_device **out, const kernel_config *cfg)
{
    return cuda_table.open(out, cfg);
}
#else
static status
open_cuda(kernel_device **out, const kernel_config *cfg)
{
    (void)out;
    (void)cfg;
    return status_fail(ST_DEVICE, "this build has no CUDA backend");
}
#endif

/* A GPU if one can be used. */
static status
open_auto(kernel_device **out, const kernel_config *cfg)
{
    status st = open_cuda(out, cfg);

    return st == ST_DEVICE ? cpu_table.open(out, cfg) : st;
}

status
kernel_open(kernel_device **out, const kernel_config *cfg)
{
    const char *name = cfg->device;

    if (strcmp(name, "auto") == 0)
        return open_auto(out, cfg);
    if (strcmp(name, "cpu") == 0)
        return cpu_table.open(out, cfg);
    if (strcmp(name, "cpu-async") == 0)
        return cpu_async_table.open(out, cfg);
    if (strcmp(name, "cuda") == 0)
        return open_cuda(out, cfg);
    return status_fail(ST_ARG, "unknown device: %.40s", name);
}

void
kernel_close(kernel_device *dev)
{
    if (dev != NULL)
        dev->table->close(dev);
}

void
kernel_info_get(const kernel_device *dev, kernel_info *out)
{
    dev->table->info(dev, out);
}

status
kernel_measure_linear(kernel_device *dev, size_t m, size_t n, size_t k,
                      uint32_t n_run, kernel_rate *out)
{
    ASSERT(m > 0 && n > 0 && k > 0 && n_run > 0);
    return dev->table->measure(dev, m, n, k, n_run, out);
}

status
kernel_measure_read(kernel_device *dev, size_t bytes, double *rate)
{
    ASSERT(bytes > 0);
    return dev->table->measure_read(dev, bytes, rate);
}

/* ------------------------------------------------------------ buffers --- */

status
kernel_buf_new(kernel_buf **out, kernel_device *dev, kernel_use use,
               size_t bytes, size_t n_item)
{
    return dev->table->buf_new(out, dev, use, bytes, n_item);
}

void
kernel_buf_free(kernel_buf *buf)
{
    if (buf != NULL)
        buf->dev->table->buf_free(buf);
}

size_t
kernel_buf_bytes(const kernel_buf *buf)
{
    return buf->bytes;
}

void *
kernel_buf_host(kernel_buf *buf, size_t offset)
{
    ASSERT(buf->use == KERNEL_KEEP && offset <= buf->bytes);
    return buf->dev->table->buf_host(buf, offset);
}

void *
kernel_buf_device(kernel_buf *buf, size_t offset)
{
    const device_table *table = buf->dev->table;

    ASSERT(buf->use == KERNEL_KEEP && offset <= buf->bytes);
    return table->buf_device != NULL ? table->buf_device(buf, offset) : NULL;
}

status
kernel_host_new(void **out, kernel_device *dev, size_t bytes)
{
    if (dev->table->host_new != NULL)
        return dev->table->host_new(out, dev, bytes);
    return mem_new(out, bytes, 1);
}

void
kernel_host_free(kernel_device *dev, void *host)
{
    if (host == NULL)
        return;
    if (dev->table->host_free != NULL)
        dev->table->host_free(dev, host);
    else
        mem_free(host);
}

/* ------------------------------------------------------------- queues --- */

status
kernel_queue_new(kernel_queue **out, kernel_device *dev)
{
    return dev->table->queue_new(out, dev);
}

void
kernel_queue_free(kernel_queue *q)
{
    if (q != NULL)
        q->dev->table->queue_free(q);
}

void
kernel_queue_hook(kernel_queue *q, kernel_hook *hook, void *ctx)
{
    q->hook = hook;
    q->hook_ctx = ctx;
}

kernel_device *
kernel_queue_device(const kernel_queue *q)
{
    return q->dev;
}

static void
check_range(const kernel_queue *q, const kernel_buf *buf, size_t offset,
            size_t bytes)
{
    ASSERT(q->n_cell == 0);
    ASSERT(buf->dev == q->dev && buf->use == KERNEL_KEEP);
    ASSERT(offset <= buf->bytes && bytes <= buf->bytes - offset);
}

status
kernel_copy_in(kernel_queue *q, kernel_buf *dst, size_t dst_offset,
               const void *src, size_t bytes)
{
    const device_copy copy = {
        .dst = dst, .dst_offset = dst_offset, .host_src = src, .bytes = bytes};

    check_range(q, dst, dst_offset, bytes);
    ASSERT(src != NULL || bytes == 0);
    return bytes > 0 ? q->dev->table->copy(q, &copy) : ST_OK;
}

status
kernel_copy_out(kernel_queue *q, void *dst, const kernel_buf *src,
                size_t src_offset, size_t bytes)
{
    const device_copy copy = {
        .host_dst = dst, .src = src, .src_offset = src_offset, .bytes = bytes};

    check_range(q, src, src_offset, bytes);
    ASSERT(dst != NULL || bytes == 0);
    return bytes > 0 ? q->dev->table->copy(q, &copy) : ST_OK;
}

status
kernel_copy(kernel_queue *q, kernel_buf *dst, size_t dst_offset,
            const kernel_buf *src, size_t src_offset, size_t bytes)
{
    const device_copy copy = {.dst = dst,
                              .dst_offset = dst_offset,
                              .src = src,
                              .src_offset = src_offset,
                              .bytes = bytes};

    check_range(q, dst, dst_offset, bytes);
    check_range(q, src, src_offset, bytes);
    return bytes > 0 ? q->dev->table->copy(q, &copy) : ST_OK;
}

status
kernel_zero(kernel_queue *q, kernel_buf *dst, size_t offset, size_t bytes)
{
    const device_copy copy = {.dst = dst, .dst_offset = offset, .bytes = bytes};

    check_range(q, dst, offset, bytes);
    return bytes > 0 ? q->dev->table->copy(q, &copy) : ST_OK;
}

status
kernel_fill(kernel_queue *q, kernel_buf *dst, size_t offset, kernel_type type,
            size_t n, const kernel_random *law)
{
    const device_copy copy = {.dst = dst,
                              .dst_offset = offset,
                              .bytes = n * kernel_type_size(type),
                              .is_random = true,
                              .random = *law,
                              .type = type};

    ASSERT(type == KERNEL_F32 || type == KERNEL_BF16);
    ASSERT(n <= SIZE_MAX / sizeof(float));
    check_range(q, dst, offset, copy.bytes);
    return n > 0 ? q->dev->table->copy(q, &copy) : ST_OK;
}

status
kernel_sync(kernel_queue *q)
{
    ASSERT(q->n_cell == 0);
    return q->dev->table->sync(q);
}

/* ------------------------------------------------------------- events --- */

status
kernel_event_new(kernel_event **out, kernel_device *dev)
{
    return dev->table->event_new(out, dev);
}

void
kernel_event_free(kernel_event *ev)
{
    if (ev != NULL)
        ev->dev->table->event_free(ev);
}

status
kernel_event_record(kernel_event *ev, kernel_queue *q)
{
    ASSERT(ev->dev == q->dev && q->n_cell == 0);
    return ev->dev->table->event_record(ev, q);
}

status
kernel_event_query(kernel_event *ev, bool *reached)
{
    return ev->dev->table->event_query(ev, reached);
}

status
kernel_event_wait(kernel_event *ev)
{
    return ev->dev->table->event_wait(ev);
}

/* -------------------------------------------------------------- cells --- */

status
kernel_begin(kernel_queue *q, const kernel_cell *cells, uint32_t n_cell)
{
    status st;

    ASSERT(q->n_cell == 0 && n_cell > 0);
    for (uint32_t i = 0; i < n_cell; i++)
        ASSERT(cells[i].n_row > 0 && cells[i].n_prefix <= cells[i].n_row &&
               cells[i].n_mem <= cells[i].n_row - cells[i].n_prefix &&
               cells[i].n_skip <= cells[i].n_row - cells[i].n_mem);
    st = q->dev->table->begin(q, cells, n_cell);
    if (st == ST_OK)
        q->n_cell = n_cell;
    return st;
}

status
kernel_end(kernel_queue *q)
{
    status st;

    ASSERT(q->n_cell > 0);
    st = q->dev->table->end(q);
    q->n_cell = 0;
    return st;
}

uint32_t
kernel_ran(const kernel_queue *q, const char *names[], uint32_t max)
{
    return q->dev->table->ran != NULL ? q->dev->table->ran(q, names, max) : 0;
}
