/* SPDX-License-Identifier: Apache-2.0 */
/* One engine after the other over the same ids. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "sched/segment.h"
#include "worker/draw.h"
#include "worker/inspect.h"

enum { MAX_ROW = 64 }; /* tokens of the second segment: they read the memory */

typedef struct sample {
    const model_config *cfg;
    int32_t *ids;
    uint32_t n_id;
    float *logits; /* [n_row, n_vocab] of the last segment */
    uint32_t n_row;
} sample;

static void
take_logits(void *ctx, uint32_t stream, const engine_segment *segment,
            uint32_t row0, uint32_t n_row, const float *logits)
{
    const sample *s = ctx;
    size_t n = s->cfg->n_vocab;
    (void)stream;
    (void)segment;
    ASSERT(row0 + n_row <= s->n_row);
    memcpy(s->logits + row0 * n, logits, n_row * n * sizeof *logits);
}

static engine_segment
segment_of(const sample *s, uint32_t seg)
{
    uint32_t size = s->cfg->segment_size;
    engine_segment out = {.seg = seg,
                          .n_token = segment_tokens(seg, s->n_id, size)};
    if (seg > 0)
        out.past = (memory_past){.n_token = size, .n_last = size};
    if (seg + 1 == segment_count(s->n_id, size))
        out.want = ENGINE_LOGITS;
    return out;
}

static status
feed_all(engine *e, const sample *s)
{
    uint64_t n = segment_count(s->n_id, s->cfg->segment_size), fed = 0;
    const engine_done *done = NULL;
    uint32_t n_cell = 1;
    status st = ST_OK;

    TRY(engine_open(e, 0, true, 0));
    while (n_cell > 0) {
        for (; fed < n && engine_room(e, 0) > 0; fed++) {
            engine_segment seg = segment_of(s, (uint32_t)fed);
            TRY(engine_feed(e, 0, &seg, s->ids + fed * s->cfg->segment_size));
        }
        TRY(engine_launch(e, &n_cell));
        if (n_cell > 0)
            TRY(engine_collect(e, &done, &n_cell));
    }
    engine_close(e, 0);
fail:
    return st;
}

static status
run(kernel_device *dev, sample *s, const char *dir, weights_want want)
{
    uint32_t n_layer = s->cfg->n_layer;
    const weights_part all = {.n_layer = n_layer, .embed = true, .head = true};
    const engine_config cfg = {.place = {.n_layer = n_layer, .size = 1},
                               .n_stream = 1,
                               .max_cell = n_layer,
                               .max_token = s->n_id};
    const engine_sink sink = {.ctx = s, .logits = take_logits};
    weights *w = NULL;
    model *m = NULL;
    engine *e = NULL;
    status st = ST_OK;

    TRY(weights_open(&w, dev, s->cfg, &all, dir, want));
    TRY(model_new(&m, dev, s->cfg, w, cfg.max_cell));
    w = NULL; /* the model's */
    TRY(engine_new(&e, dev, m, &cfg));
    m = NULL; /* the engine's */
    engine_sink_set(e, &sink);
    TRY(feed_all(e, s));
fail:
    engine_free(e);
    model_free(m);
    weights_free(w);
    return st;
}

static size_t
best(const float *row, size_t n)
{
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        at = row[i] > row[at] ? i : at;
    return at;
}

static void
compare(inspect_loss *out, const sample *a, const float *b)
{
    size_t n = a->cfg->n_vocab;
    double difference = 0, norm = 0;
    for (uint32_t r = 0; r < a->n_row; r++) {
        const float *x = a->logits + r * n, *y = b + r * n;
        for (size_t i = 0; i < n; i++) {
            double d = fabs((double)x[i] - (double)y[i]);
            out->max = fmax(out->max, d);
            out->max_logit = fmax(out->max_logit, fabs((double)x[i]));
            difference += d * d;
            norm += (double)x[i] * (double)x[i];
        }
        out->top += best(x, n) == best(y, n);
    }
    out->top /= a->n_row;
    out->relative = norm > 0 ? sqrt(difference / norm) : 0;
}

/* One full segment and some tokens of the next, as far as positions reach. */
static uint32_t
token_count(const model_config *cfg)
{
    uint32_t more = cfg->segment_size < MAX_ROW ? cfg->segment_size : MAX_ROW;
    uint32_t n = cfg->segment_size + more;
    bool ends = cfg->memory == CONFIG_MEMORY_CACHE && cfg->n_position > 0;
    return ends && n > cfg->n_position ? cfg->n_position : n;
}

static status
fill(sample *s)
{
    uint32_t size = s->cfg->segment_size;
    status st = ST_OK;

    s->n_id = token_count(s->cfg);
    s->n_row = segment_tokens(segment_count(s->n_id, size) - 1, s->n_id, size);
    TRY(mem_new(&s->ids, s->n_id, sizeof *s->ids));
    for (uint32_t i = 0; i < s->n_id; i++)
        s->ids[i] =
            (int32_t)(draw_uniform(1, i) * (float)(s->cfg->n_vocab - 1));
    TRY(mem_new(&s->logits, (size_t)s->n_row * s->cfg->n_vocab,
                sizeof *s->logits));
fail:
    return st;
}

status
inspect_check(inspect_loss *out, const model_config *cfg,
              const setup_options *opt)
{
    const kernel_config how = {.device = opt->device,
                               .n_thread = (uint32_t)opt->threads};
    model_config left = *cfg; /* cut from the left, whatever the model does */
    sample a = {.cfg = &left}, b = {.cfg = &left};
    kernel_device *dev = NULL;
    status st = ST_OK;

    left.align = CONFIG_ALIGN_LEFT;
    TRY(kernel_open(&dev, &how));
    TRY(fill(&a));
    TRY(fill(&b));
    TRY(run(dev, &a, opt->model, WEIGHTS_STORED));
    TRY(run(dev, &b, opt->model, WEIGHTS_INT8));
    *out = (inspect_loss){.n_token = a.n_id, .n_row = a.n_row};
    compare(out, &a, b.logits);
fail:
    mem_free(a.ids);
    mem_free(b.ids);
    mem_free(a.logits);
    mem_free(b.logits);
    kernel_close(dev);
    return st;
}
