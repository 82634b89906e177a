/* SPDX-License-Identifier: Apache-2.0 */
/* T28: the core that ships, in a world of chance.
 *
 * Clients, worlds, journal and clock are played by this test from one seed:
 * messages are dropped, delayed and doubled, the journal takes its time, fails
 * and loses what it has not made durable, worlds die, whole or a rank of them,
 * hang and come back, the daemon is killed at any moment and starts again from
 * what is durable.  After every event the promises are checked:
 *
 *   P1  a job that was acknowledged is durable, and in the end is there
 *   P2  it has one result, which never changes; a key is one job
 *   P3  it goes on from its last durable checkpoint
 *   P5  with enough time and no more faults it ends
 *   P6  what ends every world that runs it is never done; what does not, is
 *
 *   sim_test [FIRST [COUNT]]     seeds; a failing one is printed            */
#include "tests/daemon/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Of all seeds: jobs that poison no world, and how many of them were done. */
typedef struct outcome {
    uint64_t n_sound, n_done;
} outcome;

uint32_t
sim_draw(uint64_t *state, uint32_t n)
{
    uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)((x ^ x >> 31) % n);
}

bool
sim_chance(sim *s, uint32_t percent)
{
    return !s->calm && sim_draw(&s->chance, 100) < percent;
}

/* ----------------------------------------------------------------- daemon ---
 */

static void
start(sim *s)
{
    core_config cfg = {.model = "tiny",
                       .n_layer = 2,
                       .segment_size = SEGMENT,
                       .n_vocab = 100,
                       .epoch = ++s->epoch,
                       .max_input = 4000,
                       .max_queue = 1000,
                       .input_window = 400,
                       .heartbeat_ms = 500,
                       .timeout_ms = 5000,
                       .hang_ms = 10000,
                       .drain_ns = UINT64_C(1000000000),
                       .checkpoint_segments = 2,
                       .input_timeout_ns = UINT64_C(60) * 1000000000};
    document old = {.id = 1000,
                    .name = "old",
                    .owner = "local",
                    .fingerprint = {1},
                    .tokens = 20,
                    .segments = 3,
                    .snapshot_bytes = SNAPSHOT,
                    .pending = 4};
    uint64_t next = 1;
    bool known;

    for (uint64_t id = 1; id <= MAX_JOB; id++)
        if (s->disk[id].there)
            next = id + 1;
    EXPECT_OK(core_new(&s->c, &cfg, next, sim_act, s));
    EXPECT_OK(core_restore_document(s->c, &old));
    for (size_t i = 0; i < s->n_doc; i++)
        EXPECT_OK(core_restore_document(s->c, &s->doc[i]));
    for (uint64_t id = 1; id <= MAX_JOB; id++) {
        sim_row *r = &s->disk[id];
        store_record record = {
            .row = r->job, .stops = NULL, .ids = r->ids, .n_id = r->n_id};

        if (r->there && r->job.state >= CLIENT_STATE_DONE)
            EXPECT_OK(core_restore_finished(s->c, &r->job));
        else if (r->there)
            EXPECT_OK(core_restore_unfinished(s->c, &record));
        for (size_t k = 0; r->there && k < r->n_checkpoint; k++)
            core_restore_checkpoint(s->c, &r->checkpoint[k], &known);
    }
    core_set_time(s->c, &s->time);
}

/* SIGKILL: what was asked for and is not durable never happens; connections
 * are gone. */
static void
kill_daemon(sim *s)
{
    core_free(s->c);
    s->n_work = 0;
    for (size_t i = 0; i < MAX_WORLD; i++)
        sim_forget(&s->world[i]);
    start(s);
    for (size_t i = 0; i < s->n_client; i++)
        sim_ask_again(s, i);
}

static void
pass_time(sim *s)
{
    s->time.now_ns += (uint64_t)(1 + sim_draw(&s->chance, 400)) * 1000000;
    s->time.wall_ms += sim_chance(s, 5) ? -86400000 : 100; /* and it jumps */
    core_set_time(s->c, &s->time);
    core_tick(s->c);
}

static void
event(sim *s)
{
    uint32_t what = sim_draw(&s->chance, 100);
    size_t i = sim_draw(&s->chance, MAX_WORLD);

    s->n_event++;
    if (what < 30)
        sim_work_once(s);
    else if (what < 70)
        sim_world_once(s, i);
    else if (what < 85)
        pass_time(s);
    else if (what < 91 && !s->calm)
        sim_client_new(s);
    else if (what < 94 && s->n_client > 0)
        sim_ask_again(s, sim_draw(&s->chance, (uint32_t)s->n_client));
    else if (what < 96)
        sim_haunt(s, i);
    else if (what < 98 && !s->calm)
        sim_die(s, i, sim_draw(&s->chance, 2) == 0);
    else if (!s->calm)
        kill_daemon(s);
}

/* P1 after every event: what was acknowledged is on the disk. */
static void
check(sim *s)
{
    for (size_t i = 0; i < s->n_client; i++) {
        const sim_asked *a = &s->client[i];

        if (a->job)
            SIM_CHECK(s, s->disk[a->job].there &&
                             strcmp(s->disk[a->job].job.key, a->key) == 0);
        for (size_t k = 0; a->job && k < 16; k++)
            SIM_CHECK(s, !a->heard[k] || s->disk[a->job].ids[k] == a->ids[k]);
    }
}

/* P5 and P6: with time and no more faults everything has ended, and what is
 * poisonous is never done. */
static void
check_end(sim *s, outcome *out)
{
    for (size_t i = 0; i < s->n_client; i++) {
        const sim_asked *a = &s->client[i];
        const sim_row *r = &s->disk[a->job];

        if (a->job == 0)
            continue;
        SIM_CHECK(s, r->job.state >= CLIENT_STATE_DONE);
        if (a->poison) {
            SIM_CHECK(s, r->job.state == CLIENT_FAILED);
            SIM_CHECK(s, r->job.st == ST_POISON || r->job.st == ST_STATE ||
                             r->job.st == ST_IO);
            continue;
        }
        out->n_sound++;
        out->n_done += r->job.state == CLIENT_STATE_DONE;
    }
}

static void
run_seed(uint64_t seed, outcome *out)
{
    sim *s;

    EXPECT_OK(mem_new(&s, 1, sizeof(*s)));
    s->seed = seed;
    s->chance = seed * UINT64_C(0xD1342543DE82EF95);
    s->time = (core_time){.now_ns = 1000000000, .wall_ms = 1};
    start(s);
    for (int i = 0; i < N_EVENT; i++) {
        event(s);
        check(s);
    }
    s->calm = true;
    for (int i = 0; i < N_CALM; i++) {
        event(s);
        check(s);
    }
    check_end(s, out);
    core_free(s->c);
    mem_free(s);
}

static uint64_t first_seed = 1, n_seed = N_SEED;

/* Disks that fail and messages that come twice may end a sound job, too: one in
 * 250 or so, and no more than that. */
static void
promises_hold(void **state)
{
    outcome out = {0};

    (void)state;
    for (uint64_t i = 0; i < n_seed; i++)
        run_seed(first_seed + i, &out);
    if (n_seed >= 100)
        assert_true(out.n_sound > 10 * n_seed &&
                    100 * out.n_done >= 99 * out.n_sound);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(promises_hold)};

    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 10);
    if (argc > 1)
        n_seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
