/* SPDX-License-Identifier: Apache-2.0 */
/* The line to the daemon, against a daemon played by the test. */
#include "worker/uplink.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proto/socket.h"
#include "tests/expect.h"
#include "tests/faults/nomem.h"

enum { WAIT_MS = 30000, INCARNATION = 7 };

typedef struct rig {
    char endpoint[64];
    zcontext *z;
    zsocket *router;
    zsocket_peer world;
    uplink *line;
    world_hello hello;
} rig;

static char version[] = "0.0-test";
static char placement[] = "layers";
static char device[] = "cpu";

static void
rig_open(rig *r, uint32_t connect_ms, uint32_t gone_ms)
{
    *r = (rig){.hello = {.version = version,
                         .placement = placement,
                         .device = device,
                         .ranks = 2,
                         .threads = 1,
                         .n_layer = 3,
                         .segment_size = 4,
                         .n_vocab = 50,
                         .snapshot_bytes = 1000,
                         .streams = 2,
                         .credit_segments = 9,
                         .max_generate = 16,
                         .launch = 12345}};
    snprintf(r->endpoint, sizeof r->endpoint, "ipc:///tmp/uplink-test-%d.sock",
             (int)getpid());
    EXPECT_OK(zcontext_new(&r->z));
    EXPECT_OK(
        zsocket_router(&r->router, r->z, r->endpoint, NULL, WORLD_MAX_PART));
    uplink_config cfg = {.endpoint = r->endpoint,
                         .hello = &r->hello,
                         .connect_timeout_ms = connect_ms,
                         .gone_ms = gone_ms};
    EXPECT_OK(uplink_open(&r->line, &cfg));
}

static void
rig_close(rig *r)
{
    uplink_close(r->line);
    zsocket_close(r->router);
    zcontext_free(r->z);
}

/* The next message of kind `kind` that the daemon gets; others are skipped. */
static void
daemon_get(rig *r, world_kind kind, world_message *out, uint8_t **raw,
           size_t *len)
{
    uint64_t limit = clock_ns() + WAIT_MS * UINT64_C(1000000);
    while (clock_ns() < limit) {
        zsocket_message frame = {0};
        if (zsocket_recv(r->router, &frame, 100) != ST_OK)
            continue;
        EXPECT_OK(world_message_decode(out, frame.control, frame.control_len));
        r->world = frame.peer;
        bool wanted = out->kind == kind;
        if (wanted && raw != NULL) {
            *raw = frame.raw;
            *len = frame.raw_len;
            frame.raw = NULL;
        }
        zsocket_message_fini(&frame);
        if (wanted)
            return;
        world_message_fini(out);
    }
    fail_msg("the daemon got no message of kind %d", (int)kind);
}

static status
daemon_say(rig *r, const world_message *m, const void *raw, size_t len)
{
    uint8_t *data = NULL;
    size_t n = 0;
    EXPECT_OK(world_message_encode(&data, &n, m));
    status st = zsocket_send(r->router, &r->world, data, n, raw, len);
    mem_free(data);
    return st;
}

/* A wait is over when something comes, not when its time is. */
static void
world_get(rig *r, uplink_message *out)
{
    uint64_t limit = clock_ns() + WAIT_MS * UINT64_C(1000000);
    while (clock_ns() < limit) {
        if (uplink_receive(r->line, out))
            return;
        uplink_wait(r->line, 2 * WAIT_MS * 1000);
    }
    fail_msg("the world got no message");
}

static uplink_state
world_await(rig *r, uplink_state wanted, status expected)
{
    uplink_state state = UPLINK_CONNECTING;
    uint64_t limit = clock_ns() + WAIT_MS * UINT64_C(1000000);
    status st = ST_OK;
    do {
        st = uplink_check(r->line, &state);
        if (state != wanted)
            uplink_wait(r->line, 10000);
    } while (state != wanted && clock_ns() < limit);
    assert_int_equal(state, wanted);
    assert_int_equal(st, expected);
    return state;
}

