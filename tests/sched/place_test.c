/* SPDX-License-Identifier: Apache-2.0 */
/* Every cell has one owner, layers are even, and ranks that pass messages in
 * any order finish the grid. */
#include "sched/place.h"

#include <stdlib.h>

#include "sched/wavefront.h"
#include "tests/expect.h"

static uint64_t
next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 11;
}

static uint32_t
draw(uint64_t *seed, uint32_t low, uint32_t high)
{
    return low + (uint32_t)(next_random(seed) % (high - low + 1));
}

static void
names(void **state)
{
    (void)state;
    const place_state plain = {0}, chained = {.chained = true};
    const place_state grows = {.grows = true};
    place p = {.n_layer = 4, .size = 2};
    EXPECT_ST(place_parse(&p, "layers", &chained), ST_UNSUPPORTED);
    EXPECT_OK(place_parse(&p, "segments", &plain));
    assert_int_equal(p.kind, PLACE_SEGMENTS);
    assert_string_equal(place_name(p.kind), "segments");
    EXPECT_OK(place_parse(&p, "layers", &plain));
    assert_int_equal(p.kind, PLACE_LAYERS);
    assert_string_equal(place_name(p.kind), "layers");
    p.size = 4;
    EXPECT_OK(place_parse(&p, "auto", &plain));
    assert_int_equal(p.kind, PLACE_SEGMENTS);
    EXPECT_OK(place_parse(&p, "auto", &grows));
    assert_int_equal(p.kind, PLACE_LAYERS);
    EXPECT_ST(place_parse(&p, "layers", &chained), ST_UNSUPPORTED);
    p.size = 5;
    EXPECT_OK(place_parse(&p, "auto", &chained));
    assert_int_equal(p.kind, PLACE_SEGMENTS);
    EXPECT_OK(place_parse(&p, "auto", &plain));
    assert_int_equal(p.kind, PLACE_LAYERS);
    EXPECT_OK(place_parse(&p, "layers:1,1,1,1", &plain));
    EXPECT_ST(place_parse(&p, "layer", &plain), ST_ARG);
    EXPECT_ST(place_parse(&p, "", &plain), ST_ARG);
    assert_int_equal(p.kind, PLACE_LAYERS);
    p.size = 1;
    EXPECT_OK(place_parse(&p, "layers", &chained));
}

/* Every rank has one place, those of a replica are neighbours. */
static void
replicas(void **state)
{
    place p = {.n_layer = 4};
    (void)state;
    assert_int_equal(place_replicas(&p), 1);
    for (uint32_t rank = 0; rank < 12; rank++) {
        EXPECT_OK(place_deal(&p, 3, 12, rank));
        assert_int_equal(place_replicas(&p), 3);
        assert_int_equal(p.size, 4);
        assert_true(p.rank < p.size);
        assert_int_equal(p.replica * p.size + p.rank, rank);
    }
    EXPECT_ST(place_deal(&p, 5, 12, 0), ST_ARG);
    EXPECT_ST(place_deal(&p, 24, 12, 0), ST_ARG);
    EXPECT_ST(place_deal(&p, 0, 12, 0), ST_ARG);
}

/* Of four replicas, with ever fewer ranks. */
static void
replicas_that_are_left(void **state)
{
    static const uint32_t left[] = {0, 1, 2, 3, 4, 1, 3, 1, 4};
    (void)state;
    for (uint32_t n_rank = 1; n_rank <= 8; n_rank++) {
        place p = {.n_layer = 5};
        assert_int_equal(place_replicas_left(4, n_rank), left[n_rank]);
        EXPECT_OK(place_deal(&p, left[n_rank], n_rank, 0));
    }
}

/* Layers: runs in rank order, lengths differ by at most one, surplus ranks
 * are the last and hold nothing. */
static void
check_layers(const place *p)
{
    uint32_t next = 0, longest = 0, shortest = UINT32_MAX, n_active = 0;
    for (uint32_t rank = 0; rank < p->size; rank++) {
        uint32_t first = 0, n = 0;
        place_layers(p, rank, &first, &n);
        if (n > 0)
            assert_int_equal(first, next);
        for (uint32_t layer = first; layer < first + n; layer++)
            assert_int_equal(place_owner(p, rank * 3, layer), rank);
        assert_true(n <= shortest); /* longer runs first */
        if (n > longest)
            longest = n;
        shortest = n;
        n_active += n > 0;
        assert_int_equal(n > 0, rank < place_active(p));
        next += n;
    }
    assert_int_equal(next, p->n_layer);
    assert_true(longest - shortest <= 1);
    assert_int_equal(n_active, place_active(p));
}

