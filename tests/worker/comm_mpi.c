/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks under mpirun: agreement, equality, long and short messages.
 *
 * Run with 1, 2, 3 and 4 ranks; each checks its own part and all agree at the
 * end, so a failure of one is the exit status of all. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/comm.h"

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond))                                                           \
            return status_fail(ST_STATE, "line %d: %s", __LINE__, #cond);      \
    } while (0)

static status
test_agree(comm *c)
{
    uint32_t rank = comm_rank(c);
    uint32_t last = comm_size(c) - 1;
    status st = comm_agree(c, ST_OK);
    CHECK(st == ST_OK);

    st = ST_OK;
    if (rank == last)
        st = status_fail(ST_LIMIT, "the last rank is full");
    st = comm_agree(c, st);
    CHECK(st == ST_LIMIT);
    CHECK(strcmp(status_text(), "the last rank is full") == 0);

    /* All fail: the lowest rank's sentence wins. */
    st = comm_agree(c, status_fail(ST_ARG, "rank %u is wrong", rank));
    CHECK(st == ST_ARG);
    CHECK(strcmp(status_text(), "rank 0 is wrong") == 0);
    return ST_OK;
}

static status
test_same(comm *c)
{
    uint32_t rank = comm_rank(c);
    status st = comm_same(c, "greeting", "hello", 5);
    CHECK(st == ST_OK);
    if (comm_size(c) == 1)
        return ST_OK;
    st = comm_same(c, "greeting", rank == 1 ? "hallo" : "hello", 5);
    CHECK(st == ST_ARG);
    CHECK(strstr(status_text(), "rank 1") != NULL);
    CHECK(strstr(status_text(), "greeting") != NULL);
    st = comm_same(c, "greeting", "hello", rank == 1 ? 4 : 5);
    CHECK(st == ST_ARG);
    return ST_OK;
}

static status
wait_for(comm *c, comm_request *req)
{
    status st = ST_OK;
    bool done = false;
    uint64_t limit = clock_ns() + 20ull * 1000 * 1000 * 1000;
    while (!done) {
        TRY(comm_test(c, req, &done));
        if (!done && clock_ns() > limit)
            return status_fail(ST_TIMEOUT, "a message did not arrive");
        if (!done)
            clock_sleep_us(20);
    }
fail:
    return st;
}

static uint8_t
byte_of(uint32_t rank, uint32_t message, size_t i)
{
    return (uint8_t)(rank * 31 + message * 7 + i * 13 + i / 251);
}

/* Every rank sends three messages of `len` bytes round the ring. */
static status
test_ring(comm *c, size_t len, bool sync)
{
    enum { N = 3 };
    status st = ST_OK;
    uint32_t rank = comm_rank(c);
    uint32_t size = comm_size(c);
    uint32_t from = (rank + size - 1) % size;
    comm_request out[N] = {0};
    comm_request in[N] = {0};
    uint8_t *data = NULL;

    TRY(mem_new(&data, (size_t)2 * N, len + 1));
    for (uint32_t m = 0; m < N; m++) {
        uint8_t *to = data + m * (len + 1);
        for (size_t i = 0; i < len; i++)
            to[i] = byte_of(rank, m, i);
        TRY(comm_isend(c, &out[m], (rank + 1) % size, 7, to, len, sync));
    }
    for (uint32_t m = 0; m < N; m++) {
        uint8_t *got = data + (N + m) * (len + 1);
        got[len] = 0xa5;
        TRY(comm_irecv(c, &in[m], from, 7, got, len));
        TRY(wait_for(c, &in[m]));
        for (size_t i = 0; i < len; i++) {
            if (got[i] != byte_of(from, m, i))
                TRY(status_fail(ST_WIRE, "byte %zu of %zu differs", i, len));
        }
        if (got[len] != 0xa5)
            TRY(status_fail(ST_WIRE, "a byte behind the message changed"));
    }
    for (uint32_t m = 0; m < N; m++)
        TRY(wait_for(c, &out[m]));
fail:
    mem_free(data);
    return st;
}