static void
join(rig *r, uint64_t incarnation)
{
    world_message m = {0};
    uplink_message got = {0};
    daemon_get(r, WORLD_HELLO, &m, NULL, NULL);
    world_message_fini(&m);
    m = (world_message){.kind = WORLD_WELCOME, .incarnation = incarnation};
    m.u.welcome.incarnation = incarnation;
    m.u.welcome.heartbeat_ms = 50;
    m.u.welcome.timeout_ms = 200;
    EXPECT_OK(daemon_say(r, &m, NULL, 0));
    world_get(r, &got);
    assert_int_equal(got.m.kind, WORLD_WELCOME);
    uplink_message_fini(&got);
    world_await(r, UPLINK_JOINED, ST_OK);
}

static void
test_join(void **ctx)
{
    rig r;
    world_message m = {0};
    (void)ctx;
    rig_open(&r, 10000, 10000);
    uplink_state state;
    EXPECT_OK(uplink_check(r.line, &state));
    daemon_get(&r, WORLD_HELLO, &m, NULL, NULL);
    assert_string_equal(m.u.hello.version, version);
    assert_string_equal(m.u.hello.placement, placement);
    assert_int_equal(m.u.hello.ranks, 2);
    assert_int_equal(m.u.hello.credit_segments, 9);
    assert_int_equal(m.u.hello.launch, 12345);
    assert_int_equal(m.incarnation, 0);
    world_message_fini(&m);

    m = (world_message){.kind = WORLD_WELCOME, .incarnation = INCARNATION};
    m.u.welcome.incarnation = INCARNATION;
    m.u.welcome.heartbeat_ms = 20;
    m.u.welcome.timeout_ms = 1000;
    EXPECT_OK(daemon_say(&r, &m, NULL, 0));
    world_await(&r, UPLINK_JOINED, ST_OK);

    uplink_load(r.line, 123.5, 2);
    uplink_hops(r.line, 0.5, 0.25);
    for (int i = 0; i < 3; i++) {
        daemon_get(&r, WORLD_HEARTBEAT, &m, NULL, NULL);
        assert_int_equal(m.incarnation, INCARNATION);
    }
    assert_true(m.u.heartbeat.tokens_per_second == 123.5);
    assert_int_equal(m.u.heartbeat.streams_busy, 2);
    assert_true(m.u.heartbeat.hop_s == 0.5);
    assert_true(m.u.heartbeat.hop_hidden_s == 0.25);
    rig_close(&r);
}

/* Work that is there before the thread has looked at the clock for the first
 * time is late by what has passed since then, not since the machine started. */
static void
test_early_work(void **ctx)
{
    rig r;
    world_message m = {0};
    (void)ctx;
    /* Which of them is first is chance. */
    for (int i = 0; i < 20; i++) {
        rig_open(&r, 10000, 10000);
        uplink_steps(r.line, 0, true);
        join(&r, INCARNATION);
        daemon_get(&r, WORLD_HEARTBEAT, &m, NULL, NULL);
        assert_in_range(m.u.heartbeat.stalled_ms, 0, 10000);
        world_message_fini(&m);
        rig_close(&r);
    }
}

/* The replicas' stall or the main thread's, whichever is worse, and the silence
 * of ranks without work. */
static void
test_worst_stall(void **ctx)
{
    const watch_stall mild = {0, 9000000};
    const watch_stall grave = {7000000000, 1500000};
    rig r;
    world_message m = {0};
    (void)ctx;
    rig_open(&r, 10000, 10000);
    uplink_steps(r.line, 0, true);
    uplink_replicas(r.line, &mild, 5000000);
    join(&r, INCARNATION);
    daemon_get(&r, WORLD_HEARTBEAT, &m, NULL, NULL);
    assert_int_equal(m.u.heartbeat.slowest_ms, 0); /* the loop's own */
    assert_int_equal(m.u.heartbeat.silent_ms, 5);
    uplink_replicas(r.line, &grave, 0);
    do {
        world_message_fini(&m);
        daemon_get(&r, WORLD_HEARTBEAT, &m, NULL, NULL);
    } while (m.u.heartbeat.silent_ms > 0);
    assert_int_equal(m.u.heartbeat.stalled_ms, 7000);
    assert_int_equal(m.u.heartbeat.slowest_ms, 2);
    world_message_fini(&m);
    rig_close(&r);
}

