# ./dev run: this host's verdict, from a fresh clone.
need_root
ensure build
build release weir
say "weir doctor --for 10s ($(uname -n), Linux $(uname -r))"
exec ./build/release/weir doctor --for 10s "$@"
