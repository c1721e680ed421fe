"""Decoding from several threads: a class that none has decoded before is met by all of them at once."""

from __future__ import annotations

import subprocess
import sys

# Classes are new in each round, and the interpreter changes threads as often as it can. Without the one place
# that prepares them, the process ends with a segmentation fault in one of the first hundred rounds.
PROGRAM = """
import sys
import threading
import types

from synapse_core.decoding import converted, decoded

sys.setswitchinterval(1e-6)
SOURCE = '''
import msgspec

class Inner(msgspec.Struct):
    number: "int | None" = None

class Outer(msgspec.Struct):
    items: "tuple[Inner, ...]" = ()
    more: "dict[str, list[Inner]]" = {}
'''
DATA = {"items": [{"number": 1}], "more": {"key": [{"number": 2}]}}
for number in range(1000):
    module = types.ModuleType(f"module_{number}")
    sys.modules[module.__name__] = module
    exec(SOURCE, module.__dict__)
    barrier = threading.Barrier(4)
    found = []

    def decode(is_text):
        barrier.wait()
        text = b'{"items":[{"number":1}],"more":{"key":[{"number":2}]}}'
        found.append(decoded(text, module.Outer) if is_text else converted(DATA, module.Outer))

    threads = [threading.Thread(target=decode, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(one == found[0] for one in found)
print("decoded")
"""


def test_a_class_that_is_new_to_all_threads_is_decoded_by_all():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (0, "decoded\n"), ended.stderr[-2000:]
