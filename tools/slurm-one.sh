#!/usr/bin/env bash
# A real SLURM with one node on this machine's loopback, for tests: tools/slurm-one.sh install|up|down. Needs Debian and root, not systemd.
#
# There is no accounting database: squeue shows the jobs, and FOLDER/jobs.txt gets a line for each finished job.
# FOLDER is SLURM_TEST_DIR. `down` ends the daemons that `up` started, by their process ids, and removes the settings that `up` wrote.
set -euo pipefail
folder=${SLURM_TEST_DIR:-${TMPDIR:-/tmp}/cardproof-slurm}
settings=/etc/slurm/slurm.conf

fail() {
    echo "cardproof: error: $1" >&2
    echo "Hint: $2" >&2
    exit 2
}

running() { [ -s "$folder/$1.pid" ] && kill -0 "$(cat "$folder/$1.pid")" 2> /dev/null; }

install() {
    if command -v slurmctld slurmd munged > /dev/null; then return; fi
    command -v apt-get > /dev/null || fail "SLURM is not installed, and this machine has no apt-get." "install slurmctld, slurmd and munge."
    [ "$(id -u)" = 0 ] || fail "Installing SLURM needs root." "run it as root."
    timeout 300 apt-get -q -o DPkg::Lock::Timeout=120 update
    DEBIAN_FRONTEND=noninteractive timeout 600 apt-get -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends slurm-wlm munge
}

up() {
    [ "$(id -u)" = 0 ] || fail "Starting SLURM's daemons needs root." "run it as root."
    if [ -e $settings ] && [ "$(readlink $settings)" != "$folder/slurm.conf" ]; then
        fail "There is a SLURM on this machine already ($settings)." "use it with profiles/slurm; this script is for machines without one."
    fi
    rm -rf "$folder"
    mkdir -p "$folder"/{munge,state,spool,log} /run/munge /etc/slurm
    chmod 755 "$folder" /run/munge
    chmod 700 "$folder/munge"
    head -c 1024 /dev/urandom > "$folder/munge/munge.key"
    chmod 400 "$folder/munge/munge.key"
    local host memory
    host=$(hostname -s)
    memory=$(awk '/MemTotal/ { print int($2 / 1024) - 512 }' /proc/meminfo)
    cat > "$folder/slurm.conf" << END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=${SLURM_TEST_PORT:-16917}
SlurmdPort=$((${SLURM_TEST_PORT:-16917} + 1))
AuthType=auth/munge
CryptoType=crypto/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
PropagateResourceLimits=NONE
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
# Finished jobs stay in squeue's list during the whole test.
MinJobAge=3600
KillWait=5
Waittime=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/jobs.txt
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 Gres=gpu:2 CPUs=$(nproc --all) RealMemory=$memory State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
    # Two GPUs that are only names (each is another /dev/null): SLURM counts them, and gives jobs their numbers in CUDA_VISIBLE_DEVICES.
    local number
    for number in 0 1; do mknod "$folder/nvidia$number" c 1 3; done
    echo "Name=gpu File=$folder/nvidia[0-1]" > "$folder/gres.conf"
    # In its usual place, because the plugin's job step drops SLURM_CONF.
    ln -sfn "$folder/slurm.conf" $settings
    ln -sfn "$folder/gres.conf" /etc/slurm/gres.conf
    munged --force --key-file="$folder/munge/munge.key" --socket=/run/munge/munge.socket.2 \
        --pid-file="$folder/munged.pid" --log-file="$folder/log/munged.log" --seed-file="$folder/munge/seed"
    slurmctld -c
    slurmd
    for _ in $(seq 480); do
        if [ "$(timeout 5 sinfo -h -o %T 2> /dev/null | head -n 1)" = idle ]; then
            echo "SLURM is up: $(sinfo -h -o 'partition %P, %D node, %c CPUs, %m MB')"
            return
        fi
        sleep 0.25
    done
    tail -n 20 "$folder"/log/*.log >&2
    down
    fail "SLURM did not come up within 2 minutes." "its logs are above."
}

down() {
    local daemon
    for daemon in slurmd slurmctld munged; do
        if running $daemon; then kill "$(cat "$folder/$daemon.pid")" || true; fi
    done
    for _ in $(seq 60); do
        if ! running slurmd && ! running slurmctld && ! running munged; then break; fi
        sleep 0.25
    done
    for daemon in slurmd slurmctld munged; do
        if running $daemon; then kill -9 "$(cat "$folder/$daemon.pid")" || true; fi
    done
    # If it stayed, every start of Snakemake would wait for a SLURM that has ended.
    if [ "$(readlink $settings)" = "$folder/slurm.conf" ]; then rm -f $settings /etc/slurm/gres.conf; fi
}

case ${1:-} in
    install | up | down) "$1" ;;
    *) fail "usage: tools/slurm-one.sh install|up|down" "tools/slurm-one.sh up" ;;
esac
