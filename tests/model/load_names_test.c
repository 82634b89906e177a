/* SPDX-License-Identifier: Apache-2.0 */
/* Every family's tensors arrive at the row and the column where the layers
 * look for them: stored by rows, by columns or by heads, with biases, with
 * LoRA parts, in layers without a memory, under a base model's own names. */
#include "model/weights.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/safetensors.h"
#include "tests/model/rig.h"

enum { D = 24, HEADS = 2, FF = 40, V = 30, LAYERS = 3, M = 4, DM = 6 };

/* How a tensor lies in the file, and where it belongs. */
typedef enum layout { ROWS, COLUMNS, BY_HEAD } layout;
typedef struct spec {
    const char *name;
    size_t rows, cols; /* of the model: [out, in]; rows 1: a vector */
    weights_kind kind;
    size_t first; /* row of the kind, number of a vector */
    layout how;
} spec;

typedef struct family {
    const char *name;
    model_config cfg;
    const char *prefix, *list, *inner; /* prefix list N . inner name */
    spec layer[20], outside[8];
} family;

static model_config
common(void)
{
    return (model_config){.n_layer = LAYERS,
                          .d_model = D,
                          .n_head = HEADS,
                          .n_kv_head = HEADS,
                          .d_head = D / HEADS,
                          .d_ffn = FF,
                          .n_vocab = V,
                          .norm_eps = 1e-5f,
                          .segment_size = 8,
                          .memory = CONFIG_MEMORY_CACHE,
                          .rope = {.d_rot = D / HEADS, .theta = 1e4},
                          .bos = -1};
}

static family
gpt2(void)
{
    family f = {
        .name = "gpt2",
        .cfg = common(),
        .prefix = "transformer.",
        .list = "h.",
        .inner = "",
        .layer = {{"ln_1.weight", 1, D, WEIGHTS_NORM1, 0, ROWS},
                  {"ln_1.bias", 1, D, WEIGHTS_NORM1_BIAS, 0, ROWS},
                  {"attn.c_attn.weight", 3 * D, D, WEIGHTS_QKV, 0, COLUMNS},
                  {"attn.c_attn.bias", 1, 3 * D, WEIGHTS_QKV_BIAS, 0, ROWS},
                  {"attn.c_proj.weight", D, D, WEIGHTS_OUT, 0, COLUMNS},
                  {"attn.c_proj.bias", 1, D, WEIGHTS_OUT_BIAS, 0, ROWS},
                  {"ln_2.weight", 1, D, WEIGHTS_NORM2, 0, ROWS},
                  {"ln_2.bias", 1, D, WEIGHTS_NORM2_BIAS, 0, ROWS},
                  {"mlp.c_fc.weight", FF, D, WEIGHTS_GATE_UP, 0, COLUMNS},
                  {"mlp.c_fc.bias", 1, FF, WEIGHTS_GATE_UP_BIAS, 0, ROWS},
                  {"mlp.c_proj.weight", D, FF, WEIGHTS_DOWN, 0, COLUMNS},
                  {"mlp.c_proj.bias", 1, D, WEIGHTS_DOWN_BIAS, 0, ROWS}},
        .outside = {{"wte.weight", V, D, WEIGHTS_EMBED, 0, ROWS},
                    {"wpe.weight", 20, D, WEIGHTS_POSITION, 0, ROWS},
                    {"ln_f.weight", 1, D, WEIGHTS_NORM_F, 0, ROWS},
                    {"ln_f.bias", 1, D, WEIGHTS_NORM_F_BIAS, 0, ROWS}}};
    f.cfg.block = CONFIG_BLOCK_GPT2;
    f.cfg.act = CONFIG_ACT_GELU_TANH;
    f.cfg.rope.d_rot = 0;
    f.cfg.n_position = 20;
    f.cfg.tied_head = true;
    f.cfg.qkv_bias = f.cfg.out_bias = f.cfg.mlp_bias = true;
    return f;
}

