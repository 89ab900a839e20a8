"""Settings of the images step: what is fetched, how politely, and what becomes of the bytes."""

from pydantic import Field

from kale_tasks.settings.section import Section, runtime


class Fetch(Section):
    """How addresses are asked for."""

    contact: str | None = runtime("Web page or e-mail address, told to every server, by which its owner can reach you.")
    allow: list[str] = runtime("Networks that may be reached although they are not public, such as 127.0.0.0/8.")
    concurrency: int = runtime("Requests open at once.", ge=1)
    host_concurrency: int = runtime("Requests open at once to one host.", ge=1)
    host_rate: float = runtime("Requests a second to one host.", gt=0)
    name_servers: list[str] = runtime("Name servers, each as address or address:port; empty: those of the machine.")
    dns_lookups: int = runtime("Names looked up at once.", ge=1)
    connect_seconds: float = runtime("Longest wait for a connection.", gt=0)
    seconds: float = runtime("Longest time for one request, redirects and body included.", gt=0)
    tries: int = runtime("Times an address is asked while its failure may pass.", ge=1)
    patience_seconds: float = runtime("Longest wait that a server may ask for before its image is given up.", ge=0)
    memory_mb: int = runtime("Bodies held at once, in megabytes.", ge=1)
    redirects: int = Field(ge=0, description="Redirects that are followed.")
    max_bytes: int = Field(ge=1, description="Largest body that is taken.")


class Decode(Section):
    """What becomes of the bytes, in worker processes with limits."""

    workers: int | None = runtime("Worker processes; empty: one for each core.", ge=1)
    seconds: float = runtime("Longest time for one image; then its worker is killed.", gt=0)
    memory_mb: int = runtime("Memory of one worker, in megabytes.", ge=256)
    max_pixels: int = Field(ge=1, description="Most pixels of a received image.")
    min_side: int = Field(ge=1, description="Shortest side that an image must have.")
    max_side: int = Field(ge=1, description="Longest side of a stored image; larger ones are scaled down.")
    quality: int = Field(ge=1, le=100, description="JPEG quality of stored images.")
    blur_faces: bool = Field(description="Blur the faces that the source gives boxes of.")


class Images(Section):
    """Images, adopted from tars of the landing or fetched."""

    fetch_missing: bool = Field(description="Where the key has tars: fetch the images that are not in them.")
    placeholder_count: int = Field(ge=2, description="So many pairs with the same bytes mean a placeholder picture.")
    near_bits: int = Field(ge=0, le=3, description="Perceptual hashes that differ in no more bits are near duplicates.")
    evaluation: str | None = Field(
        description="Folder below the landing of parquet files with an `image` column: an evaluation set, marked."
    )
    spool: str = runtime("Folder of this machine for images on their way into a shard; what a crash leaves is reused.")
    fetch: Fetch
    decode: Decode
