/* SPDX-License-Identifier: Apache-2.0 */
/* Reading ahead and sending in order. */
#include "daemon/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/again.h"
#include "proto/snapshot.h"
#include "proto/world_message.h"
#include "sched/segment.h"

enum {
    PART = 1 << 20,        /* bytes of a part of the snapshot */
    BLOCK_TOKENS = 1 << 16 /* ids read at once, at least one segment */
};

typedef struct block {
    int32_t *ids;
    uint64_t first, end; /* segments; empty when first == end */
} block;

struct feed {
    helper_task task; /* first: a task is its feed */
    feed_setup setup;
    feed_failed_fn *fn;
    void *ctx;
    bool reading, dead, failed, checked;
    again again;

    /* the snapshot; the hash and the buffer are the helper's while reading */
    int fd;
    uint8_t *part;
    size_t part_len; /* 0: none has been read */
    uint64_t offset; /* of the part */
    hash sum;
    uint8_t digest[HASH_BYTES]; /* of the whole, with its last part */
    snapshot_scan scan;         /* of one whose hash is not known */

    uint64_t block_segments;
    block block[2];
    int now;            /* the block that is sent; the other is read */
    uint64_t next_read; /* segment */
    uint64_t next_send;
    uint64_t allowed;
};

static bool
has_hash(const feed *f)
{
    return !hash_is_zero(f->setup.hash);
}

/* ------------------------------------------------------ the helper's side ---
 */

/* All of it was read. */
static status
check_whole(feed *f)
{
    const snapshot_info *info = &f->scan.info;
    status st = ST_OK;

    hash_end(&f->sum, f->digest);
    if (has_hash(f)) {
        if (memcmp(f->digest, f->setup.hash, sizeof(f->digest)) != 0)
            TRY(status_fail(ST_IO, "the snapshot is not what the journal has "
                                   "noted"));
        return ST_OK;
    }
    TRY(snapshot_scan_end(&f->scan));
    if (info->n_segment != f->setup.first_segment ||
        memcmp(info->fingerprint, f->setup.fingerprint,
               sizeof(info->fingerprint)) != 0)
        TRY(status_fail(ST_IO, "the snapshot is of another model or place"));
fail:
    return st;
}

static status
check_part(feed *f)
{
    size_t head = f->offset == 0 ? SNAPSHOT_HEADER : 0;
    status st = ST_OK;

    hash_add(&f->sum, f->part, f->part_len);
    if (!has_hash(f)) {
        if (f->part_len < head)
            TRY(status_fail(ST_IO, "this is not a snapshot"));
        if (head > 0)
            TRY(snapshot_scan_begin(&f->scan, f->part,
                                    f->setup.snapshot_bytes));
        snapshot_scan_add(&f->scan, f->part + head, f->part_len - head);
    }
    if (f->offset + f->part_len == f->setup.snapshot_bytes)
        TRY(check_whole(f));
fail:
    return st;
}

