/* SPDX-License-Identifier: Apache-2.0 */
/* One rank's share of the grid: streams, their states, and groups of cells.
 *
 * The engine knows which cells are its own (a run of layers, or every R-th
 * segment), runs them in groups as their inputs come in, and tells what is
 * done.  It knows nothing of messages: whoever moves hidden states and memory
 * states between ranks (world.h) asks for their places and says when they
 * arrived.  With one rank nothing needs moving.  One thread.
 *
 * A *stream* is one job: segments in order, first any number that read and
 * write the memory, then (for an answer) *frozen* ones that only read: the
 * prompt, and one row for every token drawn.  Where answers roll over, a
 * frozen run that has become a full segment is fed again as one that is
 * written, and the next run begins.  What is kept of segments, and what their
 * rows are, is the memory's (model/memory.h).  Nothing is allocated after
 * engine_new(). */
#ifndef WORKER_ENGINE_H
#define WORKER_ENGINE_H

#include "model/memory.h"
#include "model/model.h"
#include "sched/place.h"
#include "sched/wavefront.h"

typedef struct engine engine;

typedef struct engine_config {
    place place;
    wavefront_order order;
    uint32_t n_stream; /* open at once */
    uint32_t n_slot;   /* segments in flight a stream; 0: what the grid needs */
    uint32_t kv_cap;   /* tokens of a frozen run: prompt and answer; 0: none */
    uint64_t max_token; /* tokens that a stream may have in all, drawn ones too,
                           where the memory grows with them */
    uint32_t max_cell;  /* largest group, not above the model's; 0: a cell of
                           every layer and stream */
    uint32_t max_each;  /* cells of one stream in it; 0: all */
} engine_config;

/* What is wanted of a segment's output (flags).  Where nothing is, of the
 * model's last layer only the rows are computed that the memory is written
 * from; that leaves the same states. */
enum {
    ENGINE_LOGITS = 1,      /* logits of every token row */
    ENGINE_LAST_LOGITS = 2, /* logits of the last row */
    ENGINE_TOKEN = 4,       /* a token drawn from the last row */
    ENGINE_LOGPROBS = 8,    /* and with it log-probabilities */
    ENGINE_ALL_ROWS = 16,   /* every row of the last layer, though nobody takes
                               them: what reading with logits costs */
    ENGINE_STATE_ALONE = 32 /* of the last layer here nobody takes rows, as if
                               it were the model's: what that costs */
};

/* A token drawn.  With ENGINE_LOGPROBS: log-probabilities of it and of the
 * sample.n_top likeliest, as kernel_sample() reports them. */
typedef struct engine_token {
    int32_t id;
    uint32_t n_top;
    float logprob;
    float top_logprob[KERNEL_SAMPLE_TOP];
    int32_t top_id[KERNEL_SAMPLE_TOP];
} engine_token;

typedef struct engine_segment {
    uint64_t seg;     /* number in the document */
    memory_past past; /* what was read before; nothing: the memory is fresh */
    uint32_t n_token; /* 1 .. S; frozen steps: 1 */
    uint32_t pos;     /* frozen: tokens of the run before these */
    uint32_t frozen;  /* 1: reads only; 0: reads and writes */
    uint32_t want;    /* flags above */
    kernel_sample_args sample; /* n_seen: as engine_seen() has brought them */
} engine_segment;

/* Where bytes of a stream live, for a transport. */
typedef struct engine_place {
    kernel_buf *buf;
    size_t offset; /* bytes */
    size_t len;    /* bytes */
} engine_place;

/* A cell that a collected group has done. */
typedef struct engine_done {
    uint32_t stream;
    uint32_t layer;     /* of this rank, from 0 */
    uint64_t local_seg; /* in the order fed on this rank, from 0 */
    engine_segment segment;
} engine_done;

/* Called from engine_collect().  logits[n_row, n_vocab]; row0: the first row's
 * token in the segment. */
typedef void engine_logits_fn(void *ctx, uint32_t stream,
                              const engine_segment *segment, uint32_t row0,
                              uint32_t n_row, const float *logits);
typedef void engine_token_fn(void *ctx, uint32_t stream,
                             const engine_segment *segment,
                             const engine_token *token);
/* Inner rows, for tests, called from engine_launch(): after the memory read
 * (point 0) and after the decoder layer (point 1); rows[n_row, d_model] F32,
 * layer of the model. */
typedef void engine_rows_fn(void *ctx, uint32_t stream,
                            const engine_segment *segment, uint32_t layer,
                            int point, uint32_t n_row, const float *rows);

typedef struct engine_sink {
    void *ctx;
    engine_logits_fn *logits;
    engine_token_fn *token;
    engine_rows_fn *rows; /* not NULL makes groups slower */
} engine_sink;

/* What an engine over a part of a model needs of a device, before anything is
 * taken: weights in the type that it computes in, what its groups work on, and
 * what stays between them (rows in flight, states, caches, logits). */
typedef struct engine_need {
    uint64_t weights, scratch, kept; /* bytes */
} engine_need;
status engine_need_of(engine_need *out, const model_config *cfg,
                      const weights_part *part, kernel_type compute,
                      const engine_config *config) MUST_USE;
