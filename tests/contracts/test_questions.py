"""Actions that ask the user: a question is recorded, and its first answer counts, whoever gives it."""

from __future__ import annotations

from typing import Literal

import pydantic
import pytest
from asking_plugin import write_asking

from synapse_core.context import RuntimeContext
from synapse_core.enums import RunState
from synapse_core.errors import CannotAsk, Conflict, InvalidRequest, RunNotFound
from synapse_core.events import Answered, Question
from synapse_core.forms import form_schema
from synapse_core.loggers import NoOpLogger
from synapse_core.pipelines import PipelineAction
from synapse_core.pipelines.plan import find_named, plan_pipeline
from synapse_core.registry import Registry
from synapse_core.runs import Runs, open_questions
from synapse_core.runs.request import make_request

GOOD = {"count": 3, "colour": "blue", "unknown": "passed over"}


@pytest.fixture
def asking(tmp_path):
    registry = Registry([write_asking(tmp_path / "plugins")], tmp_path / "descriptions")
    yield registry
    registry.close()


def begin(lab, registry, action="ask", **params):
    request = make_request(registry, "asking", action, params, mode=lab.mode, modes=[lab.mode])
    run, _ = lab.runs.submit(request)
    lab.runs.start(run.run_id)
    return run.run_id


def asked(lab, run_id, count=1):
    return lab.until(run_id, lambda run: len(run.questions) == count).questions


def ended(lab, run_id):
    run = lab.runs.wait(run_id, 60)
    assert run.is_done, run
    return run


def test_an_accepted_answer_reaches_the_action_also_from_another_server(lab, asking):
    run_id = begin(lab, asking)
    (question,) = asked(lab, run_id)
    other = Runs(lab.home, {lab.mode: lab.runs.executor(lab.mode)})

    other.answer(run_id, question.question_id, "accept", GOOD)

    run = ended(lab, run_id)
    data = {"count": 3, "colour": "blue", "speed": "slow", "ratio": None, "sure": True, "name": ""}
    assert run.result == {"said": "accept", "data": data}
    assert run.questions == ()
    assert (question.question_id, question.message) == ("question-1", "Which ones?")
    assert question.schema["properties"]["colour"]["enum"] == ["red", "blue"]
    assert question.schema["required"] == ["count"]
    kinds = [event for event in lab.events(run) if isinstance(event, Question | Answered)]
    assert [type(event) for event in kinds] == [Question, Answered]
    # Nothing of what was said is left in the run's folder, but for what the action returned.
    assert b"blue" not in (lab.runs.folder(run_id).path / "answers" / "question-1.json").read_bytes()


def test_a_stop_ends_the_wait(lab, asking):
    run_id = begin(lab, asking)
    asked(lab, run_id)

    stopped = lab.runs.stop(run_id)

    assert stopped.state is RunState.STOPPED
    assert stopped.questions == ()
    with pytest.raises(Conflict, match="has ended"):
        lab.runs.answer(run_id, "question-1", "accept", GOOD)


def test_a_stop_also_ends_what_threads_of_the_action_wait_for(local_lab, asking):
    run_id = begin(local_lab, asking, "both")
    asked(local_lab, run_id, 2)

    assert local_lab.runs.stop(run_id).state is RunState.STOPPED


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_an_action_is_told_that_the_user_did_not_answer(local_lab, asking, action):
    run_id = begin(local_lab, asking)
    asked(local_lab, run_id)

    local_lab.runs.answer(run_id, "question-1", action, {"count": "not looked at"})

    assert ended(local_lab, run_id).result == {"said": action, "data": None}


