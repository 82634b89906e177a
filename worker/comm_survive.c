/* SPDX-License-Identifier: Apache-2.0 */
/* After a rank's death, with an MPI that has the extensions for it (ULFM). */
#include "worker/comm_survive.h"

#include <unistd.h>

#include "base/clock.h"
#include "worker/comm_impl.h"

/* A build that can is not enough: mpirun must have been told, too. */
static bool
told_to_survive(void)
{
    union {
        unsigned char bytes[64];
        uint64_t word[8];
    } value = {0};
    MPI_T_cvar_handle handle;
    int provided, index, count = 0;
    bool on = false;

    if (MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) != MPI_SUCCESS)
        return false;
    if (MPI_T_cvar_get_index("mpi_ft_enable", &index) == MPI_SUCCESS &&
        MPI_T_cvar_handle_alloc(index, NULL, &handle, &count) == MPI_SUCCESS) {
        on = count == 1 && MPI_T_cvar_read(handle, &value) == MPI_SUCCESS &&
             value.word[0] != 0;
        (void)MPI_T_cvar_handle_free(&handle);
    }
    (void)MPI_T_finalize();
    return on;
}

/* All or none: a host may have settings of its own. */
status
comm_survive_find(comm *c)
{
    status st = ST_OK;
    int mine = told_to_survive(), all = 0;

    MPI_TRY(MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, c->world));
    c->survives = all != 0;
fail:
    return st;
}

bool
comm_survives(const comm *c)
{
    return c->survives;
}

bool
comm_has_lost(comm *c)
{
    MPI_Group dead;
    int revoked = 0, n = 0;

    if (!c->survives)
        return false;
    if (MPIX_Comm_is_revoked(c->world, &revoked) == MPI_SUCCESS && revoked)
        return true;
    if (MPIX_Comm_get_failed(c->world, &dead) != MPI_SUCCESS)
        return false;
    (void)MPI_Group_size(dead, &n);
    (void)MPI_Group_free(&dead);
    return n > 0;
}

/* What was under way ends with an error, or well, but it ends. */
status
comm_give_up(comm *c)
{
    status st = ST_OK;

    (void)alarm(COMM_SURVIVE_S);
    MPI_TRY(MPIX_Comm_revoke(c->world));
    while (c->n_open > 0) {
        MPI_Request *last = &c->open[c->n_open - 1];
        int done = 0;

        (void)MPI_Test(last, &done, MPI_STATUS_IGNORE);
        if (*last == MPI_REQUEST_NULL)
            c->n_open--;
        else
            clock_sleep_us(100);
    }
    c->given_up = true;
fail:
    return st;
}

/* The old ones are not freed: that would be waited for by the dead. */
status
comm_shrink(comm *c)
{
    status st = ST_OK;
    MPI_Comm left = MPI_COMM_NULL;

    MPI_TRY(MPIX_Comm_shrink(c->world, &left));
    c->shrunk = true;
    c->world = left;
    TRY(comm_mpi_settle_in(c));
    c->given_up = false;
    (void)alarm(0);
fail:
    return st;
}