static status
read_part(feed *f)
{
    uint64_t left = f->setup.snapshot_bytes - f->offset;
    size_t want = left < PART ? (size_t)left : PART;
    size_t got = 0;

    while (got < want) {
        ssize_t n =
            pread(f->fd, f->part + got, want - got, (off_t)(f->offset + got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return status_fail(ST_IO,
                               "the document's snapshot cannot be "
                               "read: %s",
                               n < 0 ? strerror(errno) : "it is too short");
        got += (size_t)n;
    }
    f->part_len = got;
    return check_part(f);
}

static status
run_snapshot(helper_task *task)
{
    feed *f = (feed *)task;
    status st;

    if (f->fd < 0) {
        f->fd = open(f->setup.snapshot,
                     O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (f->fd < 0)
            TRY(file_failed("open", f->setup.snapshot));
    }
    TRY(read_part(f));
    return ST_OK;
fail:
    return st == ST_NOMEM ? st : ST_IO;
}

/* Read and not mapped: an error of the disk is one of this file, not the end
 * of the daemon. */
static status
run_check(helper_task *task)
{
    feed *f = (feed *)task;
    uint8_t sum[HASH_BYTES];
    snapshot_info info;
    char *data = NULL;
    size_t len;
    status st;

    if (FAULT_FAILS(FEED_CHECK))
        TRY(file_failed("read", f->setup.snapshot));
    TRY(file_read(&data, &len, f->setup.snapshot, f->setup.snapshot_bytes));
    if (len != f->setup.snapshot_bytes)
        TRY(status_fail(ST_IO, "it has %zu bytes, not %llu", len,
                        (unsigned long long)f->setup.snapshot_bytes));
    hash_of(sum, data, len);
    if (memcmp(sum, f->setup.hash, sizeof(sum)) != 0)
        TRY(status_fail(ST_IO, "it is not what the journal has noted"));
    TRY(snapshot_check(&info, (const uint8_t *)data, len));
    if (info.n_segment != f->setup.skip)
        TRY(status_fail(ST_IO, "it is of another place"));
fail:
    mem_free(data);
    return st;
}

static status
run_ids(helper_task *task)
{
    feed *f = (feed *)task;
    block *b = &f->block[1 - f->now];
    uint64_t left = f->setup.n_segment - f->next_read;
    uint64_t n = left < f->block_segments ? left : f->block_segments;
    uint64_t first = segment_start(f->next_read, f->setup.segment_size);
    uint64_t end = segment_start(f->next_read + n, f->setup.segment_size);
    status st;

    if (end > f->setup.n_token)
        end = f->setup.n_token;
    TRY(spool_read(f->setup.ids, b->ids, first, (size_t)(end - first)));
    b->first = f->next_read;
    b->end = f->next_read + n;
fail:
    return st;
}

/* -------------------------------------------------------- the loop's side ---
 */

static void
destroy(feed *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    mem_free((char *)(uintptr_t)f->setup.snapshot);
    mem_free(f->part);
    mem_free(f->block[0].ids);
    mem_free(f->block[1].ids);
    spool_free(f->setup.ids);
    mem_free(f);
}

static void
read_next(feed *f)
{
    bool snapshot = f->offset < f->setup.snapshot_bytes;
    const block *other = &f->block[1 - f->now];

    if (f->reading || f->failed || feed_waits(f))
        return;
    if (snapshot && f->part_len > 0)
        return;
    if (f->setup.check && !f->checked) {
        f->task.run = run_check;
        f->reading = true;
        helper_push(f->setup.reader, &f->task);
        return;
    }
    if (!snapshot &&
        (other->first < other->end || f->next_read == f->setup.n_segment))
        return;
    f->task.run = snapshot ? run_snapshot : run_ids;
    f->reading = true;
    helper_push(f->setup.reader, &f->task);
}

static void
fail(feed *f, status st, const char *text)
{
    feed_failure failure = {.job = f->setup.job,
                            .attempt = f->setup.attempt,
                            .damaged = f->setup.check && st != ST_NOMEM &&
                                       f->offset < f->setup.snapshot_bytes,
                            .st = st,
                            .text = text};

    f->failed = true;
    f->fn(f->ctx, &failure);
}

static void
send_message(feed *f, world_message *m, const void *raw, size_t raw_len)
{
    uint8_t *data;
    size_t len;

    m->incarnation = f->setup.incarnation;
    m->job = f->setup.job;
    m->attempt = f->setup.attempt;
    if (world_message_encode(&data, &len, m) != ST_OK) {
        fail(f, ST_NOMEM, status_text());
        return;
    }
    outbox_send(f->setup.out, &f->setup.peer, data, len, raw, raw_len);
    mem_free(data);
}

static void
send_part(feed *f)
{
    world_message m = {.kind = WORLD_SNAPSHOT};
    uint64_t end = f->offset + f->part_len;

    m.u.snapshot.offset = f->offset;
    m.u.snapshot.total = f->setup.snapshot_bytes;
    m.u.snapshot.last = end == f->setup.snapshot_bytes;
    if (m.u.snapshot.last)
        memcpy(m.u.snapshot.hash, f->digest, sizeof(m.u.snapshot.hash));
    send_message(f, &m, f->part, f->part_len);
    f->offset = end;
    f->part_len = 0;
}

static void
send_segment(feed *f)
{
    const feed_setup *s = &f->setup;
    block *b = &f->block[f->now];
    uint64_t at = segment_start(f->next_send - b->first, s->segment_size);
    uint32_t n = segment_tokens(f->next_send, s->n_token, s->segment_size);
    world_message m = {.kind = WORLD_SEGMENT_IDS};

    m.u.segment_ids.segment = s->first_segment + f->next_send;
    m.u.segment_ids.prompt = s->prompt && f->next_send + 1 == s->n_segment;
    send_message(f, &m, b->ids + at, n * sizeof(int32_t));
    f->next_send++;
    if (f->next_send == b->end)
        b->first = b->end = 0;
}

static bool
can_send_segment(feed *f)
{
    const block *other = &f->block[1 - f->now];

    if (f->failed || f->offset < f->setup.snapshot_bytes ||
        f->next_send == f->setup.n_segment || f->next_send >= f->allowed)
        return false;
    if (f->block[f->now].first < f->block[f->now].end)
        return true;
    if (f->reading || other->first == other->end)
        return false;
    f->now = 1 - f->now;
    read_next(f);
    return true;
}

bool
feed_waits(const feed *f)
{
    return again_waits(&f->again);
}

void
feed_again(feed *f)
{
    if (again_is_due(&f->again))
        feed_pump(f);
}

void
feed_pump(feed *f)
{
    if (f->failed)
        return;
    if (!f->reading && f->part_len > 0 &&
        outbox_is_empty(f->setup.out, &f->setup.peer))
        send_part(f);
    read_next(f);
    while (outbox_is_empty(f->setup.out, &f->setup.peer) && can_send_segment(f))
        send_segment(f);
}

static void
done(helper_task *task, status st, const char *text)
{
    feed *f = (feed *)task;

    f->reading = false;
    if (f->dead) {
        destroy(f);
        return;
    }
    if (again_after(&f->again, st))
        return;
    if (st != ST_OK) {
        fail(f, st, text);
        return;
    }
    if (f->task.run == run_check)
        f->checked = true;
    if (f->task.run == run_snapshot && !has_hash(f) &&
        f->offset + f->part_len == f->setup.snapshot_bytes)
        f->setup.hashed(f->ctx, f->setup.job, f->digest);
    if (f->task.run == run_ids)
        f->next_read = f->block[1 - f->now].end;
    feed_pump(f);
}

status
feed_new(feed **out, const feed_setup *setup, feed_failed_fn *fn, void *ctx)
{
    feed *f = NULL;
    size_t n;
    status st;

    TRY(mem_new(&f, 1, sizeof(*f)));
    f->fd = -1;
    f->setup = *setup;
    f->setup.snapshot = NULL;
    f->setup.ids = spool_hold(setup->ids);
    f->fn = fn;
    f->ctx = ctx;
    f->task.done = done;
    f->next_read = f->next_send = setup->skip;
    f->block_segments = BLOCK_TOKENS / setup->segment_size;
    /* A question is short, and its snapshot may be, too: what is not needed
     * is not zeroed a thousand times a second. */
    if (f->block_segments > setup->n_segment)
        f->block_segments = setup->n_segment;
    if (f->block_segments == 0)
        f->block_segments = 1;
    n = (size_t)(f->block_segments * setup->segment_size);
    hash_init(&f->sum);
    TRY(mem_new(&f->block[0].ids, n, sizeof(int32_t)));
    TRY(mem_new(&f->block[1].ids, n, sizeof(int32_t)));
    if (setup->snapshot) {
        char *path;

        TRY(mem_strdup(&path, setup->snapshot));
        f->setup.snapshot = path;
        TRY(mem_new(&f->part,
                    setup->snapshot_bytes < PART ? (size_t)setup->snapshot_bytes
                                                 : PART,
                    1));
    }
    read_next(f);
    *out = f;
    return ST_OK;
fail:
    if (f)
        destroy(f);
    return st;
}

void
feed_free(feed *f)
{
    if (!f)
        return;
    f->dead = true;
    if (!f->reading)
        destroy(f);
}

const zsocket_peer *
feed_peer(const feed *f)
{
    return &f->setup.peer;
}

void
feed_allow(feed *f, uint64_t segments)
{
    f->allowed = segments;
    feed_pump(f);
}
