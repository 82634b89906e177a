/* SPDX-License-Identifier: Apache-2.0 */
/* The client library against a fake daemon: credit, tokens, refusals,
 * cancellation. */
#include "tests/client/seen.h"

enum { BIG = 5 << 20 };

/* Gives credit by the megabyte, and the answer when all is here. */
static void
reader(fake *f, const client_message *m, const uint8_t *raw, size_t len)
{
    client_message out = {.kind = CLIENT_MORE_INPUT, .request = m->request};

    if (m->kind == CLIENT_ADD) {
        assert_string_equal(m->u.add.name, "book");
        assert_true(m->u.add.key.key[0] && m->u.add.key.has_hash);
        f->job = m->request;
        f->announced = m->u.add.bytes;
        f->credit = out.u.accepted.input_credit = 1000000;
        fake_send(f, &out);
        return;
    }
    assert_int_equal(m->kind, CLIENT_CHUNK);
    fake_keep(f, m, raw, len);
    if (f->n_input < f->announced) {
        f->credit = f->n_input + 1000000;
        out.u.accepted.input_credit = f->credit;
        fake_send(f, &out);
        out.kind = CLIENT_PROGRESS;
        out.u.progress.job = 42;
        out.u.progress.state = CLIENT_RECEIVING;
        out.u.progress.tokens_in = f->n_input;
        out.u.progress.tokens_per_second = 1;
        fake_send(f, &out);
        return;
    }
    fake_accept(f, &(client_message){.request = f->job}, f->n_input,
                f->n_input);
    memset(&out.u, 0, sizeof(out.u));
    out.kind = CLIENT_DONE;
    out.u.done.job = 42;
    out.u.done.document = "book";
    out.u.done.tokens = f->n_input;
    fake_send(f, &out);
}

static void
add_honours_credit(void **state)
{
    fake f;
    seen s = {0};
    client_events events = events_of(&s);
    char *text = malloc(BIG + 1);
    client_message done;
    upload input;
    client *c;

    (void)state;
    assert_non_null(text);
    for (int i = 0; i < BIG; i++)
        text[i] = (char)('a' + i * 7 % 26);
    text[BIG] = 0;
    fake_start(&f, reader);
    c = connect_to(&f, NULL, 5000);
    upload_init_text(&input, text);
    EXPECT_OK(client_add(c, &done, "book", &input, &events));
    assert_int_equal(done.u.done.tokens, BIG);
    assert_string_equal(done.u.done.document, "book");
    client_message_fini(&done);
    assert_int_equal(f.n_input, BIG);
    assert_memory_equal(f.input, text, BIG);
    assert_int_equal(s.job, 42);
    assert_int_equal(s.sent, BIG);
    assert_true(s.progress > 0);
    client_close(c);
    fake_stop(&f);
    free(text);
}

static void
answerer(fake *f, const client_message *m, const uint8_t *raw, size_t len)
{
    static const char *const word[] = {"The ", "cat", ".\n"};
    int32_t ids[] = {5, 6, 7};
    client_message out = {.kind = CLIENT_TOKEN, .request = m->request};

    if (m->kind == CLIENT_ASK) {
        assert_string_equal(m->u.ask.document, "book");
        assert_int_equal(m->u.ask.sampling.max_tokens, 3);
        assert_string_equal(m->u.ask.sampling.stop[0], "END");
        fake_accept(f, m, m->u.ask.bytes, m->u.ask.bytes);
        fake_keep_whole(f, raw, len);
    }
    for (uint32_t i = 0; i < 3; i++) {
        out.u.token.job = 42;
        out.u.token.index = i;
        out.u.token.id = ids[i];
        out.u.token.text = (char *)(uintptr_t)word[i];
        out.u.token.text_len = strlen(word[i]);
        fake_send(f, &out);
    }
    memset(&out.u, 0, sizeof(out.u));
    out.kind = CLIENT_DONE;
    out.u.done.ids = ids;
    out.u.done.n_id = 3;
    out.u.done.finish = "length";
    fake_send(f, &out);
}

static void
ask_streams_tokens(void **state)
{
    client_sampling sampling = {.max_tokens = 3, .n_stop = 1, .stop = {"END"}};
    fake f;
    seen s = {0};
    client_events events = events_of(&s);
    client_message done;
    upload question;
    client *c;

    (void)state;
    fake_start(&f, answerer);
    c = connect_to(&f, NULL, 5000);
    upload_init_text(&question, "Who?");
    EXPECT_OK(client_ask(c, &done, "book", &question, &sampling, &events));
    assert_int_equal(f.n_input, 4);
    assert_memory_equal(f.input, "Who?", 4);
    assert_int_equal(s.tokens, 3);
    assert_string_equal(s.text, "The cat.\n");
    assert_int_equal(done.u.done.n_id, 3);
    assert_int_equal(done.u.done.ids[2], 7);
    assert_string_equal(done.u.done.finish, "length");
    client_message_fini(&done);
    client_close(c);
    fake_stop(&f);
}

static void
refuser(fake *f, const client_message *m, const uint8_t *raw, size_t len)
{
    client_message out = {.kind = CLIENT_REFUSED, .request = m->request};

    (void)raw;
    (void)len;
    if (m->kind == CLIENT_ASK)
        fake_refuse(f, m->request, "notfound", "there is no document 'x'");
    else if (m->kind == CLIENT_REMOVE)
        fake_refuse(f, m->request, "a code of tomorrow", "no");
    else {
        out.u.refused.code = "limit";
        out.u.refused.text = "the queue is full";
        out.u.refused.retry_after_s = 9;
        fake_send(f, &out);
    }
}

