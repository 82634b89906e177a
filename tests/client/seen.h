/* SPDX-License-Identifier: Apache-2.0 */
/* What a test saw of its job at a fake daemon, and a client that tells it. */
#ifndef TESTS_CLIENT_SEEN_H
#define TESTS_CLIENT_SEEN_H

#include "client/client.h"
#include "tests/client/fake.h"

/* What a test saw of a job, and when it wants to stop. */
typedef struct seen {
    uint64_t job, sent;
    int progress, tokens;
    char text[64];
    bool stop_at_progress, stop;
} seen;

static void
saw_accepted(void *ctx, uint64_t job)
{
    ((seen *)ctx)->job = job;
}

static void
saw_sent(void *ctx, uint64_t bytes, uint64_t total)
{
    assert_true(bytes <= total);
    ((seen *)ctx)->sent = bytes;
}

static void
saw_progress(void *ctx, const client_message *m)
{
    seen *s = ctx;

    assert_int_equal(m->u.progress.job, 42);
    s->progress++;
    s->stop = s->stop || s->stop_at_progress;
}

static void
saw_token(void *ctx, const client_message *m)
{
    seen *s = ctx;

    assert_int_equal(m->u.token.index, s->tokens++);
    strncat(s->text, m->u.token.text, m->u.token.text_len);
}

static bool
wants_to_stop(void *ctx)
{
    return ((seen *)ctx)->stop;
}

static client_events
events_of(seen *s)
{
    return (client_events){.accepted = saw_accepted,
                           .sent = saw_sent,
                           .progress = saw_progress,
                           .token = saw_token,
                           .ctx = s};
}

static client *
connect_to(const fake *f, seen *s, uint32_t timeout_ms)
{
    client_config config = {.endpoint = f->endpoint,
                            .timeout_ms = timeout_ms,
                            .interrupted = s ? wants_to_stop : NULL,
                            .ctx = s};
    client *c;

    EXPECT_OK(client_open(&c, &config));
    assert_string_equal(client_endpoint(c), f->endpoint);
    return c;
}

#endif
