"""The server's end of a describing child: a plugin is asked about itself without being imported here."""

from __future__ import annotations

import select
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from synapse_core.decoding import decoded
from synapse_core.describe import Answer, Query
from synapse_core.environment import passed_environment
from synapse_core.errors import PluginLoadError

# Importing a large framework for the first time can take this long.
ANSWER_SECONDS = 60.0


class PluginChild:
    """One child interpreter that holds one state of one plugin's code. Questions are asked one at a time.

    askers: how many are asking or waiting to; its owner counts them, and closes no child that has any.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the child
        self.used = time.monotonic()
        self.askers = 0
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "synapse_core.describe", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env=passed_environment(),
            start_new_session=True,
        )

    def ask(self, query: Query) -> Answer:
        """Return the child's answer.

        Raises PluginLoadError where the plugin's code ends the child or does not let it answer in time.
        """
        with self._lock:
            self.used = time.monotonic()
            line = self._exchange(msgspec.json.encode(query) + b"\n")
        return decoded(line, Answer)

    @property
    def is_alive(self) -> bool:
        """True while the child can be asked."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the child."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._printed):
            if stream is not None:
                with suppress(BrokenPipeError):  # a question that the child did not live to read
                    stream.close()

    def _exchange(self, question: bytes) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None, "both are pipes"
        try:
            stdin.write(question)
            stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        deadline = time.monotonic() + ANSWER_SECONDS
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self._process.kill()
                raise PluginLoadError(
                    f"The plugin in {self._root} did not finish importing within {ANSWER_SECONDS:g} s.",
                    hint="Move slow work out of the module's top level into the action.",
                )
            part = stdout.read1(1 << 16)  # type: ignore[attr-defined]  # a BufferedReader has it
            if not part:
                raise self._ended()
            line += part
        return line

    def _ended(self) -> PluginLoadError:
        code = self._process.wait()
        self._printed.seek(max(0, self._printed.tell() - 2000))
        words = self._printed.read().decode("utf-8", "replace").strip()
        return PluginLoadError(
            f"Importing the plugin in {self._root} ended the interpreter (exit code {code})."
            + (f" Its last words:\n{words[-1000:]}" if words else ""),
            hint="Module top levels must not exit, crash or run the work itself.",
        )
