#!/bin/sh
# Bring a new version into service: shadow, a growing canary, then all of the traffic.
#
#   sh canary.sh MODEL OLD NEW [SECONDS]
#
# SECONDS is the time to wait between two steps (default 1). In real service, wait for hours and look at the
# metrics in between: unpickled_shadow_rows_total says how often the versions agree. If a step fails, the
# script ends, and `unpickled models rollback MODEL` undoes the step before.
set -eu

if [ $# -lt 3 ]; then
    echo "usage: sh canary.sh MODEL OLD NEW [SECONDS], for example: sh canary.sh churn 1 2" >&2
    exit 2
fi
model=$1
old=$2
new=$3
pause=${4:-1}

# Callers notice nothing: both versions run, and the old one answers.
unpickled models promote "$model" "$old"
unpickled models shadow "$model" "$new"
sleep "$pause"

for weight in 0.05 0.5; do
    unpickled models canary "$model" "$new" --weight "$weight"
    sleep "$pause"
done

unpickled models promote "$model" "$new"
