"""Scripts that run in a container; each prints JSON on its last line."""

# Writes the landing files of all keys and puts them into the landing area.
LAND = """
import json, os, tempfile
from pathlib import Path
from kale_tasks.lake.landing import landing_storage
from kale_tasks.settings import load
from kale_tasks.world.write import write_landing

storage = landing_storage(load().settings)
folder = Path(tempfile.mkdtemp())
keys = write_landing(folder, int(os.environ["KEYS"]), int(os.environ["PAIRS"]), "http://web:8100")
for path in sorted(folder.rglob("*"), key=lambda path: path.name == "_SUCCESS"):
    if path.is_file():
        storage.put(str(path.relative_to(folder)), path.read_bytes())
print(json.dumps(keys))
"""
# The content of every partition of the tables of a lake: a hash of its rows; of images without when they were fetched,
# and how often that was tried.
CONTENTS = """
import json
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.tables import Lake
from kale_tasks.settings import load

def content(partition, committed):
    if partition.table != "images":
        return committed.content
    rows = lake.arrow("images", partition.key).drop_columns(["fetched_at", "attempts"]).sort_by("uid").to_pylist()
    return short_sha256(json.dumps(rows, sort_keys=True, default=str))

lake = Lake(load().settings)
tables = ("pairs", "images", "texts", "captions", "models", "releases")
print(json.dumps({
    f"{table} {partition.name}": [committed.rows, content(partition, committed)]
    for table in tables for partition, committed in lake.partitions(table).items()
}))
"""
# The same keys in a lake of their own, step by step, with nothing in the way.
UNDISTURBED = """
import json, os, subprocess

subprocess.run(["kale", "init"], check=True, capture_output=True)
for key in json.loads(os.environ["KEYS"]):
    done = subprocess.run(["kale", "run", "all", "--key", key, "--json"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
print(json.dumps("made"))
"""
DOCTOR = """
import json, subprocess
done = subprocess.run(["kale", "doctor", "--json"], capture_output=True, text=True)
print(json.dumps(json.loads(done.stdout)))
"""
