# ./dev lint [--fast]: formatting, layers, style rules; then clang-tidy, whose clean verdicts are kept by content.
lint_fast() {
  local failed=0
  say "lint: formatting (clang-format 14)"
  python3 tools/sources.py --null | xargs -0 -r -n 64 -P "$JOBS" clang-format-14 --dry-run --Werror || failed=1
  say "lint: layers and style rules"
  python3 tools/check_layers.py --modules build/release/modules.txt || failed=1
  python3 tools/check_style.py || failed=1
  return $failed
}

lint_tidy() {
  say "lint: clang-tidy 19"
  python3 tools/tidy.py --build build/release --jobs "$JOBS"
}

if [ "$command" = lint ]; then
  ensure build test lint
  configure release
  status=0
  lint_fast || status=1
  if [ "${1:-}" != --fast ]; then
    build release
    lint_tidy || status=1
  fi
  [ "$status" = 0 ] || die "lint found something"
  say "lint is clean"
fi
