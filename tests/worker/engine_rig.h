/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the engine share: devices to run on, ids and shapes at
 * random, and what a job gives alone. */
#ifndef TESTS_WORKER_ENGINE_RIG_H
#define TESTS_WORKER_ENGINE_RIG_H

#include "tests/expect.h"
#include "tests/worker/rig.h"

enum {
    ENGINE_RIG_JOB = 4,
    ENGINE_RIG_ID = 80,
    ENGINE_RIG_KV = 64,
    ENGINE_RIG_TOKEN = 100
};

/* What the tests run on now. */
typedef struct engine_rig_on {
    const char *device[2]; /* for ranks 0 and 1, and turns */
    const char *compute;
    uint32_t n_try; /* of each variant */
} engine_rig_on;
extern engine_rig_on engine_rig;

/* Calls run() on the CPU and, where there is a GPU, on that with each type of
 * numbers; the failures of all. */
int engine_rig_everywhere(int (*run)(void));

/* Below `n`, from this state. */
uint32_t engine_rig_below(uint64_t *seed, uint32_t n);
extern int32_t engine_rig_ids[ENGINE_RIG_JOB][ENGINE_RIG_ID];
/* Fills them for rig_shape(). */
void engine_rig_random(uint64_t *seed);

/* One thread on the first device, with room for what tests ask. */
rig_config engine_rig_config(const model_config *shape, uint32_t n_stream);
/* Each job alone, segment by segment; rig_job_free(). */
void engine_rig_alone(rig_job *out, const model_config *shape,
                      const rig_job *jobs, uint32_t n_job);
/* One group, if any can run: how many cells were in it. */
uint32_t engine_rig_turn(rig *r, const engine_done **done);

#endif
