"""The cache of verified tokens in the tests: beside each answer of it, the one without it; or none at all.

Python imports this by its name when it starts, in each process that the tests start (``PYTHONPATH``), as they are to
run so too. ``TOKEN_CACHE`` says which: ``compared`` or ``off``.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

MODE: Final = "TOKEN_CACHE"


def turn_off(config: ModuleType) -> None:
    """The default of the setting, as no test and no program should have to know of it."""
    config.Config.__init__.__kwdefaults__["verified_token_cache"] = 0


def compare(verified_tokens: ModuleType) -> None:
    """Open each token without the cache too, and let both answers be the same."""
    recall = verified_tokens.TokenCache.open
    if hasattr(recall, "compares"):
        return
    verify, verify_core = verified_tokens.open_access_token, verified_tokens.open_core_token

    def verify_anew(cache: Any, text: Any, secrets: Any, now: Any) -> Any:
        if hasattr(cache, "ring"):
            return verify(text, cache.ring, secrets, now)
        return verify_core(text, cache.keys, now)

    def open_both_ways(cache: Any, text: Any, secrets: Any, now: Any) -> Any:
        try:
            anew = verify_anew(cache, text, secrets, now)
        except Exception as error:
            anew = error
        try:
            recalled = recall(cache, text, secrets, now)
        except Exception as error:
            check_sameness(anew, error)
            raise
        check_sameness(anew, recalled)
        return recalled

    open_both_ways.compares = True  # type: ignore[attr-defined]
    verified_tokens.TokenCache.open = open_both_ways  # type: ignore[attr-defined]


class DifferentAnswer(BaseException):
    """No Exception, as no handler of an app may take it for one of its own."""


def check_sameness(anew: object, recalled: object) -> None:
    if isinstance(anew, Exception) and isinstance(recalled, Exception):
        same = type(anew) is type(recalled) and anew.args == recalled.args
    else:
        same = anew == recalled
    if not same:
        raise DifferentAnswer("the cache of verified tokens answers other than a verification")


CHANGES: Final = {"off": ("tallystick.config", turn_off), "compared": ("tallystick.verified_tokens", compare)}


class Changing(MetaPathFinder):
    """Changes the module when it is imported, if it is: most programs have no use for it."""

    def __init__(self, name: str, change: Callable[[ModuleType], None]) -> None:
        self.name, self.change = name, change

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            self.change(module)

        spec.loader.exec_module = execute_and_change  # type: ignore[method-assign]
        return spec


if __name__ == "sitecustomize" and MODE in os.environ:
    sys.meta_path.insert(0, Changing(*CHANGES[os.environ[MODE]]))