static void
test_both_ways(void **ctx)
{
    rig r;
    world_message m = {0};
    uplink_message got = {0};
    uint8_t part[5] = {1, 2, 3, 4, 5};
    uint8_t *raw = NULL;
    size_t len = 0;
    (void)ctx;
    rig_open(&r, 10000, 10000);
    join(&r, INCARNATION);

    /* A dispatch of another incarnation is not for this world. */
    m = (world_message){.kind = WORLD_SEGMENT_IDS,
                        .incarnation = INCARNATION - 1,
                        .job = 5,
                        .attempt = 1};
    EXPECT_OK(daemon_say(&r, &m, part, 4));
    m.incarnation = INCARNATION;
    m.u.segment_ids.segment = 3;
    EXPECT_OK(daemon_say(&r, &m, part, 4));
    world_get(&r, &got);
    assert_int_equal(got.m.u.segment_ids.segment, 3);
    assert_int_equal(got.m.job, 5);
    assert_int_equal(got.raw_len, 4);
    assert_memory_equal(got.raw, part, 4);
    uplink_message_fini(&got);
    assert_false(uplink_receive(r.line, &got));

    m = (world_message){.kind = WORLD_SNAPSHOT, .job = 5, .attempt = 2};
    m.u.snapshot.offset = 10;
    m.u.snapshot.total = 15;
    m.u.snapshot.last = true;
    EXPECT_OK(uplink_send(r.line, &m, part, sizeof part));
    daemon_get(&r, WORLD_SNAPSHOT, &m, &raw, &len);
    assert_int_equal(m.incarnation, INCARNATION);
    assert_int_equal(m.attempt, 2);
    assert_int_equal(m.u.snapshot.offset, 10);
    assert_int_equal(len, sizeof part);
    assert_memory_equal(raw, part, len);
    mem_free(raw);
    rig_close(&r);
}

static void
test_garbage(void **ctx)
{
    rig r;
    uplink_message got = {0};
    static const uint8_t junk[64] = {0xff, 0xff, 0xff, 0xff, 0x0f, 9};
    (void)ctx;
    rig_open(&r, 10000, 10000);
    join(&r, INCARNATION);
    EXPECT_OK(zsocket_send(r.router, &r.world, junk, sizeof junk, NULL, 0));
    EXPECT_OK(zsocket_send(r.router, &r.world, junk, 0, NULL, 0));
    EXPECT_OK(zsocket_send(r.router, &r.world, junk, 3, junk, sizeof junk));
    world_message m = {.kind = WORLD_TOKEN, .incarnation = INCARNATION};
    EXPECT_OK(daemon_say(&r, &m, NULL, 0)); /* a world's message */
    m = (world_message){.kind = WORLD_CANCEL,
                        .incarnation = INCARNATION,
                        .job = 9,
                        .attempt = 1};
    EXPECT_OK(daemon_say(&r, &m, NULL, 0));
    world_get(&r, &got);
    assert_int_equal(got.m.kind, WORLD_CANCEL);
    assert_int_equal(got.m.job, 9);
    uplink_message_fini(&got);
    rig_close(&r);
}

/* What there is no memory for may be a job's, which would wait for ever: it
 * comes, or the world is given up and the job goes elsewhere. */
