# shellcheck shell=bash
# Sourced by the tests that start systemd or containers: a control group of their own, so that they
# neither see nor change those of this machine. The caller must be in a mount name space of its own.

# Puts the script into a new control group, and mounts all groups at $1.
enter_group() {
    groups=$1
    mkdir -p "$groups"
    mount -t cgroup2 groups "$groups"
    group=$groups/styx-test-$$-$RANDOM
    mkdir "$group"
    echo $$ > "$group/cgroup.procs"
}

# Ends every process in the group, and removes it.
leave_group() {
    echo $$ > "$groups/cgroup.procs"
    echo 1 > "$group/cgroup.kill"
    wait 2> /dev/null || true
    for _ in $(seq 200); do
        ! find "$group" -depth -type d -exec rmdir {} + 2> /dev/null || return 0
        sleep 0.05
    done
    echo "the control group $group still has processes"
}
