/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: timers, sockets, descriptors, changes from inside callbacks. */
#include "proto/loop.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/expect.h"

enum { MAX = 1024 };

typedef struct scene {
    loop *l;
    int id, other_id, calls, other_calls;
    int pipe[2];
    zsocket *router, *dealer;
} scene;

static void
stop(void *ctx)
{
    loop_stop(((scene *)ctx)->l);
}

static void
count(void *ctx)
{
    scene *s = ctx;

    if (++s->calls == 3)
        loop_stop(s->l);
}

static void
timers_repeat(void **state)
{
    scene s = {0};
    uint64_t start = clock_ns();

    (void)state;
    EXPECT_OK(loop_new(&s.l));
    EXPECT_OK(loop_add_timer(s.l, 10, count, &s, &s.id));
    EXPECT_OK(loop_run(s.l));
    assert_int_equal(s.calls, 3);
    assert_true(clock_ns() - start >= 30 * 1000000); /* never early */
    loop_free(s.l);
}

static void
remove_both(void *ctx)
{
    scene *s = ctx;

    s->calls++;
    loop_remove_timer(s->l, s->id);
    loop_remove_timer(s->l, s->other_id);
}

static void
count_other(void *ctx)
{
    ((scene *)ctx)->other_calls++;
}

/* Both are due in the same turn; the first takes the second away. */
static void
timers_are_removed_from_callbacks(void **state)
{
    scene s = {0};
    int id;

    (void)state;
    EXPECT_OK(loop_new(&s.l));
    EXPECT_OK(loop_add_timer(s.l, 5, remove_both, &s, &s.id));
    EXPECT_OK(loop_add_timer(s.l, 5, count_other, &s, &s.other_id));
    EXPECT_OK(loop_add_timer(s.l, 60, stop, &s, &id));
    clock_sleep_us(10000);
    EXPECT_OK(loop_run(s.l));
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.other_calls, 0);
    loop_free(s.l);
}

static void
add_many(void *ctx)
{
    scene *s = ctx;

    loop_remove_timer(s->l, s->id);
    for (int i = 0; i < 100; i++) {
        int id;

        EXPECT_OK(loop_add_timer(s->l, 1, count_other, s, &id));
    }
    EXPECT_OK(loop_add_timer(s->l, 30, stop, s, &s->other_id));
}

static void
timers_are_added_from_callbacks(void **state)
{
    scene s = {0};

    (void)state;
    EXPECT_OK(loop_new(&s.l));
    EXPECT_OK(loop_add_timer(s.l, 1, add_many, &s, &s.id));
    EXPECT_OK(loop_run(s.l));
    assert_true(s.other_calls >= 100);
    loop_free(s.l);
}

static void
slow(void *ctx)
{
    clock_sleep_us(30000);
    stop(ctx);
}

static void
the_longest_turn_is_measured(void **state)
{
    scene s = {0};

    (void)state;
    EXPECT_OK(loop_new(&s.l));
    assert_true(loop_longest_turn_ms(s.l) <= 0);
    EXPECT_OK(loop_add_timer(s.l, 1, slow, &s, &s.id));
    EXPECT_OK(loop_run(s.l));
    assert_true(loop_longest_turn_ms(s.l) >= 29);
    loop_free(s.l);
}

/* Reads one byte a call: the loop calls again while there is more. */
static void
read_byte(void *ctx, int fd)
{
    scene *s = ctx;
    char byte;

    assert_int_equal(fd, s->pipe[0]);
    assert_int_equal(read(fd, &byte, 1), 1);
    if (++s->calls == 3)
        loop_stop(s->l);
}

