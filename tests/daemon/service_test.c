/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as clients see it: documents that are read, kept over a restart
 * and asked, and requests that are refused. */
#include "tests/daemon/service_rig.h"

#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/sql.h"
#include "tests/daemon/shortage.h"

/* A document of `n` ids is added; *snapshot is what the world sent. */
static void
add_document(service_rig *s, const int32_t *ids, size_t n, uint8_t **snapshot)
{
    size_t size = s->model.segment_size;
    size_t written = (n + size - 1) / size - 1;
    uint8_t sum[HASH_BYTES];
    world_message begin;

    service_rig_add(s, "d", ids, n);
    begin = service_rig_take_begin(s);
    assert_true(begin.u.begin.want_snapshot);
    assert_int_equal(begin.u.begin.n_segment, written);
    assert_int_equal(begin.u.begin.snapshot_bytes, 0);
    service_rig_take_segments(s, &begin, ids, written * size, false);
    *snapshot = service_rig_snapshot(s, written, 0.5F);
    service_rig_hash(*snapshot, service_rig_snapshot_bytes(s), sum);
    service_rig_send_snapshot(s, &begin, *snapshot, sum);
    service_rig_world_finish(s, &begin);
    service_rig_hear_kind(s, CLIENT_DONE);
}

/* The whole question: snapshot down, pending ids and question, tokens up. */
static void
ask_document(service_rig *s, const int32_t *ids, size_t n,
             const uint8_t *snapshot)
{
    size_t size = s->model.segment_size;
    size_t first = (n + size - 1) / size - 1;
    int32_t joined[SERVICE_RIG_IDS];
    size_t pending = n - first * size;
    size_t n_joined = pending + size;
    world_message begin;
    world_message m;
    uint8_t sum[HASH_BYTES];
    client_message done;

    memcpy(joined, ids + first * size, pending * sizeof(*ids));
    service_rig_fill(joined + pending, size, s);
    service_rig_ask(s, "d", joined + pending, size);
    begin = service_rig_take_begin(s);
    assert_int_equal(begin.u.begin.first_segment, first);
    assert_int_equal(begin.u.begin.snapshot_bytes,
                     service_rig_snapshot_bytes(s));
    assert_int_equal(begin.u.begin.generate.max_tokens, 4);
    m = service_rig_world_hear(s, WORLD_SNAPSHOT);
    assert_true(m.u.snapshot.last);
    assert_int_equal(s->frame.raw_len, service_rig_snapshot_bytes(s));
    assert_memory_equal(s->frame.raw, snapshot, s->frame.raw_len);
    service_rig_hash(snapshot, service_rig_snapshot_bytes(s), sum);
    assert_memory_equal(m.u.snapshot.hash, sum, sizeof(sum));
    zsocket_message_fini(&s->frame);
    service_rig_take_segments(s, &begin, joined, n_joined, true);
    m = (world_message){.kind = WORLD_TOKEN};
    m.u.token.id = 9;
    service_rig_world_reply(s, m, &begin);
    service_rig_hear_kind(s, CLIENT_TOKEN);
    service_rig_world_finish(s, &begin);
    done = service_rig_hear(s);
    assert_int_equal(done.kind, CLIENT_DONE);
    assert_int_equal(done.u.done.n_id, 1);
    assert_int_equal(done.u.done.ids[0], 9);
    assert_string_equal(done.u.done.finish, "length");
    client_message_fini(&done);
}

static void
truncate_snapshot(service_rig *s)
{
    assert_int_equal(truncate(scratch_path(&s->box, "data/documents/1.snap"),
                              (off_t)service_rig_snapshot_bytes(s) - 1),
                     0);
}

static void
refuse_to_ask(service_rig *s, const int32_t *ids)
{
    client_message m = {.kind = CLIENT_ASK};

    m.u.ask.document = (char *)(uintptr_t) "d";
    m.u.ask.input = CLIENT_IDS;
    m.u.ask.bytes = sizeof(*ids);
    m.u.ask.sampling.max_tokens = 4;
    service_rig_request(s, m);
    service_rig_hear_refused(s, "io");
}

/* A daemon, a world, and a document that it read: ids[n], five whole segments
 * and a token; *snapshot is the caller's. */
static size_t
begin_with_document(service_rig *s, int32_t *ids, uint8_t **snapshot)
{
    size_t n;

    service_rig_init(s);
    service_rig_join(s);
    n = 5 * s->model.segment_size + 1;
    service_rig_fill(ids, n, s);
    add_document(s, ids, n, snapshot);
    return n;
}

