/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a checkpoint: names of every scheme to one table, checks of the
 * whole file, then this part's tensors through one bounded buffer.
 *
 * The checks look at all layers, also at those of other ranks, so that a bad
 * file is refused by every rank in the same words. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/safetensors.h"
#include "model/weights.h"

/* Values converted at a time; a row is never longer. */
enum { CHUNK = CONFIG_MAX_WIDTH, LISTED = 10 };

/* One tensor of a file: rows `row ..` of a kind, or the kind's whole item. */
typedef struct entry {
    const char *name; /* without prefixes; of a layer: behind its number */
    weights_kind kind;
    bool wrapped; /* lies in the wrapper itself, never behind ".layer" */
    size_t row, n_row;
} entry;

enum { N_ENTRY = 18, N_LAYER_ENTRY = 14 };

typedef struct loader {
    const model_config *cfg;
    const safetensors *file;
    bool outer; /* names start with memory_cell. */
    entry entry[N_ENTRY];
    /* [n_layer, N_ENTRY]; single tensors in row 0. */
    const safetensors_tensor **found;
    /* Bad tensors, and the names of the first. */
    uint32_t n_bad, n_listed;
    const char *said; /* what was last said of one */
    char list[448];
} loader;

/* ------------------------------------------------------------- names --- */

static void
table_init(loader *l)
{
    const model_config *c = l->cfg;
    size_t d = c->d_model, ff = c->d_ffn;
    size_t d_q = (size_t)c->n_head * c->d_head;
    size_t d_kv = (size_t)c->n_kv_head * c->d_head;
    const entry table[N_ENTRY] = {
        {"input_layernorm.weight", WEIGHTS_NORM1, false, 0, 1},
        {"self_attn.q_proj.weight", WEIGHTS_QKV, false, 0, d_q},
        {"self_attn.k_proj.weight", WEIGHTS_QKV, false, d_q, d_kv},
        {"self_attn.v_proj.weight", WEIGHTS_QKV, false, d_q + d_kv, d_kv},
        {"self_attn.o_proj.weight", WEIGHTS_OUT, false, 0, d},
        {"post_attention_layernorm.weight", WEIGHTS_NORM2, false, 0, 1},
        {"mlp.gate_proj.weight", WEIGHTS_GATE_UP, false, 0, ff},
        {"mlp.up_proj.weight", WEIGHTS_GATE_UP, false, ff, ff},
        {"mlp.down_proj.weight", WEIGHTS_DOWN, false, 0, d},
        {"W_mq.weight", WEIGHTS_MEM_Q, true, 0, c->d_mem},
        {"W_mk.weight", WEIGHTS_MEM_K, true, 0, c->d_mem},
        {"W_mv.weight", WEIGHTS_MEM_V, true, 0, d},
        {"W_mb.weight", WEIGHTS_MEM_B, true, 0, 1},
        {"W_mb.bias", WEIGHTS_MEM_B_BIAS, true, 0, 1},
        {"model.embed_tokens.weight", WEIGHTS_EMBED, false, 0, c->n_vocab},
        {"memory", WEIGHTS_MEMORY, true, 0, c->n_mem},
        {"model.norm.weight", WEIGHTS_NORM_F, false, 0, 1},
        {"lm_head.weight", WEIGHTS_HEAD, false, 0, c->n_vocab},
    };
    memcpy(l->entry, table, sizeof table);
}

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

static size_t
entry_index(const loader *l, const char *name, bool in_layer, bool wrapped)
{
    for (size_t i = in_layer ? 0 : N_LAYER_ENTRY;
         i < (in_layer ? N_LAYER_ENTRY : N_ENTRY); i++)
        if (l->entry[i].wrapped == wrapped &&
            strcmp(l->entry[i].name, name) == 0)
            return i;
    return N_ENTRY;
}

/* Which tensor a name of the file is; N_ENTRY: none.  With B the name in a
 * plain LLaMA checkpoint, the schemes are
 *   [armt.]memory_cell.model.B    [armt.]memory_cell.layers.N...   outer
 *   model.B                                                        inner
 * and each has ".layer" between a layer's number and its plain tensors. */
