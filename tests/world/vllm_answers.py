"""Generates greedily for the jobs in one JSON file and writes the token ids to another. Needs vLLM's environment."""

import json
import sys
from typing import Any

from vllm import LLM, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory


def answer(job: dict[str, Any]) -> list[list[int]]:
    """Return the token ids of the answers to the conversations of a job."""
    llm = LLM(job["model"], dtype="float32", enforce_eager=True, max_model_len=1024)
    sampling = SamplingParams(temperature=0, max_tokens=job["max_tokens"])
    outputs = llm.chat(job["conversations"], sampling, use_tqdm=False)
    del llm
    cleanup_dist_env_and_memory()
    return [list(output.outputs[0].token_ids) for output in outputs]


if __name__ == "__main__":
    with open(sys.argv[1]) as jobs, open(sys.argv[2], "w") as out:
        json.dump([answer(job) for job in json.load(jobs)], out)
