# Toolchain file: zig as the cross compiler, from the Python package `ziglang`, with the C library of any Linux target inside.
#   cmake -S kernels -B build/rpi -DCMAKE_TOOLCHAIN_FILE=kernels/cmake/zig.cmake -DQIG_ZIG_TARGET=aarch64-linux-musl -DQIG_STATIC=ON
# QIG_ZIG_TARGET: <machine>-linux-musl, or <machine>-linux-gnu.<oldest glibc>.   QIG_PYTHON: an interpreter that has ziglang.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES QIG_ZIG_TARGET QIG_PYTHON)
if(NOT QIG_ZIG_TARGET)
    message(FATAL_ERROR "name the target: -DQIG_ZIG_TARGET=aarch64-linux-musl")
endif()
if(NOT QIG_PYTHON)
    set(QIG_PYTHON python3)
endif()
execute_process(
    COMMAND ${QIG_PYTHON} -c "import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), 'zig'), end='')"
    OUTPUT_VARIABLE QIG_ZIG RESULT_VARIABLE QIG_ZIG_MISSING ERROR_QUIET)
if(QIG_ZIG_MISSING)
    message(FATAL_ERROR "${QIG_PYTHON} has no ziglang: pip install ziglang, or name another interpreter by -DQIG_PYTHON=")
endif()

string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${QIG_ZIG_TARGET}")
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_C_COMPILER ${QIG_ZIG} cc -target ${QIG_ZIG_TARGET})
# The archiver is a subcommand too, and CMAKE_AR holds one program and no arguments.
set(CMAKE_AR ${QIG_ZIG})
set(CMAKE_RANLIB ${QIG_ZIG})
set(CMAKE_C_ARCHIVE_CREATE "<CMAKE_AR> ar qc <TARGET> <LINK_FLAGS> <OBJECTS>")
set(CMAKE_C_ARCHIVE_APPEND "<CMAKE_AR> ar q <TARGET> <LINK_FLAGS> <OBJECTS>")
set(CMAKE_C_ARCHIVE_FINISH "<CMAKE_RANLIB> ranlib <TARGET>")
# Stripped by the linker: the host's strip does not know the other machine's files.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-s")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-s")
