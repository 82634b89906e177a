/* SPDX-License-Identifier: Apache-2.0 */
/* A world: ranks that share one model and run jobs together.
 *
 * Rank 0, the lead, opens streams, feeds their segments and hears what comes
 * out; all other ranks call world_serve() until the lead stops the world.
 * Hidden states or memory states travel between neighbours as the placement
 * says, non-blocking and in bounded buffers.  Main thread only.
 *
 * The lead's loop is: world_turn(), which moves messages, runs at most one
 * group and calls back; then whatever the caller has to do; again. */
#ifndef WORKER_WORLD_H
#define WORKER_WORLD_H

#include "worker/comm.h"
#include "worker/engine.h"
#include "worker/watch.h"

typedef struct world world;

typedef enum world_event_kind {
    WORLD_EVENT_SEGMENT = 0, /* segment `seg`, or a frozen step of it, is done
                                at every layer */
    WORLD_EVENT_LOGITS,      /* in token order within a stream */
    WORLD_EVENT_TOKEN,
    WORLD_EVENT_SNAPSHOT, /* states of all layers, in layer order */
    WORLD_EVENT_SHARD,    /* the state of one layer after a captured segment */
    WORLD_EVENT_CLOSED,   /* the stream's id may be used again */
    WORLD_EVENT_SPOILED   /* numbers of segment `seg` arrived at a rank that are
                             not finite: what follows is worth nothing */
} world_event_kind;

typedef struct world_event {
    world_event_kind kind;
    uint32_t stream;
    uint64_t seg;
    union {
        struct {
            uint32_t row0, n_row;
            const float *values; /* [n_row, n_vocab], valid in the callback */
        } logits;
        engine_token token;
        struct {
            const void *states; /* of all layers, memory_states_bytes() */
            size_t len;         /* bytes */
        } snapshot;
        struct {
            const void *state; /* F32, as in a snapshot */
            size_t len;        /* bytes */
            uint32_t layer, crc;
        } shard;
    } u;
} world_event;

/* Must not call back into the world, except for world_close().  Of one segment
 * LOGITS and TOKEN come before SEGMENT; segments come in order. */
typedef void world_event_fn(void *ctx, const world_event *ev);

/* Collective.  Where the ranks are several replicas, each has as many streams
 * as an engine, and a stream is one replica's from open to closed: ids of them
 * are below replicas * n_stream.  Takes over nothing; `c` and `e` outlive the
 * world.  A rank that holds no layers (sched/place.h) gives NULL for `e`. */
status world_new(world **out, comm *c, engine *e, const place *p) MUST_USE;
void world_free(world *w);

/* ---- the lead ---- */
void world_on_event(world *w, world_event_fn *fn, void *ctx);

typedef struct world_stream {
    uint64_t first_seg; /* segments already in the memory */
    memory_past past;   /* what these were */
    uint64_t n_write;   /* segments that will be read and written */
    bool prompt;        /* a frozen run follows */
    uint64_t n_token;   /* tokens to come at most, drawn ones too: a memory that
                           grows has room for them, or the stream is refused */
    int32_t priority;
    const void *states; /* of all layers, as after first_seg segments; NULL:
                           fresh.  Copied. */
} world_stream;

/* Opens a stream on the replica with most of them free.  ST_STATE: all ids are
 * in use.  ST_LIMIT: it may need more room than the memory has. */
status world_open(world *w, uint32_t *id, const world_stream *s) MUST_USE;
/* Segments that may be fed now (bounded by credits of the ranks). */
uint32_t world_room(const world *w, uint32_t id);
/* The next segment of the stream; ids are copied.  `seg` numbers follow
 * first_seg without a gap; frozen steps after the prompt keep the prompt's
 * number.  Where answers roll over, a run of S tokens is fed again, written,
 * before the run of the next number begins.  The world fills in `past`, and the
 * ids that sample.penalty counts: those of all frozen segments so far
 * (seen_check() says whether there is room for them). */
status world_feed(world *w, uint32_t id, const engine_segment *segment,
                  const int32_t *ids) MUST_USE;
/* The states after the next segment that is fed (a written one) are told as it
 * passes the layers, without a pause: WORLD_EVENT_SHARD for each layer. */
void world_capture(world *w, uint32_t id);
/* Asks for the states after the last written segment, all of which must be
 * done; WORLD_EVENT_SNAPSHOT follows. */
status world_snapshot(world *w, uint32_t id) MUST_USE;
/* Ends the stream, finished or not; WORLD_EVENT_CLOSED follows within one
 * group. */
void world_close(world *w, uint32_t id);
uint32_t world_streams_open(const world *w);
/* Whether the ranks go on, looked at between turns.  A replica of which a
 * stream has work is expected to make steps: groups, and messages between its
 * ranks. A rank of a replica without a stream, also one that has no layers, is
 * asked every `every_ns` whether it is well; the answer is taken by
 * world_turn() and is no step. */
typedef struct world_health {
    uint64_t steps;    /* turns in which something happened */
    bool due;          /* somewhere steps are expected */
    watch_stall stall; /* of the replica that has waited longest for its pace */
    uint64_t silent_ns; /* for which a rank has owed its answer; 0: none does */
} world_health;
status world_watch(world *w, uint64_t every_ns, world_health *out) MUST_USE;

/* Seconds of all ranks in which hops were on their way, and of these the ones
 * behind a group, as of each rank's last report. */
void world_hops(const world *w, double *seconds, double *hidden);

/* Moves messages, runs at most one group, delivers events.  *busy: something
 * happened, call again at once; otherwise the caller may sleep. */
status world_turn(world *w, bool *busy) MUST_USE;
/* Tells the other ranks to return from world_serve(). */
status world_stop(world *w) MUST_USE;

/* ---- the other ranks ---- */
/* Runs until the lead stops the world.  Without work it sleeps in growing
 * steps of at most 1.5 ms. */
status world_serve(world *w) MUST_USE;

/* Sums over all ranks, on the lead after world_stop(): groups of the lead's
 * own, of the rank with the most and of all; cells, steps of answers that were
 * enqueued before they were fed, useful FLOPs and bytes of hops (without
 * headers) of all; the largest peak RSS; seconds of all ranks in which hops
 * were on their way, and of these the ones behind a group; seconds and CPU
 * seconds of groups (member_work()).
 * each[size]: on the lead, of every rank alone; elsewhere, or where nobody
 * wants them, NULL.  Collective. */
typedef struct world_totals {
    uint64_t n_group, n_group_most, n_group_all, n_cell, n_ahead, n_byte;
    uint64_t peak_rss_bytes;
    double hop_seconds, hop_hidden_seconds;
    double work_seconds, work_cpu_seconds;
    double flops;
} world_totals;
status world_totals_get(world *w, world_totals *out,
                        world_totals *each) MUST_USE;

#endif
