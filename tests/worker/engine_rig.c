/* SPDX-License-Identifier: Apache-2.0 */
/* The same tests on every device, and jobs alone. */
#include "tests/worker/engine_rig.h"

engine_rig_on engine_rig = {
    .device = {"cpu", "cpu-async"}, .compute = "f32", .n_try = 20};

int32_t engine_rig_ids[ENGINE_RIG_JOB][ENGINE_RIG_ID];

int
engine_rig_everywhere(int (*run)(void))
{
    static const char *const types[] = {"f32", "bf16"};
    kernel_device *dev = NULL;
    int n_bad = run();

    if (kernel_open(&dev, &(kernel_config){.device = "cuda"}) != ST_OK) {
        print_message("on a GPU: not run: %s\n", status_text());
        return n_bad;
    }
    kernel_close(dev);
    for (size_t i = 0; i < 2; i++) {
        engine_rig = (engine_rig_on){
            .device = {"cuda", "cuda"}, .compute = types[i], .n_try = 3};
        print_message("on a GPU, %s\n", types[i]);
        n_bad += run();
    }
    return n_bad;
}

uint32_t
engine_rig_below(uint64_t *seed, uint32_t n)
{
    *seed =
        *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33) % n;
}

void
engine_rig_random(uint64_t *seed)
{
    for (size_t i = 0; i < ENGINE_RIG_JOB; i++) {
        for (size_t j = 0; j < ENGINE_RIG_ID; j++)
            engine_rig_ids[i][j] =
                (int32_t)engine_rig_below(seed, rig_shape().n_vocab);
    }
}

rig_config
engine_rig_config(const model_config *shape, uint32_t n_stream)
{
    return (rig_config){.shape = shape,
                        .device = engine_rig.device[0],
                        .compute = engine_rig.compute,
                        .n_thread = 1,
                        .n_stream = n_stream,
                        .max_token = ENGINE_RIG_TOKEN,
                        .kv_cap = ENGINE_RIG_KV};
}

/* What a job asks for, without what came of it. */
static rig_job
again(const rig_job *job)
{
    return (rig_job){.ids = job->ids,
                     .n_id = job->n_id,
                     .n_generate = job->n_generate,
                     .want_logits = job->want_logits,
                     .states = job->states,
                     .first_seg = job->first_seg,
                     .past = job->past};
}

void
engine_rig_alone(rig_job *out, const model_config *shape, const rig_job *jobs,
                 uint32_t n_job)
{
    rig_config how = engine_rig_config(shape, 1);
    rig r;

    how.order = WAVEFRONT_SEQUENTIAL;
    rig_open(&r, &how);
    for (uint32_t i = 0; i < n_job; i++) {
        out[i] = again(&jobs[i]);
        rig_run(&r, &out[i], 1);
    }
    rig_close(&r);
}

uint32_t
engine_rig_turn(rig *r, const engine_done **done)
{
    uint32_t n = 0;

    EXPECT_OK(engine_launch(r->e, &n));
    if (n > 0)
        EXPECT_OK(engine_collect(r->e, done, &n));
    return n;
}
