/* SPDX-License-Identifier: Apache-2.0 */
/* Costs of a model, and the measured rate of this machine. */
#include "worker/plan_job.h"

#include <unistd.h>

#include "model/memory.h"
#include "worker/probe.h"

void
plan_job_model(cost_model *out, const model_config *cfg, kernel_type type,
               const weights_types *types, uint64_t n_token)
{
    weights_types all;
    weights_part layer = {.n_layer = 1};
    weights_part ends = {.embed = true, .head = true};
    const memory_span span = {
        .past = {.n_token = cfg->segment_size, .n_last = cfg->segment_size},
        .n_token = cfg->segment_size};
    uint32_t n_row = memory_rows(cfg, &span);
    const config_cell cell = {.n_row = n_row, .n_mem = cfg->n_mem};

    const memory_past past = memory_after(&span);
    double state =
        memory_of(cfg)->grows
            ? (double)memory_state_room(cfg, type, n_token)
            : (double)memory_states_bytes(cfg, type, &past) / cfg->n_layer;

    weights_types_of_compute(&all, type);
    if (types == NULL)
        types = &all;
    *out = (cost_model){
        .n_layer = cfg->n_layer,
        .n_row = n_row,
        .cell_flops = config_cell_flops(cfg, &cell),
        .x_bytes =
            (double)n_row * cfg->d_model * (double)kernel_type_size(type),
        .state_bytes = state,
        .layer_bytes = (double)weights_bytes_typed(cfg, &layer, types),
        .ends_bytes = (double)weights_bytes_typed(cfg, &ends, types)};
}

status
plan_job_measure(cost_cluster *out, const model_config *cfg, uint32_t n_rank,
                 uint32_t n_thread)
{
    kernel_config kc = {.device = "cpu", .n_thread = n_thread};
    kernel_device *dev = NULL;
    cost_cluster c = {.name = "here",
                      .n_rank = n_rank,
                      .n_rank_node = n_rank,
                      .rank.memory = (double)sysconf(_SC_PHYS_PAGES) *
                                     (double)sysconf(_SC_PAGESIZE) / n_rank,
                      .inner = {2e-6, 5e9, 0, 0},
                      .outer = {2e-6, 5e9, 0, 0}};
    status st = ST_OK;

    TRY(kernel_open(&dev, &kc));
    TRY(probe_cells(&c.rank, dev, cfg));
    *out = c;
fail:
    kernel_close(dev);
    return st;
}
