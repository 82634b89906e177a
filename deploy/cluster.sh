#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A daemon on this host and one world over the hosts of a hostfile.
#
# usage: cluster.sh MODEL HOSTFILE [-n RANKS] [-t THREADS] [-i NETWORK]
#                   [FLAGS OF LONGWAVED]
#   RANKS    0 or left out: every slot of the hostfile
#   THREADS  of a rank; left out: its share of the cores
#   NETWORK  that MPI uses where hosts have several, as 10.0.0.0/24
#
# MODEL is read by every rank from the same path.  Ranks of other hosts are
# started through ssh, as mpirun does it.  Ends with the daemon; exit status 2
# and one sentence when the hosts have not room for the ranks, or a flag of
# these cannot be used.
set -eu

refuse() {
    echo "cluster.sh: $1" >&2
    exit 2
}

case ${1-} in
-h | --help)
    sed -n '3,14s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
[ $# -ge 2 ] || refuse "usage: cluster.sh MODEL HOSTFILE [-n RANKS] [-t THREADS] [-i NETWORK] [FLAGS]"
model=$1
hosts=$2
shift 2
ranks=0
threads=
network=
while [ $# -gt 0 ]; do
    case $1 in
    -n | -t | -i) [ $# -gt 1 ] || refuse "$1 needs a value" ;;
    esac
    case $1 in
    -n) ranks=$2 ;;
    -t) threads=$2 ;;
    -i) network=$2 ;;
    *) break ;; # the rest is the daemon's
    esac
    [ -n "$2" ] || refuse "$1 needs a value"
    shift 2
done

# All of it stands on a command line of the shell: what a worker or mpirun would
# not take is refused here, where nothing has started.
case $ranks in
*[!0-9]* | ???????*) refuse "\"$ranks\" is no number of ranks" ;;
esac
case $threads in
*[!0-9]* | ?????*) refuse "\"$threads\" is no number of threads" ;;
esac
[ "${threads:-0}" -le 1024 ] || refuse "a rank has at most 1024 threads"
case $network in
*[!A-Za-z0-9.:/,_-]* | -*) refuse "\"$network\" is no network" ;;
esac
case $model$hosts in
*"'"*) refuse "a path with ' in it cannot be handed on" ;;
esac
[ -r "$hosts" ] && [ ! -d "$hosts" ] || refuse "there is no hostfile $hosts"
[ -r "$model/config.json" ] || refuse "there is no model in $model"
# A host without slots= has one.
slots=$(sed 's/#.*//; s/ *= */=/g' "$hosts" | awk 'NF {
    n = 1
    for (i = 2; i <= NF; i++) if ($i ~ /^slots=[0-9]+$/) n = substr($i, 7)
    sum += n } END { print sum + 0 }')
[ "$ranks" -gt 0 ] || ranks=$slots
[ "$slots" -gt 0 ] || refuse "$hosts names no host"
[ "$ranks" -le "$slots" ] ||
    refuse "$hosts has $slots slots, $ranks ranks were asked for"

mpi="--hostfile '$hosts' -n $ranks --bind-to none"
if [ -n "$network" ]; then
    mpi="$mpi --mca btl_tcp_if_include $network --mca oob_tcp_if_include $network"
fi
exec longwaved --model "$model" \
    --launch "exec mpirun $mpi longwave-worker --model '$model' ${threads:+--threads $threads}" "$@"
