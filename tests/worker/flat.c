/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a golden case line by line. */
#include "tests/worker/flat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { LINE = 256, N_FIELD = 6, MAX_DATA = 1 << 26 };

typedef enum field_kind {
    FIELD_U32 = 0,
    FIELD_BOOL,
    FIELD_FLOAT,
    FIELD_DOUBLE,
    FIELD_WORD
} field_kind;

typedef struct field {
    const char *key;
    field_kind kind;
    size_t at;
    const char *word; /* FIELD_WORD: this one means `value` */
    uint32_t value;
} field;

_Static_assert(sizeof(config_block) == sizeof(uint32_t), "an enum is 32 bits");

#define U32(name)                                                              \
    {                                                                          \
#name, FIELD_U32, offsetof(model_config, name), NULL, 0                \
    }
#define BOOL(name)                                                             \
    {                                                                          \
#name, FIELD_BOOL, offsetof(model_config, name), NULL, 0               \
    }
#define ROPE(name)                                                             \
    {                                                                          \
        "rope_" #name, FIELD_DOUBLE, offsetof(model_config, rope.name), NULL,  \
            0                                                                  \
    }
#define WORD(name, text, number)                                               \
    {                                                                          \
#name, FIELD_WORD, offsetof(model_config, name), text, number          \
    }

static const field fields[] = {
    U32(n_layer),
    U32(d_model),
    U32(n_head),
    U32(n_kv_head),
    U32(d_head),
    U32(d_ffn),
    U32(n_vocab),
    U32(n_position),
    U32(segment_size),
    U32(n_mem),
    U32(n_sink),
    U32(d_mem),
    U32(n_mem_head),
    {"rope_d_rot", FIELD_U32, offsetof(model_config, rope.d_rot), NULL, 0},
    BOOL(tied_head),
    BOOL(qkv_bias),
    BOOL(out_bias),
    BOOL(mlp_bias),
    BOOL(window),
    BOOL(window_outer),
    BOOL(wrap_pos),
    BOOL(correction),
    BOOL(l2_norm),
    BOOL(denom),
    BOOL(gating),
    {"norm_eps", FIELD_FLOAT, offsetof(model_config, norm_eps), NULL, 0},
    ROPE(theta),
    ROPE(factor),
    ROPE(low_freq_factor),
    ROPE(high_freq_factor),
    ROPE(original_max_position),
    {"rope_kind", FIELD_WORD, offsetof(model_config, rope.kind), "llama3",
     CONFIG_ROPE_LLAMA3},
    WORD(block, "llama", CONFIG_BLOCK_LLAMA),
    WORD(block, "gpt2", CONFIG_BLOCK_GPT2),
    WORD(act, "silu", CONFIG_ACT_SILU),
    WORD(act, "gelu_tanh", CONFIG_ACT_GELU_TANH),
    WORD(memory, "assoc", CONFIG_MEMORY_ASSOC),
    WORD(memory, "tokens", CONFIG_MEMORY_TOKENS),
    WORD(generation, "frozen", CONFIG_FROZEN),
    WORD(generation, "rollover", CONFIG_ROLLOVER),
};

static const char *const kinds[WEIGHTS_N_KIND] = {
    [WEIGHTS_NORM1] = "norm1",
    [WEIGHTS_NORM1_BIAS] = "norm1_bias",
    [WEIGHTS_QKV] = "qkv",
    [WEIGHTS_QKV_BIAS] = "qkv_bias",
    [WEIGHTS_OUT] = "out",
    [WEIGHTS_OUT_BIAS] = "out_bias",
    [WEIGHTS_NORM2] = "norm2",
    [WEIGHTS_NORM2_BIAS] = "norm2_bias",
    [WEIGHTS_GATE_UP] = "gate_up",
    [WEIGHTS_GATE_UP_BIAS] = "gate_up_bias",
    [WEIGHTS_DOWN] = "down",
    [WEIGHTS_DOWN_BIAS] = "down_bias",
    [WEIGHTS_MEM_Q] = "mem_q",
    [WEIGHTS_MEM_K] = "mem_k",
    [WEIGHTS_MEM_V] = "mem_v",
    [WEIGHTS_MEM_B] = "mem_b",
    [WEIGHTS_MEM_B_BIAS] = "mem_b_bias",
    [WEIGHTS_EMBED] = "embed",
    [WEIGHTS_POSITION] = "position",
    [WEIGHTS_MEMORY] = "memory",
    [WEIGHTS_SINK] = "sink",
    [WEIGHTS_NORM_F] = "norm_f",
    [WEIGHTS_NORM_F_BIAS] = "norm_f_bias",
    [WEIGHTS_HEAD] = "head",
};

