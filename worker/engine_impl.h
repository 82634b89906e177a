/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the engine: what its files share.  Not for anybody else.
 *
 *   engine.c          streams: opening, feeding, places, what is done
 *   engine_ahead.c    the next step of an answer, before it is fed
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
    bool enqueued; /* all of it was, before it was picked */
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

/* A step that was enqueued before it was fed. */
typedef struct engine_ahead {
    engine_segment segment;
    kernel_sample_args sample; /* of it, as the device's queue wants it */
    uint64_t local_seg;
    uint32_t stream;
    uint32_t slot, drawn; /* its own, and of the step that draws its token */
    kernel_event *event;  /* behind it */
    bool able;            /* the device computes while the host goes on */
    bool there;           /* it was neither fed nor given up */
    bool fed;             /* it is the next one to be launched */
} engine_ahead;

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
    engine_ahead ahead;
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

/* Whether single rows pass all layers in one launch. */
bool engine_may_climb(const engine *e);
/* Whether the segment's tokens have places: in caches, in a state that grows,
 * and in the table of positions; and why not. */
status engine_check_room(const engine *e, const engine_segment *s) MUST_USE;

status engine_group_init(engine_group *g, const engine_config *cfg,
                         uint32_t n_layer) MUST_USE;
void engine_group_fini(engine_group *g);
/* A cell of the device. */
kernel_cell engine_cell_of(const engine *e, const engine_done *d);
/* Turns group.picked[n_cell] into cells behind those of the picks before, and
 * enqueues them, unless they were. */
status engine_group_run(engine *e, uint32_t n_cell) MUST_USE;

status engine_head_init(engine_head *h, uint32_t n_stream) MUST_USE;
void engine_head_fini(engine_head *h);
/* The row of a cell that the head takes. */
kernel_cell engine_head_cell(const kernel_cell *cell, const engine_done *d);
/* Enqueues the copy of one token to the host. */
status engine_head_fetch(engine *e, uint32_t slot) MUST_USE;
/* Enqueues the rows that answer cells of the group want, and the copies to
 * the host.  Behind the group. */
status engine_head_launch(engine *e) MUST_USE;
/* The group is done: calls the sink with them, and computes and hands out the
 * logits of whole segments, tile by tile.  Blocks. */
status engine_head_collect(engine *e) MUST_USE;

status engine_ahead_init(engine_ahead *a, kernel_device *dev) MUST_USE;
void engine_ahead_fini(engine_ahead *a);
/* Behind a launched group that is one step of an answer and nothing else:
 * enqueues the step that most likely comes next. */
status engine_ahead_enqueue(engine *e) MUST_USE;
/* A segment is fed: whether it is that step, so that its ids are there. */
bool engine_ahead_feed(engine *e, uint32_t id, const engine_segment *s,
                       const int32_t *ids);
/* Whether the group picked is that step alone, which then need not be enqueued;
 * e->event is the one behind it from here on. */
bool engine_ahead_take(engine *e, uint32_t n_picked);
/* The stream begins or ends. */
void engine_ahead_drop(engine *e, uint32_t id);

#endif
