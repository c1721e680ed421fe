"""The plugins on the search paths, told as they are now, and without importing any of them here."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests_support import pid_is_alive

from synapse_core import plugin_child
from synapse_core.errors import (
    ActionNotFoundError,
    InvalidConfig,
    PluginLoadError,
    PluginNotFound,
    ValidationError,
)
from synapse_core.processes import ProcessId, descendants
from synapse_core.registry import Registry

CONFIG = "name: {code}\ncode: {code}\nactions:\n  act: {{entrypoint: 'plugin.main:Act'}}\n"

SOURCE = """\
from pydantic import BaseModel, Field, field_validator

from synapse_core import BaseAction


class Params(BaseModel):
    times: int = Field(default={default}, ge=1)

    @field_validator("times")
    @classmethod
    def known(cls, value):
        if value == 13:
            raise ValueError("not thirteen")
        return value


class Act(BaseAction[Params]):
    \"\"\"{doc}\"\"\"

    def execute(self):
        return None
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def plugin(folder: Path, code: str, default: int = 1, main: str | None = None, **files: str) -> Path:
    """A plugin of one action, whose package has the name that all of them have."""
    source = SOURCE.format(default=default, doc=f"Acts for {code}.") if main is None else main
    return write(folder, {"config.yaml": CONFIG.format(code=code), "plugin/main.py": source, **files})


Open = Callable[..., Registry]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Open registries over these paths, one cache for all."""
    registries: list[Registry] = []

    def open_registry(*paths: Path) -> Registry:
        registries.append(Registry(paths, tmp_path / "cache"))
        return registries[-1]

    yield open_registry
    for registry in registries:
        registry.close()


def codes(registry: Registry) -> list[str]:
    return [found.code for found in registry.plugins()]


def default_of(registry: Registry, code: str) -> int:
    """Return the default that the schema of `act` tells."""
    schema = registry.spec(code, "act").params_schema
    assert schema is not None
    return int(schema["properties"]["times"]["default"])


Children = Callable[[], list[ProcessId]]


@pytest.fixture
def children() -> Children:
    """The describing children of this process that came during the test."""

    def describing() -> list[ProcessId]:
        found = []
        for child in descendants(os.getpid()):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                if b"synapse_core.describe" in Path(f"/proc/{child.pid}/cmdline").read_bytes():
                    found.append(child)
        return found

    before = describing()
    return lambda: [child for child in describing() if child not in before]


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="children are told by /proc")


# Finding


def test_a_search_path_is_a_plugin_or_holds_plugins(tmp_path: Path, opened: Open):
    plugin(tmp_path / "many" / "b", "beta")
    plugin(tmp_path / "many" / "a", "alpha")
    plugin(tmp_path / "single", "gamma")
    write(tmp_path / "many", {"notes.txt": "", "empty/readme.md": ""})

    registry = opened(tmp_path / "many", tmp_path / "single")

    assert codes(registry) == ["alpha", "beta", "gamma"]
    assert registry.get("beta").root == tmp_path / "many" / "b"
    assert all(found.is_ok for found in registry.plugins())


def test_a_path_that_holds_nothing_hides_nothing(tmp_path: Path, opened: Open):
    plugin(tmp_path / "a", "alpha")
    write(tmp_path, {"file": ""})
    (tmp_path / "loop").symlink_to("loop")

    paths = [tmp_path / "nowhere", tmp_path / "file", tmp_path / "loop", tmp_path / ("x" * 300), Path("a\0b")]

    assert codes(opened(*paths, tmp_path / "a")) == ["alpha"]


def test_a_plugin_that_is_found_twice_is_one(tmp_path: Path, opened: Open):
    root = plugin(tmp_path / "plugins" / "a", "alpha")
    (tmp_path / "link").symlink_to(tmp_path / "plugins")

    (found,) = opened(tmp_path / "plugins", root, tmp_path / "link").plugins()

    assert found.issues == ()


def test_of_two_plugins_with_one_code_the_first_is_used_and_says_so(tmp_path: Path, opened: Open):
    plugin(tmp_path / "mine" / "a", "alpha", default=1)
    plugin(tmp_path / "theirs" / "a", "alpha", default=2)

    registry = opened(tmp_path / "mine", tmp_path / "theirs")
    (found,) = registry.plugins()

    assert default_of(registry, "alpha") == 1
    assert found.is_ok
    assert str(tmp_path / "theirs" / "a") in found.issues[0].message


def test_an_unknown_code_names_the_near_ones(tmp_path: Path, opened: Open):
    plugin(tmp_path / "a", "alpha")

    with pytest.raises(PluginNotFound, match="Did you mean alpha"):
        opened(tmp_path).get("alhpa")


def test_a_plugin_that_comes_or_goes_is_seen_at_once(tmp_path: Path, opened: Open):
    registry = opened(tmp_path / "plugins")
    assert codes(registry) == []

    root = plugin(tmp_path / "plugins" / "a", "alpha")
    assert codes(registry) == ["alpha"]

    (root / "config.yaml").unlink()
    assert codes(registry) == []


def test_an_edit_of_the_config_is_seen_at_once(tmp_path: Path, opened: Open):
    root = plugin(tmp_path / "a", "alpha")
    registry = opened(tmp_path)
    assert codes(registry) == ["alpha"]
    before = (root / "config.yaml").stat()

    # Neither the size nor the time of the file tells of it.
    (root / "config.yaml").write_text(CONFIG.format(code="gamma"))
    os.utime(root / "config.yaml", ns=(before.st_atime_ns, before.st_mtime_ns))

    assert codes(registry) == ["gamma"]


# Broken plugins


def test_a_broken_plugin_is_listed_with_its_issues_beside_the_others(tmp_path: Path, opened: Open):
    plugin(tmp_path / "a", "alpha")
    write(tmp_path, {"broken/config.yaml": "name: Broken\ncode: b\ncategory: nonsense\n"})
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "config.yaml").write_bytes(b"\xff\0\xfe")

    registry = opened(tmp_path)

    assert codes(registry) == ["alpha", "broken", "garbage"]
    broken = registry.get("broken")
    assert (broken.is_ok, broken.config) == (False, None)
    assert (broken.issues[0].severity, broken.issues[0].line) == ("error", 3)
    assert default_of(registry, "alpha") == 1
    with pytest.raises(InvalidConfig, match="nonsense"):
        registry.usable("broken")


@pytest.mark.parametrize("order", [["broken", "good"], ["good", "broken"]])
def test_a_broken_plugin_never_stands_before_one_that_bears_the_name_of_its_folder(
    tmp_path: Path, opened: Open, order: list[str]
):
    write(tmp_path / "broken", {"alpha/config.yaml": "name: [\n"})
    plugin(tmp_path / "good" / "other", "alpha")

    registry = opened(*(tmp_path / name for name in order))
    (found,) = registry.plugins()

    assert found.is_ok
    assert default_of(registry, "alpha") == 1
    assert str(tmp_path / "broken" / "alpha") in found.issues[0].message
    assert "flow" in found.issues[1].message


def test_two_broken_plugins_of_one_name_are_told_both(tmp_path: Path, opened: Open):
    write(tmp_path, {"one/x/config.yaml": "name: [\n", "two/x/config.yaml": "code: {\n"})

    (found,) = opened(tmp_path / "one", tmp_path / "two").plugins()

    assert not found.is_ok
    assert found.root == tmp_path / "one" / "x"
    assert any(str(tmp_path / "two" / "x") in issue.message for issue in found.issues)


WITHOUT_SCHEMA = """\
from pydantic import BaseModel, ConfigDict

