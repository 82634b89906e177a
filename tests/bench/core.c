/* SPDX-License-Identifier: Apache-2.0 */
/* What an event costs the coordinator's core, in microseconds, however much it
 * has in its tables.
 *
 *   core [QUEUED [DOCUMENTS]]
 *
 * A queue of QUEUED questions behind one document that waits, of 100 clients,
 * about DOCUMENTS documents of 20 owners, before a world whose streams are all
 * taken.  The core alone: no socket, disk or journal.  Prints one JSON object,
 * mean and worst of each kind of event. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "daemon/core.h"

enum {
    CLIENTS = 100,
    OWNERS = 20,
    STREAMS = 64,
    SEGMENT = 8,
    SNAPSHOT = 96 + 64,
    CHUNK = 1 << 10,
    ROUNDS = 300,
    LISTS = 20,
    MAX_DUE = 1 << 16
};

/* What the parts around the core would report when it is done. */
typedef struct due {
    core_action_kind kind;
    uint64_t number;
} due;

typedef struct bench {
    core *c;
    due due[MAX_DUE];
    size_t n_due;
    uint64_t now_ns, job, request;
    uint64_t refused;
} bench;

typedef struct cost {
    uint64_t sum_ns, most_ns, n;
} cost;

static void
remember(bench *b, core_action_kind kind, uint64_t number)
{
    ASSERT(b->n_due < MAX_DUE);
    b->due[b->n_due++] = (due){kind, number};
}

static void
act(void *ctx, const core_action *a)
{
    bench *b = ctx;
    uint64_t number = a->kind == CORE_REMOVE ? a->document->id
                      : a->job               ? a->job->id
                                             : 0;

    switch ((int)a->kind) {
    case CORE_TELL_CLIENT:
        b->refused += a->client->kind == CLIENT_REFUSED &&
                      strcmp(a->client->u.refused.code, "canceled") != 0 &&
                      a->client->u.refused.job == 0;
        break;
    case CORE_LOOKUP:
    case CORE_SUBMIT:
        b->job = number;
        remember(b, a->kind, number);
        break;
    case CORE_PREPARE:
    case CORE_STORE:
    case CORE_END:
        remember(b, a->kind, number);
        break;
    case CORE_INPUT_OPEN:
        b->job = number;
        break;
    default:
        break;
    }
}

static void
settle(bench *b)
{
    for (size_t i = 0; i < b->n_due; i++) {
        uint64_t id = b->due[i].number;

        switch ((int)b->due[i].kind) {
        case CORE_LOOKUP:
            core_looked_up(b->c, id, ST_NOTFOUND, NULL, "");
            break;
        case CORE_SUBMIT:
            core_submitted(b->c, id, ST_OK, "");
            break;
        case CORE_PREPARE:
            core_tokenized(b->c, id, SEGMENT + 1, true);
            break;
        case CORE_STORE:
            core_stored(b->c, id, ST_OK, "", NULL);
            break;
        case CORE_END:
            core_ended(b->c, id, ST_OK, "");
            break;
        default:
            break;
        }
    }
    b->n_due = 0;
}

static zsocket_peer
peer_of(uint64_t client)
{
    zsocket_peer p = {.len = 5, .id = {1}};

    for (int i = 0; i < 4; i++)
        p.id[1 + i] = (uint8_t)(client >> 8 * i);
    return p;
}

static void
speak(bench *b, uint64_t client, client_message *m, size_t len)
{
    static char owner[OWNERS][16];
    char *me = owner[client % OWNERS];
    zsocket_peer peer = peer_of(client);
    uint8_t *none = NULL;
    core_raw raw = {.data = &none, .len = len};
    core_caller from = {.client = &peer, .owner = me};
    core_time t = {.now_ns = b->now_ns += 1000, .wall_ms = 1};

    (void)snprintf(me, sizeof(owner[0]), "owner%llu",
                   (unsigned long long)client % OWNERS);
    core_set_time(b->c, &t);
    core_client_event(b->c, &from, m, &raw);
    settle(b);
}

