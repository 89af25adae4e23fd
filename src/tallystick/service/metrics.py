"""What the service counts, for Prometheus.

With several workers each counts into files of its own in one directory, and whichever is asked adds them up
(prometheus-client's multiprocess mode, which it takes from the environment when it is loaded: so it is loaded late).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram, Metric

DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus-client's own."""

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""In seconds. A verification takes less than the first, and the store is given up after store_timeout."""

EVENTS: Final = {
    "session_created": ("tallystick_sessions_created", "Sessions that began."),
    "session_refreshed": ("tallystick_sessions_refreshed", "Refresh tokens that were exchanged for new ones."),
    "session_verified": ("tallystick_sessions_verified", "Access tokens that were found good."),
    "session_revoked": ("tallystick_sessions_revoked", "Sessions that were ended by request."),
    "token_theft": ("tallystick_token_thefts", "Refresh tokens that were used by two."),
    "store_error": ("tallystick_store_errors", "Calls that got no answer from the store."),
    "session_purged": ("tallystick_sessions_purged", "Expired sessions that were deleted."),
    "ending_stream_opened": ("tallystick_ending_streams_opened", "Streams of endings that apps have opened."),
    "ending_log_silent": ("tallystick_ending_log_silences", "Times that a log of endings could not be read on."),
    "ending_told": ("tallystick_endings_told", "Endings that were told on streams."),
    "request_refused": ("tallystick_requests_refused", "Requests that were refused as too many were in hand."),
}
"""What is told to ``observe``, and what it is counted as."""


class Metrics:
    """The counters of one worker."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics  # noqa: PLC0415 - see above
        from prometheus_client.process_collector import ProcessCollector  # noqa: PLC0415

        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each, of when it was first counted
        self._directory = os.environ.get(DIRECTORY_VARIABLE)
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "tallystick_requests",
            "Requests that were answered.",
            ("endpoint", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "tallystick_request_seconds",
            "How long requests took.",
            ("endpoint",),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._events = {event: Counter(name, text, registry=self._registry) for event, (name, text) in EVENTS.items()}
        # What labels() makes is kept, as to find it again costs as much as to count.
        self._answered: dict[tuple[str, int], Counter] = {}
        self._timed: dict[str, Histogram] = {}
        if self._directory is None:
            ProcessCollector(registry=self._registry)

    def count(self, event: str, count: int = 1) -> None:
        """Something has happened ``count`` times; see :data:`EVENTS`."""
        self._events[event].inc(count)

    def count_request(self, endpoint: str, status: int, seconds: float) -> None:
        """A request has been answered. ``endpoint`` is one of few."""
        answered = self._answered.get((endpoint, status))
        if answered is None:
            answered = self._answered[endpoint, status] = self._requests.labels(endpoint, str(status))
            self._timed[endpoint] = self._seconds.labels(endpoint)
        answered.inc()
        self._timed[endpoint].observe(seconds)

    def render(self, accept: str = "", key_ages: Iterable[tuple[str, float]] = ()) -> tuple[bytes, str]:
        """All workers' counts in the form that ``accept`` asks for, and its content type. ``key_ages`` are what the
        store says at this moment: an app, and for how many seconds there has been its newest signing key."""
        from prometheus_client import CollectorRegistry  # noqa: PLC0415
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415
        from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

        registry = CollectorRegistry()
        if self._directory is not None:
            MultiProcessCollector(registry, self._directory)  # type: ignore[no-untyped-call]
        else:
            registry.register(self._registry)
        registry.register(_KeyAges(key_ages))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type


class _KeyAges:
    """Asked of the store when somebody wants to know, so that all workers and instances say the same."""

    def __init__(self, ages: Iterable[tuple[str, float]]) -> None:
        self._ages = ages

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

        text = "For how long there has been the newest signing key."
        family = GaugeMetricFamily("tallystick_signing_key_age_seconds", text, labels=["app"])
        for app_id, seconds in self._ages:
            family.add_metric([app_id], seconds)
        yield family
