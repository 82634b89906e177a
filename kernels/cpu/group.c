/* SPDX-License-Identifier: Apache-2.0 */
/* Recording a group and running it: chains first, then shared cells. */
#include "kernels/cpu/group.h"

#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/product.h"

/* What a thread has for itself: work, then the panels of products. */
enum { THREAD_BYTES = CPU_WORK_BYTES + PRODUCT_ROOM * sizeof(float) };

status
cpu_group_init(cpu_group *g, const cpu_device *dev)
{
    return cpu_memory_init(&g->work, parallel_threads(dev->threads),
                           THREAD_BYTES);
}

void
cpu_group_touch(cpu_group *g, cpu_device *dev)
{
    (void)pthread_mutex_lock(&dev->lock);
    cpu_memory_touch(&g->work, parallel_threads(dev->threads), THREAD_BYTES,
                     dev->threads);
    (void)pthread_mutex_unlock(&dev->lock);
}

void
cpu_group_fini(cpu_group *g)
{
    cpu_memory_fini(&g->work);
    cpu_memory_fini(&g->counters);
    mem_free(g->samples);
    mem_free(g->records);
    mem_free(g->cells);
}

/* ---------------------------------------------------------- recording --- */

/* Room for `n` elements at *ptr (a T **), which has *cap of them. */
static status
reserve(void *ptr, uint32_t *cap, uint32_t n, size_t size)
{
    uint32_t grown = *cap > 0 ? *cap : 16;
    status st;

    if (n <= *cap)
        return ST_OK;
    while (grown < n)
        grown *= 2;
    st = mem_resize(ptr, grown, size);
    if (st == ST_OK)
        *cap = grown;
    return st;
}

status
cpu_group_begin(cpu_group *g, const kernel_cell *cells, uint32_t n_cell)
{
    status st;

    st = reserve(&g->cells, &g->cap_cell, n_cell, sizeof(*g->cells));
    if (st != ST_OK)
        return st;
    memcpy(g->cells, cells, n_cell * sizeof(*cells));
    g->n_cell = n_cell;
    g->n_record = 0;
    return ST_OK;
}

static status
add_step(cpu_group *g, const device_op *op, const cpu_step *step)
{
    status st;

    st = reserve(&g->records, &g->cap_record, g->n_record + 1,
                 sizeof(*g->records));
    if (st != ST_OK)
        return st;
    g->records[g->n_record].op = *op;
    g->records[g->n_record].step = step;
    g->n_record++;
    return ST_OK;
}

/* The arguments of a draw are one array in a group: a group draws once. */
static status
keep_samples(cpu_group *g, const kernel_sample_args *args)
{
    status st;

    for (uint32_t i = 0; i < g->n_record; i++)
        ASSERT(g->records[i].op.kind != DEVICE_SAMPLE);
    st = reserve(&g->samples, &g->cap_sample, g->n_cell, sizeof(*g->samples));
    if (st == ST_OK)
        memcpy(g->samples, args, g->n_cell * sizeof(*args));
    return st;
}

status
cpu_group_add(cpu_group *g, const device_op *op)
{
    static const cpu_step *const first[DEVICE_N_OP] = {
        [DEVICE_EMBED] = &cpu_embed,
        [DEVICE_LINEAR] = &cpu_linear,
        [DEVICE_RMSNORM] = &cpu_rmsnorm,
        [DEVICE_LAYERNORM] = &cpu_layernorm,
        [DEVICE_ROPE] = &cpu_rope,
        [DEVICE_KV_APPEND] = &cpu_kv_append,
        [DEVICE_KV_KEEP] = &cpu_kv_keep,
        [DEVICE_ATTENTION] = &cpu_attention,
        [DEVICE_SWIGLU] = &cpu_swiglu,
        [DEVICE_GELU] = &cpu_gelu,
        [DEVICE_DPFP] = &cpu_dpfp,
        [DEVICE_ASSOC_READ] = &cpu_assoc_divide,
        [DEVICE_ASSOC_WRITE] = &cpu_assoc_write,
        [DEVICE_SAMPLE] = &cpu_sample,
    };
    device_op copy = *op;
    status st;

    if (op->kind == DEVICE_SAMPLE) {
        TRY(keep_samples(g, op->u.sample.args));
        copy.u.sample.args = g->samples;
    }
    TRY(add_step(g, &copy, first[op->kind]));
    if (op->kind == DEVICE_ASSOC_READ)
        TRY(add_step(g, &copy, &cpu_assoc_read));
    if (op->kind == DEVICE_ASSOC_WRITE)
        TRY(add_step(g, &copy, &cpu_assoc_write_z));
    return ST_OK;
fail:
    return st;
}

