/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out at the n-th allocation while a daemon starts. */
#include "daemon/service.h"

#include "base/fault.h"
#include "base/log.h"
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_without_memory),
    };

    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