static family
neox(void)
{
    family f = {
        .name = "neox",
        .cfg = common(),
        .prefix = "gpt_neox.",
        .list = "layers.",
        .inner = "",
        .layer = {{"input_layernorm.weight", 1, D, WEIGHTS_NORM1, 0, ROWS},
                  {"input_layernorm.bias", 1, D, WEIGHTS_NORM1_BIAS, 0, ROWS},
                  {"attention.query_key_value.weight", 3 * D, D, WEIGHTS_QKV, 0,
                   BY_HEAD},
                  {"attention.query_key_value.bias", 1, 3 * D, WEIGHTS_QKV_BIAS,
                   0, BY_HEAD},
                  {"attention.dense.weight", D, D, WEIGHTS_OUT, 0, ROWS},
                  {"attention.dense.bias", 1, D, WEIGHTS_OUT_BIAS, 0, ROWS},
                  {"post_attention_layernorm.weight", 1, D, WEIGHTS_NORM2, 0,
                   ROWS},
                  {"post_attention_layernorm.bias", 1, D, WEIGHTS_NORM2_BIAS, 0,
                   ROWS},
                  {"mlp.dense_h_to_4h.weight", FF, D, WEIGHTS_GATE_UP, 0, ROWS},
                  {"mlp.dense_h_to_4h.bias", 1, FF, WEIGHTS_GATE_UP_BIAS, 0,
                   ROWS},
                  {"mlp.dense_4h_to_h.weight", D, FF, WEIGHTS_DOWN, 0, ROWS},
                  {"mlp.dense_4h_to_h.bias", 1, D, WEIGHTS_DOWN_BIAS, 0, ROWS}},
        .outside = {
            {"embed_in.weight", V, D, WEIGHTS_EMBED, 0, ROWS},
            {"final_layer_norm.weight", 1, D, WEIGHTS_NORM_F, 0, ROWS},
            {"final_layer_norm.bias", 1, D, WEIGHTS_NORM_F_BIAS, 0, ROWS},
            {"!embed_out.weight", V, D, WEIGHTS_HEAD, 0, ROWS}}};
    f.cfg.block = CONFIG_BLOCK_NEOX;
    f.cfg.act = CONFIG_ACT_GELU;
    f.cfg.rope.d_rot = 4;
    f.cfg.parallel = true;
    f.cfg.qkv_bias = f.cfg.out_bias = f.cfg.mlp_bias = true;
    return f;
}

/* Every bias and norm that a model of LLaMA's kin can have. */
static family
llama(void)
{
    family f = {
        .name = "llama",
        .cfg = common(),
        .prefix = "model.",
        .list = "layers.",
        .inner = "",
        .layer =
            {{"input_layernorm.weight", 1, D, WEIGHTS_NORM1, 0, ROWS},
             {"self_attn.q_proj.weight", D, D, WEIGHTS_QKV, 0, ROWS},
             {"self_attn.k_proj.weight", D / 2, D, WEIGHTS_QKV, D, ROWS},
             {"self_attn.v_proj.weight", D / 2, D, WEIGHTS_QKV, D + D / 2,
              ROWS},
             {"self_attn.q_proj.bias", 1, D, WEIGHTS_QKV_BIAS, 0, ROWS},
             {"self_attn.k_proj.bias", 1, D / 2, WEIGHTS_QKV_BIAS, D, ROWS},
             {"self_attn.v_proj.bias", 1, D / 2, WEIGHTS_QKV_BIAS, D + D / 2,
              ROWS},
             {"self_attn.o_proj.weight", D, D, WEIGHTS_OUT, 0, ROWS},
             {"self_attn.o_proj.bias", 1, D, WEIGHTS_OUT_BIAS, 0, ROWS},
             {"self_attn.q_norm.weight", 1, D / 2, WEIGHTS_Q_NORM, 0, ROWS},
             {"self_attn.k_norm.weight", 1, D / 2, WEIGHTS_K_NORM, 0, ROWS},
             {"post_attention_layernorm.weight", 1, D, WEIGHTS_NORM2, 0, ROWS},
             {"mlp.gate_proj.weight", FF, D, WEIGHTS_GATE_UP, 0, ROWS},
             {"mlp.up_proj.weight", FF, D, WEIGHTS_GATE_UP, FF, ROWS},
             {"mlp.down_proj.weight", D, FF, WEIGHTS_DOWN, 0, ROWS},
             {"mlp.gate_proj.bias", 1, FF, WEIGHTS_GATE_UP_BIAS, 0, ROWS},
             {"mlp.up_proj.bias", 1, FF, WEIGHTS_GATE_UP_BIAS, FF, ROWS},
             {"mlp.down_proj.bias", 1, D, WEIGHTS_DOWN_BIAS, 0, ROWS}},
        .outside = {{"embed_tokens.weight", V, D, WEIGHTS_EMBED, 0, ROWS},
                    {"norm.weight", 1, D, WEIGHTS_NORM_F, 0, ROWS},
                    {"!lm_head.weight", V, D, WEIGHTS_HEAD, 0, ROWS}}};
    f.cfg.n_kv_head = 1;
    f.cfg.qkv_bias = f.cfg.out_bias = f.cfg.mlp_bias = f.cfg.qk_norm = true;
    return f;
}

