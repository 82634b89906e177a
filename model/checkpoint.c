/* SPDX-License-Identifier: Apache-2.0 */
/* From the names of a file to one table, and the checks of the whole file. */
#include "model/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

/* Bytes of a list that with what stands around it are a sentence of a status:
 * of tensors that do not fit, and of those beside which there is no memory. */
enum { LISTED = 10, ROOM = 444, ROOM_BESIDE = 411 };

/* Bad tensors, and the names of the first. */
typedef struct complaint {
    uint32_t n_bad, n_listed;
    size_t room;      /* of the list */
    const char *said; /* what was last said of one */
    char list[ROOM];
} complaint;

/* Counts a bad tensor and lists its name while there is room; bytes that
 * would break a line of text are masked. */
static void
note(complaint *l, const char *how, const char *name)
{
    char text[80];
    size_t len = strlen(l->list);
    const char *comma = len > 0 ? ", " : "";
    const char *said = how == l->said ? "" : how;
    l->n_bad++;
    int n = snprintf(text, sizeof text, "%s%s%s%.44s", comma, said,
                     *said != '\0' ? " " : "", name);
    if (l->n_listed == LISTED || n < 0 || len + (size_t)n >= l->room)
        return;
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    memcpy(l->list + len, text, (size_t)n + 1);
    l->n_listed++;
    l->said = how;
}

static status
judge(const complaint *l, names_scheme scheme)
{
    char more[32] = "";
    if (l->n_bad == 0)
        return ST_OK;
    if (l->n_bad > l->n_listed)
        (void)snprintf(more, sizeof more, ", and %u more",
                       l->n_bad - l->n_listed);
    return status_fail(ST_ARG, "tensors do not fit (names as %s): %s%s",
                       names_scheme_text(scheme), l->list, more);
}

/* ------------------------------------------------------------ finding --- */

/* What no configuration makes readable. */
static status
check_supported(const char *name)
{
    const char *why = NULL;
    if (strstr(name, ".act.") != NULL)
        why = "adaptive computation";
    else if (strstr(name, "lora_magnitude") != NULL ||
             strstr(name, "lora_embedding") != NULL)
        why = "a kind of LoRA";
    else if (strstr(name, ".modules_to_save.") != NULL)
        why = "trained copies of whole parts (modules_to_save)";
    if (why == NULL)
        return ST_OK;
    return status_fail(ST_UNSUPPORTED,
                       "tensor \"%.200s\" needs %s, which is not supported",
                       name, why);
}

/* What an unknown name is called: without the scheme's common prefix. */
static const char *
short_name(const checkpoint *c, const char *name)
{
    static const char *const prefix[] = {"armt.", "memory_cell.",
                                         "model.model."};
    for (size_t i = c->names.scheme == NAMES_OUTER ? 0 : 2; i < 3; i++)
        if (strncmp(name, prefix[i], strlen(prefix[i])) == 0)
            name += strlen(prefix[i]);
    return name;
}

/* The same tensor under two names of the wrapper is one; merged and not merged
 * are two. */
static void
keep(checkpoint *c, complaint *l, const safetensors_tensor *t, names_found f)
{
    checkpoint_tensor *to = &c->tensor[f.layer * c->names.n + f.entry];
    bool base = f.part == NAMES_LORA_BASE;
    switch (f.part) {
    case NAMES_WHOLE:
    case NAMES_LORA_BASE:
        if (to->whole != NULL && to->base != base)
            note(l, "merged and not merged", short_name(c, t->name));
        to->whole = t;
        to->base = base;
        break;
    case NAMES_LORA_A:
        to->lora_a = t;
        break;
    case NAMES_LORA_B:
        to->lora_b = t;
        break;
    }
}

static status
find_all(checkpoint *c, complaint *l)
{
    status st = ST_OK;
    for (size_t i = 0; i < safetensors_count(c->file); i++) {
        const safetensors_tensor *t = safetensors_at(c->file, i);
        TRY(check_supported(t->name));
        names_found f = names_resolve(&c->names, t->name);
        if (f.entry < c->names.n)
            keep(c, l, t, f);
        else if (names_ignored(&c->names, t->name))
            c->ignored = c->n_ignored++ == 0 ? t->name : c->ignored;
        else
            note(l, "unexpected", short_name(c, t->name));
    }
fail:
    return st;
}

const checkpoint_tensor *
checkpoint_find(const checkpoint *c, size_t entry, uint32_t layer)
{
    const checkpoint_tensor *t = &c->tensor[layer * c->names.n + entry];
    weights_kind kind = c->names.entry[entry].kind;
    if (!c->cfg->tied_head || (kind != WEIGHTS_EMBED && kind != WEIGHTS_HEAD))
        return t;
    /* The table is asked first, for both. */
    for (size_t i = 0; i < c->names.n; i++)
        if (c->names.entry[i].kind == WEIGHTS_EMBED &&
            c->tensor[i].whole != NULL)
            return &c->tensor[i];
    for (size_t i = 0; i < c->names.n; i++)
        if (c->names.entry[i].kind == WEIGHTS_HEAD)
            t = &c->tensor[i];
    return t;
}

