"""Reasons why an image could not be stored, and which of them may pass."""

from enum import StrEnum


class Reason(StrEnum):
    """Why an image was not stored: the `reason` column of `images` and of `quarantine`."""

    # The network
    DNS_NOT_FOUND = "dns_not_found"  # the resolver says that the name does not exist
    DNS_FAILED = "dns_failed"  # the resolver did not answer
    NETWORK_UNREACHABLE = "network_unreachable"
    CONNECT_FAILED = "connect_failed"  # refused or reset
    TIMED_OUT = "timed_out"
    CUT_SHORT = "cut_short"  # the connection ended before the body did
    TLS_FAILED = "tls_failed"
    BAD_RESPONSE = "bad_response"  # not HTTP, or a violation of it
    # The server
    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    REJECTED = "rejected"  # any other 4xx status
    BUSY = "busy"  # 429, or a wait longer than images.fetch.patience_seconds
    SERVER_ERROR = "server_error"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    # Opt-outs of the owner
    ROBOTS_DISALLOWED = "robots_disallowed"
    ROBOTS_UNREADABLE = "robots_unreadable"  # robots.txt fails with a server error, so the rules are unknown
    NOAI = "noai"
    NOINDEX = "noindex"  # if images.fetch.noindex is set
    TDM_RESERVED = "tdm_reserved"
    # The SSRF guard
    BAD_URL = "bad_url"
    PRIVATE_ADDRESS = "private_address"
    # The bytes
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_TYPE = "unsupported_type"
    BROKEN_IMAGE = "broken_image"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    DECODE_CRASHED = "decode_crashed"
    DECODE_TIMEOUT = "decode_timeout"
    # Adopted tars
    NOT_IN_TARS = "not_in_tars"
    TAR_BROKEN = "tar_broken"
    # Found by comparing all images of a key
    PLACEHOLDER = "placeholder"

    @property
    def transient(self) -> bool:
        """Whether a redrive always tries the image again."""
        return self in _TRANSIENT

    @property
    def limited(self) -> bool:
        """Whether a limit of `images.decode` may have lost the image; a redrive tries it again once that is larger."""
        return self in _LIMITED

    @property
    def retried_at_once(self) -> bool:
        """Whether another attempt within seconds may succeed."""
        return self in _RETRIED_AT_ONCE

    @property
    def unavailable(self) -> bool:
        """Whether no server gave the image; opt-outs, refused URLs and images that cannot be used are not meant."""
        return self in _UNAVAILABLE

    @property
    def unanswered(self) -> bool:
        """Whether no server was reached; if this holds for every image, the network is down."""
        return self in _UNANSWERED


_RETRIED_AT_ONCE = {Reason.CONNECT_FAILED, Reason.CUT_SHORT, Reason.BUSY, Reason.SERVER_ERROR, Reason.ROBOTS_UNREADABLE}
_UNANSWERED = {
    Reason.DNS_NOT_FOUND,
    Reason.DNS_FAILED,
    Reason.NETWORK_UNREACHABLE,
    Reason.CONNECT_FAILED,
    Reason.TIMED_OUT,
}
_UNAVAILABLE = (
    _RETRIED_AT_ONCE | _UNANSWERED | {Reason.NOT_FOUND, Reason.FORBIDDEN, Reason.REJECTED, Reason.TLS_FAILED}
) - {Reason.ROBOTS_UNREADABLE}
_TRANSIENT = _RETRIED_AT_ONCE | _UNANSWERED
_LIMITED = {Reason.TOO_MANY_PIXELS, Reason.DECODE_CRASHED, Reason.DECODE_TIMEOUT}


class ImageError(Exception):
    """An image cannot be stored.

    `retry_after` is how many seconds the server asked to wait before another attempt, if it did.
    """

    def __init__(self, reason: Reason, detail: str = "", retry_after: float | None = None) -> None:
        detail = detail.encode("utf-8", "backslashreplace").decode()  # headers may hold bytes that are not text
        super().__init__(reason, detail)
        self.reason, self.detail, self.retry_after = reason, detail, retry_after