status
cpu_group_ready(cpu_group *g)
{
    cpu_memory grown;
    status st;

    if (g->n_record < g->cap_counter)
        return ST_OK;
    st =
        cpu_memory_init(&grown, (size_t)g->cap_record + 1, sizeof(cpu_counter));
    if (st != ST_OK)
        return st;
    cpu_memory_fini(&g->counters);
    g->counters = grown;
    g->cap_counter = g->cap_record + 1;
    return ST_OK;
}

/* ------------------------------------------------------------ running --- */

/* One run of a group, shared by the threads. */
typedef struct group_run {
    const cpu_group *g;
    cpu_counter *counters; /* one a record */
    cpu_counter *chains;
    uint32_t n_chain;
    uint32_t n_thread;
    kernel_hook *hook;
    void *hook_ctx;
} group_run;

static void
run_chains(const group_run *run, uint32_t thread, cpu_item *item)
{
    const cpu_group *g = run->g;
    uint32_t place;

    item->scratch = thread;
    while ((place = atomic_fetch_add(&run->chains->next, 1)) < run->n_chain) {
        item->place = place;
        item->cell = &g->cells[place];
        for (uint32_t r = 0; r < g->n_record; r++) {
            const cpu_step *step = g->records[r].step;
            uint32_t n;

            item->op = &g->records[r].op;
            n = step->count(item->op, item->cell);
            for (item->index = 0; item->index < n; item->index++) {
                step->run(item);
                cpu_progress(item);
            }
        }
        atomic_fetch_add(&run->chains->done, 1);
    }
}

static void
wait_done(const cpu_item *item, atomic_uint *done, uint32_t total)
{
    for (uint32_t turn = 0; atomic_load(done) < total; turn++) {
        cpu_progress(item);
        parallel_relax(turn);
    }
}

/* Finds the n-th item of a record among the cells left over; false behind the
 * last, with the number of items in item->index. */
static bool
find_item(const group_run *run, const cpu_record *rec, uint32_t n,
          cpu_item *item)
{
    const cpu_group *g = run->g;
    uint32_t before = 0;

    for (uint32_t c = run->n_chain; c < g->n_cell; c++) {
        uint32_t here = rec->step->count(&rec->op, &g->cells[c]);

        if (n - before < here) {
            item->op = &rec->op;
            item->cell = &g->cells[c];
            item->place = c;
            item->scratch = run->n_thread + c - run->n_chain;
            item->index = n - before;
            return true;
        }
        before += here;
    }
    item->index = before;
    return false;
}

static void
run_shared(const group_run *run, cpu_item *item)
{
    const cpu_group *g = run->g;

    if (run->n_chain == g->n_cell)
        return;
    for (uint32_t r = 0; r < g->n_record; r++) {
        cpu_counter *counter = &run->counters[r];

        while (find_item(run, &g->records[r],
                         atomic_fetch_add(&counter->next, 1), item)) {
            g->records[r].step->run(item);
            atomic_fetch_add(&counter->done, 1);
            cpu_progress(item);
        }
        wait_done(item, &counter->done, item->index);
    }
}

static void
run_thread(void *ctx, uint32_t thread)
{
    const group_run *run = ctx;
    char *own = run->g->work.data + (size_t)thread * THREAD_BYTES;
    cpu_item item = {.work = (void *)own,
                     .panels = (void *)(own + CPU_WORK_BYTES),
                     .hook = thread == 0 ? run->hook : NULL,
                     .hook_ctx = run->hook_ctx};

    run_chains(run, thread, &item);
    run_shared(run, &item);
    if (item.hook != NULL)
        wait_done(&item, &run->chains->done, run->n_chain);
}

void
cpu_group_run(cpu_group *g, cpu_device *dev, kernel_hook *hook, void *hook_ctx)
{
    cpu_counter *counters = (void *)g->counters.data;
    uint32_t n_thread = parallel_threads(dev->threads);
    group_run run = {.g = g,
                     .counters = counters,
                     .chains = &counters[g->n_record],
                     .n_chain = g->n_cell - g->n_cell % n_thread,
                     .n_thread = n_thread,
                     .hook = hook,
                     .hook_ctx = hook_ctx};

    memset(counters, 0, (g->n_record + 1) * sizeof(*counters));
    parallel_run(dev->threads, run_thread, &run);
}