/* The document of the client's owner with this number. */
static char *
name_of(char out[64], uint64_t i)
{
    (void)snprintf(out, 64, "document-%llu", (unsigned long long)i);
    return out;
}

static void
ask(bench *b, uint64_t client, uint64_t doc)
{
    client_message m = {.kind = CLIENT_ASK, .request = ++b->request};
    char name[64];

    m.u.ask.document = name_of(name, doc);
    m.u.ask.input = CLIENT_IDS;
    m.u.ask.bytes = 8;
    m.u.ask.sampling.max_tokens = 4;
    speak(b, client, &m, 8);
}

static void
add(bench *b, uint64_t client, uint64_t bytes, size_t inside)
{
    client_message m = {.kind = CLIENT_ADD, .request = ++b->request};
    static char none[] = "";
    char name[64];

    (void)snprintf(name, sizeof(name), "fresh-%llu",
                   (unsigned long long)b->request);
    m.u.add.model = none;
    m.u.add.name = name;
    m.u.add.input = CLIENT_IDS;
    m.u.add.bytes = bytes;
    speak(b, client, &m, inside);
}

static void
job_request(bench *b, uint64_t client, client_kind kind, uint64_t id)
{
    client_message m = {.kind = kind, .request = ++b->request};

    m.u.job.job = id;
    speak(b, client, &m, 0);
}

static void
plain(bench *b, uint64_t client, client_kind kind)
{
    client_message m = {.kind = kind, .request = ++b->request};

    speak(b, client, &m, 0);
}

static void
took(cost *k, uint64_t start_ns)
{
    uint64_t ns = clock_ns() - start_ns;

    k->sum_ns += ns;
    k->n++;
    if (ns > k->most_ns)
        k->most_ns = ns;
}

static void
show(const char *name, const cost *k, const char *end)
{
    printf("\"%s\": [%.1f, %.1f]%s", name,
           (double)k->sum_ns * 1e-3 / (double)k->n, (double)k->most_ns * 1e-3,
           end);
}

/* -------------------------------------------------------------- scenes --- */

static status
fill(bench *b, uint64_t queued, uint64_t documents)
{
    static document doc;
    static char word[] = "cpu";
    world_message hello = {.kind = WORLD_HELLO};
    zsocket_peer world = {.len = 1, .id = {9}};
    uint8_t *none = NULL;
    core_raw raw = {.data = &none};
    status st = ST_OK;

    for (uint64_t i = 0; i < documents; i++) {
        doc = (document){.id = i + 1, .tokens = 9, .segments = 2, .pending = 1};
        doc.snapshot_bytes = SNAPSHOT;
        (void)snprintf(doc.owner, sizeof(doc.owner), "owner%llu",
                       (unsigned long long)i % OWNERS);
        (void)name_of(doc.name, i);
        TRY(core_restore_document(b->c, &doc));
    }
    hello.u.hello = (world_hello){.version = word,
                                  .model_dir = word,
                                  .placement = word,
                                  .device = word,
                                  .device_name = word,
                                  .ranks = 1,
                                  .n_layer = 2,
                                  .segment_size = SEGMENT,
                                  .n_vocab = 100,
                                  .snapshot_bytes = SNAPSHOT,
                                  .streams = STREAMS,
                                  .credit_segments = 4,
                                  .max_generate = 16};
    core_world_event(b->c, &world, &hello, &raw);
    for (uint64_t i = 0; i < STREAMS; i++)
        ask(b, i % CLIENTS, i % OWNERS);
    add(b, 0, 8, 8);
    for (uint64_t i = 0; i < queued; i++)
        ask(b, i % CLIENTS, i % CLIENTS % OWNERS + OWNERS * (i % 50));
fail:
    return st;
}

