/* SPDX-License-Identifier: Apache-2.0 */
/* Random worlds, and their jobs done by one rank alone. */
#include "tests/worker/world_case.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "worker/decode.h"
#include "worker/draw.h"

uint32_t
world_case_draw(world_case_random *r, uint32_t n)
{
    r->state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t x = r->state;
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)((x ^ x >> 31) % n);
}

static bool
one_of(world_case_random *r, uint32_t n)
{
    return world_case_draw(r, n) == 0;
}

/* GPT-2, or NeoX, instead of LLaMA with what its relatives have. */
static void
make_block(model_config *m, world_case_random *r)
{
    m->qkv_bias = one_of(r, 3);
    m->out_bias = one_of(r, 3);
    m->mlp_bias = one_of(r, 3);
    m->qk_norm = one_of(r, 4);
    if (!one_of(r, 3))
        return;
    bool neox = one_of(r, 2);
    m->block = neox ? CONFIG_BLOCK_NEOX : CONFIG_BLOCK_GPT2;
    m->act = neox ? CONFIG_ACT_GELU : CONFIG_ACT_GELU_TANH;
    m->qk_norm = false;
    m->parallel = neox && one_of(r, 2);
    if (neox)
        m->rope.d_rot = 2;
    else
        m->rope = (config_rope){0};
    m->n_position = neox ? 0 : WORLD_CASE_MAX_TOKEN + 20;
    m->wrap_pos = !neox && one_of(r, 2);
}

static void
make_assoc(model_config *m, world_case_random *r)
{
    m->denom = !one_of(r, 4);
    /* Without either, states of random models grow beyond all bounds. */
    m->l2_norm = !m->denom || one_of(r, 2);
    m->n_mem_head = m->l2_norm && one_of(r, 3) ? 2 : 1;
    m->gating = one_of(r, 3);
    m->correction = !one_of(r, 4);
    m->generation = one_of(r, 2) ? CONFIG_ROLLOVER : CONFIG_FROZEN;
    m->n_sink = m->wrap_pos ? 0 : one_of(r, 3);
    m->window = one_of(r, 3);
    m->window_outer = m->window && one_of(r, 2);
    if (one_of(r, 4))
        m->bare[0] = world_case_draw(r, 64);
}

static void
make_memory(model_config *m, world_case_random *r)
{
    if (!one_of(r, 3)) {
        make_assoc(m, r);
        return;
    }
    m->memory = one_of(r, 2) ? CONFIG_MEMORY_TOKENS : CONFIG_MEMORY_CACHE;
    m->correction = m->denom = m->wrap_pos = false;
    m->d_mem = m->n_mem_head = 0;
    if (m->memory == CONFIG_MEMORY_CACHE)
        m->n_mem = 0;
    if (one_of(r, 2))
        m->span = 1 + world_case_draw(r, 9);
}

/* Half of the cases are the plain model that most of the others vary. */
static void
make_model(model_config *m, world_case_random *r, bool wide)
{
    *m = (model_config){.n_layer = 1 + world_case_draw(r, wide ? 12 : 6),
                        .d_model = 16,
                        .n_head = 4,
                        .n_kv_head = 2,
                        .d_head = 4,
                        .d_ffn = 24,
                        .n_vocab = 40 + world_case_draw(r, 8),
                        .norm_eps = 1e-5f,
                        .rope = {.theta = 10000, .d_rot = 4},
                        .segment_size = 3 + world_case_draw(r, 4),
                        .n_mem = 1 + world_case_draw(r, 3),
                        .d_mem = 4,
                        .n_mem_head = 1,
                        .correction = true,
                        .denom = true,
                        .bos = -1};
    if (one_of(r, 2))
        return;
    make_block(m, r);
    make_memory(m, r);
}

