/* SPDX-License-Identifier: Apache-2.0 */
/* The types that weights are kept in: rounding, 8 bits by rows, and what a
 * checkpoint's own types become. */
#include "model/weights.h"

#include <math.h>
#include <string.h>

#include "model/safetensors.h"
#include "tests/model/rig.h"

static model_config
golden_config(const char *dir)
{
    model_config cfg;
    EXPECT_OK(config_load(&cfg, dir));
    return cfg;
}

/* A weights object of one layer whose WEIGHTS_OUT is of `type`. */
static weights *
with_type(model_config *cfg, kernel_type type)
{
    weights_types types;
    weights *w = NULL;
    *cfg = golden_config("golden/armt-llama");
    weights_types_of_compute(&types, KERNEL_F32);
    types.of[WEIGHTS_OUT] = type;
    EXPECT_OK(weights_new_typed(&w, rig.dev, cfg,
                                &(weights_part){0, 1, false, false}, &types));
    return w;
}

/* A half's value, from its definition. */
static double
half_value(uint16_t half)
{
    int exponent = half >> 10 & 31;
    double fraction = half & 1023;
    double size = exponent == 0 ? ldexp(fraction, -24)
                                : ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000 ? -size : size;
}

/* Every half is itself again, and what lies between two goes to the nearer, at
 * the middle to the even one. */
static void
halves(void **state)
{
    (void)state;
    enum { N = 48 * 48 };
    model_config cfg;
    weights *w = with_type(&cfg, KERNEL_F16);
    kernel_view v = weights_view(w, WEIGHTS_OUT);
    static float x[N];
    static uint16_t got[N];
    for (uint32_t first = 0; first + 2 < 0x7c00; first += N / 4) {
        for (uint32_t i = 0; i < N / 4; i++) {
            uint16_t h = (uint16_t)((first + i) % 0x7bff);
            double a = half_value(h), b = half_value((uint16_t)(h + 1));
            x[4 * i] = (float)a;
            x[4 * i + 1] = (float)-a;
            x[4 * i + 2] = (float)(a + (b - a) / 2);
            x[4 * i + 3] = (float)(a + (b - a) * 0.51);
        }
        EXPECT_OK(weights_put(w, WEIGHTS_OUT, 0, 0, N, x));
        rig_fetch(got, v.buf, 0, sizeof got);
        for (uint32_t i = 0; i < N / 4; i++) {
            uint16_t h = (uint16_t)((first + i) % 0x7bff);
            assert_int_equal(got[4 * i], h);
            assert_int_equal(got[4 * i + 1], h | 0x8000);
            assert_int_equal(got[4 * i + 2], h + (h & 1));
            assert_int_equal(got[4 * i + 3], h + 1);
        }
    }
    const float ends[4] = {65519.9f, 65520.0f, -INFINITY, NAN};
    EXPECT_OK(weights_put(w, WEIGHTS_OUT, 0, 0, 4, ends));
    rig_fetch(got, v.buf, 0, 4 * sizeof *got);
    assert_int_equal(got[0], 0x7bff);
    assert_int_equal(got[1], 0x7c00);
    assert_int_equal(got[2], 0xfc00);
    assert_true((got[3] & 0x7c00) == 0x7c00 && (got[3] & 0x3ff) != 0);
    weights_free(w);
}

/* Each number of a row is the nearest multiple of its scale, and the largest
 * is 127 of them. */
static void
bytes_by_row(void **state)
{
    (void)state;
    enum { D = 48 };
    model_config cfg;
    weights *w = with_type(&cfg, KERNEL_I8);
    float x[D * D], scale[D];
    int8_t got[D * D];
    for (int i = 0; i < D * D; i++) {
        int row = i / D;
        x[i] = row == 7 ? 0 : ldexpf(sinf((float)(i * i)), row % 9 - 4);
    }
    x[5 * D + 3] = -1000;
    EXPECT_OK(weights_put(w, WEIGHTS_OUT, 0, 0, 10 * D, x));
    EXPECT_OK(weights_put(w, WEIGHTS_OUT, 0, 10 * D, (D - 10) * D, x + 10 * D));
    assert_int_equal(weights_view(w, WEIGHTS_OUT).type, KERNEL_I8);
    rig_fetch(got, weights_view(w, WEIGHTS_OUT).buf, 0, sizeof got);
    rig_fetch(scale, weights_scale(w, WEIGHTS_OUT).buf, 0, sizeof scale);
    for (int row = 0; row < D; row++) {
        int most = 0;
        for (int i = row * D; i < (row + 1) * D; i++) {
            float error = fabsf(scale[row] * (float)got[i] - x[i]);
            assert_true(error <= scale[row] * 0.5001f);
            most = abs(got[i]) > most ? abs(got[i]) : most;
        }
        assert_int_equal(most, row == 7 ? 0 : 127);
    }
    assert_int_equal(got[5 * D + 3], -127);
    assert_null(weights_scale(w, WEIGHTS_QKV).buf);
    weights_free(w);
}

