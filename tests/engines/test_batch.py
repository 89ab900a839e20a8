"""The batch engine: requests are handed in once, and answers find their rows, whatever the files look like."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.captions.steps import find_spec
from kale_tasks.engines.base import Answer, Engine, Model, Request, open_engine
from kale_tasks.errors import BadConfig, Paused
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.recipes.recipe import load_recipe
from tests.captions.conftest import Opener
from tests.captions.test_step import rows
from tests.captions.world import KEY, give, pairs, run_step
from tests.engines.batch_server import TEXT, BatchServer, answer, serving_batches
from tests.lakes import settings_of

TASK = load_recipe("demo").task("dense")


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with serving_batches() as running:
        yield running


def engine(server: BatchServer, folder: Path, *sets: str) -> Engine:
    settings = settings_of(["caption.engine=batch", "caption.batch_wait_s=0", *sets]).caption
    made = open_engine(settings, Model("tiny@0", TASK, lambda: Path("nowhere"), [server.url]))
    made.keep_in(FolderStorage(folder), "engine")
    return made


def requests(count: int) -> list[Request]:
    return [Request(i, [{"role": "user", "content": f"question {i}"}], seed=i) for i in range(count)]


def ask(running: Engine, asked: Sequence[Request]) -> dict[int, Answer]:
    found: dict[int, Answer] = {}
    with running:
        running.start()
        for request in asked:
            running.submit(request)
        while running.pending:
            found |= {one.id: one for one in running.finished()}
    return found


def paused(running: Engine, asked: Sequence[Request]) -> Paused:
    with pytest.raises(Paused) as stopped:
        ask(running, asked)
    return stopped.value


def test_a_batch_is_handed_in_once_and_read_by_a_later_process(server: BatchServer, tmp_path: Path) -> None:
    for _ in range(3):
        until = paused(engine(server, tmp_path, "caption.batch_poll_s=600"), requests(20)).resumes_at
        assert until and 0 < (until - datetime.now(UTC)).total_seconds() <= 600
    server.end_all()
    answers = ask(engine(server, tmp_path), requests(20))
    assert {one.text for one in answers.values()} == {TEXT} and len(answers) == 20
    assert server.requests.total() == 20
    assert (answers[3].tokens_in, answers[3].tokens_out, answers[3].repeated) == (7, 5, False)
    assert ask(engine(server, tmp_path), requests(20))[3].repeated  # it was paid for before
    assert len(server.batches) == 1


def test_lines_out_of_order_twice_cut_or_of_nobody_do_no_harm(server: BatchServer, tmp_path: Path) -> None:
    paused(engine(server, tmp_path), requests(4))
    by_text = {line["body"]["messages"][0]["content"]: line["custom_id"] for line in server.lines("batch-0")}
    one, two, three, four = (by_text[f"question {i}"] for i in range(4))
    lines = [answer(three, text="third"), answer("nobody"), answer(one, text="first"), answer(one, text="late")]
    server.end("batch-0", lines=[*lines, "", "[]", json.dumps(answer(two))[:60], answer(four, 400, "too long")])
    paused(engine(server, tmp_path), requests(4))  # the cut line is asked again
    assert server.requests == {one: 1, two: 2, three: 1, four: 1}
    server.end_all()
    answers = ask(engine(server, tmp_path), requests(4))
    assert [answers[i].text for i in range(3)] == ["first", TEXT, "third"]
    assert answers[3].reason == "too_long"


def test_what_an_expired_batch_has_answered_counts(server: BatchServer, tmp_path: Path) -> None:
    paused(engine(server, tmp_path), requests(10))
    ids = [line["custom_id"] for line in server.lines("batch-0")]
    server.end("batch-0", "expired", [answer(id) for id in ids[:4]])
    paused(engine(server, tmp_path), requests(10))
    assert len(server.lines("batch-1")) == 6
    paused(engine(server, tmp_path), requests(10))  # both batches are known: nothing is handed in again
    assert server.requests.total() == 16
    server.end_all()
    assert not any(one.reason for one in ask(engine(server, tmp_path), requests(10)).values())


def test_a_request_that_no_batch_answers_fails_alone(server: BatchServer, tmp_path: Path) -> None:
    stuck, answers = "", dict[int, Answer]()
    for number in range(3):
        try:
            answers = ask(engine(server, tmp_path, "caption.tries=2"), requests(5))
        except Paused:
            lines = server.lines(f"batch-{number}")
            stuck = stuck or lines[0]["custom_id"]
            server.end(
                f"batch-{number}", lines=[answer(name) for line in lines if (name := line["custom_id"]) != stuck]
            )
    assert server.requests[stuck] == 2
    assert sorted(one.reason for one in answers.values()) == ["", "", "", "", "engine_error"]


def test_files_stay_below_the_limit_of_the_provider(server: BatchServer, tmp_path: Path) -> None:
    asked = [Request(i, [{"role": "user", "content": f"{i} " * 9000}]) for i in range(99)]
    paused(engine(server, tmp_path, "caption.batch_file_mb=1"), asked)
    sizes = [len(file) for file in server.files.values()]
    assert max(sizes) <= 1_000_000 and sum(sizes) > max(sizes)
    assert server.requests.total() == 99


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [("model_not_found", BadConfig, "no such model"), ("token_limit_exceeded", Paused, "no room for another batch")],
)
def test_a_refused_file_fails_no_row(
    server: BatchServer, tmp_path: Path, code: str, error: type[Exception], says: str
) -> None:
    paused(engine(server, tmp_path), requests(3))
    server.end("batch-0", "failed", [], errors={"data": [{"code": code, "message": "no such model"}]})
    with pytest.raises(error, match=says):
        ask(engine(server, tmp_path), requests(3))
    paused(engine(server, tmp_path), requests(3))
    server.end_all()
    assert len(ask(engine(server, tmp_path), requests(3))) == 3


def test_a_wrong_key_is_a_configuration_error(server: BatchServer, tmp_path: Path) -> None:
    server.key = "right"
    with pytest.raises(BadConfig, match="401 bad key"):
        ask(engine(server, tmp_path, "caption.endpoints.api_key=wrong"), requests(1))


def test_a_step_goes_on_where_its_batches_are(opened: Opener, server: BatchServer) -> None:
    given = [pair for pair in pairs(120) if pair.split == "stage1"]
    sets = [f"caption.endpoints.models.vlm=[{server.url}]", "caption.batch_wait_s=0", "caption.token_price_out=1000000"]
    sets.append("parts.chunk_rows=40")
    lake, settings = opened("caption.engine=batch", *sets)
    give(lake, settings, given)

    def run() -> Any:
        return run_step("dense", lake, settings)

    for _ in range(2):
        with pytest.raises(Paused):
            run()
    assert len(server.batches) == -(-len(given) // 40) > 1  # one for each chunk
    assert not list(Path(lake.storage.root, "texts").rglob("part-*.parquet"))
    server.end_all()
    run()
    assert [row["text"] for row in rows(lake, "texts")] == [TEXT] * len(given)
    assert server.requests.total() == len(given)
    lines = lake.arrow("runs", KEY, slice_={"step": find_spec("dense", settings).name}).to_pylist()
    costs = [json.loads(line["metrics"]).get("cost", 0) for line in lines if line["verb"] == "work"]
    assert sum(costs) == 5 * len(given)  # each line has what its chunk has cost
