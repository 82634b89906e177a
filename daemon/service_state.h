/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the service share; private to daemon/service*.c. */
#ifndef DAEMON_SERVICE_STATE_H
#define DAEMON_SERVICE_STATE_H

#include "daemon/again.h"
#include "daemon/clients.h"
#include "daemon/core.h"
#include "daemon/datadir.h"
#include "daemon/disk.h"
#include "daemon/door.h"
#include "daemon/feed.h"
#include "daemon/helper.h"
#include "daemon/journal.h"
#include "daemon/launch.h"
#include "daemon/service.h"
#include "daemon/tokens.h"
#include "daemon/worlds.h"
#include "model/config.h"

enum {
    SERVICE_MAX_LATE = 64,
    SERVICE_LISTS = 1024, /* of holdings, by the job's number */
    SERVICE_DISK = 74     /* exit status, EX_IOERR */
};

/* The checkpoint that a world sends of a job's current attempt. */
typedef struct service_checkpoint {
    disk_checkpoint *file; /* NULL: no part of it has come */
    uint64_t lost_segment; /* of one that was given up; 0: of none */
    bool untold;           /* and the core has not heard of it yet */
    uint32_t lost_attempt;
    char why[128];
} service_checkpoint;

/* What is held for a job while its input comes in, and from its preparation to
 * its end. */
typedef struct holding {
    struct holding *next;
    uint64_t job;
    uint8_t *buffer; /* of a short input that comes in */
    size_t len;
    disk_input *file; /* of a long one */
    uint8_t hash[HASH_BYTES];
    char *pending; /* path of the document's last ids, while preparing */
    uint32_t n_pending;
    uint8_t pending_hash[HASH_BYTES];
    bool text, ask;
    uint64_t bytes;
    again again;         /* to ask the journal for the input */
    tokens_input *input; /* until tokenized */
    spool *ids;          /* from then on */
    feed *feed;          /* of the current attempt */
    disk_snapshot *snapshot;
    service_checkpoint checkpoint;
    document doc; /* whose files are being stored */
    /* Something failed while the core was at work; it is told afterwards. */
    uint32_t failed_attempt;
    bool damaged;  /* the checkpoint it began from */
    status failed; /* ST_OK: nothing did */
    char text_of_failure[256];
} holding;

/* A request to the journal that could not be made. */
typedef struct service_late {
    journal_kind kind;
    uint64_t id;
    job_watcher watcher;
    status st;
    char text[128];
} service_late;

struct service {
    const settings *set;
    model_config model;
    tokenizer *tok;
    template *chat;
    char *name; /* of the model */
    datadir *dir;
    disk *writer;
    journal *journal;
    helper *reader;
    tokens *tokens;
    zcontext *z;
    door *door;
    loop *l;
    clients *clients;
    worlds *worlds;
    launch *launch;
    core *core;
    holding *held[SERVICE_LISTS];
    bool has_failed; /* perhaps one of these; none is looked for otherwise */
    int signals;     /* signalfd */
    int timer;
    uint64_t leave_ns; /* shutting down since; 0: not */
    bool closing;      /* everything is stored */
    int code;          /* exit status */
    service_late late[SERVICE_MAX_LATE];
    size_t n_late;
    uint64_t age_s;    /* running time of all earlier runs */
    uint64_t start_ns; /* of this one */
    uint64_t look_ns, age_ns;
};

/* ---- service_holding.c ---- */
/* NULL: nothing is held for the job. */
holding *service_holding_find(service *v, uint64_t id);
/* The one there is, else a new one. */
status service_holding_keep(service *v, holding **out, uint64_t id) MUST_USE;
/* Only the first failure counts until it is told. */
void service_holding_fail(service *v, holding *h, uint32_t attempt, status st,
                          const char *text);
/* The current attempt is over; the input's ids stay for the next. */
void service_holding_drop_attempt(service *v, uint64_t id);
void service_holding_drop(service *v, uint64_t id);
void service_holding_drop_all(service *v);
/* What was short may be there again. */
void service_holding_again(service *v);
/* Tells the core of failures that were put off.  True: there were some. */
bool service_holding_settle(service *v);

/* ---- service_input.c: what actions ask to be done for an input ---- */
status service_input_open(service *v, const core_action *a) MUST_USE;
void service_input_add(service *v, const core_action *a);
status service_input_submit(service *v, const core_action *a) MUST_USE;
status service_input_prepare(service *v, const core_action *a) MUST_USE;
/* ---- and what comes of it ---- */
void service_input_written(service *v, const disk_report *r);
void service_input_loaded(service *v, const journal_report *r);
tokens_report_fn service_input_tokenized;
/* Asks the journal for an input that it had no memory for. */
void service_input_again(service *v, holding *h);

/* ---- service_feed.c: likewise, for its ids on their way to a world ---- */
void service_feed_open(service *v, const core_action *a);
void service_feed_allow(service *v, const core_action *a);
void service_feed_drained(service *v, const zsocket_peer *world);

/* ---- service_document.c: likewise, for a document that was read ---- */
void service_document_part(service *v, const core_action *a);
status service_document_store(service *v, const core_action *a) MUST_USE;
/* Its files are durable, or could not be made. */
void service_document_written(service *v, const disk_report *r);
/* And its row. */
void service_document_stored(service *v, const journal_report *r);

/* ---- service_checkpoint.c ---- */
/* Takes in a part. */
void service_checkpoint_add(service *v, const core_action *a);
/* Its attempt is over. */
void service_checkpoint_drop(service_checkpoint *k);
/* Tells the core that one was given up.  False: it knows. */
bool service_checkpoint_settle(service_checkpoint *k, service *v, uint64_t id);
/* Its file is written, or could not be. */
void service_checkpoint_written(service *v, const disk_report *r);

/* ---- service_act.c ---- */
core_action_fn service_act;
/* Of what nobody waits for: its failure is only logged. */
void service_note(status st, const char *what);

/* ---- service_event.c ---- */
/* Before and after each event for the core. */
void service_begin(service *v);
void service_settle(service *v);
clients_fn service_on_client;
worlds_fn service_on_world;
outbox_drained_fn service_on_drained;
journal_report_fn service_on_journal;
disk_report_fn service_on_disk;
launch_fn service_on_launch;

/* ---- service.c ---- */
status service_join_loop(service *v) MUST_USE;

#endif