static void
owners(void **state)
{
    (void)state;
    for (uint32_t n_layer = 1; n_layer <= 20; n_layer++) {
        for (uint32_t size = 1; size <= 24; size++) {
            place p = {PLACE_LAYERS, n_layer, size, 0};
            check_layers(&p);
            p.kind = PLACE_SEGMENTS;
            assert_int_equal(place_active(&p), size);
            for (uint64_t seg = 0; seg < 50; seg++) {
                uint32_t first = 9, n = 0;
                place_layers(&p, (uint32_t)(seg % size), &first, &n);
                assert_int_equal(first, 0);
                assert_int_equal(n, n_layer);
                assert_int_equal(place_owner(&p, seg, n_layer - 1), seg % size);
            }
        }
    }
}

/* ------------------------------------------------ ranks with messages --- */

enum { MAX_RANK = 6, MAX_LAYER = 12, MAX_SEG = 40, MAX_GROUP = 64 };

/* One stream over several ranks.  A message is a number that waits until the
 * loop happens to deliver it: hidden states sent (by rank) and memory states
 * sent (by rank and layer); both arrive in order. */
typedef struct ranks {
    place p;
    uint64_t seed, n_seg, n_fed;
    wavefront *w[MAX_RANK];
    uint64_t x_sent[MAX_RANK], x_taken[MAX_RANK];
    uint64_t state_sent[MAX_RANK][MAX_LAYER];
    uint64_t state_taken[MAX_RANK][MAX_LAYER];
    bool done[MAX_SEG][MAX_LAYER];
    uint64_t n_done;
} ranks;

static uint32_t
first_of(const ranks *r, uint32_t rank, uint32_t *n)
{
    uint32_t first = 0;
    place_layers(&r->p, rank, &first, n);
    return first;
}

static void
ranks_open(ranks *r, uint64_t seed)
{
    r->seed = seed;
    r->p.kind = draw(&r->seed, 0, 1) ? PLACE_SEGMENTS : PLACE_LAYERS;
    r->p.size = draw(&r->seed, 1, MAX_RANK);
    r->p.n_layer = draw(&r->seed, 1, MAX_LAYER);
    r->n_seg = draw(&r->seed, 1, MAX_SEG);
    for (uint32_t rank = 0; rank < place_active(&r->p); rank++) {
        wavefront_config cfg = {.n_stream = 1};
        first_of(r, rank, &cfg.n_layer);
        cfg.n_slot = draw(&r->seed, 1, 6);
        cfg.max_cell = draw(&r->seed, 1, MAX_GROUP);
        cfg.max_each = place_group(&r->p, draw(&r->seed, 0, 3));
        cfg.order =
            draw(&r->seed, 0, 1) ? WAVEFRONT_SEQUENTIAL : WAVEFRONT_DIAGONAL;
        cfg.remote_state = r->p.kind == PLACE_SEGMENTS && r->p.size > 1;
        EXPECT_OK(wavefront_new(&r->w[rank], &cfg));
        wavefront_open(r->w[rank], 0, 0);
        for (uint32_t layer = 0;
             cfg.remote_state && rank == 0 && layer < cfg.n_layer; layer++)
            wavefront_state(r->w[0], 0, layer, r->state_taken[0][layer]++);
    }
}

/* The lead's feeding, with segments to their owners in order. */
static void
lead_feed(ranks *r)
{
    if (r->n_fed == r->n_seg)
        return;
    wavefront *w = r->w[place_owner(&r->p, r->n_fed, 0)];
    if (wavefront_room(w, 0) == 0)
        return;
    wavefront_feed(w, 0);
    r->n_fed++;
}

static void
deliver(ranks *r, uint32_t rank)
{
    uint32_t n_active = place_active(&r->p);
    uint32_t before = (rank + n_active - 1) % n_active;
    wavefront *w = r->w[rank];
    if (r->p.kind == PLACE_LAYERS && rank > 0) {
        /* Sends are synchronous: the slot over there is free once taken. */
        if (r->x_sent[before] == r->x_taken[rank] || !wavefront_room(w, 0))
            return;
        wavefront_feed(w, 0);
        wavefront_release(r->w[before], 0, r->x_taken[rank]++);
    }
    if (r->p.kind == PLACE_SEGMENTS && n_active > 1) {
        uint32_t layer = draw(&r->seed, 0, r->p.n_layer - 1);
        uint64_t first = rank == 0; /* rank 0 had the fresh state */
        uint64_t taken = r->state_taken[rank][layer];
        if (r->state_sent[before][layer] > taken - first)
            wavefront_state(w, 0, layer, r->state_taken[rank][layer]++);
    }
}

