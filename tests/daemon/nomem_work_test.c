/* SPDX-License-Identifier: Apache-2.0 */
/* T16: a daemon at work whose n-th allocation fails, in a process of its own,
 * between a client and a world that ask again.  Whatever fails, all that was
 * acknowledged comes to an end, and the daemon serves on, or it ends and its
 * next start does. */
#include "daemon/service.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/config.h"
#include "model/fingerprint.h"
#include "proto/client_message.h"
#include "proto/snapshot.h"
#include "proto/socket.h"
#include "proto/world_message.h"
#include "tests/daemon/scratch.h"
#include "tests/faults/nomem.h"

#define MODEL "golden/armt-llama"
enum {
    LAST = 200,
    LANES = 16,
    FLOATS = 30,      /* of a layer's state */
    N_IDS = 40,       /* of the document, and of the question */
    WAIT_MS = 60000,  /* nothing here takes so long, on a loaded machine too */
    PATIENCE_MS = 500 /* then it is asked or said again, and waited twice as
                         long: on a loaded machine nothing is lost, but late */
};

typedef struct scene {
    scratch box;
    char client_at[128], world_at[128], data[128];
    settings set;
    pid_t pid;
    zcontext *z;
    zsocket *client, *world;
    model_config model;
    uint8_t fingerprint[32], *snapshot;
    size_t snapshot_bytes;

    /* the client: first a document, then a question */
    bool added, answered;
    unsigned n_failed; /* jobs that failed: the next one has another key */
    uint64_t acked;    /* the job that was acknowledged and has not ended */
    uint64_t asked_ns, request, patience_ns;
    uint64_t first_request; /* under the present key: any reply will do */

    /* the world: the job that it has */
    uint64_t incarnation, heard_ns, beat_ns;
    world_message begin;
    uint64_t n_come;
    bool has_failed; /* the daemon's allocation, before it ended */
} scene;

static const char *self; /* argv[0] */

/* ------------------------------------------------------------ the daemon ---
 */

/* Its exit status: as longwaved's, and 3 when memory ran out. */
static int
serve(const scene *s, nomem_kind kind, unsigned n, bool at_work)
{
    service *v = NULL;
    status st;
    int code;

    nomem_after(kind, at_work ? 0 : n);
    st = service_new(&v, &s->set);
    if (st == ST_OK && at_work)
        nomem_after(kind, n);
    if (st == ST_OK)
        st = service_run(v);
    if (st != ST_OK)
        log_error("the daemon: %s", status_text());
    code = st == ST_OK ? service_code(v) : st == ST_NOMEM ? 3 : 1;
    service_free(v);
    return code;
}

/* Whoever is killed takes along what he started. */
static pid_t
fork_that_follows(void)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0 &&
        (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent))
        _exit(1);
    return pid;
}

/* A program of its own: a fork alone has what threads of ZeroMQ's held at that
 * moment, such as an allocator's lock, which nobody gives back there. */
static void
start(scene *s, nomem_kind kind, unsigned n, bool at_work)
{
    char number[16];

    (void)snprintf(number, sizeof(number), "%u", n);
    s->pid = fork_that_follows();
    if (s->pid == 0) {
        (void)execl("/proc/self/exe", self, "serve", s->box.dir,
                    kind == NOMEM_OURS ? "ours" : "any", number,
                    at_work ? "work" : "start", (char *)NULL);
        _exit(127);
    }
    s->incarnation = s->heard_ns = s->asked_ns = 0;
    s->patience_ns = PATIENCE_MS * 1000000ULL;
}

/* An error, or one of a library that cannot go on; never a crash. */
static void
check_end(int how, nomem_kind kind)
{
    bool aborted = WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT;
    int code = WIFEXITED(how) ? WEXITSTATUS(how) : -1;

    if (!(kind == NOMEM_ANY && aborted) && code != 0 && code != 1 && code != 3)
        fail_msg("the daemon ended with %s %d",
                 WIFSIGNALED(how) ? "signal" : "status",
                 WIFSIGNALED(how) ? WTERMSIG(how) : code);
}

/* What the daemon is to know, from the directory. */
static void
init_settings(scene *s)
{
    (void)snprintf(s->client_at, sizeof(s->client_at), "ipc://%s/c",
                   s->box.dir);
    (void)snprintf(s->world_at, sizeof(s->world_at), "ipc://%s/w", s->box.dir);
    (void)snprintf(s->data, sizeof(s->data), "%s/data", s->box.dir);
    s->set = (settings){.model = MODEL,
                        .template = "plain",
                        .listen = s->client_at,
                        .listen_worlds = s->world_at,
                        .data = s->data,
                        .max_question = 100,
                        .max_input = 1 << 20,
                        .max_queue = 8,
                        .keep = 7,
                        .hang_seconds = 60,
                        .drain_seconds = 1};
}

