"""Where jobs are handed in: the job server of a home's cluster, or one that was named."""

from __future__ import annotations

from synapse_core.environment import default_home
from synapse_core.errors import RayUnavailable, SynapseError
from synapse_core.executors.base import Notify
from synapse_core.executors.ray.cluster import ClusterStatus, RayCluster
from synapse_core.executors.ray.connection import configured_token
from synapse_core.executors.ray.job_server import JobServer, Tokens
from synapse_core.run_folder import RunFolder, Submission

# Ray gives each job an actor that starts it and watches over it.
_ACTOR = "_ray_internal_job_actor_{}"
_NAMESPACE = "SUPERVISOR_ACTOR_RAY_NAMESPACE"


class JobSite:
    """A cluster as jobs see it.

    cluster: None where nothing but the job server of a cluster is known. url: the job server, where it is not
    the one that the cluster tells.
    """

    def __init__(self, cluster: RayCluster | None, url: str | None = None) -> None:
        self._cluster = RayCluster(default_home()) if cluster is None and url is None else cluster
        self._url = url
        self._servers: dict[str, JobServer] = {}

    @property
    def is_own(self) -> bool:
        """True for the cluster of a home, which runs on this machine, with this very Python."""
        return self._cluster is not None and self._cluster.is_own

    def status(self) -> ClusterStatus:
        """Tell whether jobs can be handed in, and what the cluster has. Starts nothing."""
        if self._cluster is not None:
            return self._cluster.status()
        try:
            return self._named_status()
        except RayUnavailable as error:
            return ClusterStatus("unreachable", error.message, fix=error.hint)

    def reach(self, notify: Notify) -> tuple[JobServer, ClusterStatus]:
        """Return the job server, a local head started where none runs, and what the cluster has.

        Raises RayUnavailable where it cannot be used.
        """
        status = self._named_status() if self._cluster is None else self._cluster.reach(notify)
        url = self._url or status.dashboard_url
        if url is None:
            raise RayUnavailable(
                f"The Ray cluster at {status.address} has no job server: it runs without its dashboard.",
                hint="Start its head with `ray start --head --include-dashboard=true`, or use mode 'task'.",
            )
        server = self._server(url, is_own=self.is_own)
        server.check()
        return server, status

    def server_of(self, folder: RunFolder, submission: Submission) -> JobServer | None:
        """Return the job server that was given a run, None where its cluster is no more.

        Raises RayUnavailable where that cannot be told.
        """
        if not submission.is_own:
            return self._server(submission.url, is_own=False)
        own = self._cluster if self.is_own else RayCluster(folder.path.parents[1])
        assert own is not None, "is_own"
        status = own.status()
        if status.state == "unreachable":
            raise RayUnavailable(status.message, hint=status.fix)
        if status.dashboard_url != submission.url:
            return None  # it died; another one may have been started since
        return self._server(submission.url, is_own=True, tokens=own.tokens)

    def ask_for_room(self) -> None:
        """Have idle workers of mode 'task' give back what they hold."""
        if self._cluster is not None:
            self._cluster.wanted.parent.mkdir(parents=True, exist_ok=True)
            self._cluster.wanted.touch()

    def kill_waiting(self, run_id: str) -> bool:
        """End what Ray keeps for a job that it has not begun. Returns False where it cannot be reached.

        The job server's own stop only takes effect once the job has begun.
        """
        if self._cluster is None:
            return False
        import ray  # 250 ms and 60 MB, only to end a job that waits

        try:
            self._cluster.connect()
            ray.kill(ray.get_actor(_ACTOR.format(run_id), namespace=_NAMESPACE))
        except (ValueError, SynapseError, ray.exceptions.RayError):
            return False  # there is no such actor, or this process cannot become a part of the cluster
        return True

    def _named_status(self) -> ClusterStatus:
        assert self._url is not None, "a site has a cluster or a url"
        server = self._server(self._url, is_own=False)
        return ClusterStatus("running", f"A Ray job server runs at {self._url}.", nodes=tuple(server.nodes()))

    def _server(self, url: str, *, is_own: bool, tokens: Tokens | None = None) -> JobServer:
        if url not in self._servers:
            named = _configured_tokens if self._cluster is None else self._cluster.tokens
            # The token of a home's own cluster is for nobody else.
            usual = named if is_own or not self.is_own else _configured_tokens
            self._servers[url] = JobServer(url, tokens or usual)
        return self._servers[url]


def _configured_tokens() -> tuple[str | None, ...]:
    """Return the tokens to try with a server that was named: it sees the user's only if it asks for one."""
    return (None, configured_token())
