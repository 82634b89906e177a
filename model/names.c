/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the families, and the prefixes of the schemes. */
#include "model/names.h"

#include <stdio.h>
#include <string.h>

/* Where a family's parts are, and what its last product is called. */
typedef struct family {
    const char *root, *list, *head;
} family;

static const family families[] = {
    [CONFIG_BLOCK_LLAMA] = {"model.", "layers.", "lm_head.weight"},
    [CONFIG_BLOCK_GPT2] = {"transformer.", "h.", "lm_head.weight"},
    [CONFIG_BLOCK_NEOX] = {"gpt_neox.", "layers.", "embed_out.weight"},
};

/* -------------------------------------------------------------- tables --- */

static void
add(names_table *t, const char *name, weights_kind kind, names_layout layout,
    size_t first, size_t n)
{
    ASSERT(t->n < NAMES_MAX);
    t->entry[t->n++] = (names_entry){name, kind, NAMES_LAYER, layout, first, n};
}

static void
vector(names_table *t, const char *name, weights_kind kind, size_t n)
{
    add(t, name, kind, NAMES_VECTOR, 0, n);
}

static void
whole(names_table *t, const char *name, weights_kind kind, names_layout layout)
{
    size_t rows = 0, cols = 0;
    weights_shape(t->cfg, kind, &rows, &cols);
    add(t, name, kind, layout, 0, rows);
}

static void
llama_biases(names_table *t)
{
    const model_config *c = t->cfg;
    size_t d_q = (size_t)c->n_head * c->d_head;
    size_t d_kv = (size_t)c->n_kv_head * c->d_head;
    if (c->qkv_bias) {
        vector(t, "self_attn.q_proj.bias", WEIGHTS_QKV_BIAS, d_q);
        add(t, "self_attn.k_proj.bias", WEIGHTS_QKV_BIAS, NAMES_VECTOR, d_q,
            d_kv);
        add(t, "self_attn.v_proj.bias", WEIGHTS_QKV_BIAS, NAMES_VECTOR,
            d_q + d_kv, d_kv);
    }
    if (c->out_bias)
        vector(t, "self_attn.o_proj.bias", WEIGHTS_OUT_BIAS, c->d_model);
    if (c->mlp_bias) {
        vector(t, "mlp.gate_proj.bias", WEIGHTS_GATE_UP_BIAS, c->d_ffn);
        add(t, "mlp.up_proj.bias", WEIGHTS_GATE_UP_BIAS, NAMES_VECTOR, c->d_ffn,
            c->d_ffn);
        vector(t, "mlp.down_proj.bias", WEIGHTS_DOWN_BIAS, c->d_model);
    }
    if (c->qk_norm) {
        vector(t, "self_attn.q_norm.weight", WEIGHTS_Q_NORM, c->d_head);
        vector(t, "self_attn.k_norm.weight", WEIGHTS_K_NORM, c->d_head);
    }
}

static void
llama_layer(names_table *t)
{
    const model_config *c = t->cfg;
    size_t ff = c->d_ffn, d_q = (size_t)c->n_head * c->d_head;
    size_t d_kv = (size_t)c->n_kv_head * c->d_head;
    vector(t, "input_layernorm.weight", WEIGHTS_NORM1, c->d_model);
    add(t, "self_attn.q_proj.weight", WEIGHTS_QKV, NAMES_ROWS, 0, d_q);
    add(t, "self_attn.k_proj.weight", WEIGHTS_QKV, NAMES_ROWS, d_q, d_kv);
    add(t, "self_attn.v_proj.weight", WEIGHTS_QKV, NAMES_ROWS, d_q + d_kv,
        d_kv);
    whole(t, "self_attn.o_proj.weight", WEIGHTS_OUT, NAMES_ROWS);
    vector(t, "post_attention_layernorm.weight", WEIGHTS_NORM2, c->d_model);
    add(t, "mlp.gate_proj.weight", WEIGHTS_GATE_UP, NAMES_ROWS, 0, ff);
    add(t, "mlp.up_proj.weight", WEIGHTS_GATE_UP, NAMES_ROWS, ff, ff);
    whole(t, "mlp.down_proj.weight", WEIGHTS_DOWN, NAMES_ROWS);
    llama_biases(t);
}

