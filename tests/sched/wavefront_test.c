/* SPDX-License-Identifier: Apache-2.0 */
/* The wavefront over thousands of random grids: every cell once, never before
 * its inputs, in the groups that the header promises. */
#include "sched/wavefront.h"

#include <string.h>

#include "base/mem.h"
#include "tests/expect.h"

enum { MAX_STREAM = 5, MAX_LAYER = 12, MAX_SEG = 40, MAX_GROUP = 80 };

/* One stream as a plain grid of what was done, beside the object's view. */
typedef struct track {
    uint64_t n_seg;
    uint64_t n_state[MAX_LAYER];
    bool done[MAX_SEG][MAX_LAYER];
    int64_t in_slot[2 * MAX_SEG]; /* segment in flight there, -1: free */
} track;

typedef struct grid {
    uint64_t seed;
    wavefront_config cfg;
    wavefront *w;
    track stream[MAX_STREAM];
    uint64_t n_cell, n_done, n_group;
} grid;

static uint64_t
next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 11;
}

static uint32_t
draw(grid *g, uint32_t low, uint32_t high)
{
    return low + (uint32_t)(next_random(&g->seed) % (high - low + 1));
}

static void
grid_open(grid *g)
{
    EXPECT_OK(wavefront_new(&g->w, &g->cfg));
    for (uint32_t id = 0; id < g->cfg.n_stream; id++) {
        track *t = &g->stream[id];
        t->n_seg = draw(g, 1, MAX_SEG);
        g->n_cell += t->n_seg * g->cfg.n_layer;
        memset(t->in_slot, 0xff, sizeof t->in_slot);
        assert_false(wavefront_is_open(g->w, id));
        wavefront_open(g->w, id, (int32_t)draw(g, 0, 2));
        assert_true(wavefront_is_open(g->w, id));
    }
}

static void
feed(grid *g, uint32_t id)
{
    track *t = &g->stream[id];
    uint64_t seg = wavefront_fed(g->w, id);
    uint64_t n_flight = seg - wavefront_released(g->w, id);
    assert_int_equal(wavefront_room(g->w, id), g->cfg.n_slot - n_flight);
    if (seg == t->n_seg || wavefront_room(g->w, id) == 0)
        return;
    assert_int_equal(t->in_slot[seg % g->cfg.n_slot], -1);
    t->in_slot[seg % g->cfg.n_slot] = (int64_t)seg;
    wavefront_feed(g->w, id);
}

static void
release(grid *g, uint32_t id)
{
    uint64_t seg = wavefront_released(g->w, id);
    if (seg == wavefront_finished(g->w, id))
        return;
    wavefront_release(g->w, id, seg);
    g->stream[id].in_slot[seg % g->cfg.n_slot] = -1;
}

/* The state for the next segment at some layer; the one that the segment
 * itself makes is not needed for that: it comes from another rank. */
static void
state_comes(grid *g, uint32_t id)
{
    track *t = &g->stream[id];
    uint32_t layer = g->cfg.chained ? 0 : draw(g, 0, g->cfg.n_layer - 1);
    if (g->cfg.remote_state && t->n_state[layer] < t->n_seg)
        wavefront_state(g->w, id, layer, t->n_state[layer]++);
}

/* Whether the cell's inputs are there, from the plain grid. */
static bool
can_run(const grid *g, uint32_t id, uint64_t seg, uint32_t layer)
{
    const track *t = &g->stream[id];
    if (seg >= t->n_seg || t->done[seg][layer])
        return false;
    if (layer == 0 ? seg >= wavefront_fed(g->w, id) : !t->done[seg][layer - 1])
        return false;
    /* Chained: all of the segment before, and one state for all layers. */
    uint32_t before = g->cfg.chained ? g->cfg.n_layer - 1 : layer;
    if (seg > 0 && !t->done[seg - 1][before])
        return false;
    if (g->cfg.chained && layer > 0)
        return true;
    return !g->cfg.remote_state || seg < t->n_state[layer];
}

/* Cells that can run, no more than `each` of a stream. */
static uint32_t
count_ready(const grid *g, uint32_t each)
{
    uint32_t all = 0;
    for (uint32_t id = 0; id < g->cfg.n_stream; id++) {
        uint32_t n = 0;
        for (uint64_t seg = 0; seg < g->stream[id].n_seg; seg++)
            for (uint32_t layer = 0; layer < g->cfg.n_layer; layer++)
                n += can_run(g, id, seg, layer);
        all += n < each ? n : each;
    }
    return all;
}

static void
check_group(const grid *g, const wavefront_cell *cells, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const wavefront_cell *c = &cells[i];
        assert_true(can_run(g, c->stream, c->seg, c->layer));
        assert_int_equal(g->stream[c->stream].in_slot[c->seg % g->cfg.n_slot],
                         c->seg);
        if (i == 0)
            continue;
        assert_true(c[-1].layer < c->layer ||
                    (c[-1].layer == c->layer && c[-1].stream < c->stream));
    }
}

/* The whole ready set up to max_cell, and max_each of a stream, or the next
 * cell in (segment, layer) order of one stream. */