static void
documents_are_read_kept_and_asked(void **state)
{
    service_rig s;
    int32_t ids[SERVICE_RIG_IDS];
    uint8_t *snapshot;
    size_t n;

    (void)state;
    n = begin_with_document(&s, ids, &snapshot);
    ask_document(&s, ids, n, snapshot);
    service_rig_stop(&s);
    service_rig_start(&s); /* and once more after a restart */
    assert_int_equal(service_rig_documents(&s), 1);
    service_rig_join(&s);
    ask_document(&s, ids, n, snapshot);
    service_rig_stop(&s);
    truncate_snapshot(&s);
    service_rig_start(&s);
    assert_int_equal(service_rig_documents(&s), 1);
    refuse_to_ask(&s, ids);
    mem_free(snapshot);
    service_rig_fini(&s);
}

/* The question is given to the world, and withdrawn without what it rests on:
 * the whole snapshot, or its ids. */
static void
expect_unusable(service_rig *s, const int32_t *ids)
{
    service_rig_ask(s, "d", ids, s->model.segment_size);
    service_rig_hear_refused(s, "io");
}

/* What the world had before WELCOME was of questions that came to nothing. */
static void
join_again(service_rig *s)
{
    world_message m = {0};

    s->incarnation = 0;
    service_rig_world_say(s, service_rig_hello(s), NULL, 0);
    do {
        zsocket_message_fini(&s->frame);
        EXPECT_OK(zsocket_recv(s->world, &s->frame, SERVICE_RIG_MS));
        EXPECT_OK(
            world_message_decode(&m, s->frame.control, s->frame.control_len));
        assert_int_not_equal(m.kind, WORLD_SNAPSHOT);
    } while (m.kind != WORLD_WELCOME);
    s->incarnation = m.u.welcome.incarnation;
    zsocket_message_fini(&s->frame);
    world_message_fini(&m);
}

static void
put_file(service_rig *s, const char *name, const void *data, size_t len)
{
    EXPECT_OK(file_write(scratch_path(&s->box, name), data, len));
}

/* Files that are whole in themselves and fit, but are not what was written:
 * nothing of them is loaded. */
static void
other_files_are_not_loaded(void **state)
{
    service_rig s;
    int32_t ids[SERVICE_RIG_IDS], others[1] = {1};
    uint8_t *snapshot, *other;
    size_t n, len;

    (void)state;
    n = begin_with_document(&s, ids, &snapshot);
    len = service_rig_snapshot_bytes(&s);
    other = service_rig_snapshot(&s, 5, 0.25F);
    put_file(&s, "data/documents/1.snap", other, len);
    expect_unusable(&s, ids);
    put_file(&s, "data/documents/1.snap", snapshot, len);
    others[0] = ids[n - 1] + 1;
    put_file(&s, "data/documents/1.ids", others, sizeof(others));
    expect_unusable(&s, ids);
    put_file(&s, "data/documents/1.ids", ids + n - 1, sizeof(*ids));
    join_again(&s);
    ask_document(&s, ids, n, snapshot);
    mem_free(other);
    mem_free(snapshot);
    service_rig_fini(&s);
}

/* As an earlier version left the journal. */
static void
forget_hashes(service_rig *s)
{
    sql *db;

    EXPECT_OK(sql_open(&db, scratch_path(&s->box, "data/longwave.db")));
    EXPECT_OK(sql_execute(
        db, "UPDATE document SET hash=x'', ids_hash=x'', crc=row_crc(id, name, "
            "fingerprint, tokens, segments, snapshot_bytes, pending, "
            "created_ms, owner, norms, template, x'', x'')"));
    sql_close(db);
}

/* A document without hashes is used as it was before, and has them from then
 * on: of its ids at a start, of its snapshot when it was loaded; over a start,
 * too. */
static void
hashes_come_with_use(void **state)
{
    service_rig s;
    int32_t ids[SERVICE_RIG_IDS];
    uint8_t *snapshot, *other;
    size_t n, len;

    (void)state;
    n = begin_with_document(&s, ids, &snapshot);
    len = service_rig_snapshot_bytes(&s);
    service_rig_stop(&s);
    forget_hashes(&s);
    service_rig_start(&s);
    service_rig_join(&s);
    snapshot[len - 1] ^= 1; /* not whole: that is seen without a hash, too */
    put_file(&s, "data/documents/1.snap", snapshot, len);
    expect_unusable(&s, ids);
    snapshot[len - 1] ^= 1;
    put_file(&s, "data/documents/1.snap", snapshot, len);
    join_again(&s);
    ask_document(&s, ids, n, snapshot);
    other = service_rig_snapshot(&s, 5, 0.25F);
    put_file(&s, "data/documents/1.snap", other, len);
    expect_unusable(&s, ids);
    service_rig_stop(&s);
    service_rig_start(&s);
    service_rig_join(&s);
    expect_unusable(&s, ids);
    put_file(&s, "data/documents/1.snap", snapshot, len);
    join_again(&s);
    ask_document(&s, ids, n, snapshot);
    mem_free(other);
    mem_free(snapshot);
    service_rig_fini(&s);
}