static status
make_job(world_case_job *j, world_case *t, world_case_random *r)
{
    status st = ST_OK;
    uint32_t s = t->model.segment_size;
    bool wide = t->number >= WORLD_CASE_WIDE;
    uint32_t n_seg = world_case_draw(r, 4) == 0
                         ? world_case_draw(r, 3)
                         : world_case_draw(r, wide ? 41 : 21);

    j->n_write = n_seg;
    if (world_case_draw(r, 3) == 0)
        j->first_seg = 1 + world_case_draw(r, 5);
    j->n_tail = 1 + world_case_draw(r, s);
    if (n_seg == 0 || world_case_draw(r, 2) == 0) {
        j->n_prompt = 1 + world_case_draw(r, s);
        j->n_draw = 1 + world_case_draw(r, WORLD_CASE_MAX_DRAW);
    }
    j->priority = (int32_t)world_case_draw(r, 3) - 1;
    j->temperature = world_case_draw(r, 2) == 0 ? 0.0f : 0.8f;
    j->want_logits = world_case_draw(r, 2) == 0;
    j->want_snapshot = j->first_seg + n_seg > 0 && world_case_draw(r, 2) == 0;
    j->cancel_turn =
        world_case_draw(r, 4) == 0 ? world_case_draw(r, 60) : UINT32_MAX;
    size_t n = (size_t)(j->first_seg + n_seg + 1) * s;
    TRY(mem_new(&j->ids, n, sizeof *j->ids));
    for (size_t i = 0; i < n; i++)
        j->ids[i] = (int32_t)world_case_draw(r, t->model.n_vocab);
    if (world_case_draw(r, 2) == 0)
        j->penalty = 0.5f + 0.5f * (float)world_case_draw(r, 4);
fail:
    return st;
}

/* Every second case with layers: each rank that works has one, and the rest go
 * to anybody. */
static void
divide(world_case *t, world_case_random *r)
{
    place *p = &t->place;
    uint32_t n_active = p->size < p->n_layer ? p->size : p->n_layer;

    if (p->kind != PLACE_LAYERS || p->size > 8 || one_of(r, 2))
        return;
    uint32_t n[8] = {0};
    for (uint32_t i = 0; i < p->n_layer; i++)
        n[i < n_active ? i : world_case_draw(r, n_active)]++;
    for (uint32_t rank = 0, sum = 0; rank < p->size; rank++)
        t->ends[rank] = sum += n[rank];
    p->ends = t->ends;
}

status
world_case_new(world_case **out, uint64_t number, uint32_t rank, uint32_t size)
{
    world_case *t = NULL;
    status st = ST_OK;
    world_case_random r = {number * 7919 + size};

    TRY(mem_new(&t, 1, sizeof *t));
    t->number = number;
    bool wide = number >= WORLD_CASE_WIDE;
    make_model(&t->model, &r, wide);
    TRY(config_check(&t->model));
    t->weight_seed = world_case_draw(&r, 1000);
    bool ring = world_case_draw(&r, 2) != 0 || memory_of(&t->model)->chained;
    t->place = (place){.kind = ring ? PLACE_SEGMENTS : PLACE_LAYERS,
                       .n_layer = t->model.n_layer};
    uint32_t n_replica = 1 + world_case_draw(&r, size);
    if (size % n_replica != 0)
        n_replica = 1;
    TRY(place_deal(&t->place, n_replica, size, rank));
    t->order =
        world_case_draw(&r, 3) == 0 ? WAVEFRONT_SEQUENTIAL : WAVEFRONT_DIAGONAL;
    t->device = world_case_draw(&r, 3) == 0 ? "cpu-async" : "cpu";
    t->n_stream = 1 + world_case_draw(&r, 3);
    t->n_slot = world_case_draw(&r, 3) == 0 ? 1 + world_case_draw(&r, 3) : 0;
    t->n_thread = 1;
    t->n_job = 1 + world_case_draw(&r, wide ? WORLD_CASE_MAX_JOB : 4);
    for (uint32_t i = 0; i < t->n_job; i++)
        TRY(make_job(&t->job[i], t, &r));
    divide(t, &r);
    t->max_each = world_case_draw(&r, 3);
    *out = t;
    return ST_OK;
fail:
    world_case_free(t);
    return st;
}

void
world_case_free(world_case *t)
{
    if (t == NULL)
        return;
    for (uint32_t i = 0; i < t->n_job; i++) {
        mem_free(t->job[i].ids);
        mem_free(t->job[i].logits);
        mem_free(t->job[i].last_logits);
        mem_free(t->job[i].before);
        mem_free(t->job[i].after);
    }
    mem_free(t);
}

void
world_case_print(const world_case *t)
{
    fprintf(stderr,
            "case %llu: %s%s, %u times %u ranks, %s, %s, %s, %u layers, S %u, "
            "%u streams, "
            "%u slots, %u at once\n",
            (unsigned long long)t->number, memory_of(&t->model)->name,
            t->model.window ? " with window" : "", place_replicas(&t->place),
            t->place.size, place_name(t->place.kind),
            t->order == WAVEFRONT_DIAGONAL ? "diagonal" : "sequential",
            t->device, t->model.n_layer, t->model.segment_size, t->n_stream,
            t->n_slot, t->max_each);
    for (uint32_t i = 0; i < t->n_job; i++) {
        const world_case_job *j = &t->job[i];
        fprintf(stderr,
                "  job %u: segments %llu + %llu, prompt %u, draws %u, "
                "logits %d, snapshot %d, cancel at turn %d\n",
                i, (unsigned long long)j->first_seg,
                (unsigned long long)j->n_write, j->n_prompt, j->n_draw,
                j->want_logits, j->want_snapshot, (int)j->cancel_turn);
    }
}

