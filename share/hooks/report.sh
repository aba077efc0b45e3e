#!/bin/sh
# After the engine: says how it ended and what it left.
echo "job ${JOB_ID:-?}: ${JOB_STATUS:-?}, status ${JOB_EXIT_CODE:-?}"
find . -maxdepth 2 -not -path './.git*' -type f | head -50
