/* SPDX-License-Identifier: Apache-2.0 */
/* The wavefront of one rank: which cells can run now.
 *
 * A *stream* is one input's run of segments, numbered from 0 in the order
 * fed.  A rank sees the segments that are its own (all of them, or every R-th:
 * the caller feeds only those) and its run of layers 0 .. n_layer - 1.  Local
 * segment j at layer l can run when
 *   - its input is there: j was fed (l = 0), or (j, l - 1) is done;
 *   - its state is there: (j - 1, l) is done here, and, where states come from
 *     other ranks, wavefront_state() was called for (j, l).
 * That is the whole rule; a diagonal is what comes out of it.  Where segments
 * are *chained*, a stream has one state instead, which the last layer leaves
 * and the first one needs: j enters layer 0 when j - 1 has left the last layer,
 * wavefront_state() is for layer 0 alone, and a stream has one cell at a time.
 * A pure value without I/O, clock or threads; every call is O(streams x
 * layers).
 *
 * In flight: segments from fed to released live in slot j mod n_slot of the
 * stream; no more than n_slot at a time. */
#ifndef SCHED_WAVEFRONT_H
#define SCHED_WAVEFRONT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef enum wavefront_order {
    WAVEFRONT_DIAGONAL = 0, /* every ready cell, as far as there is room */
    WAVEFRONT_SEQUENTIAL    /* one cell: lowest segment, then lowest layer */
} wavefront_order;

typedef struct wavefront wavefront;

typedef struct wavefront_config {
    uint32_t n_stream; /* streams that may be open at once */
    uint32_t n_layer;  /* of this rank */
    uint32_t n_slot;   /* segments in flight per stream */
    uint32_t max_cell; /* largest group */
    uint32_t max_each; /* cells of one stream in it; 0: all that are ready */
    wavefront_order order;
    bool remote_state; /* states come from other ranks (wavefront_state) */
    bool chained;      /* all layers must be here */
} wavefront_config;

typedef struct wavefront_cell {
    uint32_t stream;
    uint32_t layer; /* of this rank */
    uint64_t seg;   /* local number j */
} wavefront_cell;

status wavefront_new(wavefront **out, const wavefront_config *cfg) MUST_USE;
void wavefront_free(wavefront *w);

/* Opens stream `id` < n_stream; it must be closed.  Larger `priority` goes
 * first when a group cannot take all. */
void wavefront_open(wavefront *w, uint32_t id, int32_t priority);
/* Forgets the stream; no group with its cells may be running. */
void wavefront_close(wavefront *w, uint32_t id);
bool wavefront_is_open(const wavefront *w, uint32_t id);

/* Segments that can be fed now: n_slot - (fed - released). */
uint32_t wavefront_room(const wavefront *w, uint32_t id);
/* The next local segment's input is there.  Room must be > 0. */
void wavefront_feed(wavefront *w, uint32_t id);
/* The state that local segment `seg` needs at `layer` is there (in order). */
void wavefront_state(wavefront *w, uint32_t id, uint32_t layer, uint64_t seg);
/* Segment `seg` left its slot (its output was used); in order. */
void wavefront_release(wavefront *w, uint32_t id, uint64_t seg);

/* The next group, into cells[max_cell]: ordered by layer, then stream, at most
 * one cell per stream and layer.  Where not all of a stream's cells have room,
 * those of its oldest segments go first.  Returns the number, 0 when nothing is
 * ready.
 * The cells count as running until wavefront_done(); one group at a time. */
uint32_t wavefront_pick(wavefront *w, wavefront_cell *cells);
/* The same of the streams with only[id] set alone. */
uint32_t wavefront_pick_only(wavefront *w, const bool *only,
                             wavefront_cell *cells);
/* The picked group is done; nothing without one. */
void wavefront_done(wavefront *w);

/* Of stream `id`: segments fed, done at every layer, and released. */
uint64_t wavefront_fed(const wavefront *w, uint32_t id);
uint64_t wavefront_finished(const wavefront *w, uint32_t id);
uint64_t wavefront_released(const wavefront *w, uint32_t id);
/* Segments done at `layer`. */
uint64_t wavefront_done_at(const wavefront *w, uint32_t id, uint32_t layer);

#endif
