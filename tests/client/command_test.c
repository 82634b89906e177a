/* SPDX-License-Identifier: Apache-2.0 */
/* The `longwave` program against a fake daemon: results on stdout, exit codes,
 * Ctrl-C. */
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/json.h"
#include "tests/client/fake.h"

static char word[] = "b\x1B[1m\n";
static bool long_answer; /* its text comes by tokens only */
static bool mute_answer; /* an end token, and no text */

static void
send_token(fake *f, uint64_t request, uint32_t index, const char *text)
{
    client_message m = {.kind = CLIENT_TOKEN, .request = request};

    m.u.token.index = index;
    m.u.token.text = (char *)(uintptr_t)text;
    m.u.token.text_len = strlen(text);
    fake_send(f, &m);
}

/* What the job that has its input ends with. */
static void
finish(fake *f, client_message *out)
{
    static int32_t ids[] = {7, 8};

    out->u.done.document = "book";
    out->u.done.tokens = 1234567;
    out->u.done.segments = 12;
    out->u.done.snapshot_bytes = 48 << 20;
    out->u.done.ids = ids;
    out->u.done.n_id = 2;
    out->u.done.text = word;
    out->u.done.text_len = strlen(word);
    out->u.done.finish = "length";
    if (mute_answer)
        out->u.done.text_len = 0;
    if (!long_answer)
        return;
    send_token(f, out->request, 0, "first ");
    send_token(f, out->request, 1, "last");
    out->u.done.text_len = 0;
}

/* Answers everything; a document named "slow" never ends. */
static void
answer(fake *f, const client_message *m, const uint8_t *raw, size_t len)
{
    client_message out = {.kind = CLIENT_DONE, .request = m->request};

    switch ((int)m->kind) {
    case CLIENT_ADD:
        long_answer = mute_answer = false;
        if (strcmp(m->u.add.name, "gone") == 0)
            fake_refuse(f, m->request, "limit", "the queue is full");
        else
            fake_accept(f, m, m->u.add.bytes, m->u.add.bytes);
        if (strcmp(m->u.add.name, "gone") == 0 ||
            strcmp(m->u.add.name, "slow") == 0)
            return;
        fake_keep_whole(f, raw, len);
        finish(f, &out);
        break;
    case CLIENT_ASK:
        long_answer = strcmp(m->u.ask.document, "long") == 0;
        mute_answer = strcmp(m->u.ask.document, "mute") == 0;
        assert_int_equal(m->u.ask.sampling.max_tokens, 2);
        assert_string_equal(m->u.ask.sampling.stop[1], "two");
        fake_accept(f, m, m->u.ask.bytes, m->u.ask.bytes);
        fake_keep_whole(f, raw, len);
        finish(f, &out);
        break;
    case CLIENT_CANCEL:
        fake_refuse(f, f->job, "canceled", "the job is canceled");
        return;
    case CLIENT_GET_STATUS:
        fake_status(f, m->request);
        return;
    case CLIENT_LIST:
        out.kind = CLIENT_DOCUMENTS;
        break;
    case CLIENT_JOBS:
        out.kind = CLIENT_JOB_LIST;
        break;
    default:
        break;
    }
    fake_send(f, &out);
}

/* Runs `longwave ARGUMENTS`; its exit code, and its stdout in out[]. */
static int
longwave(const fake *f, const char *arguments, char *out, size_t size)
{
    char line[512];
    FILE *p;
    size_t n;
    int rc;

    snprintf(line, sizeof(line), "LONGWAVE_ENDPOINT=%s '%s' %s 2>/dev/null",
             f->endpoint, LONGWAVE_BINARY, arguments);
    p = popen(line, "r");
    assert_non_null(p);
    n = fread(out, 1, size - 1, p);
    out[n] = 0;
    rc = pclose(p);
    assert_true(WIFEXITED(rc));
    return WEXITSTATUS(rc);
}

static void
results_are_printed(void **state)
{
    char out[1024];
    fake f;

    (void)state;
    fake_start(&f, answer);
    assert_int_equal(
        longwave(&f, "add - --name book < /proc/version", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "book: 1,234,567 tokens in 12 segments"));
    assert_non_null(strstr(out, "48.0 MiB"));
    assert_true(f.n_input > 10);
    f.n_input = 0;
    assert_int_equal(
        longwave(&f, "add /proc/version --name book", out, sizeof(out)), 0);
    assert_true(f.n_input > 10); /* whose size is told as 0 */
    f.n_input = 0;
    assert_int_equal(longwave(&f,
                              "ask book 'Who?' --generate 2 --stop one "
                              "--stop=two",
                              out, sizeof(out)),
                     0);
    assert_string_equal(out, word); /* a pipe gets every byte */
    assert_memory_equal(f.input, "Who?", 4);
    assert_int_equal(longwave(&f, "list", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "NAME"));
    assert_int_equal(longwave(&f, "status", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "fake"));
    assert_int_equal(longwave(&f, "rm book", out, sizeof(out)), 0);
    assert_string_equal(out, "");
    assert_int_equal(longwave(&f, "shutdown", out, sizeof(out)), 0);
    fake_stop(&f);
}

static void
long_answers_come_by_tokens(void **state)
{
    const char *const ask = "ask long x --generate 2 --stop one --stop two";
    char json[128], out[1024];
    fake f;

    (void)state;
    fake_start(&f, answer);
    assert_int_equal(longwave(&f, ask, out, sizeof(out)), 0);
    assert_string_equal(out, "first last\n");
    f.n_input = 0;
    snprintf(json, sizeof(json), "%s --json", ask);
    assert_int_equal(longwave(&f, json, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "\"first last\""));
    fake_stop(&f);
}

