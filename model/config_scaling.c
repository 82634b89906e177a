/* SPDX-License-Identifier: Apache-2.0 */
/* The rotation's part of config.json: flat fields, rope_scaling, or the newer
 * rope_parameters that holds everything. */
#include <math.h>
#include <string.h>

#include "model/config_reader.h"

static status
read_llama3(const config_reader *r, const json *scaling, config_rope *rope)
{
    status st;

    TRY(config_get_f64(r, scaling, "factor", &rope->factor));
    TRY(config_get_f64(r, scaling, "low_freq_factor", &rope->low_freq_factor));
    TRY(config_get_f64(r, scaling, "high_freq_factor",
                       &rope->high_freq_factor));
    TRY(config_get_f64(r, scaling, "original_max_position_embeddings",
                       &rope->original_max_position));

fail:
    return st;
}

static double
yarn_magnitude(double factor, double mscale)
{
    return factor <= 1 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

/* What cosines and sines are multiplied by, where the file does not say: of
 * one magnitude, or of two (DeepSeek). */
static status
read_attention_factor(const config_reader *r, const json *scaling,
                      config_rope *rope)
{
    double mscale = 0, all = 0;
    status st;

    TRY(config_get_f64(r, scaling, "mscale", &mscale));
    TRY(config_get_f64(r, scaling, "mscale_all_dim", &all));
    if (mscale != 0 && all != 0)
        rope->attention_factor = yarn_magnitude(rope->factor, mscale) /
                                 yarn_magnitude(rope->factor, all);
    else
        rope->attention_factor = yarn_magnitude(rope->factor, 1);
    TRY(config_get_f64(r, scaling, "attention_factor",
                       &rope->attention_factor));

fail:
    return st;
}

static status
read_yarn(const config_reader *r, const json *scaling, config_rope *rope)
{
    double longest = 0;
    status st;

    TRY(config_get_f64(r, r->base, "max_position_embeddings", &longest));
    rope->original_max_position = longest;
    TRY(config_get_f64(r, scaling, "original_max_position_embeddings",
                       &rope->original_max_position));
    TRY(config_get_f64(r, r->base, "original_max_position_embeddings",
                       &rope->original_max_position));
    /* A null factor is the ratio of the lengths; an absent one is a mistake,
     * which config_check() says. */
    if (config_field(r, scaling, "factor") != NULL &&
        rope->original_max_position > 0)
        rope->factor = longest / rope->original_max_position;
    TRY(config_get_f64(r, scaling, "factor", &rope->factor));
    TRY(config_get_f64(r, scaling, "beta_fast", &rope->beta_fast));
    TRY(config_get_f64(r, scaling, "beta_slow", &rope->beta_slow));
    if (rope->beta_fast == 0)
        rope->beta_fast = 32;
    if (rope->beta_slow == 0)
        rope->beta_slow = 1;
    rope->truncate = true;
    TRY(config_get_bool(r, scaling, "truncate", &rope->truncate));
    TRY(read_attention_factor(r, scaling, rope));

fail:
    return st;
}

static status
read_scaling(const config_reader *r, const json *scaling, config_rope *rope)
{
    const char *kind = "default";
    status st;

    TRY(config_get_text(r, scaling, "type", &kind));
    TRY(config_get_text(r, scaling, "rope_type", &kind));
    if (strcmp(kind, "default") == 0)
        return ST_OK;
    if (strcmp(kind, "linear") == 0) {
        rope->kind = CONFIG_ROPE_LINEAR;
        return config_get_f64(r, scaling, "factor", &rope->factor);
    }
    if (strcmp(kind, "llama3") == 0) {
        rope->kind = CONFIG_ROPE_LLAMA3;
        return read_llama3(r, scaling, rope);
    }
    if (strcmp(kind, "yarn") == 0) {
        rope->kind = CONFIG_ROPE_YARN;
        return read_yarn(r, scaling, rope);
    }
    return config_refuse(r, "rope_scaling", kind);

fail:
    return st;
}

/* Rotated numbers of a head.  Only NeoX has a part of them. */
static status
read_rotated(const config_reader *r, const json *scaling, model_config *cfg)
{
    double part = cfg->block == CONFIG_BLOCK_NEOX ? 0 : 1;
    status st;

    if (cfg->block == CONFIG_BLOCK_NEOX)
        TRY(config_get_f64(r, r->base, "rotary_pct", &part));
    else
        TRY(config_get_f64(r, r->base, "partial_rotary_factor", &part));
    TRY(config_get_f64(r, scaling, "partial_rotary_factor", &part));
    if (cfg->block != CONFIG_BLOCK_NEOX && part != 1)
        return config_refuse(r, "partial_rotary_factor", "other than 1");
    if (!(part > 0) || part > 1)
        return config_bad(r, "rotary_pct", "over 0 and at most 1");
    cfg->rope.d_rot = (uint32_t)(cfg->d_head * part);
    if (cfg->rope.d_rot == 0)
        return config_bad(r, "rotary_pct", "enough for two numbers of a head");

fail:
    return st;
}

/* Files of before rope_parameters have rope_scaling; the older one wins, as in
 * the library that reads both. */
static const json *
scaling_of(const config_reader *r)
{
    const json *old = config_field(r, r->base, "rope_scaling");
    return json_is_null(old) || (json_is_object(old) && json_size(old) == 0)
               ? config_field(r, r->base, "rope_parameters")
               : old;
}

status
config_read_rope(const config_reader *r, model_config *cfg)
{
    const json *scaling = scaling_of(r);
    const char *theta =
        cfg->block == CONFIG_BLOCK_NEOX ? "rotary_emb_base" : "rope_theta";
    status st;

    if (cfg->block == CONFIG_BLOCK_GPT2)
        return ST_OK;
    if (!json_is_null(scaling) && !json_is_object(scaling))
        return config_bad(r, "rope_scaling", "null or an object");
    if (json_is_object(config_field(r, scaling, "full_attention")) ||
        json_is_object(config_field(r, scaling, "sliding_attention")))
        return config_refuse(r, "rope_parameters", "by kind of layer");
    cfg->rope.theta = 10000;
    TRY(config_get_f64(r, r->base, theta, &cfg->rope.theta));
    TRY(config_get_f64(r, scaling, "rope_theta", &cfg->rope.theta));
    TRY(read_rotated(r, scaling, cfg));
    TRY(read_scaling(r, scaling, &cfg->rope));

fail:
    return st;
}
