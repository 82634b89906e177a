/* SPDX-License-Identifier: Apache-2.0 */
/* longwave-worker: one world that serves a daemon.
 *
 * Rank 0 leads: it talks to the daemon through the line's thread and runs the
 * loop below; the other ranks serve it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/weights.h"
#include "proto/snapshot.h"
#include "worker/desk.h"
#include "worker/idle.h"
#include "worker/setup.h"

enum {
    GONE_MS = 10000, /* silence after which the daemon is gone */
    REST_US = 20000, /* without a job only the line can wake the lead */
    MAX_GENERATE = 1 << 16,
    USUAL_SEGMENTS = 256, /* of a document, for the choice of a placement */
    N_OWN = 8             /* flags beside the shared ones */
};

typedef struct worker {
    setup s;
    const char *daemon, *key_file, *server_key_file;
    keyfile key;
    char *runtime_dir;
    char endpoint[512];
    uint64_t streams, max_generate, max_context, launch_token;
    double connect_timeout;
    uint64_t kin; /* the same on all ranks, as long as one lives; or 0 */
    errand_shape shape;
    uint64_t *layer_bytes; /* [n_layer], or NULL */
    world_hello hello;
    char placement[32]; /* in it */
    uplink *line;
    desk *desk;
} worker;

static const char SUMMARY[] =
    "Usage: mpirun -n N longwave-worker --model DIR [--daemon ENDPOINT]\n\n"
    "One world of N ranks that runs jobs of longwaved.  It ends with exit\n"
    "status 0 when the daemon stops it, 1 when the daemon is gone for 10 s,\n"
    "2 when the daemon does not want it.\n";

static void
own_entries(worker *w, option_entry out[N_OWN])
{
    const option_entry own[N_OWN] = {
        {.name = "daemon",
         .kind = OPTION_TEXT,
         .value = &w->daemon,
         .argument = "ENDPOINT",
         .help = "the daemon's --listen-worlds (default ipc://... in the "
                 "runtime directory)"},
        {.name = "key",
         .kind = OPTION_TEXT,
         .value = &w->key_file,
         .argument = "FILE",
         .help = "our key, made by 'longwave keygen'; a tcp endpoint needs it"},
        {.name = "server-key",
         .kind = OPTION_TEXT,
         .value = &w->server_key_file,
         .argument = "FILE",
         .help = "the daemon's public key, where our key's file does not name "
                 "it"},
        {.name = "streams",
         .kind = OPTION_U64,
         .value = &w->streams,
         .argument = "N",
         .help = "jobs at once",
         .min = 1,
         .max = 256},
        {.name = "max-generate",
         .kind = OPTION_U64,
         .value = &w->max_generate,
         .argument = "N",
         .help = "tokens that an answer may have",
         .min = 1,
         .max = MAX_GENERATE},
        {.name = "max-context",
         .kind = OPTION_U64,
         .value = &w->max_context,
         .argument = "TOKENS",
         .help =
             "of a job in all, drawn ones too, for which room is kept where "
             "the model keeps every token (default 8192)",
         .min = 1,
         .max = 1 << 30},
        {.name = "connect-timeout",
         .kind = OPTION_F64,
         .value = &w->connect_timeout,
         .argument = "SECONDS",
         .help = "for the first contact with the daemon",
         .min = 0.001,
         .max = 1e6},
        {.name = "launch-token",
         .kind = OPTION_U64,
         .value = &w->launch_token,
         .argument = "N",
         .help = "set by a daemon that starts its own world; 0: none"}};
    memcpy(out, own, sizeof own);
}

static status
parse(worker *w, int argc, char **argv, bool *done)
{
    option_entry entry[SETUP_N_OPTION + N_OWN];
    setup_entries(&w->s, entry);
    own_entries(w, entry + SETUP_N_OPTION);
    const option_set set = {.program = "longwave-worker",
                            .summary = SUMMARY,
                            .entry = entry,
                            .n_entry = SETUP_N_OPTION + N_OWN};
    w->streams = 4;
    w->max_generate = 1024;
    w->max_context = 8192;
    w->connect_timeout = 30;
    return setup_parse(&w->s, &set, argc, argv, done);
}

