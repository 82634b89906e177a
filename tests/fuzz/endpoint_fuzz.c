/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints: what is taken for loopback is, and nothing else reaches ZeroMQ. */
#include "proto/endpoint.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

static void
try_use(const char *text, endpoint_use use)
{
    endpoint e;

    if (endpoint_parse(&e, text, use) != ST_OK)
        return;
    CHECK(strlen(e.text) < ENDPOINT_MAX);
    if (e.path) {
        CHECK(strncmp(e.text, "ipc://", 6) == 0 && e.path == e.text + 6);
        CHECK(*e.path && *e.path != '@' && *e.path != '*' && !e.loopback);
        return;
    }
    CHECK(strncmp(e.text, "tcp://", 6) == 0);
    CHECK(!strpbrk(e.text, ";@/ \t\n\\") || strpbrk(e.text, "/") == e.text + 4);
    if (e.loopback)
        CHECK(strncmp(e.text, "tcp://127.", 10) == 0 ||
              strncmp(e.text, "tcp://[", 7) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[512];
    size_t n = size < sizeof(text) - 1 ? size : sizeof(text) - 1;

    memcpy(text, data, n);
    text[n] = '\0';
    try_use(text, ENDPOINT_BIND);
    try_use(text, ENDPOINT_CONNECT);
    return 0;
}
