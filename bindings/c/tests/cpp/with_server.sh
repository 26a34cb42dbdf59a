#!/bin/bash
# with_server.sh PROGRAM [ARGUMENTS]: runs a test with a server of its own. STYX_BIN is the server.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../install/server.sh
. "$here/../install/server.sh"
work=$(mktemp -d)
trap 'stop_server; rm -rf "$work"' EXIT
start_server "$work"
"$@"
