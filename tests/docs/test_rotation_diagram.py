"""The diagram in the documentation is the code's."""

from tests.docs.documents import ROOT, blocks_of
from tests.docs.rotation_diagram import ALL_KINDS, draw, kinds_drawn


def test_the_state_diagram_is_what_the_code_does():
    (block,) = blocks_of(ROOT / "docs/explanation/rotation.md", "mermaid")
    assert block.text.strip() == draw(), "python -m tests.docs.rotation_diagram prints the new one"


def test_every_verdict_is_in_the_diagram():
    assert kinds_drawn() == ALL_KINDS
