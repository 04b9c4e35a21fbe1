from __future__ import annotations

import re
import runpy
from pathlib import Path

from portico.cli.serve import parse
from portico.config.config import Config
from portico.config.options import OPTIONS

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "reference.md"


def test_the_page_is_up_to_date() -> None:
    script = runpy.run_path(str(REPOSITORY / "scripts" / "make_reference.py"))
    written = script["reference_markdown"]()
    assert PAGE.read_text(encoding="utf-8") == written, "run: python3 scripts/make_reference.py"


def test_every_option_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for option in OPTIONS:
        _, _, section = page.partition(f"\n### {option.name}\n")
        section, _, _ = section.partition("\n#")
        assert option.meaning in section
        assert option.variable in section
        assert option.flag in section
        assert option.kind.expects in section
        assert option.shown_default in section


def test_the_example_file_is_valid(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    file = tmp_path / "portico.toml"
    file.write_text(example[1], encoding="utf-8")
    config = Config.of(config=file)
    assert config.root == str(tmp_path / "public")
    assert (config.port, config.cache_size) == (8000, 64 << 20)


def test_the_example_commands_are_valid() -> None:
    page = PAGE.read_text(encoding="utf-8")
    commands = re.findall(r"^(?:\w+=\w+ )?portico (?!\[)(.*)$", page, re.MULTILINE)
    assert commands == ["public", "public --port 8000"]
    for command in commands:
        assert Config.load(parse(command.split()), {}).root == "public"
