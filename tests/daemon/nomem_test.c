/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out at the n-th allocation while a daemon starts, and for
 * every reply. */
#include "daemon/service.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/clients.h"
#include "tests/daemon/scratch.h"

#define MODEL "golden/armt-llama"
enum { LAST = 200 };

/* It starts, or says why not; nothing is left of it either way. */
static void
a_start_without_memory(void **state)
{
    scratch box;
    char client_at[128];
    char world_at[128];
    char data[128];
    char list[64];
    int n_failed = 0;

    (void)state;
    scratch_init(&box);
    (void)snprintf(client_at, sizeof(client_at), "ipc://%s/c", box.dir);
    (void)snprintf(world_at, sizeof(world_at), "ipc://%s/w", box.dir);
    (void)snprintf(data, sizeof(data), "%s/data", box.dir);
    for (int n = 1; n <= LAST; n++) {
        const settings set = {.model = MODEL,
                              .template = "plain",
                              .listen = client_at,
                              .listen_worlds = world_at,
                              .data = data,
                              .max_question = 100,
                              .max_input = 1 << 20,
                              .max_queue = 8,
                              .keep = 7,
                              .drain_seconds = 1};
        service *v = NULL;
        status st;

        (void)snprintf(list, sizeof(list), "mem.new:%d:nomem", n);
        EXPECT_OK(fault_set(list));
        st = service_new(&v, &set);
        if (st != ST_OK) {
            n_failed++;
            assert_null(v);
            if (st != ST_NOMEM)
                fail_msg("allocation %d: %s: %s", n, status_name(st),
                         status_text());
        }
        service_free(v);
        EXPECT_OK(fault_set(""));
    }
    assert_true(n_failed > 20);
    scratch_fini(&box);
}

typedef struct asked {
    loop *l;
    clients *c;
    client_message reply;
} asked;

static void
reply_without_memory(void *ctx, const clients_caller *from,
                     const client_message *m, uint8_t **raw, size_t raw_len)
{
    asked *a = ctx;

    (void)raw;
    (void)raw_len;
    a->reply.request = m->request;
    EXPECT_OK(fault_set("mem.new:1+:nomem"));
    clients_tell(a->c, from->peer, &a->reply);
    EXPECT_OK(fault_set(""));
    loop_stop(a->l);
}

static void
ask(asked *a, zsocket *s, uint64_t request)
{
    client_message m = {.kind = CLIENT_LIST, .request = request};
    uint8_t *data = NULL;
    size_t len;

    EXPECT_OK(client_message_encode(&data, &len, &m));
    EXPECT_OK(zsocket_send(s, NULL, data, len, NULL, 0));
    mem_free(data);
    EXPECT_OK(loop_run(a->l));
}

/* Whatever the reply would have been, who asked hears of it. */
static void
a_reply_without_memory_is_a_refusal(void **state)
{
    static char text[] = "a word";
    const client_message reply[] = {
        {.kind = CLIENT_DOCUMENTS},
        {.kind = CLIENT_REFUSED, .u.refused = {.code = text, .text = text}},
        {.kind = CLIENT_DONE, .u.done.document = text},
    };
    const door_setup open = {.key = NULL};
    asked a = {.l = NULL};
    scratch box;
    char at[128];
    zcontext *z;
    door *d;
    zsocket *s;

    (void)state;
    scratch_init(&box);
    (void)snprintf(at, sizeof(at), "ipc://%s/c", box.dir);
    EXPECT_OK(zcontext_new(&z));
    EXPECT_OK(loop_new(&a.l));
    EXPECT_OK(door_open(&d, z, &open));
    EXPECT_OK(clients_open(&a.c, z, a.l, at, d));
    EXPECT_OK(clients_listen(a.c, reply_without_memory, &a));
    EXPECT_OK(zsocket_dealer(&s, z, at, NULL, 1 << 20));
    for (size_t i = 0; i < 3; i++) {
        zsocket_message frame = {.control = NULL};
        client_message m = {.request = 0};
        uint64_t request = i == 2 ? UINT64_MAX : i + 1;

        a.reply = reply[i];
        ask(&a, s, request);
        EXPECT_OK(zsocket_recv(s, &frame, 5000));
        EXPECT_OK(client_message_decode(&m, &request, frame.control,
                                        frame.control_len));
        assert_int_equal(m.kind, CLIENT_REFUSED);
        assert_int_equal(m.request, i == 2 ? UINT64_MAX : i + 1);
        assert_string_equal(m.u.refused.code, "nomem");
        client_message_fini(&m);
        zsocket_message_fini(&frame);
    }
    zsocket_close(s);
    clients_close(a.c, 0);
    loop_free(a.l);
    door_close(d);
    zcontext_free(z);
    scratch_fini(&box);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_without_memory),
        cmocka_unit_test(a_reply_without_memory_is_a_refusal),
    };

    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
