/* SPDX-License-Identifier: Apache-2.0 */
/* From a checkpoint's tensors to stacked weights, through one bounded buffer:
 * rows in the order and the direction that products want, LoRA parts added.
 *
 * A tensor is n units, rows of a matrix or numbers of a vector, and is read a
 * run of units at a time.  Tensors are read in the order of their files, so
 * that a disk reads ahead of them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/checkpoint.h"
#include "model/fingerprint.h"

/* Values converted at a time; a row is never longer. */
enum { CHUNK = CONFIG_MAX_WIDTH };

typedef struct reader {
    const checkpoint *c;
    weights *w;
    float *chunk; /* [CHUNK] */
    float *line;  /* [CHUNK] one stored row of a transposed matrix */
    float *row_b; /* [rank] of LoRA */
    float *all_a; /* [rank, in] */
    size_t cap_a, cap_b;
} reader;

/* One tensor on its way: numbers of a unit, and what it is read from. */
typedef struct item {
    const names_entry *e;
    const checkpoint_tensor *t;
    uint32_t layer;
    size_t unit;
} item;

/* ---------------------------------------------------------------- runs --- */

/* The place in the file of unit `i`, and how many follow it there: by head, a
 * head's q, k and v lie together, and the model wants all q, all k, all v. */
static size_t
source_of(const reader *r, const item *it, size_t i, size_t *n_run)
{
    const model_config *cfg = r->c->cfg;
    size_t hd = cfg->d_head, d = (size_t)cfg->n_head * hd;
    size_t part = i / d, head = i % d / hd, within = i % hd;
    if (it->e->layout != NAMES_HEADS && it->e->layout != NAMES_VECTOR_HEADS) {
        *n_run = it->e->n - i;
        return i;
    }
    *n_run = hd - within;
    return (3 * head + part) * hd + within;
}

/* chunk[n, unit] = stored columns first .. of [unit, it->e->n]. */
static status
read_columns(const reader *r, const item *it, size_t first, size_t n)
{
    status st = ST_OK;
    for (size_t k = 0; k < it->unit; k++) {
        TRY(safetensors_read_f32(it->t->whole, r->line, k * it->e->n + first,
                                 n));
        for (size_t i = 0; i < n; i++)
            r->chunk[i * it->unit + k] = r->line[i];
    }
fail:
    return st;
}

/* chunk[n, unit] = the model's units first .. */
static status
read_units(const reader *r, const item *it, size_t first, size_t n)
{
    status st = ST_OK;
    if (it->e->layout == NAMES_COLUMNS)
        return read_columns(r, it, first, n);
    for (size_t i = 0; i < n;) {
        size_t run = 0, from = source_of(r, it, first + i, &run);
        run = run < n - i ? run : n - i;
        TRY(safetensors_read_f32(it->t->whole, r->chunk + i * it->unit,
                                 from * it->unit, run * it->unit));
        i += run;
    }
fail:
    return st;
}

/* ---------------------------------------------------------------- LoRA --- */

static status
read_lora(reader *r, const item *it)
{
    size_t rank = it->t->lora_a->dim[0], n = rank * it->unit;
    status st = ST_OK;
    if (n > r->cap_a) {
        TRY(mem_resize(&r->all_a, n, sizeof *r->all_a));
        r->cap_a = n;
    }
    if (rank > r->cap_b) {
        TRY(mem_resize(&r->row_b, rank, sizeof *r->row_b));
        r->cap_b = rank;
    }
    TRY(safetensors_read_f32(it->t->lora_a, r->all_a, 0, n));
fail:
    return st;
}

/* chunk row i += alpha / rank * B[row] A, summed in float64. */
static status
add_lora(const reader *r, const item *it, size_t first, size_t n)
{
    size_t rank = it->t->lora_a->dim[0], run = 0;
    double scale = r->c->cfg->lora_alpha / (double)rank;
    status st = ST_OK;
    for (size_t i = 0; i < n; i++) {
        float *row = r->chunk + i * it->unit;
        size_t from = source_of(r, it, first + i, &run);
        TRY(safetensors_read_f32(it->t->lora_b, r->row_b, from * rank, rank));
        for (size_t k = 0; k < it->unit; k++) {
            double sum = 0;
            for (size_t j = 0; j < rank; j++)
                sum += (double)r->row_b[j] * (double)r->all_a[j * it->unit + k];
            row[k] = (float)((double)row[k] + scale * sum);
        }
    }
fail:
    return st;
}

/* --------------------------------------------------------------- parts --- */

/* Numbers that lie in the file as they are kept are copied once. */
static bool
is_copy(const reader *r, const item *it)
{
    static const kernel_type types[] = {[SAFETENSORS_F32] = KERNEL_F32,
                                        [SAFETENSORS_F16] = KERNEL_F16,
                                        [SAFETENSORS_BF16] = KERNEL_BF16};
    return it->t->lora_a == NULL &&
           (it->e->layout == NAMES_ROWS || it->e->layout == NAMES_VECTOR) &&
           types[it->t->whole->type] == weights_types_of(r->w)->of[it->e->kind];
}

static status
copy_tensor(const reader *r, const item *it)
{
    const safetensors_tensor *t = it->t->whole;
    size_t n = it->e->n * it->unit, width = t->bytes / n;
    void *host =
        weights_host(r->w, it->e->kind, it->layer, it->e->first * it->unit);
    status st = ST_OK;
    if (host != NULL)
        return safetensors_read_raw(t, host);
    safetensors_expect(t);
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t now = n - i < CHUNK ? n - i : CHUNK;
        TRY(weights_put_raw(r->w, it->e->kind, it->layer,
                            it->e->first * it->unit + i, now,
                            (const char *)t->data + i * width));
        safetensors_forget(t, i, now);
    }
