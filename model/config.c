/* SPDX-License-Identifier: Apache-2.0 */
/* Derived sizes of a model, and the one check of all its numbers. */
#include "model/config.h"

#include <math.h>

bool
config_is_bare(const model_config *cfg, uint32_t layer)
{
    return (cfg->bare[layer / 64] >> layer % 64 & 1) != 0;
}

uint32_t
config_d_key(const model_config *cfg)
{
    return 6 * cfg->d_mem;
}

size_t
config_state_size(const model_config *cfg)
{
    size_t d_key = config_d_key(cfg);

    return d_key * cfg->d_model + d_key;
}

double
config_cell_flops(const model_config *cfg, uint32_t n_row, uint32_t n_mem,
                  bool fresh)
{
    double r = n_row;
    double m = n_mem;
    double d = cfg->d_model;
    double dm = cfg->d_mem;
    double dk = config_d_key(cfg);
    double dq = (double)cfg->n_head * cfg->d_head;
    double dkv = (double)cfg->n_kv_head * cfg->d_head;
    double block =
        r * (2 * d * (dq + 2 * dkv) + 2 * dq * d + 6 * d * cfg->d_ffn);
    double attention = 2 * r * (r + 1) * dq;
    double read = fresh ? 0 : r * (2 * d * dm + 2 * dk * d + 2 * dk);
    double write = m * (2 * d * dm + 2 * d * d + 2 * d + 4 * dk * d + 4 * dk);

    return block + attention + read + write;
}

static status
range(const char *name, uint64_t value, uint64_t max)
{
    if (value >= 1 && value <= max)
        return ST_OK;
    return status_fail(ST_ARG, "model: %s is %llu, must be 1 to %llu", name,
                       (unsigned long long)value, (unsigned long long)max);
}

static status
check_sizes(const model_config *cfg)
{
    status st;

    TRY(range("the number of layers", cfg->n_layer, CONFIG_MAX_LAYER));
    TRY(range("the width", cfg->d_model, CONFIG_MAX_WIDTH));
    TRY(range("the MLP's width", cfg->d_ffn, CONFIG_MAX_WIDTH));
    TRY(range("the number of heads", cfg->n_head, CONFIG_MAX_WIDTH));
    TRY(range("the number of key heads", cfg->n_kv_head, cfg->n_head));
    TRY(range("the head size", cfg->d_head, CONFIG_MAX_WIDTH));
    TRY(range("heads x head size", (uint64_t)cfg->n_head * cfg->d_head,
              CONFIG_MAX_WIDTH));
    TRY(range("the vocabulary", cfg->n_vocab, CONFIG_MAX_VOCAB));
    TRY(range("segment_size", cfg->segment_size, CONFIG_MAX_SEGMENT));
    TRY(range("num_mem_tokens", cfg->n_mem, CONFIG_MAX_MEM_TOKENS));
    TRY(range("d_mem", cfg->d_mem, CONFIG_MAX_WIDTH / 6));
    if (cfg->n_head % cfg->n_kv_head != 0)
        return status_fail(ST_ARG,
                           "model: %u heads are not a multiple of %u key heads",
                           cfg->n_head, cfg->n_kv_head);
    if (cfg->rope.d_rot % 2 != 0 || cfg->rope.d_rot > cfg->d_head)
        return status_fail(ST_ARG,
                           "model: %u rotated numbers of a head of %u; must be "
                           "even and not more",
                           cfg->rope.d_rot, cfg->d_head);
    return ST_OK;

fail:
    return st;
}

static bool
positive(double x)
{
    return isfinite(x) && x > 0;
}

static status
check_yarn(const config_rope *rope)
{
    if (!positive(rope->original_max_position) || !positive(rope->beta_fast) ||
        !positive(rope->beta_slow) || !positive(rope->attention_factor))
        return status_fail(
            ST_ARG, "model: yarn needs original_max_position_embeddings, "
                    "beta_fast, beta_slow and attention_factor, all "
                    "positive");
    return ST_OK;
}

static status
check_rope(const config_rope *rope)
{
    if (rope->d_rot == 0)
        return ST_OK;
    if (!positive(rope->theta))
        return status_fail(ST_ARG, "model: rope_theta must be positive");
    if (rope->kind == CONFIG_ROPE_PLAIN)
        return ST_OK;
    if (!positive(rope->factor))
        return status_fail(ST_ARG,
                           "model: the rope scaling needs a positive factor");
    if (rope->kind == CONFIG_ROPE_YARN)
        return check_yarn(rope);
    if (rope->kind == CONFIG_ROPE_LINEAR)
        return ST_OK;
    if (!positive(rope->low_freq_factor) || !positive(rope->high_freq_factor) ||
        !positive(rope->original_max_position))
        return status_fail(ST_ARG,
                           "model: the rope scaling needs factor, "
                           "low_freq_factor, high_freq_factor and "
                           "original_max_position_embeddings, all positive");
    if (rope->high_freq_factor <= rope->low_freq_factor)
        return status_fail(ST_ARG, "model: high_freq_factor of the rope "
                                   "scaling must be over low_freq_factor");
    return ST_OK;
}

static status
check_tokens(const model_config *cfg)
{
    if (cfg->n_eos > CONFIG_MAX_EOS)
        return status_fail(ST_ARG, "model: %u end tokens, at most %d",
                           cfg->n_eos, CONFIG_MAX_EOS);
    for (uint32_t i = 0; i < cfg->n_eos; i++)
        if (cfg->eos[i] < 0 || (uint32_t)cfg->eos[i] >= cfg->n_vocab)
            return status_fail(ST_ARG,
                               "model: eos_token_id %d is not in the "
                               "vocabulary of %u",
                               cfg->eos[i], cfg->n_vocab);
    if (cfg->bos < -1 || (cfg->bos >= 0 && (uint32_t)cfg->bos >= cfg->n_vocab))
        return status_fail(ST_ARG,
                           "model: bos_token_id %d is not in the "
                           "vocabulary of %u",
                           cfg->bos, cfg->n_vocab);
    return ST_OK;
}

status
config_check(const model_config *cfg)
{
    status st;

    if (cfg->block != CONFIG_BLOCK_LLAMA)
        return status_fail(ST_UNSUPPORTED, "model: unknown kind of block");
    if (cfg->memory != CONFIG_MEMORY_ASSOC)
        return status_fail(ST_UNSUPPORTED, "model: unknown kind of memory");
    if (cfg->dtype != CONFIG_F32 && cfg->dtype != CONFIG_BF16 &&
        cfg->dtype != CONFIG_F16)
        return status_fail(ST_UNSUPPORTED, "model: unknown number type");
    TRY(check_sizes(cfg));
    if (!positive((double)cfg->norm_eps) || cfg->norm_eps >= 1)
        return status_fail(ST_ARG,
                           "model: rms_norm_eps must be between 0 and 1");
    TRY(check_rope(&cfg->rope));
    TRY(check_tokens(cfg));
    return ST_OK;

fail:
    return st;
}
