/* SPDX-License-Identifier: Apache-2.0 */
/* Costs of a model, and the measured rate of this machine. */
#include "worker/plan_job.h"

#include <unistd.h>

#include "base/mem.h"
#include "model/memory.h"
#include "model/weights.h"
#include "worker/bench_run.h"
#include "worker/draw.h"

enum { MAX_LAYER = 4, N_SEGMENT = 8, N_REPEAT = 3 };

void
plan_job_model(cost_model *out, const model_config *cfg, kernel_type type,
               uint64_t n_token)
{
    weights_part layer = {.n_layer = 1};
    weights_part ends = {.embed = true, .head = true};
    const memory_span span = {
        .past = {.n_token = cfg->segment_size, .n_last = cfg->segment_size},
        .n_token = cfg->segment_size};
    uint32_t n_row = memory_rows(cfg, &span);
    const config_cell cell = {.n_row = n_row, .n_mem = cfg->n_mem};

    *out = (cost_model){.n_layer = cfg->n_layer,
                        .n_row = n_row,
                        .cell_flops = config_cell_flops(cfg, &cell),
                        .x_bytes = (double)n_row * cfg->d_model *
                                   (double)kernel_type_size(type),
                        .state_bytes =
                            (double)memory_state_room(cfg, type, n_token),
                        .layer_bytes = (double)weights_bytes(cfg, &layer, type),
                        .ends_bytes = (double)weights_bytes(cfg, &ends, type)};
}

static status
run(bench_run_result *out, kernel_device *dev, const model_config *cfg,
    wavefront_order order)
{
    size_t n_id = (size_t)N_SEGMENT * cfg->segment_size;
    int32_t *ids = NULL;
    status st = ST_OK;

    TRY(mem_new(&ids, n_id, sizeof *ids));
    for (size_t i = 0; i < n_id; i++)
        ids[i] = (int32_t)(draw_uniform(1, i) * (float)(cfg->n_vocab - 1));
    bench_run_args args = {.dev = dev,
                           .cfg = cfg,
                           .order = order,
                           .ids = ids,
                           .n_id = n_id,
                           .n_repeat = N_REPEAT,
                           .seed = 1};
    TRY(bench_run(out, &args));
    mem_free(out->states);
    out->states = NULL;
fail:
    mem_free(ids);
    return st;
}

/* rate(rows) = flops rows / (rows + half) through two measured points; a rate
 * that does not grow with the rows has no half. */
static void
fit(cost_rank *r, double rows1, double rate1, double rows2, double rate2)
{
    double half = (rate2 - rate1) / (rate1 / rows1 - rate2 / rows2);

    r->half_rows = rate2 > rate1 && half > 0 ? half : 0;
    r->flops = rate2 * (rows2 + r->half_rows) / rows2;
}

status
plan_job_measure(cost_cluster *out, const model_config *cfg, uint32_t n_rank,
                 uint32_t n_thread)
{
    kernel_config kc = {.device = "cpu", .n_thread = n_thread};
    kernel_device *dev = NULL;
    model_config small = *cfg;
    bench_run_result one = {0}, all = {0};
    double n_row = cfg->segment_size + cfg->n_mem;
    status st = ST_OK;

    small.n_layer = cfg->n_layer < MAX_LAYER ? cfg->n_layer : MAX_LAYER;
    TRY(kernel_open(&dev, &kc));
    TRY(run(&one, dev, &small, WAVEFRONT_SEQUENTIAL));
    TRY(run(&all, dev, &small, WAVEFRONT_DIAGONAL));
    double n_cell = (double)N_SEGMENT * small.n_layer / (double)all.n_group;
    cost_cluster c = {.name = "here",
                      .n_rank = n_rank,
                      .n_rank_node = n_rank,
                      .rank.memory = (double)sysconf(_SC_PHYS_PAGES) *
                                     (double)sysconf(_SC_PAGE_SIZE) / n_rank,
                      .inner = {2e-6, 5e9},
                      .outer = {2e-6, 5e9}};
    fit(&c.rank, n_row, one.flops / one.seconds, n_cell * n_row,
        all.flops / all.seconds);
    *out = c;
fail:
    kernel_close(dev);
    return st;
}
