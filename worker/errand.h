/* SPDX-License-Identifier: Apache-2.0 */
/* One job of the daemon, as this world runs it.
 *
 *   begin -> restore (parts of a snapshot) -> run (segments, as fed; then a
 *   snapshot, or a prompt and its tokens one by one) -> end -> free
 *
 * Everything from the daemon is checked here; what is wrong fails the job and
 * leaves the world as it was.  Nothing sent may block: what the line does not
 * take now is tried again at the next step.  The result is sent when the
 * world's stream is closed, so the daemon may begin the next job at once.
 * Main thread of the lead. */
#ifndef WORKER_ERRAND_H
#define WORKER_ERRAND_H

#include "proto/world_message.h"
#include "worker/world.h"

/* What is the same for all jobs of a world. */
typedef struct errand_shape {
    const model_config *model;
    kernel_type compute;
    /* Of the states of all layers after full segments. */
    size_t state_bytes, token_bytes;
    uint64_t max_context;     /* tokens that a stream has room for, where states
                                 grow; 0: any */
    uint32_t credit_segments; /* segments that the daemon may be ahead */
    uint32_t max_generate;
    uint8_t fingerprint[32];
} errand_shape;

/* Sends to the daemon; ST_TIMEOUT: not now.  Everything is copied. */
typedef status errand_send_fn(void *ctx, const world_message *m,
                              const void *raw, size_t raw_len);

/* Fills in compute and the bytes: after n >= 1 full segments the states of all
 * layers have state_bytes + n S token_bytes. */
void errand_shape_bytes(errand_shape *s, kernel_type compute);
/* Of a layer's state after a full segment, where states do not grow. */
size_t errand_layer_bytes(const errand_shape *s, uint32_t layer);

typedef struct errand errand;

status errand_new(errand **out, world *w, const errand_shape *shape,
                  errand_send_fn *send, void *ctx) MUST_USE;
void errand_free(errand *e);

bool errand_is_idle(const errand *e);
bool errand_is(const errand *e, uint64_t job, uint32_t attempt);
/* Whether world stream `id` is this errand's. */
bool errand_has_stream(const errand *e, uint32_t id);
/* Tokens that have gone through the model since the last call. */
uint64_t errand_tokens(errand *e);

/* Messages of the daemon, each of its kind.  `e` is idle at errand_begin(). */
void errand_begin(errand *e, const world_message *m, const uint8_t *raw,
                  size_t len);
void errand_part(errand *e, const world_message *m, const uint8_t *raw,
                 size_t len);
void errand_segment(errand *e, const world_message *m, const uint8_t *raw,
                    size_t len);
void errand_cancel(errand *e);
/* The checkpoint after `segment` segments is durable; 0: the last one was not
 * kept. */
void errand_kept(errand *e, uint64_t segment);
/* Puts away what is read, and ends with ST_CANCELED. */
void errand_drain(errand *e);
/* Nobody waits for a result any more. */
void errand_drop(errand *e);

/* An event of its stream. */
void errand_event(errand *e, const world_event *ev);
/* Between two turns of the world: feeds it, and tells the daemon.  A failure
 * is the world's. */
status errand_step(errand *e, bool *busy) MUST_USE;

#endif
