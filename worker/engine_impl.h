/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the engine: what its files share.  Not for anybody else.
 *
 *   engine.c          streams: opening, feeding, places, what is done
 *   engine_buffers.c  memory
 *   engine_fit.c      what it needs of a device
 *   engine_group.c    one group: from picked cells to kernel calls
 *   engine_head.c     what comes out at the last layer: logits and tokens */
#ifndef WORKER_ENGINE_IMPL_H
#define WORKER_ENGINE_IMPL_H

#include "worker/engine.h"
#include "worker/engine_buffers.h"

/* A segment in flight. */
typedef struct engine_fed {
    engine_segment segment;
    bool state_stays; /* its states are where the segment before it left them */
} engine_fed;

/* The group being run, and behind it what single rows go on with until they
 * have passed all layers (engine_launch()).  Arrays have room for both. */
typedef struct engine_group {
    wavefront_cell *picked; /* the latest pick */
    engine_done *done;      /* in the order picked */
    kernel_cell *cells;     /* those that write first, then the frozen ones */
    kernel_cell *embed;     /* cells of the model's first layer */
    uint32_t *done_of;      /* cell -> its place in `done` */
    bool *climbs;           /* [n_stream] whose single row goes on */
    uint32_t n_cell;        /* of all picks */
    bool running;
} engine_group;

/* One row for each cell of the group that ends in a drawn token or in the
 * logits of its last row.  At most one a stream. */
typedef struct engine_head {
    kernel_cell *cells;
    kernel_sample_args *sample;
    uint32_t *done_of; /* cell -> its place in group.done */
    uint32_t n_cell;
    bool draw, logprobs, seen; /* what any of them wants */
    uint32_t *n_seen;          /* [n_stream] ids that came for penalties */
} engine_head;

struct engine {
    kernel_queue *q;
    kernel_event *event; /* behind the launched group */
    model *m;
    const model_config *cfg;
    const memory *memory;
    kernel_type compute;
    const weights_part *part;
    engine_config config;
    wavefront *w;
    engine_buffers buf;
    engine_sink sink;
    bool remote_state; /* states come from other ranks */
    engine_fed *fed;   /* [n_stream, n_slot] in flight */
    uint64_t *arrived; /* [n_stream, n_layer] states that came */
    engine_group group;
    engine_head head;
    engine_counts counts;
};

/* What a configuration leaves to be found out. */
engine_config engine_resolve(const engine_config *cfg,
                             const weights_part *part);
/* Buffers of an engine whose cfg, part, memory, compute and config are set. */
status engine_make_buffers(engine *e, kernel_device *dev) MUST_USE;

/* The slot of a local segment: an index of `fed` and of the slots' items. */
uint32_t engine_slot(const engine *e, uint32_t id, uint64_t local_seg);
/* The item of a layer's state. */
uint32_t engine_state_item(const engine *e, uint32_t id, uint32_t layer);
/* A segment, as its memory is asked about it. */
memory_span engine_span(const engine_segment *segment);

status engine_group_init(engine_group *g, const engine_config *cfg,
                         uint32_t n_layer) MUST_USE;
void engine_group_fini(engine_group *g);
/* Turns group.picked[n_cell] into cells behind those of the picks before, and
 * enqueues them. */
status engine_group_run(engine *e, uint32_t n_cell) MUST_USE;

status engine_head_init(engine_head *h, uint32_t n_stream) MUST_USE;
void engine_head_fini(engine_head *h);
/* Enqueues the rows that answer cells of the group want, and the copies to
 * the host.  Behind the group. */
status engine_head_launch(engine *e) MUST_USE;
/* The group is done: calls the sink with them, and computes and hands out the
 * logits of whole segments, tile by tile.  Blocks. */
status engine_head_collect(engine *e) MUST_USE;

#endif