/* A world that a supervisor started does not outlive its launcher. */
static status
follow_launcher(const worker *w)
{
    pid_t parent = getppid();
    if (w->launch_token == 0)
        return ST_OK;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return status_fail(ST_IO, "no signal at the launcher's death: %s",
                           strerror(errno));
    if (getppid() != parent)
        return status_fail(ST_CANCELED, "the launcher is gone");
    return ST_OK;
}

/* A document's segments must not move when something is put behind it. */
static status
check_model(const model_config *cfg)
{
    if (cfg->align != CONFIG_ALIGN_LEFT)
        return status_fail(ST_UNSUPPORTED,
                           "segment_alignment other than \"left\" is not "
                           "supported here: every cut depends on the length "
                           "of the whole input");
    return ST_OK;
}

/* Where every token is kept, a job has room for so many, and no more than there
 * are positions. */
static void
limit_context(worker *w)
{
    const model_config *cfg = &w->s.cfg;

    if (!memory_of(cfg)->grows) {
        w->max_context = 0;
        return;
    }
    if (cfg->n_position > 0 && w->max_context > cfg->n_position)
        w->max_context = cfg->n_position;
    if (w->max_generate > w->max_context)
        w->max_generate = w->max_context;
}

/* Answers end before a table of positions does, behind the longest prompt. */
static status
limit_answers(worker *w)
{
    const model_config *cfg = &w->s.cfg;
    memory_span run = {.n_token = cfg->segment_size, .frozen = true};
    uint64_t asked = w->max_generate;

    limit_context(w);
    if (w->max_context > 0)
        return ST_OK; /* each job is measured as it comes */
    if (cfg->n_position == 0 || cfg->generation == CONFIG_ROLLOVER)
        return ST_OK;
    if (w->max_generate > cfg->n_position)
        w->max_generate = cfg->n_position;
    for (; w->max_generate > 0; w->max_generate--) {
        /* The last token drawn needs no row. */
        run.n_token = cfg->segment_size + (uint32_t)w->max_generate - 1;
        if (memory_check(cfg, &run) == ST_OK)
            break;
    }
    if (w->max_generate == 0)
        return status_fail(ST_UNSUPPORTED,
                           "the model's %u positions leave no room for an "
                           "answer behind a full segment",
                           cfg->n_position);
    if (w->max_generate < asked && setup_is_lead(&w->s))
        log_warn("answers have at most %llu tokens: the model has %u positions",
                 (unsigned long long)w->max_generate, cfg->n_position);
    return ST_OK;
}

/* ---------------------------------------------------------------- line --- */

/* What the states of the layers have, where they are not all alike. */
static status
fill_layers(worker *w)
{
    status st = ST_OK;
    uint32_t n = w->s.cfg.n_layer;

    if (memory_of(&w->s.cfg)->grows)
        return ST_OK;
    TRY(mem_new(&w->layer_bytes, n, sizeof *w->layer_bytes));
    for (uint32_t i = 0; i < n; i++)
        w->layer_bytes[i] = errand_layer_bytes(&w->shape, i);
fail:
    return st;
}

static status
fill_shape(worker *w)
{
    status st = ST_OK;
    const model_config *cfg = &w->s.cfg;
    uint32_t n_rank = comm_size(w->s.comm);

    w->shape = (errand_shape){.model = cfg,
                              .credit_segments = cfg->n_layer + 2 * n_rank,
                              .max_context = w->max_context,
                              .max_generate = (uint32_t)w->max_generate};
    errand_shape_bytes(&w->shape, w->s.info.compute);
    TRY(fill_layers(w));
    memcpy(w->shape.fingerprint, w->s.fingerprint, sizeof w->s.fingerprint);
fail:
    return st;
}

/* Texts of the message are not changed by anyone. */
static char *
text(const char *t)
{
    return (char *)(uintptr_t)t;
}

static void
fill_measured(worker *w)
{
    const choice *c = &w->s.choice;
    world_measured *m = &w->hello.measured;
    cost_link link;

    choice_sum(c, &m->flops, &link);
    m->link_bytes_per_s = link.bytes_per_s;
    m->link_s = link.latency_s;
    if (!c->automatic)
        return;
    m->layers_s = c->plan[PLACE_LAYERS].result.seconds;
    m->segments_s = c->plan[PLACE_SEGMENTS].result.seconds;
    m->plan_segments = USUAL_SEGMENTS;
    m->layers_alike_s = c->level[PLACE_LAYERS];
    m->segments_alike_s = c->level[PLACE_SEGMENTS];
}