static void
init(scene *s)
{
    size_t states;
    snapshot_info info = {.n_segment = 1};

    *s = (scene){0};
    scratch_init(&s->box);
    init_settings(s);
    EXPECT_OK(config_load(&s->model, MODEL));
    EXPECT_OK(fingerprint_read(s->fingerprint, NULL, MODEL, FINGERPRINT_STORED,
                               NULL));
    states = s->model.n_layer * FLOATS * sizeof(float);
    EXPECT_OK(snapshot_bytes(&s->snapshot_bytes, states));
    EXPECT_OK(mem_new(&s->snapshot, s->snapshot_bytes, 1));
    info.n_layer = s->model.n_layer;
    info.state_bytes = states;
    info.n_segment =
        (N_IDS + s->model.segment_size - 1) / s->model.segment_size - 1;
    memcpy(info.fingerprint, s->fingerprint, sizeof(info.fingerprint));
    EXPECT_OK(snapshot_seal(s->snapshot, s->snapshot_bytes, &info));
}

static void
fini(scene *s)
{
    mem_free(s->snapshot);
    scratch_fini(&s->box);
}

/* ------------------------------------------------------------- the world ---
 */

static void
world_say(scene *s, world_message m, const void *raw, size_t raw_len)
{
    uint8_t *data;
    size_t len;
    status st;

    m.incarnation = s->incarnation;
    EXPECT_OK(world_message_encode(&data, &len, &m));
    st = zsocket_send(s->world, NULL, data, len, raw, raw_len);
    assert_true(st == ST_OK || st == ST_TIMEOUT); /* nobody is there */
    mem_free(data);
}

static void
hello(scene *s)
{
    static char word[] = "test";
    world_message m = {.kind = WORLD_HELLO};

    m.u.hello.version = m.u.hello.model_dir = m.u.hello.placement = word;
    m.u.hello.device = m.u.hello.device_name = word;
    memcpy(m.u.hello.fingerprint, s->fingerprint, 32);
    m.u.hello.ranks = m.u.hello.threads = 1;
    m.u.hello.n_layer = s->model.n_layer;
    m.u.hello.segment_size = s->model.segment_size;
    m.u.hello.n_vocab = s->model.n_vocab;
    m.u.hello.snapshot_bytes = s->snapshot_bytes;
    m.u.hello.streams = 1;
    m.u.hello.credit_segments = 100;
    m.u.hello.max_generate = 64;
    s->incarnation = 0;
    s->begin.job = 0;
    world_say(s, m, NULL, 0);
}

static world_message
about_job(const scene *s, world_kind kind)
{
    return (world_message){
        .kind = kind, .job = s->begin.job, .attempt = s->begin.attempt};
}

static void
job_done(scene *s)
{
    static char how[] = "length";
    world_message m = about_job(s, WORLD_JOB_DONE);

    m.u.job_done.finish = how;
    world_say(s, m, NULL, 0);
    s->begin.job = 0;
}

/* Everything that the job is about has come. */
static void
job_work(scene *s)
{
    world_message m = about_job(s, WORLD_SNAPSHOT);
    hash h;

    if (s->begin.u.begin.want_snapshot) {
        m.u.snapshot.total = s->snapshot_bytes;
        m.u.snapshot.last = true;
        hash_init(&h);
        hash_add(&h, s->snapshot, s->snapshot_bytes);
        hash_end(&h, m.u.snapshot.hash);
        world_say(s, m, s->snapshot, s->snapshot_bytes);
    }
    for (uint32_t i = 0; i < s->begin.u.begin.generate.max_tokens; i++) {
        m = about_job(s, WORLD_TOKEN);
        m.u.token.index = i;
        m.u.token.id = 9;
        world_say(s, m, NULL, 0);
    }
    job_done(s);
}

static void
world_take(scene *s, const world_message *m)
{
    if (m->kind == WORLD_WELCOME) {
        s->incarnation = m->u.welcome.incarnation;
    } else if (m->kind == WORLD_BEGIN) {
        s->begin = *m;
        s->n_come = 0;
    } else if (m->kind == WORLD_CANCEL && m->job == s->begin.job) {
        job_done(s);
    } else if (m->kind == WORLD_SEGMENT_IDS && m->job == s->begin.job &&
               m->attempt == s->begin.attempt) {
        const uint64_t n = s->begin.u.begin.n_segment +
                           (s->begin.u.begin.generate.max_tokens > 0);

        if (++s->n_come == n)
            job_work(s);
    } else if (m->kind == WORLD_ABORT || m->kind == WORLD_REFUSE) {
        s->incarnation = s->heard_ns = 0;
    }
}

