/* SPDX-License-Identifier: Apache-2.0 */
/* A model's weights on a device, stacked over the layers of one rank.
 *
 * Each kind of weight is one buffer [n_layer, out, in] in the device's compute
 * type; projections that share an input are one kind (q, k and v; gate and
 * up).  Items are this rank's layers in order, so a group over neighbouring
 * layers is a strided batch. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "kernels/kernel.h"
#include "model/config.h"

typedef enum weights_kind {
    /* one item a layer; ff rows of GATE_UP without a gate */
    WEIGHTS_NORM1 = 0,    /* [d] before attention */
    WEIGHTS_NORM1_BIAS,   /* [d] */
    WEIGHTS_QKV,          /* [(nh + 2 nkv) hd, d] rows: q, k, v */
    WEIGHTS_QKV_BIAS,     /* [(nh + 2 nkv) hd] */
    WEIGHTS_Q_NORM,       /* [hd] */
    WEIGHTS_K_NORM,       /* [hd] */
    WEIGHTS_OUT,          /* [d, nh hd] */
    WEIGHTS_OUT_BIAS,     /* [d] */
    WEIGHTS_NORM2,        /* [d] before the MLP */
    WEIGHTS_NORM2_BIAS,   /* [d] */
    WEIGHTS_GATE_UP,      /* [2 ff, d] rows: gate, up */
    WEIGHTS_GATE_UP_BIAS, /* [2 ff] */
    WEIGHTS_DOWN,         /* [d, ff] */
    WEIGHTS_DOWN_BIAS,    /* [d] */
    WEIGHTS_MEM_Q,        /* [dm, d] */
    WEIGHTS_MEM_K,        /* [dm, d] */
    WEIGHTS_MEM_V,        /* [d, d] */
    WEIGHTS_MEM_B,        /* [H, d]; with gating [d, d] */
    WEIGHTS_MEM_B_BIAS,   /* [H]; with gating [d] */
    /* one item in all */
    WEIGHTS_EMBED,       /* [n_vocab, d] */
    WEIGHTS_POSITION,    /* [n_position (+ M with wrap_pos), d] */
    WEIGHTS_MEMORY,      /* [M, d] */
    WEIGHTS_SINK,        /* [K, d] */
    WEIGHTS_NORM_F,      /* [d] */
    WEIGHTS_NORM_F_BIAS, /* [d] */
    WEIGHTS_HEAD,        /* [n_vocab, d]; tied: the same buffer as EMBED */
    WEIGHTS_ROPE,        /* F32 [d_rot / 2] frequencies */
    WEIGHTS_N_KIND,
    WEIGHTS_N_LAYER_KIND = WEIGHTS_EMBED
} weights_kind;

/* Which part of a model a rank holds. */
typedef struct weights_part {
    uint32_t layer_first, n_layer;
    bool embed; /* token table and memory tokens */
    bool head;  /* final norm and head */
} weights_part;

/* The type that each kind is kept in.  On a device that computes in fp32,
 * products and the token table may also be BF16 or F16, and products I8 with a
 * scale for every row. */
typedef struct weights_types {
    kernel_type of[WEIGHTS_N_KIND];
} weights_types;

/* What a checkpoint's matrices become. */
typedef enum weights_want {
    WEIGHTS_STORED = 0, /* as they are, where the device computes with it */
    WEIGHTS_INT8        /* the blocks' products in 8 bits, and an untied head */
} weights_want;

typedef struct weights weights;

/* Rows and columns of a kind; rows 0: the model has none of it. */
void weights_shape(const model_config *cfg, weights_kind kind, size_t *rows,
                   size_t *cols);
/* Bytes on the device that weights_new() will take, and those of types. */
size_t weights_bytes(const model_config *cfg, const weights_part *part,
                     kernel_type compute);
size_t weights_bytes_typed(const model_config *cfg, const weights_part *part,
                           const weights_types *types);

/* All kinds in one type. */
void weights_types_of_compute(weights_types *out, kernel_type compute);
/* Changes what WEIGHTS_INT8 changes. */
void weights_types_int8(weights_types *types, const model_config *cfg);
/* "stored" or "int8"; ST_ARG for another name. */
status weights_want_parse(weights_want *out, const char *name) MUST_USE;

