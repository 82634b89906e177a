/* SPDX-License-Identifier: Apache-2.0 */
/* Where a local world keeps what its ranks share: a directory of its own in
 * shared memory, which is gone when the world is, however it went.
 *
 * Open MPI's segments and session files stay for ever when mpirun is killed.
 * In a directory that is named after the data directory they can be told from
 * everybody else's, by the next life of the daemon, too.  Loop thread. */
#ifndef DAEMON_LAUNCH_PLACE_H
#define DAEMON_LAUNCH_PLACE_H

#include <stdint.h>

#include "base/status.h"

typedef struct launch_place launch_place;

/* `root` (/dev/shm where it is NULL) holds the directories of worlds; `data`
 * is the data directory, which this process has locked.  Removes what earlier
 * lives left there. */
status launch_place_new(launch_place **out, const char *root,
                        const char *data) MUST_USE;
/* Removes everything. */
void launch_place_free(launch_place *p);

/* Makes the directory (0700) of the next start, and removes those before it:
 * their worlds have ended.  ST_IO: there is no room for one. */
status launch_place_next(launch_place *p) MUST_USE;
/* Of the present start; NULL: none. */
const char *launch_place_path(const launch_place *p);
/* Removes the directories of all starts; their worlds have ended. */
void launch_place_clear(launch_place *p);

#endif
