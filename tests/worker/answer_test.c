/* SPDX-License-Identifier: Apache-2.0 */
/* An answer with a penalty and log-probabilities: the same ids on every device,
 * on a GPU in fp32 too, and log-probabilities that are near. */
#include <math.h>
#include <string.h>

#include "tests/expect.h"
#include "tests/worker/rig.h"
#include "worker/draw.h"

enum { SEGMENT = 40, N_READ = 3, N_PROMPT = 11, N_DRAW = 24, N_TOP = 5 };
enum { N_ID = N_READ * SEGMENT + N_PROMPT, N_VOCAB = 512 };

static const float near = 2e-4F;
#define PENALTY 1.3F

typedef struct how {
    const char *device, *compute;
    float temperature, penalty;
} how;

typedef struct answer {
    int32_t ids[N_ID];
    int32_t seen[N_ID + N_DRAW];
    uint32_t n_seen;
    engine_token token[N_DRAW];
    uint32_t n;
} answer;

static model_config
shape_of(void)
{
    model_config c;

    EXPECT_OK(config_preset(&c, "s256"));
    c.segment_size = SEGMENT;
    c.n_mem = 8;
    return c;
}

static void
on_token(void *ctx, uint32_t stream, const engine_segment *segment,
         const engine_token *token)
{
    answer *a = ctx;

    (void)stream;
    (void)segment;
    a->token[a->n++] = *token;
}

/* Ids that the penalty counts, each once. */
static void
see(answer *a, engine *e, const int32_t *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = 0;

        while (at < a->n_seen && a->seen[at] != ids[i])
            at++;
        if (at < a->n_seen)
            continue;
        a->seen[a->n_seen++] = ids[i];
        EXPECT_OK(engine_seen(e, 0, &ids[i], 1));
    }
}

static void
read_document(answer *a, engine *e)
{
    for (uint32_t seg = 0; seg < N_READ; seg++) {
        const engine_segment s = {
            .seg = seg,
            .past = {seg * SEGMENT, seg > 0 ? SEGMENT : 0},
            .n_token = SEGMENT};

        EXPECT_OK(engine_feed(e, 0, &s, a->ids + seg * SEGMENT));
        rig_run_all(e);
    }
}

static void
ask(answer *a, const how *h)
{
    const model_config shape = shape_of();
    const engine_sink sink = {.ctx = a, .token = on_token};
    const int32_t *next = a->ids + N_READ * SEGMENT;
    uint32_t pos = 0, n = N_PROMPT;
    rig r;

    *a = (answer){.n = 0};
    for (uint32_t i = 0; i < N_ID; i++)
        a->ids[i] = (int32_t)(draw_uniform(5, i) * (float)N_VOCAB);
    next = a->ids + N_READ * SEGMENT;
    rig_open(&r, &(rig_config){.shape = &shape,
                               .device = h->device,
                               .compute = h->compute,
                               .n_thread = 2,
                               .n_stream = 1,
                               .kv_cap = N_PROMPT + N_DRAW + 1});
    engine_sink_set(r.e, &sink);
    EXPECT_OK(engine_open(r.e, 0, true, 0));
    read_document(a, r.e);
    while (a->n < N_DRAW) {
        see(a, r.e, next, n);
        const engine_segment s = {.seg = N_READ,
                                  .past = {N_READ * SEGMENT, SEGMENT},
                                  .n_token = n,
                                  .pos = pos,
                                  .frozen = 1,
                                  .want = ENGINE_TOKEN | ENGINE_LOGPROBS,
                                  .sample = {.temperature = h->temperature,
                                             .top_p = 0.95F,
                                             .top_k = 40,
                                             .uniform = draw_uniform(9, a->n),
                                             .penalty = h->penalty,
                                             .n_seen = a->n_seen,
                                             .n_top = N_TOP}};
        EXPECT_OK(engine_feed(r.e, 0, &s, next));
        rig_run_all(r.e);
        pos += n;
        n = 1;
        next = &a->token[a->n - 1].id;
    }
    engine_close(r.e, 0);
    rig_close(&r);
}

/* How far log-probabilities are apart at most. */
static double
apart(const answer *a, const answer *b)
{
    double most = 0;

    for (uint32_t i = 0; i < N_DRAW; i++) {
        most = fmax(most,
                    fabs((double)(a->token[i].logprob - b->token[i].logprob)));
        for (uint32_t k = 0; k < N_TOP; k++)
            most = fmax(most, fabs((double)(a->token[i].top_logprob[k] -
                                            b->token[i].top_logprob[k])));
    }
    return most;
}

static uint32_t
same_ids(const answer *a, const answer *b)
{
    uint32_t n = 0;

    while (n < N_DRAW && a->token[n].id == b->token[n].id)
        n++;
    return n;
}

/* Greedy, and drawn. */
static const float temperatures[] = {0.0F, 0.8F};

static void
the_penalty_counts(void **state)
{
    answer a, plain;

    (void)state;
    ask(&a, &(how){"cpu", "f32", 0.0F, PENALTY});
    ask(&plain, &(how){"cpu", "f32", 0.0F, 1.0F});
    assert_true(same_ids(&a, &plain) < N_DRAW);
    for (uint32_t i = 0; i < N_DRAW; i++) {
        assert_int_equal(a.token[i].n_top, N_TOP);
        for (uint32_t k = 1; k < N_TOP; k++)
            assert_true(a.token[i].top_logprob[k] <=
                        a.token[i].top_logprob[k - 1]);
        assert_true(a.token[i].logprob <= a.token[i].top_logprob[0]);
    }
    assert_true(a.n_seen > N_PROMPT); /* ids that were drawn are new ones */
}

static void
cpu_devices_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        answer a, b;

        ask(&a, &(how){"cpu", "f32", temperatures[i], PENALTY});
        ask(&b, &(how){"cpu-async", "f32", temperatures[i], PENALTY});
        assert_int_equal(same_ids(&a, &b), N_DRAW);
        assert_true(apart(&a, &b) == 0);
    }
}

static void
a_gpu_agrees(void **state)
{
    kernel_device *dev = NULL;

    (void)state;
    if (kernel_open(&dev, &(kernel_config){.device = "cuda"}) != ST_OK) {
        print_message("  not run: %s\n", status_text());
        return;
    }
    kernel_close(dev);
    for (size_t i = 0; i < 2; i++) {
        answer cpu, full, half;

        ask(&cpu, &(how){"cpu", "f32", temperatures[i], PENALTY});
        ask(&full, &(how){"cuda", "f32", temperatures[i], PENALTY});
        ask(&half, &(how){"cuda", "bf16", temperatures[i], PENALTY});
        print_message("  temperature %g: fp32 %u of %d ids, log-probabilities "
                      "within %.1e; bf16 %u ids, not judged\n",
                      (double)temperatures[i], same_ids(&cpu, &full), N_DRAW,
                      apart(&cpu, &full), same_ids(&cpu, &half));
        assert_int_equal(same_ids(&cpu, &full), N_DRAW);
        assert_true(apart(&cpu, &full) <= (double)near);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_penalty_counts),
        cmocka_unit_test(cpu_devices_agree),
        cmocka_unit_test(a_gpu_agrees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