static void
test_no_memory(void **ctx)
{
    (void)ctx;
    for (unsigned n = 1; n <= 8; n++) {
        world_message m = {.kind = WORLD_CANCEL,
                           .incarnation = INCARNATION,
                           .job = 9,
                           .attempt = 1};
        uint64_t limit = clock_ns() + WAIT_MS * UINT64_C(1000000);
        uplink_state state = UPLINK_JOINED;
        uplink_message got = {0};
        uint8_t *data = NULL;
        size_t len = 0;
        bool here = false;
        status st = ST_OK;
        rig r;

        rig_open(&r, 10000, 10000);
        join(&r, INCARNATION);
        EXPECT_OK(world_message_encode(&data, &len, &m));
        nomem_after(NOMEM_OURS, n);
        EXPECT_OK(zsocket_send(r.router, &r.world, data, len, NULL, 0));
        while (!here && state == UPLINK_JOINED && clock_ns() < limit) {
            uplink_wait(r.line, 10000);
            here = uplink_receive(r.line, &got);
            st = uplink_check(r.line, &state);
        }
        nomem_after(NOMEM_OURS, 0);
        assert_true(here || (state == UPLINK_GONE && st == ST_NOMEM));
        uplink_message_fini(&got);
        mem_free(data);
        rig_close(&r);
    }
}

static void
test_refused(void **ctx)
{
    rig r;
    world_message m = {0};
    char code[] = "state";
    char text[] = "another model";
    (void)ctx;
    rig_open(&r, 10000, 10000);
    daemon_get(&r, WORLD_HELLO, &m, NULL, NULL);
    world_message_fini(&m);
    m = (world_message){.kind = WORLD_REFUSE};
    m.u.failed.code = code;
    m.u.failed.text = text;
    EXPECT_OK(daemon_say(&r, &m, NULL, 0));
    world_await(&r, UPLINK_REFUSED, ST_ARG);
    assert_non_null(strstr(status_text(), "another model"));
    rig_close(&r);
}

static void
test_stopped(void **ctx)
{
    rig r;
    world_message m = {.kind = WORLD_STOP, .incarnation = INCARNATION};
    (void)ctx;
    rig_open(&r, 10000, 10000);
    join(&r, INCARNATION);
    EXPECT_OK(daemon_say(&r, &m, NULL, 0));
    world_await(&r, UPLINK_STOPPED, ST_OK);
    rig_close(&r);
}

static void
test_nobody(void **ctx)
{
    rig r;
    (void)ctx;
    rig_open(&r, 100, 10000);
    world_await(&r, UPLINK_GONE, ST_TIMEOUT);
    assert_non_null(strstr(status_text(), "no daemon answered"));
    rig_close(&r);
}

/* A silent daemon hears Hello once more, and is gone after a while. */
static void
test_gone(void **ctx)
{
    rig r;
    world_message m = {0};
    (void)ctx;
    rig_open(&r, 10000, 1500);
    join(&r, INCARNATION);
    daemon_get(&r, WORLD_HELLO, &m, NULL, NULL);
    assert_int_equal(m.incarnation, 0);
    world_message_fini(&m);
    world_await(&r, UPLINK_GONE, ST_TIMEOUT);
    assert_non_null(strstr(status_text(), "gone"));
    rig_close(&r);
}

/* Nor does a main thread that does not look outlive it for long. */
static void
test_gone_unseen(void **ctx)
{
    uint64_t limit = clock_ns() + WAIT_MS * UINT64_C(1000000);
    int how = 0;
    pid_t world = fork(), ended = 0;
    rig r;
    (void)ctx;
    if (world == 0) {
        rig_open(&r, 100, 300);
        for (;;)
            pause();
    }
    assert_true(world > 0);
    while (ended == 0 && clock_ns() < limit) {
        clock_sleep_us(10000);
        ended = waitpid(world, &how, WNOHANG);
    }
    if (ended == 0)
        kill(world, SIGTERM);
    assert_int_equal(ended, world);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    char path[64];
    snprintf(path, sizeof path, "/tmp/uplink-test-%d.sock", (int)world);
    unlink(path);
}

