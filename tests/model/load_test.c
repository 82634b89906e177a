/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints under every naming scheme give the same weights; what does not
 * fit is refused by name; the golden cases load. */
#include "model/weights.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "model/safetensors.h"
#include "tests/model/rig.h"

/* ------------------------------------------------- writing checkpoints --- */

/* How a copy of the golden case armt-llama differs from it. */
typedef struct variant {
    const char *name;
    /* Prefix of plain tensors, of layers, and of what the wrapper owns. */
    const char *base, *layers, *own;
    const char *drop;  /* tensors whose old names contain this are left out */
    const char *extra; /* one more tensor, shape [2] */
    bool flat;         /* shape [n] instead of [1, n] */
} variant;

static const variant raw = {.name = "raw",
                            .base = "memory_cell.model.",
                            .layers = "memory_cell.model.model.layers.",
                            .own = "memory_cell."};

/* The name under a variant's scheme of a tensor named as `raw`. */
static void
rename_tensor(char out[200], const char *name, const variant *v)
{
    size_t n_layers = strlen(raw.layers), n_base = strlen(raw.base);
    if (strncmp(name, raw.layers, n_layers) == 0)
        (void)snprintf(out, 200, "%s%s", v->layers, name + n_layers);
    else if (strncmp(name, raw.base, n_base) == 0)
        (void)snprintf(out, 200, "%s%s", v->base, name + n_base);
    else
        (void)snprintf(out, 200, "%s%s", v->own, name + strlen(raw.own));
}

static bool
dropped(const safetensors_tensor *t, const variant *v)
{
    return v->drop != NULL && strstr(t->name, v->drop) != NULL;
}

static void
declare(safetensors_writer *out, const safetensors *in, const variant *v)
{
    char name[200];
    for (size_t i = 0; i < safetensors_count(in); i++) {
        const safetensors_tensor *t = safetensors_at(in, i);
        if (dropped(t, v))
            continue;
        rename_tensor(name, t->name, v);
        bool flat = v->flat && t->n_dim == 2 && t->dim[0] == 1;
        EXPECT_OK(safetensors_writer_add(out, name, SAFETENSORS_F32,
                                         t->dim + flat, t->n_dim - flat));
    }
    if (v->extra != NULL)
        EXPECT_OK(safetensors_writer_add(out, v->extra, SAFETENSORS_F32,
                                         &(size_t){2}, 1));
}

static void
write_variant(const variant *v)
{
    safetensors *in = NULL;
    safetensors_writer *out = NULL;
    char *path = NULL;
    EXPECT_OK(file_join(&path, rig.dir, "model.safetensors"));
    EXPECT_OK(safetensors_open(&in, "golden/armt-llama"));
    EXPECT_OK(safetensors_writer_new(&out, path));
    declare(out, in, v);
    EXPECT_OK(safetensors_writer_begin(out));
    for (size_t i = 0; i < safetensors_count(in); i++) {
        const safetensors_tensor *t = safetensors_at(in, i);
        if (!dropped(t, v))
            EXPECT_OK(safetensors_writer_data(out, t->data, t->bytes));
    }
    if (v->extra != NULL)
        EXPECT_OK(safetensors_writer_data(out, "\0\0\0\0\0\0\0", 8));
    EXPECT_OK(safetensors_writer_finish(out));
    safetensors_writer_free(out);
    safetensors_close(in);
    mem_free(path);
}

/* ------------------------------------------------------------- loading --- */

static weights *
new_weights(const model_config *cfg, const weights_part *part)
{
    weights_part all = {0, cfg->n_layer, true, true};
    weights *w = NULL;
    EXPECT_OK(weights_new(&w, rig.dev, cfg, part != NULL ? part : &all));
    return w;
}

/* BLAKE2b of item `item` of a kind. */
static void
digest(uint8_t out[HASH_BYTES], const weights *w, weights_kind kind,
       size_t item)
{
    size_t rows = 0, cols = 0;
    float *values = NULL;
    hash h;
    kernel_view v = weights_view(w, kind);
    weights_shape(weights_config_of(w), kind, &rows, &cols);
    EXPECT_OK(mem_new(&values, rows * cols, sizeof *values));
    rig_fetch(values, v.buf, item * v.stride * sizeof *values,
              rows * cols * sizeof *values);
    hash_init(&h);
    hash_add(&h, values, rows * cols * sizeof *values);
    hash_end(&h, out);
    mem_free(values);
}

