/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile bytes: nothing crashes, and little memory is taken. */
#include "proto/prescan.h"

#include <string.h>
#include <sys/resource.h>

#include "client.pb-c.h"
#include "world.pb-c.h"

#include "base/mem.h"
#include "proto/client_message.h"
#include "proto/world_message.h"
#include "tests/expect.h"

enum { ROUNDS = 20000, PEAK_KIB = 20 << 10 };

/* Bytes that grow at the end. */
typedef struct bytes {
    uint8_t *data;
    size_t len, cap;
} bytes;

static bytes
bytes_new(size_t cap)
{
    bytes b = {.cap = cap};

    EXPECT_OK(mem_new(&b.data, cap, 1));
    return b;
}

static void
put(bytes *b, uint8_t byte)
{
    assert_true(b->len < b->cap);
    b->data[b->len++] = byte;
}

static void
put_varint(bytes *b, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put(b, (uint8_t)(value | 0x80));
    put(b, (uint8_t)value);
}

static void
put_tag(bytes *b, uint32_t number, uint32_t wire)
{
    put_varint(b, number << 3 | wire);
}

static void
start(bytes *b)
{
    b->len = 0;
    put_tag(b, 1, 0);
    put(b, 1);
}

static status
decode_client(const bytes *b)
{
    client_message m;
    uint64_t request;
    status st = client_message_decode(&m, &request, b->data, b->len);

    if (st == ST_OK)
        client_message_fini(&m);
    return st;
}

