"""data-juicer's MinHash deduplication of the texts that bench/dedup.py landed; runs in .venv-bench-juicer, one process.

Shingles of two words, as alt-texts are short, and as many bands of as many hashes as ours.
"""

import sys
from pathlib import Path

from data_juicer.core.data import NestedDataset
from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator
from datasets import Dataset


def main(landing: Path, out: Path) -> None:
    """Sketches, groups, and the first text of each group as parquet."""
    groups = DocumentMinhashDeduplicator(window_size=2, num_permutations=128, num_bands=16, num_rows_per_band=8)
    rows = NestedDataset(Dataset.from_parquet(str(landing / "a.parquet"), cache_dir=str(out / "cache")))
    kept, _ = groups.process(rows.map(groups.compute_hash))
    kept.select_columns(["url", "text"]).to_parquet(str(out / "kept.parquet"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
