/* SPDX-License-Identifier: Apache-2.0 */
/* Stacked weight buffers: allocation, filling, rotary frequencies, and random
 * values that every rank agrees on. */
#include "model/weights.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* Values converted or made at a time; a row is never longer. */
enum { CHUNK = CONFIG_MAX_WIDTH };

struct weights {
    kernel_device *dev;
    kernel_queue *q;
    model_config cfg;
    weights_part part;
    kernel_type compute;
    kernel_buf *buf[WEIGHTS_N_KIND]; /* NULL: not of this part */
    uint16_t *half; /* CHUNK values on their way to a bf16 device */
};

void
weights_shape(const model_config *cfg, weights_kind kind, size_t *rows,
              size_t *cols)
{
    size_t d = cfg->d_model, d_q = (size_t)cfg->n_head * cfg->d_head;
    size_t d_kv = (size_t)cfg->n_kv_head * cfg->d_head;
    size_t d_up = (cfg->act == CONFIG_ACT_SILU ? 2 : 1) * (size_t)cfg->d_ffn;
    bool centred = cfg->block != CONFIG_BLOCK_LLAMA; /* layernorm */
    bool assoc = cfg->memory == CONFIG_MEMORY_ASSOC;
    size_t n_gate = cfg->gating ? d : cfg->n_mem_head;
    size_t n_position = cfg->n_position + (cfg->wrap_pos ? cfg->n_mem : 0);
    size_t dm = cfg->d_mem;
    const size_t shape[WEIGHTS_N_KIND][2] = {
        [WEIGHTS_NORM1] = {1, d},
        [WEIGHTS_NORM1_BIAS] = {centred, d},
        [WEIGHTS_QKV] = {d_q + 2 * d_kv, d},
        [WEIGHTS_QKV_BIAS] = {cfg->qkv_bias, d_q + 2 * d_kv},
        [WEIGHTS_Q_NORM] = {cfg->qk_norm, cfg->d_head},
        [WEIGHTS_K_NORM] = {cfg->qk_norm, cfg->d_head},
        [WEIGHTS_OUT] = {d, d_q},
        [WEIGHTS_OUT_BIAS] = {cfg->out_bias, d},
        [WEIGHTS_NORM2] = {1, d},
        [WEIGHTS_NORM2_BIAS] = {centred, d},
        [WEIGHTS_GATE_UP] = {d_up, d},
        [WEIGHTS_GATE_UP_BIAS] = {cfg->mlp_bias, d_up},
        [WEIGHTS_DOWN] = {d, cfg->d_ffn},
        [WEIGHTS_DOWN_BIAS] = {cfg->mlp_bias, d},
        [WEIGHTS_MEM_Q] = {assoc ? dm : 0, d},
        [WEIGHTS_MEM_K] = {assoc ? dm : 0, d},
        [WEIGHTS_MEM_V] = {assoc ? d : 0, d},
        [WEIGHTS_MEM_B] = {assoc ? n_gate : 0, d},
        [WEIGHTS_MEM_B_BIAS] = {assoc, n_gate},
        [WEIGHTS_EMBED] = {cfg->n_vocab, d},
        [WEIGHTS_POSITION] = {n_position, d},
        [WEIGHTS_MEMORY] = {cfg->n_mem, d},
        [WEIGHTS_SINK] = {cfg->n_sink, d},
        [WEIGHTS_NORM_F] = {1, d},
        [WEIGHTS_NORM_F_BIAS] = {centred, d},
        [WEIGHTS_HEAD] = {cfg->n_vocab, d},
        [WEIGHTS_ROPE] = {cfg->rope.d_rot > 0, cfg->rope.d_rot / 2},
    };
    *rows = shape[kind][0];
    *cols = shape[kind][1];
}

bool
weights_has(const model_config *cfg, weights_kind kind)
{
    size_t rows = 0, cols = 0;
    weights_shape(cfg, kind, &rows, &cols);
    return rows > 0;
}

/* The kind whose buffer holds `kind`: a tied head is the table where both are
 * here. */
static weights_kind
home_of(const model_config *cfg, const weights_part *part, weights_kind kind)
{
    bool shared = kind == WEIGHTS_HEAD && cfg->tied_head && part->embed;
    return shared ? WEIGHTS_EMBED : kind;
}

/* Items of a kind's own buffer; 0: there is none. */
static size_t
item_count(const model_config *cfg, const weights_part *part, weights_kind kind)
{
    if (home_of(cfg, part, kind) != kind || !weights_has(cfg, kind))
        return 0;
    if (kind < WEIGHTS_N_LAYER_KIND)
        return part->n_layer;
    if (kind >= WEIGHTS_EMBED && kind <= WEIGHTS_SINK)
        return part->embed;
    if (kind >= WEIGHTS_NORM_F && kind <= WEIGHTS_HEAD)
        return part->head;
    return part->n_layer > 0; /* WEIGHTS_ROPE */
}

