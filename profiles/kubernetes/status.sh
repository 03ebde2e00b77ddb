#!/usr/bin/env bash
# The status of a job as Snakemake wants it: running, success or failed. A job that is gone has failed; if the cluster does
# not answer, it is taken to be running still.
found=$(kubectl get job "${1:?usage: status.sh JOB}" --ignore-not-found \
  -o 'jsonpath={.metadata.name} {.status.conditions[*].type}') || { echo running; exit; }
case "$found " in
  " ") echo failed ;;
  *" Complete "*) echo success ;;
  *" Failed "*) echo failed ;;
  *) echo running ;;
esac
