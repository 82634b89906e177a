#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What mpirun starts a process of another host with: agent.sh HOST COMMAND.
# A host is a network namespace here; HOSTS has "ADDRESS=NAMESPACE ..." of all.
# It has a name of its own, by which Open MPI 5 tells hosts apart.
host=$1
shift
for pair in $HOSTS; do
    if [ "${pair%%=*}" = "$host" ]; then
        name=${pair#*=}
        exec ip netns exec "$name" unshare --uts sh -c "hostname $name; $*"
    fi
done
echo "agent.sh: no host $host" >&2
exit 1
