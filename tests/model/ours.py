"""Our own scheme in the explorer: the product's flows, called as they are, on the product's memory store.

A server at work is a value (`symbols.Process`), so its flow is begun anew for each step, with a clock and dice that
give what they gave before, and is sent the store's earlier answers again. Symbols become rows and tokens by the
product's own mint functions, and what comes out of a flow is turned back: a token that is not the very one that the
symbol stands for is an error. Nothing is decided here.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from hashlib import shake_256
from typing import Any

from tallystick import flows
from tallystick.calls import Call, Flow, run
from tallystick.config import Config, Retirement
from tallystick.deployment import Deployment, make_deployment
from tallystick.edges import new_private_key
from tallystick.errors import SessionError, TokenTheftDetected, TryRefreshToken, Unauthorised
from tallystick.protocol.access_token import AccessToken, mint_access_token, parse_access_token
from tallystick.protocol.derivation import DerivedKeys
from tallystick.protocol.encoding import hash_again
from tallystick.protocol.refresh_token import RefreshToken, mint_refresh_token, open_envelope
from tallystick.storage.memory import MemoryStore
from tallystick.testing import START, SeededEntropy
from tallystick.types import CreatedSession, FoundSession, SessionRow
from tests.model.scheme import Begun
from tests.model.symbols import (
    ACCESS_LIFE,
    DEAD,
    FORGOTTEN,
    GRACE,
    REFRESH,
    ROOT,
    SKEW,
    STEP,
    Access,
    Outcome,
    Process,
    Row,
    Token,
    token,
)

SECRET = "a-secret-for-the-explorer-that-is-long-enough"
NOW = START
"""The world's present, always the same: what moves is how long ago everything else was."""
_MINUTE = 60_000


class Dice:
    """Falls as it is told to the first time, which is the id of a refresh token, and then always alike."""

    def __init__(self, first: bytes) -> None:
        self._first: bytes | None = first

    def __call__(self, size: int) -> bytes:
        first, self._first = self._first, None
        return first or bytes(size)


