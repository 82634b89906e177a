/* SPDX-License-Identifier: Apache-2.0 */
/* One line an option; it goes when the layers have it. */
#include "worker/built.h"

status
built_check(const model_config *cfg)
{
    bool bare = false;

    for (uint32_t l = 0; l < cfg->n_layer; l++)
        bare = bare || config_is_bare(cfg, l);
    const struct {
        bool asked;
        const char *name;
    } missing[] = {
        {cfg->block != CONFIG_BLOCK_LLAMA, "gpt2, gpt_neox"},
        {cfg->memory != CONFIG_MEMORY_ASSOC, "another memory than armt"},
        {cfg->qkv_bias, "attention_bias, qwen2"},
        {cfg->mlp_bias, "mlp_bias"},
        {cfg->qk_norm, "qwen3"},
        {cfg->span > 0, "sliding_window of the base model"},
        {cfg->gating, "gating"},
        {cfg->n_mem_head != 1, "n_heads other than 1"},
        {!cfg->denom, "use_denom false"},
        {cfg->n_sink > 0, "use_sink"},
        {cfg->window, "sliding_window"},
        {bare, "wrap_layers with a false"},
        {cfg->generation != CONFIG_FROZEN, "generation rollover"},
        {cfg->align != CONFIG_ALIGN_LEFT, "segment_alignment"},
        {cfg->rope.kind == CONFIG_ROPE_YARN, "rope_scaling yarn"},
    };
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
        if (missing[i].asked)
            return status_fail(ST_UNSUPPORTED, "model: %s: not supported",
                               missing[i].name);
    return ST_OK;
}