static long
peak_kib(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* A body of `number` filled to a message of 1 MiB with `unit`. */
static void
fill(bytes *b, uint32_t number, const uint8_t *unit, size_t unit_len)
{
    size_t room = b->cap - 16, n = room / unit_len;

    start(b);
    put_tag(b, number, 2);
    put_varint(b, n * unit_len);
    for (size_t i = 0; i < n; i++) {
        memcpy(b->data + b->len, unit, unit_len);
        b->len += unit_len;
    }
}

static void
amplification_is_bounded(void **state)
{
    const uint8_t empty[] = {0x0A, 0};    /* documents, jobs */
    const uint8_t world[] = {0x3A, 0};    /* worlds of a status */
    const uint8_t unknown[] = {0x78, 0};  /* field 15 */
    const uint8_t sampling[] = {0x22, 0}; /* of an ask, twice */
    const uint8_t number[] = {0x38, 1};   /* generated ids, not packed */
    bytes b = bytes_new(CLIENT_MAX_MESSAGE);
    long before = peak_kib();

    (void)state;
    fill(&b, CLIENT_DOCUMENTS, empty, 2);
    EXPECT_ST(decode_client(&b), ST_LIMIT);
    fill(&b, CLIENT_JOB_LIST, empty, 2);
    EXPECT_ST(decode_client(&b), ST_LIMIT);
    fill(&b, CLIENT_STATUS, world, 2);
    EXPECT_ST(decode_client(&b), ST_LIMIT);
    fill(&b, CLIENT_LIST, unknown, 2);
    EXPECT_ST(decode_client(&b), ST_LIMIT);
    fill(&b, CLIENT_ASK, sampling, 2);
    EXPECT_ST(decode_client(&b), ST_WIRE);
    fill(&b, CLIENT_DONE, number, 2);
    EXPECT_ST(decode_client(&b), ST_LIMIT);
#ifndef LONGWAVE_SANITIZED
    assert_true(peak_kib() - before < PEAK_KIB);
#endif
    (void)before;
    mem_free(b.data);
}

/* Below the limits of counts it is the budget that holds. */
static void
budget_is_kept(void **state)
{
    bytes b = bytes_new(CLIENT_MAX_MESSAGE);
    ProtobufCMessage *m = NULL;

    (void)state;
    start(&b);
    put_tag(&b, CLIENT_JOB_LIST, 2);
    put_varint(&b, 2 * 200000);
    for (int i = 0; i < 200000; i++) {
        put(&b, 0x0A);
        put(&b, 0);
    }
    EXPECT_ST(prescan_unpack(&m, &longwave__client__client_message__descriptor,
                             b.data, b.len, 1 << 20),
              ST_LIMIT);
    assert_non_null(strstr(status_text(), "memory"));
    assert_null(m);
    mem_free(b.data);
}

static void
long_lists_pass(void **state)
{
    client_job *job;
    client_message m = {.kind = CLIENT_JOB_LIST}, got;
    uint64_t request;
    uint8_t *data;
    size_t len;

    (void)state;
    EXPECT_OK(mem_new(&job, 5000, sizeof(*job)));
    for (size_t i = 0; i < 5000; i++)
        job[i] = (client_job){.job = i + 1,
                              .kind = "ask",
                              .document = "a document",
                              .state = CLIENT_STATE_DONE,
                              .created_ms = 1700000000000,
                              .tokens = 1000000,
                              .segments_done = 1000,
                              .segments_total = 1000};
    m.u.jobs.item = job;
    m.u.jobs.n = 5000;
    EXPECT_OK(client_message_encode(&data, &len, &m));
    EXPECT_OK(client_message_decode(&got, &request, data, len));
    assert_int_equal(got.u.jobs.n, 5000);
    assert_int_equal(got.u.jobs.item[4999].job, 5000);
    client_message_fini(&got);
    mem_free(data);
    mem_free(job);
}

/* `levels` messages, each the only content of the one around it. */
static void
nest(bytes *b, uint32_t number, size_t levels)
{
    size_t end = b->cap, at = end, len = 0;

    for (size_t i = 0; i < levels; i++) {
        uint8_t head[11];
        bytes h = {.data = head, .cap = sizeof(head)};

        put(&h, 0x0A);
        put_varint(&h, len);
        at -= h.len;
        memcpy(b->data + at, head, h.len);
        len += h.len;
    }
    start(b);
    if (number < PRESCAN_FIRST_BODY) {
        put_tag(b, CLIENT_LIST, 2);
        put(b, 0);
    }
    put_tag(b, number, 2);
    put_varint(b, len);
    memmove(b->data + b->len, b->data + at, len);
    b->len += len;
}

static void
nesting_is_bounded(void **state)
{
    bytes b = bytes_new(8 << 20);

    (void)state;
    nest(&b, CLIENT_JOB_LIST, 200000);
    assert_true(b.len < CLIENT_MAX_MESSAGE);
    EXPECT_ST(decode_client(&b), ST_WIRE);
    nest(&b, 9, 1000); /* an unknown field, which nobody enters */
    EXPECT_OK(decode_client(&b));
    nest(&b, 9, 10000);
    EXPECT_ST(decode_client(&b), ST_LIMIT);
    nest(&b, 9, 1000000);
    EXPECT_ST(decode_client(&b), ST_LIMIT);
    mem_free(b.data);
}

/* Of what is not known there may be so much, in however many fields. */
static void
what_is_not_known_is_bounded(void **state)
{
    bytes b = bytes_new(1 << 20);

    (void)state;
    for (size_t n_field = 1; n_field <= 4; n_field++) {
        for (size_t more = 0; more <= 1; more++) {
            start(&b);
            put_tag(&b, CLIENT_LIST, 2);
            put(&b, 0);
            for (size_t i = 0; i < n_field; i++) {
                const size_t len =
                    PRESCAN_MAX_UNKNOWN_BYTES / n_field +
                    (i == 0 ? PRESCAN_MAX_UNKNOWN_BYTES % n_field + more : 0);

                put_tag(&b, 9, 2);
                put_varint(&b, len);
                for (size_t k = 0; k < len; k++)
                    put(&b, 'x');
            }
            EXPECT_ST(decode_client(&b), more ? ST_LIMIT : ST_OK);
        }
    }
    mem_free(b.data);
}

/* ----------------------------------------------------- a newer peer's words
 * ---
 */

typedef struct additions {
    int top, body, inner; /* fields that nobody here knows, by their depth */
} additions;

/* `n` of them, of each wire type in turn.  Who looked into the longer ones
 * would find a group and something cut off. */
static void
put_unknown(bytes *b, uint32_t number, int n)
{
    static const uint8_t inside[] = {0x0B, 0xFF, 0x0A, 0x7F};
    static const uint32_t wire[] = {2, 0, 1, 5};

    for (int i = 0; i < n; i++) {
        uint32_t w = wire[i % 4];

        put_tag(b, number, w);
        if (w == 2)
            put(b, sizeof(inside));
        for (size_t k = 0; k < (w == 1 ? 8 : w == 0 ? 1 : 4); k++)
            put(b, inside[k % 4] & (w == 0 ? 0x7F : 0xFF));
    }
}

static void
put_inner(bytes *b, uint32_t number, const bytes *inner)
{
    put_tag(b, number, 2);
    put_varint(b, inner->len);
    for (size_t i = 0; i < inner->len; i++)
        put(b, inner->data[i]);
}

/* Body `number` of a document "d", 4 bytes, and { max_tokens: 4 }. */
static void
put_message(bytes *b, uint32_t number, uint32_t generate, const additions *more)
{
    const bool ask = number == CLIENT_ASK;
    bytes inner = bytes_new(4096);
    bytes body = bytes_new(8192);

    put_unknown(&inner, 1000, more->inner);
    put_tag(&inner, 1, 0);
    put(&inner, 4);
    put_unknown(&body, 1000, more->body);
    put_tag(&body, 1, ask ? 2 : 0);
    put(&body, 1);
    if (ask)
        put(&body, 'd');
    put_tag(&body, 3, 0);
    put(&body, 4);
    put_inner(&body, generate, &inner);
    start(b);
    put_unknown(b, PRESCAN_FIRST_BODY - 1, more->top);
    put_inner(b, number, &body);
    mem_free(inner.data);
    mem_free(body.data);
}

/* What is understood, as this program would say it. */
static status
said_again(uint8_t **out, size_t *len, bool client, const additions *more)
{
    bytes b = bytes_new(16384);
    client_message c = {0};
    world_message w = {0};
    uint64_t request;
    status st;

    if (client) {
        put_message(&b, CLIENT_ASK, 4, more);
        st = client_message_decode(&c, &request, b.data, b.len);
        if (st == ST_OK)
            EXPECT_OK(client_message_encode(out, len, &c));
        client_message_fini(&c);
    } else {
        put_message(&b, WORLD_BEGIN, 5, more);
        st = world_message_decode(&w, b.data, b.len);
        if (st == ST_OK)
            EXPECT_OK(world_message_encode(out, len, &w));
        world_message_fini(&w);
    }
    mem_free(b.data);
    return st;
}

/* Up to the limit, at any depth, a newer peer's additions mean nothing here,
 * whatever is in them; beyond it they are refused. */
static void
additions_are_passed_over(void **state)
{
    enum { MAX = PRESCAN_MAX_UNKNOWN };
    const additions none = {0};
    const additions some[] = {{1, 0, 0},   {0, 1, 0},      {0, 0, 1},
                              {4, 4, 4},   {MAX, 0, 0},    {0, MAX, 0},
                              {0, 0, MAX}, {MAX - 2, 1, 1}};
    const additions many[] = {
        {MAX + 1, 0, 0}, {0, MAX + 1, 0}, {0, 0, MAX + 1}, {MAX - 1, 1, 1}};

    (void)state;
    for (int client = 0; client <= 1; client++) {
        uint8_t *plain = NULL;
        uint8_t *data = NULL;
        size_t plain_len = 0;
        size_t len = 0;

        EXPECT_OK(said_again(&plain, &plain_len, client, &none));
        for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
            EXPECT_OK(said_again(&data, &len, client, &some[i]));
            assert_int_equal(len, plain_len);
            assert_memory_equal(data, plain, len);
            mem_free(data);
        }
        for (size_t i = 0; i < sizeof(many) / sizeof(*many); i++)
            EXPECT_ST(said_again(&data, &len, client, &many[i]), ST_LIMIT);
        mem_free(plain);
    }
}

