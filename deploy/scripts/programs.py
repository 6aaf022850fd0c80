#!/usr/bin/env python3
"""Runs test programs, as many at a time as there are cores, and prints the output of each when it has ended.

    cargo test --workspace --no-run --message-format=json-render-diagnostics | deploy/scripts/programs.py

`cargo test` runs one program after another, and most of them wait more than they compute. The fault run measures how starved the machine is,
so it runs alone, after the others. The exit status is 1 if a program failed.
"""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

ALONE = "chaos"
COMPILER = "backlot-compiler"
printing = threading.Lock()


def executables(messages):
    """The executables in the messages of cargo: the name, the folder of the package, the path, and whether it is a test program."""
    for message in map(json.loads, messages):
        if message["reason"] == "compiler-artifact" and message["executable"]:
            folder = pathlib.Path(message["manifest_path"]).parent
            yield message["target"]["name"], folder, message["executable"], message["profile"]["test"]


def run(program, compiler):
    """Whether the program succeeded. Its environment and folder are those that cargo gives it. Tests use the compiler of this build."""
    target, folder, executable, _ = program
    name = f"{folder.name} {target}"
    started = time.monotonic()
    environment = {"CARGO": shutil.which("cargo"), **os.environ, "CARGO_MANIFEST_DIR": str(folder), "BACKLOT_TEST_COMPILER": compiler}
    ended = subprocess.run(
        [executable], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    with printing:
        print(f"     Running {name} ({time.monotonic() - started:.0f} s)", flush=True)
        sys.stdout.buffer.write(ended.stdout)
        if ended.returncode:
            print(f"error: test failed: {name}, exit status {ended.returncode}")
        sys.stdout.flush()
    return ended.returncode == 0


def main():
    built = list(executables(sys.stdin))
    compiler = next((path for name, _, path, is_test in built if name == COMPILER and not is_test), "")
    tests = [executable for executable in built if executable[3]]
    if not (compiler and tests):
        sys.exit("error: the test programs could not be built")
    alone = [program for program in tests if program[1].name == ALONE]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as lanes:
        succeeded = list(lanes.map(lambda program: run(program, compiler), (program for program in tests if program not in alone)))
    succeeded += [run(program, compiler) for program in alone]
    sys.exit(not all(succeeded))


main()
