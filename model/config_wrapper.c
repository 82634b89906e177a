/* SPDX-License-Identifier: Apache-2.0 */
/* The wrapper's part of config.json: ARMT as packaged, ARMT as the first
 * wrapper left it (everything must be said), RMT, and a base model alone. */
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "model/config_reader.h"

/* Tokens of a segment where a base model's file does not say: its state does
 * not depend on it. */
enum { BASE_SEGMENT = 1024 };

/* ------------------------------------------------------------ the kind --- */

static status
find_base(config_reader *r, const char **base_kind)
{
    const char *name = NULL;
    status st;

    r->base = config_field(r, r->top, "base_model_config");
    if (json_is_null(r->base)) {
        TRY(config_get_text(r, r->top, "base_model_name", &name));
        if (name != NULL)
            return status_fail(
                ST_UNSUPPORTED,
                "%s: base_model_name %.100s without base_model_config is not "
                "supported; put the base model's config.json there",
                r->what, name);
        return config_bad(r, "base_model_config", "there");
    }
    if (!json_is_object(r->base))
        return config_bad(r, "base_model_config", "an object");
    TRY(config_get_text(r, r->base, "model_type", base_kind));
    if (*base_kind == NULL)
        return config_bad(r, "base_model_config.model_type", "there");

fail:
    return st;
}

/* ------------------------------------------------------------ segments --- */

static status
read_align(const config_reader *r, config_align *out)
{
    static const char *const names[] = {"left", "right", "center"};
    const char *name = "left";
    status st;

    TRY(config_get_text(r, r->top, "segment_alignment", &name));
    for (size_t i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (config_align)i;
            return ST_OK;
        }
    return config_refuse(r, "segment_alignment", name);

fail:
    return st;
}

/* The class that wrote the file; "" when it does not say. */
static status
first_class(const config_reader *r, const char **out)
{
    const json *classes = config_field(r, r->top, "architectures");
    const json *first = json_at(classes, 0);

    if (!json_is_null(classes) &&
        (!json_is_array(classes) ||
         (json_size(classes) > 0 && !json_is_string(first))))
        return config_bad(r, "architectures", "a list of strings");
    *out = json_text(first, NULL);
    return ST_OK;
}

static status
read_generation(const config_reader *r, bool inner, config_generation *out)
{
    const char *rule = inner ? "rollover" : "frozen";
    status st;

    TRY(config_get_text(r, r->top, "generation", &rule));
    if (strcmp(rule, "frozen") == 0)
        *out = CONFIG_FROZEN;
    else if (strcmp(rule, "rollover") == 0)
        *out = CONFIG_ROLLOVER;
    else
        return config_refuse(r, "generation", rule);

fail:
    return st;
}

/* ---------------------------------------------------------------- ARMT --- */

/* Which of the two variants of the window is the class's. */
static status
read_window(const config_reader *r, const char *class, model_config *cfg)
{
    bool enabled = false;
    status st;

    TRY(config_get_bool(r, r->top, "sliding_window", &cfg->window));
    TRY(config_get_bool(r, r->top, "sliding_window_enabled", &enabled));
    cfg->window = cfg->window || enabled;
    if (!cfg->window)
        return ST_OK;
    cfg->window_outer = strcmp(class, "ARMTForCausalLM") == 0;
    if (!cfg->window_outer && strcmp(class, "InnerLoopARMTForCausalLM") != 0)
        return config_bad(r, "architectures with sliding_window",
                          "ARMTForCausalLM or InnerLoopARMTForCausalLM");

fail:
    return st;
}

/* *size has the default; `need`: there is none. */
static status
read_segment(const config_reader *r, bool need, uint32_t *size)
{
    uint64_t given = r->given.segment_size;
    status st;

    if (given > UINT32_MAX)
        return status_fail(ST_ARG, "segments of %llu tokens",
                           (unsigned long long)given);
    if (need && given == 0)
        TRY(config_need_u32(r, r->top, "segment_size", size));
    else
        TRY(config_get_u32(r, r->top, "segment_size", size));
    if (given > 0)
        *size = (uint32_t)given;

fail:
    return st;
}