static void
ids_and_lengths_are_checked(void **state)
{
    service_rig s;
    int32_t ids[200];

    (void)state;
    service_rig_init(&s);
    service_rig_fill(ids, 200, &s);
    service_rig_add(&s, "short", ids, 3);
    service_rig_hear_kind(&s, CLIENT_DONE);
    service_rig_ask(&s, "short", ids, 101);
    service_rig_hear_refused(&s, "limit");
    ids[1] = (int32_t)s.model.n_vocab;
    service_rig_add(&s, "d", ids, 3);
    service_rig_hear_refused(&s, "arg");
    ids[1] = -1;
    service_rig_ask(&s, "short", ids, 3);
    service_rig_hear_refused(&s, "arg");
    assert_int_equal(service_rig_documents(&s), 1);
    service_rig_fini(&s);
}

/* What came while no file could be opened is read when one can. */
static void
a_shortage_costs_no_job(void **state)
{
    const struct timespec while_it_lasts = {.tv_nsec = 300 * 1000 * 1000};
    service_rig s;
    int32_t ids[3];
    rlim_t before;

    (void)state;
    service_rig_init(&s);
    service_rig_fill(ids, 3, &s);
    assert_int_equal(service_rig_documents(&s), 0); /* all is connected */
    before = shortage_begin();
    service_rig_add(&s, "short", ids, 3);
    (void)nanosleep(&while_it_lasts, NULL);
    shortage_end(before);
    service_rig_hear_kind(&s, CLIENT_DONE);
    assert_int_equal(service_rig_documents(&s), 1);
    service_rig_fini(&s);
}

/* No byte of it has to come for that. */
static void
ids_have_a_known_length(void **state)
{
    client_message m = {.kind = CLIENT_ADD};
    service_rig s;
    int32_t ids[4];

    (void)state;
    service_rig_init(&s);
    service_rig_stop(&s);
    s.set.max_tokens = 4;
    service_rig_start(&s);
    service_rig_fill(ids, 4, &s);
    m.u.add.name = (char *)(uintptr_t) "d";
    m.u.add.input = CLIENT_IDS;
    m.u.add.bytes = 5 * sizeof(*ids);
    service_rig_request(&s, m);
    service_rig_hear_refused(&s, "limit");
    service_rig_add(&s, "d", ids, 4);
    service_rig_hear_kind(&s, CLIENT_DONE);
    service_rig_fini(&s);
}

static void
malformed_messages_are_answered(void **state)
{
    static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff};
    static const uint8_t other_major[] = {8, 9, 24, 5, 130, 1, 0};
    static const uint8_t unknown_body[] = {8, 1, 24, 5, 234, 7, 0};
    service_rig s;
    client_message m = {.kind = CLIENT_DONE};

    (void)state;
    service_rig_init(&s);
    EXPECT_OK(zsocket_send(s.client, NULL, garbage, 4, NULL, 0));
    service_rig_hear_refused(&s, "wire");
    EXPECT_OK(zsocket_send(s.client, NULL, other_major, 7, NULL, 0));
    service_rig_hear_refused(&s, "unsupported");
    EXPECT_OK(zsocket_send(s.client, NULL, unknown_body, 7, NULL, 0));
    service_rig_hear_refused(&s, "unsupported");
    service_rig_request(&s, m); /* a reply is not a request */
    service_rig_hear_refused(&s, "unsupported");
    EXPECT_OK(zsocket_send(s.world, NULL, garbage, 4, NULL, 0));
    assert_int_equal(service_rig_documents(&s), 0);
    service_rig_fini(&s);
}

static void
one_place_one_daemon(void **state)
{
    service_rig s;
    service *other;
    settings set;

    (void)state;
    service_rig_init(&s);
    EXPECT_ST(service_new(&other, &s.set), ST_STATE);
    set = s.set;
    set.data = scratch_path(&s.box, "other");
    EXPECT_ST(service_new(&other, &set), ST_STATE); /* endpoint in use */
    set.model = "golden/none";
    EXPECT_ST(service_new(&other, &set), ST_NOTFOUND);
    set.model = SERVICE_RIG_MODEL;
    set.listen = "tcp://127.0.0.1:*";
    EXPECT_ST(service_new(&other, &set), ST_DENIED);
    service_rig_fini(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_read_kept_and_asked),
        cmocka_unit_test(other_files_are_not_loaded),
        cmocka_unit_test(hashes_come_with_use),
        cmocka_unit_test(ids_and_lengths_are_checked),
        cmocka_unit_test(ids_have_a_known_length),
        cmocka_unit_test(a_shortage_costs_no_job),
        cmocka_unit_test(malformed_messages_are_answered),
        cmocka_unit_test(one_place_one_daemon),
    };

    log_init("service_test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
