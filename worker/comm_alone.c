/* SPDX-License-Identifier: Apache-2.0 */
/* One rank without MPI: what builds without it have in place of comm_mpi.c. */
#include "worker/comm.h"

#include <unistd.h>

#include "base/mem.h"

struct comm {
    uint32_t size;
};

status
comm_open(comm **out, int *argc, char ***argv)
{
    comm *c = NULL;
    status st = ST_OK;
    (void)argc;
    (void)argv;
    TRY(mem_new(&c, 1, sizeof *c));
    c->size = 1;
    *out = c;
fail:
    return st;
}

status
comm_split(comm **out, comm *c, uint32_t group)
{
    (void)c;
    (void)group;
    return comm_open(out, NULL, NULL);
}

void
comm_close(comm *c)
{
    mem_free(c);
}

void
comm_abort(comm *c, int exit_status)
{
    (void)c;
    _exit(exit_status);
}

void
comm_piece_set(comm *c, size_t bytes)
{
    (void)c;
    (void)bytes;
}

bool
comm_takes_device(const comm *c)
{
    (void)c;
    return false;
}

void
comm_takes_device_set(comm *c, bool takes)
{
    (void)c;
    (void)takes;
}

uint32_t
comm_rank(const comm *c)
{
    (void)c;
    return 0;
}

uint32_t
comm_size(const comm *c)
{
    return c->size;
}

uint32_t
comm_local_rank(const comm *c)
{
    (void)c;
    return 0;
}

uint32_t
comm_local_size(const comm *c)
{
    return c->size;
}

status
comm_agree(comm *c, status st)
{
    (void)c;
    return st;
}

status
comm_same(comm *c, const char *what, const void *data, size_t len)
{
    (void)c;
    (void)what;
    (void)data;
    (void)len;
    return ST_OK;
}

status
comm_share(comm *c, void *data, size_t len)
{
    (void)c;
    (void)data;
    (void)len;
    return ST_OK;
}

static status
nobody(void)
{
    return status_fail(ST_MPI, "there is no other rank to talk to");
}

status
comm_isend(comm *c, comm_request *req, uint32_t peer, int tag, const void *data,
           size_t len, bool sync)
{
    (void)c;
    (void)req;
    (void)peer;
    (void)tag;
    (void)data;
    (void)len;
    (void)sync;
    return nobody();
}

status
comm_irecv(comm *c, comm_request *req, uint32_t peer, int tag, void *data,
           size_t len)
{
    (void)c;
    (void)req;
    (void)peer;
    (void)tag;
    (void)data;
    (void)len;
    return nobody();
}

status
comm_test(comm *c, comm_request *req, bool *done)
{
    (void)c;
    (void)req;
    *done = true;
    return ST_OK;
}

void
comm_cancel(comm *c, comm_request *req)
{
    (void)c;
    (void)req;
}

void
comm_turn(comm *c)
{
    (void)c;
}
