/* SPDX-License-Identifier: Apache-2.0 */
/* Which rank runs which cell.  Pure.
 *
 *   layers    rank r holds a run of neighbouring layers and runs them for
 *             every segment: hidden states hop from rank to rank
 *   segments  every rank holds all layers; rank s mod R runs segment s: memory
 *             states hop round the ring, one layer at a time
 *
 * With layers there are at most n_layer working ranks; with more ranks the
 * surplus holds nothing and sleeps. */
#ifndef SCHED_PLACE_H
#define SCHED_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef enum place_kind { PLACE_LAYERS = 0, PLACE_SEGMENTS } place_kind;

typedef struct place {
    place_kind kind;
    uint32_t n_layer; /* of the model */
    uint32_t size;    /* ranks of a replica */
    uint32_t rank;    /* this one, in its replica */
    /* Groups of `size` ranks that hold the model together and share nothing;
     * 0 counts as 1.  Those of one group are neighbours in the world. */
    uint32_t n_replica;
    uint32_t replica; /* this rank's */
    /* Layers: how many the ranks up to each have together, [size], never
     * falling and n_layer at the end; NULL: divided evenly.  Borrowed. */
    const uint32_t *ends;
} place;

const char *place_name(place_kind kind); /* "layers", "segments" */

/* What a model's memory states are, as far as their way matters. */
typedef struct place_state {
    bool chained; /* the last layer leaves what the first one needs */
    bool grows;   /* with every token */
} place_state;

/* Sets p->kind for its n_layer and size from "layers", "layers:5,3" (the
 * division is place_parse_division()'s), "segments" or "auto".
 * Auto: segments up to n_layer ranks, then layers; states that grow stay where
 * they are, so layers; chained ones are the same for all layers, so segments.
 * ST_UNSUPPORTED: layers of a chained memory on several ranks. */
status place_parse(place *p, const char *name,
                   const place_state *state) MUST_USE;

/* ends[size] from "5,3": layers of each rank in order, n_layer in all, none
 * behind a rank that has 0.  ST_ARG: it is no such division (`ends` is of no
 * use then). */
status place_parse_division(uint32_t *ends, const place *p,
                            const char *text) MUST_USE;

/* Divides the layers of p so that the rank which takes longest takes least:
 * ends[size], as a place has them.  A rank takes layer_s[rank] seconds a layer
 * and has room for most[rank] of them; the last one that works takes tail_s
 * more, or less by not all of a layer.  The first min(size, n_layer) ranks have
 * a layer at least.  ST_LIMIT: there is not room for all. */
status place_divide(uint32_t *ends, const place *p, const double *layer_s,
                    const uint32_t *most, double tail_s) MUST_USE;

/* Deals `n_rank` ranks out to `n_replica` replicas: size, rank and replica of
 * rank `rank` of all.  ST_ARG: they cannot be dealt out evenly. */
status place_deal(place *p, uint32_t n_replica, uint32_t n_rank,
                  uint32_t rank) MUST_USE;
uint32_t place_replicas(const place *p); /* 1 at least */
/* The most replicas, n_replica at most and 1 at least, that n_rank ranks can be
 * dealt out to evenly. */
uint32_t place_replicas_left(uint32_t n_replica, uint32_t n_rank);

/* Ranks of a replica that have work: with layers those that hold any, else
 * size. */
uint32_t place_active(const place *p);
/* The run of layers that `rank` holds; *n = 0 for a surplus rank.  Undivided,
 * they are dealt out as evenly as whole layers allow, longer runs first. */
void place_layers(const place *p, uint32_t rank, uint32_t *first, uint32_t *n);
/* Segments that rank p->rank keeps in flight for a stream: one for each of its
 * cells on a diagonal, one that was fed ahead and one that is taken away. */
uint32_t place_slots(const place *p);
/* Cells of one stream that a rank takes into a group at most, on a device that
 * computes n_cell of them at once (0: the more, the faster); 0: all that are
 * ready.  More would only make what they leave hop later, so the ramp longer.
 * With one at a time no timing changes the number of groups.  A rank that
 * nobody waits for takes all. */
uint32_t place_group(const place *p, uint32_t n_cell);
/* The rank that runs cell (seg, layer). */
uint32_t place_owner(const place *p, uint64_t seg, uint32_t layer);

#endif
