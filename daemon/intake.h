/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot on its way from a world to the disk, part by part.
 *
 * Nothing is seen at its path before intake_finish() has checked all of it.
 * One thread at a time; everything blocks. */
#ifndef DAEMON_INTAKE_H
#define DAEMON_INTAKE_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "daemon/catalog.h"

typedef struct intake intake;

status intake_new(intake **out, const char *path) MUST_USE;
void intake_free(intake *in); /* deletes what was not finished */

status intake_add(intake *in, const void *part, size_t len) MUST_USE;
/* What the world said of the whole.  ST_WIRE: another hash. */
status intake_check(intake *in, const uint8_t hash[HASH_BYTES]) MUST_USE;
/* Checks the snapshot itself, sets the document's hash, measures the norms of
 * one that wants n_norm of them, and makes it durable.  ST_WIRE: damaged, or
 * not of the document's model, after all of its segments but the last. */
status intake_finish(intake *in, document *doc) MUST_USE;

#endif
