"""A first look into many files: by this process, or by several where that is worth it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
# So many are worth a second process, which looks into a share of them after the other.
_PARALLEL_FILES = 8_000
_SHARE_FILES = 1_000


def is_shared(files: Sequence[T], processes: int) -> bool:
    """Return True where several processes look into files."""
    if processes == 1 or len(files) < _PARALLEL_FILES:
        return False
    # 15 ms that a small set need not wait for.
    from synapse_core.datasets.part_processes import can_fork

    return can_fork()


def in_shares(look: Callable[[Sequence[T]], R], files: Sequence[T], processes: int) -> Iterator[R]:
    """Yield what `look` returns for shares of the files, in their order.

    look: what several processes may do at once.
    """
    if not is_shared(files, processes):
        yield look(files)
        return
    from synapse_core.datasets.part_processes import in_processes  # as above

    shares = [files[at : at + _SHARE_FILES] for at in range(0, len(files), _SHARE_FILES)]
    yield from in_processes(look, shares, processes)
