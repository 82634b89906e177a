/* SPDX-License-Identifier: Apache-2.0 */
/* What the tensors of a checkpoint are called: one table from names to places
 * in the stacked weights, under every naming scheme (docs/models.md).
 *
 * A value; entries point to literals.  Pure: no file is touched. */
#ifndef MODEL_NAMES_H
#define MODEL_NAMES_H

#include "model/weights.h"

enum { NAMES_MAX = 32, NAMES_LABEL = 96 };

typedef enum names_scheme {
    NAMES_OUTER = 0, /* [armt.]memory_cell. ... */
    NAMES_INNER,     /* memory, model. ... */
    NAMES_PLAIN      /* a base model alone */
} names_scheme;

typedef enum names_place {
    NAMES_LAYER = 0, /* a layer's plain tensors */
    NAMES_WRAPPER,   /* a layer's memory */
    NAMES_BASE,      /* the base model's outside layers */
    NAMES_OWN        /* memory tokens and sink */
} names_place;

/* How a tensor lies in the file. */
typedef enum names_layout {
    NAMES_ROWS = 0, /* [out, in] */
    NAMES_COLUMNS,  /* [in, out] */
    NAMES_HEADS,    /* rows by head: its q, its k, its v */
    NAMES_VECTOR,   /* [n] */
    NAMES_VECTOR_HEADS
} names_layout;

/* Units first .. first + n - 1 of a kind's item: rows, or the numbers of a
 * vector. */
typedef struct names_entry {
    const char *name; /* without prefixes; of a layer: behind its number */
    weights_kind kind;
    names_place place;
    names_layout layout;
    size_t first, n;
} names_entry;

/* A tensor whole, or one of the parts that LoRA left beside it. */
typedef enum names_part {
    NAMES_WHOLE = 0,
    NAMES_LORA_BASE, /* what the other two are added to */
    NAMES_LORA_A,    /* [rank, in] */
    NAMES_LORA_B     /* [out, rank] */
} names_part;

typedef struct names_table {
    const model_config *cfg; /* borrowed */
    names_scheme scheme;
    size_t n;
    names_entry entry[NAMES_MAX];
} names_table;

typedef struct names_found {
    size_t entry; /* table->n: none */
    uint32_t layer;
    names_part part;
} names_found;

void names_init(names_table *table, const model_config *cfg,
                names_scheme scheme);
/* What a name of the file is. */
names_found names_resolve(const names_table *table, const char *name);
/* Whether a name is a buffer that is computed here, and not read. */
bool names_ignored(const names_table *table, const char *name);
/* What messages call an entry's tensor: its name in the base model, from the
 * layer list on. */
void names_label(char out[NAMES_LABEL], const names_table *table,
                 const names_entry *e, uint32_t layer);
/* The scheme in words, of messages: "memory_cell.model.B". */
const char *names_scheme_text(names_scheme scheme);
/* Whether a layer's tensors of this entry are in the file. */
bool names_expected(const names_table *table, const names_entry *e,
                    uint32_t layer);

#endif
