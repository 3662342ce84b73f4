"""Shared set-up: one torch thread everywhere, no settings from the surroundings, checkpoints of a test's own."""

import os
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("RESEXP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RESEXP_CHECKPOINTS", str(tmp_path / "checkpoints"))
