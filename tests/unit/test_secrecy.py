"""No repr, str, log record or error of any object holds a token, a secret or a key."""

import logging
import pickle
import traceback
from base64 import b64encode, urlsafe_b64encode
from dataclasses import fields, is_dataclass
from datetime import timedelta

from rich.pretty import pretty_repr

from tallystick import SessionError, TokenTheftDetected
from tallystick.storage.memory import MemoryStore
from tests.unit.facades import SECRET
from tests.unit.workshop import FOREIGN, decode


class Story:
    """Whatever a program could print, and what must not be in it."""

    def __init__(self):
        self.shown: list[str] = []
        self.hidden: set[str] = set()

    def show(self, value):
        self.shown += [repr(value), str(value), f"{value}", pretty_repr(value)]
        if is_dataclass(value):
            for field in fields(value):
                inner = getattr(value, field.name)
                if not isinstance(inner, str | bytes):
                    self.show(inner)

    def show_error(self, error):
        while error is not None:
            self.shown += [repr(error), str(error), repr(error.args), repr(vars(error))]
            self.shown += ["".join(traceback.format_exception_only(error)), repr(getattr(error, "__notes__", ""))]
            if isinstance(error, SessionError):
                self.shown.append(repr(pickle.dumps(error)))
            error = error.__cause__ or error.__context__

    def hide(self, text):
        """Hide a token whole, and each of its parts that is long enough to be worth something."""
        self.hidden.add(text)
        self.hidden |= {part for part in text.split(".") if len(part) >= 16}

    def hide_tokens(self, created):
        for token in (created.access_token, created.refresh_token, created.id_refresh_token):
            if token is not None:
                self.hide(token.token)
        for text in (created.front_token, created.anti_csrf_token):
            if text is not None:
                self.hide(text)
        claims = decode(created.access_token.token.split(".")[1])
        for name in ("refreshTokenHash1", "parentRefreshTokenHash1", "antiCsrfToken"):
            if claims[name]:
                self.hide(claims[name])

    def hide_bytes(self, data):
        for form in (data.hex(), repr(data)[2:-1], b64encode(data).decode(), urlsafe_b64encode(data).decode()):
            self.hidden.add(form.rstrip("="))

    def check(self):
        text = "\n".join(self.shown)
        # The header of an access token is a public key id.
        found = {hidden for hidden in self.hidden if hidden in text and not hidden.startswith("eyJhbGciOi")}
        assert found == set()
        assert len(self.shown) > 100
        assert len(self.hidden) > 50


class Failing(MemoryStore):
    is_broken = False

    def load_session(self, *args):
        if self.is_broken:
            raise ConnectionError("could not connect")
        return super().load_session(*args)


def test_nothing_that_can_be_printed_logged_or_raised_holds_a_secret(facades, clock, caplog):
    caplog.set_level(logging.DEBUG)
    story, store = Story(), Failing()
    story.hide(SECRET)
    sessions = facades.make(store)

    def attempt(method, *args, **options):
        try:
            story.show(method(*args, **options))
        except SessionError as error:
            story.show_error(error)
            return error
        return None

    created = sessions.create_new_session("user-1", {"role": "x"}, {"cart": 1}, enable_anti_csrf=True)
    anti = created.anti_csrf_token
    victim, thief = (sessions.refresh_session(created.refresh_token.token, anti) for _ in range(2))
    found = sessions.get_session(victim.access_token.token, victim.anti_csrf_token)
    regenerated = sessions.regenerate_access_token(victim.access_token.token, {"role": "y"})
    for result in (created, victim, thief):
        story.show(result)
        story.hide_tokens(result)
    for result in (found, regenerated):
        story.show(result)
        story.hide(result.access_token.token)
        story.hide(result.front_token)

    text = victim.access_token.token
    for bad in (f"{text[:-20]}{'A' * 20}", text[:-1], text + "x", text.upper(), thief.refresh_token.token):
        attempt(sessions.get_session, bad)
        attempt(sessions.regenerate_access_token, bad)
    attempt(sessions.get_session, text, "wrong-anti-csrf")
    attempt(sessions.get_session, text, id_refresh_token=None)
    for bad in (victim.refresh_token.token[:-4], victim.refresh_token.token + ".x", text):
        attempt(sessions.refresh_session, bad)
    attempt(sessions.refresh_session, victim.refresh_token.token, thief.anti_csrf_token)
    attempt(sessions.create_new_session, text * 3)
    attempt(sessions.update_session_data, text, {"a": b"" + text.encode()})
    attempt(sessions.update_jwt_payload, created.session.handle, {"a": text * 5})
    attempt(sessions.get_session_information, created.session.handle)

    [row] = store._sessions.values()
    [key] = store._keys.values()
    for stored in (row, key):
        story.show(stored)
    for data in (row.line, row.nonce, key.sealed):
        story.hide_bytes(data)
    deployment = sessions._deployment
    for value in (sessions, deployment, deployment.keys, deployment.keys.ring, *deployment.keys.ring.keys):
        story.shown += [repr(value), str(value)]
    for keys in deployment.secrets:
        story.shown.append(repr(keys))
        for field in fields(keys):
            story.hide_bytes(getattr(keys, field.name))

    clock.advance(timedelta(hours=2))
    attempt(sessions.get_session, text)
    store.is_broken = True
    attempt(sessions.refresh_session, victim.refresh_token.token)
    store.is_broken = False
    attempt(facades.make(store, secret=FOREIGN).create_new_session, "u")
    story.hide(FOREIGN)
    sessions.refresh_session(thief.refresh_token.token)
    stolen = attempt(sessions.refresh_session, victim.refresh_token.token)
    assert isinstance(stolen, TokenTheftDetected)

    records = [record for record in caplog.records if record.name.startswith("tallystick")]
    assert any("token theft detected" in record.getMessage() for record in records)
    for record in caplog.records:
        story.shown += [record.getMessage(), repr(vars(record))]
    story.check()


def test_the_story_can_fail(facades):
    story = Story()
    created = facades.make().create_new_session("u")
    story.hide_tokens(created)
    story.shown.append(f"oops {created.refresh_token.token}")
    assert any(hidden in story.shown[0] for hidden in story.hidden)
