/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds jobs as there is room, and keeps what comes out. */
#include "tests/worker/rig.h"

#include <string.h>

#include "base/mem.h"
#include "sched/segment.h"
#include "tests/expect.h"

model_config
rig_shape(void)
{
    return (model_config){.n_layer = 3,
                          .d_model = 32,
                          .n_head = 4,
                          .n_kv_head = 2,
                          .d_head = 8,
                          .d_ffn = 40,
                          .n_vocab = 70,
                          .norm_eps = 1e-5f,
                          .rope = {.theta = 1e4, .d_rot = 8},
                          .segment_size = 8,
                          .n_mem = 2,
                          .d_mem = 4,
                          .n_mem_head = 1,
                          .correction = true,
                          .denom = true,
                          .bos = -1};
}

static void
load(weights *w, const char *dir)
{
    if (dir != NULL)
        EXPECT_OK(weights_load(w, dir));
    else
        EXPECT_OK(weights_randomize(w, 7));
}

/* ------------------------------------------------------------- outputs --- */

static void
on_logits(void *ctx, uint32_t stream, const engine_segment *s, uint32_t row0,
          uint32_t n_row, const float *logits)
{
    rig *r = ctx;
    rig_job *job = &r->job[stream];
    size_t n_vocab = r->cfg.n_vocab;
    if (s->frozen) {
        assert_int_equal(n_row, 1);
        assert_true(job->n_gen < job->n_generate);
        memcpy(job->gen_logits + job->n_gen * n_vocab, logits,
               n_vocab * sizeof *logits);
        return;
    }
    uint64_t row =
        segment_start(s->seg - job->first_seg, r->cfg.segment_size) + row0;
    assert_int_equal(row, job->n_row_seen); /* in token order */
    assert_true(row + n_row <= job->n_id);
    memcpy(job->logits + row * n_vocab, logits,
           n_row * n_vocab * sizeof *logits);
    job->n_row_seen += n_row;
}

static void
on_token(void *ctx, uint32_t stream, const engine_segment *s, int32_t id)
{
    rig *r = ctx;
    rig_job *job = &r->job[stream];
    assert_true(s->frozen && job->n_gen < job->n_generate);
    job->gen_ids[job->n_gen++] = id;
}

static void
on_rows(void *ctx, uint32_t stream, const engine_segment *s, uint32_t layer,
        int point, uint32_t n_row, const float *rows)
{
    rig *r = ctx;
    r->rows(r->rows_ctx, stream, s, layer, point, n_row, rows);
}

/* ------------------------------------------------------------ open/close -- */

static weights_part
part_of(const place *p)
{
    weights_part part;
    place_layers(p, p->rank, &part.layer_first, &part.n_layer);
    part.embed = part.layer_first == 0;
    part.head = part.layer_first + part.n_layer == p->n_layer;
    return part;
}

void
rig_open(rig *r, const rig_config *cfg)
{
    kernel_config kc = {.device = cfg->device, .n_thread = cfg->n_thread};
    engine_config ec = {.order = cfg->order,
                        .n_stream = cfg->n_stream,
                        .n_slot = cfg->n_slot,
                        .kv_cap = cfg->kv_cap,
                        .max_cell = cfg->max_cell};
    weights *w = NULL;
    model *m = NULL;

    *r = (rig){0};
    EXPECT_OK(kernel_open(&r->dev, &kc));
    if (cfg->dir != NULL)
        EXPECT_OK(config_load(&r->cfg, cfg->dir));
    else
        r->cfg = *cfg->shape;
    ec.place = cfg->place;
    if (ec.place.size == 0)
        ec.place = (place){.n_layer = r->cfg.n_layer, .size = 1};
    weights_part part = part_of(&ec.place);
    EXPECT_OK(weights_new(&w, r->dev, &r->cfg, &part));
    load(w, cfg->dir);
    EXPECT_OK(model_new(&m, r->dev, &r->cfg, w, cfg->n_stream * r->cfg.n_layer,
                        r->cfg.segment_size + r->cfg.n_mem));
    EXPECT_OK(engine_new(&r->e, r->dev, m, &ec));
}

void
rig_close(rig *r)
{
    engine_free(r->e);
    kernel_close(r->dev);
    *r = (rig){0};
}

size_t
rig_states_len(const rig *r)
{
    return r->cfg.n_layer * config_state_size(&r->cfg);
}

/* -------------------------------------------------------------- states --- */

static void
read_state(rig *r, uint32_t id, uint32_t layer, float *states)
{
    engine_place at;
    engine_state_place(r->e, id, layer, &at);
    assert_int_equal(at.len, config_state_size(&r->cfg) * sizeof(float));
    EXPECT_OK(
        engine_read(r->e, &at, states + layer * config_state_size(&r->cfg)));
}

static void
write_states(rig *r, uint32_t id, const float *states)
{
    for (uint32_t layer = 0; layer < r->cfg.n_layer; layer++) {
        engine_place at;
        engine_state_place(r->e, id, layer, &at);
        EXPECT_OK(engine_write(r->e, &at,
                               states + layer * config_state_size(&r->cfg)));
    }
}

/* ---------------------------------------------------------------- jobs --- */

