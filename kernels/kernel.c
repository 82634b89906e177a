/* SPDX-License-Identifier: Apache-2.0 */
/* Devices by name, argument checks, and the way into the device's table. */
#include "kernels/kernel.h"

#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/device.h"

size_t
kernel_type_size(kernel_type type)
{
    return type == KERNEL_BF16 || type == KERNEL_F16 ? 2 : 4;
}

/* ------------------------------------------------------------- device --- */

status
kernel_open(kernel_device **out, const kernel_config *cfg)
{
    const char *name = cfg->device;

    if (strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0)
        return cpu_table.open(out, cfg);
    if (strcmp(name, "cpu-async") == 0)
        return cpu_async_table.open(out, cfg);
    if (strcmp(name, "cuda") == 0)
        return status_fail(ST_DEVICE, "this build has no CUDA backend");
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
                      uint32_t n_run, double *flops)
{
    ASSERT(m > 0 && n > 0 && k > 0 && n_run > 0);
    return dev->table->measure(dev, m, n, k, n_run, flops);
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
kernel_buf_mpi(kernel_buf *buf, size_t offset)
{
    ASSERT(buf->use == KERNEL_KEEP && offset <= buf->bytes);
    return buf->dev->table->buf_mpi(buf, offset);
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
        ASSERT(cells[i].n_row > 0 && cells[i].n_mem <= cells[i].n_row);
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

/* The rows of an operand that an operation touches. */
typedef enum touch {
    TOUCH_ROWS, /* the rows taken from the cell (all) */
    TOUCH_MEM,  /* the last n_mem rows */
    TOUCH_IDS,  /* all but the last n_mem rows */
    TOUCH_PAST, /* rows 0 .. pos + n_row - 1 */
    TOUCH_FIXED /* as many as the model says, whatever the cell */
} touch;

static size_t
item_of(const kernel_view *v, const kernel_cell *cell, uint32_t place)
{
    switch (v->by) {
    case KERNEL_BY_LAYER:
        return cell->layer;
    case KERNEL_BY_SLOT:
        return cell->slot;
    case KERNEL_BY_STATE:
        return cell->state;
    case KERNEL_BY_KV:
        return cell->kv;
    case KERNEL_BY_CELL:
        break;
    }
    return place;
}

/* One past the last row touched, counted from the item's first. */
static size_t
rows_of(const kernel_view *v, const kernel_cell *cell, touch what,
        size_t n_fixed)
{
    size_t row0 = v->by == KERNEL_BY_SLOT ? cell->row0 : 0;

    switch (what) {
    case TOUCH_ROWS:
        return row0 + cell->n_row;
    case TOUCH_MEM:
        return v->by == KERNEL_BY_SLOT ? row0 + cell->n_row : cell->n_mem;
    case TOUCH_IDS:
        return row0 + cell->n_row - cell->n_mem;
    case TOUCH_PAST:
        return (size_t)cell->pos + cell->n_row;
    case TOUCH_FIXED:
        break;
    }
    return n_fixed;
}

/* Every cell's part of the view, rows of `width` elements, lies in the buffer:
 * a wrong view above stops here and not as a stray write. */
static void
check_view(const kernel_queue *q, const kernel_view *v, touch what,
           size_t n_fixed, size_t width)
{
    bool scratch;
    size_t room;

    ASSERT(v->buf != NULL && v->buf->dev == q->dev);
    scratch = v->buf->use == KERNEL_SCRATCH;
    ASSERT(!scratch ||
           (v->by == KERNEL_BY_CELL && q->n_cell <= v->buf->n_item));
    room = v->buf->bytes / kernel_type_size(v->type);
    for (uint32_t i = 0; i < q->n_cell; i++) {
        size_t n_row = rows_of(v, &q->cells[i], what, n_fixed);
        size_t item = scratch ? 0 : item_of(v, &q->cells[i], i);

        ASSERT(n_row <= 1 || v->ld >= width);
        ASSERT(n_row == 0 ||
               v->offset + item * v->stride + (n_row - 1) * v->ld + width <=
                   room);
    }
}

static touch
touch_of(kernel_rows rows)
{
    return rows == KERNEL_ROWS_MEM ? TOUCH_MEM : TOUCH_ROWS;
}

/* --------------------------------------------------------- operations --- */

static status
enqueue(kernel_queue *q, const device_op *op)
{
    return q->dev->table->op(q, op);
}

status
kernel_embed(kernel_queue *q, kernel_view x, kernel_view ids, kernel_view table,
             kernel_view memory, size_t d)
{
    const device_op op = {.kind = DEVICE_EMBED,
                          .u.embed = {x, ids, table, memory, d}};

    check_view(q, &x, TOUCH_ROWS, 0, d);
    check_view(q, &table, TOUCH_FIXED, 1, d);
    ASSERT(ids.type == KERNEL_I32 && ids.by == KERNEL_BY_SLOT);
    ids.ld = 1;
    check_view(q, &ids, TOUCH_IDS, 0, 1);
    return enqueue(q, &op);
}

status
kernel_linear(kernel_queue *q, const kernel_linear_args *a)
{
    const device_op op = {.kind = DEVICE_LINEAR, .u.linear = *a};

    ASSERT(a->n > 0 && a->k > 0);
    check_view(q, &a->x, touch_of(a->rows), 0, a->k);
    check_view(q, &a->out, touch_of(a->rows), 0, a->n);
    check_view(q, &a->w, TOUCH_FIXED, a->n, a->k);
    if (a->bias.buf != NULL)
        check_view(q, &a->bias, TOUCH_FIXED, 1, a->n);
    return enqueue(q, &op);
}

status
kernel_rmsnorm(kernel_queue *q, kernel_view out, kernel_view x, kernel_view w,
               size_t d, float eps)
{
    const device_op op = {.kind = DEVICE_RMSNORM,
                          .u.rmsnorm = {out, x, w, d, eps}};

    check_view(q, &out, TOUCH_ROWS, 0, d);
    check_view(q, &x, TOUCH_ROWS, 0, d);
    check_view(q, &w, TOUCH_FIXED, 1, d);
    return enqueue(q, &op);
}

status
kernel_rope(kernel_queue *q, kernel_view x, kernel_view freq, size_t n_head,
            size_t d_head)
{
    const device_op op = {.kind = DEVICE_ROPE,
                          .u.rope = {x, freq, n_head, d_head}};

    ASSERT(d_head % 2 == 0);
    check_view(q, &x, TOUCH_ROWS, 0, n_head * d_head);
    check_view(q, &freq, TOUCH_FIXED, 1, d_head / 2);
    return enqueue(q, &op);
}

status
kernel_kv_append(kernel_queue *q, kernel_view k_cache, kernel_view v_cache,
                 kernel_view k, kernel_view v, size_t d_kv)
{
    const device_op op = {.kind = DEVICE_KV_APPEND,
                          .u.kv = {k_cache, v_cache, k, v, d_kv}};

    check_view(q, &k_cache, TOUCH_PAST, 0, d_kv);
    check_view(q, &v_cache, TOUCH_PAST, 0, d_kv);
    check_view(q, &k, TOUCH_ROWS, 0, d_kv);
    check_view(q, &v, TOUCH_ROWS, 0, d_kv);
    return enqueue(q, &op);
}

status
kernel_attention(kernel_queue *q, const kernel_attention_args *a)
{
    const device_op op = {.kind = DEVICE_ATTENTION, .u.attention = *a};
    touch keys = a->k.by == KERNEL_BY_KV ? TOUCH_PAST : TOUCH_ROWS;

    ASSERT(a->n_kv > 0 && a->n_head % a->n_kv == 0 && a->k.by == a->v.by);
    check_view(q, &a->out, TOUCH_ROWS, 0, a->n_head * a->d_head);
    check_view(q, &a->q, TOUCH_ROWS, 0, a->n_head * a->d_head);
    check_view(q, &a->k, keys, 0, a->n_kv * a->d_head);
    check_view(q, &a->v, keys, 0, a->n_kv * a->d_head);
    return enqueue(q, &op);
}

status
kernel_swiglu(kernel_queue *q, kernel_view out, kernel_view gate_up, size_t d)
{
    const device_op op = {.kind = DEVICE_SWIGLU, .u.swiglu = {out, gate_up, d}};

    check_view(q, &out, TOUCH_ROWS, 0, d);
    check_view(q, &gate_up, TOUCH_ROWS, 0, 2 * d);
    return enqueue(q, &op);
}

status
kernel_dpfp(kernel_queue *q, kernel_view out, kernel_view x, size_t d_mem,
            bool l2_norm, kernel_rows rows)
{
    const device_op op = {.kind = DEVICE_DPFP,
                          .u.dpfp = {out, x, d_mem, l2_norm, rows}};

    check_view(q, &out, touch_of(rows), 0, 6 * d_mem);
    check_view(q, &x, touch_of(rows), 0, d_mem);
    return enqueue(q, &op);
}

static void
check_assoc(const kernel_queue *q, const kernel_assoc *mem)
{
    ASSERT(mem->A.type == KERNEL_F32 && mem->z.type == KERNEL_F32);
    check_view(q, &mem->A, TOUCH_FIXED, mem->d_key, mem->d_model);
    check_view(q, &mem->z, TOUCH_FIXED, 1, mem->d_key);
}

status
kernel_assoc_read(kernel_queue *q, kernel_view x, kernel_view f,
                  const kernel_assoc *mem)
{
    const device_op op = {.kind = DEVICE_ASSOC_READ, .u.read = {*mem, x, f}};

    check_assoc(q, mem);
    check_view(q, &x, TOUCH_ROWS, 0, mem->d_model);
    check_view(q, &f, TOUCH_ROWS, 0, mem->d_key);
    return enqueue(q, &op);
}

status
kernel_assoc_write(kernel_queue *q, const kernel_assoc *mem, kernel_view k,
                   kernel_view v, kernel_view b)
{
    const device_op op = {.kind = DEVICE_ASSOC_WRITE,
                          .u.write = {*mem, k, v, b}};

    check_assoc(q, mem);
    check_view(q, &k, TOUCH_MEM, 0, mem->d_key);
    check_view(q, &v, TOUCH_MEM, 0, mem->d_model);
    check_view(q, &b, TOUCH_MEM, 0, 1);
    return enqueue(q, &op);
}

status
kernel_sample(kernel_queue *q, kernel_view ids, kernel_view logits,
              size_t n_vocab, const kernel_sample_args *args)
{
    const device_op op = {.kind = DEVICE_SAMPLE,
                          .u.sample = {ids, logits, n_vocab, args}};

    ASSERT(ids.type == KERNEL_I32 && ids.by == KERNEL_BY_SLOT);
    ASSERT(logits.type == KERNEL_F32);
    check_view(q, &ids, TOUCH_FIXED, 1, 1);
    check_view(q, &logits, TOUCH_ROWS, 0, n_vocab);
    return enqueue(q, &op);
}
