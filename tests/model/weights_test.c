/* SPDX-License-Identifier: Apache-2.0 */
/* Stacked weights: where rows go, what random values are, and that every part
 * of a model agrees with the whole. */
#include "model/weights.h"

#include <math.h>

#include "tests/model/rig.h"

static model_config
tiny(void)
{
    return (model_config){.n_layer = 5,
                          .d_model = 48,
                          .n_head = 6,
                          .n_kv_head = 2,
                          .d_head = 10,
                          .d_ffn = 72,
                          .n_vocab = 300,
                          .norm_eps = 1e-5f,
                          .rope = {.theta = 10000, .d_rot = 10},
                          .segment_size = 16,
                          .n_mem = 4,
                          .d_mem = 8,
                          .n_mem_head = 1,
                          .denom = true,
                          .bos = -1};
}

/* Item `item` of a kind; mem_free(). */
static float *
fetch(const weights *w, weights_kind kind, size_t item, size_t *n)
{
    size_t rows = 0, cols = 0;
    float *values = NULL;
    kernel_view v = weights_view(w, kind);
    weights_shape(weights_config_of(w), kind, &rows, &cols);
    *n = rows * cols;
    EXPECT_OK(mem_new(&values, *n, sizeof *values));
    rig_fetch(values, v.buf, item * v.stride * sizeof *values,
              *n * sizeof *values);
    return values;
}

static weights *
random_weights(const model_config *cfg, weights_part part, uint64_t seed)
{
    weights *w = NULL;
    EXPECT_OK(weights_new(&w, rig.dev, cfg, &part));
    EXPECT_OK(weights_randomize(w, seed));
    return w;
}

static bool
same(const weights *a, size_t item_a, const weights *b, size_t item_b,
     weights_kind kind)
{
    size_t n = 0;
    float *x = fetch(a, kind, item_a, &n), *y = fetch(b, kind, item_b, &n);
    bool equal = memcmp(x, y, n * sizeof *x) == 0;
    mem_free(x);
    mem_free(y);
    return equal;
}

static void
shapes(void **state)
{
    (void)state;
    model_config cfg = tiny();
    static const struct {
        weights_kind kind;
        size_t rows, cols;
    } want[] = {
        {WEIGHTS_NORM1, 1, 48},     {WEIGHTS_QKV, 100, 48},
        {WEIGHTS_OUT, 48, 60},      {WEIGHTS_GATE_UP, 144, 48},
        {WEIGHTS_DOWN, 48, 72},     {WEIGHTS_MEM_Q, 8, 48},
        {WEIGHTS_MEM_V, 48, 48},    {WEIGHTS_MEM_B, 1, 48},
        {WEIGHTS_MEM_B_BIAS, 1, 1}, {WEIGHTS_EMBED, 300, 48},
        {WEIGHTS_MEMORY, 4, 48},    {WEIGHTS_ROPE, 1, 5},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        size_t rows = 0, cols = 0;
        weights_shape(&cfg, want[i].kind, &rows, &cols);
        assert_int_equal(rows, want[i].rows);
        assert_int_equal(cols, want[i].cols);
    }
}

/* What is asked for is what is said, tied or not, for every kind of part. */
static void
bytes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        model_config cfg = tiny();
        weights_part part = {1, 3, i & 1, i & 2};
        cfg.tied_head = i & 4;
        weights *w = random_weights(&cfg, part, 1);
        size_t sum = 0;
        for (weights_kind kind = 0; kind < WEIGHTS_N_KIND; kind++) {
            kernel_view v = weights_view(w, kind);
            bool tied = kind == WEIGHTS_HEAD && cfg.tied_head && part.embed;
            if (tied)
                assert_ptr_equal(v.buf, weights_view(w, WEIGHTS_EMBED).buf);
            else if (v.buf != NULL)
                sum += kernel_buf_bytes(v.buf);
        }
        assert_int_equal(weights_bytes(&cfg, &part, KERNEL_F32), sum);
        assert_true(weights_bytes(&cfg, &part, KERNEL_BF16) < sum);
        assert_int_equal(weights_part_of(w)->layer_first, 1);
        weights_free(w);
    }
}

