/* SPDX-License-Identifier: Apache-2.0 */
/* The lead of a world: streams over all ranks, and what is heard of them.
 *
 * Internal to the world; world.h is its manual. */
#ifndef WORKER_LEAD_H
#define WORKER_LEAD_H

#include "worker/member.h"
#include "worker/world.h"

typedef struct lead lead;

status lead_new(lead **out, comm *c, engine *e) MUST_USE;
void lead_free(lead *w);
void lead_on_event(lead *w, world_event_fn *fn, void *ctx);
status lead_open(lead *w, uint32_t *id, const world_stream *s) MUST_USE;
uint32_t lead_room(const lead *w, uint32_t id);
status lead_feed(lead *w, uint32_t id, const engine_segment *segment,
                 const int32_t *ids) MUST_USE;
void lead_capture(lead *w, uint32_t id);
status lead_watch(lead *w, uint64_t every_ns, world_health *out) MUST_USE;
void lead_hops(const lead *w, double *seconds, double *hidden);
status lead_snapshot(lead *w, uint32_t id) MUST_USE;
void lead_close(lead *w, uint32_t id);
uint32_t lead_streams_open(const lead *w);
status lead_turn(lead *w, bool *busy) MUST_USE;
const member *lead_member(const lead *w); /* its own */
status lead_stop(lead *w) MUST_USE;

/* Bytes of data that one report may carry. */
size_t lead_report_bytes(const engine *e);

#endif