/* The limit itself, on a type that may nest: a descriptor that has itself as
 * its only field, as no protocol of ours has. */
static void
recursion_is_stopped(void **state)
{
    ProtobufCFieldDescriptor field = {.name = "self",
                                      .id = 1,
                                      .label = PROTOBUF_C_LABEL_NONE,
                                      .type = PROTOBUF_C_TYPE_MESSAGE};
    const ProtobufCIntRange range[] = {{1, 0}, {0, 1}};
    const ProtobufCMessageDescriptor type = {
        .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
        .short_name = "Self",
        .n_fields = 1,
        .fields = &field,
        .n_field_ranges = 1,
        .field_ranges = range};
    uint8_t data[2 * PRESCAN_MAX_DEPTH];

    (void)state;
    field.descriptor = &type;
    for (int i = 0; i < PRESCAN_MAX_DEPTH; i++) {
        data[2 * i] = 0x0A;
        data[2 * i + 1] = (uint8_t)(2 * (PRESCAN_MAX_DEPTH - i - 1));
    }
    EXPECT_ST(prescan_check(&type, data, sizeof(data), 100), ST_LIMIT);
    EXPECT_OK(prescan_check(&type, data + 2, sizeof(data) - 2, 100));
    EXPECT_ST(prescan_check(&type, data + 2, sizeof(data) - 2, 6), ST_LIMIT);
}

/* Depth of the deepest message inside `type`; fails on a cycle. */
static int
depth_of(const ProtobufCMessageDescriptor *type, int above)
{
    int deepest = above + 1;

    assert_true(above < PRESCAN_MAX_DEPTH);
    assert_true(type->n_fields < 63); /* check_once() has that many bits */
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            int d = depth_of(type->fields[i].descriptor, above + 1);

            deepest = d > deepest ? d : deepest;
        }
    return deepest;
}

static void
protocols_are_flat(void **state)
{
    (void)state;
    assert_int_equal(depth_of(&longwave__client__client_message__descriptor, 0),
                     3);
    assert_int_equal(depth_of(&longwave__world__world_message__descriptor, 0),
                     3);
}

