"""What a list of runs is asked for: the states it is about, and where its next page begins."""

from __future__ import annotations

import base64
import json

from synapse_core.enums import RunState
from synapse_core.errors import InvalidRequest


def states_of(state: str | None) -> tuple[RunState, ...]:
    """Return the states of a name, all that have not ended for 'active', none of them for None.

    Raises InvalidRequest for what is no state.
    """
    if state is None:
        return ()
    if state == "active":
        return tuple(each for each in RunState if not each.is_terminal)
    try:
        return (RunState(state),)
    except ValueError:
        known = ", ".join(each.value for each in RunState)
        raise InvalidRequest(f"There is no state {state!r}; the states are {known}, or 'active'.") from None


def encoded_cursor(created: float, run_id: str) -> str:
    """Return the cursor of the page after a run."""
    return base64.urlsafe_b64encode(json.dumps([created, run_id]).encode()).decode()


def decoded_cursor(cursor: str | None) -> tuple[float, str] | None:
    """Return when the run before the page was created, and its id. Raises InvalidRequest for another text."""
    if cursor is None:
        return None
    try:
        created, run_id = json.loads(base64.urlsafe_b64decode(cursor))
        return float(created), str(run_id)
    except (ValueError, TypeError):
        raise InvalidRequest(
            "This cursor is not one of ours.", hint="Pass next_cursor of the page before, unchanged."
        ) from None
