/* SPDX-License-Identifier: Apache-2.0 */
/* What daemons have left in a directory.  Who names a directory that is in use
 * for something else keeps what is in it: files with other names than a daemon
 * gives are never touched.  Everything blocks. */
#ifndef DAEMON_LEFTOVERS_H
#define DAEMON_LEFTOVERS_H

#include <stdbool.h>

#include "base/status.h"

/* Whether a daemon gives such a name. */
typedef bool leftovers_ours_fn(const char *name);
/* "7.ids", "5.64.2.snap"; and "5.in.77.tmp", which is not finished. */
leftovers_ours_fn leftovers_is_file;
leftovers_ours_fn leftovers_is_spool; /* "input.AbCdEf" */

/* Deletes those of `ours` that are not `wanted`.  Of what cannot be deleted,
 * and of how many there are of others, a line in the log.  ST_IO: the directory
 * cannot be read. */
typedef bool leftovers_wanted_fn(void *ctx, const char *name);
status leftovers_sweep(const char *dir, leftovers_ours_fn *ours,
                       leftovers_wanted_fn *wanted, void *ctx) MUST_USE;
/* Whether leftovers_is_file() of any name there. */
status leftovers_there(bool *out, const char *dir) MUST_USE;

#endif