/* A synchronous send is not done before its receiver asked for it. */
static status
test_sync(comm *c)
{
    status st = ST_OK;
    comm_request req = {0};
    comm_request go = {0};
    char word = 'x';
    bool done = false;

    if (comm_size(c) == 1 || comm_rank(c) > 1)
        return ST_OK;
    if (comm_rank(c) == 0) {
        TRY(comm_isend(c, &req, 1, 8, &word, 1, true));
        for (int i = 0; i < 100; i++) {
            TRY(comm_test(c, &req, &done));
            CHECK(!done);
            clock_sleep_us(100);
        }
        TRY(comm_isend(c, &go, 1, 9, NULL, 0, false));
        TRY(wait_for(c, &go));
        TRY(wait_for(c, &req));
        return ST_OK;
    }
    TRY(comm_irecv(c, &go, 0, 9, NULL, 0));
    TRY(wait_for(c, &go));
    TRY(comm_irecv(c, &req, 0, 8, &word, 1));
    TRY(wait_for(c, &req));
fail:
    return st;
}

static status
test_limits(comm *c)
{
    status st = ST_OK;
    comm_request req = {0};
    bool done = false;

    TRY(comm_test(c, &req, &done));
    CHECK(done);
    comm_piece_set(c, 8);
    CHECK(comm_isend(c, &req, 0, 1, "", 8 * COMM_MAX_PIECE + 1, false) ==
          ST_LIMIT);
    comm_piece_set(c, (size_t)1 << 30);
    /* A receive that nothing has matched can be taken back. */
    TRY(comm_irecv(c, &req, 0, 99, &done, 1));
    comm_cancel(c, &req);
    TRY(comm_test(c, &req, &done));
    CHECK(done);
fail:
    return st;
}

/* A long message is cut, so that no turn of MPI's takes long; a short one is
 * not, and neither into more pieces than a request has room for. */
static status
test_pieces(comm *c)
{
    static char room[2 * COMM_MAX_PIECE << 20]; /* nothing comes */
    static const struct {
        size_t len;
        uint32_t least, most;
    } row[] = {{0, 1, 1},
               {1000, 1, 1},
               {3 << 20, 3, 3},
               {sizeof room, 2, COMM_MAX_PIECE}};
    status st = ST_OK;

    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        comm_request req = {0};
        TRY(comm_irecv(c, &req, 0, 98, room, row[i].len));
        CHECK(req.n_piece >= row[i].least && req.n_piece <= row[i].most);
        comm_cancel(c, &req);
    }
fail:
    return st;
}

static status
all(comm *c)
{
    static const size_t lens[] = {0, 1, 1000, 65537, 3 << 20};
    status st = ST_OK;

    CHECK(comm_rank(c) < comm_size(c));
    CHECK(comm_local_size(c) == comm_size(c));
    CHECK(comm_local_rank(c) == comm_rank(c));
    /* What mpirun --with-ft ulfm sets; 4.1 refuses the flag. */
    CHECK(comm_survives(c) ==
          (secure_getenv("OMPI_MCA_mpi_ft_enable") != NULL));
    CHECK(!comm_has_lost(c));
    TRY(test_agree(c));
    TRY(test_same(c));
    if (comm_size(c) == 1)
        return ST_OK;
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        TRY(test_ring(c, lens[i], false));
        TRY(test_ring(c, lens[i], true));
    }
    comm_piece_set(c, 4099); /* pieces: the last one shorter, or just full */
    TRY(test_ring(c, (size_t)16 * 4099, false));
    TRY(test_ring(c, 4100, true));
    TRY(test_sync(c));
    TRY(test_limits(c));
    TRY(test_pieces(c));
fail:
    return st;
}

int
main(int argc, char **argv)
{
    comm *c = NULL;
    status st = comm_open(&c, &argc, &argv);
    if (st == ST_OK)
        st = comm_agree(c, all(c));
    if (st != ST_OK)
        fprintf(stderr, "%s: %s\n", status_name(st), status_text());
    comm_close(c);
    return st == ST_OK ? 0 : 1;
}