static size_t
resolve(const loader *l, const char *name, uint32_t *layer)
{
    *layer = 0;
    if (l->outer) {
        (void)skip(&name, "armt.");
        if (!skip(&name, "memory_cell."))
            return N_ENTRY;
    }
    bool listed = l->outer && skip(&name, "layers.");
    if (!listed && !skip(&name, "model."))
        return entry_index(l, name, false, true);
    if (!listed && !skip(&name, "model.layers."))
        return entry_index(l, name, false, false);
    if (!skip_number(&name, layer) || *layer >= l->cfg->n_layer)
        return N_ENTRY;
    bool plain = skip(&name, "layer.");
    return entry_index(l, name, true, !plain);
}

/* ------------------------------------------------------------ checks --- */

/* Counts a bad tensor and lists its name while there is room; bytes that
 * would break a line of text are masked. */
static void
note(loader *l, const char *how, const char *name)
{
    char text[80];
    size_t len = strlen(l->list);
    const char *comma = len > 0 ? ", " : "";
    const char *said = how == l->said ? "" : how;
    l->n_bad++;
    int n = snprintf(text, sizeof text, "%s%s%s%.44s", comma, said,
                     *said != '\0' ? " " : "", name);
    if (l->n_listed == LISTED || n < 0 || len + (size_t)n >= sizeof l->list)
        return;
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    memcpy(l->list + len, text, (size_t)n + 1);
    l->n_listed++;
    l->said = how;
}

static status
check_supported(const char *name)
{
    const char *why = NULL;
    if (strstr(name, ".base_layer.") != NULL || strstr(name, "lora_") != NULL)
        why = "LoRA weights that were not merged";
    else if (strstr(name, ".act.") != NULL)
        why = "adaptive computation";
    else if (strcmp(name, "sink") == 0 || strstr(name, ".sink") != NULL)
        why = "a sink token";
    if (why == NULL)
        return ST_OK;
    return status_fail(ST_UNSUPPORTED,
                       "tensor \"%.200s\" needs %s, which is not supported",
                       name, why);
}

static bool
ignored(const char *name)
{
    const char *end = "rotary_emb.inv_freq"; /* recomputed from the config */
    size_t len = strlen(name), len_end = strlen(end);
    return len >= len_end && strcmp(name + len - len_end, end) == 0;
}

/* What an unknown name is called: without the scheme's common prefix. */
static const char *
short_name(const loader *l, const char *name)
{
    if (l->outer) {
        (void)skip(&name, "armt.");
        (void)skip(&name, "memory_cell.");
    }
    (void)skip(&name, "model.model.");
    return name;
}

static status
find_all(loader *l)
{
    status st = ST_OK;
    for (size_t i = 0; i < safetensors_count(l->file); i++) {
        const safetensors_tensor *t = safetensors_at(l->file, i);
        uint32_t layer = 0;
        if (ignored(t->name))
            continue;
        TRY(check_supported(t->name));
        size_t k = resolve(l, t->name, &layer);
        if (k == N_ENTRY)
            note(l, "unexpected", short_name(l, t->name));
        else
            l->found[(size_t)layer * N_ENTRY + k] = t;
    }
fail:
    return st;
}

/* The tensor of an entry; a tied head and its table stand for each other. */
static const safetensors_tensor *
tensor_of(const loader *l, size_t k, uint32_t layer)
{
    const safetensors_tensor *t = l->found[(size_t)layer * N_ENTRY + k];
    weights_kind kind = l->entry[k].kind;
    if (!l->cfg->tied_head)
        return t;
    for (size_t i = N_LAYER_ENTRY; i < N_ENTRY && t == NULL; i++)
        if ((kind == WEIGHTS_EMBED && l->entry[i].kind == WEIGHTS_HEAD) ||
            (kind == WEIGHTS_HEAD && l->entry[i].kind == WEIGHTS_EMBED))
            t = l->found[i];
    return t;
}

/* Vectors may be written as [n]; everything else is [n_row, cols]. */
static bool
shape_is(const safetensors_tensor *t, size_t n_row, size_t cols)
{
    if (t->n_dim == 1)
        return n_row == 1 && t->dim[0] == cols;
    return t->n_dim == 2 && t->dim[0] == n_row && t->dim[1] == cols;
}

static bool
type_is_float(safetensors_type type)
{
    return type == SAFETENSORS_F32 || type == SAFETENSORS_F16 ||
           type == SAFETENSORS_BF16;
}