static void
parts_agree(void **state)
{
    (void)state;
    model_config cfg = tiny();
    for (unsigned tied = 0; tied < 2; tied++) {
        cfg.tied_head = tied;
        weights *all =
            random_weights(&cfg, (weights_part){0, 5, true, true}, 9);
        weights *low =
            random_weights(&cfg, (weights_part){0, 2, true, false}, 9);
        weights *high =
            random_weights(&cfg, (weights_part){2, 3, false, true}, 9);
        weights *other =
            random_weights(&cfg, (weights_part){2, 3, false, true}, 10);
        for (weights_kind kind = 0; kind < WEIGHTS_N_LAYER_KIND; kind++) {
            for (uint32_t layer = 0; layer < 5 && weights_has(&cfg, kind);
                 layer++)
                assert_true(same(all, layer, layer < 2 ? low : high,
                                 layer < 2 ? layer : layer - 2, kind));
        }
        assert_true(same(all, 0, low, 0, WEIGHTS_EMBED));
        assert_true(same(all, 0, low, 0, WEIGHTS_MEMORY));
        assert_true(same(all, 0, high, 0, WEIGHTS_HEAD));
        assert_true(same(all, 0, high, 0, WEIGHTS_NORM_F));
        assert_false(same(all, 2, other, 0, WEIGHTS_QKV));
        assert_false(same(all, 0, all, 1, WEIGHTS_QKV));
        weights_free(all);
        weights_free(low);
        weights_free(high);
        weights_free(other);
    }
}

/* Mean and spread of a kind over all of an item. */
static void
expect_law(const weights *w, weights_kind kind, double mean, double spread)
{
    size_t n = 0;
    float *x = fetch(w, kind, 1, &n);
    double sum = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
        square += (double)x[i] * (double)x[i];
    }
    sum /= (double)n;
    square = sqrt(fmax(square / (double)n - sum * sum, 0));
    assert_true(fabs(sum - mean) <= 4 * spread / sqrt((double)n));
    assert_true(fabs(square - spread) <= 4 * spread / sqrt((double)n));
    mem_free(x);
}

static void
random_laws(void **state)
{
    (void)state;
    model_config cfg = tiny();
    weights *w = random_weights(&cfg, (weights_part){0, 5, true, true}, 3);
    expect_law(w, WEIGHTS_QKV, 0, 1 / sqrt(48));
    expect_law(w, WEIGHTS_OUT, 0, 1 / sqrt(60));
    expect_law(w, WEIGHTS_DOWN, 0, 1 / sqrt(72));
    expect_law(w, WEIGHTS_MEM_V, 0, 0.1 / sqrt(48));
    expect_law(w, WEIGHTS_NORM1, 1, 0);
    expect_law(w, WEIGHTS_NORM2, 1, 0);
    expect_law(w, WEIGHTS_MEM_B_BIAS, -4, 0);
    weights_free(w);
}

/* A table of more values than are made at a time does not repeat itself. */
static void
random_chunks(void **state)
{
    (void)state;
    model_config cfg = tiny();
    size_t n = 0, chunk = (size_t)CONFIG_MAX_WIDTH / 48 * 48;
    cfg.n_vocab = 30000;
    weights *w = random_weights(&cfg, (weights_part){0, 1, true, false}, 3);
    float *x = fetch(w, WEIGHTS_EMBED, 0, &n);
    assert_true(n > chunk + 48);
    assert_memory_not_equal(x, x + chunk, 48 * sizeof *x);
    assert_memory_not_equal(x + chunk - 48, x + n - 48, 48 * sizeof *x);
    mem_free(x);
    weights_free(w);
}

/* Rows put one run at a time come back where they belong, and nothing else
 * changes. */
static void
rows_in_place(void **state)
{
    (void)state;
    model_config cfg = tiny();
    weights *w = NULL;
    float rows[3 * 48];
    size_t n = 0;
    EXPECT_OK(
        weights_new(&w, rig.dev, &cfg, &(weights_part){2, 3, false, false}));
    for (size_t i = 0; i < 3 * 48; i++)
        rows[i] = 1 + (float)i;
    EXPECT_OK(weights_put(w, WEIGHTS_QKV, 3, 60 * 48, 3 * 48, rows));
    for (size_t item = 0; item < 3; item++) {
        float *x = fetch(w, WEIGHTS_QKV, item, &n);
        for (size_t i = 0; i < n; i++) {
            bool here = item == 1 && i >= 60 * 48 && i < 63 * 48;
            assert_true(x[i] == (here ? rows[i - (size_t)60 * 48] : 0.0f));
        }
        mem_free(x);
    }
    weights_free(w);
}