static void
refusals_are_told(void **state)
{
    client_sampling sampling = {.max_tokens = 3};
    fake f;
    client_message done;
    upload input;
    client *c;

    (void)state;
    fake_start(&f, refuser);
    c = connect_to(&f, NULL, 5000);
    upload_init_text(&input, "text");
    EXPECT_ST(client_ask(c, &done, "x", &input, &sampling, NULL), ST_NOTFOUND);
    assert_string_equal(status_text(), "there is no document 'x'");
    EXPECT_ST(client_add(c, &done, "x", &input, NULL), ST_LIMIT);
    assert_string_equal(status_text(), "the queue is full (try again in 9 s)");
    EXPECT_ST(client_remove(c, "x"), ST_STATE);
    EXPECT_ST(client_list(c, &done), ST_LIMIT);
    EXPECT_ST(client_add(c, &done, "a/b", &input, NULL), ST_ARG);
    assert_int_equal(atomic_load(&f.count[CLIENT_ADD]), 1);
    client_close(c);
    fake_stop(&f);
}

static void
secretary(fake *f, const client_message *m, const uint8_t *raw, size_t len)
{
    client_document document = {.name = "book", .tokens = 7};
    client_job job = {.job = 3, .kind = "add"};
    client_message out = {.request = m->request};

    (void)raw;
    (void)len;
    switch ((int)m->kind) {
    case CLIENT_LIST:
    case CLIENT_SHOW:
        out.kind = CLIENT_DOCUMENTS;
        out.u.documents.item = &document;
        out.u.documents.n = 1;
        break;
    case CLIENT_JOBS:
        out.kind = CLIENT_JOB_LIST;
        out.u.jobs.item = &job;
        out.u.jobs.n = 1;
        break;
    case CLIENT_GET_STATUS:
        fake_status(f, m->request);
        return;
    case CLIENT_CANCEL:
        assert_int_equal(m->u.job.job, 3);
        out.kind = CLIENT_DONE;
        break;
    default:
        out.kind = CLIENT_DONE;
        break;
    }
    fake_send(f, &out);
}

static void
small_calls_are_answered(void **state)
{
    fake f;
    client_message m;
    client *c;

    (void)state;
    fake_start(&f, secretary);
    c = connect_to(&f, NULL, 5000);
    EXPECT_OK(client_list(c, &m));
    assert_string_equal(m.u.documents.item[0].name, "book");
    client_message_fini(&m);
    EXPECT_OK(client_show(c, &m, "book"));
    assert_int_equal(m.u.documents.item[0].tokens, 7);
    client_message_fini(&m);
    EXPECT_OK(client_jobs(c, &m));
    assert_int_equal(m.u.jobs.item[0].job, 3);
    client_message_fini(&m);
    EXPECT_OK(client_status(c, &m));
    assert_string_equal(m.u.status.version, "fake");
    client_message_fini(&m);
    EXPECT_OK(client_remove(c, "book"));
    EXPECT_OK(client_cancel(c, 3));
    EXPECT_OK(client_watch(c, &m, 3, NULL));
    client_message_fini(&m);
    EXPECT_OK(client_shutdown(c));
    assert_int_equal(atomic_load(&f.count[CLIENT_WATCH]), 1);
    client_close(c);
    fake_stop(&f);
}

/* Runs a job until it is canceled, and answers status meanwhile. */
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
    case CLIENT_CANCEL:
        assert_int_equal(m->u.job.job, 42);
        fake_refuse(f, f->job, "canceled", "the job is canceled");
        break;
    case CLIENT_GET_STATUS:
        f->uptime = 1e6;
        fake_status(f, m->request);
        break;
    default:
        fail();
    }
}

static void
an_interruption_cancels_the_job(void **state)
{
    fake f;
    seen s = {.stop_at_progress = true};
    client_events events = events_of(&s);
    client_message done;
    upload input;
    client *c;

    (void)state;
    fake_start(&f, worker);
    c = connect_to(&f, &s, 5000);
    upload_init_text(&input, "text");
    EXPECT_ST(client_add(c, &done, "book", &input, &events), ST_CANCELED);
    assert_string_equal(status_text(), "interrupted: job 42 is canceled");
    client_close(c);
    fake_stop(&f);
    assert_int_equal(atomic_load(&f.count[CLIENT_CANCEL]), 1);
}

/* To hash a large file takes a minute. */
static void
an_interruption_comes_before_the_job(void **state)
{
    fake f;
    seen s = {.stop = true};
    client_message done;
    upload input;
    client *c;

    (void)state;
    fake_start(&f, worker);
    c = connect_to(&f, &s, 5000);
    upload_init_text(&input, "text");
    EXPECT_ST(client_add(c, &done, "book", &input, NULL), ST_CANCELED);
    assert_string_equal(status_text(), "interrupted");
    client_close(c);
    fake_stop(&f);
    assert_int_equal(atomic_load(&f.count[CLIENT_ADD]), 0);
}

static void
nobody_there_is_told(void **state)
{
    client_config config = {.endpoint = "ipc:///tmp/lw-nobody-is-here"};
    client *c = NULL;

    (void)state;
    EXPECT_ST(client_open(&c, &config), ST_STATE);
    assert_non_null(strstr(status_text(), "longwaved --model"));
    config.endpoint = "nonsense";
    EXPECT_ST(client_open(&c, &config), ST_ARG);
    assert_null(c);
    client_close(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_honours_credit),
        cmocka_unit_test(ask_streams_tokens),
        cmocka_unit_test(refusals_are_told),
        cmocka_unit_test(small_calls_are_answered),
        cmocka_unit_test(an_interruption_cancels_the_job),
        cmocka_unit_test(an_interruption_comes_before_the_job),
        cmocka_unit_test(nobody_there_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
