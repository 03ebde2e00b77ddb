#!/usr/bin/env bash
# Run a command where this machine is a SLURM cluster of one node: authentication, controller and daemon are started for
# it and end with it. They live in namespaces of their own, so that neither /etc/slurm nor any process is left behind.
# usage: slurm.sh FOLDER COMMAND...   (logs and state go to FOLDER; needs root and Debian's slurm-wlm and munge)
set -euo pipefail
if [ "${1:?usage: slurm.sh FOLDER COMMAND...}" != --inside ]; then
  mkdir -p "$1/etc" "$1/state" "$1/spool"
  exec unshare --mount --pid --fork --kill-child --mount-proc "$0" --inside "$@"
fi
shift
folder=$(realpath "$1")
shift
export PATH="$PATH:/usr/sbin"

head -c 1024 /dev/urandom >"$folder/munge.key"
chmod 600 "$folder/munge.key"
cat >"$folder/etc/slurm.conf" <<END
ClusterName=one_machine
SlurmctldHost=$(hostname -s)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
SlurmctldPort=26817
SlurmdPort=26818
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=1,sched_interval=5
MinJobAge=600
NodeName=$(hostname -s) CPUs=$(nproc) RealMemory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
mount --bind "$folder/etc" /etc/slurm
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
  --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
slurmctld -c
slurmd -c
for _ in $(seq 60); do
  if sinfo --noheader --format=%t | grep -q idle; then
    "$@"
    exit
  fi
  sleep 1
done
echo "SLURM has no idle node: see the logs in $folder" >&2
exit 1
