/* SPDX-License-Identifier: Apache-2.0 */
/* T16: a worker whose n-th allocation fails, while it opens its engine and
 * world or at work on a document and a question; each in a process of its own.
 * What fails is the job or the world, with a status; jobs that come after are
 * right to the bit. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "proto/snapshot.h"
#include "tests/expect.h"
#include "tests/faults/nomem.h"
#include "tests/worker/world_case.h"
#include "worker/errand.h"

enum {
    LAST = 200,
    JOB = 11,
    CREDIT = 64,
    MAX_TURN = 5000,
    MAX_SNAPSHOT = 1 << 20,
    WRONG = 10 /* exit statuses of a child from here on are findings */
};

typedef struct bench {
    world_case *t;
    const world_case_job *j;
    errand_shape shape;
    comm *c;
    world_case_rank rank;
    world *w;
    errand *e;

    /* what the daemon has heard of the job */
    bool over, failed;
    uint32_t n_token;
    int32_t token[WORLD_CASE_MAX_DRAW];
    size_t snapshot_len;
    uint8_t snapshot[MAX_SNAPSHOT];
} bench;

/* The first random case whose first job begins without a snapshot, leaves
 * states that do not grow, and draws an answer. */
static void
find_case(bench *b)
{
    for (uint64_t number = 1;; number++) {
        if (world_case_new(&b->t, number, 0, 1) != ST_OK)
            abort();
        b->j = &b->t->job[0];
        if (b->j->first_seg == 0 && b->j->n_write > 3 && b->j->n_draw > 1 &&
            b->j->n_tail == b->t->model.segment_size &&
            b->j->temperature <= 0 && b->j->penalty <= 0 &&
            b->t->model.memory == CONFIG_MEMORY_ASSOC)
            return;
        world_case_free(b->t);
    }
}

static status
heard(void *ctx, const world_message *m, const void *raw, size_t len)
{
    bench *b = ctx;

    if (m->kind == WORLD_TOKEN && b->n_token < WORLD_CASE_MAX_DRAW)
        b->token[b->n_token++] = m->u.token.id;
    if (m->kind == WORLD_SNAPSHOT && b->snapshot_len + len <= MAX_SNAPSHOT) {
        memcpy(b->snapshot + b->snapshot_len, raw, len);
        b->snapshot_len += len;
    }
    b->over |= m->kind == WORLD_JOB_DONE || m->kind == WORLD_JOB_FAILED;
    b->failed |= m->kind == WORLD_JOB_FAILED;
    return ST_OK;
}

static void
on_event(void *ctx, const world_event *ev)
{
    bench *b = ctx;

    errand_event(b->e, ev);
}

static status
open_all(bench *b)
{
    static char name[] = "test";
    char *arg[] = {name, NULL};
    char **argv = arg;
    int argc = 1;
    status st;

    b->shape = (errand_shape){.model = &b->t->model,
                              .credit_segments = CREDIT,
                              .max_generate = WORLD_CASE_MAX_DRAW};
    errand_shape_bytes(&b->shape, KERNEL_F32);
    TRY(comm_open(&b->c, &argc, &argv));
    TRY(world_case_open(&b->rank, b->t, false));
    TRY(world_new(&b->w, b->c, b->rank.engine, &b->t->place));
    TRY(errand_new(&b->e, b->w, &b->shape, heard, b));
    world_on_event(b->w, on_event, b);
fail:
    return st;
}

/* A world that failed is not stopped but left, as the program does. */
static void
close_all(bench *b, bool failed)
{
    if (b->w && !failed && world_stop(b->w) != ST_OK)
        log_error("the world: %s", status_text());
    errand_free(b->e);
    world_free(b->w);
    world_case_close(&b->rank);
    if (b->c)
        comm_close(b->c);
}

static void
begin(bench *b, bool answer)
{
    world_message m = {.kind = WORLD_BEGIN, .job = JOB, .attempt = 1};

    b->over = b->failed = false;
    b->n_token = 0;
    b->snapshot_len = 0;
    m.u.begin.n_segment = b->j->n_write;
    m.u.begin.want_snapshot = !answer;
    if (!answer)
        m.u.begin.checkpoint_segments = 2;
    if (answer)
        m.u.begin.generate.max_tokens = b->j->n_draw;
    errand_begin(b->e, &m, NULL, 0);
}

