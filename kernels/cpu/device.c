/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU as a device: opening, buffers, where views point, its speed. */
#include "kernels/cpu/cpu.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bf16.h"
#include "base/clock.h"
#include "base/mem.h"
#include "kernels/cpu/blas.h"
#include "kernels/cpu/product.h"
#include "kernels/random.h"

status
cpu_open(kernel_device **out, const device_table *table,
         const kernel_config *cfg)
{
    cpu_device *dev = NULL;
    status st;

    if (cfg->compute != NULL && strcmp(cfg->compute, "auto") != 0 &&
        strcmp(cfg->compute, "f32") != 0)
        return status_fail(ST_ARG, "a CPU computes in f32, not in %.20s",
                           cfg->compute);
    TRY(mem_new(&dev, 1, sizeof(*dev)));
    dev->base.table = table;
    TRY(parallel_new(&dev->threads, cfg->n_thread, cfg->local_rank));
    dev->n_share = cfg->n_local > 0 ? cfg->n_local : 1;
    if (pthread_mutex_init(&dev->lock, NULL) != 0) {
        st = status_fail(ST_NOMEM, "no memory for a lock");
        goto fail;
    }
    blas_open();
    *out = &dev->base;
    return ST_OK;
fail:
    if (dev != NULL)
        parallel_free(dev->threads);
    mem_free(dev);
    return st;
}

void
cpu_close(kernel_device *dev)
{
    cpu_device *cpu = (cpu_device *)dev;

    pthread_mutex_destroy(&cpu->lock);
    parallel_free(cpu->threads);
    mem_free(cpu);
}

void
cpu_info(const kernel_device *dev, kernel_info *out)
{
    const cpu_device *cpu = (const cpu_device *)dev;
    uint32_t n_thread = parallel_threads(cpu->threads);
    long pages = sysconf(_SC_AVPHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);

    *out = (kernel_info){.compute = KERNEL_F32,
                         .n_thread = n_thread,
                         .n_core = parallel_cores(cpu->threads),
                         .n_share = cpu->n_share,
                         .max_head = CPU_MAX_HEAD,
                         .max_feature = CPU_MAX_FEATURE,
                         .max_vocab = CPU_MAX_VOCAB};
    (void)snprintf(out->device, sizeof(out->device), "%s",
                   dev->table == &cpu_async_table ? "cpu-async" : "cpu");
    (void)snprintf(out->name, sizeof(out->name), "%s, %s, %u thread%s",
                   product_name(product_best()), blas_name(), n_thread,
                   n_thread == 1 ? "" : "s");
    if (pages > 0 && page > 0)
        out->memory_free = (uint64_t)pages * (uint64_t)page;
}

/* ------------------------------------------------------------ buffers --- */

/* Bytes between scratch items: an odd number of cache lines over whole pages,
 * so that equal rows of two items do not fall into one set of a cache. */
static status
scratch_step(size_t *out, size_t bytes)
{
    enum { PAGE = 4096 };
    size_t step;
    status st = size_add(&step, bytes, PAGE - 1 + 3 * CPU_MEMORY_ALIGN);

    if (st == ST_OK)
        *out =
            (step - 3 * CPU_MEMORY_ALIGN) / PAGE * PAGE + 3 * CPU_MEMORY_ALIGN;
    return st;
}

static void
scratch_link(cpu_device *cpu, cpu_buf *buf, size_t n_share)
{
    (void)pthread_mutex_lock(&cpu->lock);
    cpu_memory_touch(&buf->memory, n_share, buf->step, cpu->threads);
    buf->next = cpu->scratch;
    cpu->scratch = buf;
    (void)pthread_mutex_unlock(&cpu->lock);
}

static void
scratch_unlink(cpu_device *cpu, const cpu_buf *buf)
{
    (void)pthread_mutex_lock(&cpu->lock);
    for (cpu_buf **p = &cpu->scratch; *p != NULL; p = &(*p)->next)
        if (*p == buf) {
            *p = buf->next;
            break;
        }
    (void)pthread_mutex_unlock(&cpu->lock);
}

status
cpu_buf_new(kernel_buf **out, kernel_device *dev, kernel_use use, size_t bytes,
            size_t n_item)
{
    cpu_device *cpu = (cpu_device *)dev;
    size_t n_share = 2 * (size_t)parallel_threads(cpu->threads) - 1;
    cpu_buf *buf = NULL;
    status st;

    TRY(mem_new(&buf, 1, sizeof(*buf)));
    buf->base.dev = dev;
    buf->base.use = use;
    buf->base.n_item = n_item;
    if (use == KERNEL_SCRATCH) {
        buf->base.bytes = bytes;
        TRY(scratch_step(&buf->step, bytes));
        TRY(cpu_memory_init(&buf->memory, n_share, buf->step));
        scratch_link(cpu, buf, n_share);
    } else {
        TRY(size_mul(&buf->base.bytes, bytes, n_item));
        TRY(cpu_memory_init(&buf->memory, bytes, n_item));
    }
    *out = &buf->base;
    return ST_OK;
fail:
    mem_free(buf);
    return st;
}

