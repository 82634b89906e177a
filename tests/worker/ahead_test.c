/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of an answer that are enqueued before they are fed: what comes out is
 * what a device that never does it gives, whether they are fed or not. */
#include <string.h>

#include "base/mem.h"
#include "tests/expect.h"
#include "tests/worker/rig.h"

enum {
    N_READ = 2,
    N_PROMPT = 3,
    N_STEP = 14,
    N_AGAIN = 5,
    MOST_VOCAB = 512,
    WITH_LOGITS = 7, /* the step whose logits are wanted, too */
    WITH_OTHER = 11  /* the step beside which another stream reads */
};

/* Steps that are fed another id than the one drawn. */
static bool
is_other(uint32_t step)
{
    return step == 4 || step == 5 || step == 9;
}

/* 1 to 3, 6, 10 and 13 of the first answer: not those fed something else, nor
 * the ones in company or behind such; all but the first of the second. */
enum { N_AHEAD = 6 + N_AGAIN - 1 };

typedef struct answer {
    int32_t drawn[N_STEP + N_AGAIN + 2];
    uint32_t n;
    float logits[MOST_VOCAB];
    uint32_t n_logits;
    uint64_t n_ahead;
    bool grows;
} answer;

static void
on_token(void *ctx, uint32_t stream, const engine_segment *segment,
         const engine_token *token)
{
    answer *a = ctx;

    (void)segment;
    assert_int_equal(stream, 0);
    a->drawn[a->n++] = token->id;
}

static void
on_logits(void *ctx, uint32_t stream, const engine_segment *segment,
          uint32_t row0, uint32_t n_row, const float *logits)
{
    answer *a = ctx;

    (void)stream;
    (void)segment;
    (void)row0;
    assert_int_equal(n_row, 1);
    memcpy(a->logits, logits, a->n_logits * sizeof *logits);
}

/* Feeds N_READ segments and runs them. */
static void
read_document(const rig *r, uint32_t stream, uint32_t first)
{
    uint32_t size = r->cfg.segment_size;
    int32_t ids[64];

    assert_true(size <= 64);
    EXPECT_OK(engine_open(r->e, stream, true, 0));
    for (uint32_t seg = 0; seg < N_READ; seg++) {
        const engine_segment s = {.seg = seg,
                                  .past = {seg * size, seg > 0 ? size : 0},
                                  .n_token = size};

        for (uint32_t i = 0; i < size; i++)
            ids[i] = (int32_t)((first + 7 * i + seg) % r->cfg.n_vocab);
        EXPECT_OK(engine_feed(r->e, stream, &s, ids));
        rig_run_all(r->e);
    }
}

static engine_segment
frozen(const rig *r, uint32_t pos, uint32_t n)
{
    uint32_t size = r->cfg.segment_size;

    return (engine_segment){.seg = N_READ,
                            .past = {(uint64_t)N_READ * size, size},
                            .n_token = n,
                            .pos = pos,
                            .frozen = 1,
                            .want = ENGINE_TOKEN,
                            .sample = {.top_p = 1.0F}};
}

static void
ask(answer *a, const rig *r)
{
    const int32_t prompt[N_PROMPT] = {3, 1, 4};
    const engine_segment s = frozen(r, 0, N_PROMPT);

    EXPECT_OK(engine_feed(r->e, 0, &s, prompt));
    rig_run_all(r->e);
    assert_true(a->n > 0);
}

static void
step(answer *a, const rig *r, uint32_t i, bool plain)
{
    engine_segment s = frozen(r, N_PROMPT + i, 1);
    int32_t id = a->drawn[a->n - 1];

    if (plain && is_other(i))
        id = (id + 1) % (int32_t)r->cfg.n_vocab;
    if (plain && i == WITH_LOGITS)
        s.want |= ENGINE_LAST_LOGITS;
    EXPECT_OK(engine_feed(r->e, 0, &s, &id));
}

