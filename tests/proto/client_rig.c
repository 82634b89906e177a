/* SPDX-License-Identifier: Apache-2.0 */
/* Encoded, and decoded again. */
#include "tests/proto/client_rig.h"

#include "base/mem.h"
#include "tests/expect.h"

client_message
client_rig_copy(const client_message *m)
{
    client_message out;
    uint8_t *data;
    uint64_t request;
    size_t len;

    EXPECT_OK(client_message_encode(&data, &len, m));
    EXPECT_OK(client_message_decode(&out, &request, data, len));
    assert_int_equal(request, m->request);
    assert_int_equal(out.request, m->request);
    assert_int_equal(out.kind, m->kind);
    assert_int_equal(out.major, CLIENT_MAJOR);
    assert_int_equal(out.minor, CLIENT_MINOR);
    mem_free(data);
    return out;
}

void
client_rig_refuse(const client_message *m, status code)
{
    uint8_t *data = NULL;
    size_t len;

    EXPECT_ST(client_message_encode(&data, &len, m), code);
    assert_null(data);
}
