"""LoRAs that are loaded: bounded in bytes, kept while they are used, and loaded beside the work of others."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from latentcast_worker.model.lora.file import LoraTarget
from latentcast_worker.model.lora.folder import LoraFolder
from latentcast_worker.model.lora.names import layer_names
from latentcast_worker.model.lora.store import JobLoras, LoraStore
from latentcast_worker.model.port import DeviceOutOfMemoryError, Fetched, InvalidRequestError
from latentcast_worker.protocol import Cancel, Failed, Lora, Result

from .fakes import EngineRun, FakeModel
from .loras import random_lora
from .requests import job

NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def folder(pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loras")
    for seed, name in enumerate(NAMES):
        random_lora(pipeline, seed).save(folder, name)
    return folder


@pytest.fixture(scope="module")
def target(pipeline: Any) -> LoraTarget:
    names = layer_names(pipeline.unet, (pipeline.text_encoder, pipeline.text_encoder_2))
    return LoraTarget(names, 64)


def store_of(folder: Path, target: LoraTarget, max_bytes: int) -> LoraStore:
    return LoraStore(LoraFolder(folder), target, torch.device("cpu"), torch.float32, max_bytes)


def fetch(store: LoraStore, *names: str) -> Future[JobLoras]:
    return store.fetch([Lora(path=name, scale=1.0) for name in names], lambda: None)


def hold(store: LoraStore, *names: str) -> JobLoras:
    return fetch(store, *names).result(timeout=60)


@pytest.fixture(scope="module")
def size(folder: Path, target: LoraTarget) -> int:
    """Of one of them, loaded; all are equally large."""
    store = store_of(folder, target, 2**30)
    hold(store, "a")
    return store.size


def is_loaded(store: LoraStore, name: str) -> bool:
    """Only what is loaded is handed out at once."""
    future = fetch(store, name)
    done = future.done()
    future.result(timeout=60)
    return done


def test_what_was_loaded_once_is_handed_out_at_once(folder: Path, target: LoraTarget) -> None:
    store = store_of(folder, target, 2**30)
    assert not is_loaded(store, "a")
    assert is_loaded(store, "a")


def test_the_cache_never_holds_more_than_its_bytes(folder: Path, target: LoraTarget, size: int) -> None:
    store = store_of(folder, target, 2 * size + size // 2)
    for name in NAMES * 3:
        hold(store, name)
        assert store.size <= 2 * size


def test_what_was_used_longest_ago_goes_first(folder: Path, target: LoraTarget, size: int) -> None:
    store = store_of(folder, target, 2 * size)
    for name in ("a", "b", "a", "c"):
        hold(store, name)
    assert is_loaded(store, "a")
    assert not is_loaded(store, "b")


def test_what_a_job_uses_stays_and_others_wait_for_room(folder: Path, target: LoraTarget, size: int) -> None:
    store = store_of(folder, target, 2 * size)
    used = hold(store, "a", "b")
    waiting = fetch(store, "c")
    with pytest.raises(TimeoutError):
        waiting.result(timeout=0.2)
    assert is_loaded(store, "a")
    del used
    gc.collect()
    assert [lora.key[0].stem for lora, _ in waiting.result(timeout=60).loras] == ["c"]
    assert store.size <= 2 * size


def test_a_job_that_gives_up_waiting_holds_nobody_up(folder: Path, target: LoraTarget, size: int) -> None:
    store = store_of(folder, target, 2 * size)
    used = hold(store, "a")
    given_up = fetch(store, "b", "c")
    with pytest.raises(TimeoutError):
        given_up.result(timeout=0.2)
    assert given_up.cancel()
    assert len(hold(store, "d").loras) == 1
    assert len(used.loras) == 1


def test_more_than_there_is_room_for_is_refused(folder: Path, target: LoraTarget, size: int) -> None:
    store = store_of(folder, target, 2 * size)
    with pytest.raises(InvalidRequestError, match=r"need \d MB; there is room for"):
        hold(store, "a", "b", "c")
    assert len(hold(store, "a", "b").loras) == 2


def test_one_that_is_named_twice_takes_its_room_once(folder: Path, target: LoraTarget, size: int) -> None:
    store = store_of(folder, target, size)
    assert len(hold(store, "a", "a").loras) == 2
    assert store.size == size


def test_a_file_that_was_replaced_is_read_again(pipeline: Any, target: LoraTarget, tmp_path: Path) -> None:
    store = store_of(tmp_path, target, 2**30)
    random_lora(pipeline, 1).save(tmp_path, "x")
    before = hold(store, "x")
    (tmp_path / "y.safetensors").unlink(missing_ok=True)
    random_lora(pipeline, 2).save(tmp_path, "y").replace(tmp_path / "x.safetensors")
    after = hold(store, "x")
    first, second = (next(iter(each.additions("unet")[0].factors.values())) for each in (before, after))
    assert not torch.equal(first.tensors[0], second.tensors[0])


def test_what_no_job_uses_goes_when_memory_runs_out(folder: Path, target: LoraTarget, size: int) -> None:
    store = store_of(folder, target, 2**30)
    used = hold(store, "a")
    hold(store, "b")
    store.forget_unused()
    assert store.size == size
    assert is_loaded(store, "a")
    assert len(used.loras) == 1


def test_reading_is_reported_as_it_goes_on(folder: Path, target: LoraTarget) -> None:
    told: list[None] = []
    store = store_of(folder, target, 2**30)
    store.fetch([Lora(path="a", scale=1.0)], lambda: told.append(None)).result(timeout=60)
    assert len(told) > 1


# In the engine


class Extra:
    """What a fake model's job needs beside the model."""


