"""The openai engine: every request gets exactly one answer, whatever the servers do."""

import base64
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kale_tasks.engines.base import Answer, Model, Request, open_engine
from kale_tasks.errors import BadConfig, Transient
from kale_tasks.recipes.parts import Task
from kale_tasks.recipes.recipe import load_recipe
from tests.captions.world import pairs
from tests.engines.scripts import rate
from tests.engines.server import Server, completion, prompt_of, serving
from tests.lakes import settings_of

TASK = load_recipe("demo").task("dense")


def ask(servers: Sequence[Server], requests: Sequence[Request], *sets: str, task: Task = TASK) -> dict[int, Answer]:
    settings = settings_of(["caption.engine=openai", *sets]).caption
    model = Model("tiny@0", task, lambda: Path("nowhere"), [server.url for server in servers])
    answers: dict[int, Answer] = {}
    with open_engine(settings, model) as engine:
        engine.start()
        for request in requests:
            engine.submit(request)
        while engine.pending:
            answers |= {answer.id: answer for answer in engine.finished()}
    return answers


def asking(text: str, number: int = 0, image: bytes | None = None) -> Request:
    content: Any = [{"type": "image"}, {"type": "text", "text": text}] if image else text
    return Request(number, [{"role": "user", "content": content}], image)


def test_an_answer_has_text_token_counts_and_finish_reason() -> None:
    task = TASK.model_copy(update={"sampling": TASK.sampling.model_copy(update={"max_tokens": 5})})
    with serving(reply=lambda body: completion("A tower.", "length")) as server:
        assert ask([server], [asking("what?")], task=task) == {0: Answer(0, "A tower.", 7, 5, "length")}


def test_an_answer_that_a_server_cuts_for_lack_of_context_is_none() -> None:
    with serving(reply=lambda body: completion("A tower.", "length")) as server:
        answers = ask([server], [asking("what?")])
    assert answers == {0: Answer(0, "", 7, reason="too_long", detail="7 tokens")}


def test_images_are_sent_as_data_uris_of_their_own_type() -> None:
    image = pairs(1)[0].image
    with serving() as server:
        ask([server], [asking("what?", image=image)])
    url = server.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert url == "data:image/jpeg;base64," + base64.b64encode(image).decode()


def test_a_broken_image_is_never_sent_and_fails_alone() -> None:
    with serving() as server:
        answers = ask([server], [asking("bad", 0, b"no image"), asking("good", 1, pairs(1)[0].image)])
    assert (answers[0].reason, answers[1].reason) == ("image_broken", "")
    assert server.asked == {"good": 1}


def test_a_busy_server_is_asked_again_after_the_time_it_names() -> None:
    turns = count()

    def reply(body: dict[str, Any]) -> web.Response | None:
        return web.Response(status=429, headers={"Retry-After": "0.01"}) if next(turns) < 2 else None

    with serving(reply=reply) as server:
        assert ask([server], [asking("what?")])[0].reason == ""
    assert server.asked == {"what?": 3}


def test_a_request_that_always_fails_fails_alone() -> None:
    def reply(body: dict[str, Any]) -> web.Response | None:
        return web.Response(status=500, headers={"Retry-After": "0.01"}) if prompt_of(body) == "bad" else None

    with serving(0.01, reply) as server:
        requests = [asking("bad", 0), *(asking(f"good {i}", i) for i in range(1, 40))]
        answers = ask([server], requests, "caption.tries=3")
    assert answers[0].reason == "engine_error"
    assert not any(answers[i].reason for i in range(1, 40))
    assert server.asked["bad"] == 3


def test_what_a_server_rejects_is_not_sent_again() -> None:
    def reply(body: dict[str, Any]) -> web.Response | None:
        why = "maximum context length is 1024 tokens" if prompt_of(body) == "long" else "this is no image"
        return web.json_response({"error": why}, status=400)

    with serving(reply=reply) as server:
        answers = ask([server], [asking("long", 0), asking("odd", 1)])
    assert (answers[0].reason, answers[1].reason) == ("too_long", "rejected")
    assert set(server.asked.values()) == {1}


