# ./dev bench [NAME [ARGS...]]: every program in build/release/bench is a benchmark.
need_root
ensure build lab bench
build release
mapfile -t programs < <(find build/release/bench -maxdepth 1 -type f -executable -printf '%f\n' 2>/dev/null | sort)
if [ $# -gt 0 ]; then
  name=$1
  shift
  if [ ! -x "build/release/bench/$name" ]; then
    warn "no benchmark '$name' (there are: ${programs[*]:-none})"
    exit 2
  fi
  say "bench $name"
  exec "build/release/bench/$name" "$@"
fi
for name in "${programs[@]}"; do
  say "bench $name"
  "build/release/bench/$name"
done
