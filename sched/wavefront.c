/* SPDX-License-Identifier: Apache-2.0 */
/* The ready set of one rank, as counters: segments done at each layer. */
#include "sched/wavefront.h"

#include <string.h>

#include "base/mem.h"

/* Segments pass a layer in order, so one number a layer says which are done,
 * and only the next one can be ready. */
typedef struct stream {
    bool open;
    int32_t priority;
    uint64_t fed, released;
    uint64_t *done;  /* [n_layer] segments done at the layer */
    uint64_t *state; /* [n_layer] segments whose state came from elsewhere */
} stream;

struct wavefront {
    wavefront_config cfg;
    stream *stream;  /* [n_stream] */
    uint64_t *count; /* what done and state of all streams point into */
    /* Open streams, larger priority first.  Among equals the head is served
     * first, and goes to the end of them when others were left out. */
    uint32_t *order;
    uint32_t n_order;
    wavefront_cell *group; /* the running group */
    uint32_t n_group;
    bool *taken; /* [n_layer, n_stream], all false between calls */
};

static status
check(const wavefront_config *cfg)
{
    if (cfg->n_stream == 0 || cfg->n_layer == 0 || cfg->n_slot == 0 ||
        cfg->max_cell == 0)
        return status_fail(ST_ARG, "a wavefront needs at least one stream, "
                                   "layer, slot and cell");
    return ST_OK;
}

status
wavefront_new(wavefront **out, const wavefront_config *cfg)
{
    wavefront *w = NULL;
    status st = ST_OK;
    size_t n_grid = 0;

    TRY(check(cfg));
    TRY(mem_new(&w, 1, sizeof *w));
    w->cfg = *cfg;
    TRY(size_mul(&n_grid, cfg->n_stream, cfg->n_layer));
    TRY(mem_new(&w->stream, cfg->n_stream, sizeof *w->stream));
    TRY(mem_new(&w->count, n_grid, 2 * sizeof *w->count));
    TRY(mem_new(&w->order, cfg->n_stream, sizeof *w->order));
    TRY(mem_new(&w->group, cfg->max_cell, sizeof *w->group));
    TRY(mem_new(&w->taken, n_grid, sizeof *w->taken));
    for (uint32_t i = 0; i < cfg->n_stream; i++) {
        w->stream[i].done = w->count + (size_t)2 * i * cfg->n_layer;
        w->stream[i].state = w->stream[i].done + cfg->n_layer;
    }
    *out = w;
    return ST_OK;
fail:
    wavefront_free(w);
    return st;
}

void
wavefront_free(wavefront *w)
{
    if (w == NULL)
        return;
    mem_free(w->taken);
    mem_free(w->group);
    mem_free(w->order);
    mem_free(w->count);
    mem_free(w->stream);
    mem_free(w);
}

/* The open stream `id`. */
static stream *
stream_of(const wavefront *w, uint32_t id)
{
    ASSERT(id < w->cfg.n_stream && w->stream[id].open);
    return &w->stream[id];
}

/* Puts `id` behind every stream of its own or a larger priority. */
static void
order_add(wavefront *w, uint32_t id)
{
    uint32_t i = w->n_order++;
    for (; i > 0; i--) {
        if (w->stream[w->order[i - 1]].priority >= w->stream[id].priority)
            break;
        w->order[i] = w->order[i - 1];
    }
    w->order[i] = id;
}

static void
order_remove(wavefront *w, uint32_t id)
{
    uint32_t i = 0;
    while (w->order[i] != id)
        i++;
    w->n_order--;
    memmove(&w->order[i], &w->order[i + 1],
            (w->n_order - i) * sizeof *w->order);
}

void
wavefront_open(wavefront *w, uint32_t id, int32_t priority)
{
    ASSERT(id < w->cfg.n_stream && !w->stream[id].open);
    stream *s = &w->stream[id];
    s->open = true;
    s->priority = priority;
    s->fed = 0;
    s->released = 0;
    memset(s->done, 0, w->cfg.n_layer * sizeof *s->done);
    memset(s->state, 0, w->cfg.n_layer * sizeof *s->state);
    order_add(w, id);
}

void
wavefront_close(wavefront *w, uint32_t id)
{
    stream *s = stream_of(w, id);
    for (uint32_t i = 0; i < w->n_group; i++)
        ASSERT(w->group[i].stream != id);
    s->open = false;
    order_remove(w, id);
}

bool
wavefront_is_open(const wavefront *w, uint32_t id)
{
    return id < w->cfg.n_stream && w->stream[id].open;
}

uint32_t
wavefront_room(const wavefront *w, uint32_t id)
{
    const stream *s = stream_of(w, id);
    return w->cfg.n_slot - (uint32_t)(s->fed - s->released);
}

void
wavefront_feed(wavefront *w, uint32_t id)
{
    ASSERT(wavefront_room(w, id) > 0);
    stream_of(w, id)->fed++;
}