static void
compute(ranks *r, uint32_t rank)
{
    wavefront_cell cells[MAX_GROUP];
    wavefront *w = r->w[rank];
    uint32_t n_layer = 0, first = first_of(r, rank, &n_layer);
    uint32_t n = wavefront_pick(w, cells);
    for (uint32_t i = 0; i < n; i++) {
        bool ring = r->p.kind == PLACE_SEGMENTS;
        uint64_t seg = ring ? cells[i].seg * r->p.size + rank : cells[i].seg;
        uint32_t layer = first + cells[i].layer;
        assert_true(seg < r->n_seg && layer < r->p.n_layer);
        assert_int_equal(place_owner(&r->p, seg, layer), rank);
        assert_false(r->done[seg][layer]);
        assert_true(seg == 0 || r->done[seg - 1][layer]);
        assert_true(layer == 0 || r->done[seg][layer - 1]);
    }
    for (uint32_t i = 0; i < n; i++) {
        bool ring = r->p.kind == PLACE_SEGMENTS;
        uint64_t seg = ring ? cells[i].seg * r->p.size + rank : cells[i].seg;
        r->done[seg][first + cells[i].layer] = true;
        r->n_done++;
        if (ring)
            r->state_sent[rank][cells[i].layer]++;
        bool last = cells[i].layer == n_layer - 1;
        r->x_sent[rank] += last && !ring;
    }
    wavefront_done(w);
    /* Nobody takes the output where the last layer is. */
    bool top = r->p.kind == PLACE_SEGMENTS || rank == place_active(&r->p) - 1;
    if (top && wavefront_released(w, 0) < wavefront_finished(w, 0))
        wavefront_release(w, 0, wavefront_released(w, 0));
}

static void
completion(void **state)
{
    (void)state;
    for (uint64_t grid = 1; grid <= 3000; grid++) {
        ranks r = {.n_done = 0};
        ranks_open(&r, grid * UINT64_C(0x9E3779B97F4A7C15));
        uint64_t n_cell = r.n_seg * r.p.n_layer, turns = 0;
        uint32_t n_active = place_active(&r.p);
        while (r.n_done < n_cell) {
            /* Far more turns than any order needs: a deadlock ends here. */
            assert_true(turns++ < 2000 + 400 * n_cell);
            uint32_t rank = draw(&r.seed, 0, n_active - 1);
            switch (draw(&r.seed, 0, 2)) {
            case 0:
                lead_feed(&r);
                break;
            case 1:
                deliver(&r, rank);
                break;
            default:
                compute(&r, rank);
            }
        }
        for (uint32_t rank = 0; rank < n_active; rank++)
            wavefront_free(r.w[rank]);
    }
}

/* The slowest rank's time, by trying every division. */
static double
least_of_all(const double *layer_s, uint32_t n_rank, uint32_t n_layer,
             double tail_s)
{
    double best = 1e30;

    if (n_rank == 1)
        return n_layer * layer_s[0] + tail_s;
    for (uint32_t n = 1; n + n_rank - 1 <= n_layer; n++) {
        double rest =
            least_of_all(layer_s + 1, n_rank - 1, n_layer - n, tail_s);
        double t = n * layer_s[0] > rest ? n * layer_s[0] : rest;
        best = t < best ? t : best;
    }
    return best;
}