/* --------------------------------------------------------------- lines --- */

static void
set(model_config *cfg, const field *f, const char *text)
{
    char *to = (char *)cfg + f->at;
    double number = strtod(text, NULL);

    switch (f->kind) {
    case FIELD_U32:
        memcpy(to, &(uint32_t){(uint32_t)number}, sizeof(uint32_t));
        break;
    case FIELD_BOOL:
        memcpy(to, &(bool){number != 0}, sizeof(bool));
        break;
    case FIELD_FLOAT:
        memcpy(to, &(float){(float)number}, sizeof(float));
        break;
    case FIELD_DOUBLE:
        memcpy(to, &number, sizeof number);
        break;
    case FIELD_WORD:
        memcpy(to, &f->value, sizeof f->value);
        break;
    }
}

static bool
add_config(flat *f, char *const *word)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (strcmp(fields[i].key, word[1]) == 0 &&
            (fields[i].word == NULL || strcmp(fields[i].word, word[2]) == 0)) {
            set(&f->g.cfg, &fields[i], word[2]);
            return true;
        }
    }
    return false;
}

/* Whether numbers at .. at + n - 1 are there. */
static bool
range(const flat *f, const char *at_text, const char *n_text, size_t *at,
      size_t *n)
{
    *at = (size_t)strtoull(at_text, NULL, 10);
    *n = (size_t)strtoull(n_text, NULL, 10);
    return *at <= f->n_data && *n > 0 && *n <= f->n_data - *at;
}

static bool
add_weight(flat *f, char *const *word)
{
    flat_weight *w = &f->weight[f->n_weight];

    for (int kind = 0; kind < WEIGHTS_N_KIND; kind++) {
        if (kinds[kind] == NULL || strcmp(kinds[kind], word[1]) != 0)
            continue;
        w->kind = (weights_kind)kind;
        w->layer = (uint32_t)strtoul(word[2], NULL, 10);
        f->n_weight++;
        return range(f, word[3], word[4], &w->at, &w->n);
    }
    return false;
}

static bool
add_tensor(flat *f, char *const *word)
{
    golden_tensor *t = &f->tensor[f->g.n_tensor++];
    bool is_id = strcmp(word[2], "i32") == 0;
    size_t at = 0;

    (void)snprintf(t->name, sizeof t->name, "%s", word[1]);
    t->n_row = (size_t)strtoull(word[4], NULL, 10);
    if (!range(f, word[3], word[5], &at, &t->n))
        return false;
    t->f32 = is_id ? NULL : f->data + at;
    t->i32 = is_id ? (const int32_t *)(const void *)(f->data + at) : NULL;
    return is_id || strcmp(word[2], "f32") == 0;
}

static bool
add_line(flat *f, char *line)
{
    char *word[N_FIELD] = {0}, *rest = NULL;
    size_t n = 0;

    for (char *w = strtok_r(line, " \n", &rest); w != NULL;
         w = strtok_r(NULL, " \n", &rest)) {
        if (n == N_FIELD)
            return false;
        word[n++] = w;
    }
    if (n == 3 && strcmp(word[0], "config") == 0)
        return add_config(f, word);
    if (n == 5 && strcmp(word[0], "weight") == 0)
        return f->n_weight < FLAT_MAX_WEIGHT && add_weight(f, word);
    return n == 6 && strcmp(word[0], "tensor") == 0 &&
           f->g.n_tensor < FLAT_MAX_TENSOR && add_tensor(f, word);
}

