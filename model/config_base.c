/* SPDX-License-Identifier: Apache-2.0 */
/* The base model's part of config.json: one reader a family.
 *
 * Defaults are those of the library that writes these files; a field that
 * every published file has must be there. */
#include <string.h>

#include "model/config_reader.h"

typedef status family_read(const config_reader *r, model_config *cfg);

/* ------------------------------------------------------- LLaMA and kin --- */

static status
read_sizes(const config_reader *r, model_config *cfg)
{
    const json *base = r->base;
    status st;

    TRY(config_need_u32(r, base, "vocab_size", &cfg->n_vocab));
    TRY(config_need_u32(r, base, "hidden_size", &cfg->d_model));
    TRY(config_need_u32(r, base, "intermediate_size", &cfg->d_ffn));
    TRY(config_need_u32(r, base, "num_hidden_layers", &cfg->n_layer));
    TRY(config_need_u32(r, base, "num_attention_heads", &cfg->n_head));
    cfg->n_kv_head = cfg->n_head;
    if (json_is_null(config_field(r, base, "head_dim")) &&
        cfg->d_model % cfg->n_head != 0)
        return config_bad(r, "hidden_size",
                          "a multiple of num_attention_heads");
    cfg->d_head = cfg->d_model / cfg->n_head;
    TRY(config_get_bool(r, base, "tie_word_embeddings", &cfg->tied_head));

fail:
    return st;
}

/* What every model of rmsnorm, rotations and a gated MLP has in common. */
static status
read_llama_shape(const config_reader *r, model_config *cfg)
{
    const char *act = "silu";
    double eps = 0;
    status st;

    TRY(read_sizes(r, cfg));
    TRY(config_get_u32(r, r->base, "num_key_value_heads", &cfg->n_kv_head));
    TRY(config_get_u32(r, r->base, "head_dim", &cfg->d_head));
    if (json_is_null(config_field(r, r->base, "rms_norm_eps")))
        return config_bad(r, "rms_norm_eps", "there");
    TRY(config_get_f64(r, r->base, "rms_norm_eps", &eps));
    cfg->norm_eps = (float)eps;
    TRY(config_get_text(r, r->base, "hidden_act", &act));
    if (strcmp(act, "silu") != 0)
        return config_refuse(r, "hidden_act", act);
    cfg->act = CONFIG_ACT_SILU;

fail:
    return st;
}

static status
need(const config_reader *r, const char *name)
{
    /* null is a value: here it says that there is none, or as many as heads */
    if (config_field(r, r->base, name) == NULL)
        return config_bad(r, name, "there");
    return ST_OK;
}

static status
read_llama(const config_reader *r, model_config *cfg)
{
    status st;

    TRY(read_llama_shape(r, cfg));
    TRY(config_get_bool(r, r->base, "attention_bias", &cfg->qkv_bias));
    cfg->out_bias = cfg->qkv_bias;
    TRY(config_get_bool(r, r->base, "mlp_bias", &cfg->mlp_bias));

fail:
    return st;
}

static status
read_mistral(const config_reader *r, model_config *cfg)
{
    status st;

    TRY(need(r, "num_key_value_heads"));
    TRY(need(r, "sliding_window"));
    TRY(read_llama_shape(r, cfg));
    TRY(config_only(r, r->base, "attention_bias", false));
    TRY(config_only(r, r->base, "mlp_bias", false));
    TRY(config_get_u32(r, r->base, "sliding_window", &cfg->span));

fail:
    return st;
}

/* Layers of both kinds of attention in one model are not built. */
static status
check_layer_types(const config_reader *r, bool windowed)
{
    const json *list = config_field(r, r->base, "layer_types");
    const char *only = windowed ? "sliding_attention" : "full_attention";

    if (json_is_null(list))
        return ST_OK;
    for (size_t i = 0; i < json_size(list); i++)
        if (strcmp(json_text(json_at(list, i), NULL), only) != 0)
            return config_refuse(r, "layer_types",
                                 "other than the same in every layer");
    return json_is_array(list) ? ST_OK : config_bad(r, "layer_types", "a list");
}

/* Layers from max_window_layers on have the window. */
static status
read_qwen_window(const config_reader *r, model_config *cfg)
{
    const json *list = config_field(r, r->base, "layer_types");
    const char *first = json_text(json_at(list, 0), NULL);
    bool used = false;
    uint32_t begin = 28;
    status st;

    TRY(config_get_bool(r, r->base, "use_sliding_window", &used));
    if (used) {
        TRY(need(r, "sliding_window"));
        TRY(config_get_u32(r, r->base, "sliding_window", &cfg->span));
        TRY(config_get_u32(r, r->base, "max_window_layers", &begin));
        if (json_is_null(list) && begin >= cfg->n_layer)
            cfg->span = 0;
        else if (json_is_null(list) && begin > 0)
            return config_refuse(r, "max_window_layers",
                                 "between none and all layers");
        else if (strcmp(first, "full_attention") == 0)
            cfg->span = 0;
    }
    TRY(check_layer_types(r, cfg->span > 0));

fail:
    return st;
}

static status
read_qwen2(const config_reader *r, model_config *cfg)
{
    status st;

    TRY(need(r, "num_key_value_heads"));
    TRY(read_llama_shape(r, cfg));
    TRY(read_qwen_window(r, cfg));
    cfg->qkv_bias = true;
    TRY(config_only(r, r->base, "mlp_bias", false));

fail:
    return st;
}

