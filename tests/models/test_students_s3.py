"""Students on S3 are cached locally, complete or not at all, and can be promoted there too."""

import pytest

from kale_tasks.errors import BadData
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students as registry
from kale_tasks.settings import load
from tests.lake.test_storage import lose_next_answer
from tests.models.test_students import read, register


@pytest.fixture
def lake(tmp_path, s3, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    overrides = {
        "warehouse": f"s3://{s3.bucket()}/lake",
        "catalog": f"sqlite:///{tmp_path}/catalog.db",
        "s3.endpoint": s3.endpoint,
        "s3.region": s3.region,
        "s3.access_key_id": s3.access_key,
        "s3.secret_access_key": s3.secret_key,
    }
    return Lake(load(environ={}, overrides=[f"{name}={value}" for name, value in overrides.items()]).settings)


def test_a_student_is_downloaded_once_and_can_be_promoted(lake, tmp_path):
    first, second = register(lake, tmp_path, "a"), register(lake, tmp_path, "b")
    assert [registry.promote(lake, version, "newer").version for version in (first, second)] == [first, second]
    assert registry.rollback(lake, "kale", "worse").version == first == registry.promoted(lake, "kale").version
    assert read(lake, first) == "a"
    lake.storage.put(f"students/{first}/weights", b"forged")
    assert read(lake, first) == "a"  # from the cache


def test_damaged_files_are_never_used(lake, tmp_path):
    version = register(lake, tmp_path, "a")
    lake.storage.put(f"students/{version}/weights", b"forged")
    with pytest.raises(BadData, match="missing or damaged"):
        registry.local_copy(lake, version)
    lake.storage.put(f"students/{version}/weights", b"a")
    assert read(lake, version) == "a"


def test_a_rollback_whose_answer_is_lost_goes_back_one_version(lake, tmp_path):
    first, second, third = (register(lake, tmp_path, text) for text in "abc")
    for version in (first, second, third):
        registry.promote(lake, version, "newer")
    sent = lose_next_answer(lake.storage)
    assert registry.rollback(lake, "kale", "worse").version == second
    assert len(sent) == 2
    last = [(entry.version, entry.back) for entry in registry.history(lake, "kale")][-2:]
    assert last == [(third, False), (second, True)]