/* Whether that, and what a device makes for itself beside it (workspaces,
 * graphs, tables: a sixteenth and 256 MiB are set aside), fits in n_free bytes.
 * ST_NOMEM says what is needed for what, what there is, and how many of the
 * part's layers would fit. */
status engine_fit(const model_config *cfg, const weights_part *part,
                  kernel_type compute, const engine_config *config,
                  uint64_t n_free) MUST_USE;

/* Takes over `m` on success; the device outlives the engine. */
status engine_new(engine **out, kernel_device *dev, model *m,
                  const engine_config *cfg) MUST_USE;
void engine_free(engine *e);
void engine_sink_set(engine *e, const engine_sink *sink);
kernel_queue *engine_queue(engine *e);
const model *engine_model(const engine *e);
kernel_type engine_compute(const engine *e); /* the device's */
/* As given, with n_slot resolved. */
const engine_config *engine_config_of(const engine *e);
/* Bytes of device memory beside the weights. */
size_t engine_bytes(const engine *e);

/* Opens stream `id` < n_stream (closed until then) with a fresh memory.
 * `state_here`: the first segment fed finds its state on this rank (fresh, or
 * put there through engine_state_place()); otherwise, where states hop, every
 * layer waits for engine_state_arrived(). */
status engine_open(engine *e, uint32_t id, bool state_here,
                   int32_t priority) MUST_USE;
/* Forgets the stream; no group may be running. */
void engine_close(engine *e, uint32_t id);

/* Segments that can be fed now. */
uint32_t engine_room(const engine *e, uint32_t id);
/* The next segment of this rank.  ids[n_token] are copied (checked against
 * the vocabulary: ST_ARG) on the rank that embeds; elsewhere NULL, and the
 * hidden state is already in its place. */
status engine_feed(engine *e, uint32_t id, const engine_segment *segment,
                   const int32_t *ids) MUST_USE;

/* More ids that the stream's repetition penalty counts, each once; copied. They
 * are only kept where tokens are drawn.  ST_LIMIT: more than there is room. */
status engine_seen(engine *e, uint32_t id, const int32_t *ids,
                   uint32_t n) MUST_USE;
uint32_t engine_seen_room(const engine *e); /* 0: no token is drawn here */
/* Whether all ids that the segment's sample.n_seen counts have come: it cannot
 * be fed before. */
bool engine_seen_here(const engine *e, uint32_t id,
                      const engine_segment *segment);

/* The rows of local segment `local_seg` at this rank's border: input before
 * the first layer, output after the last.  n_row rows of d_model. */
void engine_x_place(const engine *e, uint32_t id, uint64_t local_seg,
                    uint32_t n_row, engine_place *out);
/* Rows of a segment: its tokens and what the memory puts around them. */
uint32_t engine_rows(const engine *e, const engine_segment *segment);
/* The output of local_seg has been taken away; in order.  Only on ranks that
 * hand hidden states on; others release by themselves. */
void engine_release(engine *e, uint32_t id, uint64_t local_seg);

/* The state of one layer of this rank, as it is after `past`; its place does
 * not depend on that, its length does and may be 0. */
void engine_state_place(const engine *e, uint32_t id, uint32_t layer,
                        const memory_past *past, engine_place *out);
/* The longest state of a layer of this engine, in bytes. */
size_t engine_state_room(const engine *e);
/* Whether a done cell leaves a state that the next segment needs, and of which
 * layer of this rank it is. */
bool engine_state_left(const engine *e, const engine_done *d, uint32_t *layer);
/* Tokens that went through once this segment has. */
memory_past engine_past_after(const engine_segment *segment);
/* The state that the next waiting segment needs at `layer` has arrived. */
void engine_state_arrived(engine *e, uint32_t id, uint32_t layer);

/* Enqueues the next group of every cell that can run; *n_cell = 0: nothing can.
 * Where this rank has all layers, a frozen segment of one row passes all that
 * are left to it and have their states, in groups of their own behind that one;
 * they count as one group here.  One group at a time.  A CPU device computes
 * inside, running the queue's hook.
 *
 * Behind a group that is one step of one answer, of the likeliest token, other
 * devices are given the row of the token that it draws at once, and the launch
 * of that step, if it is what is fed, only waits for it. */
status engine_launch(engine *e, uint32_t *n_cell) MUST_USE;
/* Whether the launched group is done; never blocks. */
status engine_poll(engine *e, bool *reached) MUST_USE;
/* Waits for the group, calls the sink, and gives its cells (valid until the
 * next launch). */
status engine_collect(engine *e, const engine_done **cells,
                      uint32_t *n_cell) MUST_USE;

/* Blocking copies between a place and host memory; no group running. */
status engine_read(engine *e, const engine_place *from, void *to) MUST_USE;
status engine_write(engine *e, const engine_place *to,
                    const void *from) MUST_USE;

/* Groups, cells and useful FLOPs (config_cell_flops) so far, and launches whose
 * step of an answer was enqueued before it was fed. */
typedef struct engine_counts {
    uint64_t n_group, n_cell, n_ahead;
    double flops;
} engine_counts;
void engine_counts_get(const engine *e, engine_counts *out);

#endif
