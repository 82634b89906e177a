/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine needs of a device, counted as it would be allocated. */
#include "worker/engine_impl.h"

enum { MIB = 1 << 20, SPARE = 256 * MIB };

status
engine_need_of(engine_need *out, const model_config *cfg,
               const weights_part *part, kernel_type compute,
               const engine_config *config)
{
    engine e = {.cfg = cfg,
                .part = part,
                .memory = memory_of(cfg),
                .compute = compute,
                .config = engine_resolve(config, part)};
    engine_need need = {.weights = weights_bytes(cfg, part, compute)};
    status st = ST_OK;

    need.scratch = (uint64_t)model_cell_bytes(cfg, compute) * e.config.max_cell;
    TRY(engine_make_buffers(&e, NULL));
    need.kept = e.buf.bytes;
    *out = need;
fail:
    engine_buffers_fini(&e.buf);
    return st;
}

static uint64_t
all_of(const engine_need *need)
{
    uint64_t sum = need->weights + need->scratch + need->kept;

    return sum + sum / 16 + SPARE;
}

/* The most layers that would fit. */
static status
most_layers(uint32_t *out, const model_config *cfg, const weights_part *part,
            kernel_type compute, const engine_config *config, uint64_t n_free)
{
    weights_part some = *part;
    engine_config fewer = *config;
    engine_need need;
    status st = ST_OK;

    for (; some.n_layer > 0; some.n_layer--) {
        uint32_t all = some.n_layer * config->n_stream;
        fewer.max_cell = config->max_cell == 0 || config->max_cell > all
                             ? all
                             : config->max_cell;
        TRY(engine_need_of(&need, cfg, &some, compute, &fewer));
        if (all_of(&need) <= n_free)
            break;
    }
    *out = some.n_layer;
fail:
    return st;
}

status
engine_fit(const model_config *cfg, const weights_part *part,
           kernel_type compute, const engine_config *config, uint64_t n_free)
{
    engine_need need;
    uint32_t n_layer = 0;
    status st = ST_OK;

    TRY(engine_need_of(&need, cfg, part, compute, config));
    if (all_of(&need) <= n_free)
        return ST_OK;
    TRY(most_layers(&n_layer, cfg, part, compute, config, n_free));
    st = status_fail(
        ST_NOMEM,
        "%u layers need %llu MiB of the device (weights %llu, groups %llu, "
        "states and rows %llu, the rest spare), %llu are free: %u layers would "
        "fit; fewer jobs at once need less, and more ranks, each with its own "
        "device, hold fewer layers each",
        part->n_layer, (unsigned long long)(all_of(&need) / MIB),
        (unsigned long long)(need.weights / MIB),
        (unsigned long long)(need.scratch / MIB),
        (unsigned long long)(need.kept / MIB),
        (unsigned long long)(n_free / MIB), n_layer);
fail:
    return st;
}
