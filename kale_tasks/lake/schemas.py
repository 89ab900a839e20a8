"""Every table of the lake: its columns, what they mean, and how it is partitioned."""

from kale_tasks.lake.columns import (
    BOOL,
    BOXES,
    DOUBLE,
    INT,
    LONG,
    STRING,
    STRINGS,
    TIME,
    VECTOR,
    Column,
    TableSpec,
)

_UID = Column("uid", STRING, "Name of the pair: 32 hex digits; the join key everywhere.", required=True)
_KEY = Column("key", STRING, "The partition, such as 2026-11-01.", required=True)
_MADE_FROM = Column("made_from", STRING, "Hash of prompt, image bytes, model and sampling; null: no model was asked.")
_CONFIDENCE = Column(
    "confidence", DOUBLE, "Mean log-probability of its tokens, by the model that wrote it, if the recipe asks for it."
)
_FLAGS = Column("flags", STRINGS, "What was noticed about this row; never a reason to hide it.")

PAIRS = TableSpec(
    "pairs",
    "a kept alt-text pair",
    [
        _UID,
        _KEY,
        Column("url", STRING, "Address of the image, as the source gave it."),
        Column("alt_text", STRING, "The alt-text, byte for byte as the source gave it."),
        Column("text", STRING, "The alt-text repaired (entities, mojibake, white space), used for rules and prompts."),
        Column("context", STRING, "Text around the image on its page, repaired and shortened, if the source gives it."),
        Column("width", INT, "Width the source claims, in pixels."),
        Column("height", INT, "Height the source claims, in pixels."),
        Column("source", STRING, "Landing file the row came from, relative to the key's folder."),
        Column("clip_b32", DOUBLE, "CLIP ViT-B/32 image-text similarity, if the source gives it."),
        Column("clip_l14", DOUBLE, "CLIP ViT-L/14 image-text similarity, if the source gives it."),
        Column("face_boxes", BOXES, "Faces as [x0, y0, x1, y1] in 0..1, if the source gives them."),
        Column("sha256", STRING, "SHA-256 of the raw image bytes the source claims."),
        Column("lang", STRING, "Detected language of the alt-text."),
        Column("split", STRING, "stage1, stage2 or holdout; decided by a hash of the uid.", required=True),
        Column("dup_count", INT, "Rows of this key that this row represents, itself included."),
        _FLAGS,
    ],
)

IMAGES = TableSpec(
    "images",
    "a tried image",
    [
        _UID,
        _KEY,
        Column("status", STRING, "ok, or failed.", required=True),
        Column("reason", STRING, "Why it failed: one word of the reasons; empty when ok."),
        Column("detail", STRING, "What was seen when it failed, shortened."),
        Column("shard", STRING, "Tar with the image: path in the warehouse, or `landing:` and a path in the landing."),
        Column("offset", LONG, "Where the image's bytes begin in the shard."),
        Column("length", LONG, "How many bytes the image has."),
        Column("sha256", STRING, "SHA-256 of the raw bytes received."),
        Column("sha256_matches", BOOL, "Whether that equals the claimed one; null without a claim."),
        Column("phash", LONG, "64-bit perceptual hash."),
        Column("width", INT, "Width of the stored image."),
        Column("height", INT, "Height of the stored image."),
        Column("mime", STRING, "Type of the received bytes, by their content."),
        Column("http_status", INT, "Last HTTP status; null when adopted or never answered."),
        Column("final_url", STRING, "Address after redirects."),
        Column("attempts", INT, "Times this image was asked for, over all runs."),
        Column("fetched_at", TIME, "When the bytes came."),
        Column("split", STRING, "The pair's split, carried along."),
        _FLAGS,
    ],
)

