"""What a worker is started with: one document, read whole or refused with the name of the field."""

from __future__ import annotations

import dataclasses
import json

import pytest

from latentcast_worker.command_line import settings_of
from latentcast_worker.settings import CpuShare

from .worker_process import SETTINGS

DOCUMENT = dataclasses.asdict(SETTINGS)


def test_a_document_is_read_whole() -> None:
    share = {"index": 1, "count": 2}
    settings = settings_of(["--settings", json.dumps({**DOCUMENT, "cpu_share": share, "shortcuts": ["few-step"]})])
    assert settings == dataclasses.replace(SETTINGS, cpu_share=CpuShare(index=1, count=2), shortcuts=("few-step",))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"incarnation": -1}, "settings.incarnation"),
        ({"device": "cuda:1"}, "settings.device"),
        ({"max_batch": 0}, "settings.max_batch"),
        ({"shortcuts": "few-step"}, "settings.shortcuts"),
        ({"shortcuts": ["no-such"]}, "settings.shortcuts"),
        ({"cpu_share": {"index": 2, "count": 2}}, "settings.cpu_share"),
    ],
)
def test_a_document_that_cannot_be_used_is_refused_by_its_field(
    changes: dict[str, object], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        settings_of(["--settings", json.dumps({**DOCUMENT, **changes})])
    assert named in capsys.readouterr().err


def test_a_missing_field_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        settings_of(["--settings", json.dumps({key: value for key, value in DOCUMENT.items() if key != "models"})])
    assert "settings.models is missing" in capsys.readouterr().err