static void
gpt2_layer(names_table *t)
{
    const model_config *c = t->cfg;
    size_t d = c->d_model;
    vector(t, "ln_1.weight", WEIGHTS_NORM1, d);
    vector(t, "ln_1.bias", WEIGHTS_NORM1_BIAS, d);
    whole(t, "attn.c_attn.weight", WEIGHTS_QKV, NAMES_COLUMNS);
    vector(t, "attn.c_attn.bias", WEIGHTS_QKV_BIAS, 3 * d);
    whole(t, "attn.c_proj.weight", WEIGHTS_OUT, NAMES_COLUMNS);
    vector(t, "attn.c_proj.bias", WEIGHTS_OUT_BIAS, d);
    vector(t, "ln_2.weight", WEIGHTS_NORM2, d);
    vector(t, "ln_2.bias", WEIGHTS_NORM2_BIAS, d);
    whole(t, "mlp.c_fc.weight", WEIGHTS_GATE_UP, NAMES_COLUMNS);
    vector(t, "mlp.c_fc.bias", WEIGHTS_GATE_UP_BIAS, c->d_ffn);
    whole(t, "mlp.c_proj.weight", WEIGHTS_DOWN, NAMES_COLUMNS);
    vector(t, "mlp.c_proj.bias", WEIGHTS_DOWN_BIAS, d);
}

static void
neox_layer(names_table *t)
{
    const model_config *c = t->cfg;
    size_t d = c->d_model;
    vector(t, "input_layernorm.weight", WEIGHTS_NORM1, d);
    vector(t, "input_layernorm.bias", WEIGHTS_NORM1_BIAS, d);
    whole(t, "attention.query_key_value.weight", WEIGHTS_QKV, NAMES_HEADS);
    if (c->qkv_bias)
        add(t, "attention.query_key_value.bias", WEIGHTS_QKV_BIAS,
            NAMES_VECTOR_HEADS, 0, 3 * d);
    whole(t, "attention.dense.weight", WEIGHTS_OUT, NAMES_ROWS);
    if (c->out_bias)
        vector(t, "attention.dense.bias", WEIGHTS_OUT_BIAS, d);
    vector(t, "post_attention_layernorm.weight", WEIGHTS_NORM2, d);
    vector(t, "post_attention_layernorm.bias", WEIGHTS_NORM2_BIAS, d);
    whole(t, "mlp.dense_h_to_4h.weight", WEIGHTS_GATE_UP, NAMES_ROWS);
    vector(t, "mlp.dense_h_to_4h.bias", WEIGHTS_GATE_UP_BIAS, c->d_ffn);
    whole(t, "mlp.dense_4h_to_h.weight", WEIGHTS_DOWN, NAMES_ROWS);
    vector(t, "mlp.dense_4h_to_h.bias", WEIGHTS_DOWN_BIAS, d);
}

static void
memory_layer(names_table *t)
{
    size_t rows = 0, n_gate = 0;
    weights_shape(t->cfg, WEIGHTS_MEM_B_BIAS, &rows, &n_gate);
    whole(t, "W_mq.weight", WEIGHTS_MEM_Q, NAMES_ROWS);
    whole(t, "W_mk.weight", WEIGHTS_MEM_K, NAMES_ROWS);
    whole(t, "W_mv.weight", WEIGHTS_MEM_V, NAMES_ROWS);
    whole(t, "W_mb.weight", WEIGHTS_MEM_B, NAMES_ROWS);
    vector(t, "W_mb.bias", WEIGHTS_MEM_B_BIAS, n_gate);
}

/* Names of both ends. */
typedef struct ends {
    const char *embed, *position, *norm, *norm_bias;
} ends;

