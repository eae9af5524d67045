# bpf_object(NAME SOURCE): compiles SOURCE.bpf.c for the BPF target and makes an INTERFACE library `NAME_skel` with the
# header NAME.skel.h. clang writes a dependency file, so a changed ABI header rebuilds object, skeleton and C++.
find_program(BPF_CLANG NAMES clang-19 clang-14 clang REQUIRED)
find_program(BPF_STRIP NAMES llvm-strip-19 llvm-strip-14 llvm-strip)
find_program(BPFTOOL bpftool PATHS /usr/sbin /sbin REQUIRED)

function(bpf_object NAME SOURCE)
  get_filename_component(src "${SOURCE}" ABSOLUTE)
  set(dir "${CMAKE_BINARY_DIR}/bpf/${NAME}")
  file(MAKE_DIRECTORY "${dir}")
  set(obj "${dir}/${NAME}.bpf.o")
  set(skel "${dir}/${NAME}.skel.h")
  # -mcpu=v3: 32-bit registers and atomics, in every kernel since 5.12, as the 5.15 floor has.
  add_custom_command(OUTPUT "${obj}"
    COMMAND "${BPF_CLANG}" -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall -Wextra -Werror
            -Wno-unused-parameter -Wno-missing-declarations -std=gnu11
            -I "${CMAKE_SOURCE_DIR}/src" -I "${CMAKE_SOURCE_DIR}/src/bpf/include"
            -isystem "/usr/include/${CMAKE_LIBRARY_ARCHITECTURE}"
            -MD -MF "${obj}.d" -MT "${obj}" -c "${src}" -o "${obj}"
    DEPENDS "${src}" DEPFILE "${obj}.d"
    COMMENT "BPF ${NAME}" VERBATIM)
  add_custom_command(OUTPUT "${skel}"
    COMMAND sh -c "'${BPFTOOL}' gen skeleton '${obj}' name ${NAME} > '${skel}.tmp' && mv '${skel}.tmp' '${skel}'"
    DEPENDS "${obj}" COMMENT "skeleton ${NAME}" VERBATIM)
  add_custom_target(${NAME}_skel_gen DEPENDS "${skel}")
  add_library(${NAME}_skel INTERFACE)
  add_dependencies(${NAME}_skel ${NAME}_skel_gen)
  # SYSTEM: bpftool's code is not held to our warnings.
  target_include_directories(${NAME}_skel SYSTEM INTERFACE "${dir}")
  target_link_libraries(${NAME}_skel INTERFACE PkgConfig::LIBBPF)
endfunction()
