/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon on real sockets with a client and a world by hand: the world answers
 * by the protocol and computes nothing. */
#ifndef TESTS_DAEMON_SERVICE_RIG_H
#define TESTS_DAEMON_SERVICE_RIG_H

#include "tests/daemon/scratch.h"

#include <pthread.h>

#include "base/hash.h"
#include "daemon/service.h"
#include "model/config.h"
#include "proto/client_message.h"
#include "proto/socket.h"
#include "proto/world_message.h"

#define SERVICE_RIG_MODEL "golden/armt-llama"
enum {
    SERVICE_RIG_MS = 10000, /* until what must come is given up */
    SERVICE_RIG_FLOATS = 30,
    SERVICE_RIG_CREDIT = 2,
    SERVICE_RIG_IDS = 4096
};

typedef struct service_rig {
    scratch box;
    char client_at[128], world_at[128], data[128];
    settings set;
    service *v;
    pthread_t thread;
    zcontext *z;
    zsocket *client, *world;
    model_config model;
    uint64_t incarnation, request;
    zsocket_message frame; /* received last */
} service_rig;

void service_rig_init(service_rig *s);
void service_rig_fini(service_rig *s);
/* Once more, with the data that is there. */
void service_rig_start(service_rig *s);
void service_rig_stop(service_rig *s);
/* Ids of the model's. */
void service_rig_fill(int32_t *ids, size_t n, const service_rig *s);

/* ---- the client ---- */
void service_rig_request(service_rig *s, client_message m);
/* The next message to the client that is not mere progress;
 * client_message_fini(). */
client_message service_rig_hear(service_rig *s);
void service_rig_hear_kind(service_rig *s, client_kind kind);
void service_rig_hear_refused(service_rig *s, const char *code);
/* Sends all and waits until it is accepted. */
void service_rig_add(service_rig *s, const char *name, const int32_t *ids,
                     size_t n);
void service_rig_ask(service_rig *s, const char *name, const int32_t *ids,
                     size_t n);
size_t service_rig_documents(service_rig *s);

/* ---- the world ---- */
world_message service_rig_hello(const service_rig *s);
void service_rig_join(service_rig *s);
void service_rig_world_say(service_rig *s, world_message m, const void *raw,
                           size_t raw_len);
/* The next message but CANCEL must be of this kind; what came with it is in
 * `frame`, zsocket_message_fini(). */
world_message service_rig_world_hear(service_rig *s, world_kind kind);
world_message service_rig_take_begin(service_rig *s);
/* About the job that a BEGIN was for. */
void service_rig_world_reply(service_rig *s, world_message m,
                             const world_message *begin);
void service_rig_world_finish(service_rig *s, const world_message *begin);
/* Takes segments, which must be `ids` cut at S, giving credit for one at a
 * time. */
void service_rig_take_segments(service_rig *s, const world_message *begin,
                               const int32_t *ids, size_t n_id, bool prompt);
size_t service_rig_snapshot_bytes(const service_rig *s);
/* The sealed snapshot after `n` segments; its floats are i * scale.
 * mem_free(). */
uint8_t *service_rig_snapshot(const service_rig *s, uint64_t n, float scale);
void service_rig_hash(const void *data, size_t len, uint8_t out[HASH_BYTES]);
/* In two parts. */
void service_rig_send_snapshot(service_rig *s, const world_message *begin,
                               const uint8_t *data, const uint8_t *sum);

#endif
