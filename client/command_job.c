/* SPDX-License-Identifier: Apache-2.0 */
/* `longwave add`, `longwave ask` and `longwave watch`. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/terminal.h"
#include "client/bar.h"
#include "client/command.h"
#include "client/screen.h"

/* What is on the screen while a job runs. */
typedef struct display {
    bar bar;
    terminal text; /* the answer, on stdout */
    bool quiet;    /* --json: the answer is printed at the end */
    uint32_t n_token;
    char *answer;  /* what has come of it */
    size_t n_text; /* its bytes; printed, too, unless quiet */
    bool gap;      /* a token is missing: the rest comes at the end */
} display;

static void
on_accepted(void *ctx, uint64_t job)
{
    (void)ctx;
    log_debug("job %" PRIu64, job);
}

static void
on_sent(void *ctx, uint64_t bytes, uint64_t total)
{
    bar_sent(&((display *)ctx)->bar, bytes, total);
}

static void
on_progress(void *ctx, const client_message *m)
{
    display *d = ctx;

    if (d->n_token == 0)
        bar_progress(&d->bar, m);
}

/* The daemon drops tokens for a client that does not read fast enough; the
 * whole answer comes with the end of the job. */
static void
on_token(void *ctx, const client_message *m)
{
    display *d = ctx;
    size_t len = m->u.token.text_len;

    if (d->n_token == 0)
        bar_clear(&d->bar);
    d->gap = d->gap || m->u.token.index != d->n_token ||
             mem_resize(&d->answer, d->n_text + len, 1) != ST_OK;
    d->n_token++;
    if (d->gap)
        return;
    memcpy(d->answer + d->n_text, m->u.token.text, len);
    d->n_text += len;
    if (d->quiet)
        return;
    terminal_write(&d->text, stdout, m->u.token.text, len);
    fflush(stdout);
}

static client_events
display_init(display *d, const command *c, const char *title)
{
    *d = (display){.quiet = c->json};
    bar_init(&d->bar, stderr, title);
    terminal_init(&d->text, stdout);
    return (client_events){.accepted = on_accepted,
                           .sent = on_sent,
                           .progress = on_progress,
                           .token = on_token,
                           .ctx = d};
}

static void
display_fini(display *d)
{
    bar_clear(&d->bar);
    mem_free(d->answer);
}

/* Why the answer may be worth less, where there is a reason. */
static void
json_warning(jsonout *j, const client_message *m)
{
    if (m->u.done.warning && *m->u.done.warning)
        jsonout_text(j, "warning", m->u.done.warning);
}

static void
print_warning(const client_message *m)
{
    if (m->u.done.warning && *m->u.done.warning)
        log_warn("%s", m->u.done.warning);
}

static status
print_add_json(const client_message *m)
{
    jsonout j;

    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_u64(&j, "job", m->u.done.job);
    jsonout_text(&j, "document", m->u.done.document);
    jsonout_u64(&j, "tokens", m->u.done.tokens);
    jsonout_u64(&j, "segments", m->u.done.segments);
    jsonout_f64(&j, "seconds", m->u.done.seconds);
    jsonout_f64(&j, "tokens_per_second", m->u.done.tokens_per_second);
    jsonout_u64(&j, "snapshot_bytes", m->u.done.snapshot_bytes);
    json_warning(&j, m);
    jsonout_close_object(&j);
    return command_print(&j);
}

static status
print_add(const client_message *m, bool json)
{
    char tokens[SCREEN_NUMBER], segments[SCREEN_NUMBER], rate[SCREEN_NUMBER],
        bytes[SCREEN_NUMBER], seconds[SCREEN_NUMBER];

    if (json)
        return print_add_json(m);
    terminal_text(stdout, m->u.done.document);
    printf(": %s tokens in %s segment%s, %s, %s tokens/s, snapshot %s\n",
           screen_count(tokens, m->u.done.tokens),
           screen_count(segments, m->u.done.segments),
           m->u.done.segments == 1 ? "" : "s",
           screen_duration(seconds, m->u.done.seconds),
           screen_count(rate, (uint64_t)m->u.done.tokens_per_second),
           screen_bytes(bytes, m->u.done.snapshot_bytes));
    print_warning(m);
    return ST_OK;
}

