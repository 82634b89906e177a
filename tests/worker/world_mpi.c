/* SPDX-License-Identifier: Apache-2.0 */
/* Worlds under mpirun: random models, placements, schedules, jobs, cancels,
 * snapshots and answers, bit for bit what one rank alone gives.
 *
 *   world_mpi [FIRST [N]]     cases FIRST .. FIRST + N - 1 on all ranks
 *   world_mpi split FIRST N   the wide ones of these, the ranks dealt out anew
 *                             to several worlds at once again and again
 *
 * A deadlock ends in SIGALRM, with the case printed before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc.h"
#include "tests/worker/world_case.h"
#include "worker/decode.h"
#include "worker/draw.h"
#include "worker/idle.h"

enum { N_CASE = 150, MAX_RANK = 16, LIMIT_S = 100, LIMIT_SPLIT_S = 1500 };

typedef enum progress { PHASE_WAITING = 0, PHASE_OPEN, PHASE_CLOSED } progress;

typedef struct job_run {
    const world_case_job *j;
    progress phase;
    bool canceled;
    uint32_t stream;
    uint64_t n_fed, n_done;
    decode decode;
    uint32_t n_asked, n_drawn;
    uint64_t next_row; /* of the logits of written segments */
    uint32_t n_last;   /* logits of the answer */
    bool snapshot_asked, snapshot_came;
    uint32_t n_shard; /* states after the last written segment, as it passed */
} job_run;

typedef struct driver {
    const world_case *t;
    world *w;
    job_run run[WORLD_CASE_MAX_JOB];
    uint32_t n_turn;
    status failed; /* of a check inside the callback */
} driver;

