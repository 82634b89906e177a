/* SPDX-License-Identifier: Apache-2.0 */
/* T28: the core that ships, in a world of chance.
 *
 * Clients, worlds, journal and clock are played by this test from one seed:
 * messages are dropped, delayed and doubled, the journal takes its time, fails
 * and loses what it has not made durable, worlds die, hang and come back, the
 * daemon is killed at any moment and starts again from what is durable.  After
 * every event the promises are checked:
 *
 *   P1  a job that was acknowledged is durable, and in the end is there
 *   P2  it has one result, which never changes; a key is one job
 *   P3  it goes on from its last durable checkpoint
 *   P5  with enough time and no more faults it ends
 *
 *   sim_test [FIRST [COUNT]]     seeds; a failing one is printed            */
#include "daemon/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/journal.h"
#include "proto/snapshot.h"
#include "tests/expect.h"

enum {
    SEGMENT = 8,
    SNAPSHOT = SNAPSHOT_HEADER + 64,
    MAX_JOB = 400,
    MAX_WORLD = 3,
    MAX_CLIENT = 24,
    MAX_WORK = 1024,
    N_EVENT = 300,
    N_CALM = 12000, /* events without faults, in which everything must end */
    N_SEED = 2000
};

/* ---------------------------------------------------------------- chance ---
 */

typedef struct sim sim;

static uint32_t
draw(uint64_t *state, uint32_t n)
{
    uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)((x ^ x >> 31) % n);
}

/* What a row, its tokens and its checkpoints are on disk. */
typedef struct row {
    bool there;
    store_job job;
    int32_t ids[16];
    size_t n_id;
    store_checkpoint checkpoint[16];
    size_t n_checkpoint;
} row;

typedef enum work_kind {
    WORK_SUBMIT = 0,
    WORK_RECORD,
    WORK_TOKENS,
    WORK_END,
    WORK_STORE,
    WORK_LOOKUP,
    WORK_FETCH,
    WORK_PREPARE,
    WORK_CHECKPOINT,
    WORK_DROP
} work_kind;

/* Something that was asked of journal, disk or tokenizer. */
typedef struct work {
    work_kind kind;
    uint64_t job, number;
    uint32_t attempt;
    store_job row;
    int32_t ids[16];
    size_t first, n_id;
    document doc;
    job_watcher watcher;
} work;

/* A world, as it sees itself. */
typedef struct machine {
    bool up, joined;
    uint64_t incarnation, job, n_segment, first, done, checkpoint;
    uint32_t attempt, drawn, max_token, n_forced;
    int32_t forced[16];
    bool add, snapshot_sent, poison;
    uint64_t stale_incarnation, stale_job; /* before it was given up */
    uint32_t stale_attempt;
} machine;

/* What a client knows. */
typedef struct asked {
    bool used, add, told_end, canceled, poison;
    char key[8], name[8];
    uint64_t request, job; /* job 0: not acknowledged */
    bool heard[16];        /* who comes late hears only the rest */
    int32_t ids[16];
    int end; /* message kind of the end */
    size_t n_end_id;
    char code[16];
} asked;

struct sim {
    uint64_t seed, chance;
    uint32_t n_event;
    bool calm;
    core *c;
    core_time time;
    uint64_t epoch, next_job;
    row disk[MAX_JOB + 1];
    document doc[MAX_CLIENT];
    size_t n_doc;
    work queue[MAX_WORK]; /* a ring, in order, not yet durable */
    size_t head, n_work;
    machine world[MAX_WORLD];
    asked client[MAX_CLIENT];
    size_t n_client;
};

#define CHECK(s, cond)                                                         \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fail_msg("seed %llu, event %u: %s (line %d)",                      \
                     (unsigned long long)(s)->seed, (s)->n_event, #cond,       \
                     __LINE__);                                                \
        }                                                                      \
    } while (0)

static bool
chance(sim *s, uint32_t percent)
{
    return !s->calm && draw(&s->chance, 100) < percent;
}

/* Token `index` of the answer to job `id`: the same in every attempt, unless it
 * is sampled on another device; then only force keeps it. */
static int32_t
token_of(sim *s, const machine *m)
{
    if (m->drawn < m->n_forced)
        return m->forced[m->drawn];
    return (int32_t)draw(&s->chance, 100);
}

/* ---------------------------------------------------------------- actions ---
 */

