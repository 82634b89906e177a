/* SPDX-License-Identifier: Apache-2.0 */
/* The ranks of an MPI launcher. */
#include "worker/comm.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/comm_impl.h"

enum {
    PIECE = 1 << 20,
    TAG_NONE = 32767 /* that nobody sends */
};

/* A failure as ranks pass it on. */
typedef struct failure {
    int32_t code;
    char text[512];
} failure;

_Static_assert(sizeof(MPI_Request) <= sizeof(void *),
               "a request handle fits in a piece of comm_request");

status
comm_mpi_status(int code, const char *call)
{
    if (code == MPI_SUCCESS)
        return ST_OK;
    char text[MPI_MAX_ERROR_STRING + 1] = "unknown error";
    int len = 0;
    if (MPI_Error_string(code, text, &len) != MPI_SUCCESS)
        len = 0;
    log_error("%s: %s", call, text);
    return status_fail(ST_MPI, "MPI failed: %s", text);
}

/* Launchers tell their processes that they are ranks.  Without one, starting
 * MPI would only cost time and open sockets. */
static bool
launched(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK",
                                        "PMI_RANK", "PMI_SIZE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (secure_getenv(names[i]) != NULL)
            return true;
    }
    return false;
}

static status
identify(MPI_Comm mpi, uint32_t *rank, uint32_t *size)
{
    status st = ST_OK;
    int r = 0;
    int n = 1;
    MPI_TRY(MPI_Comm_rank(mpi, &r));
    MPI_TRY(MPI_Comm_size(mpi, &n));
    *rank = (uint32_t)r;
    *size = (uint32_t)n;
fail:
    return st;
}

status
comm_mpi_settle_in(comm *c)
{
    status st = ST_OK;
    MPI_TRY(MPI_Comm_set_errhandler(c->world, MPI_ERRORS_RETURN));
    TRY(identify(c->world, &c->rank, &c->size));
    MPI_TRY(MPI_Comm_split_type(c->world, MPI_COMM_TYPE_SHARED, (int)c->rank,
                                MPI_INFO_NULL, &c->host));
    TRY(identify(c->host, &c->local_rank, &c->local_size));
fail:
    return st;
}

static bool
takes_device(void)
{
#ifdef MPIX_CUDA_AWARE_SUPPORT
    return MPIX_Query_cuda_support() == 1;
#else
    return false;
#endif
}

static status
start(comm *c, int *argc, char ***argv)
{
    status st = ST_OK;
    int provided = MPI_THREAD_SINGLE;
    MPI_TRY(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided));
    c->started = true;
    MPI_TRY(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    if (provided < MPI_THREAD_FUNNELED)
        return status_fail(ST_MPI, "this MPI does not allow other threads "
                                   "beside the one that calls it");
    MPI_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &c->world));
    TRY(comm_mpi_settle_in(c));
    c->takes_device = takes_device();
    TRY(comm_survive_find(c));
fail:
    return st;
}

static status
new_alone(comm **out)
{
    comm *c = NULL;
    status st = mem_new(&c, 1, sizeof *c);
    if (st != ST_OK)
        return st;
    c->world = MPI_COMM_NULL;
    c->host = MPI_COMM_NULL;
    c->size = 1;
    c->local_size = 1;
    c->piece = (size_t)1 << 30;
    *out = c;
    return ST_OK;
}

status
comm_open(comm **out, int *argc, char ***argv)
{
    comm *c = NULL;
    status st = ST_OK;

    TRY(new_alone(&c));
    if (launched())
        TRY(start(c, argc, argv));
    *out = c;
    return ST_OK;
fail:
    comm_close(c);
    return st;
}

status
comm_split(comm **out, comm *c, uint32_t group)
{
    comm *part = NULL;
    status st = ST_OK;

    TRY(new_alone(&part));
    part->piece = c->piece;
    part->takes_device = c->takes_device;
    if (c->world != MPI_COMM_NULL) {
        MPI_TRY(
            MPI_Comm_split(c->world, (int)group, (int)c->rank, &part->world));
        TRY(comm_mpi_settle_in(part));
    }
    *out = part;
    return ST_OK;
fail:
    comm_close(part);
    return st;
}

/* Waits for a collective without taking the core from ranks that still
 * work: loading weights lasts, and ranks may outnumber cores. */
static status
settle(MPI_Request *req)
{
    status st = ST_OK;
    int done = 0;
    uint32_t us = 20;
    for (;;) {
        MPI_TRY(MPI_Test(req, &done, MPI_STATUS_IGNORE));
        if (done)
            return ST_OK;
        clock_sleep_us(us);
        us = us < 1000 ? us + us / 2 : us;
    }
fail:
    return st;
}

/* Launchers take an end without MPI_Finalize for an orderly one where ranks may
 * die; but it must not come while others still need this rank. */