def test_only_the_first_answer_to_a_question_that_was_asked_counts(local_lab, asking):
    run_id = begin(local_lab, asking)
    (question,) = asked(local_lab, run_id)
    runs = local_lab.runs

    with pytest.raises(Conflict, match="waits for question-1"):
        runs.answer(run_id, "../question-1", "accept", GOOD)
    with pytest.raises(RunNotFound):
        runs.answer("run-nothing", "question-1", "accept", GOOD)
    with pytest.raises(RunNotFound):
        runs.of("somebody else").answer(run_id, "question-1", "accept", GOOD)
    for wrong in ({}, {"count": "3"}, {"count": 10}, {"count": True}, {"count": 1, "colour": "green"}):
        with pytest.raises(InvalidRequest, match="does not fit"):
            runs.answer(run_id, "question-1", "accept", wrong)
    assert open_questions(runs.get(run_id), runs.folder(run_id)) == (question,)
    runs.answer(run_id, "question-1", "accept", {**GOOD, "ratio": 2, "sure": None})
    with pytest.raises(Conflict, match=r"no answer|has ended"):
        runs.answer(run_id, "question-1", "decline")

    assert ended(local_lab, run_id).result["data"]["ratio"] == 2.0


def test_an_answer_that_only_the_model_refuses_is_asked_for_again(local_lab, asking):
    run_id = begin(local_lab, asking)
    asked(local_lab, run_id)
    local_lab.runs.answer(run_id, "question-1", "accept", {"count": 8, "name": "a secret"})

    run = local_lab.until(run_id, lambda run: run.questions and run.questions[0].question_id == "question-2")
    question = run.questions[0]
    local_lab.runs.answer(run_id, "question-2", "accept", {"count": 7})

    assert "count: Value error, it has to be odd" in question.message
    assert "secret" not in question.message
    assert ended(local_lab, run_id).result["data"]["count"] == 7


def test_a_run_can_wait_for_several_answers_and_takes_them_in_any_order(local_lab, asking):
    run_id = begin(local_lab, asking, "both")
    first, second = asked(local_lab, run_id, 2)

    local_lab.runs.answer(run_id, second.question_id, "accept", {"name": "b"})
    left = open_questions(local_lab.runs.get(run_id), local_lab.runs.folder(run_id))
    local_lab.runs.answer(run_id, first.question_id, "accept", {"name": "a"})

    assert left == (first,)
    assert ended(local_lab, run_id).result == {"names": ["a", "b"]}


def test_what_an_action_of_a_pipeline_asks_is_asked_by_the_pipeline(local_lab, asking):
    request = plan_pipeline(
        lambda action: find_named(asking, ["local"], action.action),
        [PipelineAction("asking/ask", name=name, after=()) for name in ("one", "two")],
        {},
        local_lab.runs,
        mode="local",
    )
    run, _ = local_lab.runs.submit(request)
    local_lab.runs.start(run.run_id)
    questions = asked(local_lab, run.run_id, 2)
    assert {each.question_id for each in questions} == {"one.question-1", "two.question-1"}

    local_lab.runs.answer(run.run_id, "two.question-1", "decline")
    local_lab.until(run.run_id, lambda run: len(run.questions) == 1)
    local_lab.runs.answer(run.run_id, "one.question-1", "accept", GOOD)

    result = ended(local_lab, run.run_id).result
    assert (result["one"]["said"], result["two"]["said"]) == ("accept", "decline")


class Nested(pydantic.BaseModel):
    inner: dict[str, int]


class Numbers(pydantic.BaseModel):
    number: Literal[1, 2]


class Secret(pydantic.BaseModel):
    password: pydantic.SecretStr


@pytest.mark.parametrize("model", [Nested, Numbers, Secret, dict])
def test_what_no_client_can_show_is_refused_at_once(model):
    with pytest.raises(CannotAsk):
        form_schema(model)


def test_an_action_that_is_no_recorded_run_can_ask_nobody(tmp_path):
    context = RuntimeContext(logger=NoOpLogger(), run_folder=tmp_path)

    with pytest.raises(CannotAsk, match="nobody to ask"):
        context.elicit("Well?", pydantic.BaseModel)
