# ./dev build [PRESET]
preset=${1:-dev}
case $preset in
  dev | release | asan | tsan) ;;
  *)
    warn "unknown preset '$preset' (dev, release, asan, tsan)"
    exit 2
    ;;
esac
ensure build test
build "$preset"
