"""The assets by which the Dags wake each other; every event bears the key it is about."""

from airflow.sdk import Asset


def _asset(name: str) -> Asset:
    return Asset(name=name, uri=f"kale://{name}", group="kale")


PAIRS = _asset("pairs")
IMAGES = _asset("images")
CAPTIONS1 = _asset("captions1")
CAPTIONS2 = _asset("captions2")
# Announcements: emitted by whichever side comes last, once the lake holds all that the other Dag needs.
STAGE2_READY = _asset("stage2_ready")
RELEASE_READY = _asset("release_ready")
DISTILL_TICK = _asset("distill_tick")
