/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's kernel calls against the formulas, in double precision: read,
 * block and write, fresh and later segments, short ones, frozen rows. */
#include <string.h>

#include "base/mem.h"
#include "tests/expect.h"
#include "tests/model/model_ref.h"

static const char *const devices[] = {"cpu", "cpu-async"};

static void
expect_head(model_bench *b, const kernel_cell *cell, double x[][D])
{
    float got[ROWS][VOCAB];
    double n[D], want[ROWS][VOCAB];
    kernel_sample_args greedy = {.top_p = 1};
    int32_t id = -1, best = 0;
    kernel_cell tokens = *cell;
    tokens.n_row -= cell->n_mem;
    tokens.n_mem = 0;
    EXPECT_OK(model_head(b->m, b->q, &b->buf, &tokens, 1, b->logits,
                         &(kernel_sample_op){.ids = b->ids, .args = &greedy}));
    model_bench_fetch(b, got, b->logits, 0, (size_t)tokens.n_row * VOCAB);
    model_bench_fetch(b, &id, b->ids, cell->slot, 1);
    for (uint32_t r = 0; r < tokens.n_row; r++) {
        model_ref_norm(n, x[r], model_bench_weight(b, WEIGHTS_NORM_F, 0, 0),
                       (double)b->cfg.norm_eps);
        model_ref_linear(b, want[r], n, WEIGHTS_HEAD, 0, VOCAB);
    }
    model_bench_expect("logits", got[0], want[0], (size_t)tokens.n_row * VOCAB);
    for (int32_t i = 0; i < VOCAB; i++)
        if (want[tokens.n_row - 1][i] > want[tokens.n_row - 1][best])
            best = i;
    assert_int_equal(id, best);
}

/* Three segments, the last one short, through all layers: fresh, then not. */
static void
check_document(model_bench *b, bool by_phase)
{
    static const uint32_t n_token[] = {SEGMENT, SEGMENT, 5};
    model_ref_layer s[LAYERS];
    double x[ROWS][D];
    memset(s, 0, sizeof s);
    EXPECT_OK(kernel_zero(b->q, b->buf.state.buf, 0,
                          kernel_buf_bytes(b->buf.state.buf)));
    for (uint32_t seg = 0; seg < 3; seg++) {
        kernel_cell c = {.slot = seg,
                         .n_row = n_token[seg] + MEM,
                         .n_mem = MEM,
                         .fresh = seg == 0};
        model_bench_embed(b, x, &c, seg);
        model_bench_expect_x(b, seg, x, c.n_row);
        for (uint32_t layer = 0; layer < LAYERS; layer++) {
            c.layer = c.state = c.kv = layer;
            s[layer].fresh = seg == 0;
            model_ref_read(b, x, c.n_row, &s[layer], layer);
            if (by_phase) {
                EXPECT_OK(
                    model_run(b->m, b->q, &b->buf, &c, 1, false, MODEL_READ));
                model_bench_expect_x(b, seg, x, c.n_row);
            }
            model_ref_block(b, x, c.n_row, 0, &s[layer], layer);
            model_ref_write(b, x, c.n_row, &s[layer], layer);
            EXPECT_OK(
                model_run(b->m, b->q, &b->buf, &c, 1, false,
                          by_phase ? MODEL_BLOCK | MODEL_WRITE : MODEL_ALL));
            model_bench_expect_x(b, seg, x, c.n_row);
            model_bench_expect_state(b, layer, &s[layer]);
        }
        expect_head(b, &c, x);
    }
}

static void
documents(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        model_bench *b = model_bench_open(devices[i % 2], i & 2, i & 4);
        check_document(b, i & 8);
        model_bench_close(b);
    }
}

/* x of two segments and the states, after a diagonal of groups or cell by
 * cell. */
static void
run_two(model_bench *b, bool grouped, float x[2][ROWS * D], float *states)
{
    double unused[ROWS][D];
    kernel_cell c[2] = {{.n_row = ROWS, .n_mem = MEM, .fresh = 1},
                        {.slot = 1, .n_row = 4 + MEM, .n_mem = MEM}};
    EXPECT_OK(kernel_zero(b->q, b->buf.state.buf, 0,
                          kernel_buf_bytes(b->buf.state.buf)));
    model_bench_embed(b, unused, &c[0], 1);
    model_bench_embed(b, unused, &c[1], 2);
    for (uint32_t t = 0; t <= LAYERS; t++) {
        kernel_cell group[2];
        uint32_t n = 0;
        for (uint32_t seg = 0; seg < 2; seg++) {
            if (t < seg || t - seg >= LAYERS)
                continue;
            group[n] = c[seg];
            group[n].layer = group[n].state = t - seg;
            n++;
        }
        for (uint32_t i = 0; i < n; i += grouped ? n : 1)
            EXPECT_OK(model_run(b->m, b->q, &b->buf, group + i, grouped ? n : 1,
                                false, MODEL_ALL));
    }
    model_bench_fetch(b, x[0], b->buf.x, 0, (size_t)c[0].n_row * D);
    model_bench_fetch(b, x[1], b->buf.x, 1, (size_t)c[1].n_row * D);
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        model_bench_fetch(b, states + (size_t)layer * STATE, b->buf.state,
                          layer, STATE);
}

