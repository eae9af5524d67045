# Compiler settings that hold for every target of the project.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

option(WEIR_BUILD_TESTS "Build the tests" ON)
option(WEIR_BUILD_BENCH "Build the benchmarks" OFF)
option(WEIR_UNITY "Compile several sources of a module at once: quicker from nothing, slower after a change" OFF)
option(WEIR_BUILD_FUZZ "Build the libFuzzer targets (needs clang++)" OFF)
set(WEIR_SANITIZE "" CACHE STRING "Sanitizers for every target: address,undefined or thread")

if(WEIR_UNITY)
  set(CMAKE_UNITY_BUILD ON)
  set(CMAKE_UNITY_BUILD_BATCH_SIZE 8)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  # Without this ccache leaves sources with precompiled headers alone.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

add_library(weir_options INTERFACE)
target_compile_options(weir_options INTERFACE
  -Wall -Wextra -Wpedantic -Werror -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wimplicit-fallthrough)
# GCC 12 sees uninitialised values in std::expected at -O2 that are not there (GCC bugs 80635, 105562 and their kin).
target_compile_options(weir_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
# GCC 12's own std::stable_sort() calls std::get_temporary_buffer(), which it declares deprecated.
target_compile_options(weir_options INTERFACE $<$<CXX_COMPILER_ID:Clang>:-Wno-error=deprecated-declarations>)
target_include_directories(weir_options INTERFACE "${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}/include")
if(WEIR_UNITY)
  # There every source is an included file, whose types might be seen by several; they are not.
  target_compile_options(weir_options INTERFACE -Wno-subobject-linkage)
endif()
if(WEIR_SANITIZE)
  target_compile_options(weir_options INTERFACE -fsanitize=${WEIR_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(weir_options INTERFACE -fsanitize=${WEIR_SANITIZE})
endif()
