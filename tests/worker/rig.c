/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds jobs as there is room, and keeps what comes out. */
#include "tests/worker/rig.h"

#include <string.h>

#include "base/mem.h"
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
make_gpt2(model_config *c)
{
    c->block = CONFIG_BLOCK_GPT2;
    c->act = CONFIG_ACT_GELU_TANH;
    c->n_kv_head = c->n_head;
    c->rope = (config_rope){0};
    c->n_position = 128;
    c->tied_head = true;
    c->qkv_bias = c->out_bias = c->mlp_bias = true;
}

static void
make_window(model_config *c)
{
    c->l2_norm = true;
    c->window = true;
    c->n_sink = 1;
}

/* No memory of segments before, or another one. */
static void
make_memory(model_config *c, config_memory kind)
{
    c->memory = kind;
    c->d_mem = 0;
    c->n_mem_head = 0;
    c->correction = c->denom = false;
    if (kind == CONFIG_MEMORY_CACHE)
        c->n_mem = 0;
}

model_config
rig_variant(uint32_t i)
{
    model_config c = rig_shape();
    switch (i) {
    case 1:
        c.l2_norm = c.gating = true;
        c.n_mem_head = 2;
        break;
    case 2:
        c.l2_norm = true;
        c.denom = false;
        break;
    case 3:
        make_window(&c);
        c.generation = CONFIG_ROLLOVER;
        break;
    case 4:
        make_window(&c);
        c.window_outer = true;
        break;
    case 5:
        c.n_sink = 1;
        c.bare[0] = 2; /* layer 1 */
        c.correction = false;
        break;
    case 6:
        make_gpt2(&c);
        c.wrap_pos = true;
        break;
    case 7:
        make_gpt2(&c);
        break;
    case 8: /* NeoX */
        make_gpt2(&c);
        c.block = CONFIG_BLOCK_NEOX;
        c.act = CONFIG_ACT_GELU;
        c.n_position = 0;
        c.rope = (config_rope){.theta = 1e4, .d_rot = 4};
        c.parallel = true;
        break;
    case 9: /* Qwen */
        c.qkv_bias = c.qk_norm = true;
        break;
    case 10:
        make_memory(&c, CONFIG_MEMORY_TOKENS);
        break;
    case 11:
        make_memory(&c, CONFIG_MEMORY_TOKENS);
        make_gpt2(&c);
        break;
    case 12: /* Mistral */
        make_memory(&c, CONFIG_MEMORY_CACHE);
        c.span = 11;
        break;
    case 13:
        make_memory(&c, CONFIG_MEMORY_CACHE);
        make_gpt2(&c);
        break;
    case 14:
        c.generation = CONFIG_ROLLOVER;
        break;
    case 15: /* layers without memory see no window either */
        make_window(&c);
        c.bare[0] = 4;
        c.out_bias = true;
        break;
    case 16:
        c.state_type = CONFIG_BF16;
        c.generation = CONFIG_ROLLOVER;
        break;
    case 17: /* parts of three types in one state where a GPU computes in bf16
              */
        make_window(&c);
        c.l2_norm = c.gating = true;
        c.n_mem_head = 2;
        c.bare[0] = 2;
        c.state_type = CONFIG_BF16;
        break;
    default:
        break;
    }
    EXPECT_OK(config_check(&c));
    return c;
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
    uint64_t row = segment_cut_start(&job->cut, s->seg - job->first_seg) + row0;
    assert_int_equal(row, job->n_row_seen); /* in token order */
    assert_true(row + n_row <= job->n_id);
    memcpy(job->logits + row * n_vocab, logits,
           n_row * n_vocab * sizeof *logits);
    job->n_row_seen += n_row;
}

