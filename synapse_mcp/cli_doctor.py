"""`synapse-mcp doctor`: every check, what it found, and the exact fix of each problem."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence

import msgspec

from synapse_core import __version__
from synapse_core.errors import SynapseError
from synapse_mcp.checks import Finding, Problem, check_clients, check_packages, check_python, machine_findings
from synapse_mcp.cli_text import console, unmarked
from synapse_mcp.masking import masked, masked_data
from synapse_mcp.settings import Settings
from synapse_mcp.tools.status import status_of

_PLUGIN_CODES = ("broken_plugin", "no_plugins")


def examine(plugins: Sequence[str], ray_address: str | None, profile: str | None) -> Iterator[Finding]:
    """Yield what every check found. Starts nothing; a backend or a cluster that is down costs 1.5 s."""
    try:
        settings = Settings.make(plugins, ray_address, profile)
    except SynapseError as error:
        problem = Problem(error.code, error.message, error.hint or "Correct the settings.")
        yield Finding("settings", "cannot be used", (problem,))
        yield from (check_python(), check_packages(), check_clients())
        return
    yield Finding("settings", f"profile {settings.profile.name or 'default'}")
    seen: set[Problem] = set()
    broken_home = False
    for finding in machine_findings(settings):
        seen.update(finding.problems)
        broken_home |= any(each.code in ("home_not_writable", "store_damaged") for each in finding.problems)
        yield finding
    yield check_loopback()
    if not broken_home:
        yield from _of_home(settings, seen)


def check_loopback() -> Finding:
    """Look whether this process may listen on this machine, as Ray and deployments do."""
    try:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
    except OSError as error:
        message = f"Nothing can listen on 127.0.0.1: {error.strerror}."
        fix = "Allow it in the sandbox or firewall, or use mode 'local' only, which needs no ports."
        return Finding("ports", "127.0.0.1", (Problem("no_ports", message, fix),))
    return Finding("ports", "127.0.0.1 can be listened on")


def tell(findings: Iterator[Finding], as_json: bool) -> int:
    """Print the findings as they come. Returns the exit code: 1 where there is a problem."""
    told = []
    if not as_json:
        console.print(f"synapse-mcp {__version__}")
    for finding in findings:
        told.append(finding)
        if as_json:
            continue
        mark = "[red]x[/red]" if finding.problems else "[green]ok[/green]"
        console.print(f"{mark:>2} {finding.check}: {unmarked(masked(finding.said))}")
        for problem in finding.problems:
            console.print(f"   [red]{problem.code}[/red]: {unmarked(masked(problem.message))}")
            console.print(f"   fix: {unmarked(masked(problem.fix))}")
    problems = [problem for finding in told for problem in finding.problems]
    if as_json:
        record = {
            "ok": not problems,
            "version": __version__,
            "checks": [{"check": each.check, "ok": not each.problems, "said": each.said} for each in told],
            "problems": msgspec.to_builtins(problems),
        }
        console.print(unmarked(json.dumps(masked_data(record), indent=2, ensure_ascii=False)))
    elif not problems:
        console.print("[green]Everything is in order.[/green]")
    return 1 if problems else 0


def _of_home(settings: Settings, seen: set[Problem]) -> Iterator[Finding]:
    """Yield what the opened home tells: plugins, Ray, the backend and the runs."""
    # A command ends soon: what a dead server left is for a server to start.
    home = settings.open_home(adopts=False)
    try:
        status = status_of(home, settings, most_problems=1000)
    except SynapseError as error:
        yield Finding("home", "cannot be opened", (Problem(error.code, error.message, error.hint or ""),))
        return
    finally:
        home.close()
    left = [problem for problem in status.problems if problem not in seen]
    of_plugins = tuple(problem for problem in left if problem.code in _PLUGIN_CODES)
    of_ray = tuple(problem for problem in left if problem.code.startswith("ray_"))
    others = tuple(problem for problem in left if problem not in (*of_plugins, *of_ray))
    yield Finding("plugins", f"{status.plugins} on {', '.join(status.plugin_paths)}", of_plugins)
    yield Finding("ray", f"{status.ray.state}. {status.ray.message}", of_ray)
    yield Finding("backend", f"{status.backend} (profile {status.profile})", others)
    yield Finding("runs", f"{status.runs['active']} active")
