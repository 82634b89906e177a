/* SPDX-License-Identifier: Apache-2.0 */
/* Reads config.json of ARMT over LLaMA (docs/models.md has the fields).
 *
 * What this version does not build is refused by the option's name: a model
 * that runs with an option ignored would give wrong answers in silence. */
#include "model/config.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"

enum { MAX_BYTES = 1 << 20 };

/* Where a config comes from: the wrapper's fields, and the base model's. */
typedef struct source {
    const char *what;
    const json *top;
    const json *base;
} source;

/* ------------------------------------------------------------- values --- */

static status
bad(const source *src, const char *name, const char *expected)
{
    return status_fail(ST_ARG, "%s: %s must be %s", src->what, name, expected);
}

static status
unsupported(const source *src, const char *name, const char *value)
{
    return status_fail(ST_UNSUPPORTED, "%s: %s %s is not supported", src->what,
                       name, value);
}

/* The functions below leave *out alone when the field is absent or null, so
 * that it holds the default before the call. */
static status
get_bool(const source *src, const json *object, const char *name, bool *out)
{
    const json *v = json_get(object, name);

    if (json_is_null(v))
        return ST_OK;
    if (!json_is_bool(v))
        return bad(src, name, "true or false");
    *out = json_bool(v);
    return ST_OK;
}

static status
get_u32(const source *src, const json *object, const char *name, uint32_t *out)
{
    const json *v = json_get(object, name);

    if (json_is_null(v))
        return ST_OK;
    if (!json_is_integer(v) || json_int(v) < 0 || json_int(v) > INT32_MAX)
        return bad(src, name, "an integer from 0 to 2147483647");
    *out = (uint32_t)json_int(v);
    return ST_OK;
}

static status
get_f64(const source *src, const json *object, const char *name, double *out)
{
    const json *v = json_get(object, name);

    if (json_is_null(v))
        return ST_OK;
    if (!json_is_number(v))
        return bad(src, name, "a number");
    *out = json_number(v);
    return ST_OK;
}

static status
get_text(const source *src, const json *object, const char *name,
         const char **out)
{
    const json *v = json_get(object, name);

    if (json_is_null(v))
        return ST_OK;
    if (!json_is_string(v))
        return bad(src, name, "a string");
    *out = json_text(v, NULL);
    return ST_OK;
}

/* ------------------------------------------------- what is not built --- */

static status
refuse_flags(const source *src)
{
    static const struct {
        const char *name;
        bool built; /* the only value that is */
    } flags[] = {{"sliding_window", false},
                 {"sliding_window_enabled", false},
                 {"use_sink", false},
                 {"gating", false},
                 {"use_denom", true},
                 {"act_on", false},
                 {"attend_to_previous_input", false},
                 {"wrap_pos", false}};
    status st;

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        bool value = flags[i].built;

        TRY(get_bool(src, src->top, flags[i].name, &value));
        if (value != flags[i].built)
            return unsupported(src, flags[i].name, value ? "true" : "false");
    }
    return ST_OK;

fail:
    return st;
}

static status
refuse_texts(const source *src)
{
    const char *alignment = "left";
    const char *layers = "model.layers";
    status st;

    TRY(get_text(src, src->top, "segment_alignment", &alignment));
    if (strcmp(alignment, "left") != 0)
        return unsupported(src, "segment_alignment", alignment);
    TRY(get_text(src, src->top, "layers_attr", &layers));
    if (strcmp(layers, "model.layers") != 0)
        return unsupported(src, "layers_attr", layers);
    return ST_OK;

fail:
    return st;
}

static status
refuse_generation(const source *src)
{
    const json *classes = json_get(src->top, "architectures");
    const json *first = json_at(classes, 0);
    const char *rule = "frozen";
    status st;

    if (!json_is_null(classes) &&
        (!json_is_array(classes) ||
         (json_size(classes) > 0 && !json_is_string(first))))
        return bad(src, "architectures", "a list of strings");
    if (strcmp(json_text(first, NULL), "InnerLoopARMTForCausalLM") == 0)
        rule = "rollover";
    TRY(get_text(src, src->top, "generation", &rule));
    if (strcmp(rule, "frozen") == 0)
        return ST_OK;
    return unsupported(src, "generation", rule);

fail:
    return st;
}

