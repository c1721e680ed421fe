"""Every block of code of the documents that promise the public API is run, and does what it says there.

SYNAPSE_TEST_SEEDS says where the documents are; by default beside the repository, in ../shared/seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from seeds import (
    guide_actions,
    guide_execution,
    guide_ready_made,
    guide_reporting,
    guide_serving,
    progress,
    specialized,
    steps_guide,
    steps_ready_made,
)
from seeds.bench import Bench, make_bench
from seeds.documents import SEEDS, Block, block, blocks

Case = Callable[[Block, Bench], None]
_MODULES = (
    guide_actions,
    guide_execution,
    guide_ready_made,
    guide_reporting,
    guide_serving,
    progress,
    specialized,
    steps_guide,
    steps_ready_made,
)
# (document, number of the block, from 1) -> what runs it.
CASES: dict[tuple[str, int], Case] = {
    (module.DOCUMENT, number): case for module in _MODULES for number, case in module.CASES.items()
}
# Those that need the session's Ray cluster.
ON_RAY = {(module.DOCUMENT, number) for module in _MODULES for number in getattr(module, "ON_RAY", ())}

pytestmark = pytest.mark.skipif(
    not SEEDS.is_dir(), reason="the documents are not here; SYNAPSE_TEST_SEEDS says where they are"
)


@pytest.fixture
def bench(home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return make_bench(home, tmp_path / "bench", request)


@pytest.mark.parametrize(
    ("document", "number"),
    [
        pytest.param(*key, id=f"{key[0]}-{key[1]}", marks=pytest.mark.ray if key in ON_RAY else ())
        for key in sorted(CASES)
    ],
)
def test_a_block_runs(document: str, number: int, request: pytest.FixtureRequest):
    CASES[document, number](block(document, number), request.getfixturevalue("bench"))


def test_every_block_of_every_document_has_a_case():
    there = {(path.stem, one.number) for path in SEEDS.glob("*.md") for one in blocks(path.stem)}

    assert set(CASES) == there


def test_no_two_cases_are_for_one_block():
    assert len(CASES) == sum(len(module.CASES) for module in _MODULES)
