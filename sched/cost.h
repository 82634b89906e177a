/* SPDX-License-Identifier: Apache-2.0 */
/* What cells and hops cost: the numbers that a plan is made of.  Pure.
 *
 * A rank's speed is a law of two numbers, the rate that large groups reach
 * and the rows at which half of it is reached, because a device is filled by
 * the rows of a whole group and not by those of a cell:
 *   rate(rows) = flops * rows / (rows + half_rows)
 *   seconds of a group = group_s + sum of its cells' FLOPs / rate(its rows)
 */
#ifndef SCHED_COST_H
#define SCHED_COST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "sched/place.h"

/* A model and a cut into segments, as plain numbers. */
typedef struct cost_model {
    uint32_t n_layer;
    uint32_t n_row;     /* rows of a full segment: tokens and memory tokens */
    double cell_flops;  /* of a full segment at one layer */
    double last_flops;  /* likewise at the last layer, of which a reading needs
                           less; 0: as at any */
    double head_flops;  /* of its logits, where they are wanted, else 0 */
    double x_bytes;     /* hidden state of a segment */
    double state_bytes; /* memory state of one layer */
    double layer_bytes; /* weights of one layer */
    double ends_bytes;  /* weights of embedding and head */
} cost_model;

/* One rank. */
typedef struct cost_rank {
    double flops;     /* FLOP/s of large groups */
    double half_rows; /* rows of a group that reaches half of that */
    double group_s;   /* seconds that a group costs whatever is in it */
    double memory;    /* bytes */
    uint32_t n_cell;  /* computed at once: more in a group take longer in
                         proportion; 0: no such number */
    bool all_rows;    /* what a reading needs less at the last layer is computed
                         nevertheless, as GPUs do */
    double last_times; /* seconds of a FLOP of the last layer, where it has
                          less of them, beside those of another; 0: 1 */
    uint32_t kind;     /* ranks of one kind are as fast but for what else they
                          do at the moment; 0: not known */
} cost_rank;

/* One direction between two ranks. */
typedef struct cost_link {
    double latency_s;
    double bytes_per_s; /* may be infinite */
    /* Seconds of a rank's own time that a byte takes from its groups: copies,
     * and what the operating system does for it. */
    double send_s, receive_s;
} cost_link;

/* Ranks in nodes: neighbours in a node have `inner` between them, others
 * `outer`.  Where ranks were measured one by one, `ranks` and `links` say more
 * (both borrowed, or NULL). */
typedef struct cost_cluster {
    const char *name;
    uint32_t n_rank, n_rank_node;
    cost_rank rank;
    cost_link inner, outer;
    const cost_rank *ranks; /* [n_rank] */
    const cost_link *links; /* [n_rank] from each to the next, the last to 0 */
} cost_cluster;

const cost_rank *cost_rank_of(const cost_cluster *c, uint32_t rank);
/* FLOP/s of the first n ranks. */
double cost_flops(const cost_cluster *c, uint32_t n);

/* Seconds of a group of n_cell full cells, n_last of them at the last layer. */
double cost_group(const cost_model *m, const cost_rank *r, uint32_t n_cell,
                  uint32_t n_last);

/* FLOPs that a document of n_seg segments needs, whoever computes more; one of
 * the last layer counts as so many others as take its time, on that of the
 * first n ranks where they are the fewest.  So cost_flops() is never passed. */
double cost_useful(const cost_model *m, const cost_cluster *c, uint32_t n,
                   uint64_t n_seg);

/* The group time's law through two measured points: `seconds1` a group of
 * rows1 rows and flops1 FLOPs, `seconds2` of more rows.  A rate that does not
 * grow with the rows has no half. */
void cost_fit(cost_rank *r, const double rows[2], const double flops[2],
              const double seconds[2]);
/* Whether a plan can be made of it: all positive, none absurd. */
bool cost_rank_is_sane(const cost_rank *r);
bool cost_link_is_sane(const cost_link *l);
/* Whether a hop is a copy by its receiver, as between ranks of one host, and
 * not on its way while that computes. */
bool cost_link_is_copy(const cost_link *l);

/* Seconds from the start of a transfer until the link is free again; the
 * receiver has it `latency_s` later. */
double cost_transfer(const cost_link *l, double bytes);

/* The link from rank `from` to rank `to`. */
const cost_link *cost_link_of(const cost_cluster *c, uint32_t from,
                              uint32_t to);

/* Bytes that rank p->rank needs for n_stream streams: weights, states, and
 * hidden states in flight. */
double cost_memory(const cost_model *m, const place *p, uint32_t n_stream);

/* The fewest ranks with `bytes` of memory each that hold the model by layers;
 * 0: not even one with a single layer does. */
uint32_t cost_ranks_needed(const cost_model *m, double bytes,
                           uint32_t n_stream);

/* The descriptions that ship: "8xh200", "128xh200", "64xcpu".  They are round
 * figures of such machines for planning; longwave-plan takes measured ones by
 * flags.  ST_NOTFOUND lists the names. */
status cost_cluster_preset(cost_cluster *out, const char *name) MUST_USE;

#endif
