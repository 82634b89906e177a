/* SPDX-License-Identifier: Apache-2.0 */
/* A member of a world: obeys commands, computes, hands on, reports.
 *
 * Internal to the world.  The lead has one too; its commands come by call, the
 * others' by message.  Between calls no group is running. */
#ifndef WORKER_MEMBER_H
#define WORKER_MEMBER_H

#include "worker/comm.h"
#include "worker/engine.h"
#include "worker/world_wire.h"

typedef struct member member;

/* `data`: r->len bytes, for LOGITS r->n_row rows, member_logit_rows() at
 * most. */
typedef status member_report_fn(void *ctx, const report *r, const void *data);

/* Sets the engine's sink and hook. */
status member_new(member **out, comm *c, engine *e, member_report_fn *fn,
                  void *ctx) MUST_USE;
void member_free(member *m);

/* `data`: cmd->len bytes. */
status member_command(member *m, const command *cmd, const void *data) MUST_USE;
/* Moves hops, runs at most one group. */
status member_turn(member *m, bool *busy) MUST_USE;
uint32_t member_streams_open(const member *m);
/* Bytes of hidden and memory states that were given to the successor. */
uint64_t member_moved(const member *m);
/* Nanoseconds in which what came from the predecessor was on its way, and of
 * these the ones in which a group computed (hop_times). */
void member_hop_ns(const member *m, uint64_t *total, uint64_t *hidden);
/* Seconds in which groups ran, and the CPU time of these that this thread had:
 * what is missing others have taken, or a device computed. */
void member_work(const member *m, double *seconds, double *cpu_seconds);

/* Rows of logits that are reported at once, 1 or more. */
uint32_t member_logit_rows(const engine *e);
/* Bytes of the largest hop. */
size_t member_max_hop(const engine *e);

#endif
