/* SPDX-License-Identifier: Apache-2.0 */
/* The client library: one connection to a longwaved, blocking calls.
 *
 * A client belongs to one thread.  A call returns when the daemon has answered
 * it, refused it (with the daemon's code and sentence), or has been silent for
 * config.timeout_ms (ST_STATE); a job may take as long as it takes, so long as
 * the daemon lives.  A daemon that was restarted is asked again; with ST_STATE
 * client_remove() and client_shutdown() are not, and may have been carried out.
 * Results are client_messages, client_message_fini(). */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "client/upload.h"
#include "proto/client_message.h"
#include "proto/keyfile.h"

typedef struct client client;

typedef struct client_config {
    const char *endpoint; /* NULL: client_default_endpoint() */
    const keyfile *key;   /* by TCP: who we are, and the daemon's; or NULL */
    uint32_t timeout_ms;  /* longest silence of the daemon; 0: 10,000 */
    /* Asked at least every 100 ms while a call waits; true cancels the job of
     * the call, which then ends with ST_CANCELED.  NULL: never. */
    bool (*interrupted)(void *ctx);
    void *ctx;
} client_config;

/* What happens to a job; called by the call that waits for it.  Each may be
 * NULL.  Messages are borrowed. */
typedef struct client_events {
    void (*accepted)(void *ctx, uint64_t job);
    void (*sent)(void *ctx, uint64_t bytes, uint64_t total);
    void (*progress)(void *ctx, const client_message *progress);
    void (*token)(void *ctx, const client_message *token);
    void *ctx;
} client_events;

/* The endpoint of this user's daemon; mem_free(). */
status client_default_endpoint(char **out) MUST_USE;

/* ST_STATE: nobody listens there; ST_ARG: not an endpoint. */
status client_open(client **out, const client_config *config) MUST_USE;
void client_close(client *c);
const char *client_endpoint(const client *c);

/* Reads a document in: *done is a CLIENT_DONE. */
status client_add(client *c, client_message *done, const char *name,
                  const upload *input, const client_events *events) MUST_USE;
/* Asks a question about a document: *done is a CLIENT_DONE with the answer. */
status client_ask(client *c, client_message *done, const char *document,
                  const upload *question, const client_sampling *sampling,
                  const client_events *events) MUST_USE;
/* Waits for a job that somebody started, as add and ask do from then on; an
 * interruption ends the call and not the job. */
status client_watch(client *c, client_message *done, uint64_t job,
                    const client_events *events) MUST_USE;

status client_list(client *c, client_message *documents) MUST_USE;
/* One document.  ST_NOTFOUND. */
status client_show(client *c, client_message *documents,
                   const char *name) MUST_USE;
status client_remove(client *c, const char *name) MUST_USE;
status client_jobs(client *c, client_message *jobs) MUST_USE;
status client_cancel(client *c, uint64_t job) MUST_USE;
status client_status(client *c, client_message *daemon_status) MUST_USE;
/* Bytes that the daemon takes as an input, so that longer ones need not be
 * read; UINT64_MAX: it does not tell. */
status client_max_input(client *c, uint64_t *bytes) MUST_USE;
status client_shutdown(client *c) MUST_USE;

#endif