static void
outside(names_table *t)
{
    static const ends all[] = {
        [CONFIG_BLOCK_LLAMA] = {"embed_tokens.weight", NULL, "norm.weight",
                                NULL},
        [CONFIG_BLOCK_GPT2] = {"wte.weight", "wpe.weight", "ln_f.weight",
                               "ln_f.bias"},
        [CONFIG_BLOCK_NEOX] = {"embed_in.weight", NULL,
                               "final_layer_norm.weight",
                               "final_layer_norm.bias"},
    };
    const ends *e = &all[t->cfg->block];
    whole(t, e->embed, WEIGHTS_EMBED, NAMES_ROWS);
    if (e->position != NULL)
        whole(t, e->position, WEIGHTS_POSITION, NAMES_ROWS);
    vector(t, e->norm, WEIGHTS_NORM_F, t->cfg->d_model);
    if (e->norm_bias != NULL)
        vector(t, e->norm_bias, WEIGHTS_NORM_F_BIAS, t->cfg->d_model);
    whole(t, families[t->cfg->block].head, WEIGHTS_HEAD, NAMES_ROWS);
}

static void
set_place(names_table *t, size_t from, names_place place)
{
    for (size_t i = from; i < t->n; i++)
        t->entry[i].place = place;
}

void
names_init(names_table *table, const model_config *cfg, names_scheme scheme)
{
    static void (*const layer[])(names_table *) = {
        [CONFIG_BLOCK_LLAMA] = llama_layer,
        [CONFIG_BLOCK_GPT2] = gpt2_layer,
        [CONFIG_BLOCK_NEOX] = neox_layer};
    size_t from = 0;

    *table = (names_table){.cfg = cfg, .scheme = scheme};
    layer[cfg->block](table);
    from = table->n;
    if (cfg->memory == CONFIG_MEMORY_ASSOC)
        memory_layer(table);
    set_place(table, from, NAMES_WRAPPER);
    from = table->n;
    outside(table);
    set_place(table, from, NAMES_BASE);
    from = table->n;
    if (cfg->n_mem > 0)
        whole(table, "memory", WEIGHTS_MEMORY, NAMES_ROWS);
    if (cfg->n_sink > 0)
        whole(table, "sink", WEIGHTS_SINK, NAMES_ROWS);
    set_place(table, from, NAMES_OWN);
}

bool
names_expected(const names_table *table, const names_entry *e, uint32_t layer)
{
    return e->place != NAMES_WRAPPER || !config_is_bare(table->cfg, layer);
}

/* ------------------------------------------------------------- resolve --- */

/* Moves *name behind `prefix` if it starts with it. */
static bool
skip(const char **name, const char *prefix)
{
    size_t len = strlen(prefix);
    if (strncmp(*name, prefix, len) != 0)
        return false;
    *name += len;
    return true;
}

/* Moves *name behind "N." and gives N; plain decimal only. */
static bool
skip_number(const char **name, uint32_t *number)
{
    const char *p = *name;
    uint32_t n = 0;
    if (*p == '0' && p[1] != '.')
        return false;
    for (; *p >= '0' && *p <= '9' && n < CONFIG_MAX_LAYER; p++)
        n = 10 * n + (uint32_t)(*p - '0');
    if (p == *name || *p != '.')
        return false;
    *name = p + 1;
    *number = n;
    return true;
}

/* Whether `name` is `whole`, or a part that LoRA puts in its place: with X of
 * `whole` = X.weight or X.bias, X.base_layer.weight, X.base_layer.bias,
 * X.lora_A[.default].weight, X.lora_B[.default].weight. */
static bool
is_part(const char *name, const char *whole_name, names_part *part)
{
    const char *end = strrchr(whole_name, '.');
    *part = NAMES_WHOLE;
    if (strcmp(name, whole_name) == 0)
        return true;
    if (end == NULL || strncmp(name, whole_name, (size_t)(end - whole_name)))
        return false;
    name += end - whole_name;
    if (skip(&name, ".base_layer")) {
        *part = NAMES_LORA_BASE;
        return strcmp(name, end) == 0;
    }
    if (skip(&name, ".lora_A"))
        *part = NAMES_LORA_A;
    else if (skip(&name, ".lora_B"))
        *part = NAMES_LORA_B;
    else
        return false;
    (void)skip(&name, ".default");
    return strcmp(name, ".weight") == 0 && strcmp(end, ".weight") == 0;
}

static names_found
find(const names_table *t, const char *name, names_place place, uint32_t layer)
{
    names_found f = {.layer = layer};
    for (f.entry = 0; f.entry < t->n; f.entry++)
        if (t->entry[f.entry].place == place &&
            is_part(name, t->entry[f.entry].name, &f.part))
            return f;
    f.part = NAMES_WHOLE;
    return f;
}