static void
leave(comm *c)
{
    MPI_Request req = MPI_REQUEST_NULL;

    if (MPI_Ibarrier(c->world, &req) == MPI_SUCCESS && settle(&req) != ST_OK)
        log_debug("the end was not waited for: %s", status_text());
    mem_free(c->open);
    mem_free(c);
}

void
comm_close(comm *c)
{
    if (c == NULL)
        return;
    if (c->survives)
        alarm(COMM_SURVIVE_S); /* a death now would be waited for */
    if (c->shrunk) {
        leave(c);
        return;
    }
    if (c->host != MPI_COMM_NULL)
        MPI_Comm_free(&c->host);
    if (c->world != MPI_COMM_NULL)
        MPI_Comm_free(&c->world);
    if (c->started)
        MPI_Finalize();
    mem_free(c->open);
    mem_free(c);
}

void
comm_abort(comm *c, int exit_status)
{
    if (c != NULL && (c->started || c->world != MPI_COMM_NULL))
        MPI_Abort(MPI_COMM_WORLD, exit_status);
    _exit(exit_status);
}

void
comm_piece_set(comm *c, size_t bytes)
{
    ASSERT(bytes > 0 && bytes <= (size_t)1 << 30);
    c->piece = bytes;
}

bool
comm_takes_device(const comm *c)
{
    return c->takes_device;
}

void
comm_takes_device_set(comm *c, bool takes)
{
    c->takes_device = takes;
}

uint32_t
comm_rank(const comm *c)
{
    return c->rank;
}

uint32_t
comm_size(const comm *c)
{
    return c->size;
}

uint32_t
comm_local_rank(const comm *c)
{
    return c->local_rank;
}

uint32_t
comm_local_size(const comm *c)
{
    return c->local_size;
}

/* -------------------------------------------------------- collectives --- */

/* The lowest rank for which `failed` holds; the number of ranks: none. */
static status
lowest(comm *c, bool failed, uint32_t *out)
{
    status st = ST_OK;
    MPI_Request req = MPI_REQUEST_NULL;
    int mine = (int)(failed ? c->rank : c->size);
    int least = mine;
    MPI_TRY(MPI_Iallreduce(&mine, &least, 1, MPI_INT, MPI_MIN, c->world, &req));
    TRY(settle(&req));
    *out = (uint32_t)least;
fail:
    return st;
}

static status
broadcast(comm *c, uint32_t root, void *data, size_t len)
{
    status st = ST_OK;
    MPI_Request req = MPI_REQUEST_NULL;
    ASSERT(len <= (size_t)1 << 30);
    MPI_TRY(MPI_Ibcast(data, (int)len, MPI_BYTE, (int)root, c->world, &req));
    TRY(settle(&req));
fail:
    return st;
}

status
comm_agree(comm *c, status mine)
{
    status st = ST_OK;
    uint32_t root = 0;
    failure f = {0};

    if (c->size == 1)
        return mine;
    TRY(lowest(c, mine != ST_OK, &root));
    if (root == c->size)
        return ST_OK;
    if (root == c->rank) {
        f.code = (int32_t)mine;
        strncpy(f.text, status_text(), sizeof f.text - 1);
    }
    TRY(broadcast(c, root, &f, sizeof f));
    if (root == c->rank)
        return mine;
    st = f.code > ST_OK && f.code < ST_COUNT ? (status)f.code : ST_MPI;
    f.text[sizeof f.text - 1] = 0;
    return status_fail(st, "%s", f.text);
fail:
    return st;
}

status
comm_same(comm *c, const char *what, const void *data, size_t len)
{
    status st = ST_OK;
    uint64_t lead_len = len;
    uint8_t *lead = NULL;

    if (c->size == 1)
        return ST_OK;
    TRY(broadcast(c, 0, &lead_len, sizeof lead_len));
    TRY(comm_agree(c, mem_new(&lead, (size_t)lead_len, 1)));
    if (c->rank == 0)
        memcpy(lead, data, len);
    TRY(broadcast(c, 0, lead, (size_t)lead_len));
    if (lead_len != len || memcmp(lead, data, len) != 0)
        st = status_fail(ST_ARG, "rank %u differs from rank 0 in its %s",
                         c->rank, what);
    st = comm_agree(c, st);
fail:
    mem_free(lead);
    return st;
}

status
comm_share(comm *c, void *data, size_t len)
{
    return c->size == 1 ? ST_OK : broadcast(c, 0, data, len);
}

/* ------------------------------------------------------ point to point --- */

/* What is under way is known where a death may leave it behind.  First there is
 * room: what has begun cannot be taken back. */
static status
make_room(comm *c, uint32_t n_piece)
{
    status st = ST_OK;
    size_t room = 2 * c->room + 64;

    if (!c->survives || c->room - c->n_open >= n_piece)
        return ST_OK;
    TRY(mem_resize(&c->open, room, sizeof *c->open));
    c->room = room;
fail:
    return st;
}

static void
remember(comm *c, MPI_Request mpi)
{
    if (c->survives)
        c->open[c->n_open++] = mpi;
}

