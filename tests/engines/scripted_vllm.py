"""Takes the place of vLLM's interpreter: speaks the protocol of `vllm_worker` and dies as its script says.

Answers all requests that have arrived together, or at most `width`, after `seconds`. The folder of this file holds
`script.json` and gets `log.jsonl`: one line for each start (`model`, `environment`) and for each batch (`batch`, the
number of requests in it, and `ids` if the script wants them).
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
    here = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    first = not (HERE / f"died{here}").exists()
    source = os.fdopen(0, "rb", buffering=0)
    log(model=json.loads(source.readline()), environment=sorted(os.environ), devices=here)
    if script.get("fail_start") or here in script.get("broken", []):
        sys.exit(1)
    send({"ready": True, "load": 0.0, "warm": 0.0, "sequences": 64})
    answered, rest, waiting = 0, b"", list[dict[str, Any]]()
    width = script.get("width", 1 << 30)
    while True:
        if not waiting:
            rest += os.read(0, 1 << 20) or sys.exit()
        while select.select([0], [], [], 0 if waiting else 0.002)[0]:
            if not (more := os.read(0, 1 << 20)):
                sys.exit()
            rest += more
        *lines, rest = rest.split(b"\n")
        waiting += map(json.loads, lines)
        batch, waiting = waiting[:width], waiting[width:]
        if not batch:
            continue
        log(
            batch=len(batch),
            on=here,
            **({"ids": [request["id"] for request in batch + waiting]} if script.get("ids") else {}),
        )
        if first and here in script.get("dying", [""]) and answered + len(batch) >= script.get("die_after", 1 << 30):
            (HERE / f"died{here}").touch()
            os._exit(3)
        if any(request["messages"][0]["content"] in script.get("poison", []) for request in batch):
            os._exit(3)
        time.sleep(script.get("seconds", 0.001))
        answer = {"text": "A tower.", "tokens_in": 1, "tokens_out": 2, "finish": "stop"}
        os.write(1, b"".join(json.dumps({"id": request["id"], **answer}).encode() + b"\n" for request in batch))
        answered += len(batch)


if __name__ == "__main__":
    main()