static void
check_entry(loader *l, size_t k, uint32_t layer)
{
    const entry *e = &l->entry[k];
    const safetensors_tensor *t = tensor_of(l, k, layer);
    size_t rows = 0, cols = 0;
    char name[96];
    weights_shape(l->cfg, e->kind, &rows, &cols);
    if (k < N_LAYER_ENTRY)
        (void)snprintf(name, sizeof name, "layers.%u.%s", layer, e->name);
    else
        (void)snprintf(name, sizeof name, "%s", e->name);
    if (t == NULL)
        note(l, "missing", name);
    else if (!type_is_float(t->type))
        note(l, "of another type", name);
    else if (!shape_is(t, e->n_row, cols))
        note(l, "of another shape", name);
}

static status
check_all(loader *l)
{
    for (uint32_t layer = 0; layer < l->cfg->n_layer; layer++)
        for (size_t k = 0; k < N_LAYER_ENTRY; k++)
            check_entry(l, k, layer);
    for (size_t k = N_LAYER_ENTRY; k < N_ENTRY; k++)
        check_entry(l, k, 0);
    if (l->n_bad == 0)
        return ST_OK;
    if (l->n_bad == l->n_listed)
        return status_fail(ST_ARG, "tensors do not fit the config: %s",
                           l->list);
    return status_fail(ST_ARG, "tensors do not fit the config: %s, and %u more",
                       l->list, l->n_bad - l->n_listed);
}

/* ------------------------------------------------------------ reading --- */

static bool
wanted(const weights_part *part, weights_kind kind, uint32_t layer)
{
    if (kind < WEIGHTS_N_LAYER_KIND)
        return layer >= part->layer_first &&
               layer - part->layer_first < part->n_layer;
    return kind == WEIGHTS_EMBED || kind == WEIGHTS_MEMORY ? part->embed
                                                           : part->head;
}

static status
read_tensor(const loader *l, weights *w, float *chunk, size_t k, uint32_t layer)
{
    const entry *e = &l->entry[k];
    const safetensors_tensor *t = tensor_of(l, k, layer);
    size_t rows = 0, cols = 0;
    status st = ST_OK;
    weights_shape(l->cfg, e->kind, &rows, &cols);
    size_t step = CHUNK / cols;
    for (size_t row = 0; row < e->n_row; row += step) {
        size_t n_row = e->n_row - row < step ? e->n_row - row : step;
        TRY(safetensors_read_f32(t, chunk, row * cols, n_row * cols));
        TRY(weights_put(w, e->kind, layer, e->row + row, n_row, chunk));
    }
fail:
    return st;
}

static status
read_part(const loader *l, weights *w)
{
    const weights_part *part = weights_part_of(w);
    float *chunk = NULL;
    status st = ST_OK;

    TRY(mem_new(&chunk, CHUNK, sizeof *chunk));
    for (size_t k = 0; k < N_ENTRY; k++) {
        uint32_t n = k < N_LAYER_ENTRY ? l->cfg->n_layer : 1;
        bool again = l->entry[k].kind == WEIGHTS_HEAD && l->cfg->tied_head &&
                     part->embed; /* the table is its head already */
        for (uint32_t layer = 0; layer < n && !again; layer++)
            if (wanted(part, l->entry[k].kind, layer))
                TRY(read_tensor(l, w, chunk, k, layer));
    }
fail:
    mem_free(chunk);
    return st;
}

/* Outer wrappers have memory_cell.memory, the inner-loop one has memory. */
static status
detect(loader *l)
{
    l->outer = safetensors_find(l->file, "memory_cell.memory") != NULL ||
               safetensors_find(l->file, "armt.memory_cell.memory") != NULL;
    if (!l->outer && safetensors_find(l->file, "memory") == NULL)
        return status_fail(ST_ARG, "the checkpoint has no memory tokens: none "
                                   "of memory_cell.memory, "
                                   "armt.memory_cell.memory, memory");
    return ST_OK;
}

status
weights_load(weights *w, const char *dir)
{
    loader l = {.cfg = weights_config_of(w)};
    safetensors *file = NULL;
    size_t n = 0;
    status st = ST_OK;

    TRY(safetensors_open(&file, dir));
    l.file = file;
    table_init(&l);
    TRY(size_mul(&n, l.cfg->n_layer, N_ENTRY));
    TRY(mem_new(&l.found, n, sizeof *l.found));
    TRY(detect(&l));
    TRY(find_all(&l));
    TRY(check_all(&l));
    TRY(read_part(&l, w));
fail:
    mem_free(l.found);
    safetensors_close(file);
    return st;
}
