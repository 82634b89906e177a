/* SPDX-License-Identifier: Apache-2.0 */
/* The client library and a daemon that says nothing, hangs up, or is another
 * one than before. */
#include "base/clock.h"
#include "tests/client/seen.h"

/* Runs a job that never ends, and is restarted once it was asked how it is. */
static void
worker(fake *f, const client_message *m, const uint8_t *raw, size_t len)
{
    client_message out = {.kind = CLIENT_PROGRESS, .request = m->request};

    (void)raw;
    (void)len;
    switch ((int)m->kind) {
    case CLIENT_ADD:
        fake_accept(f, m, m->u.add.bytes, m->u.add.bytes);
        out.u.progress.job = 42;
        fake_send(f, &out);
        break;
    case CLIENT_GET_STATUS:
        if (atomic_load(&f->count[CLIENT_GET_STATUS]) > 0)
            f->uptime = 0; /* restarted after the first one */
        fake_status(f, m->request);
        break;
    case CLIENT_WATCH:
        assert_int_equal(m->u.job.job, 42);
        f->uptime = 1e6;
        out.kind = CLIENT_DONE;
        fake_send(f, &out);
        break;
    default:
        fail();
    }
}

static void
a_daemon_that_vanished_is_noticed(void **state)
{
    fake f;
    client_message done;
    upload input;
    client *c;

    (void)state;
    fake_start(&f, worker);
    c = connect_to(&f, NULL, 300);
    fake_silence(&f);
    upload_init_text(&input, "text");
    EXPECT_ST(client_add(c, &done, "book", &input, NULL), ST_STATE);
    assert_non_null(strstr(status_text(), "not answered"));
    EXPECT_ST(client_list(c, &done), ST_STATE);
    client_close(c);
    fake_stop(&f);
}

/* A daemon that answers keeps a long job alive; one that was restarted has the
 * job that the one before acknowledged. */
static void
a_job_is_followed_over_a_restart(void **state)
{
    fake f;
    seen s = {0};
    client_events events = events_of(&s);
    client_message done;
    upload input;
    client *c;

    (void)state;
    fake_start(&f, worker);
    c = connect_to(&f, NULL, 2000);
    upload_init_text(&input, "text");
    EXPECT_OK(client_add(c, &done, "book", &input, &events));
    client_message_fini(&done);
    client_close(c);
    fake_stop(&f);
    assert_int_equal(atomic_load(&f.count[CLIENT_GET_STATUS]), 2);
    assert_int_equal(atomic_load(&f.count[CLIENT_WATCH]), 1);
    assert_int_equal(atomic_load(&f.count[CLIENT_ADD]), 1);
}

/* Hangs up as a daemon does on who did not read for long, and knows nothing of
 * the caller afterwards. */
static void
impatient(fake *f, const client_message *m, const uint8_t *raw, size_t len)
{
    client_message out = {.kind = CLIENT_DONE, .request = m->request};

    (void)raw;
    (void)len;
    switch ((int)m->kind) {
    case CLIENT_ADD:
        fake_accept(f, m, m->u.add.bytes, m->u.add.bytes);
        clock_sleep_us(50000);
        assert_true(zsocket_hang_up(f->socket, &f->peer));
        break;
    case CLIENT_LIST:
        assert_true(zsocket_hang_up(f->socket, &f->peer));
        break;
    case CLIENT_GET_STATUS:
        f->uptime = 1e6;
        fake_status(f, m->request);
        break;
    case CLIENT_WATCH:
        assert_int_equal(m->u.job.job, 42);
        fake_send(f, &out);
        break;
    default:
        fail();
    }
}