static void
expect_same(const weights *a, size_t item_a, const weights *b, size_t item_b,
            weights_kind kind)
{
    uint8_t x[HASH_BYTES], y[HASH_BYTES];
    digest(x, a, kind, item_a);
    digest(y, b, kind, item_b);
    assert_memory_equal(x, y, HASH_BYTES);
}

static model_config
golden_config(const char *name)
{
    model_config cfg;
    char path[100];
    (void)snprintf(path, sizeof path, "golden/%s", name);
    EXPECT_OK(config_load(&cfg, path));
    return cfg;
}

static weights *
golden(const char *name)
{
    model_config cfg = golden_config(name);
    char path[100];
    (void)snprintf(path, sizeof path, "golden/%s", name);
    weights *w = new_weights(&cfg, NULL);
    EXPECT_OK(weights_load(w, path));
    return w;
}

/* Rows row0 .. of an item are the numbers of a tensor of the file. */
static void
expect_rows(const weights *w, weights_kind kind, uint32_t layer, size_t row0,
            const safetensors_tensor *t)
{
    size_t rows = 0, cols = 0, n = t->dim[0];
    float *got = NULL, *want = NULL;
    kernel_view v = weights_view(w, kind);
    weights_shape(weights_config_of(w), kind, &rows, &cols);
    for (uint32_t i = 1; i < t->n_dim; i++)
        n *= t->dim[i];
    EXPECT_OK(mem_new(&got, n, sizeof *got));
    EXPECT_OK(mem_new(&want, n, sizeof *want));
    EXPECT_OK(safetensors_read_f32(t, want, 0, n));
    rig_fetch(got, v.buf, (layer * v.stride + row0 * cols) * sizeof *got,
              n * sizeof *got);
    assert_memory_equal(got, want, n * sizeof *got);
    mem_free(got);
    mem_free(want);
}

/* --------------------------------------------------------------- tests --- */

static void
golden_cases(void **state)
{
    (void)state;
    static const char *const names[] = {
        "armt-llama",
        "armt-llama-ragged",
        "armt-llama-bf16",
        "armt-llama-tied-llama3rope",
        "armt-llama-keynorm",
        "armt-llama-nocorrection",
        "armt-llama-nodenom",
        "armt-llama-heads-gating",
        "armt-llama-inner",
        "armt-llama-sliding-sink",
        "armt-llama-outer-sliding-sink",
        "armt-gpt2",
        "armt-gpt2-plainpos",
        "armt-qwen2",
        "rmt-llama",
        "rmt-gpt2",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        weights_free(golden(names[i]));
}

/* Every tensor of a layer is where the table of weights.h says. */
static void
places(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        weights_kind kind;
        int part; /* of q, k, v or gate, up */
    } tensor[] = {
        {"layer.input_layernorm.weight", WEIGHTS_NORM1, 0},
        {"layer.self_attn.q_proj.weight", WEIGHTS_QKV, 0},
        {"layer.self_attn.k_proj.weight", WEIGHTS_QKV, 1},
        {"layer.self_attn.v_proj.weight", WEIGHTS_QKV, 2},
        {"layer.self_attn.o_proj.weight", WEIGHTS_OUT, 0},
        {"layer.post_attention_layernorm.weight", WEIGHTS_NORM2, 0},
        {"layer.mlp.gate_proj.weight", WEIGHTS_GATE_UP, 0},
        {"layer.mlp.up_proj.weight", WEIGHTS_GATE_UP, 3},
        {"layer.mlp.down_proj.weight", WEIGHTS_DOWN, 0},
        {"W_mq.weight", WEIGHTS_MEM_Q, 0},
        {"W_mk.weight", WEIGHTS_MEM_K, 0},
        {"W_mv.weight", WEIGHTS_MEM_V, 0},
        {"W_mb.weight", WEIGHTS_MEM_B, 0},
        {"W_mb.bias", WEIGHTS_MEM_B_BIAS, 0},
    };
    weights *w = golden("armt-llama-bf16");
    const model_config *cfg = weights_config_of(w);
    size_t d_q = (size_t)cfg->n_head * cfg->d_head;
    size_t d_kv = (size_t)cfg->n_kv_head * cfg->d_head;
    size_t row[] = {0, d_q, d_q + d_kv, cfg->d_ffn};
    safetensors *file = NULL;
    EXPECT_OK(safetensors_open(&file, "golden/armt-llama-bf16"));
    for (uint32_t layer = 0; layer < cfg->n_layer; layer++) {
        for (size_t i = 0; i < sizeof tensor / sizeof *tensor; i++) {
            char name[200];
            (void)snprintf(name, sizeof name, "%s%u.%s", raw.layers, layer,
                           tensor[i].name);
            const safetensors_tensor *t = safetensors_find(file, name);
            assert_non_null(t);
            expect_rows(w, tensor[i].kind, layer, row[tensor[i].part], t);
        }
    }
    safetensors_close(file);
    weights_free(w);
}