/* ---------------------------------------------------------------- types --- */

/* Whether a kind is read by products or as the table alone, which take every
 * type of the file. */
static bool
takes_types(weights_kind kind)
{
    static const bool takes[WEIGHTS_N_KIND] = {
        [WEIGHTS_QKV] = true,     [WEIGHTS_OUT] = true,
        [WEIGHTS_GATE_UP] = true, [WEIGHTS_DOWN] = true,
        [WEIGHTS_MEM_Q] = true,   [WEIGHTS_MEM_K] = true,
        [WEIGHTS_MEM_V] = true,   [WEIGHTS_MEM_B] = true,
        [WEIGHTS_EMBED] = true,   [WEIGHTS_HEAD] = true};
    return takes[kind];
}

/* The one type of all of a kind's tensors; fp32 where there are several, or
 * where LoRA parts are to be added. */
static kernel_type
stored_type(const checkpoint *c, weights_kind kind)
{
    static const kernel_type types[] = {[SAFETENSORS_F32] = KERNEL_F32,
                                        [SAFETENSORS_F16] = KERNEL_F16,
                                        [SAFETENSORS_BF16] = KERNEL_BF16};
    uint32_t n_layer = kind < WEIGHTS_N_LAYER_KIND ? c->cfg->n_layer : 1;
    const safetensors_tensor *first = NULL;
    for (size_t k = 0; k < c->names.n; k++)
        for (uint32_t layer = 0; layer < n_layer; layer++) {
            if (c->names.entry[k].kind != kind)
                continue;
            const checkpoint_tensor *t = checkpoint_find(c, k, layer);
            if (t->whole == NULL)
                continue;
            first = first == NULL ? t->whole : first;
            if (t->lora_a != NULL || t->whole->type != first->type)
                return KERNEL_F32;
        }
    return first != NULL ? types[first->type] : KERNEL_F32;
}

void
checkpoint_types(const checkpoint *c, weights_types *out, kernel_type compute,
                 weights_want want)
{
    weights_types_of_compute(out, compute);
    if (compute != KERNEL_F32)
        return;
    for (weights_kind kind = 0; kind < WEIGHTS_N_KIND; kind++) {
        if (takes_types(kind))
            out->of[kind] = stored_type(c, kind);
    }
    if (want == WEIGHTS_INT8)
        weights_types_int8(out, c->cfg);
}

/* ------------------------------------------------------------ checking --- */

static bool
type_is_float(const safetensors_tensor *t)
{
    return t->type == SAFETENSORS_F32 || t->type == SAFETENSORS_F16 ||
           t->type == SAFETENSORS_BF16;
}

static bool
is_matrix(const safetensors_tensor *t, size_t rows, size_t cols)
{
    return t->n_dim == 2 && t->dim[0] == rows && t->dim[1] == cols;
}

/* A single row may be written as [n], and a vector as [1, n]. */
static bool
shape_is(const safetensors_tensor *t, const names_entry *e, size_t cols)
{
    bool vector = e->layout == NAMES_VECTOR || e->layout == NAMES_VECTOR_HEADS;
    size_t n = vector ? e->n : cols;
    if (t->n_dim == 1)
        return (vector || e->n == 1) && t->dim[0] == n;
    if (vector)
        return is_matrix(t, 1, n);
    return e->layout == NAMES_COLUMNS ? is_matrix(t, cols, e->n)
                                      : is_matrix(t, e->n, cols);
}

/* A [rank, in] and B [out, rank] of one rank. */
static bool
lora_fits(const checkpoint_tensor *t, const names_entry *e, size_t cols)
{
    size_t rank = t->lora_a->n_dim == 2 ? t->lora_a->dim[0] : 0;
    return rank > 0 && is_matrix(t->lora_a, rank, cols) &&
           is_matrix(t->lora_b, e->n, rank) && type_is_float(t->lora_a) &&
           type_is_float(t->lora_b);
}

static void
check_lora(checkpoint *c, complaint *l, const checkpoint_tensor *t, size_t k,
           const char *name)
{
    const names_entry *e = &c->names.entry[k];
    size_t rows = 0, cols = 0;
    if (t->lora_a == NULL && t->lora_b == NULL &&
        (!t->base || e->layout == NAMES_VECTOR ||
         e->layout == NAMES_VECTOR_HEADS))
        return;
    weights_shape(c->cfg, e->kind, &rows, &cols);
    c->n_lora++;
    if (t->lora_a == NULL)
        note(l, "missing lora_A of", name);
    else if (t->lora_b == NULL)
        note(l, "missing lora_B of", name);
    else if (!lora_fits(t, e, cols))
        note(l, "LoRA of another shape beside", name);
}

