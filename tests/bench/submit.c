/* SPDX-License-Identifier: Apache-2.0 */
/* How many small jobs a second a daemon acknowledges.
 *
 *   submit ENDPOINT DOCUMENT [JOBS [WINDOW]]
 *
 * Sends questions about a document, WINDOW of them without an acknowledgement
 * at any time, and waits until all JOBS are acknowledged: durable, each with
 * its input.  The daemon needs no world for it, and --max-queue above JOBS.
 * Prints one JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proto/client_message.h"
#include "proto/socket.h"

enum { BYTES = 200, WAIT_MS = 10000 };

typedef struct bench {
    zsocket *s;
    const char *document;
    uint64_t *sent_ns, *ack_ns;
    uint64_t n, n_sent, n_ack;
} bench;

static status
submit(bench *b)
{
    client_message m = {.kind = CLIENT_ASK, .request = b->n_sent + 1};
    uint8_t ids[BYTES] = {0};
    uint8_t *data = NULL;
    size_t len;
    status st;

    m.u.ask.document = (char *)(uintptr_t)b->document;
    m.u.ask.input = CLIENT_IDS;
    m.u.ask.bytes = sizeof(ids);
    m.u.ask.sampling.max_tokens = 1;
    TRY(client_message_encode(&data, &len, &m));
    TRY(zsocket_send(b->s, NULL, data, len, ids, sizeof(ids)));
    b->sent_ns[b->n_sent++] = clock_ns();
fail:
    mem_free(data);
    return st;
}

static status
hear(bench *b)
{
    zsocket_message frame = {.control = NULL};
    client_message m = {.request = 0};
    uint64_t request;
    status st;

    TRY(zsocket_recv(b->s, &frame, WAIT_MS));
    TRY(client_message_decode(&m, &request, frame.control, frame.control_len));
    if (m.kind == CLIENT_REFUSED)
        TRY(status_fail(ST_STATE, "refused: %s", m.u.refused.text));
    if (m.kind == CLIENT_ACCEPTED && m.request >= 1 && m.request <= b->n_sent) {
        b->ack_ns[m.request - 1] = clock_ns();
        b->n_ack++;
    }
fail:
    client_message_fini(&m);
    zsocket_message_fini(&frame);
    return st;
}

static int
compare(const void *a, const void *b)
{
    uint64_t x;
    uint64_t y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

static status
run(bench *b, uint64_t window)
{
    uint64_t start = clock_ns();
    double seconds;
    status st = ST_OK;

    while (b->n_ack < b->n) {
        while (b->n_sent < b->n && b->n_sent - b->n_ack < window) {
            st = submit(b);
            if (st == ST_TIMEOUT)
                break;
            TRY(st);
        }
        TRY(hear(b));
    }
    seconds = (double)(clock_ns() - start) * 1e-9;
    for (uint64_t i = 0; i < b->n; i++)
        b->ack_ns[i] -= b->sent_ns[i];
    qsort(b->ack_ns, b->n, sizeof(*b->ack_ns), compare);
    printf("{\"jobs\": %llu, \"window\": %llu, \"seconds\": %.3f, "
           "\"jobs_per_second\": %.0f, \"ack_ms_median\": %.2f, "
           "\"ack_ms_p99\": %.2f}\n",
           (unsigned long long)b->n, (unsigned long long)window, seconds,
           (double)b->n / seconds, (double)b->ack_ns[b->n / 2] * 1e-6,
           (double)b->ack_ns[b->n - 1 - b->n / 100] * 1e-6);
fail:
    return st;
}

int
main(int argc, char **argv)
{
    bench b = {.n = argc > 3 ? strtoull(argv[3], NULL, 10) : 10000};
    uint64_t window = argc > 4 ? strtoull(argv[4], NULL, 10) : 64;
    zcontext *z = NULL;
    status st;

    if (argc < 3 || b.n == 0 || window == 0) {
        fprintf(stderr, "usage: submit ENDPOINT DOCUMENT [JOBS [WINDOW]]\n");
        return 2;
    }
    b.document = argv[2];
    TRY(mem_new(&b.sent_ns, b.n, sizeof(*b.sent_ns)));
    TRY(mem_new(&b.ack_ns, b.n, sizeof(*b.ack_ns)));
    TRY(zcontext_new(&z));
    TRY(zsocket_dealer(&b.s, z, argv[1], NULL, CLIENT_MAX_CHUNK));
    TRY(run(&b, window));
fail:
    if (st != ST_OK)
        fprintf(stderr, "submit: %s\n", status_text());
    zsocket_close(b.s);
    zcontext_free(z);
    mem_free(b.sent_ns);
    mem_free(b.ack_ns);
    return status_exit_code(st);
}