/* How the ranks are used, for people: a document may have fewer than all. */
static void
fill_placement(worker *w)
{
    const place *p = &w->s.place;
    const char *name = place_name(p->kind);
    uint32_t n_replica = place_replicas(p), n_active = place_active(p);
    size_t room = sizeof w->placement;

    if (n_replica > 1 && p->size == 1)
        (void)snprintf(w->placement, room, "%u replicas", n_replica);
    else if (n_replica > 1)
        (void)snprintf(w->placement, room, "%u replicas, %s", n_replica, name);
    else if (n_active < p->size)
        (void)snprintf(w->placement, room, "%s on %u", name, n_active);
    else
        (void)snprintf(w->placement, room, "%s", name);
    w->hello.placement = w->placement;
}

static void
fill_hello(worker *w)
{
    const errand_shape *s = &w->shape;
    uint32_t n_layer = s->model->n_layer;
    w->hello = (world_hello){.version = text(LONGWAVE_VERSION),
                             .model_dir = text(w->s.opt.model),
                             .device = w->s.info.device,
                             .device_name = w->s.info.name,
                             .ranks = comm_size(w->s.comm),
                             .threads = w->s.info.n_thread,
                             .n_layer = n_layer,
                             .segment_size = s->model->segment_size,
                             .n_vocab = s->model->n_vocab,
                             .snapshot_bytes = SNAPSHOT_HEADER + s->state_bytes,
                             .token_bytes = s->token_bytes,
                             .max_context = s->max_context,
                             .layer_bytes = w->layer_bytes,
                             .n_layer_bytes = w->layer_bytes ? n_layer : 0,
                             .launch = w->launch_token,
                             .kin = w->kin,
                             .streams = (uint32_t)w->streams,
                             .credit_segments = s->credit_segments,
                             .max_generate = s->max_generate};
    if (w->hello.threads == 0)
        w->hello.threads = 1;
    memcpy(w->hello.fingerprint, s->fingerprint, sizeof s->fingerprint);
    fill_placement(w);
    fill_measured(w);
}

static status
find_daemon(worker *w)
{
    status st = ST_OK;
    if (w->daemon != NULL)
        return ST_OK;
    TRY(file_runtime_dir(&w->runtime_dir));
    int n = snprintf(w->endpoint, sizeof w->endpoint, "ipc://%s/world.sock",
                     w->runtime_dir);
    if (n < 0 || (size_t)n >= sizeof w->endpoint)
        TRY(status_fail(ST_ARG, "the runtime directory's path is too long"));
    w->daemon = w->endpoint;
fail:
    return st;
}

/* Only the lead's; the others wait for its result. */
static status
open_line(worker *w)
{
    status st = ST_OK;
    if (!setup_is_lead(&w->s))
        return ST_OK;
    TRY(find_daemon(w));
    TRY(fill_shape(w));
    fill_hello(w);
    uplink_config cfg = {.endpoint = w->daemon,
                         .hello = &w->hello,
                         .connect_timeout_ms =
                             (uint32_t)(w->connect_timeout * 1e3),
                         .gone_ms = GONE_MS};
    if (w->key_file != NULL) {
        TRY(keyfile_read_client(&w->key, w->key_file, w->server_key_file));
        cfg.key = &w->key;
    }
    TRY(uplink_open(&w->line, &cfg));
    TRY(desk_new(&w->desk, w->s.world, w->line, &w->shape,
                 (uint32_t)w->streams));
fail:
    return st;
}

/* ---------------------------------------------------------------- loop --- */

static void
say_state(const worker *w, uplink_state *last, uplink_state now)
{
    if (now == *last)
        return;
    *last = now;
    if (now == UPLINK_JOINED)
        log_info("joined the daemon at %s: %u rank%s, %s, %s", w->daemon,
                 w->hello.ranks, w->hello.ranks == 1 ? "" : "s",
                 w->hello.placement, w->s.info.name);
    else if (now == UPLINK_STOPPED)
        log_info("stopped by the daemon");
}

/* Until the daemon ends it; *verdict is how.  A failure returned is of the
 * world itself, which cannot go on. */