static void
broken_varints_are_refused(void **state)
{
    const uint8_t eleven[] = {0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                              0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01};
    const uint8_t over[] = {0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                            0xFF, 0xFF, 0xFF, 0xFF, 0x02};
    const uint8_t largest[] = {0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                               0xFF, 0xFF, 0xFF, 0xFF, 0x01};
    const uint8_t zero[] = {0x00, 0x01};
    const uint8_t length[] = {0x6A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                              0xFF, 0xFF, 0xFF, 0xFF, 0x01};
    prescan_envelope e;

    (void)state;
    EXPECT_ST(prescan_read_envelope(&e, eleven, sizeof(eleven)), ST_WIRE);
    EXPECT_ST(prescan_read_envelope(&e, over, sizeof(over)), ST_WIRE);
    EXPECT_OK(prescan_read_envelope(&e, largest, sizeof(largest)));
    assert_int_equal(e.value[0], UINT64_MAX);
    EXPECT_ST(prescan_read_envelope(&e, zero, sizeof(zero)), ST_WIRE);
    EXPECT_ST(prescan_read_envelope(&e, length, sizeof(length)), ST_WIRE);
}

/* xorshift64: the same inputs every time. */
static uint64_t
draw(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void
decode_both(const uint8_t *data, size_t len)
{
    client_message c;
    world_message w;
    uint64_t request;

    if (client_message_decode(&c, &request, data, len) == ST_OK)
        client_message_fini(&c);
    if (world_message_decode(&w, data, len) == ST_OK)
        world_message_fini(&w);
}

static void
garbage_is_survived(void **state)
{
    uint64_t seed = 12345;
    uint8_t data[512];

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        size_t len = draw(&seed) % sizeof(data);

        for (size_t k = 0; k < len; k++)
            data[k] = (uint8_t)draw(&seed);
        if (i % 2 == 0 && len > 2) {
            data[0] = 0x08; /* the right version: deeper in */
            data[1] = 1;
        }
        decode_both(data, len);
    }
}

static uint8_t *
a_message(size_t *len, int which)
{
    int32_t ids[] = {1, 2, 300000, 4};
    client_world world = {.model = "m", .state = "ready", .ranks = 3};
    client_job job = {.job = 3, .document = "doc", .text = "words"};
    client_message c[] = {
        {.kind = CLIENT_ASK,
         .u.ask = {.document = "doc",
                   .sampling = {.max_tokens = 3,
                                .temperature = 1,
                                .n_stop = 2,
                                .stop = {"a", "b"}}}},
        {.kind = CLIENT_DONE, .u.done = {.ids = ids, .n_id = 4}},
        {.kind = CLIENT_STATUS, .u.status = {.world = &world, .n_world = 1}},
        {.kind = CLIENT_JOB_LIST, .u.jobs = {.item = &job, .n = 1}}};
    world_message w = {
        .kind = WORLD_BEGIN,
        .u.begin.generate = {.max_tokens = 4, .n_eos = 2, .eos = {5, 6}}};
    uint8_t *data;

    if (which < 4)
        EXPECT_OK(client_message_encode(&data, len, &c[which]));
    else
        EXPECT_OK(world_message_encode(&data, len, &w));
    return data;
}

static void
flipped_and_cut_messages_are_survived(void **state)
{
    uint64_t seed = 777;

    (void)state;
    for (int which = 0; which < 5; which++) {
        size_t len;
        uint8_t *data = a_message(&len, which);
        uint8_t *copy;

        for (size_t cut = 0; cut < len; cut++) {
            EXPECT_OK(mem_new(&copy, cut, 1)); /* a sanitizer sees overreads */
            memcpy(copy, data, cut);
            decode_both(copy, cut);
            mem_free(copy);
        }
        EXPECT_OK(mem_new(&copy, len, 1));
        for (int i = 0; i < ROUNDS / 5; i++) {
            memcpy(copy, data, len);
            for (uint64_t k = draw(&seed) % 4 + 1; k > 0; k--)
                copy[draw(&seed) % len] ^= (uint8_t)(1u << draw(&seed) % 8);
            decode_both(copy, len);
        }
        mem_free(copy);
        mem_free(data);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amplification_is_bounded),
        cmocka_unit_test(budget_is_kept),
        cmocka_unit_test(long_lists_pass),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(what_is_not_known_is_bounded),
        cmocka_unit_test(additions_are_passed_over),
        cmocka_unit_test(recursion_is_stopped),
        cmocka_unit_test(protocols_are_flat),
        cmocka_unit_test(broken_varints_are_refused),
        cmocka_unit_test(garbage_is_survived),
        cmocka_unit_test(flipped_and_cut_messages_are_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