static work *
push(sim *s, work_kind kind, uint64_t job)
{
    work *w = &s->queue[(s->head + s->n_work) % MAX_WORK];

    CHECK(s, s->n_work < MAX_WORK);
    s->n_work++;
    *w = (work){.kind = kind, .job = job};
    return w;
}

/* The shell's row, as daemon/journal.c writes it. */
static void
fill_row(store_job *r, const job *j)
{
    journal_row(r, j);
}

static asked *
client_of(sim *s, const zsocket_peer *peer, uint64_t request)
{
    for (size_t i = 0; i < s->n_client; i++)
        if (peer->id[0] == (uint8_t)i && s->client[i].request == request)
            return &s->client[i];
    return NULL;
}

/* P1 and P2 at the moment something is told. */
static void
told(sim *s, asked *a, const client_message *m)
{
    const row *r;

    if (m->kind == CLIENT_ACCEPTED) {
        CHECK(s, m->u.accepted.job <= MAX_JOB);
        r = &s->disk[m->u.accepted.job];
        CHECK(s, r->there && strcmp(r->job.key, a->key) == 0);
        CHECK(s, a->job == 0 || a->job == m->u.accepted.job);
        a->job = m->u.accepted.job;
        return;
    }
    if (m->kind == CLIENT_TOKEN) {
        r = &s->disk[m->u.token.job];
        CHECK(s, r->n_id > m->u.token.index &&
                     r->ids[m->u.token.index] == m->u.token.id);
        CHECK(s, m->u.token.index < 16);
        if (a->heard[m->u.token.index])
            CHECK(s, a->ids[m->u.token.index] == m->u.token.id);
        a->heard[m->u.token.index] = true;
        a->ids[m->u.token.index] = m->u.token.id;
        return;
    }
    if (m->kind == CLIENT_DONE) {
        r = &s->disk[m->u.done.job];
        CHECK(s, r->there && r->job.state == CLIENT_STATE_DONE);
        CHECK(s, !a->told_end ||
                     (a->end == CLIENT_DONE && a->n_end_id == m->u.done.n_id));
        for (size_t i = 0; i < m->u.done.n_id && i < 16; i++)
            CHECK(s, !a->heard[i] || m->u.done.ids[i] == a->ids[i]);
        a->told_end = true;
        a->end = CLIENT_DONE;
        a->n_end_id = m->u.done.n_id;
    }
    if (m->kind == CLIENT_REFUSED && m->u.refused.job && a->job) {
        r = &s->disk[m->u.refused.job];
        CHECK(s, r->there && r->job.state >= CLIENT_FAILED);
        CHECK(s, !a->told_end || (a->end == CLIENT_REFUSED &&
                                  strcmp(a->code, m->u.refused.code) == 0));
        a->told_end = true;
        a->end = CLIENT_REFUSED;
        (void)snprintf(a->code, sizeof(a->code), "%s", m->u.refused.code);
    } else if (m->kind == CLIENT_REFUSED && !a->job) {
        a->request = 0; /* nothing has happened: it may ask again */
    }
}

static bool
goes(const sim *s, uint64_t id, uint64_t segment)
{
    for (size_t i = 0; i < s->n_work; i++) {
        const work *w = &s->queue[(s->head + i) % MAX_WORK];

        if (w->kind == WORK_DROP && w->job == id && w->number == segment)
            return true;
    }
    return false;
}

static void
begin(sim *s, machine *w, const core_action *a)
{
    const world_message *m = a->world;
    const row *r = &s->disk[m->job];

    w->job = m->job;
    w->attempt = m->attempt;
    w->add = m->u.begin.want_snapshot;
    w->first = w->done = m->u.begin.first_segment;
    w->n_segment = m->u.begin.first_segment + m->u.begin.n_segment;
    w->checkpoint = 0;
    w->snapshot_sent = false;
    w->drawn = 0;
    w->max_token = m->u.begin.generate.max_tokens;
    w->n_forced = m->u.begin.n_forced;
    w->poison = strncmp(r->job.document, "x", 1) == 0;
    CHECK(s, w->n_forced <= 16);
    if (a->raw.len > 0)
        memcpy(w->forced, *a->raw.data, a->raw.len);
    if (!w->add) {
        w->done = w->n_segment;
        return;
    }
    /* P3: from the last checkpoint that is durable, unless it is on its way out
     * because the job had gone on without it. */
    for (size_t i = 0; i < r->n_checkpoint; i++)
        CHECK(s, r->checkpoint[i].segment <= w->first ||
                     goes(s, m->job, r->checkpoint[i].segment));
}

