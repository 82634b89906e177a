/* SPDX-License-Identifier: Apache-2.0 */
/* What a model is, as plain numbers: read from config.json, checked once.
 *
 * A `model_config` is a value: no pointers, copied freely.  Text library
 * (needs base alone); parsing needs JSON and is absent from an engine-only
 * build, the struct is not. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum {
    CONFIG_MAX_LAYER = 1024,
    CONFIG_MAX_WIDTH = 1 << 20, /* d_model, d_ffn, heads x d_head */
    CONFIG_MAX_VOCAB = 1 << 24,
    CONFIG_MAX_SEGMENT = 1 << 20,
    CONFIG_MAX_MEM_TOKENS = 1 << 16,
    CONFIG_MAX_EOS = 16
};

typedef enum config_block { CONFIG_BLOCK_LLAMA = 0 } config_block;
typedef enum config_memory { CONFIG_MEMORY_ASSOC = 0 } config_memory;
typedef enum config_dtype {
    CONFIG_F32 = 0,
    CONFIG_BF16,
    CONFIG_F16
} config_dtype;

/* Rotary embedding; scaling "llama3" or none. */
typedef struct config_rope {
    double theta;
    bool llama3;
    double factor, low_freq_factor, high_freq_factor;
    double original_max_position;
} config_rope;

typedef struct model_config {
    config_block block;
    config_memory memory;
    uint32_t n_layer, d_model, n_head, n_kv_head, d_head, d_ffn, n_vocab;
    float norm_eps;
    bool tied_head;
    config_rope rope;
    uint32_t segment_size; /* S, ordinary tokens, without memory tokens */
    uint32_t n_mem;        /* M, memory tokens */
    uint32_t d_mem;        /* width of memory queries before the features */
    bool correction;
    bool l2_norm;       /* key_norm "l2" */
    config_dtype dtype; /* type named by the file; tensors may differ */
    uint32_t n_eos;
    int32_t eos[CONFIG_MAX_EOS]; /* end-of-text tokens, may be none */
    int32_t bos;                 /* -1: none named */
} model_config;

/* d_key = 6 d_mem. */
uint32_t config_d_key(const model_config *cfg);

/* Numbers in one layer's state: A[d_key, d_model] then z[d_key]. */
size_t config_state_size(const model_config *cfg);

/* Useful multiply-add FLOPs of one cell with r rows, m of them memory rows
 * (2 per multiply-add): projections, MLP, memory, causal half of attention:
 *   r (2 d (nh + 2 nkv) hd + 2 nh hd d + 6 d ff)           block products
 *   + 2 r (r + 1) nh hd                                    causal attention
 *   + r (2 d dm + 2 dk d + 2 dk)   read, none when fresh
 *   + m (2 d dm + 2 d d + 2 d + 4 dk d + 4 dk)             write */
double config_cell_flops(const model_config *cfg, uint32_t n_row,
                         uint32_t n_mem, bool fresh);

/* Inner consistency and limits; ST_ARG or ST_UNSUPPORTED with the field's
 * name.  Every constructor of a config ends with it. */
status config_check(const model_config *cfg) MUST_USE;

/* Reads `dir`/config.json (at most 1 MiB).  ST_NOTFOUND: no directory or no
 * file.  ST_UNSUPPORTED: a known option that is not built, by name. */
status config_load(model_config *out, const char *dir) MUST_USE;

/* The same from text; `what` names the source in messages. */
status config_parse(model_config *out, const char *text, size_t len,
                    const char *what) MUST_USE;

/* Synthetic presets of longwave-bench: "tiny", "s256", "s512",
 * "armt-llama-160m", "armt-llama-1b", "armt-llama-3b", "armt-llama-8b".
 * segment_size and n_mem are set to 1024 and 128, for the caller to change.
 * ST_NOTFOUND lists the names. */
status config_preset(model_config *out, const char *name) MUST_USE;

#endif
