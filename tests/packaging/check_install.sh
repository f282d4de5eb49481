#!/bin/sh
# usage: check_install.sh pkg-config|cmake|meson BUILD_DIR SOURCE_DIR COMPILER…
# Installs the build into a fresh directory (which also moves it away from its prefix), builds outside.cpp against it,
# and runs that.
set -eu

way=$1
build=$2
source=$3
shift 3
outside=$source/tests/packaging/outside.cpp
net=$source/tests/packaging/outside_net.cpp
light=$source/tests/packaging/outside_light.cpp
log=$source/tests/packaging/outside_log.cpp
expected='outside: three processes by brood 0.1.0'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

# A run of the suite may have set these for itself.
unset DESTDIR LD_LIBRARY_PATH MESON_BUILD_ROOT MESON_SOURCE_ROOT PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR

say() { printf '== %s\n' "$*"; }

install_tree() {
  meson install -C "$build" --no-rebuild --quiet --destdir "$work/tree"
  pc=$(find "$work/tree" -name brood.pc)
  [ -f "$pc" ] || { echo "brood.pc is not installed"; find "$work/tree"; exit 1; }
  libdir=$(dirname "$(dirname "$pc")")
  prefix=$work/tree/usr/local
  [ -f "$prefix/include/brood/handle.hpp" ] || prefix=$(dirname "$(dirname "$(dirname "$(find "$work/tree" -name handle.hpp)")")")
}

# run PROGRAM: prints what is expected, and nothing else
run() {
  answer=$(LD_LIBRARY_PATH=${libdir:-} "$1") || { echo "$1 failed with $?"; exit 1; }
  [ "$answer" = "$expected" ] || { printf 'printed:  %s\nexpected: %s\n' "$answer" "$expected"; exit 1; }
  say "$1: $answer"
}

run_net() {
  answer=$(LD_LIBRARY_PATH=${libdir:-} "$1") || { echo "$1 failed with $?"; exit 1; }
  [ "$answer" = 'outside: 42 by way of a socket' ] || { echo "$1 printed: $answer"; exit 1; }
  say "$1: $answer"
}

# run_light LIBRARY COMPILER…: a program that is linked with it; of brood it needs nothing but what the library brings
run_light() {
  library=$1
  shift
  "$@" -std=c++20 -DOUTSIDE_PROGRAM "$light" -o "$work/light" "$library"
  answer=$(LD_LIBRARY_PATH=$libdir "$work/light") || { echo "$work/light with $library failed with $?"; exit 1; }
  [ "$answer" = 'outside: 42 by way of a light process' ] || { echo "$work/light printed: $answer"; exit 1; }
  say "$library: $answer"
}

run_log() {
  answer=$(LD_LIBRARY_PATH=${libdir:-} "$1") || { echo "$1 failed with $?"; exit 1; }
  [ "$answer" = 'outside: record 42 by a child' ] || { echo "$1 printed: $answer"; exit 1; }
  say "$1: $answer"
}

# needs PROGRAM LIBRARY: it is linked with the shared library (or, with !, is not)
linked() {
  if readelf -d "$1" | grep -q 'NEEDED.*libbrood\.so\.0'; then found=shared; else found=static; fi
  [ "$found" = "$2" ] || { echo "$1 is linked $found, not $2"; exit 1; }
  readelf -n "$1" | grep -q 'Build ID' || { echo "$1 has no build id"; exit 1; }
}