static const variant schemes[] = {
    {.name = "raw",
     .base = "memory_cell.model.",
     .layers = "memory_cell.model.model.layers.",
     .own = "memory_cell."},
    {.name = "raw, layers under their other name",
     .base = "memory_cell.model.",
     .layers = "memory_cell.layers.",
     .own = "memory_cell."},
    {.name = "outer",
     .base = "armt.memory_cell.model.",
     .layers = "armt.memory_cell.model.model.layers.",
     .own = "armt.memory_cell."},
    {.name = "outer, layers under their other name",
     .base = "armt.memory_cell.model.",
     .layers = "armt.memory_cell.layers.",
     .own = "armt.memory_cell."},
    {.name = "inner",
     .base = "model.",
     .layers = "model.model.layers.",
     .own = ""},
};

static void
naming_schemes(void **state)
{
    (void)state;
    weights *want = golden("armt-llama");
    const model_config *cfg = weights_config_of(want);
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        variant v = schemes[i];
        v.flat = i % 2;
        write_variant(&v);
        weights *w = new_weights(cfg, NULL);
        EXPECT_OK(weights_load(w, rig.dir));
        for (weights_kind kind = 0; kind < WEIGHTS_ROPE; kind++)
            for (uint32_t layer = 0; layer < cfg->n_layer; layer++)
                if ((layer == 0 || kind < WEIGHTS_N_LAYER_KIND) &&
                    weights_has(cfg, kind))
                    expect_same(w, layer, want, layer, kind);
        weights_free(w);
    }
    weights_free(want);
}

/* A rank's part is that part of the whole. */
static void
parts(void **state)
{
    (void)state;
    static const char *const names[] = {"armt-llama",
                                        "armt-llama-tied-llama3rope"};
    for (size_t i = 0; i < 2; i++) {
        weights *all = golden(names[i]);
        const model_config *cfg = weights_config_of(all);
        char path[100];
        (void)snprintf(path, sizeof path, "golden/%s", names[i]);
        uint32_t cut = cfg->n_layer / 2;
        weights *low = new_weights(cfg, &(weights_part){0, cut, true, false});
        weights *high = new_weights(
            cfg, &(weights_part){cut, cfg->n_layer - cut, false, true});
        EXPECT_OK(weights_load(low, path));
        EXPECT_OK(weights_load(high, path));
        for (weights_kind kind = 0; kind < WEIGHTS_N_LAYER_KIND; kind++) {
            if (!weights_has(weights_config_of(all), kind))
                continue;
            expect_same(low, 0, all, 0, kind);
            expect_same(high, 0, all, cut, kind);
        }
        expect_same(low, 0, all, 0, WEIGHTS_EMBED);
        expect_same(low, 0, all, 0, WEIGHTS_MEMORY);
        expect_same(high, 0, all, 0, WEIGHTS_HEAD);
        expect_same(high, 0, all, 0, WEIGHTS_NORM_F);
        weights_free(all);
        weights_free(low);
        weights_free(high);
    }
}

/* Loads a variant of armt-llama; the code, and text that the sentence has. */
static void
expect_refused(variant v, status code, const char *const text[3])
{
    model_config cfg = golden_config("armt-llama");
    weights *w = new_weights(&cfg, NULL);
    v.base = raw.base;
    v.layers = v.layers != NULL ? v.layers : raw.layers;
    v.own = v.own != NULL ? v.own : raw.own;
    write_variant(&v);
    EXPECT_ST(weights_load(w, rig.dir), code);
    for (size_t i = 0; i < 3 && text[i] != NULL; i++)
        if (strstr(status_text(), text[i]) == NULL)
            fail_msg("\"%s\" without \"%s\"", status_text(), text[i]);
    weights_free(w);
}

#define LAYER0 "memory_cell.model.model.layers.0."

