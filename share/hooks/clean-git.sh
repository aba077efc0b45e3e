#!/bin/sh
# Before the engine: leaves no file in the working directory that git does not know.
set -eu
if [ -d .git ]; then
    git clean -fdq
    git status --short
fi
