"""A command starts without what it does not need."""

import subprocess
import sys
from pathlib import Path

_CODE = """
import sys
from kale_tasks.cli.app import main
sys.argv = ["kale", "status", "--set", f"warehouse={sys.argv[1]}"]
try:
    main()
except SystemExit as end:
    assert not end.code
assert "pyarrow.dataset" in sys.modules and "pandas" not in sys.modules
import pandas, pyarrow
gaps = pandas.Series([1.0, None])
assert pyarrow.array(gaps).null_count == 1 and pyarrow.table({"a": gaps})["a"].null_count == 1
"""


def test_a_command_that_makes_no_frame_imports_no_pandas_and_arrow_knows_a_series_that_comes_later(
    tmp_path: Path,
) -> None:
    made = subprocess.run([sys.executable, "-m", "kale_tasks", "init", "--set", f"warehouse={tmp_path}"], check=False)
    assert made.returncode == 0
    done = subprocess.run([sys.executable, "-c", _CODE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