/* Its key is a hash of all of it: what the daemon will not take is not read. */
static status
open_input(upload *out, command *c, const char *path, bool ids)
{
    uint64_t most = 0;
    status st;

    TRY(client_max_input(c->c, &most));
    TRY(ids ? upload_open_ids(out, path, most)
            : upload_open_file(out, path, most));
fail:
    return st;
}

status
command_add(int argc, char **argv)
{
    command c;
    const char *name = NULL;
    bool ids = false, done = false;
    option_entry entry[2 + COMMAND_N_ENTRY] = {
        {"name", OPTION_TEXT, &name, "NAME",
         "what the document is called from now on: up to 255 bytes without '/'",
         0, 0},
        {"ids", OPTION_FLAG, &ids, NULL,
         "FILE is safetensors with a tensor input_ids (I32 or I64, shape [n])",
         0, 0}};
    const option_set set = {
        .program = "longwave add",
        .summary = "Usage: longwave add FILE|- --name NAME [--ids]\n"
                   "Reads a document in: UTF-8 text from FILE or stdin.",
        .entry = entry,
        .n_entry = sizeof(entry) / sizeof(*entry),
        .max_argument = 1};
    client_message m = {.request = 0};
    client_events events;
    display d = {.quiet = false};
    upload input = {.fd = -1};
    status st;

    command_init(&c);
    command_entries(&c, entry + 2);
    TRY(command_parse(&c, &set, 1, argc, argv, &done));
    if (done)
        return ST_OK;
    if (!name)
        TRY(status_fail(ST_ARG, "--name is missing: what is the document "
                                "called?"));
    TRY(command_open(&c));
    TRY(open_input(&input, &c, c.argument[0], ids));
    events = display_init(&d, &c, name);
    TRY(client_add(c.c, &m, name, &input, &events));
    bar_finish(&d.bar);
    TRY(print_add(&m, c.json));
fail:
    display_fini(&d);
    client_message_fini(&m);
    command_close(&c);
    upload_close(&input);
    return st;
}

/* Flags of ask that are not numbers of the wire's width yet. */
typedef struct question {
    const char *ids;
    uint64_t generate, top_k, seed;
    double temperature, top_p, min_p, penalty;
    bool ignore_eos, logprobs;
    option_list stop;
} question;

/* The whole answer.  The daemon leaves the text out of its last message when
 * the two do not fit together; the tokens have brought it then. */
static const char *
answer_of(const display *d, const client_message *m, size_t *len)
{
    bool whole = m->u.done.text_len >= d->n_text;

    *len = whole ? m->u.done.text_len : d->n_text;
    return whole ? m->u.done.text : d->answer;
}

/* As longwave-run prints them; none unless they were asked for. */
static void
json_logprobs(jsonout *j, const client_message *m)
{
    if (m->u.done.n_logprob == 0)
        return;
    jsonout_array(j, "logprobs");
    for (size_t i = 0; i < m->u.done.n_logprob; i++) {
        jsonout_object(j, NULL);
        jsonout_i64(j, "id", m->u.done.ids[i]);
        jsonout_f64(j, "logprob", (double)m->u.done.logprobs[i]);
        jsonout_close_object(j);
    }
    jsonout_close_array(j);
}

