/* SPDX-License-Identifier: Apache-2.0 */
/* longwaved as an object: the core, and the sockets, threads, files and child
 * process that carry out what it decides.
 *
 * One loop on the calling thread; tokenizing, reading and writing run on three
 * helper threads. */
#ifndef DAEMON_SERVICE_H
#define DAEMON_SERVICE_H

#include "base/status.h"
#include "daemon/settings.h"

typedef struct service service;

/* Opens everything; nothing is left behind on failure. */
status service_new(service **out, const settings *s) MUST_USE;
void service_free(service *v);
/* Until SIGTERM, SIGINT or a client's Shutdown, and all is put away. */
status service_run(service *v) MUST_USE;

/* What the process exits with: 0, 1 when running work could not be put away,
 * 74 when the disk failed. */
int service_code(const service *v);
const char *service_endpoint(const service *v);
const char *service_world_endpoint(const service *v);

#endif