static void
expect_stored(const weights *w, weights_kind kind, uint32_t layer,
              const safetensors *file, const char *name)
{
    const safetensors_tensor *t = safetensors_find(file, name);
    kernel_view v = weights_view(w, kind);
    char *got = NULL;
    assert_non_null(t);
    EXPECT_OK(mem_new(&got, t->bytes, 1));
    rig_fetch(got, v.buf, layer * v.stride * kernel_type_size(v.type),
              t->bytes);
    assert_memory_equal(got, t->data, t->bytes);
    mem_free(got);
}

/* Matrices of the file's type are its bytes; vectors are fp32. */
static void
as_stored(void **state)
{
    (void)state;
    static const char dir[] = "golden/armt-llama-bf16";
    model_config cfg = golden_config(dir);
    const weights_part all = {0, cfg.n_layer, true, true};
    safetensors *file = NULL;
    weights *w = NULL;
    EXPECT_OK(weights_open(&w, rig.dev, &cfg, &all, dir, WEIGHTS_STORED));
    const weights_types *types = weights_types_of(w);
    assert_int_equal(types->of[WEIGHTS_NORM1], KERNEL_F32);
    assert_int_equal(types->of[WEIGHTS_MEMORY], KERNEL_F32);
    assert_int_equal(types->of[WEIGHTS_GATE_UP], KERNEL_BF16);
    assert_int_equal(types->of[WEIGHTS_MEM_V], KERNEL_BF16);
    EXPECT_OK(safetensors_open(&file, dir));
    expect_stored(w, WEIGHTS_OUT, 1, file,
                  "memory_cell.model.model.layers.1.layer.self_attn.o_proj"
                  ".weight");
    expect_stored(w, WEIGHTS_EMBED, 0, file,
                  "memory_cell.model.model.embed_tokens.weight");
    assert_true(weights_bytes_typed(&cfg, &all, types) <
                weights_bytes(&cfg, &all, KERNEL_F32) * 6 / 10);
    safetensors_close(file);
    weights_free(w);
}

/* In 8 bits: the blocks' products and an untied head, nothing of the memory. */
static void
in_eight_bits(void **state)
{
    (void)state;
    static const struct {
        const char *dir;
        kernel_type head, rest;
    } cases[] = {
        {"golden/armt-llama-bf16", KERNEL_I8, KERNEL_BF16},
        {"golden/armt-gpt2", KERNEL_F32, KERNEL_F32},
    };
    for (size_t i = 0; i < 2; i++) {
        model_config cfg = golden_config(cases[i].dir);
        const weights_part all = {0, cfg.n_layer, true, true};
        weights *w = NULL;
        EXPECT_OK(
            weights_open(&w, rig.dev, &cfg, &all, cases[i].dir, WEIGHTS_INT8));
        const weights_types *types = weights_types_of(w);
        assert_int_equal(types->of[WEIGHTS_QKV], KERNEL_I8);
        assert_int_equal(types->of[WEIGHTS_DOWN], KERNEL_I8);
        assert_int_equal(types->of[WEIGHTS_HEAD], cases[i].head);
        assert_int_equal(types->of[WEIGHTS_EMBED], cases[i].rest);
        assert_int_equal(types->of[WEIGHTS_MEM_V], cases[i].rest);
        assert_int_equal(types->of[WEIGHTS_QKV_BIAS], KERNEL_F32);
        weights_free(w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves),
        cmocka_unit_test(bytes_by_row),
        cmocka_unit_test(as_stored),
        cmocka_unit_test(in_eight_bits),
    };
    return RIG_RUN(tests);
}