static void
job_open(rig *r, uint32_t id)
{
    rig_job *job = &r->job[id];
    size_t n_state = rig_states_len(r);

    job->open = true;
    job->n_segment = segment_count(job->n_id, r->cfg.segment_size);
    EXPECT_OK(
        mem_new(&job->logits, job->n_id * r->cfg.n_vocab, sizeof *job->logits));
    EXPECT_OK(mem_new(&job->first_states, n_state, sizeof(float)));
    EXPECT_OK(mem_new(&job->final_states, n_state, sizeof(float)));
    EXPECT_OK(mem_new(&job->gen_ids, job->n_generate, sizeof(int32_t)));
    EXPECT_OK(mem_new(&job->gen_logits,
                      (size_t)job->n_generate * r->cfg.n_vocab, sizeof(float)));
    EXPECT_OK(engine_open(r->e, id, true, job->priority));
    if (job->states != NULL)
        write_states(r, id, job->states);
}

static void
job_close(rig *r, uint32_t id)
{
    for (uint32_t layer = 0; layer < r->cfg.n_layer; layer++)
        read_state(r, id, layer, r->job[id].final_states);
    engine_close(r->e, id);
    r->job[id].open = false;
    r->job[id].finished = true;
}

void
rig_job_free(rig_job *job)
{
    mem_free(job->logits);
    mem_free(job->first_states);
    mem_free(job->final_states);
    mem_free(job->gen_ids);
    mem_free(job->gen_logits);
    *job = (rig_job){0};
}

static engine_segment
segment_of(const rig *r, const rig_job *job, uint64_t index)
{
    uint32_t size = r->cfg.segment_size;
    return (engine_segment){.seg = job->first_seg + index,
                            .n_token = segment_tokens(index, job->n_id, size),
                            .want = job->want_logits ? ENGINE_LOGITS : 0};
}

/* The prompt, or the step behind the token drawn last. */
static void
feed_frozen(rig *r, uint32_t id)
{
    rig_job *job = &r->job[id];
    uint64_t last = job->n_segment - 1;
    engine_segment s = segment_of(r, job, last);
    const int32_t *ids = job->ids + segment_start(last, r->cfg.segment_size);

    if (job->n_gen > 0) {
        s.n_token = 1;
        ids = job->gen_ids + job->n_gen - 1;
    }
    s.frozen = 1;
    s.pos = job->n_row;
    s.want = ENGINE_TOKEN | ENGINE_LAST_LOGITS;
    s.sample = job->sample != NULL ? job->sample[job->n_gen]
                                   : (kernel_sample_args){.top_p = 1};
    EXPECT_OK(engine_feed(r->e, id, &s, ids));
    job->n_row += s.n_token;
    job->n_fed++;
}

static void
job_feed(rig *r, uint32_t id)
{
    rig_job *job = &r->job[id];
    uint64_t n_write = job->n_segment - (job->n_generate > 0);
    while (job->n_fed < n_write && engine_room(r->e, id) > 0) {
        engine_segment s = segment_of(r, job, job->n_fed);
        EXPECT_OK(engine_feed(
            r->e, id, &s,
            job->ids + segment_start(job->n_fed, r->cfg.segment_size)));
        job->n_fed++;
    }
    bool due =
        job->n_fed == n_write + job->n_gen && job->n_gen < job->n_generate;
    if (due && engine_room(r->e, id) > 0)
        feed_frozen(r, id);
}

static bool
job_ended(const rig_job *job)
{
    uint64_t n = job->n_segment;
    return job->n_done == (job->n_generate > 0 ? n - 1 + job->n_generate : n);
}

/* One group; returns its number of cells. */
static uint32_t
step(rig *r)
{
    const engine_done *done = NULL;
    uint32_t n = 0, n_done = 0;
    bool reached = false;

    EXPECT_OK(engine_launch(r->e, &n));
    if (n == 0)
        return 0;
    EXPECT_OK(engine_poll(r->e, &reached));
    EXPECT_OK(engine_collect(r->e, &done, &n_done));
    assert_int_equal(n_done, n);
    for (uint32_t i = 0; i < n; i++) {
        rig_job *job = &r->job[done[i].stream];
        if (done[i].local_seg == 0)
            read_state(r, done[i].stream, done[i].layer, job->first_states);
        if (done[i].layer + 1 == r->cfg.n_layer) {
            assert_int_equal(done[i].local_seg, job->n_done);
            job->n_done++;
        }
    }
    return n;
}

static bool
all_finished(const rig *r)
{
    for (uint32_t i = 0; i < r->n_job; i++) {
        if (!r->job[i].finished)
            return false;
    }
    return true;
}

void
rig_run(rig *r, rig_job *jobs, uint32_t n_job)
{
    engine_sink sink = {.ctx = r,
                        .logits = on_logits,
                        .token = on_token,
                        .rows = r->rows != NULL ? on_rows : NULL};
    r->job = jobs;
    r->n_job = n_job;
    engine_sink_set(r->e, &sink);
    for (uint64_t group = 0; !all_finished(r); group++) {
        bool waits = false;
        for (uint32_t id = 0; id < n_job; id++) {
            rig_job *job = &jobs[id];
            if (!job->open && !job->finished && job->start_group <= group)
                job_open(r, id);
            waits = waits || (!job->open && !job->finished);
            if (job->open)
                job_feed(r, id);
        }
        uint32_t n = step(r);
        assert_true(n > 0 || waits); /* otherwise nothing ever runs again */
        for (uint32_t id = 0; id < n_job; id++) {
            if (jobs[id].open && job_ended(&jobs[id]))
                job_close(r, id);
        }
    }
}
