"""What follows from the two domains: ``Secure``, ``SameSite`` and the anti-CSRF mode (spec/fdi.md 2.4).

Made for each request, as the request may have a say in it; nothing of it is remembered (P-48).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from tallystick.config import AntiCsrf, Config, SameSite
from tallystick.errors import GeneralError
from tallystick.transport.cookies import Cookie
from tallystick.transport.request import Request


@dataclass(frozen=True, slots=True)
class Policy:
    """How tokens travel for one request."""

    config: Config
    is_secure: bool
    same_site: SameSite
    anti_csrf: AntiCsrf

    @property
    def cookie_domain(self) -> str | None:
        """The cookies' Domain attribute."""
        return name_domain(self.config.cookie_domain)

    def make_cookie(self, name: str, value: str, path: str, expires_at: int) -> Cookie:
        """A cookie of ours; an empty value clears it. ``expires_at`` in ms."""
        return self.make_cookie_of(self.cookie_domain, name, value, path, expires_at)

    def make_cookie_of(self, domain: str | None, name: str, value: str, path: str, expires_at: int) -> Cookie:
        """The same with another Domain attribute."""
        is_partitioned = self.config.cookie_partitioned
        return Cookie(name, value, path, domain, expires_at, self.is_secure, self.same_site, is_partitioned)


def make_policy(config: Config, request: Request) -> Policy:
    """The policy for ``request``."""
    same_site = config.cookie_same_site or _compute_same_site(config.api_domain, config.website_domain)
    return Policy(
        config=config,
        is_secure=request.is_https if config.secure is None else config.secure,
        same_site=same_site,
        anti_csrf=config.anti_csrf or (AntiCsrf.VIA_CUSTOM_HEADER if same_site == "none" else AntiCsrf.NONE),
    )


def name_domain(domain: str | None) -> str | None:
    """A domain as a Domain attribute: none for ``localhost`` and addresses, which have no subdomains and of which
    browsers refuse some spellings (P-28)."""
    host = (domain or "").removeprefix(".").lower()
    return None if not host or host == "localhost" or _is_ipv4(host) else domain


def check_can_set_cookies(policy: Policy) -> None:
    """Refuse to make a session whose cookies no browser would keep.

    Raises :class:`GeneralError` (``insecure_cookies``): ``SameSite=None`` needs ``Secure``, except where everything
    is on the developer's own machine.
    """
    if policy.same_site != "none" or policy.is_secure:
        return
    domains = (policy.config.api_domain, policy.config.website_domain)
    if not all(domain is not None and _site_of(_host(domain)) == "localhost" for domain in domains):
        raise GeneralError(
            "the website and the API are on different sites, so their cookies need SameSite=None, which browsers only "
            "keep with Secure: serve the API over https and say so in api_domain",
            reason="insecure_cookies",
        )


@lru_cache(maxsize=64)
def _compute_same_site(api_domain: str | None, website_domain: str | None) -> SameSite:
    """``none`` where the two differ in site or scheme, else ``lax``. The answer depends on its arguments alone."""
    if api_domain is None or website_domain is None:
        return "lax"
    api, website = urlsplit(api_domain), urlsplit(website_domain)
    is_same = api.scheme == website.scheme and _site_of(_host(api_domain)) == _site_of(_host(website_domain))
    return "lax" if is_same else "none"


def _host(origin: str) -> str:
    return (urlsplit(origin).hostname or "").lower()


def _site_of(host: str) -> str:
    """The registrable domain, by the public suffix list with its private part; everything local is one site."""
    if host == "localhost" or host.endswith(".localhost") or _is_ipv4(host) or ":" in host:
        return "localhost"
    return _registrable_domain(host) or host


def _registrable_domain(host: str) -> str | None:
    try:
        from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 - an extra, needed for two domains only
    except ImportError as error:
        raise GeneralError(
            'to tell whether two domains are one site, install the public suffix list: pip install "publicsuffixlist", '
            "or set cookie_same_site",
            reason="missing_package",
        ) from error
    return PublicSuffixList(accept_unknown=True).privatesuffix(host)


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True
