"""A user of Great Expectations drops a suite file into a folder, and it runs with the checks before a commit."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pytest

from kale_tasks.errors import BadConfig, KaleError
from kale_tasks.lake.tables import Lake
from kale_tasks.quality import validations
from kale_tasks.quality.check import check_run
from tests.quality.defects import failed, share, stored
from tests.quality.world import World, commit, open_world

CANARY = "canary 7f3a words of a stranger"
NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "alt_text"}}


def write(folder: Path, path: str, *expectations: Mapping[str, Any], name: str = "house_rules") -> None:
    file = folder / "suites" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"name": name, "expectations": list(expectations)}))


def lake_of(folder: Path, **more: Any) -> Lake:
    return open_world(folder, **{"quality.suites": str(folder / "suites"), **more})


def test_a_suite_that_great_expectations_wrote_is_read_as_it_is(tmp_path: Path) -> None:
    context = gx.get_context(mode="ephemeral")
    suite = gx.ExpectationSuite(name="house_rules")
    suite.add_expectation(gxe.ExpectColumnValueLengthsToBeBetween(column="alt_text", min_value=3, severity="warning"))
    suite.add_expectation(gxe.ExpectColumnValuesToNotMatchRegex(column="alt_text", regex="^buy", mostly=0.99))
    saved = context.suites.add(suite).to_json_dict()
    assert saved["id"] and saved["expectations"][0]["id"]
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites/pairs.json").write_text(json.dumps(saved))
    lake = lake_of(tmp_path)
    commit(lake, World("k"), "ingest", share(0.1, alt_text="x"))
    result = check_run(lake, lake.settings, "ingest", "k")
    found = {one.name: one for one in result.checks if one.suite == "house_rules"}
    lengths = found["house_rules: column_value_lengths_to_be_between(alt_text)"]
    assert (lengths.status, lengths.severity, lengths.seen, lengths.high) == ("failed", "warning", 30.0, 0.0)
    regex = found["house_rules: column_values_to_not_match_regex(alt_text)"]
    assert (regex.status, regex.high) == ("passed", 3.0), "1 % of 300 rows may break it"
    assert result.status == "warned"


def test_every_file_of_a_table_runs_and_those_of_other_tables_do_not(tmp_path: Path) -> None:
    write(tmp_path, "pairs.json", NOT_NULL, name="one")
    write(tmp_path, "pairs/more.json", {"expectation_type": "expect_table_row_count_to_be_between",
                                        "kwargs": {"min_value": 1000}}, name="two.three")  # fmt: skip
    write(tmp_path, "images.json", NOT_NULL | {"kwargs": {"column": "shard"}}, name="pictures")
    lake = lake_of(tmp_path)
    commit(lake, World("k"), "ingest")
    result = failed(lake, "ingest", "k")
    assert {one.suite for one in result.checks} == {"", "kale", "one", "two.three"}
    assert result.failed == ["two.three: table_row_count_to_be_between()"]
    (rows,) = (one for one in result.checks if one.name in result.failed)
    assert (rows.seen, rows.low, rows.high) == (300.0, 1000.0, None)


def test_suites_may_use_derived_columns_conditions_and_several_columns(tmp_path: Path) -> None:
    words = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "words", "min_value": 3, "max_value": 99}}
    condition = {"row_condition": "clip_b32 > 9", "condition_parser": "pandas"}
    in_stage1 = {"column": "split", "value_set": ["stage1"], **condition}
    only = {"type": "expect_column_values_to_be_in_set", "kwargs": in_stage1}
    both = {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["url", "alt_text"]}}
    write(tmp_path, "pairs.json", words, only, both, both)
    lake = lake_of(tmp_path)
    commit(lake, World("k"), "ingest")
    found = [one for one in check_run(lake, lake.settings, "ingest", "k").checks if one.suite == "house_rules"]
    assert [one.status for one in found] == ["passed"] * 4
    assert len({one.name for one in found}) == 4


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("pair.json", "{}", r"did you mean pairs\?"),
        ("my_rules.json", "{}", "pairs, images, captions, texts"),
        ("pairs.json", "{", "is not JSON"),
        ("pairs.json", "[]", "no list `expectations`"),
        ("pairs.json", '{"expectations": []}', "no list `expectations`"),
        ("pairs.json", '{"expectations": [{"type": "expect_column_values_to_not_be_nul"}]}',
         "Did you mean expect_column_values_to_not_be_null"),
        ("pairs.json", '{"expectations": [{"type": "expect_column_values_to_not_be_null", "kwargs": '
                       '{"column": "alt_txt"}}]}',
         "no column 'alt_txt'. Did you mean alt_text"),
        ("pairs.json", '{"expectations": [{"type": "expect_column_values_to_match_regex", "kwargs": '
                       '{"column": "url", "regex": "("}}]}', "not a regular expression"),
        ("pairs.json", '{"expectations": [{"type": "expect_column_values_to_be_between", "kwargs": '
                       '{"column": "width", "max": 3}}]}', "cannot be used: .*max"),
        ("pairs.json", '{"expectations": [{"type": "unexpected_rows_expectation", "kwargs": '
                       '{"unexpected_rows_query": "select 1"}}]}', "asks a database"),
        ("pairs.json", '{"name": "../../etc", "expectations": [{"type": "expect_column_values_to_not_be_null", '
                       '"kwargs": {"column": "url"}}]}', "cannot be the name of a suite"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_named_and_nothing_is_left_out(
    path: str, text: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / path).write_text(text)
    lake = lake_of(tmp_path)
    commit(lake, World("k", pairs=20), "ingest")
    with pytest.raises(BadConfig, match=says) as error:
        check_run(lake, lake.settings, "ingest", "k")
    assert path in str(error.value)


def test_a_folder_without_a_suite_is_a_mistake(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    commit(lake, World("k", pairs=20), "ingest")
    with pytest.raises(BadConfig, match=r"has no suite. Put one into .*/pairs.json"):
        check_run(lake, lake.settings, "ingest", "k")


def test_no_text_of_a_row_is_in_any_result(tmp_path: Path) -> None:
    texts = [
        {"type": "expect_column_most_common_value_to_be_in_set", "kwargs": {"column": "alt_text", "value_set": ["a"]}},
        {"type": "expect_column_distinct_values_to_be_in_set", "kwargs": {"column": "alt_text", "value_set": ["a"]}},
        {"type": "expect_column_max_to_be_between", "kwargs": {"column": "alt_text", "max_value": 3}},
        {"type": "expect_column_sum_to_be_between", "kwargs": {"column": "alt_text", "max_value": 3}},
        {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "alt_text", "regex": "^never$"}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "text", "value_set": ["a"]}},
    ]
    write(tmp_path, "pairs.json", *texts)
    lake, world = lake_of(tmp_path), World("k")
    commit(lake, world, "ingest", share(0.9, alt_text=CANARY, text=CANARY))
    with pytest.raises(KaleError) as error:  # the sum of texts raises an error, with texts in its message
        check_run(lake, lake.settings, "ingest", "k")
    assert "house_rules: column_sum_to_be_between(alt_text)" in str(error.value)
    kept = [lake.storage.read(e.path) for place in ("verdicts", "validations") for e in lake.storage.entries(place)]
    assert len(kept) == 2 and b"expect_column_values_to_match_regex" in kept[1]
    for text in [str(error.value), *map(bytes.decode, kept)]:
        assert "canary" not in text and "stranger" not in text and str(world.pairs[0]["uid"]) not in text


def test_validation_results_are_stored_as_great_expectations_reads_them(tmp_path: Path) -> None:
    write(tmp_path, "pairs.json", NOT_NULL)
    lake = lake_of(tmp_path)
    commit(lake, World("k"), "ingest")
    check_run(lake, lake.settings, "ingest", "k")
    read = validations.read(lake.storage, stored(lake, "ingest", "k").seal_id)
    assert [one.suite_name for one in read] == ["kale", "house_rules"]
    assert all(one.success for one in read)
    assert read[0].statistics["evaluated_expectations"] == len(read[0].results) > 10
    assert read[0].meta["run_id"]["run_name"] == "pairs k"
