"""The sections of gpu.py, each a few rows of its table."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from engine_run import run_engine
from gpu_model import RandomModel, request, synchronize, timed
from latentcast_worker.jpeg import encode_jpeg
from latentcast_worker.model.acceleration import Speed
from latentcast_worker.model.calibration import calibrate
from latentcast_worker.model.calibration_store import CalibrationStore
from latentcast_worker.model.denoise import SdxlSample
from latentcast_worker.model.sdxl import SdxlModel
from latentcast_worker.protocol import PreviewPlan

if TYPE_CHECKING:
    from gpu import Table

# Steps that are timed use up a schedule; no more than this are ever asked of one sample.
LONG_SCHEDULE = 200

LINEAR = PreviewPlan(every=1, quality=70, decoder="linear", source="x0")
CAPPED = PreviewPlan(every=1, max_per_second=10.0, quality=70, decoder="tae", source="x0")
EVERY_STEP = PreviewPlan(every=1, quality=70, decoder="tae", source="x0")


@dataclass(slots=True)
class Bench:
    random: RandomModel
    table: Table
    repeats: int
    step_seconds: float = float("nan")
    """Of the way that is shipped, once P6 has found it."""

    @property
    def model(self) -> SdxlModel:
        return self.random.model

    @property
    def is_cuda(self) -> bool:
        return self.model.torch_device.type == "cuda"


def step_efficiency(bench: Bench, *, full_compile: bool) -> None:
    """P6: what a step gets out of the device, for each way of calling the UNet, beside a matrix product."""
    model, table = bench.model, bench.table
    peak = _matmul_flops(bench)
    table.add("P6", "matrix product", peak / 1e12, "TFLOP/s", note="8192 cubed" if bench.is_cuda else "512 cubed")
    with FlopCounterMode(display=False) as counter:
        model.step(model.prepare(request(bench.random.side, LONG_SCHEDULE).params))
    flops = counter.get_total_flops()
    table.add("P6", "work of a step", flops / 1e12, "TFLOP", note="counted; with guidance")
    ways = {"eager": Speed()}
    if bench.is_cuda:
        ways |= {
            "channels last": Speed(channels_last=True),
            "cuDNN attention": Speed(attention="cudnn"),
            "Flash attention": Speed(attention="flash"),
            "graph": Speed(graphs=True),
            "compiled blocks": Speed(compiled=True),
            "compiled, channels last": Speed(channels_last=True, compiled=True),
            "compiled, graph": Speed(compiled=True, graphs=True),
            "compiled, cuDNN, graph": Speed(attention="cudnn", compiled=True, graphs=True),
        }
    seconds: dict[str, float] = {}
    for name, speed in ways.items():
        model.unet.use(speed)
        seconds[name] = _report_way(bench, name, flops, peak)
    if full_compile:
        model.unet.use(Speed(channels_last=True))
        bench.random.unet.compile(mode="max-autotune-no-cudagraphs", fullgraph=True, dynamic=False)
        seconds["whole UNet, max-autotune"] = _report_way(bench, "whole UNet, max-autotune", flops, peak)
    model.unet.use(Speed())
    bench.random.model = _calibrated(bench)
    bench.step_seconds = _report_way(bench, "as shipped", flops, peak)
    best = min(*seconds.values(), bench.step_seconds)
    table.add("P6", "best tried / as shipped", best / bench.step_seconds, "x", least=0.95, note=str(model.unet.speed))
    floor = flops / peak
    table.add(
        "P6", "step as shipped / floor", bench.step_seconds / floor, "x", most=2.2, note="work over matrix product"
    )


def _calibrated(bench: Bench) -> SdxlModel:
    with tempfile.TemporaryDirectory() as folder:
        lines: list[str] = []
        began = time.monotonic()
        model = calibrate(bench.model, None, CalibrationStore(Path(folder)), lambda _level, line: lines.append(line))
        print(f"calibrated in {time.monotonic() - began:.1f} s: {'; '.join(lines)}", flush=True)
        return model


def _report_way(bench: Bench, name: str, flops: float, peak: float) -> float:
    model = bench.model
    samples = model.prepare(request(bench.random.side, LONG_SCHEDULE).params)
    first = timed(model, lambda: model.step(samples))
    for _ in range(4):  # Graphs are captured at the fourth call.
        model.step(samples)
    seconds = median(timed(model, lambda: model.step(samples)) for _ in range(2 * bench.repeats))
    note = f"{seconds * 1000:.2f} ms, {flops / seconds / 1e12:.4g} TFLOP/s, first call {first:.1f} s"
    if bench.is_cuda:
        kernels = _kernel_seconds(lambda: model.step(samples))
        note += f", wall / kernels {seconds / kernels:.2f}" if kernels else ", kernels not measured"
    bench.table.add("P6", f"share of the matrix product: {name}", flops / seconds / peak, "", note=note)
    return seconds


def _kernel_seconds(work: Callable[[], None]) -> float:
    """Sum of the time of all kernels of one call."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6