fail:
    return st;
}

static status
read_tensor(reader *r, const item *it)
{
    bool lora = it->t->lora_a != NULL;
    size_t step = CHUNK / it->unit;
    status st = ST_OK;
    if (is_copy(r, it))
        return copy_tensor(r, it);
    safetensors_expect(it->t->whole);
    if (lora)
        TRY(read_lora(r, it));
    for (size_t i = 0; i < it->e->n; i += step) {
        size_t n = it->e->n - i < step ? it->e->n - i : step;
        TRY(read_units(r, it, i, n));
        if (lora)
            TRY(add_lora(r, it, i, n));
        TRY(weights_put(r->w, it->e->kind, it->layer,
                        (it->e->first + i) * it->unit, n * it->unit, r->chunk));
    }
fail:
    return st;
}

static bool
wanted(const weights_part *part, const names_entry *e, uint32_t layer,
       const model_config *cfg)
{
    if (e->kind < WEIGHTS_N_LAYER_KIND)
        return layer >= part->layer_first &&
               layer - part->layer_first < part->n_layer;
    if (layer > 0)
        return false;
    if (e->kind == WEIGHTS_HEAD && cfg->tied_head && part->embed)
        return false; /* the table is its head already */
    return e->kind <= WEIGHTS_SINK ? part->embed : part->head;
}

/* Appends the items of entry `k`, a tensor of each layer that is wanted. */
static void
list_entry(const reader *r, size_t k, item *list, size_t *n)
{
    const names_entry *e = &r->c->names.entry[k];
    const model_config *cfg = r->c->cfg;
    item it = {.e = e, .unit = 1};
    size_t rows = 0;
    if (e->layout != NAMES_VECTOR && e->layout != NAMES_VECTOR_HEADS)
        weights_shape(cfg, e->kind, &rows, &it.unit);
    for (it.layer = 0; it.layer < cfg->n_layer; it.layer++) {
        if (!wanted(weights_part_of(r->w), e, it.layer, cfg) ||
            !names_expected(&r->c->names, e, it.layer))
            continue;
        it.t = checkpoint_find(r->c, k, it.layer);
        list[(*n)++] = it;
    }
}

/* File by file, each from its begin to its end. */
static int
by_place(const void *a, const void *b)
{
    const safetensors_tensor *x = ((const item *)a)->t->whole;
    const safetensors_tensor *y = ((const item *)b)->t->whole;
    if (x->fd != y->fd)
        return x->fd < y->fd ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* The whole part from a checkpoint that is open. */
static status
read_part(const checkpoint *c, weights *w)
{
    reader r = {.c = c, .w = w};
    item *list = NULL;
    size_t n = 0;
    status st = ST_OK;

    TRY(mem_new(&r.chunk, CHUNK, sizeof *r.chunk));
    TRY(mem_new(&r.line, CHUNK, sizeof *r.line));
    TRY(size_mul(&n, c->cfg->n_layer, c->names.n));
    TRY(mem_new(&list, n, sizeof *list));
    n = 0;
    for (size_t k = 0; k < c->names.n; k++)
        list_entry(&r, k, list, &n);
    qsort(list, n, sizeof *list, by_place);
    for (size_t i = 0; i < n; i++)
        TRY(read_tensor(&r, &list[i]));
fail:
    mem_free(list);
    mem_free(r.chunk);
    mem_free(r.line);
    mem_free(r.row_b);
    mem_free(r.all_a);
    return st;
}

status
weights_load(weights *w, const char *dir)
{
    checkpoint c = {0};
    status st = ST_OK;

    TRY(checkpoint_open(&c, weights_config_of(w), dir));
    TRY(read_part(&c, w));
fail:
    checkpoint_close(&c);
    return st;
}

status
weights_types_stored(weights_types *out, const model_config *cfg,
                     const char *dir, kernel_type compute, weights_want want)
{
    checkpoint c = {0};
    status st = ST_OK;

    TRY(checkpoint_open(&c, cfg, dir));
    checkpoint_types(&c, out, compute, want);
fail:
    checkpoint_close(&c);
    return st;
}

status
weights_open(weights **out, kernel_device *dev, const model_config *cfg,
             const weights_part *part, const char *dir, weights_want want)
{
    checkpoint c = {0};
    weights_types types;
    weights *w = NULL;
    kernel_info info;
    status st = ST_OK;

    kernel_info_get(dev, &info);
    if (want == WEIGHTS_INT8 && info.compute != KERNEL_F32)
        TRY(status_fail(ST_UNSUPPORTED, "weights in 8 bits are not supported "
                                        "on this device, on the CPU alone"));
    TRY(checkpoint_open(&c, cfg, dir));
    checkpoint_types(&c, &types, info.compute, want);
    TRY(weights_new_typed(&w, dev, cfg, part, &types));
    TRY(read_part(&c, w));
    *out = w;
    w = NULL;
fail:
    weights_free(w);
    checkpoint_close(&c);
    return st;
}

static fingerprint_variant
variant_of(weights_want want)
{
    return want == WEIGHTS_INT8 ? FINGERPRINT_INT8 : FINGERPRINT_STORED;
}

status
weights_fingerprint(uint8_t out[32], const char *dir, weights_want want,
                    const config_given *given)
{
    return fingerprint_read(out, NULL, dir, variant_of(want), given);
}

status
weights_fingerprint_config(uint8_t out[32], const char *dir, weights_want want,
                           const config_given *given)
{
    return fingerprint_config(out, dir, variant_of(want), given);
}
