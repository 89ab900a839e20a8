"""Settings of the images step: what is fetched, at which rate, and how images are stored."""

from typing import Literal

from pydantic import Field

from kale_tasks.settings.section import Section, neutral, runtime


class Fetch(Section):
    """HTTP client settings."""

    contact: str | None = runtime("Web page or e-mail address for site owners; sent with every request.")
    allow: list[str] = runtime("Networks that may be reached although they are not public, such as 127.0.0.0/8.")
    concurrency: int = runtime("Maximum open requests.", ge=1)
    host_concurrency: int = runtime("Maximum open requests to one registered domain, of all tasks together.", ge=1)
    host_rate: float = runtime("Maximum requests a second to one registered domain, of all tasks together.", gt=0)
    name_servers: list[str] = runtime("DNS servers, each as address or address:port; empty: those of the machine.")
    dns_lookups: int = runtime("Maximum concurrent DNS look-ups.", ge=1)
    connect_seconds: float = runtime("Time limit for opening a connection.", gt=0)
    seconds: float = runtime("Time limit for one attempt, redirects and body included.", gt=0)
    tries: int = runtime("Attempts for an image whose failure may be temporary.", ge=1)
    patience_seconds: float = runtime("Longest wait that a server may ask for before its image is given up.", ge=0)
    host_seconds: float = runtime(
        "Longest time that a task spends on one host; images that are then left wait for a redrive.", gt=0
    )
    memory_mb: int = runtime("Megabytes of response bodies held at once.", ge=1)
    noindex: bool = neutral(False, "Honour `noindex` and `noimageindex` in X-Robots-Tag, which address search engines.")
    redirects: int = Field(ge=0, description="Maximum redirects that are followed.")
    max_bytes: int = Field(ge=1, description="Maximum size of a response body.")


class Decode(Section):
    """How images are decoded, in worker processes with limits, and stored."""

    workers: int | None = runtime("Decode processes; empty: one more than cores.", ge=1)
    seconds: float = runtime("Time limit for one image; its process is then killed.", gt=0)
    memory_mb: int = runtime("Memory limit of one decode process, in megabytes.", ge=256)
    max_pixels: int = Field(ge=1, description="Maximum number of pixels of a received image.")
    min_side: int = Field(ge=1, description="Minimum length of an image's shorter side.")
    max_side: int = Field(ge=1, description="Maximum length of the side that `resize` names; larger images are scaled.")
    resize: Literal["longer", "shorter", "none"] = neutral(
        "longer", "Which side of stored images `max_side` limits; `none` stores images at the size received."
    )
    quality: int = Field(ge=1, le=100, description="JPEG quality of stored images.")
    originals: bool = neutral(
        False, "Store the bytes as they are received, metadata included, unless faces must be blurred."
    )
    faces: Literal["given", "detect", "off"] = neutral(
        "off", "Which faces to blur: those for which the source gives boxes, or also those found where it gives none."
    )
    face_boxes: Literal["xyxy", "xywh"] = neutral(
        "xyxy", "Form of the source's face boxes: left, top, right, bottom, or left, top, width, height."
    )


class Images(Section):
    """The images step: images are adopted from tars of the landing, or fetched."""

    fetch_missing: bool = neutral(False, "If the key has tars, fetch the images that they lack.")
    placeholder_count: int = Field(ge=2, description="Pairs with the same image bytes that make it a placeholder.")
    near_bits: int = Field(ge=0, le=3, description="Perceptual hashes that differ in no more bits are near duplicates.")
    evaluation: str | None = neutral(
        None, "Folder below the landing with Parquet files that have an `image` column; such images are flagged."
    )
    known_bad: str | None = runtime(
        "File below the landing with hashes of images that are never stored: SHA-256, or perceptual with 16 digits."
    )
    spool: str = runtime("Local folder for images of unfinished parts; reused after a crash.")
    fetch: Fetch
    decode: Decode
