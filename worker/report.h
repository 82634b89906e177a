/* SPDX-License-Identifier: Apache-2.0 */
/* The channel of reports: from every rank to the lead.
 *
 * Internal to the world.  Reports of one rank come in order.  The lead decides
 * when a report's turn has come and leaves it, and all behind it from that
 * rank, waiting until then; data is sent synchronously, so a rank holds no
 * more than two pieces of it and waits. */
#ifndef WORKER_REPORT_H
#define WORKER_REPORT_H

#include "worker/comm.h"
#include "worker/world_wire.h"

/* ---- a rank's end ---- */
typedef struct report_out report_out;
status report_out_new(report_out **out, comm *c, size_t max_data) MUST_USE;
void report_out_free(report_out *o);
/* Sends a copy; r->len bytes of data.  Blocks while two pieces of data (or
 * very many reports) have not been taken: the lead waits for nothing that
 * happens after this report, so this ends. */
status report_send(report_out *o, const report *r, const void *data) MUST_USE;

/* ---- the lead's end ---- */
typedef struct report_in report_in;
typedef bool report_turn_fn(void *ctx, const report *r);
typedef status report_take_fn(void *ctx, const report *r, const void *data);
typedef struct report_in_config {
    uint32_t n_rank; /* ranks 1 .. n_rank - 1 report */
    size_t max_data;
    report_turn_fn *turn;
    report_take_fn *take;
    void *ctx;
} report_in_config;
status report_in_new(report_in **out, comm *c,
                     const report_in_config *cfg) MUST_USE;
void report_in_free(report_in *in);
/* Takes what has come and whose turn it is, of each rank at most one report
 * with data: what is done with that may take a while. */
status report_in_poll(report_in *in, bool *busy) MUST_USE;

#endif