/* Llama 3.2's scaling over d_head 64 meets all three ranges. */
static void
rope_frequencies(void **state)
{
    (void)state;
    model_config cfg = tiny();
    size_t n = 0, n_range[3] = {0};
    cfg.d_head = 64;
    cfg.rope = (config_rope){.theta = 500000,
                             .d_rot = 64,
                             .factor = 32,
                             .low_freq_factor = 1,
                             .high_freq_factor = 4,
                             .original_max_position = 8192};
    for (unsigned scaled = 0; scaled < 2; scaled++) {
        cfg.rope.kind = scaled ? CONFIG_ROPE_LLAMA3 : CONFIG_ROPE_PLAIN;
        weights *w = random_weights(&cfg, (weights_part){0, 1, 0, 0}, 1);
        float *freq = fetch(w, WEIGHTS_ROPE, 0, &n);
        assert_int_equal(n, 32);
        for (size_t i = 0; i < n; i++) {
            double want = exp(-2.0 * (double)i / 64 * log(500000));
            double wave = 2 * 3.14159265358979323846 / want;
            int range = wave > 8192 ? 2 : wave < 2048 ? 0 : 1;
            double t = (8192 / wave - 1) / 3;
            if (scaled && range == 2)
                want /= 32;
            if (scaled && range == 1)
                want = (1 - t) * want / 32 + t * want;
            n_range[range]++;
            assert_true(fabs((double)freq[i] - want) <= 1e-7 * want);
        }
        mem_free(freq);
        weights_free(w);
    }
    assert_true(n_range[0] > 0 && n_range[1] > 0 && n_range[2] > 0);
}

/* What is written through the address is what a copy from the device sees, in
 * the very rows that it names. */
static void
host_addresses(void **state)
{
    (void)state;
    model_config cfg = tiny();
    const float mark[] = {3, 5, 7};
    weights *w = random_weights(&cfg, (weights_part){1, 3, true, true}, 1);
    float *host = weights_host(w, WEIGHTS_OUT, 2, 130);
    if (strcmp(rig.device, "cpu") != 0) {
        assert_null(host);
    } else {
        size_t n = 0;
        float *before = fetch(w, WEIGHTS_OUT, 1, &n);
        memcpy(host, mark, sizeof mark);
        memcpy(before + 130, mark, sizeof mark);
        float *after = fetch(w, WEIGHTS_OUT, 1, &n);
        assert_memory_equal(after, before, n * sizeof *after);
        mem_free(before);
        mem_free(after);
    }
    weights_free(w);
}

/* One byte too few, and what half of the layers need. */
static void
fits_or_says_what_would(void **state)
{
    model_config cfg;
    weights_types types;
    (void)state;
    EXPECT_OK(config_preset(&cfg, "armt-llama-8b"));
    weights_types_of_compute(&types, KERNEL_BF16);
    const weights_part all = {
        .n_layer = cfg.n_layer, .embed = true, .head = true};
    weights_part half = all;
    half.n_layer = cfg.n_layer / 2;
    uint64_t need = weights_bytes_typed(&cfg, &all, &types);
    EXPECT_OK(weights_fit(&cfg, &all, &types, need));
    EXPECT_ST(weights_fit(&cfg, &all, &types, need - 1), ST_NOMEM);
    assert_non_null(strstr(status_text(), ": 31 layers would fit"));
    EXPECT_ST(weights_fit(&cfg, &all, &types,
                          weights_bytes_typed(&cfg, &half, &types)),
              ST_NOMEM);
    assert_non_null(strstr(status_text(), ": 16 layers would fit"));
    EXPECT_ST(weights_fit(&cfg, &all, &types, 0), ST_NOMEM);
    assert_non_null(strstr(status_text(), ": 0 layers would fit"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(bytes),
        cmocka_unit_test(parts_agree),
        cmocka_unit_test(random_laws),
        cmocka_unit_test(random_chunks),
        cmocka_unit_test(rows_in_place),
        cmocka_unit_test(rope_frequencies),
        cmocka_unit_test(host_addresses),
        cmocka_unit_test(fits_or_says_what_would),
    };
    return RIG_RUN(tests);
}
