"""The wire, against the golden messages that the TypeScript side reads too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentcast_worker import protocol
from latentcast_worker.codec import MAX_HEADER_BYTES, ProtocolError, decode_command, encode_report
from latentcast_worker.protocol import (
    Cancel,
    Cancelled,
    Capabilities,
    Command,
    DeviceInfo,
    Failed,
    Fatal,
    Generate,
    GenerationParams,
    Hello,
    ImageSize,
    InputSizes,
    JobRef,
    Loading,
    Log,
    Lora,
    ModelInfo,
    Models,
    ModelVocabulary,
    Ping,
    Pong,
    Preview,
    PreviewPlan,
    Progress,
    Ready,
    Report,
    Result,
    ServedModel,
    Shutdown,
    Started,
    UnservedModel,
)

PROJECT = Path(__file__).resolve().parents[2]
GOLDEN = PROJECT / "test" / "golden" / "protocol"
COMMANDS: dict[str, Any] = json.loads((GOLDEN / "commands.json").read_text(encoding="utf-8"))
REPORTS: dict[str, Any] = json.loads((GOLDEN / "reports.json").read_text(encoding="utf-8"))

EXPECTED_COMMANDS = {
    "generate": Generate(
        job_id="j-01",
        incarnation=3,
        params=GenerationParams(
            prompt="a beautiful sunset — 日没",
            negative_prompt="blurry, low quality",
            prompt_syntax="weighted",
            num_inference_steps=20,
            width=256,
            height=192,
            seed=4294967295,
            guidance_scale=5.0,
            num_images=2,
            scheduler="dpmpp_2m_karras",
            clip_skip=1,
            strength=0.58,
            model="demo",
            distillation="lightning",
            loras=(Lora(path="styles/ink", scale=-0.5), Lora(path="detail", scale=1.0)),
        ),
        inputs=InputSizes(image=ImageSize(width=4, height=2), mask=ImageSize(width=4, height=2)),
        preview=PreviewPlan(every=5, max_per_second=8.0, max_side=None, quality=70, decoder="tae", source="x0"),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    "generate-plain": Generate(
        job_id="j-01",
        incarnation=3,
        params=GenerationParams(
            prompt="x",
            negative_prompt="",
            prompt_syntax="plain",
            num_inference_steps=1,
            width=64,
            height=64,
            seed=0,
            guidance_scale=0.0,
            num_images=1,
            scheduler=None,
            clip_skip=None,
            strength=None,
            loras=(),
        ),
        inputs=InputSizes(image=None, mask=None),
        preview=None,
        traceparent=None,
    ),
    "cancel": Cancel(job_id="j-01", incarnation=3),
    "ping": Ping(),
    "shutdown": Shutdown(),
}

PAYLOADS = {"generate": [bytes(range(24)), bytes(range(8))]}
"""The payload frames that belong to a golden command: 4 x 2 RGB8 and 4 x 2 of one byte."""

JOB: dict[str, Any] = {"job_id": "j-01", "incarnation": 3}

DEMO = ModelInfo(
    id="demo",
    native_width=256,
    native_height=256,
    min_side=64,
    max_side=512,
    default_steps=20,
    default_guidance_scale=3.0,
    default_scheduler="euler",
    prediction_type="epsilon",
    is_noise=False,
    takes_loras=False,
    examples=("a beautiful sunset",),
    vocabulary=ModelVocabulary(summary="landscapes", subjects=("sunset",), modifiers=("red",)),
)
CAPABILITIES = Capabilities(
    preview_decoders=protocol.PREVIEW_DECODERS,
    max_batch=1,
    max_jobs=64,
    max_pixels=67108864,
    early_steps=2,
)

REPORT_OBJECTS: dict[str, Report] = {
    "hello": Hello(protocol=2, pid=4242),
    "loading": Loading(stage="weights", progress=0.25, detail="unet"),
    "loading-unknown": Loading(stage="import", progress=None, detail=None),
    "ready": Ready(
        model=DEMO,
        device=DeviceInfo(id="cpu", name="AMD EPYC", memory_bytes=25769803776, dtype="float32"),
        capabilities=CAPABILITIES,
        versions={"torch": "2.13.0+cpu", "diffusers": "0.42.1"},
        step_seconds=0.042,
    ),
    "models": Models(
        models=(
            ServedModel(model=DEMO, capabilities=CAPABILITIES, is_loaded=True, step_seconds=0.042, load_seconds=3.5),
            ServedModel(
                model=replace(DEMO, id="other.safetensors", examples=(), vocabulary=None),
                capabilities=CAPABILITIES,
                is_loaded=False,
                problem="out of memory",
            ),
        ),
        unserved=(UnservedModel(id="broken.safetensors", problem="broken.safetensors is cut off"),),
    ),
    "started": Started(**JOB, total_steps=14),
    "progress": Progress(**JOB, step=4, step_seconds=0.041),
    "preview": Preview(
        **JOB, step=5, total_steps=20, images=(ImageSize(width=256, height=192),) * 2, preview_seconds=0.012
    ),
    "result": Result(
        **JOB, images=(ImageSize(width=2, height=1),) * 2, warnings=("prompt is too long",), decode_seconds=0.05
    ),
    "failed": Failed(**JOB, code="out_of_memory", message="the device ran out of memory"),
    "cancelled": Cancelled(**JOB, device_seconds=0.25),
    "pong": Pong(iterations=120, rss_bytes=1073741824, device_memory_bytes=0),
    "log": Log(
        level="warn",
        message="preview decoder missing",
        fields={"path": "tiny_vae", "tries": 2, "ok": False, "x": None},
    ),
    "fatal": Fatal(code="model_not_found", message="no model at nowhere/at-all"),
}


def decoded(header: object, *payload: bytes) -> Command:
    return decode_command([json.dumps(header).encode(), *payload]).command


def test_every_golden_message_is_covered() -> None:
    assert EXPECTED_COMMANDS.keys() == COMMANDS.keys()
    assert REPORT_OBJECTS.keys() == REPORTS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_reads_the_golden_commands(name: str) -> None:
    payload = PAYLOADS.get(name, [])
    frames = decode_command([json.dumps(COMMANDS[name]).encode(), *payload])
    assert frames.command == EXPECTED_COMMANDS[name]
    assert list(frames.payload) == payload


@pytest.mark.parametrize("name", REPORTS)
def test_writes_the_golden_reports(name: str) -> None:
    assert json.loads(encode_report(REPORT_OBJECTS[name])) == REPORTS[name]


def test_fields_of_a_later_version_are_ignored() -> None:
    later = {**COMMANDS["cancel"], "reason": "the client left"}
    assert decoded(later) == Cancel(job_id="j-01", incarnation=3)


@pytest.mark.parametrize(
    "payload",
    [[], [bytes(24)], [bytes(24), bytes(8), b""], [bytes(23), bytes(8)], [bytes(8), bytes(24)]],
    ids=["none", "no mask", "one too many", "a short image", "swapped"],
)
def test_payload_that_does_not_fit_its_header_fails_the_job(payload: list[bytes]) -> None:
    with pytest.raises(ProtocolError) as caught:
        decoded(COMMANDS["generate"], *payload)
    assert caught.value.job == JobRef(job_id="j-01", incarnation=3)


@pytest.mark.parametrize("name", ["generate-plain", "cancel", "ping", "shutdown"])
def test_a_command_that_announces_no_payload_carries_none(name: str) -> None:
    with pytest.raises(ProtocolError, match="announces 0 payload frames and carries 1"):
        decoded(COMMANDS[name], b"x")


PLAIN: dict[str, Any] = COMMANDS["generate-plain"]
PLAN: dict[str, Any] = COMMANDS["generate"]["preview"]

BAD_PARAMS: list[tuple[str, object]] = [
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
    ("clip_skip", -1),
    ("strength", -0.1),
    ("strength", 1.01),
]

BAD_FIELDS: list[tuple[str, object]] = [
    ("params", None),
    ("inputs", None),
    ("inputs", {"image": {"width": 0, "height": 1}, "mask": None}),
    ("preview", []),
    ("preview", {}),
    ("preview", {**PLAN, "quality": 101}),
    ("preview", {**PLAN, "max_per_second": 0}),
    ("preview", {**PLAN, "decoder": "vae"}),
]


@pytest.mark.parametrize(("name", "value"), BAD_PARAMS)
def test_a_bad_parameter_names_itself_and_its_job(name: str, value: object) -> None:
    with pytest.raises(ProtocolError, match=f"params.{name}") as caught:
        decoded({**PLAIN, "params": {**PLAIN["params"], name: value}})
    assert caught.value.job == JobRef(job_id="j-01", incarnation=3)


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS)
def test_a_bad_field_names_itself_and_its_job(name: str, value: object) -> None:
    with pytest.raises(ProtocolError, match=name) as caught:
        decoded({**PLAIN, name: value})
    assert caught.value.job == JobRef(job_id="j-01", incarnation=3)


@pytest.mark.parametrize("name", PLAIN.keys() - {"type", "job_id", "incarnation"})
def test_a_missing_field_names_itself(name: str) -> None:
    with pytest.raises(ProtocolError, match=f"{name} is missing"):
        decoded({key: value for key, value in PLAIN.items() if key != name})


@pytest.mark.parametrize("name", PLAIN["params"])
def test_a_missing_parameter_names_itself(name: str) -> None:
    params = {key: value for key, value in PLAIN["params"].items() if key != name}
    with pytest.raises(ProtocolError, match=f"{name} is missing"):
        decoded({**PLAIN, "params": params})


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"type":"generate"}',
        b'{"type":"cancel","job_id":"","incarnation":0}',
        b'{"type":"ping","nonce":NaN}',
        b'{"type":"cancel","job_id":"j","incarnation":1e999}',
        b"[" * 100_000,
        b'{"type":"shutdown"}' + b" " * MAX_HEADER_BYTES,
        b'{"type":"pong"}',
    ],
)
def test_garbage_is_a_protocol_error(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_command([header])


def test_a_message_without_frames_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError):
        decode_command([])


def test_an_infinite_number_is_refused() -> None:
    header = json.dumps(PLAIN).replace('"guidance_scale": 0', '"guidance_scale": 1e999').encode()
    with pytest.raises(ProtocolError, match="guidance_scale"):
        decode_command([header])


def test_a_report_with_a_number_that_json_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        encode_report(Progress(job_id="j", incarnation=0, step=0, step_seconds=float("nan")))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def is_command_or_protocol_error(frames: list[bytes]) -> bool:
    try:
        command = decode_command(frames).command
    except ProtocolError:
        return True
    return isinstance(command, Generate | Cancel | Ping | Shutdown)


@given(name=st.sampled_from(sorted(PLAIN)), value=json_values)
def test_any_value_in_any_field_is_a_command_or_a_protocol_error(name: str, value: object) -> None:
    assert is_command_or_protocol_error([json.dumps({**PLAIN, name: value}).encode()])


@given(name=st.sampled_from(sorted(PLAIN["params"])), value=json_values)
def test_any_value_in_any_parameter_is_a_command_or_a_protocol_error(name: str, value: object) -> None:
    assert is_command_or_protocol_error([json.dumps({**PLAIN, "params": {**PLAIN["params"], name: value}}).encode()])


@given(st.lists(st.binary(), max_size=3))
def test_any_frames_are_a_command_or_a_protocol_error(frames: list[bytes]) -> None:
    assert is_command_or_protocol_error(frames)
