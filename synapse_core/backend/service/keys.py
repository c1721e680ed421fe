"""Calls that came twice, because their answer was lost: carried out once, answered alike."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock

from fastapi import Response

_MOST_KEYS = 5_000
# Larger answers are those of lists of records, each of which bears a key of its own.
_MOST_ANSWER_BYTES = 64 * 1024


class Keys:
    """The answers to the last calls that bore an Idempotency-Key, in memory."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Future[Response]] = OrderedDict()
        self._lock = Lock()

    def once(self, key: str | None, work: Callable[[], Response]) -> Response:
        """Return what `work` answers, or what it answered when this key came before.

        A call that comes while the first is still at work waits for it. One that failed is carried out anew.
        """
        if not key:
            return work()
        mine: Future[Response] = Future()
        with self._lock:
            known = self._answers.setdefault(key, mine)
            while len(self._answers) > _MOST_KEYS:
                self._answers.popitem(last=False)
        if known is not mine:
            return known.result()
        try:
            answer = work()
        except BaseException as error:
            self._forget(key)
            mine.set_exception(error)
            raise
        if len(answer.body) > _MOST_ANSWER_BYTES:
            self._forget(key)
        mine.set_result(answer)
        return answer

    def _forget(self, key: str) -> None:
        with self._lock:
            self._answers.pop(key, None)
