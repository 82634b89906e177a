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
    CONFIG_MAX_NARROW_KEY = 1 << 17, /* d_key of a head with A in bf16 */
    CONFIG_MAX_EOS = 16
};

typedef enum config_block {
    CONFIG_BLOCK_LLAMA = 0, /* also Mistral, Qwen2, Qwen3, SmolLM */
    CONFIG_BLOCK_GPT2,
    CONFIG_BLOCK_NEOX
} config_block;

typedef enum config_memory {
    CONFIG_MEMORY_ASSOC = 0, /* ARMT: A and z in every layer */
    CONFIG_MEMORY_TOKENS,    /* RMT: hidden states of memory tokens */
    CONFIG_MEMORY_CACHE      /* none: keys and values of all that was read */
} config_memory;

typedef enum config_dtype {
    CONFIG_F32 = 0,
    CONFIG_BF16,
    CONFIG_F16
} config_dtype;

typedef enum config_act {
    CONFIG_ACT_SILU = 0, /* gated: silu(gate) up */
    CONFIG_ACT_GELU,
    CONFIG_ACT_GELU_TANH
} config_act;

/* Where an input is cut that is no multiple of segment_size. */
typedef enum config_align {
    CONFIG_ALIGN_LEFT = 0, /* the last segment is short */
    CONFIG_ALIGN_RIGHT,    /* the first is */
    CONFIG_ALIGN_CENTER    /* nearly equal ones */
} config_align;

/* How an answer goes on (frozen: the last segment reads the memory and never
 * writes; rollover: full segments are written while the answer grows). */
typedef enum config_generation {
    CONFIG_FROZEN = 0,
    CONFIG_ROLLOVER
} config_generation;

typedef enum config_rope_kind {
    CONFIG_ROPE_PLAIN = 0,
    CONFIG_ROPE_LINEAR, /* frequencies / factor */
    CONFIG_ROPE_LLAMA3,
    CONFIG_ROPE_YARN /* Peng et al. 2023, arXiv:2309.00071 */
} config_rope_kind;

/* Rotary embedding of the first d_rot numbers of each head; 0: there is none.
 * config_rope_fill() makes the frequencies. */
typedef struct config_rope {
    config_rope_kind kind;
    uint32_t d_rot;
    double theta, factor;
    double low_freq_factor, high_freq_factor; /* llama3 */
    double original_max_position;             /* llama3, yarn */
    double beta_fast, beta_slow;              /* yarn */
    double attention_factor;                  /* yarn: of cosines and sines */
    bool truncate;                            /* yarn: whole dimensions */
} config_rope;

typedef struct model_config {
    /* ---- decoder layers and both ends ---- */
    config_block block;
    uint32_t n_layer, d_model, n_head, n_kv_head, d_head, d_ffn, n_vocab;
    uint32_t n_position; /* rows of learned positions; 0: there are none */
    uint32_t span;       /* sliding window of the base model; 0: none */
    float norm_eps;
    config_act act;
    bool tied_head;
    bool qkv_bias, out_bias, mlp_bias;
    bool qk_norm;  /* rmsnorm of every query and key head (Qwen3) */
    bool parallel; /* the MLP stands beside attention (NeoX) */
    config_rope rope;
    /* ---- segments and memory ---- */
    config_memory memory;
    config_align align;
    config_generation generation;
    uint32_t segment_size; /* S, ordinary tokens, without memory tokens */
    uint32_t n_mem;        /* M, memory tokens; 0 with CONFIG_MEMORY_CACHE */
    uint32_t n_sink;       /* K, 0 or 1: a learned row before each segment */
    bool window;           /* keys and values of the segment before are seen */
    bool window_outer;     /* the outer-loop variant: memory tokens see each
                              other, later positions start at S */
    bool wrap_pos;         /* memory tokens have positions of their own behind
                              n_position */
    uint32_t d_mem;        /* width of memory queries before the features */
    uint32_t n_mem_head;   /* H */
    bool correction;
    bool l2_norm; /* key_norm "l2" */
    bool denom;   /* use_denom */
    bool gating;
    config_dtype state_type; /* of A between segments: F32, or BF16 where it was
                                asked for */
    uint64_t bare[CONFIG_MAX_LAYER / 64]; /* bit l: layer l has no memory */
    /* ---- the rest ---- */
    float trained_norm[CONFIG_MAX_LAYER]; /* trained_state_norms: the largest
                                             norm of each layer's state within
                                             the trained length */
    uint32_t n_trained_norm;              /* n_layer, or 0: not said */
    double lora_alpha;  /* of LoRA parts that were not merged; 0: not said */
    config_dtype dtype; /* type named by the file; tensors may differ */
    uint32_t n_eos;
    int32_t eos[CONFIG_MAX_EOS]; /* end-of-text tokens, may be none */
    int32_t bos;                 /* -1: none named */
} model_config;

