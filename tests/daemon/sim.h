/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one simulator, and who plays in it.
 *
 *   sim_test.c    chance, the daemon's life, and the promises
 *   sim_act.c     what the core asks for
 *   sim_disk.c    journal, disk and tokenizer
 *   sim_world.c   worlds
 *   sim_client.c  clients, and what they were told */
#ifndef TESTS_DAEMON_SIM_H
#define TESTS_DAEMON_SIM_H

#include "daemon/core.h"
#include "daemon/journal.h"
#include "proto/snapshot.h"
#include "tests/expect.h"

enum {
    SEGMENT = 8,
    SNAPSHOT = SNAPSHOT_HEADER + 64,
    MAX_JOB = 400,
    MAX_WORLD = 3,
    MAX_CLIENT = 24,
    MAX_WORK = 1024,
    N_EVENT = 300,
    N_CALM = 12000, /* events without faults, in which everything must end */
    N_SEED = 2000
};

typedef struct sim sim;

/* What a row, its tokens and its checkpoints are on disk. */
typedef struct sim_row {
    bool there;
    store_job job;
    int32_t ids[16];
    size_t n_id;
    store_checkpoint checkpoint[16];
    size_t n_checkpoint;
} sim_row;

typedef enum sim_work_kind {
    WORK_SUBMIT = 0,
    WORK_RECORD,
    WORK_TOKENS,
    WORK_END,
    WORK_STORE,
    WORK_LOOKUP,
    WORK_FETCH,
    WORK_PREPARE,
    WORK_CHECKPOINT,
    WORK_DROP
} sim_work_kind;

/* Something that was asked of journal, disk or tokenizer. */
typedef struct sim_work {
    sim_work_kind kind;
    uint64_t job, number;
    uint32_t attempt;
    store_job row;
    int32_t ids[16];
    size_t first, n_id;
    document doc;
    job_watcher watcher;
} sim_work;

/* A world, as it sees itself. */
typedef struct sim_machine {
    uint64_t kin; /* 0: it ends when a rank dies */
    uint8_t life; /* connections of its own, one for each time that ranks were
                     left */
    bool up, joined;
    uint64_t incarnation, job, n_segment, first, done, checkpoint;
    uint32_t attempt, drawn, max_token, n_forced;
    int32_t forced[16];
    bool add, snapshot_sent, poison;
    uint64_t stale_incarnation, stale_job; /* before it was given up */
    uint32_t stale_attempt;
} sim_machine;

/* What a client knows. */
typedef struct sim_asked {
    bool add, told_end, poison;
    char key[8], name[8];
    uint64_t request, job; /* job 0: not acknowledged */
    bool heard[16];        /* who comes late hears only the rest */
    int32_t ids[16];
    int end; /* message kind of the end */
    size_t n_end_id;
    char code[16];
} sim_asked;

struct sim {
    uint64_t seed, chance;
    uint32_t n_event;
    bool calm;
    core *c;
    core_time time;
    uint64_t epoch;
    sim_row disk[MAX_JOB + 1];
    document doc[MAX_CLIENT];
    size_t n_doc;
    sim_work queue[MAX_WORK]; /* a ring, in order, not yet durable */
    size_t head, n_work;
    sim_machine world[MAX_WORLD];
    sim_asked client[MAX_CLIENT];
    size_t n_client;
};

#define SIM_CHECK(s, cond)                                                     \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fail_msg("seed %llu, event %u: %s (%s:%d)",                        \
                     (unsigned long long)(s)->seed, (s)->n_event, #cond,       \
                     __FILE__, __LINE__);                                      \
        }                                                                      \
    } while (0)

/* One of n, from a state of chance. */
uint32_t sim_draw(uint64_t *state, uint32_t n);
/* Never in a calm. */
bool sim_chance(sim *s, uint32_t percent);
/* core_act_fn; ctx is the sim. */
void sim_act(void *ctx, const core_action *a);
/* The first thing that was asked for is done, and the core hears of it. */
void sim_work_once(sim *s);
/* The core is told if it is noticed. */
void sim_die(sim *s, size_t i, bool noticed);
/* It begins anew, on the connection that it has. */
void sim_forget(sim_machine *w);
/* A zombie speaks of what it was given in another life. */
void sim_haunt(sim *s, size_t i);
/* One step of a world's own. */
void sim_world_once(sim *s, size_t i);
/* Who is told; NULL: nobody waits. */
sim_asked *sim_client_of(sim *s, const zsocket_peer *peer, uint64_t request);
/* P1 and P2 at the moment something is told. */
void sim_told(sim *s, sim_asked *a, const client_message *m);
/* The client asks for its job, or what became of it. */
void sim_ask_again(sim *s, size_t i);
void sim_client_new(sim *s);

#endif