static void
on_token(void *ctx, uint32_t stream, const engine_segment *s,
         const engine_token *token)
{
    rig *r = ctx;
    rig_job *job = &r->job[stream];
    assert_true(s->frozen && job->n_gen < job->n_generate);
    job->gen_ids[job->n_gen++] = token->id;
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
    kernel_config kc = {.device = cfg->device,
                        .n_thread = cfg->n_thread,
                        .compute = cfg->compute};
    engine_config ec = {.order = cfg->order,
                        .n_stream = cfg->n_stream,
                        .n_slot = cfg->n_slot,
                        .kv_cap = cfg->kv_cap,
                        .max_cell = cfg->max_cell,
                        .max_token = cfg->max_token};
    weights *w = NULL;
    model *m = NULL;

    *r = (rig){0};
    EXPECT_OK(kernel_open(&r->dev, &kc));
    r->cfg = *cfg->shape;
    if (cfg->align != CONFIG_ALIGN_LEFT)
        r->cfg.align = cfg->align;
    ec.place = cfg->place;
    if (ec.place.size == 0)
        ec.place = (place){.n_layer = r->cfg.n_layer, .size = 1};
    weights_part part = part_of(&ec.place);
    EXPECT_OK(weights_new(&w, r->dev, &r->cfg, &part));
    if (cfg->fill != NULL)
        EXPECT_OK(cfg->fill(w, cfg->fill_ctx));
    else
        EXPECT_OK(weights_randomize(w, 7));
    EXPECT_OK(
        model_new(&m, r->dev, &r->cfg, w, cfg->n_stream * r->cfg.n_layer));
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
rig_states_bytes(const rig *r, const memory_past *past)
{
    return memory_states_bytes(&r->cfg, engine_compute(r->e), past);
}

memory_past
rig_past(const segment_cut *cut, const memory_past *past, uint64_t seg)
{
    if (seg == 0)
        return *past;
    uint32_t n_last = segment_cut_tokens(cut, seg - 1);
    return (memory_past){.n_token = past->n_token +
                                    segment_cut_start(cut, seg - 1) + n_last,
                         .n_last = n_last};
}

/* -------------------------------------------------------------- states --- */

/* Where a layer's state lies among those of all. */
static uint8_t *
state_at(const rig *r, uint8_t *states, uint32_t layer, const memory_past *past)
{
    for (uint32_t i = 0; i < layer; i++)
        states += memory_state_bytes(&r->cfg, engine_compute(r->e), i, past);
    return states;
}

static void
read_state(rig *r, uint32_t id, uint32_t layer, const memory_past *past,
           uint8_t *states)
{
    engine_place at;
    engine_state_place(r->e, id, layer, past, &at);
    assert_true(at.len <= engine_state_room(r->e));
    if (at.len > 0)
        EXPECT_OK(engine_read(r->e, &at, state_at(r, states, layer, past)));
}

static void
write_states(rig *r, uint32_t id, const rig_job *job)
{
    const uint8_t *from = job->states;
    for (uint32_t layer = 0; layer < r->cfg.n_layer; layer++) {
        engine_place at;
        engine_state_place(r->e, id, layer, &job->past, &at);
        if (at.len > 0)
            EXPECT_OK(engine_write(r->e, &at, from));
        from += at.len;
    }
}

/* ---------------------------------------------------------------- jobs --- */

static segment_cut
cut_of(const model_config *cfg, uint64_t n_id)
{
    static const segment_align align[] = {[CONFIG_ALIGN_LEFT] = SEGMENT_LEFT,
                                          [CONFIG_ALIGN_RIGHT] = SEGMENT_RIGHT,
                                          [CONFIG_ALIGN_CENTER] =
                                              SEGMENT_CENTER};
    return segment_cut_of(n_id, cfg->segment_size, align[cfg->align]);
}

/* Segments that are written before anything is drawn. */
static uint64_t
n_write(const rig_job *job)
{
    return job->cut.n_segment - (job->n_generate > 0);
}

static void
job_open(rig *r, uint32_t id)
{
    rig_job *job = &r->job[id];

    job->open = true;
    job->cut = cut_of(&r->cfg, job->n_id);
    job->first_past = rig_past(&job->cut, &job->past, 1);
    job->final_past = rig_past(&job->cut, &job->past, n_write(job));
    EXPECT_OK(
        mem_new(&job->logits, job->n_id * r->cfg.n_vocab, sizeof *job->logits));
    EXPECT_OK(
        mem_new(&job->first_states, rig_states_bytes(r, &job->first_past), 1));
    EXPECT_OK(
        mem_new(&job->final_states, rig_states_bytes(r, &job->final_past), 1));
    EXPECT_OK(mem_new(&job->gen_ids, job->n_generate, sizeof(int32_t)));
    EXPECT_OK(mem_new(&job->gen_logits,
                      (size_t)job->n_generate * r->cfg.n_vocab, sizeof(float)));
    EXPECT_OK(decode_init(&job->decode, &r->cfg));
    EXPECT_OK(engine_open(r->e, id, true, job->priority));
    if (job->states != NULL)
        write_states(r, id, job);
    if (job->n_generate > 0)
        decode_prompt(&job->decode, job->first_seg + n_write(job),
                      job->ids + segment_cut_start(&job->cut, n_write(job)),
                      segment_cut_tokens(&job->cut, n_write(job)));
}

static void
job_close(rig *r, uint32_t id)
{
    engine_close(r->e, id);
    decode_fini(&r->job[id].decode);
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

/* What was read before a segment of the job, or of its answer. */
static memory_past
past_of(const rig *r, const rig_job *job, uint64_t seg)
{
    uint64_t n = seg - job->first_seg, last = job->cut.n_segment - 1;
    uint32_t size = r->cfg.segment_size;
    memory_past past = rig_past(&job->cut, &job->past, n < last ? n : last);
    if (n > last) /* it rolled over: the last segment became a full one */
        past = (memory_past){.n_token = past.n_token + (n - last) * size,
                             .n_last = size};
    return past;
}

/* The prompt, the token drawn last, or a segment that the answer filled. */
static void
feed_answer(rig *r, uint32_t id)
{
    rig_job *job = &r->job[id];
    const int32_t *ids = NULL;
    engine_segment s;

    if (job->n_added < job->n_gen && job->n_gen < job->n_generate)
        decode_add(&job->decode, job->gen_ids[job->n_gen - 1]);
    job->n_added = job->n_gen;
    while (decode_next(&job->decode, &s, &ids) && engine_room(r->e, id) > 0) {
        s.past = past_of(r, job, s.seg);
        if (s.frozen) {
            s.want = ENGINE_TOKEN | ENGINE_LAST_LOGITS;
            s.sample = job->sample != NULL ? job->sample[job->n_gen]
                                           : (kernel_sample_args){.top_p = 1};
        }
        EXPECT_OK(engine_feed(r->e, id, &s, ids));
        decode_fed(&job->decode, &s);
        job->n_fed++;
    }
}

static void
job_feed(rig *r, uint32_t id)
{
    rig_job *job = &r->job[id];
    while (job->n_fed < n_write(job) && engine_room(r->e, id) > 0) {
        uint64_t n = job->n_fed++;
        engine_segment s = {.seg = job->first_seg + n,
                            .past = rig_past(&job->cut, &job->past, n),
                            .n_token = segment_cut_tokens(&job->cut, n),
                            .want = job->want_logits ? ENGINE_LOGITS : 0};
        EXPECT_OK(engine_feed(r->e, id, &s,
                              job->ids + segment_cut_start(&job->cut, n)));
    }
    if (job->n_fed >= n_write(job))
        feed_answer(r, id);
}

static bool
job_ended(const rig_job *job)
{
    return job->n_done >= n_write(job) && job->n_gen == job->n_generate;
}

/* Keeps the states that a cell left, where they are wanted. */
static void
keep_states(rig *r, const engine_done *d)
{
    rig_job *job = &r->job[d->stream];
    uint32_t layer = 0;
    if (!engine_state_left(r->e, d, &layer))
        return;
    if (d->local_seg == 0)
        read_state(r, d->stream, layer, &job->first_past, job->first_states);
    if (d->local_seg + 1 == n_write(job))
        read_state(r, d->stream, layer, &job->final_past, job->final_states);
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
        keep_states(r, &done[i]);
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

void
rig_run_all(engine *e)
{
    const engine_done *done = NULL;
    uint32_t n = 1;

    while (n > 0) {
        EXPECT_OK(engine_launch(e, &n));
        if (n > 0)
            EXPECT_OK(engine_collect(e, &done, &n));
    }
}
