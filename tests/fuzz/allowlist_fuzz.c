/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of keys: nobody is on one who is not in its text. */
#include "proto/allowlist.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

#define KEY "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    allowlist *l;

    CHECK(allowlist_parse(&l, (const char *)data, size) == ST_OK);
    if (allowlist_find(l, KEY) != 0)
        CHECK(memmem(data, size, KEY, strlen(KEY)) != NULL);
    CHECK(allowlist_count(l) <= ALLOWLIST_MAX);
    allowlist_free(l);
    return 0;
}