def test_a_request_is_abandoned_after_the_time_limit() -> None:
    with serving(0.5) as server, pytest.raises(Transient, match="try again"):
        ask([server], [asking("what?")], "caption.timeout_s=0.05", "caption.tries=1")


NO_COMPLETIONS = {
    "no choice": b'{"choices": []}',
    "broken off": b'{"choices": [{"message": {"content": "A red ho',
    "empty": b"",
    "another form": b'["A red house."]',
    "null": b"null",
    "nested without end": b"[" * 100_000,
    "a page": b"<html><body>It works!</body></html>",
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("what", NO_COMPLETIONS)
def test_a_response_without_a_completion_fails_its_request_alone(what: str) -> None:
    def reply(body: dict[str, Any]) -> web.Response | None:
        if prompt_of(body) != "bad":
            return None
        return web.Response(body=NO_COMPLETIONS[what], content_type="application/json")

    with serving(reply=reply) as server:
        answers = ask([server], [asking("bad", 0), *(asking("good", i) for i in range(1, 9))], "caption.tries=1")
    assert answers[0].reason == "engine_error"
    assert all(answers[number].text for number in range(1, 9))


def test_a_run_ends_without_quarantine_when_no_server_answers() -> None:
    with serving() as server:
        pass
    with pytest.raises(Transient, match="Finished parts are kept"):
        ask([server], [asking("what?")], "caption.tries=1")


def test_a_wrong_key_is_a_configuration_error() -> None:
    with (
        serving(reply=lambda body: web.Response(status=401, text="bad key")) as server,
        pytest.raises(BadConfig, match="Check its address, its key"),
    ):
        ask([server], [asking("what?")])


def test_servers_share_the_load_and_connections_are_kept() -> None:
    with serving(0.01) as one, serving(0.01) as other:
        ask([one, other], [asking(f"{i}", i) for i in range(200)])
    assert min(one.asked.total(), other.asked.total()) >= 80
    assert one.asked.total() + other.asked.total() == 200


def test_a_prompt_that_cannot_fit_is_not_sent(models: Path) -> None:
    settings = settings_of(["caption.engine=openai"]).caption
    with serving() as server:
        model = Model("tiny@0", TASK, lambda: models / "reads", [server.url])
        with open_engine(settings, model) as engine:
            engine.start()
            engine.submit(asking("word " * 5000))
            assert [answer.reason for answer in engine.finished()] == ["too_long"]
    assert not server.asked


def test_an_engine_without_servers_is_a_configuration_error() -> None:
    with pytest.raises(BadConfig, match=r"caption\.endpoints"):
        ask([], [asking("what?")])


def test_while_one_server_is_down_the_other_answers_everything() -> None:
    with serving() as down:
        pass
    for servers in ((0, 1), (1, 0)):
        with serving(0.005) as up:
            both = [(down, up)[i] for i in servers]
            answers = ask(both, [asking(f"question {i}", i) for i in range(300)], "caption.tries=2")
        assert not any(answer.reason for answer in answers.values())


def test_a_full_server_rests_as_long_as_it_says_while_the_other_goes_on() -> None:
    def reply(body: dict[str, Any]) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "60"})

    with serving(0.005) as free, serving(reply=reply) as full:
        answers = ask([full, free], [asking(f"question {i}", i) for i in range(100)], "caption.tries=1")
    assert not any(answer.reason for answer in answers.values())
    assert free.asked.total() == 100 and full.asked.total() <= 50


def test_a_server_may_be_full_for_longer_than_a_request_may_take() -> None:
    turns = count()

    def reply(body: dict[str, Any]) -> web.Response | None:
        return web.Response(status=429, headers={"Retry-After": "0.1"}) if next(turns) % 3 else None

    with serving(reply=reply) as server:
        answers = ask([server], [asking(f"question {i}", i) for i in range(9)], "caption.timeout_s=0.2")
    assert not any(answer.reason for answer in answers.values())