/* --------------------------------------------------------------- ranks --- */

static status
open_engine(world_case_rank *out, const world_case *t, const place *p,
            const engine_config *cfg)
{
    status st = ST_OK;
    weights_part part = {0};
    weights *w = NULL;
    model *m = NULL;
    uint32_t n_cell = cfg->n_stream * t->model.n_layer;

    place_layers(p, p->rank, &part.layer_first, &part.n_layer);
    part.embed = part.layer_first == 0;
    part.head = part.layer_first + part.n_layer == t->model.n_layer;
    TRY(weights_new(&w, out->dev, &t->model, &part));
    TRY(weights_randomize(w, t->weight_seed));
    TRY(model_new(&m, out->dev, &t->model, w, n_cell));
    w = NULL;
    TRY(engine_new(&out->engine, out->dev, m, cfg));
    m = NULL;
fail:
    model_free(m);
    weights_free(w);
    return st;
}

status
world_case_open(world_case_rank *out, const world_case *t, bool alone)
{
    status st = ST_OK;
    place one = {.kind = PLACE_LAYERS, .n_layer = t->model.n_layer, .size = 1};
    const place *p = alone ? &one : &t->place;
    kernel_config kc = {.device = alone ? "cpu" : t->device,
                        .n_thread = t->n_thread};
    engine_config ec = {.place = *p,
                        .order = alone ? WAVEFRONT_SEQUENTIAL : t->order,
                        .n_stream = alone ? 1 : t->n_stream,
                        .n_slot = alone ? 0 : t->n_slot,
                        .max_each = place_group(p, t->max_each),
                        .max_token = WORLD_CASE_MAX_TOKEN,
                        .kv_cap =
                            decode_longest(&t->model, WORLD_CASE_MAX_DRAW)};

    *out = (world_case_rank){0};
    if (p->rank >= place_active(p))
        return ST_OK;
    TRY(kernel_open(&out->dev, &kc));
    TRY(open_engine(out, t, p, &ec));
    return ST_OK;
fail:
    world_case_close(out);
    return st;
}

void
world_case_close(world_case_rank *r)
{
    engine_free(r->engine);
    kernel_close(r->dev);
    *r = (world_case_rank){0};
}

/* ------------------------------------------------------------ solution --- */

const int32_t *
world_case_ids(const world_case *t, const world_case_job *j, uint64_t seg,
               uint32_t *n)
{
    uint64_t end = j->first_seg + j->n_write;
    *n = t->model.segment_size;
    if (seg == end)
        *n = j->n_prompt;
    else if (seg + 1 == end)
        *n = j->n_tail;
    return j->ids + seg * t->model.segment_size;
}

/* Where a solution's logits and tokens go. */
typedef struct solving {
    const world_case *t;
    world_case_job *j;
    uint32_t n_drawn;
} solving;

static void
on_logits(void *ctx, uint32_t id, const engine_segment *seg, uint32_t row0,
          uint32_t n_row, const float *logits)
{
    solving *s = ctx;
    size_t row = s->t->model.n_vocab;
    (void)id;
    if (seg->frozen) {
        memcpy(s->j->last_logits + s->n_drawn * row, logits,
               row * sizeof *logits);
        return;
    }
    size_t at = (size_t)seg->seg * s->t->model.segment_size + row0;
    memcpy(s->j->logits + at * row, logits, n_row * row * sizeof *logits);
}

static void
on_token(void *ctx, uint32_t id, const engine_segment *seg,
         const engine_token *token)
{
    solving *s = ctx;
    (void)id;
    (void)seg;
    s->j->token[s->n_drawn++] = token->id;
}

static status
run_one(engine *e, const engine_segment *seg, const int32_t *ids)
{
    status st = ST_OK;
    uint32_t n = 1;
    const engine_done *done = NULL;
    TRY(engine_feed(e, 0, seg, ids));
    for (;;) {
        TRY(engine_launch(e, &n));
        if (n == 0)
            return ST_OK;
        TRY(engine_collect(e, &done, &n));
    }
fail:
    return st;
}

/* A segment that the answer has filled is full, as all others are but the last
 * one that was written. */
