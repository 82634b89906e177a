/* SPDX-License-Identifier: Apache-2.0 */
/* What longwave-run and longwave-worker start with: ranks, model, device,
 * engine, world.
 *
 * Every step is collective and ends in comm_agree(): either all ranks go on, or
 * all leave with one status and one sentence, which rank 0 prints.  Main thread
 * only. */
#ifndef WORKER_SETUP_H
#define WORKER_SETUP_H

#include "base/option.h"
#include "kernels/kernel.h"
#include "model/weights.h"
#include "worker/choice.h"
#include "worker/comm.h"
#include "worker/engine.h"
#include "worker/world.h"

/* The flags that the programs share. */
typedef struct setup_options {
    const char *model, *device, *placement, *schedule, *weights;
    config_given given;
    uint64_t threads, replicas;
    double memory_gb; /* that a rank may use; 0: what the device has */
    bool verbose;
} setup_options;

enum { SETUP_N_OPTION = 13 };

typedef struct setup {
    const char *program;
    setup_options opt;
    bool fewer; /* ranks than the flags were for: a division by name, and more
                   replicas than can be, are found anew */
    comm *comm;
    kernel_device *dev;
    kernel_info info;
    model_config cfg;
    place place;
    choice choice; /* how it came about */
    wavefront_order order;
    weights_want want;
    uint8_t fingerprint[32]; /* weights_fingerprint(), from setup_start() on */
    engine *engine;          /* NULL: this rank holds no layers */
    world *world;
} setup;

/* Starts the ranks, all of one version; the first thing in main().  Afterwards
 * only rank 0 has a standard output. */
status setup_open(setup *s, const char *program, int *argc,
                  char ***argv) MUST_USE;
/* Gives the shared flags their defaults and entries. */
void setup_entries(setup *s, option_entry out[SETUP_N_OPTION]);
/* option_parse() with nothing positional; then the level of the log is set. */
status setup_parse(setup *s, const option_set *set, int argc, char **argv,
                   bool *done) MUST_USE;
/* config.json, placement, schedule and the device, from the flags. */
status setup_model(setup *s) MUST_USE;

typedef struct setup_world {
    uint32_t n_stream; /* open at once, dealt out to the replicas */
    uint32_t n_slot;   /* 0: what the grid needs */
    uint32_t n_answer; /* most tokens of an answer; 0: none is drawn */
    uint64_t n_token;  /* tokens of a stream that a memory which grows has room
                          for */
    choice_job job;    /* what the placement is chosen for */
    bool measure;      /* the ranks, also where nothing is to be chosen */
} setup_world;
/* Placement, weights, engine and world. */
status setup_start(setup *s, const setup_world *args) MUST_USE;

/* Makes a status common to all ranks; collective. */
status setup_agree(const setup *s, status st) MUST_USE;
bool setup_is_lead(const setup *s);
/* What comes of the schedule that was asked for: "diagonal", "sequential", or
 * "chained" where the memory allows a stream one cell at a time. */
const char *setup_schedule(const setup *s);

/* Frees what setup_model() and setup_start() have made, which may then be
 * called once more; collective only where it can be, so that ranks may be dead.
 */
void setup_put_away(setup *s);

/* Ends everything and returns the exit status for `st`, which all ranks agree
 * on; rank 0 prints its sentence. */
int setup_close(setup *s, status st);
/* For a failure that this rank alone has met while the others wait: prints its
 * sentence and ends all of them.  Does not return. */
void setup_abort(setup *s, status st);

#endif