void
cpu_buf_free(kernel_buf *base)
{
    cpu_buf *buf = (cpu_buf *)base;

    if (base->use == KERNEL_SCRATCH)
        scratch_unlink((cpu_device *)base->dev, buf);
    cpu_memory_fini(&buf->memory);
    mem_free(buf);
}

static void
fill_random(void *out, const kernel_random *law, kernel_type type, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float value = random_value(law, i);

        if (type == KERNEL_F32)
            ((float *)out)[i] = value;
        else
            ((uint16_t *)out)[i] = bf16_from_float(value);
    }
}

void
cpu_copy_run(const device_copy *copy)
{
    const cpu_buf *dst = (const cpu_buf *)copy->dst;
    const cpu_buf *src = (const cpu_buf *)copy->src;
    void *to =
        dst != NULL ? dst->memory.data + copy->dst_offset : copy->host_dst;
    const void *from =
        src != NULL ? src->memory.data + copy->src_offset : copy->host_src;

    if (copy->is_random)
        fill_random(to, &copy->random, copy->type,
                    copy->bytes / kernel_type_size(copy->type));
    else if (from == NULL)
        memset(to, 0, copy->bytes);
    else
        memmove(to, from, copy->bytes);
}

/* -------------------------------------------------------------- views --- */

static size_t
item_of(const kernel_view *v, const cpu_item *item)
{
    switch (v->by) {
    case KERNEL_BY_LAYER:
        return item->cell->layer;
    case KERNEL_BY_SLOT:
        return item->cell->slot;
    case KERNEL_BY_STATE:
        return item->cell->state;
    case KERNEL_BY_KV:
        return item->cell->kv;
    case KERNEL_BY_CELL:
        break;
    }
    return item->place;
}

static char *
element(const kernel_view *v, const cpu_item *item, size_t row)
{
    const cpu_buf *buf = (const cpu_buf *)v->buf;
    size_t at = v->offset + row * v->ld;

    if (v->buf->use == KERNEL_SCRATCH)
        return buf->memory.data + item->scratch * buf->step +
               at * kernel_type_size(v->type);
    at += item_of(v, item) * v->stride;
    return buf->memory.data + at * kernel_type_size(v->type);
}

float *
cpu_at(const kernel_view *v, const cpu_item *item, kernel_rows rows)
{
    const kernel_cell *cell = item->cell;
    size_t row = 0;

    ASSERT(v->type == KERNEL_F32);
    if (v->by == KERNEL_BY_SLOT)
        row = cell->row0 + cell->n_row - cpu_rows(cell, rows);
    else if (rows == KERNEL_ROWS_LATE)
        row = cell->n_skip;
    return (void *)element(v, item, row);
}

float *
cpu_item_at(const kernel_view *v, const cpu_item *item)
{
    ASSERT(v->type == KERNEL_F32);
    return (void *)element(v, item, 0);
}

uint16_t *
cpu_narrow_at(const kernel_view *v, const cpu_item *item)
{
    ASSERT(v->type == KERNEL_BF16);
    return (void *)element(v, item, 0);
}

const void *
cpu_row_at(const kernel_view *v, const cpu_item *item, size_t row)
{
    return element(v, item, row);
}

int32_t *
cpu_ids_at(const kernel_view *v, const cpu_item *item)
{
    return (void *)element(v, item, 0);
}

uint32_t
cpu_row_blocks(size_t n_row)
{
    return cpu_ceil_div(n_row, CPU_ROW_BLOCK);
}

cpu_range
cpu_row_block(size_t n_row, uint32_t index)
{
    size_t first = (size_t)index * CPU_ROW_BLOCK;
    size_t rest = n_row - first;

    return (cpu_range){first, rest < CPU_ROW_BLOCK ? rest : CPU_ROW_BLOCK};
}

/* ------------------------------------------------------------ measure --- */

typedef struct measure {
    product product; /* of thread 0; the others' lie `step` further */
    size_t step;     /* floats */
    float *panels;   /* thread 0's */
    product_way way;
    double best; /* FLOP/s of that way */
} measure;

static void
measure_thread(void *ctx, uint32_t thread)
{
    const measure *m = ctx;
    product p = m->product;

    p.a += thread * m->step;
    p.b = (const float *)p.b + thread * m->step;
    p.c += thread * m->step;
    if (m->way == PRODUCT_BLAS)
        blas_run(&p);
    else
        product_run_by(m->way, &p, m->panels + thread * m->step);
}