static kernel_type
type_of(weights_kind kind, kernel_type compute)
{
    return kind == WEIGHTS_ROPE ? KERNEL_F32 : compute;
}

/* Bytes of one item. */
static size_t
item_bytes(const model_config *cfg, weights_kind kind, kernel_type compute)
{
    size_t rows = 0, cols = 0;
    weights_shape(cfg, kind, &rows, &cols);
    return rows * cols * kernel_type_size(type_of(kind, compute));
}

size_t
weights_bytes(const model_config *cfg, const weights_part *part,
              kernel_type compute)
{
    size_t bytes = 0;
    for (weights_kind kind = 0; kind < WEIGHTS_N_KIND; kind++)
        bytes += item_count(cfg, part, kind) * item_bytes(cfg, kind, compute);
    return bytes;
}

static status
fill_rope(weights *w)
{
    size_t n = w->cfg.rope.d_rot / 2;
    double *wide = NULL;
    float *freq = NULL;
    status st = ST_OK;

    TRY(mem_new(&wide, n, sizeof *wide));
    TRY(mem_new(&freq, n, sizeof *freq));
    config_rope_fill(&w->cfg, wide);
    for (size_t i = 0; i < n; i++)
        freq[i] = (float)wide[i];
    TRY(kernel_copy_in(w->q, w->buf[WEIGHTS_ROPE], 0, freq, n * sizeof *freq));
    TRY(kernel_sync(w->q));
fail:
    mem_free(wide);
    mem_free(freq);
    return st;
}

/* The compute types that weights_put() can make. */
static status
check_type(kernel_type compute)
{
    if (compute != KERNEL_F32 && compute != KERNEL_BF16)
        return status_fail(ST_UNSUPPORTED,
                           "the device computes in a type for which weights "
                           "cannot be converted");
    return ST_OK;
}

status
weights_new(weights **out, kernel_device *dev, const model_config *cfg,
            const weights_part *part)
{
    weights *w = NULL;
    kernel_info info;
    status st = ST_OK;

    ASSERT(part->layer_first <= cfg->n_layer &&
           part->n_layer <= cfg->n_layer - part->layer_first);
    kernel_info_get(dev, &info);
    TRY(check_type(info.compute));
    TRY(mem_new(&w, 1, sizeof *w));
    w->dev = dev;
    w->cfg = *cfg;
    w->part = *part;
    w->compute = info.compute;
    TRY(kernel_queue_new(&w->q, dev));
    for (weights_kind kind = 0; kind < WEIGHTS_N_KIND; kind++) {
        size_t n_item = item_count(cfg, part, kind);
        if (n_item > 0)
            TRY(kernel_buf_new(&w->buf[kind], dev, KERNEL_KEEP,
                               item_bytes(cfg, kind, w->compute), n_item));
    }
    if (w->compute == KERNEL_BF16)
        TRY(mem_new(&w->half, CHUNK, sizeof *w->half));
    if (w->buf[WEIGHTS_ROPE] != NULL)
        TRY(fill_rope(w));
    *out = w;
    return ST_OK;
fail:
    weights_free(w);
    return st;
}

void
weights_free(weights *w)
{
    if (w == NULL)
        return;
    kernel_queue_free(w->q);
    mem_free(w->half);
    for (weights_kind kind = 0; kind < WEIGHTS_N_KIND; kind++)
        kernel_buf_free(w->buf[kind]);
    mem_free(w);
}

const model_config *
weights_config_of(const weights *w)
{
    return &w->cfg;
}

const weights_part *
weights_part_of(const weights *w)
{
    return &w->part;
}

/* Round to nearest, ties to even; a NaN stays one. */
static uint16_t
to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* n values to element `first` of a buffer. */
static status
put(weights *w, kernel_buf *buf, size_t first, const float *values, size_t n)
{
    status st = ST_OK;
    if (w->compute == KERNEL_F32) {
        TRY(kernel_copy_in(w->q, buf, first * sizeof *values, values,
                           n * sizeof *values));
        return kernel_sync(w->q);
    }
    for (size_t done = 0; done < n; done += CHUNK) {
        size_t now = n - done < CHUNK ? n - done : CHUNK;
        for (size_t i = 0; i < now; i++)
            w->half[i] = to_bf16(values[done + i]);
        TRY(kernel_copy_in(w->q, buf, (first + done) * sizeof *w->half, w->half,
                           now * sizeof *w->half));
        TRY(kernel_sync(w->q));
    }
fail:
    return st;
}