static status
refuse_wrap_layers(const source *src, uint32_t n_layer)
{
    const json *list = json_get(src->top, "wrap_layers");

    if (json_is_null(list))
        return ST_OK;
    if (!json_is_array(list) || json_size(list) != n_layer)
        return bad(src, "wrap_layers", "null or one true or false a layer");
    for (size_t i = 0; i < json_size(list); i++) {
        if (!json_is_bool(json_at(list, i)))
            return bad(src, "wrap_layers", "null or one true or false a layer");
        if (!json_bool(json_at(list, i)))
            return unsupported(src, "wrap_layers", "with a false");
    }
    return ST_OK;
}

static status
refuse_base_options(const source *src)
{
    static const char *const biases[] = {"attention_bias", "mlp_bias"};
    const char *act = "silu";
    status st;

    for (size_t i = 0; i < 2; i++) {
        bool value = false;

        TRY(get_bool(src, src->base, biases[i], &value));
        if (value)
            return unsupported(src, biases[i], "true");
    }
    TRY(get_text(src, src->base, "hidden_act", &act));
    if (strcmp(act, "silu") != 0)
        return unsupported(src, "hidden_act", act);
    return ST_OK;

fail:
    return st;
}

/* -------------------------------------------------------------- parts --- */

/* The wrapper is ARMT and the base is LLaMA, both by name. */
static status
read_kinds(const source *src, bool *l2_norm)
{
    const char *kind = NULL;
    const char *base = NULL;
    const char *norm;
    status st;

    TRY(get_text(src, src->top, "model_type", &kind));
    if (kind != NULL && strcmp(kind, "armt") != 0)
        return unsupported(src, "model_type", kind);
    if (json_is_null(src->base)) {
        TRY(get_text(src, src->top, "base_model_name", &base));
        if (base != NULL)
            return unsupported(src, "base_model_name",
                               "without base_model_config");
        return bad(src, "base_model_config", "there");
    }
    if (!json_is_object(src->base))
        return bad(src, "base_model_config", "an object");
    TRY(get_text(src, src->base, "model_type", &base));
    if (base == NULL)
        return bad(src, "base_model_config.model_type", "there");
    if (strcmp(base, "llama") != 0)
        return unsupported(src, "base_model_config.model_type", base);
    /* A configuration that does not say armt belongs to a checkpoint of the
     * first wrapper, which did not normalise keys. */
    norm = kind != NULL ? "l2" : "none";
    TRY(get_text(src, src->top, "key_norm", &norm));
    *l2_norm = strcmp(norm, "l2") == 0;
    if (!*l2_norm && strcmp(norm, "none") != 0)
        return unsupported(src, "key_norm", norm);
    return ST_OK;

fail:
    return st;
}

static status
read_base(const source *src, model_config *cfg)
{
    static const char *const needed[] = {
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads"};
    uint32_t *const value[] = {&cfg->n_vocab, &cfg->d_model, &cfg->d_ffn,
                               &cfg->n_layer, &cfg->n_head};
    double eps = 1e-6;
    status st;

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        TRY(get_u32(src, src->base, needed[i], value[i]));
        if (*value[i] == 0)
            return bad(src, needed[i], "there and positive");
    }
    cfg->n_kv_head = cfg->n_head;
    TRY(get_u32(src, src->base, "num_key_value_heads", &cfg->n_kv_head));
    TRY(get_u32(src, src->base, "head_dim", &cfg->d_head));
    if (json_is_null(json_get(src->base, "head_dim"))) {
        if (cfg->d_model % cfg->n_head != 0)
            return bad(src, "hidden_size", "a multiple of num_attention_heads");
        cfg->d_head = cfg->d_model / cfg->n_head;
    }
    TRY(get_f64(src, src->base, "rms_norm_eps", &eps));
    cfg->norm_eps = (float)eps;
    TRY(get_bool(src, src->base, "tie_word_embeddings", &cfg->tied_head));
    return ST_OK;

fail:
    return st;
}

