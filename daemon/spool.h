/* SPDX-License-Identifier: Apache-2.0 */
/* Token ids of one job, in a file without a name: memory stays bounded however
 * long the input is, and nothing is left behind by a crash.
 *
 * One thread at a time.  Counted: whoever uses it on another thread holds it
 * (spool_hold on the loop's thread). */
#ifndef DAEMON_SPOOL_H
#define DAEMON_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct spool spool;

/* In directory `dir`. */
status spool_new(spool **out, const char *dir) MUST_USE;
spool *spool_hold(spool *s);
void spool_free(spool *s); /* lets go; the last one ends it */

status spool_add(spool *s, const int32_t *ids, size_t n) MUST_USE;
uint64_t spool_count(const spool *s);
/* out[n] = ids first .. first + n - 1.  ST_IO: they are not there. */
status spool_read(const spool *s, int32_t *out, uint64_t first,
                  size_t n) MUST_USE;

#endif