/* No division is sooner done; a place goes by it. */
static void
divisions(void **state)
{
    uint64_t seed = 88172645463325252;
    uint32_t ends[8], most[8];
    double layer_s[8];
    (void)state;
    for (uint32_t i = 0; i < 300; i++) {
        place p = {.n_layer = draw(&seed, 1, 9), .size = draw(&seed, 1, 5)};
        uint32_t n_active = p.size < p.n_layer ? p.size : p.n_layer;
        double tail_s = draw(&seed, 0, 30), slowest = 0;
        for (uint32_t rank = 0; rank < p.size; rank++) {
            layer_s[rank] = draw(&seed, 1, 20);
            most[rank] = p.n_layer;
        }
        EXPECT_OK(place_divide(ends, &p, layer_s, most, tail_s));
        p.ends = ends;
        assert_int_equal(place_active(&p), n_active);
        uint32_t next = 0;
        for (uint32_t rank = 0; rank < p.size; rank++) {
            uint32_t first = 0, n = 0;
            place_layers(&p, rank, &first, &n);
            assert_int_equal(n > 0, rank < n_active);
            for (uint32_t layer = first; layer < first + n; layer++)
                assert_int_equal(place_owner(&p, 3, layer), rank);
            next += n;
            double t = n * layer_s[rank];
            t += rank + 1 == n_active ? tail_s : 0;
            slowest = t > slowest ? t : slowest;
        }
        assert_int_equal(next, p.n_layer);
        double least = least_of_all(layer_s, n_active, p.n_layer, tail_s);
        assert_true(slowest <= least && slowest >= least);
    }
}

/* Room bounds what a fast rank is given; alike ranks are dealt even runs. */
static void
divisions_with_limits(void **state)
{
    const place p = {.n_layer = 8, .size = 3};
    const double slow_first[] = {4, 1, 1}, alike[] = {1, 1, 1};
    const uint32_t most[] = {8, 2, 3}, any[] = {8, 8, 8}, few[] = {2, 2, 3};
    uint32_t ends[3] = {77, 77, 77};
    (void)state;
    EXPECT_ST(place_divide(ends, &p, alike, few, 0), ST_LIMIT);
    assert_int_equal(ends[0], 77);
    EXPECT_OK(place_divide(ends, &p, slow_first, most, 0));
    assert_int_equal(ends[0], 3);
    assert_int_equal(ends[1], 5);
    assert_int_equal(ends[2], 8);
    EXPECT_OK(place_divide(ends, &p, alike, any, 0));
    assert_int_equal(ends[0], 3);
    assert_int_equal(ends[1], 6);
    /* A layer each, and one rank has no room for its own. */
    const place one_each = {.n_layer = 3, .size = 3};
    const uint32_t none[] = {1, 0, 1};
    EXPECT_ST(place_divide(ends, &one_each, alike, none, 0), ST_LIMIT);
}

/* What a rank holds in flight, and how much of it one group takes. */
static void
slots_and_groups(void **state)
{
    const uint32_t all_first[] = {8, 8};
    place p = {.kind = PLACE_LAYERS, .n_layer = 8, .size = 2};
    (void)state;
    assert_int_equal(place_slots(&p), 4 + 2);
    assert_int_equal(place_group(&p, 3), 3);
    p.ends = all_first; /* nobody waits for rank 0 */
    assert_int_equal(place_slots(&p), 8 + 2);
    assert_int_equal(place_group(&p, 3), 0);
    p = (place){.kind = PLACE_SEGMENTS, .n_layer = 8, .size = 3};
    assert_int_equal(place_slots(&p), 3 + 2);
    assert_int_equal(place_group(&p, 3), 3);
    p.size = 1;
    assert_int_equal(place_slots(&p), 8 + 2);
    assert_int_equal(place_group(&p, 3), 0);
}

/* Divisions by name: what is not one is refused. */
static void
divisions_by_name(void **state)
{
    static const char *const bad[] = {"",
                                      "8",
                                      "5,3",
                                      "5,3,0,0",
                                      "5,2,0",
                                      "0,5,3",
                                      "5,0,3",
                                      "5,3,",
                                      "5, 3,0",
                                      "-5,13,0",
                                      "5,3,x",
                                      "9,0,0",
                                      ",5,3",
                                      "5;3;0",
                                      "4294967301,3,0",
                                      "5,4294967299,0"};
    const place p = {.n_layer = 8, .size = 3};
    uint32_t ends[3];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EXPECT_ST(place_parse_division(ends, &p, bad[i]), ST_ARG);
    EXPECT_OK(place_parse_division(ends, &p, "5,3,0"));
    assert_int_equal(ends[0], 5);
    assert_int_equal(ends[1], 8);
    assert_int_equal(ends[2], 8);
    place divided = p;
    divided.ends = ends;
    assert_int_equal(place_active(&divided), 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(replicas),
        cmocka_unit_test(replicas_that_are_left),
        cmocka_unit_test(owners),
        cmocka_unit_test(divisions),
        cmocka_unit_test(divisions_with_limits),
        cmocka_unit_test(slots_and_groups),
        cmocka_unit_test(divisions_by_name),
        cmocka_unit_test(completion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