static void
forget(comm *c, MPI_Request mpi)
{
    for (size_t i = c->n_open; i-- > 0;) {
        if (c->open[i] != mpi)
            continue;
        c->open[i] = c->open[--c->n_open];
        return;
    }
}

/* Bytes of the pieces of a message: small enough that no turn of MPI's takes
 * long, as far as there are pieces. */
static size_t
piece_bytes(const comm *c, size_t len)
{
    size_t small = PIECE < c->piece ? PIECE : c->piece;
    size_t least = (len + COMM_MAX_PIECE - 1) / COMM_MAX_PIECE;
    size_t each = small > least ? small : least;
    return each < c->piece ? each : c->piece;
}

/* Cuts len bytes into pieces; an empty message is one empty piece. */
static status
pieces(const comm *c, comm_request *req, size_t len)
{
    size_t n = len == 0 ? 1 : (len - 1) / piece_bytes(c, len) + 1;
    ASSERT(req->n_piece == 0);
    if (n > COMM_MAX_PIECE)
        return status_fail(ST_LIMIT, "a message of %zu bytes is too long", len);
    req->n_piece = (uint32_t)n;
    req->n_done = 0;
    return ST_OK;
}

static int
piece_len(const comm *c, size_t len, uint32_t i)
{
    size_t each = piece_bytes(c, len);
    size_t start = i * each;
    return (int)(len - start < each ? len - start : each);
}

status
comm_isend(comm *c, comm_request *req, uint32_t peer, int tag, const void *data,
           size_t len, bool sync)
{
    status st = ST_OK;
    size_t each = piece_bytes(c, len);
    TRY(make_room(c, COMM_MAX_PIECE));
    TRY(pieces(c, req, len));
    for (uint32_t i = 0; i < req->n_piece; i++) {
        const char *from = data == NULL ? NULL : (const char *)data + i * each;
        int n = piece_len(c, len, i);
        MPI_Request mpi = MPI_REQUEST_NULL;
        MPI_TRY((sync ? MPI_Issend : MPI_Isend)(from, n, MPI_BYTE, (int)peer,
                                                tag, c->world, &mpi));
        memcpy(&req->piece[i], &mpi, sizeof mpi);
        remember(c, mpi);
    }
fail:
    return st;
}

status
comm_irecv(comm *c, comm_request *req, uint32_t peer, int tag, void *data,
           size_t len)
{
    status st = ST_OK;
    size_t each = piece_bytes(c, len);
    TRY(make_room(c, COMM_MAX_PIECE));
    TRY(pieces(c, req, len));
    for (uint32_t i = 0; i < req->n_piece; i++) {
        char *to = data == NULL ? NULL : (char *)data + i * each;
        MPI_Request mpi = MPI_REQUEST_NULL;
        MPI_TRY(MPI_Irecv(to, piece_len(c, len, i), MPI_BYTE, (int)peer, tag,
                          c->world, &mpi));
        memcpy(&req->piece[i], &mpi, sizeof mpi);
        remember(c, mpi);
    }
fail:
    return st;
}

status
comm_test(comm *c, comm_request *req, bool *done)
{
    status st = ST_OK;

    if (c->given_up)
        req->n_piece = req->n_done = 0;
    while (req->n_done < req->n_piece) {
        MPI_Request mpi, before;
        int reached = 0, code;
        memcpy(&mpi, &req->piece[req->n_done], sizeof mpi);
        before = mpi;
        code = MPI_Test(&mpi, &reached, MPI_STATUS_IGNORE);
        memcpy(&req->piece[req->n_done], &mpi, sizeof mpi);
        if (mpi == MPI_REQUEST_NULL)
            forget(c, before); /* also when it has failed */
        TRY(comm_mpi_status(code, "MPI_Test"));
        if (!reached) {
            *done = false;
            return ST_OK;
        }
        req->n_done++;
    }
    req->n_piece = 0;
    req->n_done = 0;
    *done = true;
fail:
    return st;
}

void
comm_turn(comm *c)
{
    /* Open MPI looks at sockets in one of eight calls. */
    for (int i = 0; c->size > 1 && i < 8; i++) {
        int found = 0;
        if (MPI_Iprobe(MPI_ANY_SOURCE, TAG_NONE, c->world, &found,
                       MPI_STATUS_IGNORE) != MPI_SUCCESS)
            return; /* the next test says why */
    }
}

void
comm_cancel(comm *c, comm_request *req)
{
    for (uint32_t i = req->n_done; !c->given_up && i < req->n_piece; i++) {
        MPI_Request mpi;
        memcpy(&mpi, &req->piece[i], sizeof mpi);
        forget(c, mpi);
        if (MPI_Cancel(&mpi) == MPI_SUCCESS)
            MPI_Wait(&mpi, MPI_STATUS_IGNORE);
    }
    req->n_piece = 0;
    req->n_done = 0;
}