static void
check_complete(const grid *g, const wavefront_cell *cells, uint32_t n)
{
    uint32_t each = g->cfg.max_each > 0 ? g->cfg.max_each : UINT32_MAX;
    uint32_t n_ready = count_ready(g, each);
    if (g->cfg.order == WAVEFRONT_DIAGONAL) {
        uint32_t most = g->cfg.max_cell;
        assert_int_equal(n, n_ready < most ? n_ready : most);
        return;
    }
    assert_true(n <= 1);
    if (n == 0) {
        /* Only where the lowest segment waits for a state from elsewhere. */
        assert_true(n_ready == 0 || g->cfg.remote_state);
        return;
    }
    const track *t = &g->stream[cells[0].stream];
    for (uint64_t seg = 0; seg <= cells[0].seg; seg++) {
        uint32_t until = seg < cells[0].seg ? g->cfg.n_layer : cells[0].layer;
        for (uint32_t layer = 0; layer < until; layer++)
            assert_true(t->done[seg][layer]);
    }
}

static void
compute(grid *g)
{
    wavefront_cell cells[MAX_GROUP];
    uint32_t n = wavefront_pick(g->w, cells);
    assert_true(n <= g->cfg.max_cell);
    check_group(g, cells, n);
    check_complete(g, cells, n);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(
            wavefront_done_at(g->w, cells[i].stream, cells[i].layer),
            cells[i].seg);
        g->stream[cells[i].stream].done[cells[i].seg][cells[i].layer] = true;
    }
    wavefront_done(g->w);
    g->n_done += n;
    g->n_group += n > 0;
}

static void
run_random(grid *g)
{
    grid_open(g);
    uint64_t turns = 0;
    while (g->n_done < g->n_cell) {
        /* Far more turns than any order needs: a deadlock ends here. */
        assert_true(turns++ < 5000 + 400 * g->n_cell);
        uint32_t id = draw(g, 0, g->cfg.n_stream - 1);
        switch (draw(g, 0, 3)) {
        case 0:
            feed(g, id);
            break;
        case 1:
            release(g, id);
            break;
        case 2:
            state_comes(g, id);
            break;
        default:
            compute(g);
        }
    }
    for (uint32_t id = 0; id < g->cfg.n_stream; id++) {
        assert_int_equal(wavefront_finished(g->w, id), g->stream[id].n_seg);
        wavefront_close(g->w, id);
        assert_false(wavefront_is_open(g->w, id));
    }
    wavefront_free(g->w);
}

static void
random_grids(void **state)
{
    grid *g = *state;
    for (uint64_t i = 1; i <= 4000; i++) {
        memset(g, 0, sizeof *g);
        g->seed = i * UINT64_C(0x9E3779B97F4A7C15);
        g->cfg.n_stream = draw(g, 1, MAX_STREAM);
        g->cfg.n_layer = draw(g, 1, MAX_LAYER);
        g->cfg.n_slot = draw(g, 1, 2 * g->cfg.n_layer);
        g->cfg.max_cell = draw(g, 0, 1) ? MAX_GROUP : draw(g, 1, 5);
        g->cfg.max_each = draw(g, 0, 1) ? 0 : draw(g, 1, 4);
        g->cfg.order =
            draw(g, 0, 2) ? WAVEFRONT_DIAGONAL : WAVEFRONT_SEQUENTIAL;
        g->cfg.remote_state = draw(g, 0, 1);
        g->cfg.chained = draw(g, 0, 2) == 0;
        run_random(g);
    }
}

/* One stream, enough slots: n + L - 1 groups; sequential or chained: n L. */
static void
group_count(void **state)
{
    grid *g = *state;
    for (uint32_t i = 0; i < 3 * MAX_LAYER * 12; i++) {
        bool wide = i % 3 == 0;
        memset(g, 0, sizeof *g);
        g->seed = i + 1;
        g->cfg.order = i % 3 == 1 ? WAVEFRONT_SEQUENTIAL : WAVEFRONT_DIAGONAL;
        g->cfg.chained = i % 3 == 2;
        g->cfg.n_stream = 1;
        g->cfg.n_layer = 1 + i / 3 % MAX_LAYER;
        g->cfg.n_slot = g->cfg.n_layer + 1;
        g->cfg.max_cell = g->cfg.n_layer;
        grid_open(g);
        while (g->n_done < g->n_cell) {
            while (wavefront_released(g->w, 0) < wavefront_finished(g->w, 0))
                release(g, 0);
            while (wavefront_room(g->w, 0) > 0 &&
                   wavefront_fed(g->w, 0) < g->stream[0].n_seg)
                feed(g, 0);
            compute(g);
        }
        uint64_t n = g->stream[0].n_seg, n_layer = g->cfg.n_layer;
        assert_int_equal(g->n_group, wide ? n + n_layer - 1 : n * n_layer);
        wavefront_free(g->w);
    }
}

