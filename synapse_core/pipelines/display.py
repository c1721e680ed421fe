"""The progress of a pipeline on a terminal."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from synapse_core.enums import ActionStatus, RunStatus
from synapse_core.pipelines.progress import ActionProgress, PipelineProgress
from synapse_core.plain_text import plain, spelt_out

_BAR_WIDTH = 30


def display_progress(
    iterator: Iterable[PipelineProgress],
    *,
    show_actions: bool = True,
    refresh_rate: float = 4.0,
    console: Console | None = None,
) -> PipelineProgress:
    """Draw each progress as it comes and return the last one. refresh_rate: how often a second.

    Raises RuntimeError where none came.
    """
    last: PipelineProgress | None = None
    with Live(console=console, refresh_per_second=refresh_rate) as live:
        for last in iterator:
            live.update(panel_of(last, show_actions=show_actions))
    return _shown(last, live.console)


async def display_progress_async(
    iterator: AsyncIterable[PipelineProgress],
    *,
    show_actions: bool = True,
    refresh_rate: float = 4.0,
    console: Console | None = None,
) -> PipelineProgress:
    """Draw each progress as it comes and return the last one; as `display_progress`."""
    last: PipelineProgress | None = None
    with Live(console=console, refresh_per_second=refresh_rate) as live:
        async for last in iterator:
            live.update(panel_of(last, show_actions=show_actions))
    return _shown(last, live.console)


def print_progress_summary(progress: PipelineProgress, *, console: Console | None = None) -> None:
    """Print one progress."""
    (console or Console()).print(panel_of(progress))


def panel_of(progress: PipelineProgress, *, show_actions: bool = True) -> Panel:
    """Return the picture of one progress."""
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(progress.status.value, style=_style(progress.status)),
        ProgressBar(total=100.0, completed=progress.overall_progress, width=_BAR_WIDTH),
        f"{progress.overall_progress:.0f} %",
        f"{progress.completed_actions} of {len(progress.actions)} actions",
    )
    parts: list[Table | Text] = [head]
    if show_actions and progress.actions:
        parts.append(_table_of(progress))
    if progress.error:
        parts.append(Text(plain(progress.error), style="red"))
    return Panel(Group(*parts), title=progress.run_id, title_align="left")


def _table_of(progress: PipelineProgress) -> Table:
    table = Table("action", "status", "", "", "", box=None, padding=(0, 1))
    for action in progress.actions.values():
        table.add_row(
            Text(action.name),
            Text(action.status.value, style=_style(action.status)),
            ProgressBar(total=1.0, completed=action.progress, width=_BAR_WIDTH // 2),
            f"{action.progress:.0%}",
            Text(_words(action), overflow="ellipsis", no_wrap=True),
        )
    return table


def _words(action: ActionProgress) -> str:
    """Return what is to be said of an action beside how far it is."""
    attempt = f"attempt {action.attempt}" if action.attempt > 1 else ""
    said = action.error or action.message or action.progress_step or ""
    return spelt_out(": ".join(filter(None, (attempt, said))))[:120]


def _style(status: RunStatus | ActionStatus) -> str:
    if status in ("completed", "skipped"):
        return "green"
    if status in ("failed", "cancelled"):
        return "red"
    return "cyan" if status == "running" else "dim"


def _shown(last: PipelineProgress | None, console: Console) -> PipelineProgress:
    if not console.is_terminal:
        console.print()  # what was drawn last has no end of line there
    if last is None:
        raise RuntimeError("No progress came, so there was nothing to display.")
    return last
