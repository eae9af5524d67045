#!/bin/sh
# run_cases.sh KERNEL WEIR NETNS-LIBRARY-TESTS TRACE-FILTER-TESTS TRACE-FUNCTIONS-TESTS: the cases inside that kernel; skipped (77) unless WEIR_VM_KERNELS names it.
case " ${WEIR_VM_KERNELS:-} " in
  *" $1 "*) exec "$(dirname "$0")/../../dev" vm "$1" -- python3 tests/vm/cases.py "$1" "$2" "$3" "$4" "$5" ;;
esac
echo "skipped: needs qemu and some minutes; to run it: WEIR_VM_KERNELS=\"6.1 6.12\" ./dev test -L vm"
exit 77