/* Whether a part fits in so many free bytes; ST_NOMEM says what it needs, what
 * there is, and how many of its layers would fit. */
status weights_fit(const model_config *cfg, const weights_part *part,
                   const weights_types *types, uint64_t n_free) MUST_USE;

/* Allocates all buffers of the part (zeroed; WEIGHTS_ROPE filled), in the
 * device's compute type or in those given.  ST_NOMEM as weights_fit(), on a
 * GPU before anything is allocated. */
status weights_new(weights **out, kernel_device *dev, const model_config *cfg,
                   const weights_part *part) MUST_USE;
status weights_new_typed(weights **out, kernel_device *dev,
                         const model_config *cfg, const weights_part *part,
                         const weights_types *types) MUST_USE;
void weights_free(weights *w);

const model_config *weights_config_of(const weights *w);
const weights_part *weights_part_of(const weights *w);
const weights_types *weights_types_of(const weights *w);

/* Numbers first .. first + n - 1 of a kind's item [rows, cols], from fp32 host
 * values that are rounded to the kind's type; item = layer index in the model
 * (ignored for the kinds that have one item).  With I8 whole rows:
 * scale = max |row| / 127, each number the nearest multiple of it.  Blocks
 * until copied. */
status weights_put(weights *w, weights_kind kind, uint32_t layer, size_t first,
                   size_t n, const float *values) MUST_USE;
/* The same from numbers that are of the kind's type already, not I8; they need
 * no alignment. */
status weights_put_raw(weights *w, weights_kind kind, uint32_t layer,
                       size_t first, size_t n, const void *values) MUST_USE;
/* Where the numbers from `first` on of an item are, for those that know its
 * type and write what weights_put_raw() would; NULL where the device does not
 * let the host write there. */
void *weights_host(const weights *w, weights_kind kind, uint32_t layer,
                   size_t first);

/* Every kind from a seeded generator: close to normal / sqrt(fan in), the token
 * table normal, norms 1; value and gate projection x 0.1, gate bias -4, so that
 * states stay bounded.  A value depends on (seed, kind, layer, index) alone, so
 * every part of a model agrees. */
status weights_randomize(weights *w, uint64_t seed) MUST_USE;

/* Whether the model has weights of this kind. */
bool weights_has(const model_config *cfg, weights_kind kind);

/* The view of a kind (buf NULL where the model has none): by layer, or item 0
 * for the single ones (by cell with stride 0). */
kernel_view weights_view(const weights *w, weights_kind kind);
/* The scales of a kind's rows, for kernel_linear(); buf NULL unless I8. */
kernel_view weights_scale(const weights *w, weights_kind kind);

/* Reads the part from a checkpoint directory under every naming scheme
 * (docs/models.md), LoRA parts merged.  Only this part's tensors are touched;
 * the map is gone on return.  Fails as checkpoint_open() does. */
status weights_load(weights *w, const char *dir) MUST_USE;

/* The types that weights_open() will keep a checkpoint's weights in; fails as
 * checkpoint_open() does. */
status weights_types_stored(weights_types *out, const model_config *cfg,
                            const char *dir, kernel_type compute,
                            weights_want want) MUST_USE;

/* weights_new_typed() and weights_load() in one, in the types that the file
 * and `want` ask for.  ST_UNSUPPORTED: WEIGHTS_INT8 on a device that does not
 * compute in fp32. */
status weights_open(weights **out, kernel_device *dev, const model_config *cfg,
                    const weights_part *part, const char *dir,
                    weights_want want) MUST_USE;

/* fingerprint_read() of the model as it runs; 32 bytes. */
status weights_fingerprint(uint8_t out[32], const char *dir, weights_want want,
                           const config_given *given) MUST_USE;
/* fingerprint_config(), likewise. */
status weights_fingerprint_config(uint8_t out[32], const char *dir,
                                  weights_want want,
                                  const config_given *given) MUST_USE;

#endif