/* ------------------------------------------------------------- writing --- */

/* A number of its own for every element of the model. */
static float
value(const char *name, uint32_t layer, size_t row, size_t col)
{
    uint32_t h = 2166136261u + layer * 977u;
    for (; *name != '\0'; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    h = (h ^ (uint32_t)row) * 16777619u;
    h = (h ^ (uint32_t)col) * 16777619u;
    return (float)(h >> 8) / 65536.0f - 128.0f;
}

/* Where the file has row `row`: each head's q, k and v lie together. */
static size_t
stored_row(const spec *s, size_t row)
{
    size_t hd = D / HEADS;
    if (s->how != BY_HEAD)
        return row;
    return (row % D / hd * 3 + row / D) * hd + row % hd;
}

/* The tensor as the file has it. */
static float *
stored(const spec *s, uint32_t layer)
{
    bool vector = s->rows == 1;
    size_t rows = vector ? s->cols : s->rows, cols = vector ? 1 : s->cols;
    float *out = NULL;
    EXPECT_OK(mem_new(&out, rows * cols, sizeof *out));
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < cols; k++) {
            size_t at =
                s->how == COLUMNS ? k * rows + i : stored_row(s, i) * cols + k;
            out[at] = value(s->name, layer, i, k);
        }
    return out;
}

typedef struct lora_parts {
    const char *of;  /* name in a layer without ".weight", or NULL */
    const char *tag; /* ".default" or "" */
    size_t rank;
} lora_parts;

typedef struct file {
    const family *f;
    lora_parts lora;
    safetensors_writer *out;
    bool data; /* second pass: the numbers */
} file;

static void
emit(const file *x, const char *name, const size_t dim[2], uint32_t n_dim,
     const float *values)
{
    size_t n = dim[0] * (n_dim == 2 ? dim[1] : 1);
    if (x->data)
        EXPECT_OK(safetensors_writer_data(x->out, values, n * sizeof *values));
    else
        EXPECT_OK(
            safetensors_writer_add(x->out, name, SAFETENSORS_F32, dim, n_dim));
}

static void
emit_lora(const file *x, const spec *s, const char *stem, uint32_t layer)
{
    const size_t a[2] = {x->lora.rank, s->cols}, b[2] = {s->rows, x->lora.rank};
    const spec of_a = {"A", a[0], a[1], WEIGHTS_QKV, 0, ROWS};
    const spec of_b = {"B",         b[0], b[1],
                       WEIGHTS_QKV, 0,    s->how == BY_HEAD ? BY_HEAD : ROWS};
    float *values[2] = {stored(&of_a, layer), stored(&of_b, layer)};
    char name[200];
    (void)snprintf(name, sizeof name, "%s.lora_A%s.weight", stem, x->lora.tag);
    emit(x, name, a, 2, values[0]);
    (void)snprintf(name, sizeof name, "%s.lora_B%s.weight", stem, x->lora.tag);
    emit(x, name, b, 2, values[1]);
    mem_free(values[0]);
    mem_free(values[1]);
}

static void
emit_spec(const file *x, const spec *s, const char *prefix, uint32_t layer)
{
    char name[200], stem[200];
    size_t n = x->lora.of != NULL ? strlen(x->lora.of) : 0;
    bool with = n > 0 && strncmp(s->name, x->lora.of, n) == 0 &&
                strcmp(s->name + n, ".weight") == 0;
    size_t dim[2] = {s->rows, s->cols};
    float *values = stored(s, layer);
    if (s->how == COLUMNS) {
        dim[0] = s->cols;
        dim[1] = s->rows;
    }
    (void)snprintf(stem, sizeof stem, "%s%s", prefix,
                   with ? x->lora.of : s->name);
    (void)snprintf(name, sizeof name, "%s%s", stem,
                   with ? ".base_layer.weight" : "");
    emit(x, name, dim + (s->rows == 1), s->rows == 1 ? 1 : 2, values);
    if (with)
        emit_lora(x, s, stem, layer);
    mem_free(values);
}