/* Chained streams: one cell each in a group, and all of them in the same. */
static void
chained_share(void **state)
{
    const wavefront_config cfg = {.n_stream = 3,
                                  .n_layer = 4,
                                  .n_slot = 5,
                                  .max_cell = 9,
                                  .chained = true};
    wavefront_cell cells[9];
    wavefront *w = NULL;

    (void)state;
    EXPECT_OK(wavefront_new(&w, &cfg));
    for (uint32_t id = 0; id < 3; id++) {
        wavefront_open(w, id, 0);
        for (uint32_t i = 0; i < 5; i++)
            wavefront_feed(w, id);
    }
    for (uint32_t i = 0; i < 5 * 4; i++) {
        assert_int_equal(wavefront_pick(w, cells), 3);
        for (uint32_t k = 0; k < 3; k++) {
            assert_int_equal(cells[k].stream, k);
            assert_int_equal(cells[k].layer, i % 4);
        }
        wavefront_done(w);
    }
    assert_int_equal(wavefront_pick(w, cells), 0);
    wavefront_free(w);
}

/* A larger priority is first in a cut group; equals take turns. */
static void
priorities(void **state)
{
    (void)state;
    wavefront_config cfg = {
        .n_stream = 3, .n_layer = 1, .n_slot = 8, .max_cell = 1};
    wavefront_cell cell;
    wavefront *w = NULL;
    EXPECT_OK(wavefront_new(&w, &cfg));
    wavefront_open(w, 0, 1);
    wavefront_open(w, 2, 1);
    wavefront_open(w, 1, 7);
    for (uint32_t id = 0; id < 3; id++)
        for (uint32_t i = 0; i < 4; i++)
            wavefront_feed(w, id);
    uint32_t served[3] = {0};
    for (uint32_t i = 0; i < 12; i++) {
        assert_int_equal(wavefront_pick(w, &cell), 1);
        if (i < 4)
            assert_int_equal(cell.stream, 1);
        served[cell.stream]++;
        assert_true(served[0] <= served[2] + 1 && served[2] <= served[0] + 1);
        wavefront_done(w);
    }
    assert_int_equal(wavefront_pick(w, &cell), 0);
    wavefront_done(w);

    /* An id that was closed starts anew. */
    wavefront_close(w, 1);
    wavefront_open(w, 1, 0);
    assert_int_equal(wavefront_fed(w, 1), 0);
    assert_int_equal(wavefront_finished(w, 1), 0);
    assert_int_equal(wavefront_room(w, 1), 8);
    wavefront_free(w);
}

/* Streams that are not asked for keep their ready cells, and their turn. */
static void
only_some(void **state)
{
    const wavefront_config cfg = {
        .n_stream = 3, .n_layer = 3, .n_slot = 2, .max_cell = 9};
    const bool only[3] = {false, true, false}, none[3] = {false};
    wavefront_cell cells[9];
    wavefront *w = NULL;

    (void)state;
    EXPECT_OK(wavefront_new(&w, &cfg));
    for (uint32_t id = 0; id < 3; id++) {
        wavefront_open(w, id, 0);
        wavefront_feed(w, id);
    }
    assert_int_equal(wavefront_pick(w, cells), 3);
    wavefront_done(w);
    wavefront_done(w); /* without a group: nothing */
    for (uint32_t layer = 1; layer < 3; layer++) {
        assert_int_equal(wavefront_pick_only(w, only, cells), 1);
        assert_int_equal(cells[0].stream, 1);
        assert_int_equal(cells[0].layer, layer);
        wavefront_done(w);
    }
    assert_int_equal(wavefront_finished(w, 1), 1);
    assert_int_equal(wavefront_pick_only(w, only, cells), 0);
    assert_int_equal(wavefront_pick_only(w, none, cells), 0);
    assert_int_equal(wavefront_pick(w, cells), 2);
    assert_int_equal(cells[0].stream, 0);
    assert_int_equal(cells[1].stream, 2);
    assert_int_equal(cells[1].layer, 1);
    wavefront_free(w);
}

static void
refusals(void **state)
{
    (void)state;
    wavefront *w = NULL;
    wavefront_config good = {
        .n_stream = 1, .n_layer = 1, .n_slot = 1, .max_cell = 1};
    wavefront_config cfg = good;
    cfg.n_stream = 0;
    EXPECT_ST(wavefront_new(&w, &cfg), ST_ARG);
    cfg = good;
    cfg.n_layer = 0;
    EXPECT_ST(wavefront_new(&w, &cfg), ST_ARG);
    cfg = good;
    cfg.n_slot = 0;
    EXPECT_ST(wavefront_new(&w, &cfg), ST_ARG);
    cfg = good;
    cfg.max_cell = 0;
    EXPECT_ST(wavefront_new(&w, &cfg), ST_ARG);
    assert_null(w);
    wavefront_free(NULL);
}

static int
setup(void **state)
{
    grid *g = NULL;
    EXPECT_OK(mem_new(&g, 1, sizeof *g));
    *state = g;
    return 0;
}

static int
teardown(void **state)
{
    mem_free(*state);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_grids),  cmocka_unit_test(group_count),
        cmocka_unit_test(priorities),    cmocka_unit_test(only_some),
        cmocka_unit_test(chained_share), cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