static void
who_was_hung_up_on_comes_back(void **state)
{
    fake f;
    client_message done;
    upload input;
    client *c;

    (void)state;
    fake_start(&f, impatient);
    c = connect_to(&f, NULL, 5000);
    upload_init_text(&input, "text");
    EXPECT_OK(client_add(c, &done, "book", &input, NULL));
    client_message_fini(&done);
    assert_int_equal(atomic_load(&f.count[CLIENT_ADD]), 1);
    EXPECT_ST(client_list(c, &done), ST_STATE);
    assert_non_null(strstr(status_text(), "hung up"));
    client_close(c);
    fake_stop(&f);
    assert_int_equal(atomic_load(&f.count[CLIENT_WATCH]), 1);
}

/* Comes when the first request is gone with the daemon before it. */
static void
heir(fake *f, const client_message *m, const uint8_t *raw, size_t len)
{
    (void)raw;
    (void)len;
    assert_int_equal(m->kind, CLIENT_GET_STATUS);
    /* About as old as the call, of which it is asked each second. */
    f->uptime = atomic_load(&f->count[CLIENT_GET_STATUS]) - 0.2;
    if (f->uptime > 0)
        fake_status(f, m->request);
}

static void
a_limit_is_not_waited_for_over_a_restart(void **state)
{
    fake f;
    uint64_t most = 0;
    client *c;

    (void)state;
    fake_start(&f, heir);
    c = connect_to(&f, NULL, 2000);
    EXPECT_OK(client_max_input(c, &most));
    assert_true(most == UINT64_MAX);
    client_close(c);
    fake_stop(&f);
}

/* Hangs up again and again, and never says a word: that is a silence. */
static void
mute(fake *f, const client_message *m, const uint8_t *raw, size_t len)
{
    (void)m;
    (void)raw;
    (void)len;
    (void)zsocket_hang_up(f->socket, &f->peer);
}

static void
who_never_answers_is_not_asked_for_ever(void **state)
{
    fake f;
    client_message done;
    upload input;
    client *c;

    (void)state;
    fake_start(&f, mute);
    c = connect_to(&f, NULL, 500);
    upload_init_text(&input, "text");
    EXPECT_ST(client_add(c, &done, "book", &input, NULL), ST_STATE);
    assert_non_null(strstr(status_text(), "not answered"));
    client_close(c);
    fake_stop(&f);
    assert_int_equal(atomic_load(&f.count[CLIENT_ADD]), 1);
}

/* Forgets the first submission, as a daemon does that is killed before it
 * acknowledged. */
static void
forgetful(fake *f, const client_message *m, const uint8_t *raw, size_t len)
{
    client_message out = {.kind = CLIENT_DONE, .request = m->request};

    (void)raw;
    (void)len;
    if (m->kind == CLIENT_GET_STATUS) {
        f->uptime = 0;
        fake_status(f, m->request);
        return;
    }
    assert_int_equal(m->kind, CLIENT_ADD);
    if (atomic_load(&f->count[CLIENT_ADD]) == 0) {
        (void)snprintf(f->key, sizeof(f->key), "%s", m->u.add.key.key);
        return;
    }
    assert_string_equal(f->key, m->u.add.key.key);
    fake_accept(f, m, m->u.add.bytes, m->u.add.bytes);
    fake_send(f, &out);
}

static void
what_was_not_acknowledged_is_submitted_again(void **state)
{
    fake f;
    client_message done;
    upload input;
    client *c;

    (void)state;
    fake_start(&f, forgetful);
    c = connect_to(&f, NULL, 4000);
    upload_init_text(&input, "text");
    EXPECT_OK(client_add(c, &done, "book", &input, NULL));
    client_message_fini(&done);
    client_close(c);
    fake_stop(&f);
    assert_int_equal(atomic_load(&f.count[CLIENT_ADD]), 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_daemon_that_vanished_is_noticed),
        cmocka_unit_test(a_job_is_followed_over_a_restart),
        cmocka_unit_test(who_was_hung_up_on_comes_back),
        cmocka_unit_test(a_limit_is_not_waited_for_over_a_restart),
        cmocka_unit_test(who_never_answers_is_not_asked_for_ever),
        cmocka_unit_test(what_was_not_acknowledged_is_submitted_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
