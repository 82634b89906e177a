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
#include "proto/snapshot.h"

typedef struct intake intake;

status intake_new(intake **out, const char *path) MUST_USE;
void intake_free(intake *in); /* deletes what was not finished */

status intake_add(intake *in, const void *part, size_t len) MUST_USE;
/* What the world said of the whole.  ST_WIRE: another hash. */
status intake_check(intake *in, const uint8_t hash[HASH_BYTES]) MUST_USE;
/* Checks the snapshot itself and makes it durable.  ST_WIRE: damaged, or not
 * after `n_segment` segments of the model `fingerprint`. */
status intake_finish(intake *in, const uint8_t fingerprint[32],
                     uint64_t n_segment) MUST_USE;

#endif
