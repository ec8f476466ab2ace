"""What a foreign file in a folder is, the same for runs, trainings and checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapioca.disk import list_contents, make_marked_folder
from tapioca.errors import StoreError
from tapioca.lab.trainer import claim_training_folder
from tapioca.runs.folder import open_manifest


@pytest.mark.parametrize("claim", [claim_training_folder, open_manifest])
def test_what_a_killed_process_left_is_nobodys_and_anything_else_is_foreign(claim: object, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name in (".training.pt.1.tmp", ".manifest.json.77.tmp"):
        (folder / name).touch()
    claim(folder)  # type: ignore[operator]
    assert list_contents(folder) == []
    (folder / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"out holds something else than a (run|training); choose another folder"):
        claim(folder)  # type: ignore[operator]


def test_a_marked_folder_may_hold_anything_beside(tmp_path: Path) -> None:
    assert not make_marked_folder(tmp_path / "new", "mark", "a thing")
    for name in ("mark", "other"):
        (tmp_path / "new" / name).touch()
    assert make_marked_folder(tmp_path / "new", "mark", "a thing")
    assert list_contents(tmp_path / "missing") == []
