/* SPDX-License-Identifier: Apache-2.0 */
/* Derived sizes of a model, and the one check of all its numbers. */
#include "model/config.h"

#include <math.h>
#include <string.h>

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

/* Keys that the rows of a cell attend to, one by one. */
static double
keys_seen(const model_config *cfg, const config_cell *c)
{
    double r = c->n_row, w = (double)c->n_window;
    double first = (double)c->n_past + 1, span = cfg->span;
    double n_short = r; /* rows that see less than a span */
    double n_token = r - c->n_mem;

    if (cfg->span > 0)
        n_short = fmin(r, fmax(0, span - first + 1));
    double own = n_short * (first + first + n_short - 1) / 2;
    own += (r - n_short) * span;
    /* Token t sees what is left of the window, memory tokens all of it. */
    double n_seeing = fmin(n_token, w);
    return own + n_seeing * (2 * w - n_seeing + 1) / 2 + c->n_mem * w;
}

static double
memory_flops(const model_config *cfg, const config_cell *c)
{
    double r = c->n_row, m = c->n_mem, d = cfg->d_model, dm = cfg->d_mem;
    double dk = config_d_key(cfg), h = cfg->n_mem_head;
    double gate = cfg->gating ? d : h;
    double read = c->fresh ? 0 : r * (2 * d * dm + 2 * dk * d / h + 2 * dk);

    if (cfg->memory != CONFIG_MEMORY_ASSOC || c->bare)
        return 0;
    return read + m * (2 * d * dm + 2 * d * d + 2 * d * gate + 4 * dk * d / h +
                       4 * dk);
}