static void
refusals(void **state)
{
    (void)state;
    static const struct {
        variant v;
        status code;
        const char *text[3];
    } bad[] = {
        {{.drop = "layers.1.W_mq"}, ST_ARG, {"missing layers.1.W_mq.weight"}},
        {{.drop = "embed_tokens"},
         ST_ARG,
         {"missing model.embed_tokens.weight"}},
        {{.drop = "lm_head"}, ST_ARG, {"missing lm_head.weight"}},
        {{.drop = "memory_cell.memory"},
         ST_ARG,
         {"no memory tokens (memory_cell.memory",
          "among memory_cell.model.lm_head", ".layer.mlp.d, and 36 more"}},
        {{.drop = "proj"},
         ST_ARG,
         {"missing layers.0.self_attn.q_proj.weight",
          "layers.1.self_attn.k_proj.weight", ", and 11 more"}},
        {{.extra = LAYER0 "layer.self_attn.q_proj.bias"},
         ST_ARG,
         {"unexpected layers.0.layer.self_attn.q_proj.bias"}},
        {{.extra = "memory_cell.model.model.layers.400.W_mq.weight"},
         ST_ARG,
         {"unexpected layers.400.W_mq.weight"}},
        {{.extra = "memory_cell.model.model.layers.00.W_mq.weight"},
         ST_ARG,
         {"unexpected layers.00.W_mq.weight"}},
        {{.extra = LAYER0 "self_attn.q_proj.weight"},
         ST_ARG,
         {"unexpected layers.0.self_attn.q_proj.weight"}},
        {{.extra = "other\nname"}, ST_ARG, {"unexpected other?name"}},
        {{.drop = "layers.0.W_mb.bias", .extra = LAYER0 "W_mb.bias"},
         ST_ARG,
         {"of another shape layers.0.W_mb.bias"}},
        {{.drop = "model.norm.weight",
          .extra = "memory_cell.model.model.norm.weight"},
         ST_ARG,
         {"of another shape model.norm.weight"}},
        {{.extra = LAYER0 "layer.self_attn.q_proj.base_layer.weight"},
         ST_ARG,
         {"merged and not merged"}},
        {{.drop = "layers.0.layer.input_layernorm",
          .extra = LAYER0 "layer.input_layernorm.base_layer.weight"},
         ST_ARG,
         {"of another shape layers.0.input_layernorm.weight"}},
        {{.extra = LAYER0 "layer.self_attn.q_proj.lora_A.default.weight"},
         ST_ARG,
         {"missing lora_B of layers.0.self_attn.q_proj.weight"}},
        {{.extra = LAYER0 "layer.self_attn.q_proj.lora_A.other.weight"},
         ST_ARG,
         {"unexpected"}},
        {{.extra = LAYER0 "layer.self_attn.q_proj.lora_magnitude_vector"},
         ST_UNSUPPORTED,
         {"LoRA", "lora_magnitude_vector"}},
        {{.extra = LAYER0 "act.linear.weight"},
         ST_UNSUPPORTED,
         {"adaptive computation", "act.linear.weight"}},
        {{.extra = "memory_cell.sink"},
         ST_ARG,
         {"names as memory_cell.model.B", "unexpected sink"}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused(bad[i].v, bad[i].code, bad[i].text);
}

/* Rotary frequencies in a file are recomputed, not read. */
static void
ignores(void **state)
{
    (void)state;
    model_config cfg = golden_config("armt-llama");
    weights *w = new_weights(&cfg, NULL);
    variant v = raw;
    v.extra = LAYER0 "layer.self_attn.rotary_emb.inv_freq";
    write_variant(&v);
    EXPECT_OK(weights_load(w, rig.dir));
    weights_free(w);
}

/* A tied model's file may hold the table, the head, or both. */
static void
tied_names(void **state)
{
    (void)state;
    static const char *const drop[] = {"embed_tokens", "lm_head", NULL};
    model_config cfg = golden_config("armt-llama");
    cfg.tied_head = true;
    for (size_t i = 0; i < 3; i++) {
        safetensors *file = NULL;
        weights *w = new_weights(&cfg, NULL);
        variant v = raw;
        v.drop = drop[i];
        write_variant(&v);
        EXPECT_OK(weights_load(w, rig.dir));
        EXPECT_OK(safetensors_open(&file, rig.dir));
        expect_rows(
            w, WEIGHTS_HEAD, 0, 0,
            safetensors_find(file, i == 0 ? "memory_cell.model.lm_head.weight"
                                          : "memory_cell.model.model."
                                            "embed_tokens.weight"));
        safetensors_close(file);
        weights_free(w);
    }
}

static void
fingerprints(void **state)
{
    (void)state;
    uint8_t a[HASH_BYTES], b[HASH_BYTES];
    EXPECT_OK(
        weights_fingerprint(a, "golden/armt-llama", WEIGHTS_STORED, NULL));
    EXPECT_OK(
        weights_fingerprint(b, "golden/armt-llama", WEIGHTS_STORED, NULL));
    assert_memory_equal(a, b, HASH_BYTES);
    EXPECT_OK(weights_fingerprint(b, "golden/armt-llama", WEIGHTS_INT8, NULL));
    assert_memory_not_equal(a, b, HASH_BYTES);
    EXPECT_OK(weights_fingerprint(b, "golden/armt-llama-nocorrection",
                                  WEIGHTS_STORED, NULL));
    assert_memory_not_equal(a, b, HASH_BYTES);
    const config_given given[] = {{.segment_size = 9},   {.key_norm = "none"},
                                  {.lora_alpha = 2},     {.state_type = "bf16"},
                                  {.state_type = "f32"}, {0}};
    for (size_t i = 0; i < 6; i++) {
        EXPECT_OK(weights_fingerprint(b, "golden/armt-llama", WEIGHTS_STORED,
                                      &given[i]));
        assert_int_equal(memcmp(a, b, HASH_BYTES) == 0, i > 3);
    }
    EXPECT_ST(weights_fingerprint(b, "golden/none", WEIGHTS_STORED, NULL),
              ST_NOTFOUND);
}

/* What the configuration's own fingerprint tells apart: not the numbers. */
static void
config_alone(char *bytes, size_t len, const char *path)
{
    uint8_t a[HASH_BYTES], b[HASH_BYTES];
    const config_given given = {.segment_size = 9};
    EXPECT_OK(weights_fingerprint_config(a, rig.dir, WEIGHTS_STORED, NULL));
    bytes[len - 3] ^= 1;
    EXPECT_OK(file_write(path, bytes, len));
    EXPECT_OK(weights_fingerprint_config(b, rig.dir, WEIGHTS_STORED, NULL));
    assert_memory_equal(a, b, HASH_BYTES);
    bytes[len - 3] ^= 1;
    EXPECT_OK(file_write(path, bytes, len));
    EXPECT_OK(weights_fingerprint_config(b, rig.dir, WEIGHTS_INT8, NULL));
    assert_memory_not_equal(a, b, HASH_BYTES);
    EXPECT_OK(weights_fingerprint_config(b, rig.dir, WEIGHTS_STORED, &given));
    assert_memory_not_equal(a, b, HASH_BYTES);
    EXPECT_ST(
        weights_fingerprint_config(b, "golden/none", WEIGHTS_STORED, NULL),
        ST_NOTFOUND);
}

/* Two models of one shape differ by their numbers alone. */
static void
fingerprint_of_numbers(void **state)
{
    (void)state;
    uint8_t a[HASH_BYTES], b[HASH_BYTES];
    char *config = NULL, *path = NULL, *bytes = NULL;
    size_t len = 0;
    write_variant(&raw);
    EXPECT_OK(file_join(&config, rig.dir, "config.json"));
    EXPECT_OK(file_join(&path, rig.dir, "model.safetensors"));
    EXPECT_OK(file_write(config, "{}", 2));
    EXPECT_OK(weights_fingerprint(a, rig.dir, WEIGHTS_STORED, NULL));
    EXPECT_OK(file_read(&bytes, &len, path, (size_t)1 << 24));
    bytes[len - 3] ^= 1;
    EXPECT_OK(file_write(path, bytes, len));
    EXPECT_OK(weights_fingerprint(b, rig.dir, WEIGHTS_STORED, NULL));
    assert_memory_not_equal(a, b, HASH_BYTES);
    config_alone(bytes, len, path);
    char *adapter = NULL;
    EXPECT_OK(file_join(&adapter, rig.dir, "adapter_config.json"));
    EXPECT_OK(file_write(adapter, "{\"lora_alpha\":1}", 16));
    EXPECT_OK(weights_fingerprint(a, rig.dir, WEIGHTS_STORED, NULL));
    assert_memory_not_equal(a, b, HASH_BYTES);
    EXPECT_OK(file_write(adapter, "{\"lora_alpha\":2}", 16));
    EXPECT_OK(weights_fingerprint(b, rig.dir, WEIGHTS_STORED, NULL));
    assert_memory_not_equal(a, b, HASH_BYTES);
    EXPECT_OK(file_remove(adapter));
    mem_free(adapter);
    EXPECT_OK(file_remove(config));
    mem_free(bytes);
    mem_free(config);
    mem_free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_cases),
        cmocka_unit_test(places),
        cmocka_unit_test(naming_schemes),
        cmocka_unit_test(parts),
        cmocka_unit_test(refusals),
        cmocka_unit_test(ignores),
        cmocka_unit_test(tied_names),
        cmocka_unit_test(fingerprints),
        cmocka_unit_test(fingerprint_of_numbers),
    };
    return RIG_RUN(tests);
}