static void
tell_world(sim *s, const core_action *a)
{
    machine *w = &s->world[a->peer->id[0] % MAX_WORLD];

    if (w->up && chance(s, 2)) /* the connection breaks: it will join anew */
        *w = (machine){.stale_incarnation = w->incarnation,
                       .stale_job = w->job,
                       .stale_attempt = w->attempt};
    if (!w->up)
        return;
    switch ((int)a->world->kind) {
    case WORLD_WELCOME:
        w->incarnation = a->world->u.welcome.incarnation;
        w->joined = true;
        w->job = 0;
        break;
    case WORLD_BEGIN:
        if (a->world->incarnation == w->incarnation)
            begin(s, w, a);
        break;
    case WORLD_CANCEL:
        if (a->world->job == w->job && a->world->attempt == w->attempt)
            w->job = 0;
        break;
    }
}

static void
act_journal(sim *s, const core_action *a)
{
    const int32_t *ids;
    size_t n = 0;
    work *w;

    switch ((int)a->kind) {
    case CORE_SUBMIT:
    case CORE_RECORD:
        w = push(s, a->kind == CORE_SUBMIT ? WORK_SUBMIT : WORK_RECORD,
                 a->job->id);
        fill_row(&w->row, a->job);
        if (a->kind == CORE_SUBMIT)
            w->row.state = CLIENT_QUEUED;
        break;
    case CORE_TOKENS:
    case CORE_END:
        w = push(s, a->kind == CORE_END ? WORK_END : WORK_TOKENS, a->job->id);
        fill_row(&w->row, a->job);
        w->first = a->job->kept;
        if (a->job->answer) {
            ids = answer_ids(a->job->answer, &n);
            for (; w->first + w->n_id < n; w->n_id++)
                w->ids[w->n_id] = ids[w->first + w->n_id];
        }
        break;
    case CORE_STORE:
        w = push(s, WORK_STORE, a->job->id);
        fill_row(&w->row, a->job);
        w->doc = *a->document;
        break;
    case CORE_LOOKUP:
        w = push(s, WORK_LOOKUP, a->job->id);
        fill_row(&w->row, a->job);
        break;
    case CORE_FETCH:
        w = push(s, WORK_FETCH, a->number);
        w->watcher = *a->watcher;
        break;
    case CORE_CHECKPOINT_DROP:
        w = push(s, WORK_DROP, a->job->id);
        w->number = a->number;
        break;
    }
}

static void
act(void *ctx, const core_action *a)
{
    sim *s = ctx;
    asked *to;
    work *w;

    switch ((int)a->kind) {
    case CORE_TELL_CLIENT:
        to = client_of(s, a->peer, a->client->request);
        if (to)
            told(s, to, a->client);
        break;
    case CORE_TELL_WORLD:
        tell_world(s, a);
        break;
    case CORE_PREPARE:
        (void)push(s, WORK_PREPARE, a->job->id);
        break;
    case CORE_CHECKPOINT_PART:
        if (a->world->u.checkpoint.layer != 1)
            break;
        w = push(s, WORK_CHECKPOINT, a->job->id);
        w->number = a->world->u.checkpoint.segment;
        w->attempt = a->job->attempt;
        break;
    default:
        act_journal(s, a);
        break;
    }
}

/* ---------------------------------------------------------------- journal ---
 */

static uint64_t
tokens_of(uint64_t job)
{
    return 9 + job * 13 % 90;
}

static void
drop_checkpoint(row *r, uint64_t segment)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->n_checkpoint; i++)
        if (r->checkpoint[i].segment != segment)
            r->checkpoint[kept++] = r->checkpoint[i];
    r->n_checkpoint = kept;
}

/* In the order of segments, as the journal gives them. */
static void
put_checkpoint(sim *s, row *r, const work *w)
{
    size_t i = r->n_checkpoint;

    CHECK(s, i < 16);
    for (; i > 0 && r->checkpoint[i - 1].segment > w->number; i--)
        r->checkpoint[i] = r->checkpoint[i - 1];
    r->checkpoint[i] = (store_checkpoint){
        .job = w->job, .segment = w->number, .bytes = SNAPSHOT};
    r->n_checkpoint++;
}

