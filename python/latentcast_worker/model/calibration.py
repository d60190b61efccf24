"""What a model does between loading and `ready`: choose the fastest way to call the UNet, warm up, measure.

What was found is kept in the cache, so that the next start of the same model on the same device only warms up.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch

from .. import __version__
from ..policy import CallCosts
from ..protocol import GenerationParams, PreviewPlan
from ..settings import ShortcutName
from .acceleration import AcceleratedUNet
from .calibration_store import Calibration, CalibrationStore, Key
from .denoise import SdxlSample
from .port import DeviceOutOfMemoryError, WriteLog
from .sdxl import SdxlModel

REPEATS = 3
COUNTS = (2, 4)

# A CPU that needs longer for a step is busy all of it, so nothing is to be gained by sharing calls; and to measure that
# with full-size SDXL, whose step takes minutes there, would keep everybody waiting for an hour.
SLOW_STEP_SECONDS = 5.0

# A change that gains less than this is not worth its memory and its start-up time, and hardly more than noise.
MUST_GAIN = 0.01


def calibrate(
    model: SdxlModel, max_batch: int | None, store: CalibrationStore, log: WriteLog, *, compiles: bool = True
) -> SdxlModel:
    """Warms every part up at the native size and returns the model with measured costs. `compiles` lets torch.compile.

    `max_batch` 1 is exact mode: no UNet call is shared, nothing is remembered, and nothing is chosen that depends on a
    measurement and changes bits. None tries the counts that are worth trying and keeps those that fit into memory.
    """
    # Costs are those of the whole call: what a shortcut saves depends on where in its run an image is.
    plain = replace(model, shortcuts=frozenset[ShortcutName](), deepcache=None)
    expected = _expected_seconds(plain)
    if model.torch_device.type == "cpu" and expected > SLOW_STEP_SECONDS:
        return replace(model, costs=CallCosts((expected,)))
    unet = model.unet
    exact = max_batch == 1
    key = _key(model, max_batch, compiles=compiles)
    known = None if exact else store.read(key)
    if known is not None:
        unet.use(known.speed)
    elif unet.is_tunable:
        # A replayed graph does not tell DeepCache what its deep layers gave.
        allow_graphs = model.deepcache is None and model.runs_on.has_graphs
        measure = partial(_call_seconds, plain)
        tune(unet, measure, log, exact=exact, allow_graphs=allow_graphs, allow_compiling=compiles)
    _warm_up(model)
    if known is None:
        known = Calibration(unet.speed, _measure(plain, max_batch))
        if not exact:
            store.write(key, known)
    costs = CallCosts.measured(known.seconds)
    if unet.is_tunable:
        log("info", f"a step takes {costs.seconds[0] * 1000:.1f} ms; the UNet runs {unet.speed}")
        # Without the graphs of calls that were measured and will not be made: those keep gigabytes.
        unet.use(unet.speed)
        _warm_up_counts(model, costs.max_batch)
        unet.freeze()
    return replace(model, costs=costs, capabilities=replace(model.capabilities, max_batch=costs.max_batch))


def tune(
    unet: AcceleratedUNet,
    measure: Callable[[], float],
    log: WriteLog,
    *,
    exact: bool,
    allow_graphs: bool = True,
    allow_compiling: bool = True,
) -> None:
    """Leaves `unet` at the fastest way of calling it: changes are tried one after the other and kept when they gain.

    `measure` gives the seconds of a call. `exact` tries only what keeps the bits.
    """
    best = measure()
    tried = [f"{unet.speed} {best * 1000:.1f}"]
    for change in ({"graphs": True},) if exact else _CHANGES:
        if ("graphs" in change and not allow_graphs) or ("compiled" in change and not allow_compiling):
            continue
        before = unet.speed
        candidate = replace(before, **change)
        try:
            unet.use(candidate)
            seconds = measure()
            if unet.speed == candidate:
                tried.append(f"{candidate} {seconds * 1000:.1f}")
        except Exception as error:  # Whatever a GPU, its driver or a missing compiler has against it.
            log("warn", f"the UNet cannot run {candidate}: {type(error).__name__}: {error}")
            seconds = float("inf")
        # A call that fell back by itself has measured something else.
        if unet.speed == candidate and seconds <= (1 - MUST_GAIN) * best:
            best = seconds
        else:
            unet.use(before)
    log("info", f"milliseconds of a step by how the UNet runs: {'; '.join(tried)}")


# Graphs first: without them the host's launching may take longer than the kernels, and hides what the others gain.
_CHANGES: tuple[dict[str, object], ...] = (
    {"graphs": True},
    {"channels_last": True},
    {"attention": "cudnn"},
    {"attention": "flash"},
    {"compiled": True},
)


def _key(model: SdxlModel, max_batch: int | None, *, compiles: bool) -> Key:
    return {
        "version": __version__,
        "torch": torch.__version__,
        "model": model.info.id,
        "size": f"{model.info.native_width}x{model.info.native_height}",
        "device": model.device.name,
        "dtype": model.device.dtype,
        "threads": str(torch.get_num_threads()) if model.torch_device.type == "cpu" else "",
        "max_batch": "auto" if max_batch is None else str(max_batch),
        "shortcuts": ",".join(sorted(model.shortcuts)),
        **({} if compiles else {"compiled": "never"}),
    }


def _expected_seconds(model: SdxlModel) -> float:
    """Seconds of a step at the native size, as far as the smallest size can tell."""
    side = -(-model.info.min_side // model.size_factor) * model.size_factor
    samples = model.prepare(replace(_params(model, 1), width=side, height=side))
    model.step(samples)
    began = time.perf_counter()
    model.step(samples)
    return (time.perf_counter() - began) * model.info.native_width * model.info.native_height / side**2


def _warm_up(model: SdxlModel) -> None:
    """One whole image with previews of each kind, so that no first request pays for lazy set-up."""
    samples = model.prepare(_params(model, 1))
    model.step(samples)
    # On CUDA often enough for their graphs to be captured.
    for repeat in range(REPEATS + 1 if model.runs_on.has_graphs else 1):
        model.prepare(replace(_params(model, 1), prompt=f"calibration {repeat}"))
        for decoder in model.capabilities.preview_decoders:
            model.start_preview(samples, PreviewPlan(every=1, quality=70, decoder=decoder, source="x0")).wait()
    model.decode(samples[0])


def _warm_up_counts(model: SdxlModel, max_batch: int) -> None:
    """Every call that will be made at the native size, often enough for its graph to be captured."""
    for count in range(1, max_batch + 1):
        samples = model.prepare(_params(model, count))
        # A cut-off makes calls of two widths: half of a whole run has guidance, the other half has not.
        for _ in range(samples[0].total_steps if "cfg-cutoff" in model.shortcuts else REPEATS + 1):
            model.step(samples)


def _call_seconds(model: SdxlModel) -> float:
    return _measure(model, 1)[1]


def _measure(model: SdxlModel, max_batch: int | None) -> Mapping[int, float]:
    """Seconds of a call by its number of samples, those that fit into memory.

    The fastest of a few, because disturbances only add; in turns, so that a disturbance meets every count. Each turn
    counts the second of two calls: the first finds caches and clocks as a call of another size has left them.
    """
    counts = (1, *COUNTS) if max_batch is None else tuple(range(1, max_batch + 1))
    samples = {count: model.prepare(_params(model, count)) for count in counts}
    seconds: dict[int, float] = {}
    for repeat in range(2 * REPEATS):
        for count in [count for count in counts if count in samples]:
            # The first calls of a shape choose kernels, compile, and are captured.
            is_counted = repeat >= REPEATS
            took = _timed_step(model, samples[count])
            if is_counted and took is not None:
                took = _timed_step(model, samples[count])
            if took is None:
                for larger in [other for other in samples if other >= count]:
                    del samples[larger]
                    seconds.pop(larger, None)
            elif is_counted:
                seconds[count] = min(took, seconds.get(count, took))
    return seconds


def _timed_step(model: SdxlModel, samples: Sequence[SdxlSample]) -> float | None:
    """Seconds of a step, None if the samples do not fit into memory together. Raises if one does not fit alone."""
    began = time.perf_counter()
    with contextlib.suppress(DeviceOutOfMemoryError):
        model.step(samples)
        return time.perf_counter() - began
    # Not inside an except block: the error's traceback holds on to the tensors of the failed call.
    model.release_memory()
    if len(samples) == 1:
        raise DeviceOutOfMemoryError("one image of the native size does not fit")
    return None


def _params(model: SdxlModel, images: int) -> GenerationParams:
    return GenerationParams(
        prompt="calibration",
        negative_prompt="",
        prompt_syntax="plain",
        num_inference_steps=4 * REPEATS,
        width=model.info.native_width,
        height=model.info.native_height,
        seed=0,
        guidance_scale=model.info.default_guidance_scale,
        num_images=images,
        loras=(),
    )