static void
check_entry(checkpoint *c, complaint *l, size_t k, uint32_t layer)
{
    const names_entry *e = &c->names.entry[k];
    const checkpoint_tensor *t = checkpoint_find(c, k, layer);
    size_t rows = 0, cols = 0;
    char name[NAMES_LABEL];
    weights_shape(c->cfg, e->kind, &rows, &cols);
    names_label(name, &c->names, e, layer);
    if (t->whole == NULL)
        note(l, "missing", name);
    else if (!type_is_float(t->whole))
        note(l, "of another type", name);
    else if (!shape_is(t->whole, e, cols))
        note(l, "of another shape", name);
    else
        check_lora(c, l, t, k, name);
}

static status
check_all(checkpoint *c, complaint *l)
{
    status st = ST_OK;
    for (uint32_t layer = 0; layer < c->cfg->n_layer; layer++)
        for (size_t k = 0; k < c->names.n; k++) {
            const names_entry *e = &c->names.entry[k];
            bool outside = e->place == NAMES_BASE || e->place == NAMES_OWN;
            if (outside ? layer == 0 : names_expected(&c->names, e, layer))
                check_entry(c, l, k, layer);
        }
    TRY(judge(l, c->names.scheme));
    if (c->n_lora > 0 && !(c->cfg->lora_alpha > 0))
        TRY(status_fail(ST_ARG,
                        "%zu tensors have LoRA parts that were not merged, and "
                        "their alpha is not in the file: lora_alpha must be in "
                        "config.json or adapter_config.json",
                        c->n_lora));
fail:
    return st;
}

/* ------------------------------------------------------------- opening --- */

/* No naming scheme can be told: what the file has instead is listed. */
static status
without_memory(const safetensors *file)
{
    complaint l = {.room = ROOM_BESIDE};
    char more[32] = "";
    for (size_t i = 0; i < safetensors_count(file); i++)
        note(&l, "", safetensors_at(file, i)->name);
    if (l.n_bad > l.n_listed)
        (void)snprintf(more, sizeof more, ", and %u more",
                       l.n_bad - l.n_listed);
    return status_fail(ST_ARG,
                       "no memory tokens (memory_cell.memory, "
                       "armt.memory_cell.memory, memory) among %s%s",
                       l.list, more);
}

/* Outer wrappers have memory_cell.memory, the inner-loop one has memory, and a
 * base model alone has neither. */
static status
detect(const safetensors *file, const model_config *cfg, names_scheme *out)
{
    bool outer = safetensors_find(file, "memory_cell.memory") != NULL ||
                 safetensors_find(file, "armt.memory_cell.memory") != NULL;
    bool inner = safetensors_find(file, "memory") != NULL;
    if (cfg->n_mem == 0) {
        if (outer || inner)
            return status_fail(ST_ARG,
                               "the checkpoint has memory tokens, and its "
                               "config is a base model's");
        *out = NAMES_PLAIN;
        return ST_OK;
    }
    if (!outer && !inner)
        return without_memory(file);
    *out = outer ? NAMES_OUTER : NAMES_INNER;
    return ST_OK;
}

/* A directory whose weights are a pickle names the command that helps. */
static status
open_file(safetensors **out, const char *dir)
{
    static const char *const pickles[] = {"pytorch_model.bin",
                                          "pytorch_model.bin.index.json"};
    char *path = NULL;
    status st = safetensors_open(out, dir);
    if (st != ST_NOTFOUND)
        return st;
    for (size_t i = 0; i < 2; i++) {
        if (file_join(&path, dir, pickles[i]) != ST_OK)
            break;
        bool there = file_exists(path);
        mem_free(path);
        if (there)
            return status_fail(
                ST_UNSUPPORTED,
                "%.300s holds %s, which is not read because unpickling runs "
                "code; convert it: python3 model/convert.py --in %.300s --out "
                "DIR",
                dir, pickles[i], dir);
    }
    return st;
}

status
checkpoint_open(checkpoint *c, const model_config *cfg, const char *dir)
{
    complaint l = {.room = ROOM};
    names_scheme scheme = NAMES_PLAIN;
    size_t n = 0;
    status st = ST_OK;

    *c = (checkpoint){.cfg = cfg};
    TRY(open_file(&c->file, dir));
    TRY(detect(c->file, cfg, &scheme));
    names_init(&c->names, cfg, scheme);
    TRY(size_mul(&n, cfg->n_layer, c->names.n));
    TRY(mem_new(&c->tensor, n, sizeof *c->tensor));
    TRY(find_all(c, &l));
    TRY(check_all(c, &l));
    return ST_OK;
fail:
    checkpoint_close(c);
    return st;
}

void
checkpoint_close(checkpoint *c)
{
    mem_free(c->tensor);
    safetensors_close(c->file);
    *c = (checkpoint){0};
}
