/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt's data on its way to a world: the snapshot in parts, then the
 * segments as far as the world has given credit.
 *
 * Files are read ahead on a helper thread in blocks of bounded size, so that a
 * world with credit never waits for the disk.  Loop thread. */
#ifndef DAEMON_FEED_H
#define DAEMON_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "daemon/helper.h"
#include "daemon/outbox.h"
#include "daemon/spool.h"

typedef struct feed feed;

/* The snapshot of a job was whole, and has this hash. */
typedef void feed_hashed_fn(void *ctx, uint64_t job,
                            const uint8_t sum[HASH_BYTES]);

typedef struct feed_setup {
    uint64_t job, incarnation;
    uint32_t attempt;
    zsocket_peer peer;
    spool *ids; /* held by the feed as long as it needs it */
    uint64_t n_token, n_segment;
    uint64_t first_segment; /* number of the ids' first one */
    uint64_t skip;          /* segments that the snapshot has of them */
    uint32_t segment_size;
    bool prompt;          /* the last segment is one */
    const char *snapshot; /* path, or NULL */
    uint64_t snapshot_bytes;
    bool check; /* the snapshot is a checkpoint: looked at as a whole first */
    uint8_t hash[HASH_BYTES]; /* which the snapshot must have; zeros: not known,
                                 it must be whole in itself then, of this model
                                 and of `first_segment` segments */
    uint8_t fingerprint[32];
    feed_hashed_fn *hashed; /* of one whose hash is not known */
    helper *reader;
    outbox *out;
} feed_setup;

/* Something could not be read, or is not what it should be: the attempt is
 * over.  `damaged`: that is the checkpoint. */
typedef struct feed_failure {
    uint64_t job;
    uint32_t attempt;
    bool damaged;
    status st;
    const char *text;
} feed_failure;
typedef void feed_failed_fn(void *ctx, const feed_failure *f);

/* Begins to read at once.  `fn` and `setup->hashed` are called with `ctx`;
 * reader and out are borrowed.  ST_NOMEM. */
status feed_new(feed **out, const feed_setup *setup, feed_failed_fn *fn,
                void *ctx) MUST_USE;
/* Nothing is sent or called any more.  NULL is fine. */
void feed_free(feed *f);
const zsocket_peer *feed_peer(const feed *f);
/* So many segments may be sent in all. */
void feed_allow(feed *f, uint64_t segments);
/* The peer's outbox has drained. */
void feed_pump(feed *f);
/* Memory or descriptors were short when it wanted to read: feed_again() tries
 * once more (again.h), and in the end it has failed (ST_NOMEM, undamaged). */
bool feed_waits(const feed *f);
void feed_again(feed *f);

#endif