static void
emit_all(const file *x)
{
    char prefix[160];
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        for (const spec *s = x->f->layer; s->name != NULL; s++) {
            (void)snprintf(prefix, sizeof prefix, "%s%s%u.%s", x->f->prefix,
                           x->f->list, layer, x->f->inner);
            emit_spec(x, s, prefix, layer);
        }
    for (const spec *s = x->f->outside; s->name != NULL; s++) {
        spec named = *s; /* "!": not behind the root's name */
        bool rootless = s->name[0] == '!';
        named.name += rootless;
        emit_spec(x, &named, rootless ? "" : x->f->prefix, 0);
    }
}

static void
write_family(const family *f, lora_parts lora)
{
    file x = {.f = f, .lora = lora};
    char *path = NULL;
    EXPECT_OK(file_join(&path, rig.dir, "model.safetensors"));
    EXPECT_OK(safetensors_writer_new(&x.out, path));
    emit_all(&x);
    EXPECT_OK(safetensors_writer_begin(x.out));
    x.data = true;
    emit_all(&x);
    EXPECT_OK(safetensors_writer_finish(x.out));
    safetensors_writer_free(x.out);
    mem_free(path);
}

/* ------------------------------------------------------------ checking --- */

static double
expected(const spec *s, uint32_t layer, size_t i, size_t k, double scale,
         size_t rank)
{
    const char *name = s->name + (s->name[0] == '!');
    double x = (double)value(name, layer, i, k), sum = 0;
    for (size_t r = 0; r < rank; r++)
        sum +=
            (double)value("B", layer, i, r) * (double)value("A", layer, r, k);
    return x + scale * sum;
}

static void
expect_spec(const weights *w, const spec *s, uint32_t layer, double scale,
            size_t rank)
{
    bool vector = s->rows == 1;
    size_t rows = vector ? s->cols : s->rows, cols = vector ? 1 : s->cols;
    kernel_view v = weights_view(w, s->kind);
    float *got = NULL;
    EXPECT_OK(mem_new(&got, rows * cols, sizeof *got));
    rig_fetch(got, v.buf, (layer * v.stride + s->first * cols) * sizeof *got,
              rows * cols * sizeof *got);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < cols; k++) {
            double want = expected(s, layer, i, k, scale, rank);
            double x = (double)got[i * cols + k];
            if (fabs(x - want) > 1e-6 * fabs(want) + (rank > 0 ? 1e-3 : 0))
                fail_msg("%s of layer %u at %zu, %zu: %g, not %g", s->name,
                         layer, i, k, x, want);
        }
    mem_free(got);
}

static void
expect_family(const family *f, lora_parts lora, double alpha)
{
    weights *w = NULL;
    size_t n = lora.of != NULL ? strlen(lora.of) : 0;
    model_config cfg = f->cfg;
    cfg.lora_alpha = alpha;
    EXPECT_OK(config_check(&cfg));
    EXPECT_OK(
        weights_new(&w, rig.dev, &cfg, &(weights_part){0, LAYERS, true, true}));
    EXPECT_OK(weights_load(w, rig.dir));
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        for (const spec *s = f->layer; s->name != NULL; s++) {
            bool with = n > 0 && strncmp(s->name, lora.of, n) == 0 &&
                        strcmp(s->name + n, ".weight") == 0;
            expect_spec(w, s, layer, with ? alpha / (double)lora.rank : 0,
                        with ? lora.rank : 0);
        }
    for (const spec *s = f->outside; s->name != NULL; s++)
        expect_spec(w, s, 0, 0, 0);
    weights_free(w);
}

/* --------------------------------------------------------------- tests --- */

