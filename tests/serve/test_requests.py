"""Requests to a deployment: who may send them, for which model, and what becomes of those that do not fit."""

from __future__ import annotations

import concurrent.futures
import json
import stat
import time

import jwt
import pytest
from serve.conftest import Aviary

from synapse_core.actions.inference import create_serve_multiplexed_model_id
from synapse_core.actions.inference.model_token import home_secret, read_model_id
from synapse_core.errors import InvalidModelToken

HELLO = b'{"inputs": [{"word": "hi"}]}'


def error_of(answer) -> str:
    return f"{answer.json()['error']['code']}: {answer.json()['error']['message']}"


@pytest.mark.ray("own")
def test_what_does_not_fit_is_refused_with_a_reason_and_hurts_nobody(aviary: Aviary):
    model = aviary.model("one")
    aviary.deploy("polly", model)
    pid = aviary.say("polly")["pid"]
    token = aviary.token("polly", model)

    refused = {
        body[:30]: aviary.post("polly", body, token)
        for body in (
            b"no json",
            b"\xff\xfe",
            b"[1, 2]",
            b'{"inputs": "hi"}',
            b'{"inputs": [{"sentence": "hi"}]}',
            b'{"inputs": [7]}',
            b'{"inputs": [{"word": "wrong"}]}',
            b'{"inputs": ["' + b"x" * 200_000 + b'"]}',
        )
    }
    assert [answer.status_code for answer in refused.values()] == [422] * 7 + [413]
    told = [error_of(answer) for answer in refused.values()]

    assert "no JSON" in told[0]
    assert "no list 'inputs'" in told[2]
    assert "inputs[0]" in told[4] and "word" in told[4]
    assert "parrots do not say that" in told[6]
    assert "100,000 bytes" in told[7]
    assert aviary.say("polly")["pid"] == pid

    # Tokens, on the same deployment: another one takes seconds.
    other = aviary.model("never loaded")
    loads = aviary.loads()
    foreign = create_serve_multiplexed_model_id(other.id, audience="polly", secret="x" * 64)
    for bad, words in (
        (None, "need a token"),
        ("nonsense", "not valid"),
        (foreign, "Signature"),
        (create_serve_multiplexed_model_id(other.id, audience="rio"), "udience"),
        (create_serve_multiplexed_model_id(other.id, audience="polly", valid_seconds=-1), "expired"),
        (jwt.encode({"model": other.id, "aud": "polly", "exp": time.time() + 99}, None, "none"), "not valid"),
    ):
        answer = aviary.post("polly", HELLO, bad)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_token"), bad
        assert words in answer.json()["error"]["message"]
    unknown = aviary.post("polly", HELLO, create_serve_multiplexed_model_id(10**6, audience="polly"))
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_record")
    assert aviary.loads() == loads


@pytest.mark.ray("own")
def test_fifty_models_share_a_deployment_with_room_for_five(aviary: Aviary):
    own = aviary.model("own")
    many = [aviary.model(f"model {number}", "many") for number in range(50)]
    broken = aviary.model("broken", fails="load")
    aviary.deploy("polly", own)
    tokens = {model.id: aviary.token("polly", model) for model in [*many, broken]}

    def say(model) -> str:
        answer = aviary.post("polly", HELLO, tokens[model.id])
        assert answer.status_code == 200, answer.text
        return answer.json()["results"][0]["says"]

    assert [say(model) for model in many] == [f"model {number} hi" for number in range(50)]
    ids = [str(model.id) for model in many]
    assert aviary.loads()[-50:] == ids

    # The last five are there, and one that cannot be loaded pushes out a single one, once.
    [say(model) for model in many[-5:]]
    assert aviary.loads()[-50:] == ids
    failures = [aviary.post("polly", HELLO, tokens[broken.id]) for _ in range(3)]
    assert {answer.status_code for answer in failures} == {500}
    assert "the feathers are missing" in error_of(failures[0])
    [say(model) for model in many[-4:]]
    assert aviary.loads()[-51:] == [*ids, str(broken.id)]

    # Eight at once ask for a model that is not there: it is loaded once. Its own is never let go of.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: say(many[0]), range(8))) == {"model 0 hi"}
    assert aviary.loads()[-1:] == ids[:1]
    assert aviary.say("polly")["says"] == "own hi"
    assert aviary.loads().count(str(own.id)) == 1


@pytest.mark.ray("own")
def test_requests_are_answered_together_and_bad_ones_alone(aviary: Aviary):
    model = aviary.model("one")
    aviary.deploy("polly", model, action="deploy_batched")
    token = aviary.token("polly", model)

    def say(word: str):
        return aviary.post("polly", json.dumps({"inputs": [{"word": word}]}).encode(), token)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(say, ["a", "b", "c", "d"]))
        mixed = list(pool.map(say, ["a", "wrong", "c", "d"]))

    results = [answer.json()["results"][0] for answer in answers]
    assert [each["says"] for each in results] == [f"one {word}" for word in "abcd"]
    assert max(each["together"] for each in results) > 1
    assert [answer.status_code for answer in mixed] == [200, 422, 200, 200]


@pytest.mark.ray("own")
def test_a_large_model_is_in_memory_once(aviary: Aviary):
    """500 MB: anything smaller would be lost among what a replica takes by itself."""
    large = 500_000_000
    file = aviary.folder / "large.bin"
    with open(file, "wb") as made:
        made.truncate(large)
    model = aviary.register("large", file)
    file.unlink()

    ended = aviary.deploy("elephant", model)

    assert ended.failure is None, ended
    peak = aviary.say("elephant")["peak_bytes"]
    assert large < peak < 1.6 * large


def test_a_token_says_for_which_model_and_deployment_it_is():
    secret = "s" * 64
    token = create_serve_multiplexed_model_id(7, audience="polly", secret=secret)

    model, until = read_model_id(token, audience="polly", secret=secret)

    assert model == "7"
    assert 3600 <= until - time.time() <= 7200
    assert token == create_serve_multiplexed_model_id(7, audience="polly", secret=secret, valid_seconds=3601)
    for audience, other in (("rio", secret), ("polly", "t" * 64)):
        with pytest.raises(InvalidModelToken):
            read_model_id(token, audience=audience, secret=other)


def test_the_secret_of_a_home_is_made_once_and_is_for_its_user_only(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: home_secret(tmp_path / "home"), range(16)))

    file = tmp_path / "home" / "serve" / "secret"
    assert secrets == {file.read_text()}
    assert len(file.read_text()) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["secret"]
