"""datatrove's MinHash deduplication of the texts that bench/dedup.py landed; runs in .venv-bench, one process.

Its four stages as its documentation has them; words as its English tokenizer cuts them, shingles of two words, as
alt-texts are short, and as many bands of as many hashes as ours; or, with a third argument, its defaults.
"""

import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter

OURS = MinhashConfig(n_grams=2, num_buckets=16, hashes_per_bucket=8)


def main(landing: Path, out: Path, config: MinhashConfig) -> None:
    """All four stages, one after the other."""
    reader = ParquetReader(str(landing), glob_pattern="*.parquet", text_key="text")
    folders = {name: str(out / name) for name in ("signatures", "buckets", "ids", "kept")}
    stages = [
        ([reader, MinhashDedupSignature(folders["signatures"], config)], 1),
        ([MinhashDedupBuckets(folders["signatures"], folders["buckets"], config=config)], config.num_buckets),
        ([MinhashDedupCluster(folders["buckets"], folders["ids"], config=config)], 1),
        ([reader, MinhashDedupFilter(folders["ids"]), ParquetWriter(folders["kept"])], 1),
    ]
    for number, (pipeline, tasks) in enumerate(stages):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(out / f"logs-{number}")).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), MinhashConfig() if sys.argv[3:] else OURS)