/* Who asks in words has a tokenizer: ids are no answer to him. */
static void
an_empty_answer_is_an_empty_line(void **state)
{
    char out[1024];
    fake f;

    (void)state;
    fake_start(&f, answer);
    assert_int_equal(longwave(&f,
                              "ask mute x --generate 2 --stop one --stop two",
                              out, sizeof(out)),
                     0);
    assert_string_equal(out, "\n");
    fake_stop(&f);
}

/* The output is one object on one line with these keys. */
static void
expect_object(const char *out, const char *const *key)
{
    json_doc *doc;
    const char *end = strchr(out, '\n');

    assert_non_null(end);
    assert_string_equal(end, "\n");
    EXPECT_OK(json_parse(&doc, out, strlen(out), "output"));
    for (; *key; key++)
        if (!json_get(json_root(doc), *key))
            fail_msg("no %s in %s", *key, out);
    json_free(doc);
}

static void
json_is_one_object(void **state)
{
    const char *const add[] = {
        "document",          "tokens",         "segments", "seconds",
        "tokens_per_second", "snapshot_bytes", NULL};
    const char *const ask[] = {
        "document",       "generated_ids",          "text", "finish",
        "skipped_tokens", "seconds_to_first_token", NULL};
    const char *const status_keys[] = {"version", "longest_turn_ms", "worlds",
                                       NULL};
    const char *const lists[] = {"documents", NULL};
    char out[1024];
    fake f;

    (void)state;
    fake_start(&f, answer);
    assert_int_equal(longwave(&f, "add --json --name book - < /proc/version",
                              out, sizeof(out)),
                     0);
    expect_object(out, add);
    f.n_input = 0;
    assert_int_equal(longwave(&f,
                              "ask book x --generate 2 --stop one --stop two "
                              "--json",
                              out, sizeof(out)),
                     0);
    expect_object(out, ask);
    assert_non_null(strstr(out, "[7"));
    assert_int_equal(longwave(&f, "status --json", out, sizeof(out)), 0);
    expect_object(out, status_keys);
    assert_int_equal(longwave(&f, "list --json", out, sizeof(out)), 0);
    expect_object(out, lists);
    fake_stop(&f);
}

/* Since the daemon started; its epoch is for machines. */
static void
worlds_have_small_numbers(void **state)
{
    char out[1024];
    fake f;

    (void)state;
    fake_start(&f, answer);
    assert_int_equal(longwave(&f, "status", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "\nworld 2 "));
    assert_int_equal(longwave(&f, "status --json", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "50331650")); /* 3 << 24 and 2 */
    fake_stop(&f);
}

static void
exit_codes_tell(void **state)
{
    static const char *const usage[] = {"",
                                        "nonsense",
                                        "--json list",
                                        "list extra",
                                        "list --unknown",
                                        "add /proc/version",
                                        "add --name x",
                                        "add /no/such/file --name x",
                                        "add /proc/version --ids --name x",
                                        "add - --name a/b < /proc/version",
                                        "add - --name gone < /proc/version",
                                        "ask book",
                                        "ask book text --ids /proc/version",
                                        "ask book text --generate 0",
                                        "ask book text --top-p 2",
                                        "ask book text --top-p 0",
                                        "cancel all",
                                        "list --connect tcp://10.0.0.1:5",
                                        "list --timeout 0"};
    char out[4096];
    fake f;

    (void)state;
    fake_start(&f, answer);
    for (size_t i = 0; i < sizeof(usage) / sizeof(*usage); i++) {
        int rc = longwave(&f, usage[i], out, sizeof(out));

        if (rc != 2 || *out)
            fail_msg("longwave %s: exit %d, stdout '%s'", usage[i], rc, out);
    }
    assert_int_equal(longwave(&f, "--help", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "shutdown"));
    assert_int_equal(longwave(&f, "add --help", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "--name"));
    fake_silence(&f);
    assert_int_equal(longwave(&f, "list --timeout 1", out, sizeof(out)), 1);
    fake_stop(&f);
    assert_int_equal(longwave(&f, "list", out, sizeof(out)), 1);
}

static void
an_interrupt_cancels(void **state)
{
    fake f;
    pid_t pid;
    int rc;

    (void)state;
    fake_start(&f, answer);
    pid = fork();
    if (pid == 0) {
        setenv("LONGWAVE_ENDPOINT", f.endpoint, 1);
        execl(LONGWAVE_BINARY, "longwave", "add", "/proc/version", "--name",
              "slow", (char *)NULL);
        _exit(99);
    }
    for (int i = 0; i < 500 && atomic_load(&f.count[CLIENT_ADD]) == 0; i++)
        clock_sleep_us(10000);
    kill(pid, SIGINT);
    assert_int_equal(waitpid(pid, &rc, 0), pid);
    assert_true(WIFEXITED(rc));
    assert_int_equal(WEXITSTATUS(rc), 1);
    fake_stop(&f);
    assert_int_equal(atomic_load(&f.count[CLIENT_CANCEL]), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_printed),
        cmocka_unit_test(long_answers_come_by_tokens),
        cmocka_unit_test(an_empty_answer_is_an_empty_line),
        cmocka_unit_test(json_is_one_object),
        cmocka_unit_test(worlds_have_small_numbers),
        cmocka_unit_test(exit_codes_tell),
        cmocka_unit_test(an_interrupt_cancels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