static status
lead(worker *w, status *verdict)
{
    status st = ST_OK;
    idle wait = {0};
    uplink_state state = UPLINK_CONNECTING;
    uplink_state said = state;

    for (;;) {
        bool busy = false;
        bool moved = false;
        *verdict = uplink_check(w->line, &state);
        say_state(w, &said, state);
        if (state > UPLINK_JOINED)
            return ST_OK;
        TRY(desk_turn(w->desk, &busy));
        TRY(world_turn(w->s.world, &moved));
        if (busy || moved)
            idle_reset(&wait);
        else if (world_streams_open(w->s.world) == 0)
            uplink_wait(w->line, REST_US);
        else
            uplink_wait(w->line, idle_next(&wait, true, clock_ns()));
    }
fail:
    return st;
}

static status
run(worker *w)
{
    status st = ST_OK;
    status verdict = ST_OK;

    if (setup_is_lead(&w->s)) {
        TRY(lead(w, &verdict));
        TRY(world_stop(w->s.world));
    } else {
        TRY(world_serve(w->s.world));
    }
    return setup_agree(&w->s, verdict);
fail:
    /* The other ranks still wait for messages. */
    if (!comm_has_lost(w->s.comm))
        setup_abort(&w->s, st);
    return st;
}

static status
name_kin(worker *w)
{
    if (!comm_survives(w->s.comm))
        return ST_OK;
    hash_random(&w->kin, sizeof w->kin);
    w->kin |= 1;
    return comm_share(w->s.comm, &w->kin, sizeof w->kin);
}

/* Model, engine and world of the ranks that there are. */
static status
gather(worker *w)
{
    status st = ST_OK;

    TRY(setup_model(&w->s));
    TRY(setup_agree(&w->s, check_model(&w->s.cfg)));
    TRY(setup_agree(&w->s, limit_answers(w)));
    setup_world args = {
        .n_stream = (uint32_t)w->streams,
        .n_answer = (uint32_t)w->max_generate,
        .n_token = w->max_context,
        .job = {.n_stream = (uint32_t)w->streams, .n_seg = USUAL_SEGMENTS},
        .measure = true};
    TRY(setup_start(&w->s, &args));
    TRY(setup_agree(&w->s, open_line(w)));
fail:
    /* What a rank's death leaves half started is not put together again. */
    if (st != ST_OK && comm_has_lost(w->s.comm))
        setup_abort(&w->s, st);
    return st;
}

static void
put_away(worker *w)
{
    desk_free(w->desk);
    w->desk = NULL;
    uplink_close(w->line);
    w->line = NULL;
    keyfile_wipe(&w->key);
    mem_free(w->layer_bytes);
    w->layer_bytes = NULL;
}

/* The ranks that are left come to the daemon as another world, which is given
 * the jobs of the one that is gone. */
static status
come_back(worker *w)
{
    status st = ST_OK;
    uint32_t before = comm_size(w->s.comm);

    TRY(comm_give_up(w->s.comm));
    put_away(w);
    setup_put_away(&w->s);
    TRY(comm_shrink(w->s.comm));
    w->s.fewer = true;
    if (setup_is_lead(&w->s))
        log_warn("%u of %u ranks are left: they go on", comm_size(w->s.comm),
                 before);
    return ST_OK;
fail:
    setup_abort(&w->s, st);
    return st;
}

static void
abort_world(void *all, int exit_status)
{
    comm_abort(all, exit_status);
}

int
main(int argc, char **argv)
{
    worker w = {0};
    bool done = false;
    status st = ST_OK;

    TRY(setup_open(&w.s, "longwave-worker", &argc, &argv));
    TRY(parse(&w, argc, argv, &done));
    if (done)
        goto fail;
    FAULT_ON_ABORT(abort_world, w.s.comm);
    FAULT_POINT(WORLD_START);
    TRY(setup_agree(&w.s, follow_launcher(&w)));
    TRY(setup_agree(&w.s, name_kin(&w)));
    TRY(gather(&w));
    while ((st = run(&w)) != ST_OK && comm_has_lost(w.s.comm)) {
        TRY(come_back(&w));
        TRY(gather(&w));
    }
fail:
    put_away(&w);
    return setup_close(&w.s, st);
}
