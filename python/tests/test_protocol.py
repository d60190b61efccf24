"""The wire, against the golden messages that the TypeScript side reads too."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcast_worker import protocol
from latentcast_worker.codec import MAX_HEADER_BYTES, ProtocolError, decode_command, encode_report
from latentcast_worker.protocol import (
    Cancel,
    Cancelled,
    Capabilities,
    DeviceInfo,
    Failed,
    Fatal,
    Generate,
    Hello,
    ImageSize,
    JobRef,
    Loading,
    Log,
    ModelInfo,
    Ping,
    Pong,
    Preview,
    PreviewPlan,
    Progress,
    Ready,
    Report,
    Result,
    ResultImage,
    Shutdown,
    Started,
    Timings,
)

PROJECT = Path(__file__).resolve().parents[2]
GOLDEN = PROJECT / "test" / "golden" / "protocol"
COMMANDS: dict[str, Any] = json.loads((GOLDEN / "commands.json").read_text(encoding="utf-8"))
REPORTS: dict[str, Any] = json.loads((GOLDEN / "reports.json").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json.loads(
    (Path(protocol.__file__).parent / "protocol.schema.json").read_text(encoding="utf-8")
)

EXPECTED_COMMANDS = {
    "generate": Generate(
        job_id="j-01",
        epoch=3,
        prompt="a beautiful sunset — 日没",
        negative_prompt="blurry, low quality",
        num_inference_steps=20,
        width=256,
        height=192,
        seed=4294967295,
        guidance_scale=5.0,
        num_images=2,
        scheduler="dpmpp_2m_karras",
        preview=PreviewPlan(every=5, max_per_second=8.0, max_side=None, quality=70, decoder="tae", source="x0"),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    "generate-plain": Generate(
        job_id="j-01",
        epoch=3,
        prompt="x",
        negative_prompt="",
        num_inference_steps=1,
        width=64,
        height=64,
        seed=0,
        guidance_scale=0.0,
        num_images=1,
        scheduler=None,
        preview=None,
        traceparent=None,
    ),
    "cancel": Cancel("j-01", 3),
    "ping": Ping(7),
    "shutdown": Shutdown(),
}

REPORT_OBJECTS: dict[str, Report] = {
    "hello": Hello(protocol=1, pid=4242, worker_version="0.1.0"),
    "loading": Loading("weights", 0.25, "unet"),
    "loading-unknown": Loading("import", None, None),
    "ready": Ready(
        model=ModelInfo(
            id="demo",
            native_width=256,
            native_height=256,
            min_side=64,
            max_side=512,
            default_steps=20,
            default_guidance_scale=3.0,
            default_scheduler="euler",
            is_noise=False,
            examples=("a beautiful sunset",),
        ),
        device=DeviceInfo("cpu", "AMD EPYC", 25769803776, "float32"),
        capabilities=Capabilities(
            schedulers=protocol.SCHEDULERS,
            preview_decoders=protocol.PREVIEW_DECODERS,
            preview_sources=protocol.PREVIEW_SOURCES,
            max_batch=1,
            max_jobs=64,
            max_pixels=67108864,
        ),
        versions={"torch": "2.13.0+cpu", "diffusers": "0.42.1"},
        step_seconds=0.042,
    ),
    "started": Started("j-01", 3),
    "progress": Progress("j-01", 3, 4, 20, 0.041),
    "preview": Preview("j-01", 3, 5, 20, (ImageSize(256, 192), ImageSize(256, 192)), 0.012),
    "result": Result(
        "j-01",
        3,
        (ResultImage(2, 1, 4294967295), ResultImage(2, 1, 0)),
        Timings(wait_seconds=0.001, denoise_seconds=0.84, decode_seconds=0.05, total_seconds=0.9),
    ),
    "failed": Failed("j-01", 3, "out_of_memory", "the device ran out of memory", retryable=True),
    "cancelled": Cancelled("j-01", 3, 6, 0.25),
    "pong": Pong(7, 1, 120, 0.04, 1073741824, 0),
    "pong-idle": Pong(8, 0, 0, None, 1, 0),
    "log": Log("warn", "preview decoder missing", {"path": "tiny_vae", "tries": 2, "ok": False, "x": None}),
    "fatal": Fatal("model_not_found", "no model at nowhere/at-all"),
}


def validate(kind: str, message: object) -> None:
    jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]}).validate(message)


def test_speaks_the_version_of_the_schema() -> None:
    assert SCHEMA["version"] == protocol.PROTOCOL_VERSION


def test_every_golden_message_is_covered() -> None:
    assert EXPECTED_COMMANDS.keys() == COMMANDS.keys()
    assert REPORT_OBJECTS.keys() == REPORTS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_reads_the_golden_commands(name: str) -> None:
    assert decode_command(json.dumps(COMMANDS[name]).encode()) == EXPECTED_COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_its_commands_are_what_the_schema_says(name: str) -> None:
    validate("command", json.loads(json.dumps(dataclasses.asdict(EXPECTED_COMMANDS[name]))))


@pytest.mark.parametrize("name", REPORTS)
def test_writes_the_golden_reports(name: str) -> None:
    written = json.loads(encode_report(REPORT_OBJECTS[name]))
    assert written == REPORTS[name]
    validate("report", written)


def test_fields_of_a_later_version_are_ignored() -> None:
    header = json.dumps({**COMMANDS["cancel"], "reason": "the client left"}).encode()
    assert decode_command(header) == Cancel("j-01", 3)


BAD_FIELDS: list[tuple[str, object]] = [
    ("prompt", None),
    ("prompt", 5),
    ("prompt", "\ud800"),
    ("num_inference_steps", 0),
    ("num_inference_steps", 2.5),
    ("num_inference_steps", True),
    ("width", 7),
    ("height", "64"),
    ("seed", -1),
    ("seed", 2**32),
    ("guidance_scale", -0.1),
    ("guidance_scale", "5"),
    ("num_images", 0),
    ("scheduler", "heun"),
    ("preview", []),
    ("preview", {}),
    ("preview", {**COMMANDS["generate"]["preview"], "quality": 101}),
    ("preview", {**COMMANDS["generate"]["preview"], "max_per_second": 0}),
    ("preview", {**COMMANDS["generate"]["preview"], "decoder": "vae"}),
]


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS)
def test_a_bad_field_names_itself_and_its_job(name: str, value: object) -> None:
    header = json.dumps({**COMMANDS["generate"], name: value}).encode()
    with pytest.raises(ProtocolError, match=name) as caught:
        decode_command(header)
    assert caught.value.job == JobRef("j-01", 3)


@pytest.mark.parametrize("name", COMMANDS["generate"].keys() - {"type", "job_id", "epoch"})
def test_a_missing_field_names_itself(name: str) -> None:
    header = {key: value for key, value in COMMANDS["generate"].items() if key != name}
    with pytest.raises(ProtocolError, match=f"{name} is missing"):
        decode_command(json.dumps(header).encode())


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"type":"generate"}',
        b'{"type":"cancel","job_id":"","epoch":0}',
        b'{"type":"ping","nonce":NaN}',
        b'{"type":"ping","nonce":1e999}',
        b"[" * 100_000,
        b'{"type":"shutdown"}' + b" " * MAX_HEADER_BYTES,
        b'{"type":"pong"}',
    ],
)
def test_garbage_is_a_protocol_error(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_command(header)


def test_an_infinite_number_is_refused() -> None:
    header = json.dumps(COMMANDS["generate"]).replace('"guidance_scale": 5.0', '"guidance_scale": 1e999').encode()
    with pytest.raises(ProtocolError, match="guidance_scale"):
        decode_command(header)


def test_a_report_with_a_number_that_json_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        encode_report(Progress("j", 0, 0, 1, float("nan")))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(name=st.sampled_from(sorted(COMMANDS["generate"])), value=json_values)
def test_any_value_in_any_field_is_a_command_or_a_protocol_error(name: str, value: object) -> None:
    header = json.dumps({**COMMANDS["generate"], name: value}).encode()
    try:
        command = decode_command(header)
    except ProtocolError:
        return
    assert isinstance(command, Generate | Cancel | Ping | Shutdown)


@given(st.binary())
def test_any_bytes_are_a_command_or_a_protocol_error(header: bytes) -> None:
    try:
        command = decode_command(header)
    except ProtocolError:
        return
    assert isinstance(command, Generate | Cancel | Ping | Shutdown)
