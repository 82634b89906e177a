/* SPDX-License-Identifier: Apache-2.0 */
/* Between which characters merging never crosses.
 *
 * A merge joins two neighbours at one place: behind the last character of the
 * left one and before the first of the right one.  Where no merge has such a
 * pair, whatever the text is, the two sides are merged as if they were alone.
 * Internal to the tokenizer. */
#ifndef MODEL_SEAM_H
#define MODEL_SEAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Read only once it is filled. */
typedef struct seam {
    bool ascii[128][128]; /* [before][behind]: crossed */
    uint64_t *pair;       /* hash table of the others, 0: free */
    size_t mask;
    uint64_t seed;
} seam;

/* For at most n_pair seam_cross(). */
status seam_init(seam *s, size_t n_pair, uint64_t seed) MUST_USE;
void seam_fini(seam *s); /* zeroed is fine */

/* A merge crosses between these characters. */
void seam_cross(seam *s, uint32_t before, uint32_t behind);

bool seam_is_crossed(const seam *s, uint32_t before, uint32_t behind);

#endif
