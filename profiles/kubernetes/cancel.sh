#!/usr/bin/env bash
# Delete jobs, their pods with them, and wait for none.
exec kubectl delete job --wait=false "$@"