@pytest.mark.parametrize(("amount", "least"), [(2_000, 0.8), pytest.param(20_000, 0.95, marks=pytest.mark.nightly)])
def test_the_death_of_one_server_of_three_costs_no_row_no_request_twice_and_no_speed(amount: int, least: float) -> None:
    state = {"down": False}

    def reply(body: dict[str, Any]) -> web.Response | None:
        return web.Response(status=502) if state["down"] else None

    settings = settings_of(["caption.engine=openai", "caption.tries=20"]).caption
    done, sent, answers, times = 0, 0, dict[int, Answer](), list[float]()
    with serving(0.05, width=8) as one, serving(0.05, width=8) as two, serving(0.05, reply, width=8) as dying:
        model = Model("tiny@0", TASK, lambda: Path("nowhere"), [one.url, two.url, dying.url])
        with open_engine(settings, model) as engine:
            engine.start()
            while done < amount:
                while sent < amount and engine.pending < 96:
                    engine.submit(asking(f"question {sent}", sent))
                    sent += 1
                finished = engine.finished()
                answers |= {answer.id: answer for answer in finished}
                times += [time.monotonic()] * len(finished)
                done = len(answers)
                state["down"] = 0.25 * amount < done < 0.3 * amount
    assert not any(answer.reason for answer in answers.values())
    asked = one.asked.total() + two.asked.total() + dying.asked.total()
    assert asked - amount <= 96 + 10  # what was in it when it died, and probes
    after, before = rate(times, int(0.7 * amount), amount - 96), rate(times, 96, int(0.25 * amount))
    assert after >= least * before


def test_a_server_that_comes_back_gets_requests_again() -> None:
    broken = True

    def reply(body: dict[str, Any]) -> web.Response | None:
        return web.Response(status=503) if broken else None

    settings = settings_of(["caption.engine=openai", "caption.tries=20"]).caption
    with serving(0.005) as up, serving(0.005, reply) as restarting:
        model = Model("tiny@0", TASK, lambda: Path("nowhere"), [up.url, restarting.url])
        with open_engine(settings, model) as engine:
            engine.start()
            sent, done, until = 0, 0, time.monotonic() + 60
            while restarting.asked.total() <= 100 and time.monotonic() < until:
                while engine.pending < 8:
                    engine.submit(asking(f"question {sent}", sent))
                    sent += 1
                done += sum(not answer.reason for answer in engine.finished())
                broken = done < 200
    assert restarting.asked.total() > 100


@pytest.mark.parametrize("status", [401, 404])
def test_a_server_with_a_wrong_key_or_model_takes_out_only_itself(status: int) -> None:
    with serving() as right, serving(reply=lambda body: web.Response(status=status)) as wrong:
        answers = ask([wrong, right], [asking(f"question {i}", i) for i in range(20)])
    assert not any(answer.reason for answer in answers.values())
    assert wrong.asked.total() <= 20 and right.asked.total() == 20


def test_a_slow_request_fails_alone_while_its_server_answers_others() -> None:
    with serving(0.01) as server:
        server.delays["slow"] = 1.5
        requests = [asking("slow", 0), *(asking(f"question {i}", i) for i in range(1, 40))]
        answers = ask([server], requests, "caption.timeout_s=0.5", "caption.tries=1")
    assert {i: answer.reason for i, answer in answers.items() if answer.reason} == {0: "timeout"}


def test_top_p_and_the_seed_of_a_request_reach_the_server() -> None:
    task = TASK.model_copy(update={"sampling": TASK.sampling.model_copy(update={"top_p": 0.5})})
    with serving() as server:
        ask([server], [Request(0, [{"role": "user", "content": "what?"}], None, 0.3, seed=11)], task=task)
    (body,) = server.bodies
    assert (body["top_p"], body["temperature"], body["seed"]) == (0.5, 0.3, 11)
