#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What mpirun starts a process of another host with: agent.sh HOST COMMAND.
# A host is a network namespace here; HOSTS has "ADDRESS=NAMESPACE ..." of all.
host=$1
shift
for pair in $HOSTS; do
    if [ "${pair%%=*}" = "$host" ]; then
        exec ip netns exec "${pair#*=}" sh -c "$*"
    fi
done
echo "agent.sh: no host $host" >&2
exit 1