/* Makes it durable, or not: ST_IO. */
static status
apply(sim *s, work *w)
{
    row *r = w->job <= MAX_JOB ? &s->disk[w->job] : NULL;

    if (!r)
        return ST_NOTFOUND;
    if (w->kind <= WORK_STORE && chance(s, 3))
        return status_fail(ST_IO, "the disk is full");
    switch (w->kind) {
    case WORK_SUBMIT:
        CHECK(s, !r->there);
        *r = (row){.there = true, .job = w->row};
        break;
    case WORK_RECORD:
        r->job = w->row;
        break;
    case WORK_TOKENS:
    case WORK_END:
        for (size_t i = 0; i < w->n_id; i++) {
            CHECK(s, w->first + i <= r->n_id);
            if (w->first + i < r->n_id)
                CHECK(s, r->ids[w->first + i] == w->ids[i]);
            r->ids[w->first + i] = w->ids[i];
            if (w->first + i == r->n_id)
                r->n_id++;
        }
        if (w->kind == WORK_END) {
            CHECK(s, r->job.state < CLIENT_STATE_DONE); /* P2: once */
            r->job = w->row;
            r->n_checkpoint = 0;
        }
        break;
    case WORK_STORE:
        CHECK(s, r->job.state < CLIENT_STATE_DONE);
        r->job = w->row;
        r->n_checkpoint = 0;
        s->doc[s->n_doc++] = w->doc;
        break;
    case WORK_CHECKPOINT:
        drop_checkpoint(r, w->number);
        if (r->job.state >= CLIENT_STATE_DONE)
            break;
        put_checkpoint(s, r, w);
        break;
    case WORK_DROP:
        drop_checkpoint(r, w->number);
        break;
    case WORK_LOOKUP:
    case WORK_FETCH:
    case WORK_PREPARE:
        break;
    }
    return ST_OK;
}

static void
look_up(sim *s, const work *w)
{
    for (uint64_t id = 1; id <= MAX_JOB; id++)
        if (s->disk[id].there && strcmp(s->disk[id].job.key, w->row.key) == 0) {
            core_looked_up(s->c, w->job, ST_OK, &s->disk[id].job, "");
            return;
        }
    core_looked_up(s->c, w->job, ST_NOTFOUND, NULL, "none");
}

static void
fetch(sim *s, const work *w)
{
    row *r = &s->disk[w->job];
    store_record record = {.row = r->job, .ids = r->ids, .n_id = r->n_id};

    core_fetched(s->c, &w->watcher, r->there ? ST_OK : ST_NOTFOUND, &record,
                 "none");
}

/* The first thing that was asked for is done, and the core hears of it. */
static void
work_once(sim *s)
{
    job_checkpoint k;
    status st;
    work w;

    if (s->n_work == 0)
        return;
    w = s->queue[s->head];
    s->head = (s->head + 1) % MAX_WORK;
    s->n_work--;
    st = apply(s, &w);
    k = (job_checkpoint){.segment = w.number, .bytes = SNAPSHOT};
    switch (w.kind) {
    case WORK_SUBMIT:
        core_submitted(s->c, w.job, st, "the disk is full");
        break;
    case WORK_TOKENS:
        core_tokens_kept(s->c, w.job, w.first + w.n_id, st);
        break;
    case WORK_END:
        core_ended(s->c, w.job, st, "the disk is full");
        break;
    case WORK_STORE:
        core_stored(s->c, w.job, st, "the disk is full", NULL);
        break;
    case WORK_LOOKUP:
        look_up(s, &w);
        break;
    case WORK_FETCH:
        fetch(s, &w);
        break;
    case WORK_PREPARE:
        core_tokenized(s->c, w.job, tokens_of(w.job), true);
        break;
    case WORK_CHECKPOINT:
        core_checkpointed(s->c, w.job, w.attempt, &k, st, "");
        break;
    case WORK_RECORD:
    case WORK_DROP:
        break;
    }
}

/* ----------------------------------------------------------------- worlds ---
 */

static zsocket_peer
world_peer(size_t i)
{
    return (zsocket_peer){.len = 2, .id = {(uint8_t)i, 'w'}};
}

static void
world_say(sim *s, size_t i, world_message m, size_t raw_len)
{
    zsocket_peer peer = world_peer(i);
    uint8_t *none = NULL;
    core_raw raw = {.data = &none, .len = raw_len};

    core_world_event(s->c, &peer, &m, &raw);
    if (chance(s, 3)) /* once more */
        core_world_event(s->c, &peer, &m, &raw);
}

