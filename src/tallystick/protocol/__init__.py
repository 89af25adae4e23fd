"""The pure heart: what a token is, when it is good, and what becomes of a session.

No clock, no randomness, no input or output: instants, random bytes and rows come in as arguments. ``judge_*`` gives a
verdict, ``check_*`` raises, ``open_*`` opens a signed thing, ``mint_*`` makes one, ``parse_*`` is syntax only.
"""