def _matmul_flops(bench: Bench) -> float:
    side = 8192 if bench.is_cuda else 512
    dtype = bench.model.dtype
    left, right = (torch.randn(side, side, device=bench.model.torch_device).to(dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    seconds = min(timed(bench.model, lambda: left @ right) for _ in range(20))
    return 2 * side**3 / seconds


def whole_image(bench: Bench) -> None:
    """A picture of 30 steps with previews capped at 10 a second, from the request to its pixels."""
    plan = CAPPED
    runs = [run_engine(bench.model, [request(bench.random.side, 30, preview=plan)]) for _ in range(bench.repeats)]
    seconds = median(run.results[0] for run in runs)
    note = f"{len(runs[-1].previews)} previews; {30 / seconds:.3g} steps a second"
    bench.table.add("image", "30 steps", seconds, "s", most=1.25, note=note)


def previews(bench: Bench) -> None:
    """P2: what a step costs with previews beside what it costs without, in turns."""
    for what, plan, most in (
        ("linear, every step", LINEAR, 1.01),
        ("tae, at most 10 a second", CAPPED, 1.02),
        ("tae, every step", EVERY_STEP, 1.08),
    ):
        ratios: list[float] = []
        count = 0
        for repeat in range(bench.repeats):
            arms: list[PreviewPlan | None] = [plan, None] if repeat % 2 == 0 else [None, plan]
            times: dict[bool, float] = {}
            for arm in arms:
                run = run_engine(bench.model, [request(bench.random.side, 20, preview=arm)])
                times[arm is not None] = run.step_seconds
                count = max(count, len(run.previews))
            ratios.append(times[True] / times[False])
        bench.table.add("P2", f"previews: {what}", median(ratios), "x", most=most, note=f"{count} of 20 steps")


def tail(bench: Bench) -> None:
    """P7: from the last step to the bytes of the picture, beside one step and beside the naive way."""
    model = bench.model
    (sample,) = model.prepare(request(bench.random.side, LONG_SCHEDULE).params)
    model.step([sample])
    model.decode(sample)
    decode = median(timed(model, lambda: model.decode(sample)) for _ in range(bench.repeats))
    whole = median(timed(model, lambda: encode_jpeg(model.decode(sample), 95)) for _ in range(bench.repeats))
    note = f"{decode * 1000:.1f} ms decode, {(whole - decode) * 1000:.1f} ms JPEG"
    bench.table.add("P7", "tail in steps", whole / bench.step_seconds, "steps", most=2, note=note)
    naive = median(timed(model, lambda: _naive_tail(bench, sample.latents)) for _ in range(3))
    bench.table.add(
        "P7", "naive tail / ours", naive / whole, "x", least=3, note=f"{naive * 1000:.0f} ms: fp32, PIL, PNG"
    )


def _naive_tail(bench: Bench, latents: torch.Tensor) -> None:
    vae = bench.random.vae
    dtype = vae.dtype
    vae.to(torch.float32)
    image = vae.decode(latents.float() / vae.config.scaling_factor, return_dict=False)[0]
    vae.to(dtype)
    values = (image / 2 + 0.5).clamp(0, 1).cpu().permute(0, 2, 3, 1).float().numpy()
    Image.fromarray((values[0] * 255).round().astype("uint8")).save(io.BytesIO(), format="PNG")


def first_preview(bench: Bench) -> None:
    """P4 on an idle device: a new prompt's first preview beside its prompts and one step."""
    ratios: list[float] = []
    for repeat in range(bench.repeats):
        base = request(bench.random.side, 4, preview=EVERY_STEP)
        fresh = replace(base, params=replace(base.params, prompt=f"new prompt {repeat}"))
        seen = run_engine(bench.model, [fresh]).previews[0]
        other = replace(fresh, prompt=f"another prompt {repeat}")
        ratios.append(seen / timed(bench.model, lambda other=other: bench.model.step(bench.model.prepare(other))))
    bench.table.add("P4", "first preview, idle", median(ratios), "x", most=1.3, note="prompts and one step")


def batching(bench: Bench) -> None:
    """P5: pictures a second by how many share a call, at mixed timesteps, and how far they are from solo."""
    model = bench.model
    for side in (bench.random.side // 2, bench.random.side):
        solo = _batch_seconds(bench, side, 1)
        for count in (2, 4, 8):
            gain = count * solo / _batch_seconds(bench, side, count)
            least = 1.8 if count == 4 and side < bench.random.side else None
            bench.table.add(
                "P5", f"{side} px, {count} in a call", gain, "x", least=least, note="pictures a second, solo = 1"
            )
    alone = [_advanced(bench, index) for index in range(4)]
    together = [_advanced(bench, index) for index in range(4)]
    for sample in alone:
        model.step([sample])
    model.step(together)
    synchronize(model)
    error = max(
        float((a.latents - b.latents).abs().max() / a.latents.std()) for a, b in zip(alone, together, strict=True)
    )
    bench.table.add("P5", "largest change of a latent by company", error, "std", note="one step, four in a call")


def _advanced(bench: Bench, steps: int, side: int | None = None) -> SdxlSample:
    (sample,) = bench.model.prepare(request(side or bench.random.side, LONG_SCHEDULE, seed=steps).params)
    for _ in range(steps):
        bench.model.step([sample])
    return sample


def _batch_seconds(bench: Bench, side: int, count: int) -> float:
    samples = [_advanced(bench, index, side) for index in range(count)]
    for _ in range(4):
        bench.model.step(samples)
    return median(timed(bench.model, lambda: bench.model.step(samples)) for _ in range(bench.repeats))
