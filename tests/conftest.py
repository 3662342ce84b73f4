"""Shared set-up: one torch thread everywhere, and no settings from the surroundings."""

import os

import pytest

os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("RESEXP_"):
            monkeypatch.delenv(name)