from synapse_core import BaseAction


class Odd:
    pass


class Params(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    odd: Odd


class Act(BaseAction[Params]):
    pass
"""

# Why it does not load -> its source, and what is told.
BAD = {
    "lacking": ("import a_package_that_nobody_has\n", "a_package_that_nobody_has"),
    "raising": ("1 / 0\n", "ZeroDivisionError"),
    "leaving": ("import sys\nsys.exit(2)\n", "SystemExit: 2"),
    "misspelt": ("def f(:\n", "SyntaxError"),
    "else": ("Act = 3\n", "is not an action"),
    "schemaless": (WITHOUT_SCHEMA, "has no JSON schema"),
}


def test_an_action_that_does_not_load_does_not_hide_the_others(tmp_path: Path, opened: Open):
    root = plugin(
        tmp_path / "many", "many", **{f"plugin/{name}.py": source for name, (source, _) in BAD.items()}
    )
    actions = {**{name: f"plugin.{name}:Act" for name in BAD}, "act": "plugin.main:Act"}
    lines = [f"  {name}: {{entrypoint: '{entrypoint}'}}\n" for name, entrypoint in actions.items()]
    write(root, {"config.yaml": "name: Many\ncode: many\nactions:\n" + "".join(lines)})
    registry = opened(tmp_path)

    description = registry.describe("many")

    assert [spec.name for spec in description.actions] == ["act"]
    assert [issue.message.partition(":")[0] for issue in description.issues] == list(BAD)
    for name, (_, words) in BAD.items():
        with pytest.raises(PluginLoadError, match=f"many/{name} cannot be run") as caught:
            registry.spec("many", name)
        assert words in str(caught.value)
        assert caught.value.hint
    assert registry.spec("many", "act").name == "act"


@pytest.mark.parametrize(
    "source",
    ["import os\nprint('last words')\nos._exit(3)\n", "import os\nprint('last words')\nos.abort()\n"],
)
def test_a_plugin_that_ends_its_interpreter_is_told_and_hides_no_other(
    tmp_path: Path, opened: Open, source: str
):
    plugin(
        tmp_path / "bad", "bad", main=source.replace("print(", "print(flush=True, *[").replace("')", "'])")
    )
    plugin(tmp_path / "good", "good")
    registry = opened(tmp_path)

    with pytest.raises(PluginLoadError, match=r"(?s)ended the interpreter.*last words"):
        registry.describe("bad")
    assert default_of(registry, "good") == 1


def test_a_plugin_that_never_ends_its_import_is_given_up(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plugin_child, "ANSWER_SECONDS", 0.5)
    plugin(tmp_path, "slow", main="import threading\nthreading.Event().wait()\n")

    with pytest.raises(PluginLoadError, match=r"did not finish importing within 0\.5 s"):
        opened(tmp_path).describe("slow")


def test_a_repaired_plugin_is_well_at_once(tmp_path: Path, opened: Open):
    plugin(tmp_path / "a", "alpha", main="import os; os._exit(1)\n")
    registry = opened(tmp_path)
    with pytest.raises(PluginLoadError):
        registry.describe("alpha")

    plugin(tmp_path / "a", "alpha", default=4)

    assert default_of(registry, "alpha") == 4


# Describing


def test_a_specification_tells_what_the_class_and_the_config_say(tmp_path: Path, opened: Open):
    root = plugin(tmp_path, "alpha")
    config = """\
name: Alpha
code: alpha
category: export
actions:
  train: {entrypoint: plugin.main.Act, output_type: model_weights, strict_results: true}
  act: {entrypoint: 'plugin.main:Act', description: Acts, method: local}
"""
    write(root, {"config.yaml": config})
    registry = opened(tmp_path)

    train, act = registry.describe("alpha").actions

    assert (train.plugin, train.name, train.entrypoint) == ("alpha", "train", "plugin.main:Act")
    assert (train.method, train.category, train.description) == ("job", "export", "Acts for alpha.")
    assert (train.input_type, train.output_type, train.strict_results) == (None, "model_weights", True)
    assert (act.method, act.description, act.strict_results) == ("local", "Acts", False)
    assert act.params_schema is not None
    assert act.params_schema["properties"]["times"]["minimum"] == 1
    assert act.result_schema is None


def test_an_action_that_is_not_there_names_those_that_are(tmp_path: Path, opened: Open):
    plugin(tmp_path, "alpha")

    with pytest.raises(ActionNotFoundError, match="it has act"):
        opened(tmp_path).spec("alpha", "atc")


PROOF = """\
import os
import sys
from pathlib import Path

print("to stdout")
Path(__file__).with_name("pids").open("a").write(f"{os.getpid()}\\n")
assert sys.stdin.read() == ""
"""


def test_no_plugin_is_imported_in_this_process_and_none_touches_its_streams(
    tmp_path: Path, opened: Open, capfd: pytest.CaptureFixture[str]
):
    root = plugin(tmp_path, "alpha", main=PROOF + SOURCE.format(default=1, doc=""))
    modules, path = set(sys.modules), list(sys.path)
    registry = opened(tmp_path)

    registry.describe("alpha")
    registry.check("alpha", "act", {"times": 2})

    pids = {int(line) for line in (root / "plugin" / "pids").read_text().split()}
    assert pids
    assert os.getpid() not in pids
    assert not [name for name in set(sys.modules) - modules if name.partition(".")[0] == "plugin"]
    assert sys.path == path
    assert capfd.readouterr() == ("", "")


def test_listing_and_getting_start_no_process(tmp_path: Path, opened: Open):
    plugin(tmp_path, "alpha", main=PROOF)
    registry = opened(tmp_path)
    registry.plugins()
    registry.usable("alpha")

    assert not (tmp_path / "plugin" / "pids").exists()


def test_plugins_whose_packages_share_a_name_do_not_mix(tmp_path: Path, opened: Open):
    for default, code in enumerate(["alpha", "beta", "gamma"], start=1):
        plugin(tmp_path / code, code, default)
    registry = opened(tmp_path)

    for _ in range(2):
        for default, code in enumerate(["alpha", "beta", "gamma"], start=1):
            assert default_of(registry, code) == default
            assert registry.spec(code, "act").description == f"Acts for {code}."
            registry.check(code, "act", {"times": 2})


def test_a_plugin_of_the_same_name_elsewhere_is_another(tmp_path: Path, opened: Open):
    plugin(tmp_path / "one", "alpha", 1)
    plugin(tmp_path / "two", "alpha", 2)

    assert default_of(opened(tmp_path / "one"), "alpha") == 1
    assert default_of(opened(tmp_path / "two"), "alpha") == 2


# Edits and the cache


def test_an_edit_of_any_source_is_seen_at_once(tmp_path: Path, opened: Open):
    head = (
        "import json\nfrom pathlib import Path\nfrom plugin.values import TENS\n"
        "ONES = json.loads((Path(__file__).parent.parent / 'values.json').read_text())\n"
    )
    main = head + SOURCE.format(default="100 + TENS + ONES", doc="")
    values = {"plugin/values.py": "TENS = 10\n", "values.json": "1\n"}
    root = plugin(tmp_path / "a", "alpha", main=main, **values)
    registry = opened(tmp_path / "a")
    assert default_of(registry, "alpha") == 111
    registry.check("alpha", "act", {})

    for file, old, new, default in (
        ("plugin/main.py", "100", "200", 211),
        ("plugin/values.py", "10", "20", 221),
        ("values.json", "1", "2", 222),
    ):
        # Of the same size, within the same second, and with the time of the first version.
        before = (root / file).stat()
        (root / file).write_text((root / file).read_text().replace(old, new, 1))
        os.utime(root / file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert default_of(registry, "alpha") == default


def test_the_check_of_parameters_sees_an_edit_at_once(tmp_path: Path, opened: Open):
    root = plugin(tmp_path, "alpha")
    registry = opened(tmp_path)
    registry.check("alpha", "act", {"times": 3})

    source = root / "plugin" / "main.py"
    source.write_text(source.read_text().replace("ge=1", "ge=5"))

    with pytest.raises(ValidationError, match="greater than or equal to 5"):
        registry.check("alpha", "act", {"times": 3})


@needs_proc
def test_a_description_is_kept_for_the_next_registry(tmp_path: Path, opened: Open, children: Children):
    plugin(tmp_path / "a", "alpha")
    first = opened(tmp_path)
    described = first.describe("alpha")
    first.close()

    assert opened(tmp_path).describe("alpha") == described
    assert children() == []


def test_a_touched_file_of_the_same_content_changes_nothing(tmp_path: Path, opened: Open):
    root = plugin(tmp_path, "alpha")
    registry = opened(tmp_path)
    before = registry.content(root)

    (root / "plugin" / "main.py").touch()
    write(root, {"__pycache__/x.py": "", ".git/x.py": "", "notes.md": ""})

    assert registry.content(root) == before
    (root / "plugin" / "main.py").rename(root / "plugin" / "other.py")
    assert registry.content(root) != before


def test_a_cache_that_was_spoilt_is_made_anew(tmp_path: Path, opened: Open):
    root = plugin(tmp_path / "a", "alpha")
    registry = opened(tmp_path / "a")
    described = registry.describe("alpha")
    (stored,) = (tmp_path / "cache").iterdir()
    assert stored.stem == registry.content(root)

    for garbage in (b"", b"{", b"[]", b'{"actions":3}', b'{"actions":[{"plugin":"\xff"}]}'):
        stored.write_bytes(garbage)
        assert registry.describe("alpha") == described
        assert stored.read_bytes() != garbage


def test_a_description_with_issues_is_not_kept(tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch):
    plugin(tmp_path / "a", "alpha", main="import a_late_package\n" + SOURCE.format(default=1, doc=""))
    registry = opened(tmp_path / "a")
    assert registry.describe("alpha").actions == ()
    registry.close()

    # What was missing is installed; no file of the plugin changes by that.
    write(tmp_path / "site", {"a_late_package.py": ""})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    assert default_of(registry, "alpha") == 1


def test_what_lies_about_in_a_plugins_folder_does_no_harm(tmp_path: Path, opened: Open):
    root = plugin(tmp_path, "alpha")
    (root / "plugin" / ".#main.py").symlink_to("user@host.1234:56")  # the lock of an editor
    (root / "plugin" / "loop.py").symlink_to("loop.py")
    os.mkfifo(root / "plugin" / "pipe.json")  # opening it would wait for ever
    (root / "plugin" / "folder.py").mkdir()
    (root / "plugin" / os.fsdecode(b"\xff.py")).touch()
    (root / "plugin" / "huge.json").write_bytes(b"0" * (2 << 20))

    assert default_of(opened(tmp_path), "alpha") == 1


# Checking parameters


def test_parameters_are_checked_by_the_plugins_own_model(tmp_path: Path, opened: Open):
    plugin(tmp_path, "alpha")
    registry = opened(tmp_path)

    assert registry.check("alpha", "act", {"times": 2}).spec.name == "act"
    with pytest.raises(ValidationError) as caught:
        registry.check("alpha", "act", {"times": 13, "tmes": 2})
    assert [(problem["path"], problem["message"]) for problem in caught.value.problems] == [
        ("tmes", "there is no such parameter"),
        ("times", "Value error, not thirteen"),
    ]
    assert "nothing was started" in str(caught.value.hint)


def test_an_action_that_no_longer_loads_is_no_problem_of_the_parameters(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path / "site", {"a_package_for_now.py": ""})
    plugin(tmp_path / "a", "alpha", main="import a_package_for_now\n" + SOURCE.format(default=1, doc=""))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    first = opened(tmp_path / "a")
    first.describe("alpha")
    first.close()
    monkeypatch.delenv("PYTHONPATH")

    with pytest.raises(PluginLoadError, match="a_package_for_now"):
        opened(tmp_path / "a").check("alpha", "act", {})


def test_large_parameters_are_checked_too(tmp_path: Path, opened: Open):
    plugin(tmp_path, "alpha")

    with pytest.raises(ValidationError) as caught:
        opened(tmp_path).check("alpha", "act", {"times": ["x"] * 300_000})
    assert len(str(caught.value)) < 1000


# The children


@needs_proc
def test_one_child_answers_for_a_plugin_until_it_changes(tmp_path: Path, opened: Open, children: Children):
    root = plugin(tmp_path / "a", "alpha")
    registry = opened(tmp_path / "a")
    registry.describe("alpha")
    before = children()
    for times in range(1, 5):
        registry.check("alpha", "act", {"times": times})

    assert children() == before
    (root / "plugin" / "more.py").touch()
    registry.check("alpha", "act", {"times": 1})
    assert set(children()) > set(before)


@needs_proc
def test_closing_ends_the_children(tmp_path: Path, opened: Open, children: Children):
    plugin(tmp_path, "alpha")
    registry = opened(tmp_path)
    registry.describe("alpha")
    started = children()

    registry.close()

    assert started
    assert not any(pid_is_alive(child.pid) for child in started)


@needs_proc
def test_a_child_that_died_meanwhile_is_replaced(tmp_path: Path, opened: Open, children: Children):
    plugin(tmp_path, "alpha")
    registry = opened(tmp_path)
    registry.check("alpha", "act", {})
    (child,) = children()
    child.send(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    registry.check("alpha", "act", {"times": 2})

    assert child not in children()


def test_many_plugins_can_be_asked_at_once(tmp_path: Path, opened: Open):
    """More than there may be idle children, so that some have to go while others are asked."""
    names = [f"p{index}" for index in range(7)]
    for index, code in enumerate(names):
        plugin(tmp_path / "plugins" / code, code, default=index + 1)
    registry = opened(tmp_path / "plugins")
    start = threading.Barrier(len(names))
    told: dict[str, Any] = {}

    def ask(code: str) -> None:
        start.wait()
        try:
            told[code] = default_of(registry, code)
            registry.check(code, "act", {"times": 2})
        except Exception as error:  # noqa: BLE001  # told below
            told[code] = error

    threads = [threading.Thread(target=ask, args=(code,)) for code in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert told == {code: index + 1 for index, code in enumerate(names)}


def test_many_questions_to_a_plugin_that_dies_are_all_answered(tmp_path: Path, opened: Open):
    plugin(tmp_path, "alpha", main="import os; os._exit(3)\n")
    registry = opened(tmp_path)
    start = threading.Barrier(4)
    told: list[str] = []

    def ask() -> None:
        start.wait()
        try:
            registry.check("alpha", "act", {"times": 2})
        except Exception as error:  # noqa: BLE001  # told below
            told.append(type(error).__name__)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert told == ["PluginLoadError"] * 4


def test_no_secret_of_this_process_reaches_a_plugin_that_is_described(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_SECRET_TOKEN", "x")
    main = "import os\nassert 'MY_SECRET_TOKEN' not in os.environ\n" + SOURCE.format(default=1, doc="")
    plugin(tmp_path, "alpha", main=main)

    assert default_of(opened(tmp_path), "alpha") == 1