static void
hello(sim *s, size_t i)
{
    static char word[] = "cpu";
    world_message m = {.kind = WORLD_HELLO};

    m.u.hello.version = m.u.hello.model_dir = m.u.hello.placement = word;
    m.u.hello.device = m.u.hello.device_name = word;
    m.u.hello.fingerprint[0] = 1;
    m.u.hello.ranks = m.u.hello.threads = 1;
    m.u.hello.n_layer = 2;
    m.u.hello.segment_size = SEGMENT;
    m.u.hello.n_vocab = 100;
    m.u.hello.snapshot_bytes = SNAPSHOT;
    m.u.hello.streams = 1;
    m.u.hello.credit_segments = 4;
    m.u.hello.max_generate = 16;
    world_say(s, i, m, 0);
}

static world_message
of(const machine *w, world_kind kind)
{
    return (world_message){.kind = kind,
                           .incarnation = w->incarnation,
                           .job = w->job,
                           .attempt = w->attempt};
}

static void
send_shards(sim *s, size_t i)
{
    machine *w = &s->world[i];

    w->checkpoint = w->done;
    for (uint32_t layer = 0; layer < 2; layer++) {
        world_message m = of(w, WORLD_CHECKPOINT);

        m.u.checkpoint.segment = w->done;
        m.u.checkpoint.layer = layer;
        m.u.checkpoint.total = 32;
        world_say(s, i, m, 32);
    }
}

static void
finish(sim *s, size_t i)
{
    static char how[] = "length";
    machine *w = &s->world[i];
    world_message m = of(w, WORLD_SNAPSHOT);

    if (w->add && !w->snapshot_sent) {
        m.u.snapshot.total = SNAPSHOT;
        m.u.snapshot.last = true;
        w->snapshot_sent = true;
        world_say(s, i, m, SNAPSHOT);
        return;
    }
    m = of(w, WORLD_JOB_DONE);
    m.u.job_done.finish = how;
    w->job = 0;
    world_say(s, i, m, 0);
}

static void
die(sim *s, size_t i, bool noticed)
{
    zsocket_peer peer = world_peer(i);

    s->world[i] = (machine){.stale_incarnation = s->world[i].incarnation,
                            .stale_job = s->world[i].job,
                            .stale_attempt = s->world[i].attempt};
    if (noticed)
        core_world_gone(s->c, &peer, "killed");
}

/* A zombie speaks of what it was given in another life. */
static void
haunt(sim *s, size_t i)
{
    machine *w = &s->world[i];
    machine was = {.incarnation = w->stale_incarnation,
                   .job = w->stale_job,
                   .attempt = w->stale_attempt};
    world_message m = of(&was, WORLD_TOKEN);

    if (was.job == 0 || !w->joined)
        return; /* it has not been given up yet */
    m.u.token.id = 77;
    world_say(s, i, m, 0);
    m = of(&was, WORLD_JOB_DONE);
    m.u.job_done.finish = (char *)(uintptr_t) "length";
    world_say(s, i, m, 0);
}

/* One step of a world's own. */
static void
world_once(sim *s, size_t i)
{
    machine *w = &s->world[i];
    world_message m;

    if (!w->up) {
        w->up = true;
        hello(s, i);
        return;
    }
    m = (world_message){.kind = WORLD_HEARTBEAT, .incarnation = w->incarnation};
    world_say(s, i, m, 0);
    if (w->job == 0)
        return;
    if (w->poison || chance(s, 2)) {
        die(s, i, true);
    } else if (w->done < w->n_segment) {
        w->done++;
        m = of(w, WORLD_SEGMENTS_DONE);
        m.u.segments_done.segments = w->done - w->first;
        world_say(s, i, m, 0);
        if (w->job && w->done >= w->checkpoint + 2 && w->done < w->n_segment)
            send_shards(s, i);
    } else if (!w->add && w->drawn < w->max_token) {
        m = of(w, WORLD_TOKEN);
        m.u.token.index = w->drawn;
        m.u.token.id = token_of(s, w);
        w->drawn++;
        world_say(s, i, m, 0);
    } else {
        finish(s, i);
    }
}

/* ---------------------------------------------------------------- clients ---
 */

static void
client_say(sim *s, size_t i, client_message *m, size_t raw_len)
{
    static uint8_t zeros[64];
    zsocket_peer peer = {.len = 1, .id = {(uint8_t)i}};
    uint8_t *data = zeros;
    core_raw raw = {.data = &data, .len = raw_len};
    core_caller from = {.client = &peer, .owner = "local"};

    if (chance(s, 5))
        return; /* lost */
    core_client_event(s->c, &from, m, &raw);
}