static void
world_turn(scene *s)
{
    zsocket_message frame = {0};
    uint64_t now = clock_ns();

    while (zsocket_recv(s->world, &frame, 0) == ST_OK) {
        world_message m = {0};

        s->heard_ns = now;
        EXPECT_OK(world_message_decode(&m, frame.control, frame.control_len));
        world_take(s, &m);
        if (m.kind != WORLD_BEGIN) /* of which nothing is owned */
            world_message_fini(&m);
        zsocket_message_fini(&frame);
    }
    if (s->heard_ns == 0 || now - s->heard_ns > 2 * s->patience_ns) {
        s->heard_ns = now;
        hello(s);
    } else if (s->incarnation != 0 && now - s->beat_ns > 100000000) {
        world_message m = {.kind = WORLD_HEARTBEAT};

        s->beat_ns = now;
        world_say(s, m, NULL, 0);
    }
}

/* ------------------------------------------------------------ the client ---
 */

static void
say(scene *s, client_message m, const void *raw, size_t raw_len)
{
    uint8_t *data;
    size_t len;
    status st;

    m.request = ++s->request;
    EXPECT_OK(client_message_encode(&data, &len, &m));
    st = zsocket_send(s->client, NULL, data, len, raw, raw_len);
    assert_true(st == ST_OK || st == ST_TIMEOUT);
    mem_free(data);
    s->asked_ns = clock_ns();
}

/* The same question under the same key, until there is an end. */
static void
submit(scene *s)
{
    static char name[] = "d";
    char key[32];
    int32_t ids[N_IDS];
    client_message m = {.kind = s->added ? CLIENT_ASK : CLIENT_ADD};

    for (int i = 0; i < N_IDS; i++)
        ids[i] = i * 7 % (int32_t)s->model.n_vocab;
    (void)snprintf(key, sizeof(key), "%s-%u", s->added ? "ask" : "add",
                   s->n_failed);
    if (s->added) {
        m.u.ask.document = name;
        m.u.ask.input = CLIENT_IDS;
        m.u.ask.bytes = sizeof(ids);
        m.u.ask.sampling.max_tokens = 3;
        m.u.ask.key.key = key;
    } else {
        m.u.add.name = name;
        m.u.add.input = CLIENT_IDS;
        m.u.add.bytes = sizeof(ids);
        m.u.add.key.key = key;
    }
    say(s, m, ids, sizeof(ids));
}

static void
client_take(scene *s, const client_message *m)
{
    uint64_t job = m->kind == CLIENT_DONE      ? m->u.done.job
                   : m->kind == CLIENT_REFUSED ? m->u.refused.job
                                               : 0;

    if (m->request < s->first_request || s->answered)
        return; /* what was asked more than once is answered as often */
    if (m->kind == CLIENT_REFUSED && job != s->acked)
        job = 0; /* never acknowledged: the key is as good as new */
    if (m->kind == CLIENT_ACCEPTED) {
        assert_true(s->acked == 0 || s->acked == m->u.accepted.job);
        s->acked = m->u.accepted.job;
    }
    if (m->kind == CLIENT_REFUSED)
        log_debug("refused: %s: %s", m->u.refused.code, m->u.refused.text);
    if (m->kind == CLIENT_REFUSED && job == 0 && m->request == s->request) {
        clock_sleep_us(100000); /* and again */
        submit(s);
    }
    if (job == 0)
        return;
    assert_true(s->acked == 0 || s->acked == job);
    s->acked = 0;
    s->n_failed += m->kind == CLIENT_REFUSED;
    if (m->kind == CLIENT_DONE && s->added) {
        assert_int_equal(m->u.done.n_id, 3);
        s->answered = true;
        return;
    }
    s->added |= m->kind == CLIENT_DONE;
    s->first_request = s->request + 1;
    submit(s);
}

static void
client_turn(scene *s)
{
    zsocket_message frame = {0};

    while (zsocket_recv(s->client, &frame, 5) == ST_OK) {
        client_message m = {0};
        uint64_t number;

        EXPECT_OK(client_message_decode(&m, &number, frame.control,
                                        frame.control_len));
        s->asked_ns = clock_ns();
        client_take(s, &m);
        client_message_fini(&m);
        zsocket_message_fini(&frame);
    }
    if (clock_ns() - s->asked_ns <= s->patience_ns)
        return;
    if (s->asked_ns != 0)
        s->patience_ns *= 2;
    submit(s);
}

/* ----------------------------------------------------------------- tests ---
 */