static status
print_ask_json(const display *d, const client_message *m)
{
    size_t len;
    const char *text = answer_of(d, m, &len);
    jsonout j;

    jsonout_init(&j);
    jsonout_object(&j, NULL);
    jsonout_u64(&j, "job", m->u.done.job);
    jsonout_text(&j, "document", m->u.done.document);
    jsonout_array(&j, "generated_ids");
    for (size_t i = 0; i < m->u.done.n_id; i++)
        jsonout_i64(&j, NULL, m->u.done.ids[i]);
    jsonout_close_array(&j);
    json_logprobs(&j, m);
    jsonout_bytes(&j, "text", text, len);
    jsonout_text(&j, "finish", m->u.done.finish);
    jsonout_u64(&j, "tokens", m->u.done.tokens);
    jsonout_f64(&j, "seconds", m->u.done.seconds);
    jsonout_f64(&j, "seconds_to_first_token", m->u.done.seconds_to_first_token);
    jsonout_f64(&j, "tokens_per_second", m->u.done.tokens_per_second);
    jsonout_u64(&j, "skipped_tokens", m->u.done.skipped_tokens);
    json_warning(&j, m);
    jsonout_close_object(&j);
    return command_print(&j);
}

/* What the stream did not bring.  Without a text, `ids` if there may be no
 * tokenizer to make one. */
static status
print_answer(display *d, const client_message *m, bool json, bool ids)
{
    size_t len;
    const char *text = answer_of(d, m, &len);

    if (json)
        return print_ask_json(d, m);
    terminal_write(&d->text, stdout, text + d->n_text, len - d->n_text);
    for (size_t i = 0; ids && len == 0 && i < m->u.done.n_id; i++)
        printf("%s%" PRId32, i ? " " : "", m->u.done.ids[i]);
    if (len == 0 || text[len - 1] != '\n')
        putchar('\n');
    if (m->u.done.skipped_tokens > 0)
        log_warn("%" PRIu64 " tokens of the input were skipped",
                 m->u.done.skipped_tokens);
    print_warning(m);
    if (fflush(stdout) != 0)
        return status_fail(ST_IO, "stdout does not take the answer");
    return ST_OK;
}

static status
run_ask(command *c, const question *q)
{
    client_sampling sampling = {.max_tokens = (uint32_t)q->generate,
                                .temperature = (float)q->temperature,
                                .top_k = (uint32_t)q->top_k,
                                .top_p = (float)q->top_p,
                                .min_p = (float)q->min_p,
                                .penalty = (float)q->penalty,
                                .seed = q->seed,
                                .ignore_eos = q->ignore_eos,
                                .logprobs = q->logprobs,
                                .n_stop = (uint32_t)q->stop.n};
    client_message m = {.request = 0};
    client_events events;
    display d = {.quiet = false};
    upload text = {.fd = -1};
    status st = ST_OK;

    for (size_t i = 0; i < q->stop.n; i++)
        sampling.stop[i] = (char *)(uintptr_t)q->stop.item[i];
    TRY(command_open(c));
    if (q->ids)
        TRY(open_input(&text, c, q->ids, true));
    else
        upload_init_text(&text, c->argument[1]);
    events = display_init(&d, c, c->argument[0]);
    st = client_ask(c->c, &m, c->argument[0], &text, &sampling, &events);
    bar_clear(&d.bar);
    if (st != ST_OK && d.n_text > 0)
        putchar('\n');
    TRY(st);
    TRY(print_answer(&d, &m, c->json, q->ids != NULL));
fail:
    display_fini(&d);
    client_message_fini(&m);
    upload_close(&text);
    return st;
}

