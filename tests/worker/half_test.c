/* SPDX-License-Identifier: Apache-2.0 */
/* A whole model in bf16 against the same weights in fp32, on a GPU: the
 * relative norm of the difference of all logits.
 *
 * usage: test_worker_half [OUT]; with OUT, a file, what PyTorch needs to do
 * the same (tests/bench/torch_half.py). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/random.h"
#include "tests/expect.h"
#include "tests/worker/rig.h"

enum { N_SEGMENT = 16, SEGMENT = 128, N_ID = N_SEGMENT * SEGMENT };

static const double most = 3e-2;
static const char *out_path;
static int32_t ids[N_ID];

static model_config
shape_of(void)
{
    return (model_config){.n_layer = 8,
                          .d_model = 1024,
                          .n_head = 16,
                          .n_kv_head = 4,
                          .d_head = 64,
                          .d_ffn = 2816,
                          .n_vocab = 512,
                          .norm_eps = 1e-5f,
                          .rope = {.theta = 1e4, .d_rot = 64},
                          .segment_size = SEGMENT,
                          .n_mem = 16,
                          .d_mem = 64,
                          .n_mem_head = 1,
                          .correction = true,
                          .denom = true,
                          .bos = -1};
}

/* What is the same number in both types. */
static float
round_half(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000U;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Laws of weights_randomize(), with numbers that bf16 has. */
static kernel_random
law_of(weights_kind kind, uint32_t layer, size_t cols)
{
    bool one = kind == WEIGHTS_NORM1 || kind == WEIGHTS_NORM2 ||
               kind == WEIGHTS_NORM_F;
    kernel_random law = {.key = random_mix((uint64_t)kind << 32 | layer),
                         .mean = one ? 1.0f : 0.0f,
                         .spread = one ? 0.0f : 1.0f / sqrtf((float)cols)};

    if (kind == WEIGHTS_MEM_B_BIAS)
        law = (kernel_random){.mean = -4.0f};
    if (kind == WEIGHTS_EMBED)
        law.spread = 1.0f;
    if (kind == WEIGHTS_MEM_V || kind == WEIGHTS_MEM_B)
        law.spread *= 0.1f;
    return law;
}

static status
fill_item(weights *w, weights_kind kind, uint32_t layer, FILE *out)
{
    size_t rows = 0, cols = 0, n;
    float *x = NULL;
    status st = ST_OK;

    weights_shape(weights_config_of(w), kind, &rows, &cols);
    n = rows * cols;
    kernel_random law = law_of(kind, layer, cols);
    TRY(mem_new(&x, n, sizeof *x));
    for (size_t i = 0; i < n; i++)
        x[i] = round_half(random_value(&law, i));
    if (out != NULL && fwrite(x, sizeof *x, n, out) != n)
        TRY(status_fail(ST_IO, "cannot write weights"));
    TRY(weights_put(w, kind, layer, 0, n, x));
fail:
    mem_free(x);
    return st;
}

/* Also written to a file, where one is given: kind by kind, layer by layer. */
static status
fill(weights *w, const void *ctx)
{
    const model_config *cfg = weights_config_of(w);
    FILE *out = ctx != NULL ? fopen(ctx, "wb") : NULL;
    status st = ST_OK;

    for (weights_kind kind = 0; kind < WEIGHTS_ROPE; kind++) {
        uint32_t n = kind < WEIGHTS_N_LAYER_KIND ? cfg->n_layer : 1;
        for (uint32_t i = 0; i < n && weights_has(cfg, kind); i++)
            TRY(fill_item(w, kind, i, out));
    }
    if (out != NULL && fwrite(ids, sizeof *ids, N_ID, out) != N_ID)
        TRY(status_fail(ST_IO, "cannot write ids"));
fail:
    if (out != NULL && fclose(out) != 0 && st == ST_OK)
        st = status_fail(ST_IO, "cannot write weights");
    return st;
}

static void
run(rig_job *job, const char *compute, wavefront_order order)
{
    const model_config shape = shape_of();
    rig r;

    EXPECT_OK(config_check(&shape));
    rig_open(&r, &(rig_config){.shape = &shape,
                               .fill = fill,
                               .fill_ctx = compute[0] == 'f' ? out_path : NULL,
                               .device = "cuda",
                               .compute = compute,
                               .order = order,
                               .n_stream = 1});
    *job = (rig_job){.ids = ids, .n_id = N_ID, .want_logits = true};
    rig_run(&r, job, 1);
    rig_close(&r);
}

static double
difference(const float *a, const float *b, size_t n)
{
    double error = 0, all = 0;

    for (size_t i = 0; i < n; i++) {
        double e = (double)a[i] - (double)b[i];
        error += e * e;
        all += (double)b[i] * (double)b[i];
    }
    return sqrt(error / all);
}

static void
test_half_is_near(void **state)
{
    size_t n = (size_t)N_ID * shape_of().n_vocab;
    rig_job full, half, turn;
    double e;

    (void)state;
    for (size_t i = 0; i < N_ID; i++)
        ids[i] = (int32_t)(random_mix(i) % shape_of().n_vocab);
    run(&full, "f32", WAVEFRONT_DIAGONAL);
    run(&half, "bf16", WAVEFRONT_DIAGONAL);
    run(&turn, "bf16", WAVEFRONT_SEQUENTIAL);
    assert_memory_equal(half.logits, turn.logits, n * sizeof(float));
    e = difference(half.logits, full.logits, n);
    print_message("  bf16 against fp32: relative norm of the difference %.3e\n",
                  e);
    assert_true(e > 0); /* fp32 twice would prove nothing */
    assert_true(e <= most);
    rig_job_free(&full);
    rig_job_free(&half);
    rig_job_free(&turn);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_half_is_near)};
    kernel_device *dev = NULL;

    if (argc == 2)
        out_path = argv[1];
    if (kernel_open(&dev, &(kernel_config){.device = "cuda"}) != ST_OK) {
        print_message("skipped: %s\n", status_text());
        return 77;
    }
    kernel_close(dev);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
