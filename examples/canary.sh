#!/bin/sh
# Bring a new version into service: shadow, a growing canary, then all of the traffic.
#
#   sh canary.sh MODEL VERSION [SECONDS]
#
# SECONDS is the time to wait between two steps (default 1). In real service, wait for hours and look at the
# metrics in between: unpickled_shadow_rows_total says how often the versions agree. If a step fails, the
# script ends, and `unpickled models rollback MODEL` goes back.
set -eu

model=$1
version=$2
pause=${3:-1}

# Callers see nothing of this: both versions run, the one in service answers.
unpickled models promote "$model" "$((version - 1))"
unpickled models shadow "$model" "$version"
sleep "$pause"

for weight in 0.05 0.5; do
    unpickled models canary "$model" "$version" --weight "$weight"
    sleep "$pause"
done

unpickled models promote "$model" "$version"
