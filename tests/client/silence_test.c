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
    assert_int_equal(atomic_load(&f.count[CLIENT_LIST]), 3); /* no more */
}

/* Takes the first request with it, as a daemon does that is killed, and has
 * come again by the next one.  Its age tells nothing. */
static void
heir(fake *f, const client_message *m, const uint8_t *raw, size_t len)
{
    client_document document = {.name = "book"};
    client_message out = {.kind = CLIENT_DONE, .request = m->request};
    int n = 0;

    (void)raw;
    (void)len;
    for (size_t i = 0; i < sizeof(f->count) / sizeof(*f->count); i++)
        n += atomic_load(&f->count[i]);
    if (n == 0) {
        assert_true(zsocket_hang_up(f->socket, &f->peer));
        return;
    }
    switch ((int)m->kind) {
    case CLIENT_GET_STATUS:
        fake_status(f, m->request);
        return;
    case CLIENT_LIST:
    case CLIENT_SHOW:
        out.kind = CLIENT_DOCUMENTS;
        out.u.documents.item = &document;
        out.u.documents.n = 1;
        break;
    case CLIENT_JOBS:
        out.kind = CLIENT_JOB_LIST;
        break;
    case CLIENT_ADD:
        fake_accept(f, m, m->u.add.bytes, m->u.add.bytes);
        break;
    default:
        break;
    }
    fake_send(f, &out);
}

/* One request of this kind; CLIENT_CHUNK: for the limit of inputs. */
static status
request(client *c, client_kind kind, client_message *m)
{
    upload input;
    uint64_t most;

    switch ((int)kind) {
    case CLIENT_LIST:
        return client_list(c, m);
    case CLIENT_SHOW:
        return client_show(c, m, "book");
    case CLIENT_JOBS:
        return client_jobs(c, m);
    case CLIENT_GET_STATUS:
        return client_status(c, m);
    case CLIENT_CHUNK:
        return client_max_input(c, &most);
    case CLIENT_WATCH:
        return client_watch(c, m, 42, NULL);
    case CLIENT_ADD:
        upload_init_text(&input, "text");
        return client_add(c, m, "book", &input, NULL);
    case CLIENT_CANCEL:
        return client_cancel(c, 42);
    case CLIENT_REMOVE:
        return client_remove(c, "book");
    default:
        assert_int_equal(kind, CLIENT_SHUTDOWN);
        return client_shutdown(c);
    }
}

/* The first request of a client, on which the daemon has never spoken. */
static status
request_that_is_lost(client_kind kind, int *times)
{
    fake f;
    client_message m = {.request = 0};
    client *c;
    status st;

    fake_start(&f, heir);
    c = connect_to(&f, NULL, 10000);
    st = request(c, kind, &m);
    client_message_fini(&m);
    client_close(c);
    fake_stop(&f);
    *times = atomic_load(&f.count[kind]);
    return st;
}

static void
what_was_lost_is_asked_again(void **state)
{
    static const client_kind kind[] = {
        CLIENT_LIST,  CLIENT_SHOW,  CLIENT_JOBS, CLIENT_GET_STATUS,
        CLIENT_CHUNK, CLIENT_WATCH, CLIENT_ADD,  CLIENT_CANCEL};
    int times;

    (void)state;
    for (size_t i = 0; i < sizeof(kind) / sizeof(*kind); i++) {
        EXPECT_OK(request_that_is_lost(kind[i], &times));
        if (kind[i] == CLIENT_GET_STATUS) /* and to see whether it lives */
            assert_true(times >= 3);
        else if (kind[i] != CLIENT_CHUNK)
            assert_int_equal(times, 2);
    }
}

static void
an_order_that_was_lost_is_not_given_again(void **state)
{
    static const client_kind kind[] = {CLIENT_REMOVE, CLIENT_SHUTDOWN};
    int times;

    (void)state;
    for (size_t i = 0; i < sizeof(kind) / sizeof(*kind); i++) {
        EXPECT_ST(request_that_is_lost(kind[i], &times), ST_STATE);
        assert_non_null(strstr(status_text(), "done or not"));
        assert_int_equal(times, 1);
    }
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
        cmocka_unit_test(what_was_lost_is_asked_again),
        cmocka_unit_test(an_order_that_was_lost_is_not_given_again),
        cmocka_unit_test(who_never_answers_is_not_asked_for_ever),
        cmocka_unit_test(what_was_not_acknowledged_is_submitted_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