static void
run(answer *a, const model_config *shape, const char *device)
{
    const engine_sink sink = {.ctx = a, .token = on_token, .logits = on_logits};
    engine_counts counts;
    rig r;

    memset(a, 0, sizeof *a);
    rig_open(&r, &(rig_config){.shape = shape,
                               .device = device,
                               .n_thread = 1,
                               .n_stream = 2,
                               .max_token = 256,
                               .kv_cap = N_PROMPT + N_STEP + 1});
    a->grows = memory_of(&r.cfg)->grows;
    a->n_logits = (uint32_t)r.cfg.n_vocab;
    assert_true(a->n_logits <= MOST_VOCAB);
    engine_sink_set(r.e, &sink);
    read_document(&r, 0, 5);
    ask(a, &r);
    for (uint32_t i = 0; i < N_STEP; i++) {
        step(a, &r, i, true);
        if (i == WITH_OTHER)
            read_document(&r, 1, 40);
        rig_run_all(r.e);
    }
    engine_close(r.e, 1);
    engine_close(r.e, 0);
    read_document(&r, 0, 23);
    ask(a, &r);
    for (uint32_t i = 0; i < N_AGAIN; i++) {
        step(a, &r, i, false);
        rig_run_all(r.e);
    }
    engine_counts_get(r.e, &counts);
    a->n_ahead = counts.n_ahead;
    rig_close(&r);
}

static void
steps_ahead_are_those_fed(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < RIG_N_VARIANT; i++) {
        const model_config shape = rig_variant(i);
        answer a, b;

        run(&a, &shape, "cpu");
        run(&b, &shape, "cpu-async");
        assert_int_equal(a.n, N_STEP + N_AGAIN + 2);
        assert_int_equal(b.n, a.n);
        assert_memory_equal(a.drawn, b.drawn, sizeof a.drawn);
        assert_memory_equal(a.logits, b.logits, a.n_logits * sizeof(float));
        assert_int_equal(a.n_ahead, 0);
        assert_int_equal(b.n_ahead, b.grows ? 0 : N_AHEAD);
    }
}

/* ------------------------------------------------------------- a GPU --- */

enum { N_LONG = 80 };

typedef struct talk {
    int32_t drawn[2][N_LONG + 1];
    uint32_t n[2];
} talk;

static void
on_word(void *ctx, uint32_t stream, const engine_segment *segment,
        const engine_token *token)
{
    talk *t = ctx;

    (void)segment;
    t->drawn[stream][t->n[stream]++] = token->id;
}

/* One stream or two answer, step by step; how many steps were ahead. */
static uint64_t
talk_on(talk *t, uint32_t n_stream)
{
    const engine_sink sink = {.ctx = t, .token = on_word};
    const int32_t prompt[2][N_PROMPT] = {{3, 1, 4}, {2, 7, 1}};
    model_config shape;
    engine_counts counts;
    rig r;

    memset(t, 0, sizeof *t);
    EXPECT_OK(config_preset(&shape, "s256"));
    shape.segment_size = 40;
    shape.n_mem = 8;
    rig_open(&r, &(rig_config){.shape = &shape,
                               .device = "cuda",
                               .compute = "bf16",
                               .n_stream = 2,
                               .kv_cap = N_PROMPT + N_LONG + 1});
    engine_sink_set(r.e, &sink);
    for (uint32_t i = 0; i < n_stream; i++)
        read_document(&r, i, 5 + i);
    for (uint32_t step = 0; step <= N_LONG; step++) {
        for (uint32_t i = 0; i < n_stream; i++) {
            uint32_t n = step == 0 ? N_PROMPT : 1;
            const engine_segment s =
                frozen(&r, step == 0 ? 0 : N_PROMPT + step - 1, n);

            EXPECT_OK(engine_feed(
                r.e, i, &s, step == 0 ? prompt[i] : &t->drawn[i][step - 1]));
        }
        rig_run_all(r.e);
    }
    engine_counts_get(r.e, &counts);
    rig_close(&r);
    return counts.n_ahead;
}

/* Alone, with steps ahead, an answer has the bits that it has in company,
 * without. */
static void
a_gpu_gives_the_same_answer(void **state)
{
    kernel_device *dev = NULL;
    talk alone, both;

    (void)state;
    if (kernel_open(&dev, &(kernel_config){.device = "cuda"}) != ST_OK) {
        print_message("  not run: %s\n", status_text());
        return;
    }
    kernel_close(dev);
    assert_int_equal(talk_on(&alone, 1), N_LONG - 1);
    assert_int_equal(talk_on(&both, 2), 0);
    assert_int_equal(alone.n[0], N_LONG + 1);
    assert_memory_equal(alone.drawn[0], both.drawn[0], sizeof alone.drawn[0]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_ahead_are_those_fed),
        cmocka_unit_test(a_gpu_gives_the_same_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