def waiting_model(future: Future[Fetched]) -> FakeModel:
    """A model whose job `waits` for the future."""
    return FakeModel(on_fetch=lambda params, _: future if params.prompt == "waits" else None)


def test_a_job_waits_for_what_it_needs_while_others_go_on() -> None:
    future: Future[Fetched] = Future()
    model = waiting_model(future)
    extra = Extra()
    run = EngineRun(model)
    others_done = threading.Event()

    def note(samples: Any) -> None:
        if samples[0].job_id == "other" and samples[0].steps_done == 19:
            others_done.set()

    model.before_step = note

    def load() -> None:
        assert others_done.wait(60)
        future.set_result(extra)

    thread = threading.Thread(target=load)
    thread.start()
    run.run(job("waits", num_inference_steps=20), job("other", num_inference_steps=20), endings=2)
    thread.join()
    assert isinstance(run.ending("waits"), Result)
    assert model.calls[:20] == [["other"]] * 20
    assert model.fetched == [None, extra]


def test_a_job_that_is_cancelled_while_it_waits_leaves_at_once() -> None:
    future: Future[Fetched] = Future()
    run = EngineRun(waiting_model(future))
    run.run(job("waits"), Cancel(job_id="waits", incarnation=0), endings=1)
    assert run.kinds("waits") == ["cancelled"]
    assert future.cancelled()


@pytest.mark.parametrize(
    ("error", "code", "field"),
    [
        (InvalidRequestError("not for this model", field="loras"), "invalid_request", "loras"),
        (DeviceOutOfMemoryError("full"), "out_of_memory", None),
    ],
)
def test_a_job_whose_needs_cannot_be_met_fails_before_it_begins(error: Exception, code: str, field: str | None) -> None:
    future: Future[Fetched] = Future()
    future.set_exception(error)
    run = EngineRun(waiting_model(future))
    run.run(job("waits"), job("other"), endings=2)
    assert run.kinds("waits") == ["failed"]
    ending = run.ending("waits")
    assert isinstance(ending, Failed)
    assert (ending.code, ending.field) == (code, field)
    assert isinstance(run.ending("other"), Result)