double
config_cell_flops(const model_config *cfg, const config_cell *c)
{
    double d = cfg->d_model;
    double dq = (double)cfg->n_head * cfg->d_head;
    double dkv = (double)cfg->n_kv_head * cfg->d_head;
    double n_mlp = cfg->act == CONFIG_ACT_SILU ? 3 : 2;
    double rest = 2 * dq * d + 2 * n_mlp * d * cfg->d_ffn;
    config_cell skipped = *c;

    skipped.n_row = c->n_skip;
    skipped.n_mem = 0;
    return c->n_row * 2 * d * (dq + 2 * dkv) + (c->n_row - c->n_skip) * rest +
           4 * dq * (keys_seen(cfg, c) - keys_seen(cfg, &skipped)) +
           memory_flops(cfg, c);
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
    if (cfg->n_position > 0)
        TRY(range("the number of positions", cfg->n_position,
                  CONFIG_MAX_VOCAB));
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

/* ------------------------------------------------------------- options --- */

/* What a kind of block has, and others have not. */
static status
check_block(const model_config *cfg)
{
    bool llama = cfg->block == CONFIG_BLOCK_LLAMA;
    bool gpt2 = cfg->block == CONFIG_BLOCK_GPT2;

    if (!llama && !gpt2 && cfg->block != CONFIG_BLOCK_NEOX)
        return status_fail(ST_UNSUPPORTED, "model: unknown kind of block");
    if (cfg->act != CONFIG_ACT_SILU && cfg->act != CONFIG_ACT_GELU &&
        cfg->act != CONFIG_ACT_GELU_TANH)
        return status_fail(ST_UNSUPPORTED, "model: unknown activation");
    if (llama != (cfg->act == CONFIG_ACT_SILU))
        return status_fail(ST_UNSUPPORTED,
                           "model: a gated MLP goes with rmsnorm alone");
    if (gpt2 != (cfg->n_position > 0) || gpt2 != (cfg->rope.d_rot == 0))
        return status_fail(ST_UNSUPPORTED,
                           "model: GPT-2 alone has learned positions, and no "
                           "rotation");
    if ((cfg->qk_norm && !llama) ||
        (cfg->parallel && cfg->block != CONFIG_BLOCK_NEOX))
        return status_fail(ST_UNSUPPORTED,
                           "model: norms of heads or a parallel MLP in a block "
                           "that has none");
    return ST_OK;
}

/* Nothing of the associative memory may be on in the other two. */
static status
check_unused(const model_config *cfg)
{
    uint64_t bare = 0;

    for (size_t i = 0; i < CONFIG_MAX_LAYER / 64; i++)
        bare |= cfg->bare[i];
    if (cfg->n_sink > 0 || cfg->window || cfg->wrap_pos || cfg->gating ||
        cfg->d_mem > 0 || bare != 0 || cfg->state_type != CONFIG_F32)
        return status_fail(ST_UNSUPPORTED,
                           "model: options of the associative memory in a "
                           "model without one");
    if (cfg->generation != CONFIG_FROZEN)
        return status_fail(ST_UNSUPPORTED, "model: generation rollover in a "
                                           "model without associative memory");
    return ST_OK;
}

static status
check_assoc(const model_config *cfg)
{
    status st;

    TRY(range("d_mem", cfg->d_mem, CONFIG_MAX_WIDTH / 6));
    TRY(range("n_heads of the memory", cfg->n_mem_head, cfg->d_mem));
    if (cfg->d_mem % cfg->n_mem_head != 0 || cfg->d_model % cfg->n_mem_head)
        return status_fail(ST_ARG,
                           "model: %u memory heads must divide d_mem %u and "
                           "the width %u",
                           cfg->n_mem_head, cfg->d_mem, cfg->d_model);
    if (cfg->n_mem_head > 1 && !cfg->l2_norm)
        return status_fail(ST_UNSUPPORTED, "model: n_heads over 1 with "
                                           "key_norm none is not supported");
    if (cfg->state_type != CONFIG_F32 &&
        config_d_key(cfg) / cfg->n_mem_head > CONFIG_MAX_NARROW_KEY)
        return status_fail(
            ST_UNSUPPORTED, "model: states in bf16 with keys of %u, above %d",
            config_d_key(cfg) / cfg->n_mem_head, CONFIG_MAX_NARROW_KEY);
    if (cfg->n_sink > 1)
        return status_fail(ST_ARG, "model: %u sink tokens, at most 1",
                           cfg->n_sink);
    if (cfg->window && cfg->span > 0)
        return status_fail(ST_UNSUPPORTED,
                           "model: a sliding_window of the memory over a base "
                           "model with one is not supported");
    if (cfg->window_outer && !cfg->window)
        return status_fail(ST_ARG, "model: a variant of no window");
    if (cfg->generation == CONFIG_ROLLOVER && cfg->align != CONFIG_ALIGN_LEFT)
        return status_fail(ST_UNSUPPORTED,
                           "model: generation \"rollover\" with "
                           "segment_alignment other than \"left\" is not "
                           "supported");
    if (cfg->wrap_pos && cfg->block != CONFIG_BLOCK_GPT2)
        return status_fail(ST_UNSUPPORTED, "model: wrap_pos true without "
                                           "learned positions is not "
                                           "supported");
    if (cfg->wrap_pos && cfg->n_sink > 0)
        return status_fail(ST_UNSUPPORTED, "model: use_sink true with wrap_pos "
                                           "true is not supported");
    return ST_OK;

fail:
    return st;
}

static status
check_memory(const model_config *cfg)
{
    status st;

    if (cfg->align != CONFIG_ALIGN_LEFT && cfg->align != CONFIG_ALIGN_RIGHT &&
        cfg->align != CONFIG_ALIGN_CENTER)
        return status_fail(ST_UNSUPPORTED, "model: unknown segment_alignment");
    if (cfg->generation != CONFIG_FROZEN && cfg->generation != CONFIG_ROLLOVER)
        return status_fail(ST_UNSUPPORTED, "model: unknown generation rule");
    switch (cfg->memory) {
    case CONFIG_MEMORY_ASSOC:
        TRY(range("num_mem_tokens", cfg->n_mem, CONFIG_MAX_MEM_TOKENS));
        return check_assoc(cfg);
    case CONFIG_MEMORY_TOKENS:
        TRY(range("num_mem_tokens", cfg->n_mem, CONFIG_MAX_MEM_TOKENS));
        return check_unused(cfg);
    case CONFIG_MEMORY_CACHE:
        if (cfg->n_mem > 0)
            return status_fail(ST_ARG, "model: memory tokens in a model "
                                       "without a memory");
        return check_unused(cfg);
    }
    return status_fail(ST_UNSUPPORTED, "model: unknown kind of memory");

fail:
    return st;
}

/* Learned positions reach to the end of a full segment. */
static status
check_positions(const model_config *cfg)
{
    uint64_t last = (uint64_t)cfg->segment_size + cfg->n_sink;

    if (cfg->n_position == 0 || cfg->memory == CONFIG_MEMORY_CACHE)
        return ST_OK;
    if (cfg->memory == CONFIG_MEMORY_TOKENS)
        last += 2 * (uint64_t)cfg->n_mem;
    else if (!cfg->wrap_pos)
        last += cfg->n_mem;
    if (cfg->window_outer)
        last += cfg->segment_size;
    if (last > cfg->n_position)
        return status_fail(ST_ARG,
                           "model: a segment's rows reach to position %llu of "
                           "%u",
                           (unsigned long long)last, cfg->n_position);
    return ST_OK;
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

    if (cfg->dtype != CONFIG_F32 && cfg->dtype != CONFIG_BF16 &&
        cfg->dtype != CONFIG_F16)
        return status_fail(ST_UNSUPPORTED, "model: unknown number type");
    TRY(check_sizes(cfg));
    TRY(check_block(cfg));
    TRY(check_memory(cfg));
    TRY(check_positions(cfg));
    if (!positive((double)cfg->norm_eps) || cfg->norm_eps >= 1)
        return status_fail(ST_ARG, "model: the epsilon of norms (rms_norm_eps, "
                                   "layer_norm_eps, layer_norm_epsilon) must "
                                   "be between 0 and 1");
    if (!isfinite(cfg->lora_alpha) || cfg->lora_alpha < 0)
        return status_fail(ST_ARG, "model: lora_alpha must be positive");
    TRY(check_rope(&cfg->rope));
    TRY(check_tokens(cfg));
    return ST_OK;

fail:
    return st;
}

status
config_set_state_type(model_config *cfg, const char *name)
{
    if (strcmp(name, "f32") == 0) {
        cfg->state_type = CONFIG_F32;
        return ST_OK;
    }
    if (strcmp(name, "bf16") != 0)
        return status_fail(ST_ARG, "--state-type is f32 or bf16, not %s", name);
    if (cfg->memory != CONFIG_MEMORY_ASSOC)
        return status_fail(ST_ARG, "--state-type bf16 is of an associative "
                                   "memory, which this model does not have");
    cfg->state_type = CONFIG_BF16;
    return ST_OK;
}