static void
submissions(bench *b)
{
    cost asks = {0}, adds = {0}, cancels = {0};

    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint64_t start = clock_ns();

        ask(b, i % CLIENTS, i % CLIENTS % OWNERS);
        took(&asks, start);
        start = clock_ns();
        job_request(b, i % CLIENTS, CLIENT_CANCEL, b->job);
        took(&cancels, start);
        start = clock_ns();
        add(b, i % CLIENTS, 8, 8);
        took(&adds, start);
        job_request(b, i % CLIENTS, CLIENT_CANCEL, b->job);
    }
    show("ask", &asks, ", ");
    show("add", &adds, ", ");
    show("cancel", &cancels, ", ");
}

static void
inputs(bench *b)
{
    client_message m = {.kind = CLIENT_CHUNK};
    cost chunks = {0};
    uint64_t request;

    add(b, CLIENTS, (uint64_t)ROUNDS * CHUNK, 0);
    request = b->request;
    for (uint64_t i = 0; i < ROUNDS; i++)
        ask(b, i % CLIENTS, i % CLIENTS % OWNERS);
    for (uint64_t i = 0; i + 1 < ROUNDS; i++) {
        uint64_t start = clock_ns();

        m.request = request;
        m.u.chunk.offset = i * CHUNK;
        speak(b, CLIENTS, &m, CHUNK);
        took(&chunks, start);
    }
    show("chunk", &chunks, ", ");
}

static void
departures(bench *b)
{
    cost gone = {0};

    for (uint64_t i = 0; i < ROUNDS; i++) {
        zsocket_peer peer = peer_of(2 * CLIENTS + i);
        uint64_t start;

        ask(b, 2 * CLIENTS + i, i % OWNERS);
        start = clock_ns();
        core_client_gone(b->c, &peer);
        settle(b);
        took(&gone, start);
    }
    show("gone", &gone, ", ");
}

static void
questions(bench *b)
{
    cost status = {0}, list = {0}, jobs = {0}, tick = {0};

    for (uint64_t i = 0; i < LISTS; i++) {
        core_time t = {.now_ns = b->now_ns += 50000000, .wall_ms = 1};
        uint64_t start = clock_ns();

        plain(b, i, CLIENT_GET_STATUS);
        took(&status, start);
        start = clock_ns();
        plain(b, i, CLIENT_LIST);
        took(&list, start);
        start = clock_ns();
        plain(b, i, CLIENT_JOBS);
        took(&jobs, start);
        core_set_time(b->c, &t);
        start = clock_ns();
        core_tick(b->c);
        settle(b);
        took(&tick, start);
    }
    show("status", &status, ", ");
    show("list", &list, ", ");
    show("jobs", &jobs, ", ");
    show("tick", &tick, "");
}

int
main(int argc, char **argv)
{
    uint64_t queued = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    uint64_t documents = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000;
    core_config cfg = {.model = "m",
                       .n_layer = 2,
                       .segment_size = SEGMENT,
                       .n_vocab = 100,
                       .epoch = 1,
                       .max_input = 1 << 30,
                       .max_queue = UINT32_MAX,
                       .share = 50,
                       .input_window = 1 << 30,
                       .heartbeat_ms = 1000,
                       .timeout_ms = UINT32_MAX,
                       .hang_ms = UINT32_MAX,
                       .input_timeout_ns = UINT64_MAX};
    bench *b = NULL;
    uint64_t start;
    status st;

    TRY(mem_new(&b, 1, sizeof(*b)));
    TRY(core_new(&b->c, &cfg, documents + 1, act, b));
    b->now_ns = 1;
    start = clock_ns();
    TRY(fill(b, queued, documents));
    printf("{\"queued\": %llu, \"documents\": %llu, \"fill_s\": %.2f, ",
           (unsigned long long)queued, (unsigned long long)documents,
           (double)(clock_ns() - start) * 1e-9);
    submissions(b);
    inputs(b);
    departures(b);
    questions(b);
    printf("}\n");
    if (b->refused > 0)
        TRY(status_fail(ST_STATE, "%llu requests were refused",
                        (unsigned long long)b->refused));
fail:
    if (st != ST_OK)
        fprintf(stderr, "core: %s\n", status_text());
    if (b)
        core_free(b->c);
    mem_free(b);
    return status_exit_code(st);
}