/* --------------------------------------------------------------- files --- */

static status
open_part(FILE **out, const char *dir, const char *name, const char *ending)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/%s.%s", dir, name, ending);
    *out = fopen(path, "rb");
    return *out != NULL ? ST_OK : status_fail(ST_NOTFOUND, "no %s", path);
}

static status
read_data(flat *f, const char *dir)
{
    FILE *file = NULL;
    long bytes = 0;
    status st = ST_OK;

    TRY(open_part(&file, dir, f->name, "data"));
    if (fseek(file, 0, SEEK_END) != 0 || (bytes = ftell(file)) <= 0 ||
        bytes > MAX_DATA || fseek(file, 0, SEEK_SET) != 0)
        TRY(status_fail(ST_IO, "%s.data: no size", f->name));
    f->n_data = (size_t)bytes / sizeof *f->data;
    TRY(mem_new(&f->data, f->n_data, sizeof *f->data));
    if (fread(f->data, sizeof *f->data, f->n_data, file) != f->n_data)
        TRY(status_fail(ST_IO, "%s.data: cut short", f->name));
fail:
    if (file != NULL)
        (void)fclose(file);
    return st;
}

static status
read_manifest(flat *f, const char *dir)
{
    char line[LINE];
    FILE *file = NULL;
    unsigned number = 0;
    status st = ST_OK;

    TRY(open_part(&file, dir, f->name, "manifest"));
    while (fgets(line, sizeof line, file) != NULL) {
        number++;
        if (!add_line(f, line))
            TRY(status_fail(ST_ARG, "%s.manifest: line %u is none", f->name,
                            number));
    }
    TRY(config_check(&f->g.cfg));
fail:
    if (file != NULL)
        (void)fclose(file);
    return st;
}

/* Every kind that the model has, each number of it. */
static status
fill(weights *w, const void *ctx)
{
    const flat *f = ctx;
    size_t n_put = 0, n_want = 0;
    status st = ST_OK;

    for (size_t i = 0; i < f->n_weight; i++) {
        const flat_weight *from = &f->weight[i];
        size_t rows = 0, cols = 0;

        weights_shape(&f->g.cfg, from->kind, &rows, &cols);
        if (from->n != rows * cols || from->layer >= f->g.cfg.n_layer)
            TRY(status_fail(ST_ARG, "%s: %s has %zu numbers, not %zu", f->name,
                            kinds[from->kind], from->n, rows * cols));
        TRY(weights_put(w, from->kind, from->layer, 0, from->n,
                        f->data + from->at));
        n_put++;
    }
    for (weights_kind kind = 0; kind < WEIGHTS_ROPE; kind++) {
        bool tied = kind == WEIGHTS_HEAD && f->g.cfg.tied_head;
        if (weights_has(&f->g.cfg, kind) && !tied)
            n_want += kind < WEIGHTS_N_LAYER_KIND ? f->g.cfg.n_layer : 1;
    }
    if (n_put != n_want)
        TRY(status_fail(ST_ARG, "%s: %zu weights, not %zu", f->name, n_put,
                        n_want));
fail:
    return st;
}

status
flat_open(flat *out, const char *dir, const char *name)
{
    status st = ST_OK;

    *out = (flat){.g = {.name = out->name,
                        .cfg = {.bos = -1},
                        .fill = fill,
                        .fill_ctx = out,
                        .tensor = out->tensor}};
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    TRY(read_data(out, dir));
    TRY(read_manifest(out, dir));
    return ST_OK;
fail:
    flat_close(out);
    return st;
}

void
flat_close(flat *f)
{
    mem_free(f->data);
    f->data = NULL;
}
