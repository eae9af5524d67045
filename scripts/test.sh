# ./dev test: everything; ./dev test CTEST-ARGS: only what ctest selects, without lint and sanitizers.
. "$WEIR_ROOT/scripts/leaks.sh"
. "$WEIR_ROOT/scripts/lint.sh"
started=$SECONDS
failures=()

if [ $# -gt 0 ]; then ensure build lab test; else ensure build lab test lint; fi
configure release
rm -rf build/results
mkdir -p build/results
leaks_snapshot >build/results/before.txt

# run_tests NAME BUILD-FOLDER CTEST-ARGS...: GoogleTest leaves its cases in build/results/NAME/, ctest its own verdicts beside.
run_tests() {
  local name=$1 folder=$2
  shift 2
  mkdir -p "build/results/$name"
  say "testing: $name"
  GTEST_OUTPUT="xml:$WEIR_ROOT/build/results/$name/" ctest --test-dir "$folder" --output-on-failure --no-tests=ignore \
    --output-junit "$WEIR_ROOT/build/results/$name.ctest.xml" "$@" </dev/null || failures+=("tests: $name")
}

if [ $# -gt 0 ]; then
  build release
  run_tests selected build/release "$@"
else
  lint_fast || failures+=("lint")
  build release
  run_tests unit build/release -L unit -j "$JOBS"
  # Tests with traffic are timed by the kernel's clock: two at a time share two cores, those marked serial run alone.
  run_tests system build/release -LE 'unit|vm' -j 2
  configure asan
  build asan unit_tests
  run_tests unit-sanitized build/asan -L unit -j "$JOBS"
  lint_tidy || failures+=("clang-tidy")
fi

say "looking for what was left behind"
if leaks=$(leaks_since build/results/before.txt); then
  leaked=0
else
  leaked=1
  failures+=("left behind on this host")
  printf '%s\n' "$leaks" | sed 's/^/   /'
fi

say "done in $((SECONDS - started)) s"
for failure in ${failures[@]+"${failures[@]}"}; do echo "FAILED: $failure"; done
# Its last line is the count of all cases; the check above is one of them.
python3 scripts/summary.py build/results --extra-passed $((1 - leaked)) --extra-failed $leaked || failures+=("cases")
[ ${#failures[@]} -eq 0 ]