status
weights_put(weights *w, weights_kind kind, uint32_t layer, size_t first,
            size_t n, const float *values)
{
    size_t rows = 0, cols = 0, item = 0;
    kernel_buf *buf = w->buf[home_of(&w->cfg, &w->part, kind)];
    weights_shape(&w->cfg, kind, &rows, &cols);
    ASSERT(buf != NULL && kind != WEIGHTS_ROPE);
    ASSERT(first <= rows * cols && n <= rows * cols - first);
    if (kind < WEIGHTS_N_LAYER_KIND) {
        ASSERT(layer >= w->part.layer_first &&
               layer - w->part.layer_first < w->part.n_layer);
        item = layer - w->part.layer_first;
    }
    return put(w, buf, item * rows * cols + first, values, n);
}

kernel_view
weights_view(const weights *w, weights_kind kind)
{
    size_t rows = 0, cols = 0;
    weights_shape(&w->cfg, kind, &rows, &cols);
    bool by_layer = kind < WEIGHTS_N_LAYER_KIND;
    return (kernel_view){.buf = w->buf[home_of(&w->cfg, &w->part, kind)],
                         .type = type_of(kind, w->compute),
                         .by = by_layer ? KERNEL_BY_LAYER : KERNEL_BY_CELL,
                         .offset = 0,
                         .stride = by_layer ? rows * cols : 0,
                         .ld = cols};
}

/* The finalizer of SplitMix64 (Steele, Lea and Flood 2014): 64 well-mixed bits
 * of a counter, so that any part of a tensor can be made on its own. */
static uint64_t
mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* Mean 0, variance 1, close to normal: the sum of four uniform numbers of 16
 * bits.  Integer sums, so it is the same number on every machine. */
static float
draw(uint64_t key, uint64_t index)
{
    uint64_t x = mix(key + index);
    int32_t sum = (int32_t)(x & 0xffff) + (int32_t)(x >> 16 & 0xffff) +
                  (int32_t)(x >> 32 & 0xffff) + (int32_t)(x >> 48);
    /* Each has the variance (65536^2 - 1) / 12. */
    return (float)(sum - 2 * 65535) * 2.6428997e-5f;
}

/* What a kind's random values are: mean + spread * draw. */
static void
random_law(const model_config *cfg, weights_kind kind, float *mean,
           float *spread)
{
    size_t rows = 0, fan_in = 0;
    weights_shape(cfg, kind, &rows, &fan_in);
    bool one = kind == WEIGHTS_NORM1 || kind == WEIGHTS_NORM2 ||
               kind == WEIGHTS_NORM_F || kind == WEIGHTS_Q_NORM ||
               kind == WEIGHTS_K_NORM;
    bool gate = kind == WEIGHTS_MEM_B_BIAS;
    *mean = one ? 1.0f : gate ? -4.0f : 0.0f;
    *spread = one || gate ? 0.0f : 1.0f / sqrtf((float)fan_in);
    if (kind == WEIGHTS_MEM_V)
        *spread *= 0.1f;
}

static status
randomize_item(weights *w, float *chunk, weights_kind kind, uint32_t layer,
               uint64_t seed)
{
    size_t rows = 0, cols = 0;
    float mean = 0, spread = 0;
    status st = ST_OK;
    weights_shape(&w->cfg, kind, &rows, &cols);
    random_law(&w->cfg, kind, &mean, &spread);
    /* A tied head has the table's values, also on a rank without it. */
    bool as_table = kind == WEIGHTS_HEAD && w->cfg.tied_head;
    uint64_t law = (uint64_t)(as_table ? WEIGHTS_EMBED : kind);
    uint64_t key = mix(mix(seed) ^ mix(law << 32 | layer));
    size_t step = CHUNK / cols;
    for (size_t row = 0; row < rows; row += step) {
        size_t n_row = rows - row < step ? rows - row : step;
        for (size_t i = 0; i < n_row * cols; i++)
            chunk[i] = mean + spread * draw(key, row * cols + i);
        TRY(weights_put(w, kind, layer, row * cols, n_row * cols, chunk));
    }
fail:
    return st;
}

status
weights_randomize(weights *w, uint64_t seed)
{
    float *chunk = NULL;
    status st = ST_OK;

    TRY(mem_new(&chunk, CHUNK, sizeof *chunk));
    for (weights_kind kind = 0; kind < WEIGHTS_ROPE; kind++) {
        size_t n_item = item_count(&w->cfg, &w->part, kind);
        bool by_layer = kind < WEIGHTS_N_LAYER_KIND;
        for (uint32_t i = 0; i < n_item; i++)
            TRY(randomize_item(w, chunk, kind,
                               by_layer ? w->part.layer_first + i : 0, seed));
    }
fail:
    mem_free(chunk);
    return st;
}
