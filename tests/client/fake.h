/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon that does what a test says, on a thread of its own. */
#ifndef TESTS_CLIENT_FAKE_H
#define TESTS_CLIENT_FAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "proto/client_message.h"
#include "proto/socket.h"
#include "tests/expect.h"

typedef struct fake fake;
/* One message of the client; raw is NULL without one. */
typedef void fake_fn(fake *f, const client_message *m, const uint8_t *raw,
                     size_t raw_len);

struct fake {
    char directory[32], endpoint[64];
    zcontext *z;
    zsocket *socket;
    pthread_t thread;
    atomic_bool stop;
    zsocket_peer peer; /* the client heard last */
    fake_fn *fn;
    uint8_t *input; /* what was uploaded */
    size_t n_input, announced, credit;
    uint64_t job;         /* request of the job */
    atomic_int count[64]; /* messages by kind */
    double uptime;
    char key[CLIENT_MAX_KEY + 1];
};

static inline void
fake_send(fake *f, const client_message *m)
{
    uint8_t *data;
    size_t len;

    EXPECT_OK(client_message_encode(&data, &len, m));
    EXPECT_OK(zsocket_send(f->socket, &f->peer, data, len, NULL, 0));
    mem_free(data);
}

static inline void
fake_refuse(fake *f, uint64_t request, const char *code, const char *text)
{
    client_message m = {.kind = CLIENT_REFUSED, .request = request};

    m.u.refused.code = (char *)(uintptr_t)code;
    m.u.refused.text = (char *)(uintptr_t)text;
    fake_send(f, &m);
}

static inline void
fake_accept(fake *f, const client_message *m, uint64_t bytes, uint64_t credit)
{
    client_message out = {.kind = CLIENT_ACCEPTED,
                          .request = m->request,
                          .u.accepted = {.job = 42, .input_credit = credit}};

    f->job = m->request;
    f->announced = bytes;
    f->credit = credit;
    fake_send(f, &out);
}

/* Keeps a chunk; fails when it is not the next one or beyond the credit. */
static inline void
fake_keep(fake *f, const client_message *m, const uint8_t *raw, size_t len)
{
    assert_int_equal(m->request, f->job);
    assert_int_equal(m->u.chunk.offset, f->n_input);
    assert_non_null(raw);
    assert_true(f->n_input + len <= f->credit);
    EXPECT_OK(mem_resize(&f->input, f->n_input + len, 1));
    memcpy(f->input + f->n_input, raw, len);
    f->n_input += len;
}

/* An input that came with its request. */
static inline void
fake_keep_whole(fake *f, const uint8_t *raw, size_t len)
{
    assert_int_equal(len, f->announced);
    EXPECT_OK(mem_resize(&f->input, len, 1));
    memcpy(f->input, raw, len);
    f->n_input = len;
}

static inline void
fake_status(fake *f, uint64_t request)
{
    client_message m = {.kind = CLIENT_STATUS, .request = request};
    client_world world = {.incarnation = (UINT64_C(3) << 24) + 2,
                          .model = "m",
                          .state = "ready",
                          .placement = "layers",
                          .device = "cpu"};

    m.u.status.version = "fake";
    m.u.status.uptime_seconds = f->uptime;
    m.u.status.world = &world;
    m.u.status.n_world = 1;
    fake_send(f, &m);
}

static inline void *
fake_run(void *ctx)
{
    fake *f = ctx;

    while (!atomic_load(&f->stop)) {
        zsocket_message frames;
        client_message m;
        uint64_t request;

        if (zsocket_recv(f->socket, &frames, 10) != ST_OK)
            continue;
        f->peer = frames.peer;
        EXPECT_OK(client_message_decode(&m, &request, frames.control,
                                        frames.control_len));
        f->fn(f, &m, frames.raw, frames.raw_len);
        atomic_fetch_add(&f->count[m.kind], 1);
        client_message_fini(&m);
        zsocket_message_fini(&frames);
    }
    return NULL;
}

static inline void
fake_start(fake *f, fake_fn *fn)
{
    *f = (fake){.fn = fn, .uptime = 1e6};
    snprintf(f->directory, sizeof(f->directory), "/tmp/lw-client-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->endpoint, sizeof(f->endpoint), "ipc://%s/s", f->directory);
    EXPECT_OK(zcontext_new(&f->z));
    EXPECT_OK(
        zsocket_router(&f->socket, f->z, f->endpoint, NULL, CLIENT_MAX_CHUNK));
    assert_int_equal(pthread_create(&f->thread, NULL, fake_run, f), 0);
}

/* A daemon that is gone: nobody reads, but the socket is there. */
static inline void
fake_silence(fake *f)
{
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
}

static inline void
fake_stop(fake *f)
{
    if (!atomic_load(&f->stop))
        fake_silence(f);
    zsocket_flush_close(f->socket, 100);
    zcontext_free(f->z);
    assert_int_equal(rmdir(f->directory), 0);
    mem_free(f->input);
}

#endif