/* Whether layer `layer` has no memory (wrap_layers). */
bool config_is_bare(const model_config *cfg, uint32_t layer);

/* d_key = 6 d_mem. */
uint32_t config_d_key(const model_config *cfg);

/* A cell, as far as work is concerned. */
typedef struct config_cell {
    uint32_t n_row, n_mem;     /* rows, m of them memory tokens */
    uint32_t n_skip;           /* of the first, only keys and values are made;
                                  not above n_row - n_mem */
    uint64_t n_past, n_window; /* keys before the rows; of the segment before */
    bool fresh, bare;
} config_cell;

/* Useful multiply-add FLOPs of one cell with r rows, m of them memory rows
 * (2 per multiply-add): projections, MLP (3 products with a gate, else 2),
 * attention to the keys that rows see, and an associative memory with h heads
 * and g gates:
 *   r (2 d (nh + 2 nkv) hd + 2 nh hd d + 6 d ff)           block products
 *   + 4 nh hd keys       of the cell alone: r (r + 1) / 2  causal attention
 *   + r (2 d dm + 2 dk d / h + 2 dk)  read, none when fresh
 *   + m (2 d dm + 2 d d + 2 d g + 4 dk d / h + 4 dk)       write
 * less, for each of n_skip rows, 2 nh hd d + 6 d ff and its attention: their
 * queries come with keys and values and count. */
double config_cell_flops(const model_config *cfg, const config_cell *c);

/* Inner consistency and limits; ST_ARG or ST_UNSUPPORTED with the field's
 * name.  Every constructor of a config ends with it. */
status config_check(const model_config *cfg) MUST_USE;

/* The d_rot / 2 rotary frequencies, and what cosines and sines are multiplied
 * by (1 except with YaRN). */
void config_rope_fill(const model_config *cfg, double *freq);
float config_rope_scale(const model_config *cfg);

/* Reads `dir`/config.json and, where they are, generation_config.json and
 * adapter_config.json (at most 1 MiB each).  ST_NOTFOUND: no directory or no
 * config.json.  ST_UNSUPPORTED: a known option that is not built, by name. */
status config_load(model_config *out, const char *dir) MUST_USE;

/* What somebody says beside the files, and which then wins; 0 or NULL: nothing.
 * What config.json must say may be said here. */
typedef struct config_given {
    uint64_t segment_size;
    const char *key_norm; /* "none", "l2": of an associative memory alone */
    double lora_alpha;
    const char *state_type; /* "f32"; "bf16": of an associative memory alone */
} config_given;

/* What a memory keeps A in, by name.  ST_ARG: another name, or BF16 in a model
 * without an associative memory. */
status config_set_state_type(model_config *cfg, const char *name) MUST_USE;

/* config_load() with what is given; NULL: nothing is. */
status config_load_given(model_config *out, const char *dir,
                         const config_given *given) MUST_USE;

/* The fields of config.json that nothing asked for, as many as fit. */
typedef struct config_unread {
    size_t n, n_listed;
    char list[1000]; /* "a, base_model_config.b" */
} config_unread;
/* The same, and what of config.json has no effect; `unread` may be NULL. */
status config_load_unread(model_config *out, config_unread *unread,
                          const char *dir, const config_given *given) MUST_USE;

/* The same from text; `what` names the source in messages. */
status config_parse(model_config *out, const char *text, size_t len,
                    const char *what) MUST_USE;

/* Synthetic presets of longwave-bench: "tiny", "s256", "s512",
 * "armt-llama-160m", "armt-llama-1b", "armt-llama-3b", "armt-llama-8b".
 * segment_size and n_mem are set to 1024 and 128, for the caller to change.
 * ST_NOTFOUND lists the names. */
status config_preset(model_config *out, const char *name) MUST_USE;

#endif