static void
measure_once(cpu_device *cpu, measure *m)
{
    const product *p = &m->product;
    double start = clock_seconds(), rate;

    parallel_run(cpu->threads, measure_thread, m);
    rate = 2.0 * (double)p->m * (double)p->n * (double)p->k *
           parallel_threads(cpu->threads) / (clock_seconds() - start);
    m->best = rate > m->best ? rate : m->best;
}

/* Both ways in turn, so that what slows a machine down slows both. */
static void
measure_both(cpu_device *cpu, measure ways[2], uint32_t n_run)
{
    (void)pthread_mutex_lock(&cpu->lock);
    for (uint32_t i = 0; i <= n_run; i++) {
        for (int w = 0; w < 2; w++) {
            if (product_has(ways[w].way))
                measure_once(cpu, &ways[w]);
            if (i == 0)
                ways[w].best = 0.0; /* it was cold */
        }
    }
    (void)pthread_mutex_unlock(&cpu->lock);
}

static void
put_rate(kernel_rate *out, const measure ways[2])
{
    const measure *own = &ways[0], *library = &ways[1];

    *out = (kernel_rate){.flops = own->best, .library = library->best};
    (void)snprintf(out->by, sizeof out->by, "own %s", product_name(own->way));
    if (library->best < own->best)
        return;
    out->flops = library->best;
    (void)snprintf(out->by, sizeof out->by, "%s", blas_name());
}

/* Ones, and not the zeros of fresh memory: some pages of those would be one. */
static void
fill(float *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        data[i] = 1.0F;
}

status
cpu_measure(kernel_device *dev, size_t m, size_t n, size_t k, uint32_t n_run,
            kernel_rate *out)
{
    cpu_device *cpu = (cpu_device *)dev;
    uint32_t n_thread = parallel_threads(cpu->threads);
    size_t n_float = PRODUCT_ROOM + m * k + n * k + m * n;
    size_t step = (n_float + 1023) / 1024 * 1024;
    cpu_memory memory = {0};
    measure ways[2];
    float *data;
    status st;

    st = cpu_memory_init(&memory, n_thread, step * sizeof(float));
    if (st != ST_OK)
        return st;
    data = (void *)memory.data;
    fill(data, n_thread * step);
    ways[0] = (measure){.step = step, .panels = data, .way = product_best()};
    if (ways[0].way == PRODUCT_BLAS)
        ways[0].way = PRODUCT_PLAIN;
    data += PRODUCT_ROOM;
    ways[0].product = (product){.a = data,
                                .lda = k,
                                .b = data + m * k,
                                .ldb = k,
                                .b_t = true,
                                .c = data + m * k + n * k,
                                .ldc = n,
                                .m = m,
                                .n = n,
                                .k = k,
                                .alpha = 1.0F};
    ways[1] = ways[0];
    ways[1].way = PRODUCT_BLAS;
    measure_both(cpu, ways, n_run);
    put_rate(out, ways);
    cpu_memory_fini(&memory);
    return ST_OK;
}

/* ---------------------------------------------------------------- read --- */

typedef struct reading {
    const float *data;
    size_t n; /* floats of one thread */
    float *sums;
} reading;

static void
read_thread(void *ctx, uint32_t thread)
{
    enum { LANES = 16 };
    const reading *r = ctx;
    const float *data = r->data + thread * r->n;
    float sum[LANES] = {0};

    for (size_t i = 0; i < r->n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            sum[j] += data[i + j];
    for (size_t j = 1; j < LANES; j++)
        sum[0] += sum[j];
    r->sums[thread * LANES] = sum[0];
}

status
cpu_measure_read(kernel_device *dev, size_t bytes, double *rate)
{
    enum { RUNS = 5, LINE = 64 };
    cpu_device *cpu = (cpu_device *)dev;
    uint32_t n_thread = parallel_threads(cpu->threads);
    size_t part = (bytes / n_thread + LINE) / LINE * LINE;
    cpu_memory memory = {0};
    double best = 0.0;
    reading r = {.n = part / sizeof(float)};
    float *data;
    status st = cpu_memory_init(&memory, n_thread, part + LINE);

    if (st != ST_OK)
        return st;
    data = (void *)memory.data;
    r.data = data;
    r.sums = data + n_thread * r.n;
    fill(data, n_thread * r.n);
    (void)pthread_mutex_lock(&cpu->lock);
    for (uint32_t i = 0; i < RUNS; i++) {
        double start = clock_seconds(), now;

        parallel_run(cpu->threads, read_thread, &r);
        now = (double)(n_thread * part) / (clock_seconds() - start);
        best = now > best ? now : best;
    }
    (void)pthread_mutex_unlock(&cpu->lock);
    cpu_memory_fini(&memory);
    *rate = best;
    return ST_OK;
}
