"""The Django app: it keeps the project's sessions, as Django keeps its connections, and brings the system check."""

from __future__ import annotations

from functools import cached_property

from django.apps import AppConfig
from django.core.checks import register
from django.core.signals import setting_changed

from tallystick.aio import AsyncSessions
from tallystick.integrations.django import checks
from tallystick.integrations.django.settings import NAME, read_arguments
from tallystick.sessions import Sessions


class TallystickConfig(AppConfig):
    """``apps.get_app_config("tallystick").sessions`` is for code outside of requests."""

    name = "tallystick.integrations.django"
    label = "tallystick"
    verbose_name = "Tallystick"

    def ready(self) -> None:
        """Called by Django once all apps are there."""
        register(checks.check_settings, "tallystick")
        register(checks.check_middleware, "tallystick")
        setting_changed.connect(self._forget)

    @cached_property
    def sessions(self) -> Sessions:
        """The sessions, for code that waits. Under WSGI, also those of the middleware."""
        return Sessions(**read_arguments())

    @cached_property
    def async_sessions(self) -> AsyncSessions:
        """The sessions, for code that awaits. Under ASGI, also those of the middleware."""
        return AsyncSessions(**read_arguments())

    def _forget(self, *, setting: str, **_: object) -> None:
        """A test has other settings from here on."""
        if setting == NAME:
            vars(self).pop("sessions", None)
            vars(self).pop("async_sessions", None)