static status
parse_ask(command *c, question *q, int argc, char **argv, bool *done)
{
    enum { N_ENTRY = 11 };
    option_entry entry[N_ENTRY + COMMAND_N_ENTRY] = {
        {"ids", OPTION_TEXT, &q->ids, "FILE",
         "the question's token ids: safetensors with a tensor input_ids (I32 "
         "or I64, shape [n])",
         0, 0},
        {"generate", OPTION_U64, &q->generate, "N",
         "tokens the answer has at most", 1, CLIENT_MAX_GENERATE},
        {"temperature", OPTION_F64, &q->temperature, "T",
         "0: the most probable token each time", 0, 100},
        {"top-k", OPTION_U64, &q->top_k, "K",
         "draw from the K most probable tokens; 0: all", 0, INT32_MAX},
        {"top-p", OPTION_F64, &q->top_p, "P",
         "draw from the most probable tokens that make up P", 0, 1},
        {"min-p", OPTION_F64, &q->min_p, "P",
         "drop tokens below P times the most probable; 0: none", 0, 1},
        {"repetition-penalty", OPTION_F64, &q->penalty, "P",
         "of tokens that the last segment of document and question or the "
         "answer has; 1: none",
         0.01, 100},
        {"seed", OPTION_U64, &q->seed, "N",
         "the same seed draws the same answer", 0, 0},
        {"stop", OPTION_LIST, &q->stop, "TEXT",
         "end the answer before this text; up to 16 times", 0, 0},
        {"logprobs", OPTION_FLAG, &q->logprobs, NULL,
         "with --json: how likely each token was", 0, 0},
        {"ignore-eos", OPTION_FLAG, &q->ignore_eos, NULL,
         "go on past an end token", 0, 0}};
    const option_set set = {
        .program = "longwave ask",
        .summary = "Usage: longwave ask NAME TEXT|--ids FILE\n"
                   "Asks a question about the document NAME; the answer's "
                   "text is printed as it\ncomes.",
        .entry = entry,
        .n_entry = sizeof(entry) / sizeof(*entry),
        .max_argument = 2};
    status st;

    command_entries(c, entry + N_ENTRY);
    TRY(command_parse(c, &set, 1, argc, argv, done));
    if (*done)
        return ST_OK;
    if ((c->n_argument == 2) == (q->ids != NULL))
        return status_fail(ST_ARG, "a question is either TEXT or --ids FILE; "
                                   "see longwave ask --help");
    if (q->top_p <= 0)
        return status_fail(ST_ARG, "--top-p: 0 leaves no token to draw");
fail:
    return st;
}

status
command_ask(int argc, char **argv)
{
    question q = {.generate = 128, .top_p = 1, .penalty = 1};
    bool done = false;
    command c;
    status st;

    command_init(&c);
    TRY(parse_ask(&c, &q, argc, argv, &done));
    if (!done)
        TRY(run_ask(&c, &q));
fail:
    command_close(&c);
    return st;
}

/* What an answer ends with, a reading has not. */
static status
watch(command *c, uint64_t id)
{
    char title[32];
    client_message m = {.request = 0};
    client_events events;
    display d = {.quiet = false};
    status st;

    (void)snprintf(title, sizeof(title), "job %" PRIu64, id);
    events = display_init(&d, c, title);
    st = client_watch(c->c, &m, id, &events);
    bar_clear(&d.bar);
    if (st != ST_OK && d.n_text > 0)
        putchar('\n');
    TRY(st);
    TRY(m.u.done.finish && *m.u.done.finish
            ? print_answer(&d, &m, c->json, true)
            : print_add(&m, c->json));
fail:
    display_fini(&d);
    client_message_fini(&m);
    return st;
}

status
command_watch(int argc, char **argv)
{
    command c;
    option_entry entry[COMMAND_N_ENTRY];
    const option_set set = {
        .program = "longwave watch",
        .summary = "Usage: longwave watch JOB\n"
                   "Waits for a job, or fetches the result of one that has "
                   "ended.  The job runs on\nwhen this is interrupted.",
        .entry = entry,
        .n_entry = COMMAND_N_ENTRY,
        .max_argument = 1};
    bool done = false;
    uint64_t id;
    status st;

    command_init(&c);
    command_entries(&c, entry);
    TRY(command_parse(&c, &set, 1, argc, argv, &done));
    if (done)
        return ST_OK;
    TRY(command_job_number(&id, c.argument[0]));
    TRY(command_open(&c));
    TRY(watch(&c, id));
fail:
    command_close(&c);
    return st;
}
