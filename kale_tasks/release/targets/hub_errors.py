"""What goes wrong with the Hub: which requests are sent again, and errors that say what to do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx2
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import parse_ratelimit_headers
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from kale_tasks.errors import BadConfig, KaleError, Transient

_T = TypeVar("_T")
_TRIES = 6
_LONGEST_WAIT = 900  # seconds; a longer rate limit is left to the scheduler


def retrying(request: Callable[[], _T]) -> _T:
    """Send a request again while its failure is temporary, waiting as long as the Hub asks for."""
    attempts = Retrying(
        stop=stop_after_attempt(_TRIES), wait=_pause, retry=retry_if_exception(_is_temporary), reraise=True
    )
    return attempts(request)


def _is_temporary(error: BaseException) -> bool:
    if not isinstance(error, (HfHubHTTPError, httpx2.TransportError)):
        return False
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 503
    return status in (408, 429) or status >= 500


def _pause(state: RetryCallState) -> float:
    """Return the seconds until the next attempt; Transient if the rate limit lasts longer than we wait."""
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, HfHubHTTPError) or error.response.status_code != 429:
        return float(2 ** (state.attempt_number - 1))
    limit = parse_ratelimit_headers(error.response.headers)
    after = error.response.headers.get("retry-after", "")
    seconds = limit.reset_in_seconds if limit else float(after) if after.isdigit() else 60.0
    if seconds > _LONGEST_WAIT:
        raise Transient(
            f"The Hub's rate limit ends in {seconds:.0f} s. Publish again then: uploads are kept."
        ) from error
    return seconds


@contextmanager
def explained(repo: str) -> Iterator[None]:
    """Context manager: turn errors of the Hub into errors that say what to do."""
    try:
        yield
    except (HfHubHTTPError, httpx2.TransportError, RuntimeError) as error:
        # The client wraps what goes wrong with a file that it sends.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        if isinstance(cause, KaleError):
            raise cause from None
        if not isinstance(cause, (HfHubHTTPError, httpx2.TransportError)):
            raise
        raise _explanation(repo, cause) from error


def _explanation(repo: str, error: Exception) -> KaleError:
    if not isinstance(error, HfHubHTTPError):
        return Transient(f"No answer from the Hub ({type(error).__name__}). Publish again later: uploads are kept.")
    status = error.response.status_code
    if status in (401, 403):
        return BadConfig(f"The Hub refuses this token for {repo} ({status}). Set a valid HF_TOKEN and publish again.")
    if _is_temporary(error):
        return Transient(f"The Hub answered {status} for {repo}. Publish again later: uploads are kept.")
    return BadConfig(f"The Hub answered {status} for {repo}: {str(error).splitlines()[0][:200]}")
