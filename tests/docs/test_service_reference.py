"""The reference of `tallystick serve` is its table of settings."""

from pathlib import Path

from tallystick.cli.serve import render_help
from tallystick.service.kinds import Number, Whole
from tallystick.service.metrics import Metrics
from tallystick.service.settings import Scope, Setting, all_settings
from tallystick.service.sources import flag_of, gather_settings
from tests.docs.documents import ROOT, blocks_of, rows_of

HOW_TO = ROOT / "docs" / "how-to" / "run-the-core.md"
PAGE = ROOT / "docs" / "reference" / "cli.md"


def name_of(setting: Setting) -> str:
    if setting.name == "url":
        return "URL"
    return setting.name if setting.is_secret else flag_of(setting.name)


def row_of(setting: Setting) -> list[str]:
    name = name_of(setting)
    default = "" if setting.default in (None, "", ()) else str(setting.default)
    if isinstance(setting.default, bool):
        default = str(setting.default).lower()
    accepted = setting.kind.accepted
    if isinstance(setting.kind, Whole | Number):
        accepted = accepted.partition(", ")[2]
    return [
        name,
        default.removesuffix(".0"),
        accepted,
        setting.variable,
        "" if setting.scope is Scope.BASE else setting.scope,
    ]


def test_the_reference_has_every_setting_with_default_range_variable_and_scope():
    assert [row[:5] for row in rows_of(PAGE, "setting")] == [row_of(setting) for setting in all_settings().values()]


def test_the_reference_says_what_each_setting_does_as_the_help_does():
    assert [row[5] for row in rows_of(PAGE, "setting")] == [setting.help for setting in all_settings().values()]


def test_the_help_names_every_setting():
    text = render_help()
    for setting in all_settings().values():
        assert f"\n  {name_of(setting)}" in text
        assert f"Environment: {setting.variable}." in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_the_file_in_the_how_to_is_one(tmp_path: Path):
    [text] = [block.text for block in blocks_of(HOW_TO, "yaml") if block.text.startswith("# core.yaml")]
    file = tmp_path / "core.yaml"
    file.write_text(text)
    settings, _ = gather_settings(file, {}, {})
    assert (settings.workers, settings.access_token_validity) == (2, 1800)


def test_the_how_to_tells_of_every_metric():
    lines = Metrics().render()[0].decode().splitlines()
    kinds = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE tallystick")}
    names = {name if kind != "counter" or name.endswith("_total") else f"{name}_total" for name, kind in kinds.items()}
    assert {row[0] for row in rows_of(HOW_TO, "metric")} == names