CAPTIONS = TableSpec(
    "captions",
    "a finished caption",
    [
        _UID,
        _KEY,
        Column("recipe", STRING, "Name of the recipe.", required=True),
        Column("stage", INT, "1: assembled from the passes of a recipe; 2: written by the student.", required=True),
        Column("url", STRING, "Address of the image."),
        Column("sha256", STRING, "SHA-256 of the raw image bytes received."),
        Column("alt_text", STRING, "The alt-text, byte for byte."),
        Column("dense_caption", STRING, "The description of the image that it was made from (stage 1)."),
        Column("caption", STRING, "The knowledge-augmented caption."),
        Column("also", STRING, "JSON: further texts that the recipe publishes or teaches, by pass."),
        Column("models", STRINGS, "Every model that had a part in it, as name@revision."),
        Column("engine", STRING, "Engine and sampling of the last model."),
        Column("prompt_hash", STRING, "Hash of the prompt's template."),
        Column("tokens_in", INT, "Tokens of the last prompt."),
        Column("tokens_out", INT, "Tokens generated."),
        Column("finish_reason", STRING, "stop or length."),
        Column("facts", INT, "Proper names and words with digits in the caption."),
        Column("facts_from_alt", INT, "Of these, found in the alt-text; null if the recipe does not use it."),
        Column("facts_from_dense", INT, "Of these, found in the dense caption; null if the caption is that text."),
        Column("facts_invented", INT, "Of these, found in no source; null if there is none to compare with."),
        _FLAGS,
        _MADE_FROM,
        _CONFIDENCE,
        Column("candidates", STRING, "JSON: the texts that were rated for it, with pass, number and score."),
        Column("experts", STRING, "JSON: what experts had a part in it, by pass: models, values and best score."),
    ],
    partition=("key", "recipe", "stage"),
)

TEXTS = TableSpec(
    "texts",
    "a text that a pass of a recipe wrote",
    [
        _UID,
        _KEY,
        Column("pass", STRING, "The pass: its name, and a hash of its block and of what it reads.", required=True),
        Column("item", STRING, "Part of the row that it is about, such as a region; empty: the whole.", required=True),
        Column("n", INT, "Number of the candidate, or place of the choice; from 0.", required=True),
        Column("text", STRING, "The text."),
        Column("score", DOUBLE, "Its score, if the pass gives one."),
        Column("data", STRING, "JSON: what else the pass found, such as a box, the rated pass or counts of facts."),
        Column("models", STRINGS, "Every model that had a part in it, as name@revision; the last one wrote it."),
        Column("engine", STRING, "Engine and sampling that made it."),
        Column("prompt_hash", STRING, "Hash of the prompt's template."),
        Column("tokens_in", INT, "Tokens of prompt and image."),
        Column("tokens_out", INT, "Tokens generated."),
        Column("finish_reason", STRING, "stop or length."),
        _FLAGS,
        _MADE_FROM,
        Column("vector", VECTOR, "Of a pass that encodes: the vector, of length 1, in steps of 1/2048."),
        _CONFIDENCE,
    ],
    partition=("key", "pass"),
)

QUARANTINE = TableSpec(
    "quarantine",
    "a row taken out",
    [
        Column("uid", STRING, "Name of the pair, or of the file when a whole file is broken.", required=True),
        _KEY,
        Column("step", STRING, "Step that took it out.", required=True),
        Column("reason", STRING, "One word of the reasons.", required=True),
        Column("detail", STRING, "What was seen, shortened; never the text itself when it may be private."),
        Column("attempts", INT, "Times it was tried."),
    ],
    partition=("key", "step"),
)

_ENTRY = [
    Column("hash", LONG, "64-bit hash of the value.", required=True),
    Column("sketch_a", LONG, "Of text, meaning and look: first half of the 128 bits by which two rows are compared."),
    Column("sketch_b", LONG, "Second half."),
    Column("owner", STRING, "Null: this key keeps the entry. Otherwise the earlier key to which it was lost."),
]

DEDUP_INDEX = TableSpec(
    "dedup_index",
    "one hash of a pair: a kept pair, or one lost to an earlier key",
    [
        _UID,
        _KEY,
        Column("kind", STRING, "uid, url, sha256, facts, text or meaning.", required=True),
        *_ENTRY,
    ],
)

LOOK_INDEX = TableSpec(
    "look_index",
    "a hash of an image that a pass chose, or lost to an earlier key",
    [
        _UID,
        _KEY,
        Column("pass", STRING, "The pass that chose it.", required=True),
        Column("kind", STRING, "look: where its vector is.", required=True),
        *_ENTRY,
    ],
    partition=("key", "pass"),
)