static void
descriptors_are_read(void **state)
{
    scene s = {0};

    (void)state;
    EXPECT_OK(loop_new(&s.l));
    assert_int_equal(pipe(s.pipe), 0);
    assert_int_equal(write(s.pipe[1], "12345", 5), 5);
    EXPECT_OK(loop_add_fd(s.l, s.pipe[0], read_byte, &s));
    EXPECT_OK(loop_run(s.l));
    assert_int_equal(s.calls, 3);
    close(s.pipe[0]);
    close(s.pipe[1]);
    loop_free(s.l);
}

static bool
answer(void *ctx, zsocket *socket)
{
    scene *s = ctx;
    zsocket_message m;

    while (zsocket_recv(socket, &m, 0) == ST_OK) {
        EXPECT_OK(
            zsocket_send(socket, &m.peer, m.control, m.control_len, NULL, 0));
        zsocket_message_fini(&m);
        s->other_calls++;
    }
    return false;
}

/* Takes both sockets away, its own too, and closes them. */
static bool
receive(void *ctx, zsocket *socket)
{
    scene *s = ctx;
    zsocket_message m;

    while (zsocket_recv(socket, &m, 0) == ST_OK) {
        zsocket_message_fini(&m);
        s->calls++;
    }
    if (s->calls < 10)
        return false;
    loop_remove_socket(s->l, s->dealer);
    loop_remove_socket(s->l, s->router);
    zsocket_close(s->dealer);
    zsocket_close(s->router);
    EXPECT_OK(loop_add_timer(s->l, 5, stop, s, &s->id));
    return false;
}

/* Nothing more comes in, and it still has ten turns of work. */
static bool
work_on(void *ctx, zsocket *socket)
{
    scene *s = ctx;
    zsocket_message m;

    while (zsocket_recv(socket, &m, 0) == ST_OK)
        zsocket_message_fini(&m);
    if (++s->calls == 10)
        loop_stop(s->l);
    return s->calls < 10;
}

/* A loop, and two sockets that nobody has added to it yet. */
static void
connect_pair(scene *s, zcontext **z)
{
    const zsocket_guard open = {.allow_local_users = true};

    EXPECT_OK(zcontext_new(z));
    EXPECT_OK(loop_new(&s->l));
    EXPECT_OK(zsocket_router(&s->router, *z, "tcp://127.0.0.1:*", &open, MAX));
    EXPECT_OK(
        zsocket_dealer(&s->dealer, *z, zsocket_endpoint(s->router), NULL, MAX));
}

static void
who_has_more_to_do_is_called_again(void **state)
{
    scene s = {0};
    zcontext *z;

    (void)state;
    connect_pair(&s, &z);
    EXPECT_OK(loop_add_socket(s.l, s.router, work_on, &s));
    EXPECT_OK(zsocket_send(s.dealer, NULL, "x", 1, NULL, 0));
    EXPECT_OK(loop_run(s.l));
    assert_int_equal(s.calls, 10);
    zsocket_close(s.dealer);
    zsocket_close(s.router);
    loop_free(s.l);
    zcontext_free(z);
}

static void
sockets_are_served(void **state)
{
    scene s = {0};
    zcontext *z;

    (void)state;
    connect_pair(&s, &z);
    EXPECT_OK(loop_add_socket(s.l, s.router, answer, &s));
    EXPECT_OK(loop_add_socket(s.l, s.dealer, receive, &s));
    for (int i = 0; i < 10; i++)
        EXPECT_OK(zsocket_send(s.dealer, NULL, "x", 1, NULL, 0));
    EXPECT_OK(loop_run(s.l));
    assert_int_equal(s.calls, 10);
    assert_int_equal(s.other_calls, 10);
    loop_free(s.l);
    zcontext_free(z);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_repeat),
        cmocka_unit_test(timers_are_removed_from_callbacks),
        cmocka_unit_test(timers_are_added_from_callbacks),
        cmocka_unit_test(the_longest_turn_is_measured),
        cmocka_unit_test(descriptors_are_read),
        cmocka_unit_test(sockets_are_served),
        cmocka_unit_test(who_has_more_to_do_is_called_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
