/* SPDX-License-Identifier: Apache-2.0 */
/* Stacked weight buffers: shapes, types, allocation, rotary frequencies. */
#include "model/weights.h"

#include <string.h>

#include "base/mem.h"
#include "model/weights_impl.h"

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
weights_kind
weights_home(const model_config *cfg, const weights_part *part,
             weights_kind kind)
{
    bool shared = kind == WEIGHTS_HEAD && cfg->tied_head && part->embed;
    return shared ? WEIGHTS_EMBED : kind;
}

/* Items of a kind's own buffer; 0: there is none. */
size_t
weights_item_count(const model_config *cfg, const weights_part *part,
                   weights_kind kind)
{
    if (weights_home(cfg, part, kind) != kind || !weights_has(cfg, kind))
        return 0;
    if (kind < WEIGHTS_N_LAYER_KIND)
        return part->n_layer;
    if (kind >= WEIGHTS_EMBED && kind <= WEIGHTS_SINK)
        return part->embed;
    if (kind >= WEIGHTS_NORM_F && kind <= WEIGHTS_HEAD)
        return part->head;
    return part->n_layer > 0; /* WEIGHTS_ROPE */
}

void
weights_types_of_compute(weights_types *out, kernel_type compute)
{
    for (weights_kind kind = 0; kind < WEIGHTS_N_KIND; kind++)
        out->of[kind] = kind == WEIGHTS_ROPE ? KERNEL_F32 : compute;
}

/* The memory's own small products stay as they are: what they lose is kept
 * for the rest of a document.  A tied head is the token table, which is read
 * by rows. */
void
weights_types_int8(weights_types *types, const model_config *cfg)
{
    static const weights_kind kinds[] = {WEIGHTS_QKV, WEIGHTS_OUT,
                                         WEIGHTS_GATE_UP, WEIGHTS_DOWN};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        types->of[kinds[i]] = KERNEL_I8;
    if (!cfg->tied_head)
        types->of[WEIGHTS_HEAD] = KERNEL_I8;
}

/* Bytes of one item, without its scales. */
static size_t
item_bytes(const model_config *cfg, weights_kind kind, kernel_type type)
{
    size_t rows = 0, cols = 0;
    weights_shape(cfg, kind, &rows, &cols);
    return rows * cols * kernel_type_size(type);
}

static size_t
scale_bytes(const model_config *cfg, weights_kind kind, kernel_type type)
{
    size_t rows = 0, cols = 0;
    weights_shape(cfg, kind, &rows, &cols);
    return type == KERNEL_I8 ? rows * sizeof(float) : 0;
}

size_t
weights_bytes_typed(const model_config *cfg, const weights_part *part,
                    const weights_types *types)
{
    size_t bytes = 0;
    for (weights_kind kind = 0; kind < WEIGHTS_N_KIND; kind++)
        bytes += weights_item_count(cfg, part, kind) *
                 (item_bytes(cfg, kind, types->of[kind]) +
                  scale_bytes(cfg, kind, types->of[kind]));
    return bytes;
}

