# Sourced by demo and test: the way to a build, with progress.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

say() { printf '%s\n' "$*"; }

# Configures a preset once and builds targets of it (all where none is named).
build() {
  local preset=$1
  shift
  local folder=$root/build/$preset
  say "build: configuring preset $preset"
  (cd "$root" && cmake --preset "$preset" >"/tmp/weft-configure-$$.log" 2>&1) || {
    cat "/tmp/weft-configure-$$.log" >&2
    rm -f "/tmp/weft-configure-$$.log"
    return 1
  }
  rm -f "/tmp/weft-configure-$$.log"
  say "build: compiling into build/$preset (the first time takes several minutes)"
  local began=$SECONDS
  # One line that counts up on a terminal, a line for every step in a log.
  NINJA_STATUS='build: %f of %t, %es  ' ninja -C "$folder" "$@"
  say "build: done in $((SECONDS - began)) s"
}
