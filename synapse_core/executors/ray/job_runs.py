"""RayJobRuns: recorded runs as Ray jobs, through Ray's Jobs API (mode 'job')."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from synapse_core.environment import passed_environment
from synapse_core.errors import RayUnavailable
from synapse_core.executors.base import Liveness, Notify
from synapse_core.executors.ray.capacity import DEFAULT_CPUS, check_fits
from synapse_core.executors.ray.cluster import RayCluster
from synapse_core.executors.ray.job_ending import CLUSTER_DIED, end_unbegun, exit_of_job
from synapse_core.executors.ray.job_env import entrypoint, runtime_env
from synapse_core.executors.ray.job_server import Job, JobServer
from synapse_core.executors.ray.job_site import JobSite
from synapse_core.executors.ray.job_watch import JobWatch, Waiting
from synapse_core.executors.supervised import CLEARING_SECONDS, is_supervised, stop_supervised
from synapse_core.run_folder import Claim, Exit, RunFolder, RunRequest, Submission
from synapse_core.supervisor import GRACE_SECONDS

_ASK_SECONDS = 0.25


class RayJobRuns:
    """Hands runs to Ray as jobs; the id of a job is that of its run, so a run is handed in once only.

    A job is the same supervisor with the same worker as in mode 'local', on a node that Ray chooses, with a
    Python and packages that can be the run's own. It reads the run's folder, and the plugin's unless that is
    shipped, from a disk that this machine shares with the node: what is edited while a run goes on changes
    nothing that the run has imported. The submitter's variables are handed over in a file of the run's folder
    that only this user can read, and that is deleted before the plugin's code starts; Ray never sees them.

    cluster: where the jobs run; None with a `dashboard_url`, which then is all that is known of the cluster.
    env: variables for the runs that are started here, handed over in the same way.
    """

    def __init__(
        self,
        cluster: RayCluster | None = None,
        dashboard_url: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._site = JobSite(cluster, dashboard_url)
        self._env = dict(env or {})
        self._watch = JobWatch(self._awaited_job_of, self._site.status, self._site.ask_for_room)

    @property
    def is_shared(self) -> bool:
        """True where the jobs run on this machine, with its disk and this very Python."""
        return self._site.is_own

    def check(self, request: RunRequest) -> None:
        status = self._site.status()
        if status.state == "unreachable":
            raise RayUnavailable(status.message, hint=status.fix)
        check_fits(request.resources, status)
        runtime_env(request, None, skip_satisfied=self.is_shared)

    def start(self, folder: RunFolder, request: RunRequest, notify: Notify) -> None:
        makes = False if self._is_handed_in(folder) else self._hand_in(folder, request, notify)
        self._watch.put(Waiting(folder, request, notify, makes))
        if (claim := folder.claimed()) is not None and claim.is_given_up:
            self._withdraw(folder)  # stopped while it was being handed in

    def stop(self, folder: RunFolder, claim: Claim | None, force: bool) -> None:
        if claim is None or claim.is_given_up:
            self._withdraw(folder)
        elif _is_near(claim):
            stop_supervised(folder, claim, 0.0 if force else GRACE_SECONDS, lambda: None)
        else:
            self._stop_elsewhere(folder)

    def poll(self, folder: RunFolder, claim: Claim | None) -> Liveness:
        if claim is not None and _is_near(claim) and is_supervised(claim):
            return Liveness.ALIVE
        if folder.exit() is not None:
            return Liveness.GONE
        try:
            job = self._job_of(folder)
        except RayUnavailable:
            if claim is None:
                return Liveness.WAITING
            # What cannot be asked about may well go on, unless its process was seen to be gone.
            return Liveness.GONE if _is_near(claim) else Liveness.ALIVE
        if job is None or job.has_ended:
            return Liveness.GONE
        return Liveness.WAITING if claim is None else Liveness.ALIVE

    def close(self) -> None:
        self._watch.close()

    def forget(self, folder: RunFolder) -> bool:
        """Have Ray forget the job of an ended run. Returns False where it knows none. The run stays."""
        server = self._server_of(folder)
        return server is not None and server.delete(folder.run_id)

    def _hand_in(self, folder: RunFolder, request: RunRequest, notify: Notify) -> bool:
        """Give a run to Ray, unless it has it already. Returns whether Ray has to make something for it."""
        server, status = self._site.reach(notify)
        check_fits(request.resources, status)
        env = runtime_env(request, server, skip_satisfied=self.is_shared)
        # Before the job: whoever finds the run later knows where to ask.
        folder.note_submission(Submission(server.url, self._site.is_own))
        folder.hand_over({**passed_environment(request.passed_names), **self._env})
        server.submit(request.run_id, _body(folder, request, env))
        return set(env) != {"env_vars"}

    def _is_handed_in(self, folder: RunFolder) -> bool:
        """Return True where Ray was given the run before, by whomever."""
        try:
            server = self._server_of(folder)
            return server is not None and server.job(folder.run_id) is not None
        except RayUnavailable:
            return True  # as far as anybody can know; handing it in elsewhere could run it twice

    def _server_of(self, folder: RunFolder) -> JobServer | None:
        submission = folder.submission()
        return None if submission is None else self._site.server_of(folder, submission)

    def _job_of(self, folder: RunFolder) -> Job | None:
        """Return the job of a run, None where Ray knows none; write down how it ended, if it did.

        Raises RayUnavailable where Ray cannot be asked.
        """
        server = self._server_of(folder)
        job = None if server is None else server.job(folder.run_id)
        if job is not None and job.has_ended:
            if folder.claimed() is None:
                end_unbegun(folder, job)
            else:
                folder.write_exit(exit_of_job(job, has_begun=True))
        return job

    def _awaited_job_of(self, folder: RunFolder) -> Job:
        """As `_job_of`, for a run that this process has handed in: it ends with the cluster that has it."""
        job = self._job_of(folder)
        if job is None:
            job = Job("FAILED", error_type=CLUSTER_DIED)
            end_unbegun(folder, job)
        return job

    def _withdraw(self, folder: RunFolder) -> None:
        """Take a run out of Ray's queue that nobody is to begin."""
        # A job that stays there finds its run given up, and ends without having done anything.
        with suppress(RayUnavailable):
            server = self._server_of(folder)
            job = None if server is None else server.job(folder.run_id)
            if server is None or job is None or job.has_ended:
                return
            if job.status != "PENDING" or not self._site.kill_waiting(folder.run_id):
                server.stop(folder.run_id)

    def _stop_elsewhere(self, folder: RunFolder) -> None:
        """End a run on another node; its supervisor there sees to it, and Ray to the supervisor."""
        server = self._server_of(folder)
        if server is not None:
            server.stop(folder.run_id)
        deadline = time.monotonic() + GRACE_SECONDS + CLEARING_SECONDS
        while server is not None and folder.exit() is None and time.monotonic() < deadline:
            job = server.job(folder.run_id)
            if job is None or job.has_ended:
                break
            time.sleep(_ASK_SECONDS)
        folder.write_exit(Exit(datetime.now(UTC), signal="SIGKILL", cause="stopped"))


def _body(folder: RunFolder, request: RunRequest, env: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the job server is told. Ray keeps and shows all of it: it holds no secrets."""
    asked = request.resources
    return {
        "entrypoint": entrypoint(folder, request, env),
        "runtime_env": env,
        "metadata": {"plugin": request.plugin, "action": "+".join(one.name for one in request.actions)},
        "entrypoint_num_cpus": DEFAULT_CPUS if asked.num_cpus is None else asked.num_cpus,
        "entrypoint_num_gpus": asked.num_gpus or 0,
        "entrypoint_memory": asked.memory or 0,
    }


def _is_near(claim: Claim) -> bool:
    """Return True where the run is executed on this machine, so that its processes can be looked at."""
    return claim.host == os.uname().nodename
