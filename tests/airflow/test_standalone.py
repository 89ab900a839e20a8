"""`kale up` starts an Airflow that outlives the command, and `kale down` stops all of it."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from kale_tasks.airflow.rest import AirflowRest
from kale_tasks.airflow.standalone import COMPONENTS, PASSWORD, USER, free_port
from kale_tasks.errors import BadConfig
from tests.kale import Answer, kale, kale_process


def recorded(folder: Path) -> list[psutil.Process]:
    """The processes of an Airflow in a folder with all their children."""
    groups = json.loads((folder / "airflow" / "pids.json").read_text())
    assert [group["name"] for group in groups] == list(COMPONENTS)
    first = [psutil.Process(group["pid"]) for group in groups]
    return [process for parent in first for process in (parent, *parent.children(recursive=True))]


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_up_leaves_an_airflow_running_and_down_stops_every_process_of_it(tmp_path: Path) -> None:
    port, folder = free_port(), ["--folder", str(tmp_path)]
    up = kale_process("up", *folder, "--port", str(port))
    processes: list[psutil.Process] = []
    try:
        assert up.code == 0, up.err
        assert f"user {USER}, password {PASSWORD}" in up.out
        processes += recorded(tmp_path)
        rest = AirflowRest(f"http://127.0.0.1:{port}", USER, PASSWORD)
        assert "kale_ingest" in {dag["dag_id"] for dag in rest.get("/dags")["dags"]}
        same_port, same_folder = kale("up", *folder, "--port", str(port)), kale("up", *folder, "--port", str(port + 1))
        assert [second.code for second in (same_port, same_folder)] == [BadConfig.exit_code] * 2
        assert "is in use" in same_port.complaint and "already runs" in same_folder.complaint
        assert rest.healthy  # neither refusal stopped it
    finally:
        down = kale("down", *folder)
    assert (down.code, down.out) == (0, "Airflow has stopped.\n")
    assert processes and not [process for process in processes if process.is_running()]
    nothing = kale("down", *folder)
    assert nothing.code == BadConfig.exit_code and "No Airflow" in nothing.complaint


@pytest.mark.parametrize("offset", [0, 1])
def test_a_demo_whose_port_is_in_use_writes_nothing(tmp_path: Path, offset: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1] - offset
        answer: Answer = kale("demo", "--folder", str(tmp_path / "data"), "--port", str(port))
    assert answer.code == BadConfig.exit_code and "is in use" in answer.complaint
    assert not (tmp_path / "data").exists()


def test_up_and_down_need_no_sample_world() -> None:
    code = "import sys, kale_tasks.airflow.standalone, kale_tasks.cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in done.stdout.split() if name.startswith("kale_tasks.world")]
