"""Takes the place of vLLM's interpreter: speaks the protocol of `vllm_worker` and dies as its script says.

Answers all requests that have arrived together. The folder of this file holds `script.json` and gets `log.jsonl`: one
line for each start (`model`, `environment`) and for each batch (`batch`, the number of requests in it).
"""

import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(sys.argv[0]).parent


def log(**entry: Any) -> None:
    with (HERE / "log.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


def send(frame: dict[str, Any]) -> None:
    os.write(1, json.dumps(frame).encode() + b"\n")


def main() -> None:
    script = json.loads((HERE / "script.json").read_text())
    first = not (HERE / "log.jsonl").exists()
    source = os.fdopen(0, "rb", buffering=0)
    log(model=json.loads(source.readline()), environment=sorted(os.environ))
    if script.get("fail_start"):
        sys.exit(1)
    send({"ready": True, "load": 0.0, "warm": 0.0})
    answered, rest = 0, b""
    while True:
        rest += os.read(0, 1 << 20) or sys.exit()
        while select.select([0], [], [], 0.002)[0] and (more := os.read(0, 1 << 20)):
            rest += more
        *lines, rest = rest.split(b"\n")
        batch = [json.loads(line) for line in lines]
        log(batch=len(batch))
        if first and answered + len(batch) >= script.get("die_once_after", 1 << 30):
            os._exit(3)
        if any(request["messages"][0]["content"] in script.get("poison", []) for request in batch):
            os._exit(3)
        time.sleep(0.001)
        for request in batch:
            send({"id": request["id"], "text": "A tower.", "tokens_in": 1, "tokens_out": 2, "finish": "stop"})
        answered += len(batch)


if __name__ == "__main__":
    main()