static void
families(void **state)
{
    (void)state;
    family all[] = {llama(), gpt2(), neox()};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        write_family(&all[i], (lora_parts){0});
        expect_family(&all[i], (lora_parts){0}, 0);
        all[i].prefix = ""; /* the model saved without its head's class */
        write_family(&all[i], (lora_parts){0});
        expect_family(&all[i], (lora_parts){0}, 0);
    }
}

/* Adapters of every orientation, under both spellings. */
static void
lora(void **state)
{
    (void)state;
    family all[] = {llama(), gpt2(), neox()};
    const lora_parts parts[] = {
        {"self_attn.v_proj", ".default", 3},
        {"attn.c_attn", "", 2},
        {"attention.query_key_value", ".default", 4},
    };
    char prefix[3][80];
    for (size_t i = 0; i < 3; i++) {
        weights *w = NULL;
        (void)snprintf(prefix[i], sizeof prefix[i], "base_model.model.%s",
                       all[i].prefix);
        all[i].prefix = prefix[i];
        write_family(&all[i], parts[i]);
        expect_family(&all[i], parts[i], 6);
        EXPECT_OK(weights_new(&w, rig.dev, &all[i].cfg,
                              &(weights_part){0, LAYERS, true, true}));
        EXPECT_ST(weights_load(w, rig.dir), ST_ARG);
        assert_non_null(strstr(status_text(), "lora_alpha"));
        weights_free(w);
    }
}

/* A layer that is not wrapped has no memory of its own, and its names may or
 * may not show the wrapper. */
static void
bare_layers(void **state)
{
    (void)state;
    family f = llama();
    for (int wrapped = 0; wrapped < 2; wrapped++) {
        weights *w = NULL;
        f.cfg.memory = CONFIG_MEMORY_ASSOC;
        f.cfg.n_mem = M;
        f.cfg.d_mem = DM;
        f.cfg.n_mem_head = 1;
        f.cfg.bare[0] = 7;
        f.prefix = "memory_cell.model.model.";
        f.inner = wrapped ? "layer." : "";
        f.outside[2] = (spec){
            "!memory_cell.model.lm_head.weight", V, D, WEIGHTS_HEAD, 0, ROWS};
        f.outside[3] =
            (spec){"!memory_cell.memory", M, D, WEIGHTS_MEMORY, 0, ROWS};
        write_family(&f, (lora_parts){0});
        expect_family(&f, (lora_parts){0}, 0);
        f.cfg.bare[0] = 5; /* layer 1 has a memory: its tensors are missing */
        EXPECT_OK(weights_new(&w, rig.dev, &f.cfg,
                              &(weights_part){0, LAYERS, true, true}));
        EXPECT_ST(weights_load(w, rig.dir), ST_ARG);
        assert_non_null(
            strstr(status_text(), wrapped ? "missing layers.1.W_mq.weight"
                                          : "unexpected layers.1.input_layer"));
        weights_free(w);
    }
}

/* Buffers of old files, by family; the same name elsewhere is no buffer. */
static void
buffers(void **state)
{
    (void)state;
    family g = gpt2(), n = neox(), l = llama();
    g.layer[12] = (spec){"attn.bias", 3, 3, WEIGHTS_QKV, 0, ROWS};
    g.layer[13] = (spec){"attn.masked_bias", 1, 2, WEIGHTS_QKV, 0, ROWS};
    n.layer[12] = (spec){"attention.bias", 3, 3, WEIGHTS_QKV, 0, ROWS};
    n.layer[13] =
        (spec){"attention.rotary_emb.inv_freq", 1, 2, WEIGHTS_QKV, 0, ROWS};
    l.layer[18] = (spec){"self_attn.bias", 1, 2, WEIGHTS_QKV, 0, ROWS};
    const family *const all[] = {&g, &n, &l};
    for (size_t i = 0; i < 3; i++) {
        weights *w = NULL;
        write_family(all[i], (lora_parts){0});
        EXPECT_OK(weights_new(&w, rig.dev, &all[i]->cfg,
                              &(weights_part){0, LAYERS, true, true}));
        EXPECT_ST(weights_load(w, rig.dir), i < 2 ? ST_OK : ST_ARG);
        weights_free(w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families),
        cmocka_unit_test(lora),
        cmocka_unit_test(bare_layers),
        cmocka_unit_test(buffers),
    };
    return RIG_RUN(tests);
}
