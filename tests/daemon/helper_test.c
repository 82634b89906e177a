/* SPDX-License-Identifier: Apache-2.0 */
/* What may wait does, goes in its place with what may not, and is never lost;
 * whose a failure is. */
#include "daemon/helper.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>

#include "tests/expect.h"

enum { TASKS = 4, SHORT_MS = 50, LONG_MS = 10000 };

typedef struct scene scene;
typedef struct work {
    helper_task task; /* first */
    scene *owner;
    int number, frame; /* that it ran in */
} work;
struct scene {
    helper *h;
    work item[TASKS];
    int frames, n, order[TASKS]; /* frames: the helper's until all is done */
};

static status
begin(void *ctx)
{
    ((scene *)ctx)->frames++;
    return ST_OK;
}

static status
end(void *ctx)
{
    (void)ctx;
    return ST_OK;
}

static status
run(helper_task *task)
{
    work *w = (work *)task;

    w->frame = w->owner->frames;
    return ST_OK;
}

static void
done(helper_task *task, status st, const char *text)
{
    work *w = (work *)task;

    (void)text;
    EXPECT_OK(st);
    w->owner->order[w->owner->n++] = w->number;
}

static void
init(scene *s)
{
    const helper_frame frame = {.begin = begin, .end = end, .ctx = s};

    *s = (scene){.h = NULL};
    EXPECT_OK(helper_new_framed(&s->h, &frame));
    for (int i = 0; i < TASKS; i++)
        s->item[i] =
            (work){.task = {.run = run, .done = done}, .owner = s, .number = i};
}

static bool
is_done(const scene *s, int ms)
{
    struct pollfd p = {.fd = helper_fd(s->h), .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

static void
collect(scene *s, int n)
{
    while (s->n < n) {
        assert_true(is_done(s, LONG_MS));
        helper_collect(s->h);
    }
}

/* A wake-up alone says nothing: one that ran out of time leaves another. */
static bool
nothing_comes(scene *s)
{
    int n = s->n;

    for (int i = 0; i < TASKS && is_done(s, SHORT_MS); i++)
        helper_collect(s->h);
    return s->n == n;
}

static void
what_may_wait_goes_with_the_next_that_may_not(void **state)
{
    scene s;

    (void)state;
    init(&s);
    helper_push_later(s.h, &s.item[0].task);
    helper_push_later(s.h, &s.item[1].task);
    assert_true(nothing_comes(&s));
    helper_push(s.h, &s.item[2].task);
    collect(&s, 3);
    helper_push_later(s.h, &s.item[3].task); /* it waits again */
    assert_true(nothing_comes(&s));
    helper_free(s.h);
    assert_int_equal(s.n, TASKS); /* and is done at the end */
    for (int i = 0; i < TASKS; i++) {
        assert_int_equal(s.order[i], i);
        assert_int_equal(s.item[i].frame, i < 3 ? 1 : 2);
    }
}

static void
it_goes_alone_when_flushed(void **state)
{
    scene s;

    (void)state;
    init(&s);
    helper_flush(s.h); /* nothing is there */
    assert_true(nothing_comes(&s));
    helper_push_later(s.h, &s.item[0].task);
    helper_flush(s.h);
    collect(&s, 1);
    assert_int_equal(s.item[0].frame, 1);
    helper_free(s.h);
    assert_int_equal(s.n, 1);
}

/* ---------------------------------------------------------- failures --- */

typedef struct trial {
    helper_task task; /* first */
    int fails, ran, n_done;
    status st;
    char text[64];
} trial;

static status
try(helper_task *task)
{
    trial *t = (trial *)task;

    t->ran++;
    return t->fails ? status_fail(ST_LIMIT, "trial %d", t->fails) : ST_OK;
}

static void
tried(helper_task *task, status st, const char *text)
{
    trial *t = (trial *)task;

    t->n_done++;
    t->st = st;
    (void)snprintf(t->text, sizeof(t->text), "%s", text ? text : "");
}

/* Two tasks, of which the second fails, through `h` to their ends. */
static void
try_two(helper *h, trial two[2])
{
    for (int i = 0; i < 2; i++)
        two[i] = (trial){.task = {.run = try, .done = tried}, .fails = i};
    helper_push(h, &two[0].task);
    helper_push(h, &two[1].task);
    for (int i = 0; i < 100 && two[0].n_done + two[1].n_done < 2; i++) {
        struct pollfd p = {.fd = helper_fd(h), .events = POLLIN};

        assert_int_equal(poll(&p, 1, LONG_MS), 1);
        helper_collect(h);
    }
    helper_free(h);
    assert_int_equal(two[0].n_done, 1);
    assert_int_equal(two[1].n_done, 1);
}

static void
a_failure_is_the_tasks_own(void **state)
{
    trial two[2];
    helper *h;

    (void)state;
    EXPECT_OK(helper_new(&h));
    try_two(h, two);
    EXPECT_ST(two[0].st, ST_OK);
    assert_string_equal(two[0].text, "");
    EXPECT_ST(two[1].st, ST_LIMIT);
    assert_string_equal(two[1].text, "trial 1");
}

static status
refuse(void *ctx)
{
    (void)ctx;
    return status_fail(ST_IO, "no frame");
}

static status
allow(void *ctx)
{
    (void)ctx;
    return ST_OK;
}

/* Of a frame that does not begin nothing runs; of one that does not end all
 * has failed, whatever it said itself. */
static void
a_frames_failure_is_that_of_all_its_tasks(void **state)
{
    const helper_frame unbegun = {.begin = refuse, .end = allow};
    const helper_frame unended = {.begin = allow, .end = refuse};
    trial two[2];
    helper *h;

    (void)state;
    for (int ran = 0; ran < 2; ran++) {
        EXPECT_OK(helper_new_framed(&h, ran ? &unended : &unbegun));
        try_two(h, two);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(two[i].ran, ran);
            EXPECT_ST(two[i].st, ST_IO);
            assert_string_equal(two[i].text, "no frame");
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_may_wait_goes_with_the_next_that_may_not),
        cmocka_unit_test(it_goes_alone_when_flushed),
        cmocka_unit_test(a_failure_is_the_tasks_own),
        cmocka_unit_test(a_frames_failure_is_that_of_all_its_tasks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
