/* SPDX-License-Identifier: Apache-2.0 */
/* config.json: what is taken is within every limit, and sizes can be had from
 * it. */
#include "model/config.h"

#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    model_config cfg;

    if (config_parse(&cfg, (const char *)data, size, "fuzz") != ST_OK)
        return 0;
    CHECK(config_check(&cfg) == ST_OK);
    CHECK(cfg.n_layer >= 1 && cfg.n_layer <= CONFIG_MAX_LAYER);
    CHECK(cfg.d_model >= 1 && cfg.d_model <= CONFIG_MAX_WIDTH);
    CHECK(cfg.n_vocab >= 1 && cfg.n_vocab <= CONFIG_MAX_VOCAB);
    CHECK(cfg.segment_size >= 1 && cfg.segment_size <= CONFIG_MAX_SEGMENT);
    CHECK(cfg.n_eos <= CONFIG_MAX_EOS);
    const config_cell cell = {.n_row = cfg.segment_size, .n_past = 1};
    CHECK(config_cell_flops(&cfg, &cell) > 0);
    return 0;
}