/* A failure of the world; the job's own is in b->failed. */
static status
run(bench *b, bool answer)
{
    uint64_t n = b->j->n_write + answer;
    status st = ST_OK;

    begin(b, answer);
    for (uint64_t i = 0; i < n && i < CREDIT; i++) {
        world_message m = {.kind = WORLD_SEGMENT_IDS, .job = JOB, .attempt = 1};
        uint32_t n_id = 0;
        const int32_t *ids = world_case_ids(b->t, b->j, i, &n_id);

        m.u.segment_ids.segment = i;
        m.u.segment_ids.prompt = i == b->j->n_write;
        errand_segment(b->e, &m, (const uint8_t *)ids, n_id * sizeof(*ids));
    }
    for (int i = 0; !b->over || !errand_is_idle(b->e); i++) {
        bool busy = false;

        if (i == MAX_TURN)
            TRY(status_fail(ST_TIMEOUT, "the job never ends"));
        TRY(errand_step(b->e, &busy));
        TRY(world_turn(b->w, &busy));
        errand_kept(b->e, 0); /* no checkpoint was kept: go on */
    }
fail:
    return st;
}

static bool
is_right(const bench *b, bool answer)
{
    size_t len = b->shape.state_bytes;

    if (answer)
        return b->n_token == b->j->n_draw &&
               memcmp(b->token, b->j->token, b->n_token * sizeof(*b->token)) ==
                   0;
    return b->snapshot_len == SNAPSHOT_HEADER + len &&
           memcmp(b->snapshot + SNAPSHOT_HEADER, b->j->after, len) == 0;
}

/* 0: as it should be. */
static int
check_jobs(bench *b, bool may_fail, status *st)
{
    for (int answer = 0; answer < 2 && *st == ST_OK; answer++) {
        *st = run(b, answer);
        if (*st == ST_OK && b->failed && !may_fail)
            return WRONG;
        if (*st == ST_OK && !b->failed && !is_right(b, answer))
            return WRONG + 1;
    }
    return 0;
}

static int
life(nomem_kind kind, unsigned n)
{
    static bench b;
    status st;
    int code = 0;

    find_case(&b);
    if (world_case_solve(b.t) != ST_OK)
        return WRONG + 2;
    nomem_after(kind, n);
    st = open_all(&b);
    code = check_jobs(&b, true, &st);
    if (st != ST_OK && (kind == NOMEM_OURS ? st != ST_NOMEM : st == ST_TIMEOUT))
        code = WRONG + 3;
    if (code == WRONG + 3)
        log_error("allocation %u: %s: %s", n, status_name(st), status_text());
    if (st == ST_OK && !nomem_has_failed())
        code = code ? code : 2; /* there are not so many */
    nomem_after(kind, 0);
    if (st == ST_OK && code == 0) {
        code = check_jobs(&b, false, &st);
        if (st != ST_OK)
            code = WRONG + 4;
    }
    close_all(&b, st != ST_OK);
    world_case_free(b.t);
    return code;
}

static void
sweep(nomem_kind kind)
{
    unsigned n_failed = 0;

    for (unsigned n = 1; n <= LAST; n++) {
        int how = 0;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
            exit(life(kind, n)); /* leaks are looked for */
        assert_int_equal(waitpid(pid, &how, 0), pid);
        if (WIFEXITED(how) && WEXITSTATUS(how) == 2)
            break;
        n_failed++;
        if (WIFEXITED(how) && WEXITSTATUS(how) == 0)
            continue;
        if (kind == NOMEM_ANY && WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT)
            continue;
        fail_msg("allocation %u: %s %d", n,
                 WIFSIGNALED(how) ? "signal" : "status",
                 WIFSIGNALED(how) ? WTERMSIG(how) : WEXITSTATUS(how));
    }
    print_message("%u allocations failed\n", n_failed);
    assert_true(n_failed > 20);
}

static void
our_allocations_fail(void **state)
{
    (void)state;
    sweep(NOMEM_OURS);
}

static void
any_allocation_fails(void **state)
{
    (void)state;
    sweep(NOMEM_ANY);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_allocations_fail),
        cmocka_unit_test(any_allocation_fails),
    };

    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
