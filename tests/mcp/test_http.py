"""The server over HTTP: real processes, asked by the Python SDK's client and by bare httpx."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from http_servers import HttpServer, write_tokens
from mcp import Client
from tool_calls import call, refused

from synapse_core.errors import InvalidConfig, InvalidRequest
from synapse_mcp.http.rates import RateLimit
from synapse_mcp.http.tokens import TokenFile, read_tokens
from synapse_mcp.settings import Settings

ERAS = ["auto", "legacy"]
pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("http")


@pytest.fixture(scope="module")
def tokens(place: Path) -> dict[str, str]:
    return write_tokens(
        place / "tokens.json", alice=["run"], bob=["read", "run"], reader=["read"], root=["admin"]
    )


@pytest.fixture(scope="module")
def servers(place: Path, tokens: dict[str, str]) -> Iterator[tuple[HttpServer, HttpServer]]:
    """Two servers on one home, started at the same moment. The second lets nobody ask often."""
    file = ("--token-file", str(place / "tokens.json"))
    first = HttpServer(place / "home", *file, "--toolsets", "all", "--allowed-host", "synapse.example")
    second = HttpServer(place / "home", *file, "--rate-limit", "0.1")
    with first, second:
        yield first, second


@pytest.fixture
def server(servers: tuple[HttpServer, HttpServer]) -> HttpServer:
    return servers[0]


async def begun(client: Client) -> str:
    """Have a run begin that goes on until it is stopped. Returns its id."""
    told = await call(
        client,
        "run_action",
        plugin="hello",
        action="misbehave",
        params={"way": "sleep", "seconds": 3600},
        wait_seconds=0,
    )
    assert not told["done"]
    return told["run_id"]


@pytest.mark.parametrize("mode", ERAS)
async def test_each_scope_shows_its_tools_and_a_refused_call_names_the_scope(
    server: HttpServer, tokens: dict[str, str], mode: str
):
    shown = {}
    for name in ("reader", "alice", "root"):
        async with server.client(tokens[name], mode) as client:
            shown[name] = {tool.name: tool for tool in (await client.list_tools()).tools}
    async with server.client(tokens["reader"], mode) as client:
        error = await refused(client, "run_action", plugin="hello", action="greet")
        nearest = await refused(client, "run_acton")
        assert (await call(client, "list_plugins"))["total"] == 6
    async with server.client(tokens["alice"], mode) as client:
        deleting = await refused(client, "delete_deployment", name="x")

    assert all(tool.annotations.read_only_hint for tool in shown["reader"].values())
    assert set(shown["alice"]) - set(shown["reader"]) >= {"run_action", "stop_run", "create_plugin"}
    assert set(shown["root"]) - set(shown["alice"]) == {"delete_deployment", "publish_plugin"}
    assert error["code"] == deleting["code"] == "scope_needed"
    assert "needs the scope 'run'; the token of 'reader' has read" in error["message"]
    assert "needs the scope 'admin'" in deleting["message"]
    assert "run_action" not in nearest["message"] + json.dumps(nearest["details"])


@pytest.mark.parametrize("mode", ERAS)
async def test_runs_belong_to_who_submitted_them(server: HttpServer, tokens: dict[str, str], mode: str):
    async with (
        server.client(tokens["alice"], mode) as alice,
        server.client(tokens["bob"], mode) as bob,
        server.client(tokens["root"], mode) as root,
    ):
        request = {"plugin": "hello", "action": "greet", "params": {"name": "x"}, "run_key": f"same-{mode}"}
        hers = (await call(alice, "run_action", **request))["run_id"]
        his = (await call(bob, "run_action", **request))["run_id"]
        again = (await call(alice, "run_action", **request))["run_id"]
        going = await begun(alice)

        assert hers == again != his
        for tool in ("get_run", "get_run_logs", "stop_run"):
            error = await refused(bob, tool, run_id=going)
            assert error["code"] == "unknown_run"
            assert hers not in json.dumps(error), "the nearest ids are the caller's own"
        seen = {run["run_id"] for run in (await call(bob, "list_runs"))["runs"]}
        assert his in seen
        assert not {hers, going} & seen
        assert (await refused(bob, "register_model", name="m", source=hers))["code"] != "internal"
        assert {hers, his, going} <= {run["run_id"] for run in (await call(root, "list_runs"))["runs"]}
        assert (await call(alice, "get_run", run_id=going))["state"] in ("queued", "running")
        assert (await call(root, "stop_run", run_id=going))["state"] == "stopped"


async def test_two_servers_on_one_home_know_the_same_runs(
    servers: tuple[HttpServer, HttpServer], tokens: dict[str, str]
):
    first, second = servers
    async with first.client(tokens["alice"]) as here, second.client(tokens["alice"]) as there:
        going = await begun(here)
        stopped = await call(there, "stop_run", run_id=going)

        assert stopped == await call(here, "get_run", run_id=going) | {
            "elapsed_seconds": stopped["elapsed_seconds"]
        }


async def test_over_http_paths_stay_in_the_home_and_out_of_what_is_others(
    server: HttpServer, tokens: dict[str, str], place: Path, tmp_path: Path
):
    (place / "home" / "datasets").mkdir(parents=True, exist_ok=True)
    (place / "home" / "datasets" / "link").symlink_to(tmp_path)
    async with server.client(tokens["alice"]) as alice, server.client(tokens["bob"]) as bob:
        run = await call(alice, "run_action", plugin="hello", action="greet", wait_seconds=50)
        hers = place / "home" / "runs" / run["run_id"]

        async def codes(client: Client, path: Path) -> set[tuple[str, bool]]:
            asked = [
                ("inspect_dataset", {"path": str(path)}),
                ("preview_dataset", {"path": str(path)}),
                ("convert_dataset", {"path": str(path), "to": "coco", "output": str(path / "new")}),
                ("create_plugin", {"code": "mine", "path": str(path)}),
                ("register_model", {"name": "m", "source": str(path)}),
            ]
            found = [await refused(client, tool, **arguments) for tool, arguments in asked]
            return {(error["code"], "lies outside the folders" in error["message"]) for error in found}

        outside = {("invalid_request", True)}
        link = place / "home" / "datasets" / "link"
        for path in (tmp_path, Path("/etc"), link, place / "home" / ".." / "x", place / "home"):
            assert await codes(alice, path) == outside
        assert await codes(bob, hers) == outside
        assert (await refused(alice, "inspect_dataset", path=str(hers)))["code"] == "unrecognised_dataset"
    async with server.client(tokens["root"]) as root:
        assert (await refused(root, "inspect_dataset", path=str(hers)))["code"] == "unrecognised_dataset"


def test_who_shows_no_valid_token_gets_no_further(server: HttpServer, tokens: dict[str, str]):
    wrong = [server.ask("tools/list"), server.ask("tools/list", "token-of-nobody-0123456789")]
    wrong.append(server.ask("tools/list", headers={"authorization": f"Basic {tokens['root']}"}))

    assert [reply.status_code for reply in wrong] == [401, 401, 401]
    assert all(reply.headers["www-authenticate"].startswith("Bearer") for reply in wrong)
    assert server.ask("tools/list", tokens["reader"]).status_code == 200
    assert httpx.get(server.url).status_code == 401
    assert httpx.get(f"{server.base}/health").json()["ok"]
    assert httpx.get(f"{server.base}/ready").json() == {"ok": True}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "synapse.example"}, 200),
        ({"host": "synapse.example:8443"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:3000"}, 200),
    ],
)
def test_hosts_and_origins_are_checked(
    server: HttpServer, tokens: dict[str, str], headers: dict[str, str], status: int
):
    assert server.ask("tools/list", tokens["reader"], headers).status_code == status


def test_a_body_that_is_too_large_is_refused(server: HttpServer, tokens: dict[str, str]):
    reply = server.ask(
        "tools/call", tokens["reader"], name="list_plugins", arguments={"query": "x" * 5_000_000}
    )

    assert reply.status_code == 413


def test_who_asks_too_often_is_told_when_to_come_back(
    servers: tuple[HttpServer, HttpServer], tokens: dict[str, str]
):
    second = servers[1]
    replies = [second.ask("ping-for-nothing", tokens["bob"]) for _ in range(14)]
    late = [reply for reply in replies if reply.status_code == 429]

    assert late
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in late)
    assert second.ask("tools/list", tokens["reader"]).status_code == 200, "each has their own share"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_server_that_ends_answers_its_waiting_calls_and_leaves_the_runs(home: Path, mode: str):
    answers = []
    with HttpServer(home) as server:
        async with server.client(mode=mode) as client, anyio.create_task_group() as group:
            run_id = await begun(client)
            told = anyio.Event()

            async def hear(*_: object) -> None:
                told.set()

            async def wait() -> None:
                waiting = {"run_id": run_id, "wait_seconds": 50}
                answers.append(await client.call_tool("get_run", waiting, progress_callback=hear))

            group.start_soon(wait)
            with anyio.fail_after(60):
                await told.wait()
            server.process.terminate()
        assert server.end() == 143
    runs = Settings.make().open_home().runs

    assert answers[0].structured_content["run_id"] == run_id
    assert answers[0].structured_content["done"] is False
    assert not runs.get(run_id).is_done
    assert runs.stop(run_id, force=True).is_done
    runs.close()


def test_an_address_that_others_can_reach_needs_tokens(tmp_path: Path):
    for address in ("0.0.0.0:0", "192.168.1.5:80", "[::]:0", "lab.example:80"):
        with pytest.raises(InvalidRequest, match="can be reached from other machines"):
            Settings.make(http=address)
    assert Settings.make(http="127.0.0.1:0").http.is_loopback
    assert Settings.make(http="[::1]:8000").http.shown_host == "[::1]"
    reached = Settings.make(http="0.0.0.0:0", token_file=str(tmp_path / "t")).http
    assert "evil.example" not in reached.hosts()
    with pytest.raises(InvalidRequest, match="no address"):
        Settings.make(http="8000")


GOOD = "tokens:\n- {name: a, token: 0123456789abcdef, scopes: [run]}\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ":1: there should be `tokens:`"),
        (
            GOOD + "- {name: a, token: 1123456789abcdef, scopes: [run]}\n",
            ":3: a or its token stands there twice",
        ),
        (
            GOOD + "- {name: b, token: 0123456789abcdef, scopes: [run]}\n",
            ":3: b or its token stands there twice",
        ),
        (GOOD + "- {name: b, token: secretword, scopes: [run]}\n", ":3: the token of b is shorter than 16"),
        (GOOD + "- {name: b, token: 1123456789abcdef, scopes: [rum]}\n", "any of read, run, admin"),
        (GOOD + "- {name: b, scopes: [run]}\n", "either token or sha256"),
        (GOOD + "- {name: b, sha256: abc, scopes: [run]}\n", "64 hexadecimal digits"),
        (GOOD + "- {name: b, tokn: abc, scopes: [run]}\n", "no 'tokn'. Did you mean token"),
        (GOOD + "- {name: 'b\\n', token: 1123456789abcdef, scopes: [run]}\n", "should be letters"),
    ],
)
def test_a_token_file_that_is_wrong_says_where(tmp_path: Path, text: str, complaint: str):
    file = tmp_path / "tokens.yaml"
    file.write_text(text)
    file.chmod(0o600)

    with pytest.raises(InvalidConfig) as caught:
        read_tokens(file)

    assert complaint in caught.value.message
    assert "0123456789abcdef" not in caught.value.message
    assert "secretword" not in caught.value.message


async def test_a_token_file_is_private_and_may_hold_digests_only(tmp_path: Path):
    file = tmp_path / "tokens.yaml"
    digest = hashlib.sha256(b"a-token-of-the-ci").hexdigest()
    file.write_text(f"tokens:\n- {{name: ci, sha256: {digest}, scopes: [admin]}}\n")
    file.chmod(0o640)
    with pytest.raises(InvalidConfig, match="can be read or changed by others"):
        TokenFile(file)
    file.chmod(stat.S_IRUSR)
    assert await TokenFile(file).verify_token("a-token-of-the-cj") is None
    verified = await TokenFile(file).verify_token("a-token-of-the-ci")
    assert (verified.client_id, verified.scopes) == ("ci", ["read", "run", "admin"])
    assert verified.token != "a-token-of-the-ci", "it does not lie about"
    with pytest.raises(InvalidConfig, match="cannot be read"):
        TokenFile(tmp_path / "none")


async def test_a_token_that_is_taken_out_is_nobodys_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = tmp_path / "tokens.json"
    first = write_tokens(file, alice=["run"], bob=["read"])
    opened = TokenFile(file)
    second = write_tokens(file, bob=["admin"], carol=["read"])

    assert await opened.verify_token(first["alice"]) is None
    assert (await opened.verify_token(second["bob"])).scopes == ["read", "run", "admin"]
    assert caplog.messages == []
    file.write_text("tokens: nonsense")
    assert (await opened.verify_token(second["carol"])).client_id == "carol", "what was valid last counts"
    assert await opened.verify_token(first["alice"]) is None
    assert len(caplog.messages) == 1 and str(file) in caplog.text


def test_a_bucket_fills_at_its_rate_and_holds_five_seconds_worth():
    now = [0.0]
    rates = RateLimit(2, lambda: now[0])

    assert [rates.wait_seconds("a") for _ in range(11)] == [0] * 10 + [1]
    now[0] += 0.5
    assert [rates.wait_seconds("a"), rates.wait_seconds("a"), rates.wait_seconds("b")] == [0, 1, 0]
    now[0] += 1000
    assert [rates.wait_seconds("a") for _ in range(11)] == [0] * 10 + [1]
    assert RateLimit(0).wait_seconds("a") == 0
    slow = RateLimit(0.01, lambda: now[0])
    assert [slow.wait_seconds("a") for _ in range(11)] == [0] * 10 + [100]