memory_past
world_case_past(const world_case *t, const world_case_job *j, uint64_t seg)
{
    uint64_t end = j->first_seg + j->n_write;
    uint32_t size = t->model.segment_size, n_tail = size;
    memory_past past = {.n_token = seg * size, .n_last = seg > 0 ? size : 0};
    if (end > 0)
        (void)world_case_ids(t, j, end - 1, &n_tail);
    if (seg >= end)
        past.n_token -= size - n_tail;
    if (seg == end && end > 0)
        past.n_last = n_tail;
    return past;
}

uint32_t
world_case_rolled(const world_case *t, const world_case_job *j)
{
    if (t->model.generation != CONFIG_ROLLOVER || j->n_draw == 0)
        return 0;
    /* The last token drawn is not fed. */
    return (j->n_prompt + j->n_draw - 2) / t->model.segment_size;
}

static status
read_states(engine *e, const world_case *t, const memory_past *past,
            uint8_t *out)
{
    status st = ST_OK;
    for (uint32_t layer = 0; layer < t->model.n_layer; layer++) {
        engine_place p = {0};
        engine_state_place(e, 0, layer, past, &p);
        if (p.len > 0)
            TRY(engine_read(e, &p, out));
        out += p.len;
    }
fail:
    return st;
}

static status
answer(engine *e, const world_case *t, solving *s)
{
    status st = ST_OK;
    world_case_job *j = s->j;
    decode d = {0};
    engine_segment seg;
    uint32_t n = 0;
    uint32_t n_seen = 0;
    uint64_t end = j->first_seg + j->n_write;
    const int32_t *ids = world_case_ids(t, j, end, &n);

    if (j->n_draw == 0)
        return ST_OK;
    TRY(decode_init(&d, &t->model));
    decode_prompt(&d, end, ids, n);
    while (s->n_drawn < j->n_draw) {
        if (d.n_wait == 0)
            decode_add(&d, j->token[s->n_drawn - 1]);
        if (!decode_next(&d, &seg, &ids))
            break;
        seg.past = world_case_past(t, j, seg.seg);
        if (seg.frozen) {
            seg.want = ENGINE_TOKEN | ENGINE_LAST_LOGITS;
            n_seen += seg.n_token;
            TRY(engine_seen(e, 0, ids, seg.n_token)); /* also twice */
        }
        seg.sample =
            (kernel_sample_args){.temperature = j->temperature,
                                 .top_p = 1,
                                 .penalty = j->penalty,
                                 .n_seen = n_seen,
                                 .uniform = draw_uniform(7, s->n_drawn)};
        TRY(run_one(e, &seg, ids));
        decode_fed(&d, &seg);
    }
fail:
    decode_fini(&d);
    return st;
}

static status
solve_job(engine *e, const world_case *t, world_case_job *j)
{
    status st = ST_OK;
    solving s = {.t = t, .j = j};
    engine_sink sink = {.ctx = &s, .logits = on_logits, .token = on_token};
    uint64_t n_seg = j->first_seg + j->n_write;
    const memory_past before = world_case_past(t, j, j->first_seg);
    const memory_past after = world_case_past(t, j, n_seg);
    size_t n_row = (size_t)(n_seg + 1) * t->model.segment_size;

    TRY(mem_new(&j->logits, n_row * t->model.n_vocab, sizeof(float)));
    TRY(mem_new(&j->last_logits, (size_t)WORLD_CASE_MAX_DRAW * t->model.n_vocab,
                sizeof(float)));
    TRY(mem_new(&j->before, memory_states_bytes(&t->model, KERNEL_F32, &before),
                1));
    TRY(mem_new(&j->after, memory_states_bytes(&t->model, KERNEL_F32, &after),
                1));
    engine_sink_set(e, &sink);
    TRY(engine_open(e, 0, true, 0));
    for (uint64_t seg = 0; seg < n_seg; seg++) {
        uint32_t n = 0;
        const int32_t *ids = world_case_ids(t, j, seg, &n);
        engine_segment in = {.seg = seg,
                             .past = world_case_past(t, j, seg),
                             .n_token = n,
                             .want = ENGINE_LOGITS};
        if (seg == j->first_seg)
            TRY(read_states(e, t, &before, j->before));
        TRY(run_one(e, &in, ids));
    }
    if (j->n_write == 0)
        TRY(read_states(e, t, &before, j->before));
    TRY(read_states(e, t, &after, j->after));
    TRY(answer(e, t, &s));
    engine_close(e, 0);
fail:
    return st;
}

status
world_case_solve(world_case *t)
{
    status st = ST_OK;
    world_case_rank r = {0};
    TRY(world_case_open(&r, t, true));
    for (uint32_t i = 0; i < t->n_job; i++)
        TRY(solve_job(r.engine, t, &t->job[i]));
fail:
    world_case_close(&r);
    return st;
}