void
wavefront_state(wavefront *w, uint32_t id, uint32_t layer, uint64_t seg)
{
    stream *s = stream_of(w, id);
    ASSERT(w->cfg.remote_state && layer < w->cfg.n_layer &&
           s->state[layer] == seg);
    ASSERT(!w->cfg.chained || layer == 0);
    s->state[layer]++;
}

void
wavefront_release(wavefront *w, uint32_t id, uint64_t seg)
{
    stream *s = stream_of(w, id);
    ASSERT(s->released == seg && seg < wavefront_finished(w, id));
    s->released++;
}

/* Whether the next segment at `layer` has its input and its state. */
static bool
ready(const wavefront *w, const stream *s, uint32_t layer)
{
    uint64_t seg = s->done[layer];
    uint64_t n_input = layer == 0 ? s->fed : s->done[layer - 1];
    if (w->cfg.chained && layer > 0)
        return seg < n_input;
    if (w->cfg.chained && seg > s->done[w->cfg.n_layer - 1])
        return false; /* the segment before is still on its way up */
    return seg < n_input && (!w->cfg.remote_state || seg < s->state[layer]);
}

/* Takes at most `room` and max_each ready cells of a stream, the oldest
 * segments first, so that a cut group drains the stream; returns the number,
 * and in *left whether any had to stay behind for want of room. */
static uint32_t
take(wavefront *w, uint32_t id, uint32_t room, bool *left)
{
    const stream *s = &w->stream[id];
    uint32_t each = w->cfg.max_each;
    uint32_t most = each > 0 && each < room ? each : room;
    uint32_t n = 0;
    for (uint32_t layer = w->cfg.n_layer; layer-- > 0;) {
        if (!ready(w, s, layer))
            continue;
        if (n == most) {
            *left = most == room;
            break;
        }
        w->taken[(size_t)layer * w->cfg.n_stream + id] = true;
        n++;
    }
    return n;
}

/* The same for the sequential order: the next cell of the lowest unfinished
 * segment, or nothing while it waits; a later segment never overtakes it. */
static uint32_t
take_next(wavefront *w, uint32_t id, uint32_t room, bool *left)
{
    const stream *s = &w->stream[id];
    uint64_t seg = wavefront_finished(w, id);
    uint32_t layer = 0;
    while (s->done[layer] > seg)
        layer++; /* ends: `seg` is not done at the last layer */
    if (!ready(w, s, layer))
        return 0;
    if (room == 0) {
        *left = true;
        return 0;
    }
    w->taken[(size_t)layer * w->cfg.n_stream + id] = true;
    return 1;
}

/* Marks the cells of the next group in w->taken; `only` NULL: of all streams.
 */
static void
choose(wavefront *w, const bool *only)
{
    bool sequential = w->cfg.order == WAVEFRONT_SEQUENTIAL;
    uint32_t room = sequential ? 1 : w->cfg.max_cell;
    uint32_t head = UINT32_MAX;
    bool left = false;
    for (uint32_t i = 0; i < w->n_order && !left; i++) {
        uint32_t id = w->order[i];
        if (only != NULL && !only[id])
            continue;
        uint32_t n = sequential ? take_next(w, id, room, &left)
                                : take(w, id, room, &left);
        if (n > 0 && head == UINT32_MAX)
            head = id;
        room -= n;
    }
    if (left) {
        order_remove(w, head);
        order_add(w, head);
    }
}

uint32_t
wavefront_pick(wavefront *w, wavefront_cell *cells)
{
    return wavefront_pick_only(w, NULL, cells);
}

uint32_t
wavefront_pick_only(wavefront *w, const bool *only, wavefront_cell *cells)
{
    ASSERT(w->n_group == 0);
    choose(w, only);
    uint32_t n = 0;
    for (uint32_t layer = 0; layer < w->cfg.n_layer; layer++) {
        bool *taken = w->taken + (size_t)layer * w->cfg.n_stream;
        for (uint32_t id = 0; id < w->cfg.n_stream; id++) {
            if (!taken[id])
                continue;
            taken[id] = false;
            w->group[n].stream = id;
            w->group[n].layer = layer;
            w->group[n].seg = w->stream[id].done[layer];
            n++;
        }
    }
    memcpy(cells, w->group, n * sizeof *cells);
    w->n_group = n;
    return n;
}

void
wavefront_done(wavefront *w)
{
    for (uint32_t i = 0; i < w->n_group; i++) {
        const wavefront_cell *cell = &w->group[i];
        w->stream[cell->stream].done[cell->layer]++;
    }
    w->n_group = 0;
}

uint64_t
wavefront_fed(const wavefront *w, uint32_t id)
{
    return stream_of(w, id)->fed;
}

uint64_t
wavefront_finished(const wavefront *w, uint32_t id)
{
    return stream_of(w, id)->done[w->cfg.n_layer - 1];
}

uint64_t
wavefront_released(const wavefront *w, uint32_t id)
{
    return stream_of(w, id)->released;
}

uint64_t
wavefront_done_at(const wavefront *w, uint32_t id, uint32_t layer)
{
    ASSERT(layer < w->cfg.n_layer);
    return stream_of(w, id)->done[layer];
}
