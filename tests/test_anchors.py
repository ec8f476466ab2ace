"""Links into a page lead to a heading of it, and the files that the guides name are there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")])


def heading_anchors(page: str) -> set[str]:
    """The anchors that a Markdown viewer gives the headings of a page: words in small letters, joined by hyphens."""
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    counts: Counter[str] = Counter()
    anchors = set()
    for heading in re.findall(r"^#+ +(.*?) *$", prose, re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        anchors.add(f"{anchor}-{counts[anchor]}" if counts[anchor] else anchor)
        counts[anchor] += 1
    return anchors


def lost_anchors(page: Path) -> list[str]:
    """The targets of a page's links that name a heading which is not there."""
    links = re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [
        f"{target}#{anchor}"
        for target, anchor in links
        if not target.startswith("https://")
        and anchor not in heading_anchors((page.parent / target if target else page).read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_lead_to_a_heading(page: Path) -> None:
    assert lost_anchors(page) == []


def test_a_lost_anchor_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Other\n\n## `tapioca prune`, again\n\n## Twice\n\n## Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```sh\n# No heading\n```\n[a](other.md#tapioca-prune-again) [b](other.md#twice-1) [c](#page)\n"
        "[d](other.md#twice-2) [e](#no-heading) [f](https://example.org/#x) [g](other.md#other)\n"
    )
    assert lost_anchors(page) == ["other.md#twice-2", "#no-heading"]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_files_that_a_guide_names_are_there(page: str) -> None:
    names = re.findall(r"`([\w/]+\.(?:py|md|toml|txt))`", (ROOT / page).read_text(encoding="utf-8"))
    assert len(names) > 10
    assert [name for name in names if not any((top / name).is_file() for top in (ROOT, ROOT / "src" / "tapioca"))] == []
