/* SPDX-License-Identifier: Apache-2.0 */
/* What each owner has: jobs that are not over, their bytes, and documents.
 *
 * Kept as these come and go, so that the question whether one has too much is
 * no walk over all of them.  Loop thread. */
#ifndef DAEMON_SHARES_H
#define DAEMON_SHARES_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct shares shares;

typedef struct shares_part {
    uint64_t jobs, bytes, documents;
} shares_part;

status shares_new(shares **out) MUST_USE;
void shares_free(shares *s);
/* One more job, without bytes yet.  Copies the name. */
status shares_add(shares *s, const char *owner) MUST_USE;
/* The bytes of one of his jobs are `to` and no longer `from`. */
void shares_move(shares *s, const char *owner, uint64_t from, uint64_t to);
void shares_remove(shares *s, const char *owner, uint64_t bytes);
/* One more document of an owner who has a job. */
void shares_add_document(shares *s, const char *owner);
void shares_remove_document(shares *s, const char *owner);
/* Zeros where he has nothing. */
shares_part shares_of(const shares *s, const char *owner);

#endif