MODELS = TableSpec(
    "models",
    "a version of the student",
    [
        Column("version", STRING, "Content hash of its files; names its folder.", required=True),
        _KEY,
        Column("path", STRING, "Folder of its files, relative to the warehouse."),
        Column("base", STRING, "Model it started from, as name@revision."),
        Column("recipe", STRING, "Recipe of the captions it learnt from.", required=True),
        Column("parents", STRING, "JSON: key to content hash of the stage-1 captions that the student was trained on."),
        Column("rows", LONG, "Captions it was trained on."),
        Column("steps", LONG, "Optimiser steps."),
        Column("metrics", STRING, "JSON: its figures on the held-out set."),
        Column("accepted", BOOL, "Whether it passed the promotion gate."),
        Column("verdict", STRING, "The gate's words."),
        Column("config", STRING, "JSON: the settings it was made with."),
        Column("code", STRING, "Version of the package and of the step."),
        Column("files", STRING, "JSON: its files, name to SHA-256."),
    ],
    partition=("key", "recipe"),
)

RELEASES = TableSpec(
    "releases",
    "a file of a release",
    [
        Column("version", STRING, "Name of the release.", required=True),
        _KEY,
        Column("path", STRING, "Path of the file, relative to the warehouse."),
        Column("name", STRING, "What it is called in the release."),
        Column("format", STRING, "captions, or one of the further formats."),
        Column("source", STRING, "The key whose captions it holds."),
        Column("recipe", STRING, "The recipe whose captions it holds."),
        Column("stage", INT, "The stage whose captions it holds."),
        Column("cut", STRING, "Hash of what it was made from; equal for equal files of any two releases."),
        Column("rows", LONG, "Rows in it."),
        Column("bytes", LONG, "Bytes of it."),
        Column("sha256", STRING, "SHA-256 of its bytes."),
        Column("stats", STRING, "JSON: counts of what is in it, for the card; they can be added up."),
    ],
)

RUNS = TableSpec(
    "runs",
    "one work on a chunk, one commit, or one Dag run",
    [
        _KEY,
        Column("step", STRING, "The step; of a Dag run, the Dag.", required=True),
        Column("fingerprint", STRING, "Fingerprint of the run.", required=True),
        Column("verb", STRING, "work, commit or dag.", required=True),
        Column("chunk", INT, "Number of the chunk; null for a commit."),
        Column("attempt", INT, "Attempt of the scheduler."),
        Column("rows_in", LONG, "Rows taken in."),
        Column("kept", LONG, "Rows kept."),
        Column("dropped", STRING, "JSON: rows dropped, by rule."),
        Column("quarantined", LONG, "Rows quarantined."),
        Column("metrics", STRING, "JSON: sums of what the step measured (tokens, device seconds, bytes, cost)."),
        Column("inputs", STRING, "JSON: content of each input."),
        Column("config", STRING, "JSON: the settings that count; of a Dag run its name, end state and who started it."),
        Column("code", STRING, "Version of the package and of the step."),
        Column("seconds", DOUBLE, "Wall seconds; of a Dag run, those in the queue too."),
        Column("cpu_seconds", DOUBLE, "CPU seconds, children included."),
        Column("peak_mb", DOUBLE, "Peak memory of the process."),
        Column("bytes", LONG, "Bytes written."),
        Column("started_at", TIME, "When it began."),
    ],
    partition=("key", "step"),
)

REVIEWS = TableSpec(
    "reviews",
    "a judgement of a person on a text",
    [
        _UID,
        _KEY,
        Column("review", STRING, "Hash of who judged what: judging it again replaces the row.", required=True),
        Column("kind", STRING, "preference, sentence, edit or report.", required=True),
        Column("side", STRING, "The text: RECIPE/STAGE, or RECIPE/STAGE/dense for its dense caption."),
        Column("against", STRING, "Of a preference: the other text."),
        Column("sentence", INT, "Of a verdict on a sentence: its number, from 0."),
        Column("value", STRING, "side, against or tie; right, wrong or unsure; empty for edits and reports."),
        Column("text", STRING, "Of an edit, the text as it should be; of a report, the reason."),
        Column("of", STRING, "Hash of the text that was judged, and of the other one."),
        Column("by", STRING, "Who judged."),
        Column("at", TIME, "When."),
        Column("source", STRING, "page, or the format that it was imported from."),
    ],
)

TABLES = {
    spec.name: spec
    for spec in (
        PAIRS, IMAGES, TEXTS, CAPTIONS, QUARANTINE, DEDUP_INDEX, LOOK_INDEX, MODELS, RELEASES, RUNS,
        REVIEWS,
    )
}  # fmt: skip