static status
read_assoc(const config_reader *r, model_config *cfg)
{
    bool sink = false;
    status st;

    TRY(config_get_u32(r, r->top, "num_mem_tokens", &cfg->n_mem));
    TRY(config_get_u32(r, r->top, "d_mem", &cfg->d_mem));
    TRY(read_segment(r, false, &cfg->segment_size));
    TRY(config_get_u32(r, r->top, "n_heads", &cfg->n_mem_head));
    TRY(config_get_bool(r, r->top, "correction", &cfg->correction));
    TRY(config_get_bool(r, r->top, "use_denom", &cfg->denom));
    TRY(config_get_bool(r, r->top, "gating", &cfg->gating));
    TRY(config_get_bool(r, r->top, "use_sink", &sink));
    cfg->n_sink = sink;
    TRY(config_get_bool(r, r->top, "wrap_pos", &cfg->wrap_pos));
    TRY(config_only(r, r->top, "act_on", false));
    TRY(config_only(r, r->top, "attend_to_previous_input", false));

fail:
    return st;
}

static status
read_armt(config_reader *r, const char *norm, model_config *cfg)
{
    const char *class = NULL;
    bool inner = false;
    status st;

    cfg->memory = CONFIG_MEMORY_ASSOC;
    cfg->n_mem = 16;
    cfg->d_mem = 512;
    cfg->segment_size = 512;
    cfg->n_mem_head = 1;
    cfg->correction = cfg->denom = true;
    TRY(read_assoc(r, cfg));
    TRY(config_get_text(r, r->top, "key_norm", &norm));
    if (r->given.key_norm)
        norm = r->given.key_norm;
    cfg->l2_norm = strcmp(norm, "l2") == 0;
    if (!cfg->l2_norm && strcmp(norm, "none") != 0)
        return r->given.key_norm
                   ? status_fail(ST_UNSUPPORTED,
                                 "--key-norm is none or l2, not %s", norm)
                   : config_refuse(r, "key_norm", norm);
    TRY(first_class(r, &class));
    inner = strcmp(class, "InnerLoopARMTForCausalLM") == 0;
    TRY(read_window(r, class, cfg));
    TRY(read_align(r, &cfg->align));
    TRY(read_generation(r, inner, &cfg->generation));
    if (inner && cfg->align != CONFIG_ALIGN_LEFT)
        return config_refuse(r, "segment_alignment",
                             "other than left in an inner loop");

fail:
    return st;
}

/* The first wrapper's checkpoints have no usable config, and nothing of this
 * can be seen in their tensors. */
static status
read_raw(config_reader *r, model_config *cfg)
{
    static const char *const needed[] = {
        "base_model_config", "segment_size", "num_mem_tokens",    "d_mem",
        "correction",        "use_denom",    "segment_alignment", "generation"};
    char list[200];
    size_t len = 0;

    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (!json_is_null(config_field(r, r->top, needed[i])) ||
            (r->given.segment_size > 0 &&
             strcmp(needed[i], "segment_size") == 0))
            continue;
        int n = snprintf(list + len, sizeof list - len, "%s%s",
                         len > 0 ? ", " : "", needed[i]);
        ASSERT(n > 0 && (size_t)n < sizeof list - len);
        len += (size_t)n;
    }
    if (len > 0)
        return status_fail(ST_ARG,
                           "%s: has no model_type, and so must say %s too "
                           "(model/convert.py makes such a file)",
                           r->what, list);
    return read_armt(r, "none", cfg);
}

/* ------------------------------------------------------- the other two --- */

