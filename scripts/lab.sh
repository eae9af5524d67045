# ./dev lab [NAME ...]: without a name the list of scenarios.
need_root
ensure build lab
build release weir
if [ $# -eq 0 ]; then exec ./build/release/weir lab list; fi
exec ./build/release/weir lab run "$@"