/* A group gives every cell the bits that it has alone. */
static void
groups(void **state)
{
    (void)state;
    static float x[2][2][ROWS * D], states[2][LAYERS * STATE];
    for (unsigned i = 0; i < 2; i++) {
        model_bench *b = model_bench_open(devices[i], true, true);
        memset(x, 0, sizeof x);
        run_two(b, false, x[0], states[0]);
        run_two(b, true, x[1], states[1]);
        assert_memory_equal(x[0], x[1], sizeof x[0]);
        assert_memory_equal(states[0], states[1], sizeof states[0]);
        model_bench_close(b);
    }
}

/* Reads one segment into the memory, so that frozen rows find something. */
static void
read_segment(model_bench *b, model_ref_layer s[LAYERS])
{
    double x[ROWS][D];
    kernel_cell c = {.n_row = ROWS, .n_mem = MEM, .fresh = 1};
    memset(s, 0, LAYERS * sizeof *s);
    model_bench_embed(b, x, &c, 5);
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        c.layer = c.state = c.kv = layer;
        model_ref_block(b, x, ROWS, 0, &s[layer], layer);
        model_ref_write(b, x, ROWS, &s[layer], layer);
        s[layer].fresh = false;
        EXPECT_OK(model_run(b->m, b->q, &b->buf, &c, 1, false, MODEL_ALL));
    }
}

/* A prompt and single rows after it equal the same rows at once, and the
 * memory is only read. */
static void
check_frozen(model_bench *b)
{
    static model_ref_layer s[LAYERS];
    double x[ROWS][D];
    uint32_t prompt = 6, n_step = 4;
    read_segment(b, s);
    for (uint32_t step = 0; step <= n_step; step++) {
        uint32_t pos = step == 0 ? 0 : prompt + step - 1;
        kernel_cell c = {.slot = 2,
                         .row0 = pos,
                         .pos = pos,
                         .n_past = pos,
                         .n_row = step == 0 ? prompt : 1};
        model_bench_embed(b, x, &c, 31 + step);
        for (uint32_t layer = 0; layer < LAYERS; layer++) {
            float got[ROWS][D];
            c.layer = c.state = c.kv = layer;
            model_ref_read(b, x, c.n_row, &s[layer], layer);
            model_ref_block(b, x, c.n_row, pos, &s[layer], layer);
            EXPECT_OK(model_run(b->m, b->q, &b->buf, &c, 1, true, MODEL_ALL));
            model_bench_fetch(b, got, b->buf.x, c.slot, (size_t)ROWS * D);
            model_bench_expect("frozen x", got[pos], x[0], (size_t)c.n_row * D);
            model_bench_expect_state(b, layer, &s[layer]);
        }
    }
}

static void
frozen(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        model_bench *b = model_bench_open(devices[i % 2], i & 2, true);
        check_frozen(b);
        model_bench_close(b);
    }
}

/* A device with limits says which one a model is beyond. */
static void
limits_are_named(void **state)
{
    const kernel_info gpu = {
        .device = "cuda", .max_head = 512, .max_feature = 1536};
    const kernel_info cpu = {.device = "cpu"};
    model_config c;

    (void)state;
    EXPECT_OK(config_preset(&c, "tiny"));
    EXPECT_OK(model_supported(&c, &gpu));
    c.d_head = 512;
    c.d_mem = 4 * 1536;
    c.n_mem_head = 4;
    EXPECT_OK(model_supported(&c, &gpu));
    c.d_head = 513;
    EXPECT_ST(model_supported(&c, &gpu), ST_UNSUPPORTED);
    assert_non_null(strstr(status_text(), "heads of 513"));
    EXPECT_OK(model_supported(&c, &cpu));
    c.d_head = 64;
    c.n_mem_head = 3;
    EXPECT_ST(model_supported(&c, &gpu), ST_UNSUPPORTED);
    assert_non_null(strstr(status_text(), "d_mem 2048 a head"));
    c.memory = CONFIG_MEMORY_TOKENS;
    EXPECT_OK(model_supported(&c, &gpu));
}

/* What config.json may say and no working memory of a CPU holds. */
static void
a_cpu_has_limits_too(void **state)
{
    const kernel_config cfg = {.device = "cpu", .n_thread = 1};
    kernel_device *dev = NULL;
    kernel_info info;
    model_config c;

    (void)state;
    EXPECT_OK(kernel_open(&dev, &cfg));
    kernel_info_get(dev, &info);
    kernel_close(dev);
    EXPECT_OK(config_preset(&c, "tiny"));
    c.d_head = 1 << 17;
    c.d_mem = (1 << 16) - 2;
    c.n_mem_head = 1;
    c.n_vocab = 1 << 20;
    EXPECT_OK(model_supported(&c, &info));
    c.d_head++;
    EXPECT_ST(model_supported(&c, &info), ST_UNSUPPORTED);
    c.d_head--;
    c.d_mem++;
    EXPECT_ST(model_supported(&c, &info), ST_UNSUPPORTED);
    c.d_mem--;
    c.n_vocab++;
    EXPECT_ST(model_supported(&c, &info), ST_UNSUPPORTED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        cmocka_unit_test(groups),
        cmocka_unit_test(frozen),
        cmocka_unit_test(limits_are_named),
        cmocka_unit_test(a_cpu_has_limits_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
