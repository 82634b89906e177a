/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out once, in this process. */
#ifndef TESTS_FAULTS_NOMEM_H
#define TESTS_FAULTS_NOMEM_H

#include <stdbool.h>

typedef enum nomem_kind {
    NOMEM_OURS = 0, /* allocations of base/mem.h */
    NOMEM_ANY,      /* malloc, calloc and realloc, whoever calls them; what a
                     * sanitizer has instead of the C library's calls (strdup)
                     * is not asked */
    NOMEM_COUNT
} nomem_kind;

/* From here on the n-th allocation fails, n counted from 1, and no other one;
 * 0: none. */
void nomem_after(nomem_kind kind, unsigned n);
/* Whether it has happened. */
bool nomem_has_failed(void);

#endif