static names_found
none(const names_table *t)
{
    return (names_found){.entry = t->n};
}

/* Behind the layer list's name.  A layer with a memory has its plain tensors
 * behind ".layer", one without may have them so. */
static names_found
resolve_layer(const names_table *t, const char *name)
{
    uint32_t layer = 0;
    if (!skip_number(&name, &layer) || layer >= t->cfg->n_layer)
        return none(t);
    if (t->cfg->memory != CONFIG_MEMORY_ASSOC)
        return find(t, name, NAMES_LAYER, layer);
    bool inside = skip(&name, "layer.");
    if (inside)
        return find(t, name, NAMES_LAYER, layer);
    if (config_is_bare(t->cfg, layer))
        return find(t, name, NAMES_LAYER, layer);
    return find(t, name, NAMES_WRAPPER, layer);
}

/* A name of the base model as its own files have it.  Files of the model
 * without its head leave the root's name out. */
static names_found
resolve_base(const names_table *t, const char *name)
{
    const family *f = &families[t->cfg->block];
    (void)skip(&name, "base_model.model.");
    bool rooted = skip(&name, f->root);
    if (!rooted && strcmp(name, "lm_head.weight") == 0)
        name = f->head; /* NeoX has been given the others' name lately */
    if (!rooted && t->scheme != NAMES_PLAIN) {
        names_found head = find(t, name, NAMES_BASE, 0);
        bool is_head =
            head.entry < t->n && t->entry[head.entry].kind == WEIGHTS_HEAD;
        return is_head ? head : none(t);
    }
    if (skip(&name, f->list))
        return resolve_layer(t, name);
    return find(t, name, NAMES_BASE, 0);
}

names_found
names_resolve(const names_table *table, const char *name)
{
    switch (table->scheme) {
    case NAMES_OUTER:
        (void)skip(&name, "armt.");
        if (!skip(&name, "memory_cell."))
            return none(table);
        if (skip(&name, "model."))
            return resolve_base(table, name);
        /* The first wrapper lists the layers a second time. */
        if (skip(&name, "layers."))
            return resolve_layer(table, name);
        return find(table, name, NAMES_OWN, 0);
    case NAMES_INNER:
        if (skip(&name, "model."))
            return resolve_base(table, name);
        return find(table, name, NAMES_OWN, 0);
    case NAMES_PLAIN:
        return resolve_base(table, name);
    }
    return none(table);
}

static bool
ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), len_end = strlen(end);
    return len >= len_end && strcmp(name + len - len_end, end) == 0;
}

bool
names_ignored(const names_table *table, const char *name)
{
    static const char *const rotary = "rotary_emb.inv_freq";
    static const char *const masks[][2] = {
        [CONFIG_BLOCK_LLAMA] = {NULL, NULL},
        [CONFIG_BLOCK_GPT2] = {".attn.bias", ".attn.masked_bias"},
        [CONFIG_BLOCK_NEOX] = {".attention.bias", ".attention.masked_bias"}};
    if (ends_with(name, rotary))
        return true;
    for (size_t i = 0; i < 2; i++) {
        const char *mask = masks[table->cfg->block][i];
        if (mask != NULL && ends_with(name, mask))
            return true;
    }
    return false;
}

void
names_label(char out[NAMES_LABEL], const names_table *table,
            const names_entry *e, uint32_t layer)
{
    const family *f = &families[table->cfg->block];
    if (e->place == NAMES_LAYER || e->place == NAMES_WRAPPER)
        (void)snprintf(out, NAMES_LABEL, "%s%u.%s", f->list, layer, e->name);
    else
        (void)snprintf(
            out, NAMES_LABEL, "%s%s",
            e->place == NAMES_OWN || e->kind == WEIGHTS_HEAD ? "" : f->root,
            e->name);
}

const char *
names_scheme_text(names_scheme scheme)
{
    static const char *const text[] = {[NAMES_OUTER] = "memory_cell.model.B",
                                       [NAMES_INNER] = "model.B",
                                       [NAMES_PLAIN] = "B"};
    return text[scheme];
}