static status
read_rmt(config_reader *r, model_config *cfg)
{
    status st;

    cfg->memory = CONFIG_MEMORY_TOKENS;
    TRY(config_need_u32(r, r->top, "num_mem_tokens", &cfg->n_mem));
    TRY(read_segment(r, true, &cfg->segment_size));
    TRY(read_align(r, &cfg->align));
    TRY(read_generation(r, false, &cfg->generation));
    if (cfg->generation != CONFIG_FROZEN)
        return config_refuse(r, "generation", "rollover of rmt");
    TRY(config_only(r, r->top, "wrap_pos", false));
    TRY(config_only(r, r->top, "use_sink", false));
    TRY(config_only(r, r->top, "sliding_window", false));

fail:
    return st;
}

static status
read_alone(config_reader *r, model_config *cfg)
{
    status st;

    cfg->memory = CONFIG_MEMORY_CACHE;
    cfg->segment_size = BASE_SEGMENT;
    TRY(read_segment(r, false, &cfg->segment_size));
    r->base = r->top;

fail:
    return st;
}

status
config_read_wrapper(config_reader *r, const char **base_kind, model_config *cfg)
{
    const char *kind = NULL;
    status st;

    TRY(config_get_text(r, r->top, "model_type", &kind));
    if (kind == NULL) {
        TRY(read_raw(r, cfg));
    } else if (strcmp(kind, "armt") == 0) {
        TRY(read_armt(r, "l2", cfg));
    } else if (strcmp(kind, "rmt") == 0) {
        TRY(read_rmt(r, cfg));
    } else if (config_base_known(kind)) {
        *base_kind = kind;
        return read_alone(r, cfg);
    } else {
        return config_refuse(r, "model_type", kind);
    }
    return find_base(r, base_kind);

fail:
    return st;
}

/* -------------------------------------------------------------- layers --- */

static status
read_wrap_layers(const config_reader *r, model_config *cfg)
{
    const json *list = config_field(r, r->top, "wrap_layers");

    if (json_is_null(list))
        return ST_OK;
    if (!json_is_array(list) || json_size(list) != cfg->n_layer ||
        cfg->n_layer > CONFIG_MAX_LAYER)
        return config_bad(r, "wrap_layers",
                          "null or one true or false a layer");
    for (uint32_t l = 0; l < cfg->n_layer; l++) {
        const json *v = json_at(list, l);
        if (!json_is_bool(v))
            return config_bad(r, "wrap_layers",
                              "null or one true or false a layer");
        if (!json_bool(v))
            cfg->bare[l / 64] |= UINT64_C(1) << l % 64;
    }
    return ST_OK;
}

static status
read_trained_norms(const config_reader *r, model_config *cfg)
{
    const char *const name = "trained_state_norms";
    const char *const expected = "null or one number from 0 on a layer";
    const json *list = config_field(r, r->top, name);

    if (json_is_null(list))
        return ST_OK;
    if (!json_is_array(list) || json_size(list) != cfg->n_layer ||
        cfg->n_layer > CONFIG_MAX_LAYER)
        return config_bad(r, name, expected);
    for (uint32_t l = 0; l < cfg->n_layer; l++) {
        const json *v = json_at(list, l);

        if (!json_is_number(v) || !(json_number(v) >= 0) ||
            json_number(v) > (double)FLT_MAX)
            return config_bad(r, name, expected);
        cfg->trained_norm[l] = (float)json_number(v);
    }
    cfg->n_trained_norm = cfg->n_layer;
    return ST_OK;
}

status
config_read_layers(const config_reader *r, model_config *cfg)
{
    static const char *const lists[] = {[CONFIG_BLOCK_LLAMA] = "model.layers",
                                        [CONFIG_BLOCK_GPT2] = "transformer.h",
                                        [CONFIG_BLOCK_NEOX] =
                                            "gpt_neox.layers"};
    const char *list = lists[cfg->block];
    status st;

    if (cfg->memory != CONFIG_MEMORY_ASSOC)
        return ST_OK;
    TRY(config_get_text(r, r->top, "layers_attr", &list));
    if (strcmp(list, lists[cfg->block]) != 0)
        return config_refuse(r, "layers_attr", list);
    TRY(read_wrap_layers(r, cfg));
    TRY(read_trained_norms(r, cfg));

fail:
    return st;
}