#define CHECK(d, cond)                                                         \
    do {                                                                       \
        if (!(cond) && (d)->failed == ST_OK)                                   \
            (d)->failed =                                                      \
                status_fail(ST_STATE, "line %d: %s", __LINE__, #cond);         \
    } while (0)

/* ------------------------------------------------------------- results --- */

static void
check_logits(driver *d, job_run *r, const world_event *ev)
{
    const world_case_job *j = r->j;
    size_t row = d->t->model.n_vocab;
    uint32_t s = d->t->model.segment_size;
    const float *want;
    if (ev->seg >= j->first_seg + j->n_write) {
        CHECK(d, r->n_last < j->n_draw && ev->u.logits.n_row == 1);
        want = j->last_logits + r->n_last++ * row;
    } else {
        uint64_t at = ev->seg * s + ev->u.logits.row0;
        CHECK(d, j->want_logits);
        CHECK(d, at == j->first_seg * s + r->next_row); /* in order */
        r->next_row += ev->u.logits.n_row;
        want = j->logits + (size_t)at * row;
    }
    CHECK(d, memcmp(ev->u.logits.values, want,
                    ev->u.logits.n_row * row * sizeof *want) == 0);
}

static void
check_segment(driver *d, job_run *r, const world_event *ev)
{
    const world_case_job *j = r->j;
    if (ev->seg >= j->first_seg + j->n_write)
        return;
    CHECK(d, ev->seg == j->first_seg + r->n_done);
    r->n_done++;
    if (!j->want_logits)
        return;
    uint64_t n_row = r->n_done * d->t->model.segment_size;
    if (r->n_done == j->n_write)
        n_row -= d->t->model.segment_size - j->n_tail;
    CHECK(d, r->next_row == n_row);
}

static void
check_snapshot(driver *d, const job_run *r, const world_event *ev)
{
    const world_case_job *j = r->j;
    const memory_past past =
        world_case_past(d->t, j, j->first_seg + j->n_write);
    size_t len = memory_states_bytes(&d->t->model, KERNEL_F32, &past);
    CHECK(d, ev->u.snapshot.len == len);
    CHECK(d, memcmp(ev->u.snapshot.states, j->after, len) == 0);
}

/* Only memories of one constant size that layers have apart are captured. */
static bool
is_captured(const driver *d, const world_case_job *j)
{
    const model_config *cfg = &d->t->model;
    const memory *m = memory_of(cfg);
    const memory_past past =
        world_case_past(d->t, j, j->first_seg + j->n_write);
    for (uint32_t layer = 1; layer < cfg->n_layer; layer++) {
        if (memory_state_bytes(cfg, KERNEL_F32, layer, &past) !=
            memory_state_bytes(cfg, KERNEL_F32, 0, &past))
            return false;
    }
    return j->want_snapshot && j->n_write > 0 && !m->chained && !m->grows;
}

/* The state of one layer as the last written segment passed it. */
static void
check_shard(driver *d, const job_run *r, const world_event *ev)
{
    const world_case_job *j = r->j;
    const memory_past past =
        world_case_past(d->t, j, j->first_seg + j->n_write);
    size_t len = memory_states_bytes(&d->t->model, KERNEL_F32, &past) /
                 d->t->model.n_layer;
    const char *after = (const char *)j->after + ev->u.shard.layer * len;
    CHECK(d, is_captured(d, j));
    CHECK(d, ev->seg + 1 == j->first_seg + j->n_write);
    CHECK(d, ev->u.shard.len == len);
    CHECK(d, memcmp(ev->u.shard.state, after, len) == 0);
    CHECK(d, crc_add(0, ev->u.shard.state, len) == ev->u.shard.crc);
}

static void
on_event(void *ctx, const world_event *ev)
{
    driver *d = ctx;
    job_run *r = NULL;
    for (uint32_t i = 0; i < d->t->n_job; i++) {
        if (d->run[i].phase == PHASE_OPEN && d->run[i].stream == ev->stream)
            r = &d->run[i];
    }
    CHECK(d, r != NULL);
    if (r == NULL)
        return;
    switch (ev->kind) {
    case WORLD_EVENT_SEGMENT:
        check_segment(d, r, ev);
        break;
    case WORLD_EVENT_LOGITS:
        check_logits(d, r, ev);
        break;
    case WORLD_EVENT_TOKEN:
        CHECK(d, r->n_drawn < r->j->n_draw);
        CHECK(d, ev->u.token.id == r->j->token[r->n_drawn]);
        r->n_drawn++;
        break;
    case WORLD_EVENT_SNAPSHOT:
        r->snapshot_came = true;
        check_snapshot(d, r, ev);
        break;
    case WORLD_EVENT_SHARD:
        check_shard(d, r, ev);
        r->n_shard++;
        break;
    case WORLD_EVENT_CLOSED:
        r->phase = PHASE_CLOSED;
        break;
    case WORLD_EVENT_SPOILED:
        break; /* random weights overflow now and then: the same bits, too */
    }
}

/* ------------------------------------------------------------- driving --- */

static status
begin_answer(const driver *d, job_run *r)
{
    status st = ST_OK;
    uint64_t end = r->j->first_seg + r->j->n_write;
    uint32_t n = 0;
    const int32_t *ids = world_case_ids(d->t, r->j, end, &n);
    if (n == 0)
        return ST_OK;
    TRY(decode_init(&r->decode, &d->t->model));
    decode_prompt(&r->decode, end, ids, n);
fail:
    return st;
}

static status
open_job(driver *d, job_run *r)
{
    const world_case_job *j = r->j;
    world_stream s = {.first_seg = j->first_seg,
                      .past = world_case_past(d->t, j, j->first_seg),
                      .n_token = WORLD_CASE_MAX_TOKEN -
                                 j->first_seg * d->t->model.segment_size,
                      .n_write = j->n_write,
                      .prompt = j->n_prompt > 0,
                      .priority = j->priority,
                      .states = j->first_seg > 0 ? j->before : NULL};
    if (world_streams_open(d->w) ==
        d->t->n_stream * place_replicas(&d->t->place))
        return world_open(d->w, &r->stream, &s) == ST_STATE
                   ? ST_OK
                   : status_fail(ST_STATE, "a stream too many was opened");
    status st = world_open(d->w, &r->stream, &s);
    if (st == ST_OK) {
        r->phase = PHASE_OPEN;
        st = begin_answer(d, r);
    }
    return st;
}

static status
feed_written(driver *d, job_run *r)
{
    status st = ST_OK;
    const world_case_job *j = r->j;
    uint32_t n = 0;
    engine_segment seg = {.seg = j->first_seg + r->n_fed,
                          .want = j->want_logits ? ENGINE_LOGITS : 0};
    const int32_t *ids = world_case_ids(d->t, j, seg.seg, &n);
    seg.n_token = n;
    if (is_captured(d, j) && r->n_fed + 1 == j->n_write)
        world_capture(d->w, r->stream);
    TRY(world_feed(d->w, r->stream, &seg, ids));
    r->n_fed++;
fail:
    return st;
}

/* The prompt, the last token drawn, a segment that the answer has filled; this
 * not before the snapshot of what lies before it. */
static status
feed_answer(driver *d, job_run *r)
{
    status st = ST_OK;
    const world_case_job *j = r->j;
    engine_segment seg;
    const int32_t *ids = NULL;

    if (r->n_asked == r->n_drawn && r->n_asked < j->n_draw &&
        r->decode.n_wait == 0)
        decode_add(&r->decode, j->token[r->n_asked - 1]);
    while (decode_next(&r->decode, &seg, &ids) &&
           world_room(d->w, r->stream) > 0) {
        if (!seg.frozen && j->want_snapshot && !r->snapshot_came)
            break;
        if (seg.frozen)
            seg.want = ENGINE_TOKEN | ENGINE_LAST_LOGITS;
        seg.sample =
            (kernel_sample_args){.temperature = j->temperature,
                                 .top_p = 1,
                                 .penalty = j->penalty,
                                 .uniform = draw_uniform(7, r->n_asked)};
        TRY(world_feed(d->w, r->stream, &seg, ids));
        decode_fed(&r->decode, &seg);
        r->n_asked += seg.frozen;
    }
fail:
    return st;
}

static bool
finished(const driver *d, const job_run *r)
{
    return r->n_done == r->j->n_write && r->n_drawn == r->j->n_draw &&
           (!r->j->want_snapshot ||
            (r->snapshot_came &&
             (!is_captured(d, r->j) || r->n_shard == d->t->model.n_layer)));
}

static status
drive_job(driver *d, job_run *r)
{
    status st = ST_OK;
    const world_case_job *j = r->j;

    if (r->phase == PHASE_WAITING)
        return open_job(d, r);
    if (r->phase == PHASE_CLOSED || r->canceled)
        return ST_OK;
    while (r->n_fed < j->n_write && world_room(d->w, r->stream) > 0)
        TRY(feed_written(d, r));
    if (r->n_fed == j->n_write && j->n_draw > 0)
        TRY(feed_answer(d, r));
    if (j->want_snapshot && !r->snapshot_asked && r->n_done == j->n_write) {
        TRY(world_snapshot(d->w, r->stream));
        r->snapshot_asked = true;
    }
    if (d->n_turn >= j->cancel_turn || finished(d, r)) {
        r->canceled = true;
        world_close(d->w, r->stream);
        world_close(d->w, r->stream); /* again is fine */
    }
fail:
    return st;
}

static status
drive(driver *d)
{
    status st = ST_OK;
    idle wait = {0};
    uint32_t n_left = d->t->n_job;
    world_health health;
    while (n_left > 0) {
        bool busy = false;
        n_left = 0;
        for (uint32_t i = 0; i < d->t->n_job; i++) {
            TRY(drive_job(d, &d->run[i]));
            n_left += d->run[i].phase != PHASE_CLOSED;
        }
        TRY(world_watch(d->w, 0, &health)); /* also while others work */
        TRY(world_turn(d->w, &busy));
        TRY(d->failed);
        d->n_turn++;
        if (busy)
            idle_reset(&wait);
        else
            idle_wait(&wait, true);
    }
    for (uint32_t i = 0; i < d->t->n_job; i++) {
        if (d->run[i].j->cancel_turn == UINT32_MAX && !finished(d, &d->run[i]))
            return status_fail(ST_STATE, "job %u is not finished", i);
    }
fail:
    return st;
}

/* Ranks without work answer that they are well, and nothing stalls. */
static status
ask(driver *d)
{
    const place *p = &d->t->place;
    bool others = place_replicas(p) * p->size > 1, asked = false;
    idle wait = {0};
    world_health h = {.silent_ns = 1};
    status st = ST_OK;

    for (uint32_t i = 0; h.silent_ns > 0 || i < 3; i++) {
        bool busy = false;
        TRY(world_watch(d->w, i < 3 ? 0 : UINT64_MAX, &h));
        if (h.due || h.stall.ns > 0)
            return status_fail(ST_STATE, "a world without work stalls");
        asked |= h.silent_ns > 0;
        idle_wait(&wait, true);
        TRY(world_turn(d->w, &busy));
        asked |= busy; /* an answer, which came before it was missed */
    }
    if (asked != others)
        return status_fail(ST_STATE,
                           "who is alone is asked, or others are not");
fail:
    return st;
}

/* Ranks one by one are what is summed up, and those with cells took time for
 * them. */
static status
check_each(const world_totals *sum, const world_totals *each, uint32_t size)
{
    uint64_t n_cell = 0;
    for (uint32_t i = 0; i < size; i++) {
        n_cell += each[i].n_cell;
        if (each[i].n_cell > 0 && each[i].work_seconds <= 0)
            return status_fail(ST_STATE, "rank %u took no time", i);
    }
    if (n_cell != sum->n_cell)
        return status_fail(ST_STATE, "%llu cells of ranks, %llu in all",
                           (unsigned long long)n_cell,
                           (unsigned long long)sum->n_cell);
    return ST_OK;
}

static status
check_totals(const world_case *t, const world_totals *sum)
{
    uint64_t n_cell = 0;
    for (uint32_t i = 0; i < t->n_job; i++) {
        if (t->job[i].cancel_turn != UINT32_MAX)
            return ST_OK;
        n_cell += (t->job[i].n_write + t->job[i].n_draw +
                   world_case_rolled(t, &t->job[i])) *
                  t->model.n_layer;
    }
    if (sum->n_cell != n_cell)
        return status_fail(ST_STATE, "%llu cells were run, not %llu",
                           (unsigned long long)sum->n_cell,
                           (unsigned long long)n_cell);
    return ST_OK;
}

static status
run_case(comm *c, uint64_t number)
{
    status st = ST_OK;
    status result = ST_OK;
    world_case *t = NULL;
    world_case_rank r = {0};
    world_totals sum = {0}, each[MAX_RANK] = {{0}};
    driver d = {0};

    TRY(world_case_new(&t, number, comm_rank(c), comm_size(c)));
    comm_takes_device_set(c,
                          number % 2 == 0); /* of a device that has its own */
    if (comm_rank(c) == 0)
        world_case_print(t);
    TRY(comm_agree(c, world_case_open(&r, t, false)));
    TRY(world_new(&d.w, c, r.engine, &t->place));
    if (comm_rank(c) == 0) {
        d.t = t;
        for (uint32_t i = 0; i < t->n_job; i++)
            d.run[i].j = &t->job[i];
        TRY(world_case_solve(t));
        world_on_event(d.w, on_event, &d);
        result = drive(&d);
        if (result == ST_OK)
            result = ask(&d);
        TRY(world_stop(d.w));
    } else {
        TRY(world_serve(d.w));
    }
    ASSERT(comm_size(c) <= MAX_RANK);
    TRY(world_totals_get(d.w, &sum, comm_rank(c) == 0 ? each : NULL));
    if (comm_rank(c) == 0 && result == ST_OK)
        result = check_totals(t, &sum);
    if (comm_rank(c) == 0 && result == ST_OK)
        result = check_each(&sum, each, comm_size(c));
    st = comm_agree(c, result);
fail:
    for (uint32_t i = 0; i < WORLD_CASE_MAX_JOB; i++)
        decode_fini(&d.run[i].decode);
    world_free(d.w);
    world_case_close(&r);
    world_case_free(t);
    return st;
}

/* Deals the ranks out to worlds of 1 to all of them, which run a case each;
 * *n: how many. */
static status
run_dealt(comm *c, uint64_t number, uint64_t *n)
{
    world_case_random r = {number};
    uint32_t size = comm_size(c), rank = comm_rank(c), group = 0;
    status st = ST_OK;
    comm *part = NULL;

    *n = 0;
    for (uint32_t first = 0; first < size; (*n)++) {
        uint32_t n_rank = 1 + world_case_draw(&r, size - first);
        if (rank >= first && rank < first + n_rank)
            group = (uint32_t)*n;
        first += n_rank;
    }
    TRY(comm_split(&part, c, group));
    st = run_case(part, WORLD_CASE_WIDE + number + group);
    comm_close(part);
fail:
    return st;
}

static status
run_split(comm *c, uint64_t first, uint64_t n_case)
{
    status st = ST_OK;
    uint64_t n = 0;
    alarm(LIMIT_SPLIT_S);
    for (uint64_t i = first; i < first + n_case; i += n)
        TRY(run_dealt(c, i, &n));
fail:
    return st;
}

static status
run_all(comm *c, uint64_t first, uint64_t n_case)
{
    status st = ST_OK;
    alarm(LIMIT_S);
    for (uint64_t i = first; i < first + n_case; i++)
        TRY(run_case(c, i));
fail:
    return st;
}

int
main(int argc, char **argv)
{
    comm *c = NULL;
    status st = ST_OK;

    TRY(comm_open(&c, &argc, &argv));
    int at = argc > 1 && strcmp(argv[1], "split") == 0 ? 2 : 1;
    uint64_t first = argc > at ? strtoull(argv[at], NULL, 10) : 1;
    uint64_t n = argc > at + 1 ? strtoull(argv[at + 1], NULL, 10) : N_CASE;
    st = at == 2 ? run_split(c, first, n) : run_all(c, first, n);
    if (st != ST_OK) {
        fprintf(stderr, "rank %u: %s: %s\n", comm_rank(c), status_name(st),
                status_text());
        comm_abort(c, 1);
    }
fail:
    comm_close(c);
    return st == ST_OK ? 0 : 1;
}
