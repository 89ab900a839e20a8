"""Why an image is not there: every reason by name, and which of them may heal."""

from enum import StrEnum


class Reason(StrEnum):
    """One word for each way in which an image is lost."""

    # The network
    DNS_NOT_FOUND = "dns_not_found"  # the name does not exist, says the resolver
    DNS_FAILED = "dns_failed"  # the resolver did not answer
    NETWORK_UNREACHABLE = "network_unreachable"
    CONNECT_FAILED = "connect_failed"  # refused or reset
    TIMED_OUT = "timed_out"
    CUT_SHORT = "cut_short"  # the connection ended before the body did
    TLS_FAILED = "tls_failed"
    BAD_RESPONSE = "bad_response"  # not HTTP, or against its rules
    # The server
    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    REJECTED = "rejected"  # any other 4xx
    BUSY = "busy"  # 429, or a wait longer than our patience
    SERVER_ERROR = "server_error"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    # The owner does not want it
    ROBOTS_DISALLOWED = "robots_disallowed"
    ROBOTS_UNREADABLE = "robots_unreadable"  # robots.txt fails: nobody can know
    NOAI = "noai"
    TDM_RESERVED = "tdm_reserved"
    # The guard
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
    # Seen over the whole key
    PLACEHOLDER = "placeholder"

    @property
    def transient(self) -> bool:
        """Whether a later run may get the image: a redrive tries these again."""
        return self in _TRANSIENT

    @property
    def soon(self) -> bool:
        """Whether asking again within seconds may help."""
        return self in _SOON

    @property
    def unanswered(self) -> bool:
        """Whether no server was ever reached: where all images end so, the network is dead."""
        return self in _UNANSWERED


_SOON = {Reason.CONNECT_FAILED, Reason.CUT_SHORT, Reason.BUSY, Reason.SERVER_ERROR, Reason.ROBOTS_UNREADABLE}
_UNANSWERED = {
    Reason.DNS_NOT_FOUND,
    Reason.DNS_FAILED,
    Reason.NETWORK_UNREACHABLE,
    Reason.CONNECT_FAILED,
    Reason.TIMED_OUT,
}
_TRANSIENT = _SOON | _UNANSWERED


class Lost(Exception):
    """An image will not come, for this reason; `wait` is what the server asked for before another try."""

    def __init__(self, reason: Reason, detail: str = "", wait: float | None = None) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail, self.wait = reason, detail, wait
