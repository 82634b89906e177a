/* SPDX-License-Identifier: Apache-2.0 */
/* Costs of a model. */
#include "worker/plan_job.h"

#include "model/memory.h"

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
    const config_cell last = {
        .n_row = n_row, .n_mem = cfg->n_mem, .n_skip = n_row - cfg->n_mem};

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
        .last_flops = config_cell_flops(cfg, &last),
        .x_bytes =
            (double)n_row * cfg->d_model * (double)kernel_type_size(type),
        .state_bytes = state,
        .layer_bytes = (double)weights_bytes_typed(cfg, &layer, types),
        .ends_bytes = (double)weights_bytes_typed(cfg, &ends, types)};
}
