/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the service share; private to daemon/service*.c. */
#ifndef DAEMON_SERVICE_STATE_H
#define DAEMON_SERVICE_STATE_H

#include "daemon/clients.h"
#include "daemon/core.h"
#include "daemon/datadir.h"
#include "daemon/disk.h"
#include "daemon/door.h"
#include "daemon/feed.h"
#include "daemon/helper.h"
#include "daemon/launch.h"
#include "daemon/service.h"
#include "daemon/tokens.h"
#include "daemon/worlds.h"
#include "model/config.h"

/* What is held for a job that has not ended. */
typedef struct holding {
    struct holding *next;
    uint64_t job;
    tokens_input *input; /* until tokenized */
    spool *ids;          /* from then on */
    feed *feed;          /* of the current attempt */
    disk_snapshot *snapshot;
    /* Something failed while the core was at work; it is told afterwards. */
    uint32_t failed_attempt;
    status failed; /* ST_OK: nothing did */
    char text[256];
    bool store_failed;
} holding;

struct service {
    const settings *set;
    model_config model;
    tokenizer *tok;
    char *name; /* of the model */
    datadir *dir;
    disk *writer;
    helper *reader;
    tokens *tokens;
    zcontext *z;
    door *door;
    loop *l;
    clients *clients;
    worlds *worlds;
    launch *launch;
    core *core;
    holding *first;
    int signals; /* signalfd */
    int timer;
    uint64_t leave_ns; /* shutting down since; 0: not */
    bool closing;      /* everything is stored */
    /* Removals that could not even be queued. */
    uint64_t failed_removal;
};

/* ---- service_job.c: what an action asks to be done for a job ---- */
holding *service_job_find(service *v, uint64_t id); /* NULL: none */
void service_job_open(service *v, const core_action *a);
void service_job_input(service *v, const core_action *a);
void service_job_feed(service *v, const core_action *a);
void service_job_allow(service *v, const core_action *a);
void service_job_part(service *v, const core_action *a);
void service_job_store(service *v, const core_action *a);
void service_job_drop_attempt(service *v, uint64_t id);
void service_job_drop(service *v, uint64_t id);
/* Tells the core of failures that were put off.  True: there were some. */
bool service_job_settle(service *v);
void service_job_drained(service *v, const zsocket_peer *world);
void service_job_tokenized(void *ctx, const tokens_report *r);

/* Before and after each event for the core. */
void service_begin(service *v);
void service_settle(service *v);

#endif
