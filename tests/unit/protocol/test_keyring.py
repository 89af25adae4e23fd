"""Signing keys: their schedule, which one signs, genuine key ids, and how they are sealed."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as new_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tallystick.errors import GeneralError
from tallystick.protocol.derivation import derive_keys
from tallystick.protocol.encoding import encode_base64url
from tallystick.protocol.keyring import Schedule, empty_keyring, is_genuine_kid, mint_key_row
from tallystick.protocol.signing import load_signer
from tallystick.testing import START
from tests.unit.workshop import (
    DAY,
    FOREIGN,
    FORMER,
    HOUR,
    SCHEDULE,
    decode,
    keys_of,
    make_row,
    open_rows,
    private_key,
)

MINUTE = 60_000
INTERVAL = SCHEDULE.interval


def sequences(ring, now):
    """Which key signs at ``now``, and which are published."""
    key = ring.signing_key(now)
    kids = {key.kid: key.sequence for key in ring.keys}
    return key and key.sequence, [kids[published["kid"]] for published in ring.jwks(now)["keys"]]


# Schedule


@pytest.mark.parametrize(
    ("interval", "overlap"),
    [(7 * DAY, MINUTE), (300_000, MINUTE), (299_999, 59_999), (10_000, 2000), (1440, 288), (1000, 200), (1, 0)],
)
def test_the_overlap_is_a_minute_and_a_fifth_of_a_short_interval(interval, overlap):
    assert Schedule(interval, HOUR).overlap == overlap


def test_a_key_lives_for_its_interval_and_two_lives_of_an_access_token():
    assert Schedule(7 * DAY, HOUR).lifetime == 7 * DAY + 2 * HOUR


@pytest.mark.parametrize("interval", [7 * DAY, 5040, 1440, 1000])
def test_a_new_key_is_not_due_again_at_once_however_short_the_interval(interval):
    schedule = Schedule(interval, 1000)
    ring = open_rows([make_row()], schedule=schedule)
    overlap = schedule.overlap
    assert not ring.is_due(START)
    assert not ring.is_due(START + interval - overlap)
    assert ring.is_due(START + interval - overlap + 1)


def test_an_empty_ring_is_due_signs_nothing_and_publishes_nothing():
    ring = empty_keyring(SCHEDULE, "EdDSA")
    assert ring.is_due(START)
    assert ring.signing_key(START) is None
    assert ring.jwks(START) == {"keys": []}
    assert ring.find("", START) is None


# Which key signs


def test_the_only_key_signs_at_once():
    assert sequences(open_rows([make_row()]), START) == (1, [1])


def test_a_next_key_is_published_for_the_overlap_before_it_signs():
    second = START + INTERVAL - MINUTE
    ring = open_rows([make_row(1), make_row(2, second)])
    assert sequences(ring, second) == (1, [2, 1])
    assert sequences(ring, second + MINUTE - 1) == (1, [2, 1])
    assert sequences(ring, second + MINUTE) == (2, [2, 1])


def test_a_next_key_that_comes_late_signs_at_once_as_the_former_must_not():
    late = START + INTERVAL + DAY
    ring = open_rows([make_row(1), make_row(2, late)], now=late)
    assert sequences(ring, late)[0] == 2


def test_a_key_signs_until_the_last_millisecond_of_its_interval():
    ring = open_rows([make_row()])
    assert sequences(ring, START + INTERVAL - 1) == (1, [1])
    assert sequences(ring, START + INTERVAL) == (None, [1])


def test_a_key_is_published_until_the_last_millisecond_of_its_life():
    ring, end = open_rows([make_row()]), START + SCHEDULE.lifetime
    header = ring.keys[0].header
    assert sequences(ring, end) == (None, [1])
    assert ring.find(header, end) is ring.keys[0]
    assert sequences(ring, end + 1) == (None, [])
    assert ring.find(header, end + 1) is None


def test_of_two_ripe_keys_the_newest_signs():
    ring = open_rows([make_row(1), make_row(2, START + 1), make_row(3, START + 2)])
    assert sequences(ring, START + 2 * MINUTE)[0] == 3


def test_a_key_of_a_server_whose_clock_is_ahead_does_not_sign_before_it_is_ripe():
    ring = open_rows([make_row(1), make_row(2, START + 5 * MINUTE)])
    assert sequences(ring, START + MINUTE) == (1, [2, 1])
    assert not ring.is_due(START + MINUTE)


def test_the_rows_order_makes_no_difference():
    rows = [make_row(2, START + 1), make_row(1), make_row(3, START + 2)]
    assert [key.sequence for key in open_rows(rows).keys] == [3, 2, 1]


def test_after_a_switch_of_algorithm_a_key_is_due_and_the_old_ones_still_verify():
    ring = open_rows([make_row(1)], algorithm="ES256")
    assert ring.is_due(START)
    assert ring.signing_key(START) is None
    assert ring.find(ring.keys[0].header, START) is ring.keys[0]
    both = open_rows([make_row(1), make_row(2, START + 1, "ES256")], algorithm="ES256")
    assert not both.is_due(START + 1)
    assert sequences(both, START + 1) == (2, [2, 1])


def test_a_process_of_the_old_algorithm_goes_on_with_its_own_keys():
    ring = open_rows([make_row(1), make_row(2, START + 1, "ES256")])
    assert not ring.is_due(START + 5 * MINUTE)
    assert sequences(ring, START + 5 * MINUTE) == (1, [2, 1])


def test_the_highest_sequence_counts_keys_that_cannot_be_read_and_keys_that_are_retired():
    rows = [make_row(1), make_row(4, secret=keys_of(FOREIGN)), make_row(9, START - 100 * DAY)]
    ring = open_rows(rows)
    assert ring.highest_sequence == 9
    assert [key.sequence for key in ring.keys] == [1]


# Sealing


def test_a_sealed_key_opens_to_the_same_key():
    row = make_row()
    public = load_signer("EdDSA", private_key("EdDSA", 1)).public_members()
    published = open_rows([row]).jwks(START)["keys"][0]
    assert public.items() <= published.items()
    assert private_key("EdDSA", 1) not in row.sealed


def test_a_key_id_says_when_and_which_and_carries_a_tag():
    row = make_row(7, START)
    assert row.kid.startswith(f"d-{START}-7-")
    assert len(row.kid.rsplit("-", 1)[0]) >= len(f"d-{START}-7")
    assert row == make_row(7, START)


def test_a_wrong_secret_is_told_and_never_signs_everybody_out():
    with pytest.raises(GeneralError) as refused:
        open_rows([make_row(1), make_row(2)], secrets=[keys_of(FOREIGN)])
    assert refused.value.reason == "wrong_secret"
    assert "secret=[new, former]" in str(refused.value)


def test_with_the_former_secret_beside_the_new_one_both_secrets_keys_open():
    rows = [make_row(1, secret=keys_of(FORMER)), make_row(2, START + 1)]
    assert [key.sequence for key in open_rows(rows, secrets=[keys_of(), keys_of(FORMER)]).keys] == [2, 1]
    assert [key.sequence for key in open_rows(rows).keys] == [2]


def test_retired_keys_of_a_lost_secret_are_no_wrong_secret():
    ring = open_rows([make_row(1, secret=keys_of(FOREIGN))], now=START + SCHEDULE.lifetime + 1)
    assert ring.keys == ()
    assert ring.highest_sequence == 1


def test_a_sealed_key_moved_under_another_key_id_does_not_open():
    first, second = make_row(1), make_row(2)
    with pytest.raises(GeneralError, match="none of the signing keys"):
        open_rows([replace(first, sealed=second.sealed)])
    assert [key.sequence for key in open_rows([first, replace(second, sealed=first.sealed)]).keys] == [1]


def test_a_sealed_key_called_another_algorithms_does_not_open():
    with pytest.raises(GeneralError, match="none of the signing keys"):
        open_rows([replace(make_row(), algorithm="RS256")])


def test_another_apps_sealed_key_does_not_open_though_the_secret_is_the_same():
    with pytest.raises(GeneralError, match="none of the signing keys"):
        open_rows([make_row(secret=keys_of(app_id="other"))])


def test_a_flipped_bit_in_any_byte_of_a_sealed_key_does_not_open():
    row = make_row()
    for i in range(len(row.sealed)):
        broken = row.sealed[:i] + bytes([row.sealed[i] ^ 1]) + row.sealed[i + 1 :]
        with pytest.raises(GeneralError) as refused:
            open_rows([replace(row, sealed=broken)])
        assert refused.value.reason == "wrong_secret"


@pytest.mark.parametrize("sealed", [b"", b"x", b"x" * 7, b"x" * 12, b"x" * 27, b"x" * 5000])
def test_a_sealed_key_of_any_length_is_passed_over(sealed):
    good, bad = make_row(1), replace(make_row(2), sealed=sealed)
    assert [key.sequence for key in open_rows([good, bad]).keys] == [1]


@pytest.mark.parametrize("kid", ["é", "", "d-1"])
def test_a_row_under_an_odd_name_is_passed_over(kid):
    assert [key.sequence for key in open_rows([make_row(1), replace(make_row(2), kid=kid)]).keys] == [1]


def test_a_key_that_is_in_the_ring_is_not_decrypted_again():
    known = open_rows([make_row()])
    # Were it decrypted, it would not open.
    again = open_rows([replace(make_row(), sealed=b"")], known=known)
    assert again.keys[0] is known.keys[0]


def test_a_key_that_is_gone_from_the_store_is_gone_from_the_ring():
    known = open_rows([make_row(1), make_row(2)])
    assert [key.sequence for key in open_rows([make_row(2)], known=known).keys] == [2]


@pytest.mark.parametrize("wrong", ["RS256", "ES256", "EdDSA", "HS256", "none"])
@pytest.mark.parametrize("right", ["RS256", "ES256", "EdDSA"])
def test_a_private_key_serves_its_own_algorithm_and_no_other(right, wrong):
    if right == wrong:
        assert load_signer(right, private_key(right)).algorithm == right
    else:
        with pytest.raises(ValueError, match="not a private key for"):
            load_signer(wrong, private_key(right))


def test_a_short_rsa_key_is_refused():
    short = new_rsa_key(65537, 1024).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())  # noqa: S505 - that is the point
    with pytest.raises(ValueError, match="not a private key for 'RS256'"):
        load_signer("RS256", short)


# Genuine key ids


def genuine(kid, now=START, secrets=None):
    return is_genuine_kid(kid, secrets or [keys_of()], SCHEDULE, now)


def test_a_key_id_of_ours_is_genuine_until_its_key_retires():
    kid = make_row().kid
    assert genuine(kid)
    assert genuine(kid, START + SCHEDULE.lifetime)
    assert not genuine(kid, START + SCHEDULE.lifetime + 1)
    assert genuine(kid, START - HOUR)  # the other server's clock is ahead


def test_a_key_id_made_with_the_former_secret_is_genuine():
    kid = make_row(secret=keys_of(FORMER)).kid
    assert genuine(kid, secrets=[keys_of(), keys_of(FORMER)])
    assert not genuine(kid)


def test_a_changed_time_sequence_or_tag_is_not_genuine():
    kid = make_row().kid
    tag = kid[-16:]
    for changed in (
        f"d-{START + 1}-1-{tag}",
        f"d-{START}-2-{tag}",
        f"d-{START}-1-{'A' * 16}",
        f"d-{START}-1-{tag[:-1]}",
        f"d-0{START}-1-{tag}",
        f"d-{START}-01-{tag}",
        f"d-{START}-1-{tag}\n",
        f"s-{START}-1-{tag}",
        f"d--{START}-1-{tag}",
        f"d-{START}-1-{tag[:-1]}é",
        f"d-{'٣' * 13}-1-{tag}",  # digits to Python, but not ours
        "",
    ):
        assert not genuine(changed), changed


def test_time_and_sequence_are_told_apart_in_the_tag():
    one = mint_key_row(b"", secret=keys_of(), app_id="a", algorithm="x", sequence=11, now=1, nonce=b"n" * 12)
    other = mint_key_row(b"", secret=keys_of(), app_id="a", algorithm="x", sequence=1, now=11, nonce=b"n" * 12)
    assert one.kid[-16:] != other.kid[-16:]


# The secret


def test_derived_keys_are_known_answers_all_different_and_not_shown():
    keys = derive_keys("0123456789abcdef0123456789abcdef", "public")
    uses = [keys.envelope, keys.refresh, keys.anti_csrf, keys.wrapping, keys.kid]
    # HKDF-SHA256 of that secret without salt, info "tallystick/1/<use>/public": a change signs everybody out.
    assert [use.hex()[:16] for use in uses] == KNOWN
    assert len(set(uses)) == 5
    assert {len(use) for use in uses} == {32}
    assert repr(keys) == "DerivedKeys()"


@pytest.mark.parametrize("app", ["public", "other"])
def test_text_and_its_bytes_are_the_same_secret_and_apps_differ(app):
    assert derive_keys("é" * 16, app) == derive_keys(("é" * 16).encode(), app)
    assert derive_keys("é" * 16, app) != derive_keys("é" * 16, "third")


def test_the_header_of_a_key_is_encoded_json_of_four_members():
    [key] = open_rows([make_row()]).keys
    assert list(decode(key.header)) == ["alg", "kid", "typ", "version"]
    assert key.header == encode_base64url(
        f'{{"alg":"EdDSA","kid":"{key.kid}","typ":"JWT","version":"5"}}'.encode("ascii")
    )


KNOWN = ["902996cfae0a4c32", "e774d44274c8d025", "c21f06a50143cca5", "11dab206a9fcdf11", "ced163ac6cc95fbe"]