size_t
weights_bytes(const model_config *cfg, const weights_part *part,
              kernel_type compute)
{
    weights_types types;
    weights_types_of_compute(&types, compute);
    return weights_bytes_typed(cfg, part, &types);
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

static status
new_kind(weights *w, weights_kind kind)
{
    size_t n_item = weights_item_count(&w->cfg, &w->part, kind);
    kernel_type type = w->types.of[kind];
    size_t scales = scale_bytes(&w->cfg, kind, type);
    status st = ST_OK;

    if (n_item == 0)
        return ST_OK;
    TRY(kernel_buf_new(&w->buf[kind], w->dev, KERNEL_KEEP,
                       item_bytes(&w->cfg, kind, type), n_item));
    if (scales > 0)
        TRY(kernel_buf_new(&w->scale[kind], w->dev, KERNEL_KEEP, scales,
                           n_item));
fail:
    return st;
}

status
weights_fit(const model_config *cfg, const weights_part *part,
            const weights_types *types, uint64_t n_free)
{
    enum { MIB = 1 << 20 };
    uint64_t need = weights_bytes_typed(cfg, part, types);
    weights_part some = *part;

    if (need <= n_free)
        return ST_OK;
    while (some.n_layer > 0 && weights_bytes_typed(cfg, &some, types) > n_free)
        some.n_layer--;
    return status_fail(ST_NOMEM,
                       "weights of %u layers need %llu MiB of the device, %llu "
                       "are free: %u layers would fit; more ranks, each with "
                       "its own device, hold fewer each",
                       part->n_layer, (unsigned long long)(need / MIB),
                       (unsigned long long)(n_free / MIB), some.n_layer);
}

status
weights_new_typed(weights **out, kernel_device *dev, const model_config *cfg,
                  const weights_part *part, const weights_types *types)
{
    weights *w = NULL;
    kernel_info info;
    status st = ST_OK;

    ASSERT(part->layer_first <= cfg->n_layer &&
           part->n_layer <= cfg->n_layer - part->layer_first);
    kernel_info_get(dev, &info);
    TRY(check_type(info.compute));
    if (info.n_thread == 0) /* a GPU: what is free is all that there will be */
        TRY(weights_fit(cfg, part, types, info.memory_free));
    TRY(mem_new(&w, 1, sizeof *w));
    w->dev = dev;
    w->cfg = *cfg;
    w->part = *part;
    w->types = *types;
    TRY(kernel_queue_new(&w->q, dev));
    TRY(mem_new(&w->narrow, WEIGHTS_CHUNK, sizeof *w->narrow));
    for (weights_kind kind = 0; kind < WEIGHTS_N_KIND; kind++)
        TRY(new_kind(w, kind));
    if (w->buf[WEIGHTS_ROPE] != NULL)
        TRY(fill_rope(w));
    *out = w;
    return ST_OK;
fail:
    weights_free(w);
    return st;
}

status
weights_new(weights **out, kernel_device *dev, const model_config *cfg,
            const weights_part *part)
{
    weights_types types;
    kernel_info info;
    kernel_info_get(dev, &info);
    weights_types_of_compute(&types, info.compute);
    return weights_new_typed(out, dev, cfg, part, &types);
}

void
weights_free(weights *w)
{
    if (w == NULL)
        return;
    kernel_queue_free(w->q);
    mem_free(w->narrow);
    for (weights_kind kind = 0; kind < WEIGHTS_N_KIND; kind++) {
        kernel_buf_free(w->buf[kind]);
        kernel_buf_free(w->scale[kind]);
    }
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

kernel_view
weights_view(const weights *w, weights_kind kind)
{
    size_t rows = 0, cols = 0;
    weights_shape(&w->cfg, kind, &rows, &cols);
    bool by_layer = kind < WEIGHTS_N_LAYER_KIND;
    return (kernel_view){.buf = w->buf[weights_home(&w->cfg, &w->part, kind)],
                         .type = w->types.of[kind],
                         .by = by_layer ? KERNEL_BY_LAYER : KERNEL_BY_CELL,
                         .offset = 0,
                         .stride = by_layer ? rows * cols : 0,
                         .ld = cols};
}

kernel_view
weights_scale(const weights *w, weights_kind kind)
{
    size_t rows = 0, cols = 0;
    weights_shape(&w->cfg, kind, &rows, &cols);
    bool by_layer = kind < WEIGHTS_N_LAYER_KIND;
    return (kernel_view){.buf = w->scale[weights_home(&w->cfg, &w->part, kind)],
                         .type = KERNEL_F32,
                         .by = by_layer ? KERNEL_BY_LAYER : KERNEL_BY_CELL,
                         .stride = by_layer ? rows : 0,
                         .ld = rows};
}

const weights_types *
weights_types_of(const weights *w)
{
    return &w->types;
}

status
weights_want_parse(weights_want *out, const char *name)
{
    if (strcmp(name, "stored") == 0)
        *out = WEIGHTS_STORED;
    else if (strcmp(name, "int8") == 0)
        *out = WEIGHTS_INT8;
    else
        return status_fail(ST_ARG, "weights \"%s\" are none of stored, int8",
                           name);
    return ST_OK;
}
