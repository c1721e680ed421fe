"""How often a client may call: a bucket of tokens for each, filled at an even rate."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

# After a pause a client may make so many seconds' worth of calls at once.
_BURST_SECONDS = 5.0
# And so many in any case: to get acquainted takes a client several.
_SMALLEST_BURST = 10.0
_MOST_CLIENTS = 10_000


class RateLimit:
    """Buckets by client. per_second: how many calls each may make in the long run, 0 for no limit."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._most = max(_SMALLEST_BURST, per_second * _BURST_SECONDS)
        self._clock = clock
        # Of each client: how many calls were left, and when.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, client: str) -> int:
        """Count a call of this client. Returns 0, or after how many whole seconds to try again."""
        if not self._per_second:
            return 0
        now = self._clock()
        left, at = self._left.pop(client, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        is_granted = left >= 1
        self._left[client] = (left - 1 if is_granted else left, now)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)  # the one that was silent for longest
        return 0 if is_granted else max(1, math.ceil((1 - left) / self._per_second))
