"""`python -I -S launch.py STDOUT STDERR COMMAND …`: run a command and print what it took, as JSON.

The memory that a process is told to have needed is never less than that of the process which started it, so a
small one has to. The time is from before the command's start to after its end.
"""

import os
import signal
import sys
import time

# Longer than any of them takes on a slow machine.
_LONGEST_SECONDS = 900
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def main() -> None:
    stdout, stderr, *command = sys.argv[1:]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, stdout, _NEW_FILE, 0o644),
        (os.POSIX_SPAWN_OPEN, 2, stderr, _NEW_FILE, 0o644),
    ]
    begun = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    signal.signal(signal.SIGALRM, lambda _number, _frame: os.kill(child, signal.SIGKILL))
    signal.alarm(_LONGEST_SECONDS)
    _, status, used = os.wait4(child, 0)
    seconds = time.perf_counter() - begun
    # Linux counts it in kB, macOS in bytes.
    peak_bytes = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    code = os.waitstatus_to_exitcode(status)
    print(f'{{"wall_seconds": {seconds:.6f}, "peak_bytes": {peak_bytes}, "exit_code": {code}}}')


if __name__ == "__main__":
    main()