static void
stop(scene *s, nomem_kind kind)
{
    int how = 0;

    (void)kill(s->pid, SIGTERM);
    assert_int_equal(waitpid(s->pid, &how, 0), s->pid);
    check_end(how, kind);
}

/* Until the question is answered; whenever the daemon ends it starts again,
 * with all the memory that there is. */
static void
until_answered(scene *s, nomem_kind kind)
{
    uint64_t limit = clock_ns() + WAIT_MS * 1000000ULL;
    int how;

    while (!s->answered) {
        if (clock_ns() > limit)
            fail_msg("job %llu never ends: %u failed, %s, process %d",
                     (unsigned long long)s->acked, s->n_failed,
                     s->added ? "asked" : "not added", (int)s->pid);
        if (waitpid(s->pid, &how, WNOHANG) == s->pid) {
            check_end(how, kind);
            start(s, kind, 0, true);
        }
        world_turn(s);
        client_turn(s);
    }
}

static void
life(nomem_kind kind, unsigned n, bool at_work)
{
    scene s;

    init(&s);
    start(&s, kind, n, at_work);
    EXPECT_OK(zcontext_new(&s.z));
    EXPECT_OK(
        zsocket_dealer(&s.client, s.z, s.client_at, NULL, CLIENT_MAX_CHUNK));
    EXPECT_OK(zsocket_dealer(&s.world, s.z, s.world_at, NULL, WORLD_MAX_PART));
    until_answered(&s, kind);
    stop(&s, kind);
    assert_int_equal(s.acked, 0);
    zsocket_close(s.client);
    zsocket_close(s.world);
    zcontext_free(s.z);
    fini(&s);
}

/* -------------------------------------------------------------- in lanes ---
 * A life is mostly waiting: several go on at once, each lane a program. */

static pid_t
start_lane(const char *way, int first)
{
    char from[16];
    char step[16];
    pid_t pid = fork_that_follows();

    if (pid > 0)
        return pid;
    (void)snprintf(from, sizeof(from), "%d", first);
    (void)snprintf(step, sizeof(step), "%d", LANES);
    (void)execl("/proc/self/exe", self, way, from, step, (char *)NULL);
    _exit(127);
}

static void
sweep(const char *way)
{
    pid_t lane[LANES];
    int n_failed = 0;

    for (int i = 0; i < LANES; i++)
        lane[i] = start_lane(way, i + 1);
    for (int i = 0; i < LANES; i++) {
        int how = 0;

        assert_int_equal(waitpid(lane[i], &how, 0), lane[i]);
        n_failed += how != 0;
    }
    assert_int_equal(n_failed, 0);
}

static void
our_allocations_fail(void **state)
{
    (void)state;
    sweep("ours");
}

static void
any_allocation_fails(void **state)
{
    (void)state;
    sweep("any");
}

static void
any_allocation_of_a_start_fails(void **state)
{
    (void)state;
    sweep("start");
}

static char **arg;

static void
lives(void **state)
{
    const nomem_kind kind = arg[1][0] == 'o' ? NOMEM_OURS : NOMEM_ANY;
    const unsigned step = (unsigned)strtoul(arg[3], NULL, 10);
    unsigned n = (unsigned)strtoul(arg[2], NULL, 10);

    (void)state;
    do {
        print_message("%s %u\n", arg[1], n);
        life(kind, n, arg[1][0] != 's');
        n += step;
    } while (step > 0 && n <= LAST);
}

/* serve DIRECTORY KIND N WHEN, as start() has it; leaks are looked for. */
static int
serve_as_told(char **argv)
{
    static scene s;

    (void)snprintf(s.box.dir, sizeof(s.box.dir), "%s", argv[2]);
    init_settings(&s);
    return serve(&s, strcmp(argv[3], "ours") == 0 ? NOMEM_OURS : NOMEM_ANY,
                 (unsigned)strtoul(argv[4], NULL, 10),
                 strcmp(argv[5], "work") == 0);
}

/* With arguments a lane: ours, any or start, the first number, and how many
 * numbers on the next one is (0: there is none); or a daemon of one. */
int
main(int argc, char **argv)
{
    const struct CMUnitTest lane[] = {
        cmocka_unit_test(lives),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_allocations_fail),
        cmocka_unit_test(any_allocation_fails),
        cmocka_unit_test(any_allocation_of_a_start_fails),
    };
    const bool alone = argc == 4 && strtoul(argv[3], NULL, 10) == 0;

    self = argv[0];
    arg = argv;
    log_init("test", alone ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    if (argc == 6)
        return serve_as_told(argv);
    if (argc == 4)
        return cmocka_run_group_tests(lane, NULL, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