static status
read_scaling(const source *src, const json *scaling, config_rope *rope)
{
    const char *kind = "default";
    status st;

    if (!json_is_null(scaling) && !json_is_object(scaling))
        return bad(src, "rope_scaling", "null or an object");
    TRY(get_text(src, scaling, "type", &kind));
    TRY(get_text(src, scaling, "rope_type", &kind));
    if (strcmp(kind, "default") == 0)
        return ST_OK;
    if (strcmp(kind, "llama3") != 0)
        return unsupported(src, "rope_scaling", kind);
    rope->kind = CONFIG_ROPE_LLAMA3;
    TRY(get_f64(src, scaling, "factor", &rope->factor));
    TRY(get_f64(src, scaling, "low_freq_factor", &rope->low_freq_factor));
    TRY(get_f64(src, scaling, "high_freq_factor", &rope->high_freq_factor));
    TRY(get_f64(src, scaling, "original_max_position_embeddings",
                &rope->original_max_position));
    return ST_OK;

fail:
    return st;
}

static status
read_rope(const source *src, config_rope *rope)
{
    const json *nested = json_get(src->base, "rope_parameters");
    const json *scaling = json_get(src->base, "rope_scaling");
    status st;

    rope->theta = 10000;
    TRY(get_f64(src, src->base, "rope_theta", &rope->theta));
    TRY(get_f64(src, nested, "rope_theta", &rope->theta));
    TRY(read_scaling(src, json_is_null(nested) ? scaling : nested, rope));
    return ST_OK;

fail:
    return st;
}

static status
read_memory(const source *src, model_config *cfg)
{
    uint32_t n_heads = 1;
    status st;

    cfg->memory = CONFIG_MEMORY_ASSOC;
    cfg->n_mem = 16;
    cfg->d_mem = 512;
    cfg->segment_size = 512;
    cfg->n_mem_head = 1;
    cfg->correction = true;
    cfg->denom = true;
    TRY(get_u32(src, src->top, "num_mem_tokens", &cfg->n_mem));
    TRY(get_u32(src, src->top, "d_mem", &cfg->d_mem));
    TRY(get_u32(src, src->top, "segment_size", &cfg->segment_size));
    TRY(get_bool(src, src->top, "correction", &cfg->correction));
    TRY(get_u32(src, src->top, "n_heads", &n_heads));
    if (n_heads != 1)
        return unsupported(src, "n_heads", "other than 1");
    return ST_OK;

fail:
    return st;
}

static status
read_dtype(const source *src, const char *field, config_dtype *out)
{
    static const char *const names[] = {"float32", "bfloat16", "float16"};
    const char *name = NULL;
    status st;

    TRY(get_text(src, src->top, field, &name));
    if (name == NULL)
        return ST_OK;
    if (strncmp(name, "torch.", 6) == 0)
        name += 6;
    for (size_t i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (config_dtype)i;
            return ST_OK;
        }
    return unsupported(src, field, name);

fail:
    return st;
}

/* The newest name wins.  The memory's type is checked only: states are fp32
 * here whatever the reference would keep them in. */
static status
read_dtypes(const source *src, config_dtype *out)
{
    config_dtype memory = CONFIG_F32;
    status st;

    TRY(read_dtype(src, "memory_dtype", &memory));
    TRY(read_dtype(src, "model_dtype", out));
    TRY(read_dtype(src, "torch_dtype", out));
    TRY(read_dtype(src, "dtype", out));
    return ST_OK;

fail:
    return st;
}

/* ------------------------------------------------- begin and end tokens --- */

static status
read_token(const source *src, const json *v, const char *name, int32_t *out)
{
    if (!json_is_integer(v) || json_int(v) < 0 || json_int(v) > INT32_MAX)
        return bad(src, name, "a token id or a list of them");
    *out = (int32_t)json_int(v);
    return ST_OK;
}