static status
read_qwen3(const config_reader *r, model_config *cfg)
{
    status st;

    TRY(need(r, "num_key_value_heads"));
    TRY(need(r, "head_dim"));
    TRY(read_llama_shape(r, cfg));
    TRY(read_qwen_window(r, cfg));
    TRY(config_get_bool(r, r->base, "attention_bias", &cfg->qkv_bias));
    cfg->out_bias = cfg->qkv_bias;
    cfg->qk_norm = true;
    TRY(config_only(r, r->base, "mlp_bias", false));

fail:
    return st;
}

/* ----------------------------------------------------- GPT-2 and NeoX --- */

/* The exact function, and the one with tanh under its four names. */
static status
read_gelu(const config_reader *r, const char *name, const char *act,
          config_act *out)
{
    static const char *const tanh_names[] = {"gelu_new", "gelu_fast",
                                             "gelu_pytorch_tanh"};
    status st;

    TRY(config_get_text(r, r->base, name, &act));
    if (strcmp(act, "gelu") == 0 || strcmp(act, "gelu_python") == 0) {
        *out = CONFIG_ACT_GELU;
        return ST_OK;
    }
    for (size_t i = 0; i < sizeof tanh_names / sizeof *tanh_names; i++)
        if (strcmp(act, tanh_names[i]) == 0) {
            *out = CONFIG_ACT_GELU_TANH;
            return ST_OK;
        }
    return config_refuse(r, name, act);

fail:
    return st;
}

static status
read_gpt2(const config_reader *r, model_config *cfg)
{
    const json *base = r->base;
    double eps = 1e-5;
    status st;

    TRY(config_need_u32(r, base, "vocab_size", &cfg->n_vocab));
    TRY(config_need_u32(r, base, "n_embd", &cfg->d_model));
    TRY(config_need_u32(r, base, "n_layer", &cfg->n_layer));
    TRY(config_need_u32(r, base, "n_head", &cfg->n_head));
    TRY(config_need_u32(r, base, "n_positions", &cfg->n_position));
    if (cfg->d_model % cfg->n_head != 0)
        return config_bad(r, "n_embd", "a multiple of n_head");
    cfg->n_kv_head = cfg->n_head;
    cfg->d_head = cfg->d_model / cfg->n_head;
    if (cfg->d_model > CONFIG_MAX_WIDTH)
        return config_bad(r, "n_embd", "at most 1048576");
    cfg->d_ffn = 4 * cfg->d_model;
    TRY(config_get_u32(r, base, "n_inner", &cfg->d_ffn));
    TRY(config_get_f64(r, base, "layer_norm_epsilon", &eps));
    cfg->norm_eps = (float)eps;
    TRY(read_gelu(r, "activation_function", "gelu_new", &cfg->act));
    TRY(config_only(r, base, "scale_attn_weights", true));
    TRY(config_only(r, base, "scale_attn_by_inverse_layer_idx", false));
    TRY(config_only(r, base, "add_cross_attention", false));
    cfg->tied_head = true;
    TRY(config_get_bool(r, base, "tie_word_embeddings", &cfg->tied_head));
    cfg->qkv_bias = cfg->out_bias = cfg->mlp_bias = true;

fail:
    return st;
}

static status
read_neox(const config_reader *r, model_config *cfg)
{
    double eps = 1e-5;
    status st;

    TRY(read_sizes(r, cfg));
    if (!json_is_null(config_field(r, r->base, "head_dim")))
        return config_refuse(r, "head_dim", "in gpt_neox");
    TRY(config_get_f64(r, r->base, "layer_norm_eps", &eps));
    cfg->norm_eps = (float)eps;
    TRY(read_gelu(r, "hidden_act", "gelu", &cfg->act));
    cfg->parallel = true;
    TRY(config_get_bool(r, r->base, "use_parallel_residual", &cfg->parallel));
    cfg->qkv_bias = cfg->mlp_bias = true;
    TRY(config_get_bool(r, r->base, "attention_bias", &cfg->qkv_bias));
    cfg->out_bias = cfg->qkv_bias;

fail:
    return st;
}

/* ------------------------------------------------------------ families --- */

static const struct family {
    const char *name;
    config_block block;
    family_read *read;
} families[] = {
    {"llama", CONFIG_BLOCK_LLAMA, read_llama},
    {"mistral", CONFIG_BLOCK_LLAMA, read_mistral},
    {"qwen2", CONFIG_BLOCK_LLAMA, read_qwen2},
    {"qwen3", CONFIG_BLOCK_LLAMA, read_qwen3},
    {"gpt2", CONFIG_BLOCK_GPT2, read_gpt2},
    {"gpt_neox", CONFIG_BLOCK_NEOX, read_neox},
};

static const struct family *
find(const char *kind)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].name, kind) == 0)
            return &families[i];
    return NULL;
}

bool
config_base_known(const char *kind)
{
    return find(kind) != NULL;
}

status
config_read_base(const config_reader *r, const char *kind, model_config *cfg)
{
    const struct family *f = find(kind);

    if (f == NULL)
        return config_refuse(r, "model_type of the base model", kind);
    cfg->block = f->block;
    return f->read(r, cfg);
}