case "$way" in
  pkg-config)
    install_tree
    export PKG_CONFIG_PATH="$libdir/pkgconfig"
    say "pkg-config $(pkg-config --modversion brood): $(pkg-config --cflags --libs brood)"
    # shellcheck disable=SC2046  # words, not a path
    "$@" -std=c++20 "$outside" -o "$work/shared" $(pkg-config --cflags --libs brood)
    linked "$work/shared" shared
    run "$work/shared"
    # shellcheck disable=SC2046
    "$@" -std=c++20 "$outside" -o "$work/static" $(pkg-config --cflags brood) "$libdir/libbrood.a" \
      $(pkg-config --static --libs brood | tr ' ' '\n' | grep -vx -e -lbrood)
    linked "$work/static" static
    run "$work/static"
    # shellcheck disable=SC2046
    "$@" -std=c++20 -fPIC -shared "$light" -o "$work/light-shared.so" $(pkg-config --cflags --libs brood)
    linked "$work/light-shared.so" shared
    run_light "$work/light-shared.so" "$@" "-Wl,-rpath-link,$libdir"
    # shellcheck disable=SC2046
    "$@" -std=c++20 -fPIC -shared "$light" -o "$work/light-static.so" $(pkg-config --cflags brood) "$libdir/libbrood.a" \
      $(pkg-config --static --libs brood | tr ' ' '\n' | grep -vx -e -lbrood)
    linked "$work/light-static.so" static
    run_light "$work/light-static.so" "$@"
    if pkg-config --exists brood-net; then
      # shellcheck disable=SC2046
      "$@" -std=c++20 "$net" -o "$work/net" $(pkg-config --cflags --libs brood-net)
      linked "$work/net" shared
      run_net "$work/net"
    fi
    if pkg-config --exists brood-log; then
      # shellcheck disable=SC2046
      "$@" -std=c++20 "$log" -o "$work/log" $(pkg-config --cflags --libs brood-log)
      linked "$work/log" shared
      run_log "$work/log"
    fi
    ! readelf -d "$libdir/libbrood.so.0" | grep -q 'NEEDED.*libspdlog' || { echo "libbrood itself needs spdlog"; exit 1; }
    ! readelf -d "$libdir/libbrood.so.0" | grep -q 'NEEDED.*libssl' || { echo "libbrood itself needs OpenSSL"; exit 1; }
    pkg-config --libs brood-main | grep -q -e '-Wl,--wrap=main' || { echo "brood-main.pc does not wrap main"; exit 1; }
    ;;
  cmake)
    install_tree
    mkdir "$work/project"
    cp "$outside" "$net" "$log" "$work/project/"
    cat >"$work/project/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.18)
project(outside CXX)
find_package(brood 0.1 REQUIRED)
foreach(kind IN ITEMS brood static)
  add_executable(outside-${kind} outside.cpp)
  target_link_libraries(outside-${kind} PRIVATE brood::${kind})
endforeach()
if(TARGET brood::net)
  add_executable(outside-net outside_net.cpp)
  target_link_libraries(outside-net PRIVATE brood::net)
endif()
if(TARGET brood::log)
  add_executable(outside-log outside_log.cpp)
  target_link_libraries(outside-log PRIVATE brood::log)
endif()
get_target_property(options brood::main INTERFACE_LINK_OPTIONS)
if(NOT "-Wl,--wrap=main" IN_LIST options)
  message(FATAL_ERROR "brood::main does not wrap main: ${options}")
endif()
CMAKE
    # CXX of the suite's own compiler; without a launcher (ccache), which CMake takes elsewhere.
    for word in "$@"; do CXX=$word; done
    export CXX
    cmake -S "$work/project" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release
    cmake --build "$work/build"
    linked "$work/build/outside-brood" shared
    run "$work/build/outside-brood"
    linked "$work/build/outside-static" static
    run "$work/build/outside-static"
    [ ! -f "$work/build/outside-net" ] || run_net "$work/build/outside-net"
    [ ! -f "$work/build/outside-log" ] || run_log "$work/build/outside-log"
    # A version that may break its users is refused.
    sed -i 's/find_package(brood 0.1/find_package(brood 0.2/' "$work/project/CMakeLists.txt"
    if cmake -S "$work/project" -B "$work/other" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null 2>&1; then
      echo "find_package(brood 0.2) was satisfied"
      exit 1
    fi
    ;;
  meson)
    mkdir -p "$work/project/subprojects"
    cp "$outside" "$work/project/"
    ln -s "$source" "$work/project/subprojects/brood"
    printf '[wrap-file]\ndirectory = brood\n\n[provide]\ndependency_names = brood, brood-main\n' \
      >"$work/project/subprojects/brood.wrap"
    cat >"$work/project/meson.build" <<'MESON'
project('outside', 'cpp', default_options: ['cpp_std=c++20'])
executable('outside', 'outside.cpp', dependencies: dependency('brood'))
dependency('brood-main')
MESON
    CXX="$*" meson setup "$work/build" "$work/project" --wrap-mode=nodownload --force-fallback-for=brood,brood-main
    ninja -C "$work/build" outside
    linked "$work/build/outside" shared
    run "$work/build/outside"
    ;;
  *)
    echo "usage: check_install.sh pkg-config|cmake|meson BUILD_DIR SOURCE_DIR COMPILER…"
    exit 2
    ;;
esac