/* Replaces what an object of lower rank said, if this one says anything. */
static status
read_tokens(const source *src, const json *object, model_config *cfg)
{
    const json *bos = json_get(object, "bos_token_id");
    const json *eos = json_get(object, "eos_token_id");
    status st;

    if (!json_is_null(bos))
        TRY(read_token(src, bos, "bos_token_id", &cfg->bos));
    if (json_is_null(eos))
        return ST_OK;
    cfg->n_eos = 0;
    if (!json_is_array(eos)) {
        TRY(read_token(src, eos, "eos_token_id", &cfg->eos[0]));
        cfg->n_eos = 1;
        return ST_OK;
    }
    if (json_size(eos) > CONFIG_MAX_EOS)
        return bad(src, "eos_token_id", "a list of at most 16");
    for (size_t i = 0; i < json_size(eos); i++)
        TRY(read_token(src, json_at(eos, i), "eos_token_id", &cfg->eos[i]));
    cfg->n_eos = (uint32_t)json_size(eos);
    return ST_OK;

fail:
    return st;
}

/* -------------------------------------------------------------- whole --- */

static status
read_all(const source *src, model_config *cfg)
{
    status st;

    TRY(read_kinds(src, &cfg->l2_norm));
    cfg->block = CONFIG_BLOCK_LLAMA;
    TRY(refuse_flags(src));
    TRY(refuse_texts(src));
    TRY(refuse_generation(src));
    TRY(refuse_base_options(src));
    TRY(read_base(src, cfg));
    TRY(read_rope(src, &cfg->rope));
    cfg->rope.d_rot = cfg->d_head;
    TRY(read_memory(src, cfg));
    TRY(refuse_wrap_layers(src, cfg->n_layer));
    TRY(read_dtypes(src, &cfg->dtype));
    TRY(read_tokens(src, src->base, cfg));
    TRY(read_tokens(src, src->top, cfg));
    return ST_OK;

fail:
    return st;
}

static status
parse(model_config *out, const char *text, size_t len, const char *what)
{
    model_config cfg = {.bos = -1};
    source src = {.what = what};
    json_doc *doc = NULL;
    status st;

    TRY(json_parse(&doc, text, len, what));
    src.top = json_root(doc);
    src.base = json_get(src.top, "base_model_config");
    TRY(json_is_object(src.top) ? read_all(&src, &cfg)
                                : bad(&src, "the file", "an object"));
    *out = cfg;

fail:
    json_free(doc);
    return st;
}

status
config_parse(model_config *out, const char *text, size_t len, const char *what)
{
    model_config cfg;
    status st;

    TRY(parse(&cfg, text, len, what));
    TRY(config_check(&cfg));
    *out = cfg;
    return ST_OK;

fail:
    return st;
}

/* generation_config.json, where there is one, has the last word about begin
 * and end tokens. */
static status
load_generation(model_config *cfg, const char *dir)
{
    source src = {.what = "generation_config.json"};
    char *path = NULL;
    char *text = NULL;
    json_doc *doc = NULL;
    size_t len;
    status st;

    TRY(file_join(&path, dir, src.what));
    if (file_exists(path)) {
        TRY(file_read(&text, &len, path, MAX_BYTES));
        TRY(json_parse(&doc, text, len, src.what));
        TRY(read_tokens(&src, json_root(doc), cfg));
    }
    st = ST_OK;

fail:
    json_free(doc);
    mem_free(text);
    mem_free(path);
    return st;
}

status
config_load(model_config *out, const char *dir)
{
    model_config cfg;
    char *path = NULL;
    char *text = NULL;
    size_t len;
    status st;

    TRY(file_join(&path, dir, "config.json"));
    TRY(file_read(&text, &len, path, MAX_BYTES));
    TRY(parse(&cfg, text, len, "config.json"));
    TRY(load_generation(&cfg, dir));
    TRY(config_check(&cfg));
    *out = cfg;

fail:
    mem_free(text);
    mem_free(path);
    return st;
}