static void
ask_again(sim *s, size_t i)
{
    asked *a = &s->client[i];
    client_message m = {.kind = CLIENT_WATCH};
    static uint64_t request; /* only has to differ */

    a->request = ++request;
    m.request = a->request;
    if (a->job) {
        m.u.job.job = a->job;
        client_say(s, i, &m, 0);
        return;
    }
    if (a->add) {
        m.kind = CLIENT_ADD;
        m.u.add.name = a->name;
        m.u.add.model = (char *)(uintptr_t) "";
        m.u.add.input = CLIENT_IDS;
        m.u.add.bytes = 40;
        m.u.add.key.key = a->key;
    } else {
        m.kind = CLIENT_ASK;
        m.u.ask.document = (char *)(uintptr_t) "old";
        m.u.ask.input = CLIENT_IDS;
        m.u.ask.bytes = 40;
        m.u.ask.sampling.max_tokens = 1 + (uint32_t)i % 8;
        m.u.ask.key.key = a->key;
    }
    client_say(s, i, &m, 40);
}

static void
client_new(sim *s)
{
    size_t i = s->n_client;
    asked *a = &s->client[i];

    if (i >= MAX_CLIENT)
        return;
    s->n_client++;
    *a = (asked){.used = true, .add = draw(&s->chance, 2) == 0};
    a->poison = a->add && draw(&s->chance, 8) == 0;
    (void)snprintf(a->key, sizeof(a->key), "k%zu", i);
    (void)snprintf(a->name, sizeof(a->name), "%c%zu", a->poison ? 'x' : 'd', i);
    ask_again(s, i);
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
    EXPECT_OK(core_new(&s->c, &cfg, next, act, s));
    EXPECT_OK(core_restore_document(s->c, &old));
    for (size_t i = 0; i < s->n_doc; i++)
        EXPECT_OK(core_restore_document(s->c, &s->doc[i]));
    for (uint64_t id = 1; id <= MAX_JOB; id++) {
        row *r = &s->disk[id];
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
        die(s, i, false);
    start(s);
    for (size_t i = 0; i < s->n_client; i++)
        ask_again(s, i);
}

static void
pass_time(sim *s)
{
    s->time.now_ns += (uint64_t)(1 + draw(&s->chance, 400)) * 1000000;
    s->time.wall_ms += chance(s, 5) ? -86400000 : 100; /* and it jumps */
    core_set_time(s->c, &s->time);
    core_tick(s->c);
}

static void
event(sim *s)
{
    uint32_t what = draw(&s->chance, 100);
    size_t i = draw(&s->chance, MAX_WORLD);

    s->n_event++;
    if (what < 30)
        work_once(s);
    else if (what < 70)
        world_once(s, i);
    else if (what < 85)
        pass_time(s);
    else if (what < 91 && !s->calm)
        client_new(s);
    else if (what < 94 && s->n_client > 0)
        ask_again(s, draw(&s->chance, (uint32_t)s->n_client));
    else if (what < 96)
        haunt(s, i);
    else if (what < 98 && !s->calm)
        die(s, i, draw(&s->chance, 2) == 0);
    else if (!s->calm)
        kill_daemon(s);
}

/* P1 after every event: what was acknowledged is on the disk. */
static void
check(sim *s)
{
    for (size_t i = 0; i < s->n_client; i++) {
        const asked *a = &s->client[i];

        if (a->job)
            CHECK(s, s->disk[a->job].there &&
                         strcmp(s->disk[a->job].job.key, a->key) == 0);
        for (size_t k = 0; a->job && k < 16; k++)
            CHECK(s, !a->heard[k] || s->disk[a->job].ids[k] == a->ids[k]);
    }
}

/* P5 and P6: with time and no more faults everything has ended, the poisonous
 * as poison, and nothing else as that alone. */
static void
check_end(sim *s)
{
    for (size_t i = 0; i < s->n_client; i++) {
        const asked *a = &s->client[i];
        const row *r = &s->disk[a->job];

        if (a->job == 0)
            continue;
        CHECK(s, r->job.state >= CLIENT_STATE_DONE);
        if (a->poison && r->job.state == CLIENT_FAILED)
            CHECK(s, r->job.st == ST_POISON || r->job.st == ST_STATE ||
                         r->job.st == ST_IO);
        if (a->poison)
            CHECK(s, r->job.state != CLIENT_STATE_DONE);
    }
}

static void
run_seed(uint64_t seed)
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
    check_end(s);
    core_free(s->c);
    mem_free(s);
}

static uint64_t first_seed = 1, n_seed = N_SEED;

static void
promises_hold(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < n_seed; i++)
        run_seed(first_seed + i);
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