class Product:
    """The product's own scheme. ``grace`` in seconds."""

    def __init__(self, grace: int = GRACE, retirement: Retirement = Retirement.ON_FIRST_USE) -> None:
        self.name = "ours"
        config = Config(
            algorithm="EdDSA",
            grace=timedelta(seconds=grace),
            retirement=retirement,
            access_token_validity=timedelta(seconds=ACCESS_LIFE),
        )
        self._deployment = make_deployment(
            config, SECRET, clock=lambda: NOW, entropy=SeededEntropy(1), new_private_key=new_private_key
        )
        store = MemoryStore()
        # The ring is filled here and not due for a week, so from now on flows ask for sessions only.
        run(flows.jwks(self._deployment), store)
        self._refresh_tokens: dict[Token, RefreshToken] = {}
        self._by_text: dict[str, Token] = {}
        self._by_hash1: dict[str, Token] = {}
        self._by_hash2: dict[bytes, Token] = {}
        self._access_texts: dict[Access, str] = {}
        self._looks: dict[Process, Outcome | None] = {}
        self._steps: dict[tuple[Row | None, Process, int], tuple[Row | None, Process | Outcome]] = {}
        self._begun = self._begin(store)

    # Scheme

    def begin(self) -> Begun:
        return self._begun

    def look(self, process: Process) -> Outcome | None:
        if process.operation == REFRESH:
            return None
        if process not in self._looks:
            try:
                next(self._flow(process, 0))
            except StopIteration as end:
                self._looks[process] = self._outcome(process, end.value, 0)
            except SessionError as error:
                self._looks[process] = refusal(error)
            else:
                self._looks[process] = None
        return self._looks[process]

    def step(self, row: Row | None, process: Process, number: int) -> tuple[Row | None, Process | Outcome]:
        key = row, process, number
        if key not in self._steps:
            self._steps[key] = self._step(*key)
        return self._steps[key]

    def _step(self, row: Row | None, process: Process, number: int) -> tuple[Row | None, Process | Outcome]:
        store = MemoryStore()
        if row is not None:
            store.insert_session(self.row_of(row))
        flow, call = self._resume(process, number)
        answer = getattr(store, call.method)(*call.args)
        known = self._row_symbol(answer) if isinstance(answer, SessionRow) else answer
        stage = self._go_on(flow, process._replace(answers=(*process.answers, known)), answer, number)
        left = store.load_session(self._deployment.app_id, self._real_row.handle)
        return None if left is None else self._row_symbol(left), stage

    def _resume(self, process: Process, number: int) -> tuple[Flow[Any], Call]:
        """The process's flow and the call that it is about to make."""
        flow = self._flow(process, number)
        call = next(flow)
        for answer in process.answers:
            call = flow.send(self.row_of(answer) if isinstance(answer, Row) else answer)
        assert isinstance(call, Call), "a flow has other work than store calls to do"
        return flow, call

    def _go_on(self, flow: Flow[Any], process: Process, answer: object, number: int) -> Process | Outcome:
        """What becomes of a process that gets its last answer. One that asks what it asked first has lost a race."""
        try:
            call = flow.send(answer)
        except StopIteration as end:
            return self._outcome(process, end.value, number)
        except SessionError as error:
            return refusal(error)
        begun_anew = process._replace(answers=())
        if call == self._resume(begun_anew, number)[1]:
            return begun_anew
        return self._simplify(process, number)

    def _simplify(self, process: Process, number: int) -> Process:
        """The process with as little in the row that it has loaded as will make no difference to what it does next and
        to how it ends if that succeeds."""
        loaded = process.answers[-1]
        if isinstance(loaded, Row):
            plans = self._plan(process, number)
            for previous in (None, loaded.previous):
                for used in (None, loaded.used):
                    simple = loaded._replace(previous=previous, used=used)
                    simpler = process._replace(answers=(*process.answers[:-1], simple))
                    if self._plan(simpler, number) == plans:
                        return simpler
        return process

    def _plan(self, process: Process, number: int) -> tuple[Call | None, Process | Outcome]:
        try:
            flow, call = self._resume(process, number)
        except (StopIteration, SessionError):
            return None, process
        return call, self._go_on(flow, process._replace(answers=(*process.answers, True)), True, number)

    def present(self, row: Row, operation: int, text: str) -> tuple[bool, str]:
        """Carry out a request with any text for a token: whether that left the row as it was, and how it ended."""
        store, before = MemoryStore(), self.row_of(row)
        store.insert_session(before)
        try:
            run(_begin_flow(self._deployment, operation, text), store)
        except SessionError as error:
            kind = refusal(error).kind
        else:
            kind = "ok"
        return store.load_session(before.app_id, before.handle) == before, kind

    # Symbols to real things

    def text_of(self, presented: Token | Access) -> str:
        """The very text of a refresh token or an access token."""
        if isinstance(presented, Token):
            return self._refresh_token(presented).text
        if presented not in self._access_texts:
            self._access_texts[presented] = self._mint_access(presented)
        return self._access_texts[presented]

    def row_of(self, row: Row) -> SessionRow:
        """The row as the store has it."""
        return replace(
            self._real_row,
            generation=row.generation,
            line=self._hash2(row.line),
            previous=None if row.previous is None else self._hash2(row.previous),
            used_at=None if row.used is None else NOW - 1000 * row.used,
            expires_at=self._real_row.expires_at if row.ends is None else NOW + 1000 * row.ends,
        )

    def _refresh_token(self, symbol: Token) -> RefreshToken:
        if symbol not in self._refresh_tokens:
            self._know(symbol, self.mint(symbol, self._deployment.secrets[0], self._real_row.nonce))
        return self._refresh_tokens[symbol]

    def mint(self, symbol: Token, keys: DerivedKeys, nonce: bytes, handle: str | None = None) -> RefreshToken:
        """The symbol's token as whoever has these keys and this nonce would make it."""
        parent = symbol.parent
        return mint_refresh_token(
            keys=keys,
            nonce=nonce,
            handle=handle or self._real_row.handle,
            generation=max(symbol.generation, 0),
            token_id=_id_of(symbol),
            parent_hash1=None if parent is None else self._refresh_token(parent).hash1,
            has_anti_csrf=False,
        )

    @property
    def nonce(self) -> bytes:
        """That of the row, which is in the database alone."""
        return self._real_row.nonce

    def _know(self, symbol: Token, real: RefreshToken) -> None:
        self._refresh_tokens[symbol] = real
        self._by_text[real.text] = symbol
        self._by_hash1[real.hash1] = symbol
        self._by_hash2[hash_again(real.hash1)] = symbol

    def _hash2(self, symbol: Token) -> bytes:
        return hash_again(self._refresh_token(symbol).hash1)

    def _mint_access(self, access: Access) -> str:
        refresh = self._refresh_token(access.token)
        expires_at = NOW + 1000 * access.left
        content = AccessToken(
            handle=self._real_row.handle,
            user_id=self._real_row.user_id,
            tenant_id=self._real_row.tenant_id,
            created_at=expires_at - 1000 * ACCESS_LIFE,
            expires_at=expires_at,
            refresh_hash1=refresh.hash1,
            parent_hash1=refresh.parent_hash1 if access.is_marked else None,
            anti_csrf_token=None,
            jwt_payload={},
        )
        key = self._deployment.keys.ring.signing_key(NOW)
        assert key is not None
        return mint_access_token(content, key)

    def _flow(self, process: Process, number: int) -> Flow[Any]:
        clock = NOW + 1000 * (SKEW * process.server - STEP * process.started)
        dice = Dice(_number_to_id(number))
        deployment = replace(self._deployment, clock=lambda: clock, entropy=dice)
        return _begin_flow(deployment, process.operation, self.text_of(process.presented))

    # Real things to symbols

    def _outcome(self, process: Process, result: CreatedSession | FoundSession, number: int) -> Outcome:
        refresh = None
        if isinstance(result, CreatedSession):
            parent = process.presented
            assert isinstance(parent, Token)
            refresh = token(parent.generation + 1, parent, number)
            assert self.text_of(refresh) == result.refresh_token.token, "a refresh handed out what is not a child"
        cookie = result.access_token
        return Outcome("ok", None if cookie is None else self._access_symbol(cookie.token), refresh)

    def _access_symbol(self, text: str) -> Access:
        claims = parse_access_token(text)
        assert claims is not None
        left = claims["exp"] - NOW // 1000
        is_marked = claims["parentRefreshTokenHash1"] is not None
        if left <= DEAD:
            return Access(FORGOTTEN, False, DEAD)
        # Without the mark nobody ever looks from which refresh token an access token came.
        return Access(self._by_hash1[claims["refreshTokenHash1"]] if is_marked else FORGOTTEN, is_marked, left)

    def _row_symbol(self, row: SessionRow) -> Row:
        ends = row.expires_at - NOW
        return Row(
            row.generation,
            self._by_hash2[row.line],
            None if row.previous is None else self._by_hash2[row.previous],
            None if row.used_at is None else (NOW - row.used_at) // 1000,
            # 100 days from now or nearly so: for the explorer that is never.
            None if ends > _MINUTE else ends // 1000,
        )

    def _begin(self, store: MemoryStore) -> Begun:
        flow = flows.create(self._deployment, "user", None, None, tenant_id="public", enable_anti_csrf=False)
        created = run(flow, store)
        row = store.load_session(self._deployment.app_id, created.session.handle)
        assert row is not None
        self._real_row = row
        self._know(ROOT, open_envelope(created.refresh_token.token, self._deployment.secrets).open(row.nonce))
        return Begun(self._row_symbol(row), self._access_symbol(created.access_token.token), ROOT)


def _begin_flow(deployment: Deployment, operation: int, text: str) -> Flow[Any]:
    if operation == REFRESH:
        return flows.refresh(deployment, text, None)
    return flows.verify(deployment, text, None, "there", do_anti_csrf_check=False, check_database=False)


def refusal(error: SessionError) -> Outcome:
    """An error as an outcome."""
    match error:
        case TokenTheftDetected():
            return Outcome(f"theft ({error.reason})")
        case TryRefreshToken():
            return Outcome("try refresh")
        case Unauthorised():
            return Outcome(f"unauthorised ({error.reason})")
    return Outcome(f"broken ({error.reason})")


def _number_to_id(number: int) -> bytes:
    return shake_256(f"child {number}".encode("ascii")).digest(16)


def _id_of(symbol: Token) -> bytes:
    return b"nobody has this." if symbol is FORGOTTEN else _number_to_id(symbol.number)