/* A daemon that comes back welcomes the world as another incarnation. */
static void
test_rejoin(void **ctx)
{
    rig r;
    world_message m = {0};
    (void)ctx;
    rig_open(&r, 10000, 5000);
    join(&r, INCARNATION);
    zsocket_close(r.router);
    EXPECT_OK(zsocket_router(&r.router, r.z, r.endpoint, NULL, WORLD_MAX_PART));
    join(&r, INCARNATION + 1);
    daemon_get(&r, WORLD_HEARTBEAT, &m, NULL, NULL);
    m = (world_message){.kind = WORLD_TOKEN, .job = 1, .attempt = 1};
    EXPECT_OK(uplink_send(r.line, &m, NULL, 0));
    daemon_get(&r, WORLD_TOKEN, &m, NULL, NULL);
    assert_int_equal(m.incarnation, INCARNATION + 1);
    rig_close(&r);
}

/* Nobody receives: sending ends in "later", not in ever more memory. */
static void
test_full_out(void **ctx)
{
    rig r;
    world_message m = {.kind = WORLD_SNAPSHOT, .job = 1, .attempt = 1};
    uint8_t *part = NULL;
    status st = ST_OK;
    int n = 0;
    (void)ctx;
    EXPECT_OK(mem_new(&part, 1 << 20, 1));
    rig_open(&r, 10000, 10000);
    join(&r, INCARNATION);
    m.u.snapshot.total = UINT64_C(1) << 40;
    for (; st == ST_OK && n < 1000; n++) {
        m.u.snapshot.offset = (uint64_t)n << 20;
        st = uplink_send(r.line, &m, part, 1 << 20);
    }
    assert_int_equal(st, ST_TIMEOUT);
    for (int i = 0; i < n - 1; i++) {
        uint8_t *raw = NULL;
        size_t len = 0;
        daemon_get(&r, WORLD_SNAPSHOT, &m, &raw, &len);
        assert_int_equal(m.u.snapshot.offset, (uint64_t)i << 20);
        assert_int_equal(len, 1 << 20);
        mem_free(raw);
    }
    mem_free(part);
    rig_close(&r);
}

/* The world does not receive: the line stops reading and loses nothing. */
static void
test_full_in(void **ctx)
{
    enum { N = 100 };
    rig r;
    world_message m = {.kind = WORLD_SNAPSHOT,
                       .incarnation = INCARNATION,
                       .job = 1,
                       .attempt = 1};
    uplink_message got = {0};
    uint8_t *part = NULL;
    int n_sent = 0;
    (void)ctx;
    EXPECT_OK(mem_new(&part, 1 << 20, 1));
    rig_open(&r, 10000, 1500);
    join(&r, INCARNATION);
    m.u.snapshot.total = (uint64_t)N << 20;
    for (int i = 0; i < N;) {
        while (n_sent < N) {
            m.u.snapshot.offset = (uint64_t)n_sent << 20;
            if (daemon_say(&r, &m, part, 1 << 20) != ST_OK)
                break;
            n_sent++;
        }
        if (i == 0)
            clock_sleep_us(1700000); /* longer than gone_ms: it is no silence */
        world_get(&r, &got);
        assert_int_equal(got.m.kind, WORLD_SNAPSHOT);
        assert_int_equal(got.m.u.snapshot.offset, (uint64_t)i << 20);
        uplink_message_fini(&got);
        i++;
    }
    mem_free(part);
    rig_close(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join),        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_garbage),     cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_nobody),      cmocka_unit_test(test_gone),
        cmocka_unit_test(test_rejoin),      cmocka_unit_test(test_full_out),
        cmocka_unit_test(test_full_in),     cmocka_unit_test(test_early_work),
        cmocka_unit_test(test_worst_stall), cmocka_unit_test(test_gone_unseen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
